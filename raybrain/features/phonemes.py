"""Phoneme identity, with one numbering for the different alphabets that studies use."""

import hashlib
from typing import ClassVar

import numpy as np

from raybrain.events import Phoneme
from raybrain.features.base import Feature, Stimulus

ARPABET = {
    **{"AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AX": "ə", "AXR": "ɚ", "AY": "aɪ", "EH": "ɛ", "ER": "ɝ"},
    **{"EY": "eɪ", "IH": "ɪ", "IX": "ɨ", "IY": "i", "OW": "oʊ", "OY": "ɔɪ", "UH": "ʊ", "UW": "u", "UX": "ʉ"},
    **{"B": "b", "CH": "tʃ", "D": "d", "DH": "ð", "DX": "ɾ", "F": "f", "G": "ɡ", "HH": "h", "JH": "dʒ", "K": "k", "L": "l"},
    **{"M": "m", "N": "n", "NG": "ŋ", "P": "p", "Q": "ʔ", "R": "r", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v"},
    **{"W": "w", "Y": "j", "Z": "z", "ZH": "ʒ"},
}
SAMPA = {  # for Dutch; length marks are dropped, since long vowels also differ in quality
    **{"A": "ɑ", "E": "ɛ", "I": "ɪ", "O": "ɔ", "Y": "ʏ", "@": "ə", "a": "a", "e": "e", "i": "i", "o": "o", "u": "u", "y": "y"},
    **{"2": "ø", "9": "œ", "Ei": "ɛi", "EI": "ɛi", "9y": "œy", "9Y": "œy", "Au": "ʌu", "AU": "ʌu", "Vu": "ʌu"},
    **{"p": "p", "b": "b", "t": "t", "d": "d", "k": "k", "g": "ɡ", "f": "f", "v": "v", "s": "s", "z": "z", "x": "x", "G": "ɣ"},
    **{"h": "h", "h\\": "h", "m": "m", "n": "n", "N": "ŋ", "J": "ɲ", "l": "l", "r": "r", "w": "w", "P": "w", "j": "j"},
    **{"S": "ʃ", "Z": "ʒ", "tS": "tʃ", "dZ": "dʒ", "?": "ʔ"},
}
SOUNDS = tuple(dict.fromkeys((*ARPABET.values(), *SAMPA.values())))  # append new ones at the end, to keep the numbering
OTHERS = 32  # the number of classes for labels outside the known alphabets
SILENT = {"", "sil", "sp", "pau", "#", "<p:>", "<p>", "<sil>"}


class PhonemeIdentity(Feature, name="phoneme"):
    """The phoneme being spoken, as a class; 0 for silence.

    Labels in English, and in events without a language, are read as ARPABET, in upper or lower case, with or without stress,
    and with or without a position in the word (_B, _I, _E, _S). Labels in other languages are read as Dutch SAMPA. Both are
    numbered by the speech sound they denote, so that /t/ is one class; IPA symbols denote themselves. All other labels are
    assigned to one of 32 further classes by their hash.
    """

    needs: ClassVar[tuple[str, ...]] = ("phonemes",)

    @property
    def categories(self) -> int:
        """Silence, the known speech sounds, and the classes for other labels."""
        return 1 + len(SOUNDS) + OTHERS

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The class of the phoneme being spoken."""
        frames = self.frames(stimulus)
        for phoneme in stimulus.phonemes:
            frames[self.span(phoneme, len(frames))] = phoneme_class(phoneme)
        return frames


def phoneme_class(phoneme: Phoneme) -> int:
    """The class of a phoneme, the same on every machine.

    >>> [phoneme_class(Phoneme(start=0, duration=1, phoneme=label)) for label in ("AH0", "ah_I", "ʌ", "sil")]
    [3, 3, 3, 0]
    """
    label = phoneme.phoneme.strip()
    stem, _, place = label.rpartition("_")
    if stem and place in ("B", "I", "E", "S"):
        label = stem
    if label.lower() in SILENT:
        return 0
    if phoneme.language.startswith("en") or not phoneme.language:
        sound = ARPABET.get(label.rstrip("012").upper(), label)
    else:
        sound = SAMPA.get(label.rstrip(":"), label)
    sound = sound.rstrip("ː")
    if sound in SOUNDS:
        return 1 + SOUNDS.index(sound)
    digest = hashlib.sha256(label.encode()).digest()
    return 1 + len(SOUNDS) + int.from_bytes(digest[:8]) % OTHERS
