"""Features from spaCy: the vector of a word and its part of speech."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from raybrain.config import InputError
from raybrain.events import Word
from raybrain.features.base import Feature, Stimulus
from raybrain.features.sentences import sentences
from raybrain.model_files import folder_digest, name_or_folder
from raybrain.storage import content_digest

WIDTHS = {"sm": 96, "md": 300, "lg": 300}
TAGS = (  # Universal Dependencies; append new ones at the end, to keep the numbering
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
HOLLOW = ("PUNCT", "SPACE", "")


class SpacyFeature(Feature):
    """A property that a spaCy pipeline assigns to words in their sentence.

    Attributes:
        pipeline: "sm", "md" or "lg" for spaCy's own pipeline of that size in the language of each word (English for events
            without a language); or the name or folder of one pipeline for all languages.
    """

    packages: ClassVar[tuple[str, ...]] = ("spacy",)
    extra: ClassVar[str] = "text"
    pipeline: str = Field("md", min_length=1)

    @field_validator("pipeline")
    @classmethod
    def _from_anywhere(cls, pipeline: str) -> str:
        return pipeline if pipeline in WIDTHS else name_or_folder(pipeline)

    def named(self) -> dict[str, str]:
        """A folder's content in place of its path."""
        return {"pipeline": folder_digest(self.pipeline)} if Path(self.pipeline).is_dir() else {}

    def identity(self) -> dict[str, str]:
        """The versions of the installed pipelines of that size; or a digest of the named pipeline."""
        if self.pipeline in WIDTHS:
            import spacy

            fitting = sorted(name for name in spacy.util.get_installed_models() if name.endswith(f"_{self.pipeline}"))
            return {name: str(spacy.util.get_package_version(name)) for name in fitting}
        return {"pipeline": pipeline_digest(self.pipeline)}

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The value of the word being spoken."""
        frames = self.frames(stimulus)
        for word, tokens in self._words(stimulus):
            frames[self.span(word, len(frames))] = self.value(tokens)
        return frames

    def value(self, tokens: Any) -> Any:
        """The value of a word, from its tokens."""
        raise NotImplementedError

    def _words(self, stimulus: Stimulus) -> Iterator[tuple[Word, Any]]:
        for sentence in sentences(stimulus):
            document = load(self.pipeline, sentence.words[0].language)(sentence.text)
            for word, (start, stop) in zip(sentence.words, sentence.places, strict=True):
                yield word, document.char_span(start, stop, alignment_mode="expand")


class SpacyVector(SpacyFeature, name="spacy_vector", shorthand="pipeline"):
    """The vector of a word: 300 dimensions independent of context ("md", "lg"), or 96 dimensions in context ("sm").

    A word of several tokens gets the mean of their vectors, a word without a vector gets zeros.
    """

    @property
    def size(self) -> int:
        """The dimension of the vectors."""
        if self.pipeline in WIDTHS:
            return WIDTHS[self.pipeline]
        self.check()
        network = load(self.pipeline, "")
        return int(network.vocab.vectors_length or network("word").tensor.shape[-1])

    def value(self, tokens: Any) -> np.ndarray:
        """The mean vector of the tokens [size]."""
        known = tokens.vocab.vectors_length
        parts = [token.vector for token in tokens if token.has_vector] if known else list(tokens.tensor)
        width = known or (parts[0].shape[-1] if parts else 0)
        if width != self.size:
            raise InputError(f"the vectors of spaCy's {self.pipeline} have {width} dimensions here, not {self.size}")
        return np.asarray(np.mean(parts, axis=0) if parts else np.zeros(self.size), dtype=np.float32)


class PartOfSpeech(SpacyFeature, name="part_of_speech", shorthand="pipeline"):
    """The part of speech of a word as a class: 1 adjective, 2 adposition, ... (Universal Dependencies); 0 between words."""

    @property
    def categories(self) -> int:
        """Silence and the 17 tags."""
        return 1 + len(TAGS)

    def value(self, tokens: Any) -> float:
        """The class of the first token that is not punctuation."""
        tags = [token.pos_ for token in tokens]
        tag = next((tag for tag in tags if tag not in HOLLOW), tags[0])
        if not tag and not tokens.doc.has_annotation("POS"):
            raise InputError(f"the spaCy pipeline {self.pipeline} does not tag parts of speech; type part_of_speech:md")
        return 1 + TAGS.index(tag) if tag in TAGS else 1 + TAGS.index("X")


def pipeline_name(pipeline: str, language: str) -> str:
    """The name of spaCy's pipeline of a size for a language; names and folders are returned as they are.

    >>> pipeline_name("md", ""), pipeline_name("sm", "nl")
    ('en_core_web_md', 'nl_core_news_sm')
    """
    if pipeline not in WIDTHS:
        return pipeline
    code = (language or "en").replace("_", "-").partition("-")[0].lower()
    return f"{code}_core_{'web' if code in ('en', 'zh') else 'news'}_{pipeline}"


def load(pipeline: str, language: str) -> Any:
    """Load the pipeline for a language, and keep it loaded.

    Raises:
        InputError: if it is not installed.
    """
    return _load(pipeline_name(pipeline, language))


@lru_cache(maxsize=4)
def _load(name: str) -> Any:
    import spacy

    try:
        return spacy.load(name)
    except OSError:
        known = name.count("_") == 3 and name.split("_")[1] == "core"
        advice = f"type python -m spacy download {name}" if known else "give the name of an installed one, or a folder"
        raise InputError(f"no spaCy pipeline {name!r} on this machine; {advice}") from None


def pipeline_digest(pipeline: str) -> str:
    """A digest of a pipeline's name and version and of the files in its folder.

    Raises:
        InputError: if it is not installed.
    """
    network = load(pipeline, "")
    content = folder_digest(pipeline) if Path(pipeline).is_dir() else ""
    return content_digest([*(network.meta[key] for key in ("lang", "name", "version")), content])
