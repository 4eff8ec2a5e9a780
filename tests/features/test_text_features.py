"""Words in their sentence: text models against transformers itself, spaCy, and tables made by hand from a real story."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from raybrain.config import InputError, override
from raybrain.events import Phoneme, Word
from raybrain.features.base import Feature, Stimulus
from raybrain.features.phonemes import OTHERS, SOUNDS, phoneme_class
from raybrain.features.sentences import sentences
from raybrain.features.spacy_words import pipeline_name
from raybrain.features.text_model import TextFeature, TextModel
from raybrain.identity import signature
from tests import tiny_models
from tests.conftest import SHARED

ALICE = SHARED / "data" / "brennan2019" / "AliceChapterOne-EEG.csv"
TEXT = "Alice was beginning to get very tired, the rabbit was the cat."


def spoken(texts: Sequence[str], first: int = 0, **fields: Any) -> tuple[Word, ...]:
    """A word a second, each for 0.8 s."""
    return tuple(
        Word(start=float(second), duration=0.8, word=text, word_index=first + second, **fields)
        for second, text in enumerate(texts)
    )


def stimulus(words: tuple[Word, ...]) -> Stimulus:
    return Stimulus(duration=max(word.stop for word in words), words=words)


def of_word(feature: Feature, frames: np.ndarray, word: Word) -> np.ndarray:
    inside = frames[feature.span(word, len(frames))]
    assert (inside == inside[0]).all()
    return inside[0]


# sentences


def test_the_written_sentence_is_read_where_it_fits() -> None:
    words = spoken([text.strip(",.").lower() for text in TEXT.split()], sequence=TEXT)
    (sentence,) = sentences(stimulus(words))
    assert sentence.text == TEXT and sentence.words == words
    assert [TEXT[start:stop].strip(",.").lower() for start, stop in sentence.places] == [word.word for word in words]
    starts = [start for (start, _), word in zip(sentence.places, words, strict=True) if word.word == "was"]
    assert starts == [TEXT.index("was"), TEXT.rindex("was")]


def test_a_sentence_never_reaches_beyond_the_stimulus() -> None:
    heard = (*spoken(["was", "beginning", "get"], first=1, sequence=TEXT),)
    heard = (heard[0], heard[1], Word(start=3.0, duration=0.8, word="get", word_index=4, sequence=TEXT))
    assert sentences(stimulus(heard))[0].text == "was beginning to get"


@pytest.mark.parametrize("sequence", ["", "something else", "Alice was", "was Alice beginning"])
def test_words_stand_alone_where_the_sentence_does_not_fit(sequence: str) -> None:
    words = spoken(["Alice", "was", "beginning"], sequence=sequence)
    (sentence,) = sentences(stimulus(words))
    assert sentence.text == "Alice was beginning" and sentence.places == ((0, 5), (6, 9), (10, 19))


def test_sentences_are_told_apart() -> None:
    words = [
        *spoken(["the", "cat"], sequence_uid="a"),
        *(Word(start=2.0 + i, duration=0.5, word=w, word_index=i, sequence_uid="b") for i, w in enumerate(["the", "rabbit"])),
        *(Word(start=4.0 + i, duration=0.5, word=w, word_index=i, sequence_uid="b") for i, w in enumerate(["was", "tired"])),
    ]
    groups = sentences(stimulus(tuple(reversed(words))))
    assert [sentence.text for sentence in groups] == ["the cat", "the rabbit", "was tired"]


# text models


def vectors(folder: str, text: str, layers: list[int]) -> tuple[np.ndarray, list[str]]:
    model: Any = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    return np.asarray(torch.stack([states[layer][0] for layer in layers]).mean(0)), tokenizer.convert_ids_to_tokens(
        inputs["input_ids"][0].tolist()
    )


# the tokens of "alice was beginning, the rabbit was the cat." that each word is, by hand
PIECES = {
    "bert": [[1, 2], [3], [4, 5, 6, 7], [8], [9], [10], [11], [12, 13]],
    "xlm_roberta": [[1, 2], [3], [4, 5, 6, 7], [8], [9], [10], [11], [12, 13]],
}


@pytest.mark.parametrize("kind", PIECES)
def test_words_of_several_tokens(kind: str, models: Callable[[str], str]) -> None:
    text = "alice was beginning, the rabbit was the cat."
    words = spoken([word.strip(",.") for word in text.split()], sequence=text)
    feature = override(TextModel(), {"checkpoint": models(kind), "layers": "1,3"})
    states, tokens = vectors(models(kind), text, [1, 3])
    assert len(tokens) == 15 and "".join(tokens[1:3]).strip("▁").replace("##", "") == "alice"
    frames = feature.extract(stimulus(words))
    assert frames.shape[1] == feature.size == 12
    for word, places in zip(words, PIECES[kind], strict=True):
        np.testing.assert_allclose(of_word(feature, frames, word), states[places].mean(axis=0), atol=1e-5)
    between = np.r_[96 + 2 : 118]  # 0.8 to 1 s at 120 Hz
    assert not frames[between].any()
    first, again = of_word(feature, frames, words[1]), of_word(feature, frames, words[5])
    assert np.abs(first - again).max() > 1e-3  # was and was, in context


def test_raw_vectors_do_not_depend_on_context(models: Callable[[str], str]) -> None:
    feature = Feature.parse(f"text_embedding:{models('xlm_roberta')}")
    words = spoken(["the", "cat", "was", "the", "rabbit"])
    frames = feature.extract(stimulus(words))
    table = transformers.AutoModel.from_pretrained(models("xlm_roberta")).get_input_embeddings().weight.detach().numpy()
    for word, token in zip(words, [4, 14, 8, 4, 5], strict=True):
        np.testing.assert_array_equal(of_word(feature, frames, word), table[token])


def test_a_batch_of_sentences_equals_each_alone(models: Callable[[str], str]) -> None:
    for kind in ("bert", "xlm_roberta"):
        feature = override(TextModel(), {"checkpoint": models(kind), "layers": "2"})
        rows = [[4, 5, 6, 7, 8], [4, 5], [9, 10, 11]]
        for row, together in zip(rows, feature.run(rows, "cpu"), strict=True):
            np.testing.assert_allclose(feature.run([row], "cpu")[0], together, atol=1e-5)
        stories = [stimulus(spoken(text.split())) for text in ("the cat", "the rabbit was tired", "the cat was the rabbit")]
        for alone, together in zip(feature.extract_many(stories), feature.extract_many(stories, "cpu:0"), strict=True):
            np.testing.assert_allclose(alone, together, atol=1e-5)


def test_a_sentence_longer_than_the_model_takes(models: Callable[[str], str]) -> None:
    feature = override(TextModel(), {"checkpoint": models("bert"), "layers": "0"})
    words = spoken(["alice", "beginning", "the"] * 15)  # 105 tokens, the model takes 32
    rows: list[int] = []
    run = TextFeature.run

    def counted(self: TextFeature, ids: Any, device: str) -> Any:
        rows.extend(len(row) for row in ids)
        return run(self, ids, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextFeature, "run", counted)
        frames = feature.extract(stimulus(words))
    assert len(rows) > 4 and max(rows) <= 32
    assert all(of_word(feature, frames, word).any() for word in words)
    short = feature.extract(stimulus(words[:3]))
    np.testing.assert_allclose(of_word(feature, frames, words[0]), of_word(feature, short, words[0]), atol=1e-5)


def test_text_models_that_cannot_be_used(models: Callable[[str], str], tmp_path: Path) -> None:
    words = stimulus(spoken(["the", "cat"]))
    with pytest.raises(InputError, match="has hidden states 0 to 3, found layers=8,9,10"):
        Feature.parse(f"text_model:{models('bert')}").extract(words)
    with pytest.raises(InputError, match=r"whisper (reads input_features|has 50 tokens)"):
        override(TextModel(), {"checkpoint": models("whisper"), "layers": "1"}).extract(words)
    folder = tmp_path / "bert"
    shutil.copytree(models("bert"), folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="has 20 tokens but a tokenizer of 5"):
        override(TextModel(), {"checkpoint": str(folder), "layers": "1"}).extract(words)


# spaCy


def test_a_pipeline_folder_is_known_by_its_content(models: Callable[[str], str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(models("spacy"), copy, copy_function=shutil.copyfile)
    first, second = (Feature.parse(f"spacy_vector:{folder}") for folder in (models("spacy"), copy))
    assert (signature(first), first.identity()) == (signature(second), second.identity())
    (copy / "more.txt").write_text("words")
    assert signature(first) != signature(second)
    assert first.identity() != second.identity()


def test_spacy_vectors_and_parts_of_speech(models: Callable[[str], str]) -> None:
    words = spoken(["the", "rabbit's", "very", "tired"], sequence="The rabbit's very tired.")
    vector, tag = (Feature.parse(f"{name}:{models('spacy')}") for name in ("spacy_vector", "part_of_speech"))
    frames = vector.extract(stimulus(words))
    expected = np.zeros((4, 6))
    expected[1, 1], expected[3, 3] = 2, 4  # The, 's and very have none
    np.testing.assert_allclose([of_word(vector, frames, word) for word in words], expected)
    tags = tag.extract(stimulus(words))
    assert [int(of_word(tag, tags, word)[0]) for word in words] == [6, 8, 17, 1]  # DET NOUN X ADJ
    assert vector.identity() and vector.identity() == tag.identity()


def test_a_pipeline_without_vectors_gives_context(tmp_path: Path) -> None:
    feature = Feature.parse(f"spacy_vector:{tiny_models.spacy_pipeline(tmp_path / 'small', vectors=False)}")
    words = spoken(["the", "cat", "was", "the"])
    frames = feature.extract(stimulus(words))
    assert feature.size == 8 and all(of_word(feature, frames, word).any() for word in words)


def test_spacy_speaks_the_language_of_the_event() -> None:
    names = [pipeline_name("md", "nl"), pipeline_name("sm", "en-GB"), pipeline_name("lg", "zh"), pipeline_name("/x", "nl")]
    assert names == ["nl_core_news_md", "en_core_web_sm", "zh_core_web_lg", "/x"]
    assert [Feature.parse(f"spacy_vector:{size}").size for size in ("sm", "md")] == [96, 300]
    for language, name in (("", "en_core_web_md"), ("nl", "nl_core_news_md")):
        with pytest.raises(InputError, match=f"no spaCy pipeline '{name}' .*; type python -m spacy download {name}$"):
            Feature.parse("spacy_vector").extract(stimulus(spoken(["huis"], language=language)))
    with pytest.raises(InputError, match="no spaCy pipeline '/nowhere'"):
        Feature.parse("part_of_speech:/nowhere").identity()


def test_what_spacy_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs spacy, not installed; type pip install 'raybrain\[text\]'"):
        Feature.parse("spacy_vector").check()
    with pytest.raises(InputError, match="needs spacy, not installed"):
        assert Feature.parse("spacy_vector:/pipelines/mine").size


# words and phonemes


def test_words_of_a_real_story() -> None:
    if not ALICE.exists():
        pytest.skip(f"no {ALICE}")
    with open(ALICE) as file:
        rows = [row for row in csv.DictReader(file) if row["Segment"] == "1"]
    words = tuple(
        Word(
            start=float(row["onset"]),
            duration=float(row["offset"]) - float(row["onset"]),
            word=row["Word"],
            word_index=int(row["Position"]) - 1,
            language="en",
        )
        for row in rows
    )
    story = stimulus(words)
    # a frame in the middle of some words, and what the table says of them
    table = {  # word: letters, place, Zipf frequency as wordfreq's list has it
        "Alice": (5, 1, 4.26),
        "beginning": (9, 3, 5.00),
        "bank": (4, 15, 5.16),
    }
    for name, column in (("word_length", 0), ("word_position", 1), ("word_frequency", 2)):
        feature = Feature.parse(name)
        frames = feature.extract(story)[:, 0]
        for text, values in table.items():
            word = next(word for word in words if word.word == text)
            middle = frames[round((word.start + word.duration / 2) * 120)]
            assert middle == pytest.approx(values[column], abs=0.02 if column == 2 else 0), (name, text)
    spoken = np.zeros(len(Feature.parse("word_segment").frames(story)), dtype=bool)
    for row in rows:
        spoken[round(float(row["onset"]) * 120) : round(float(row["offset"]) * 120)] = True
    np.testing.assert_array_equal(Feature.parse("word_segment").extract(story)[:, 0], spoken)
    pulses = np.flatnonzero(Feature.parse("word_pulse").extract(story)[:, 0])
    first = round(float(rows[0]["onset"]) * 120)
    assert pulses[:6].tolist() == [*range(first, first + 6)]


def test_modality() -> None:
    words = (*spoken(["a"]), Word(start=1.0, duration=0.5, word="b", modality="visual"))
    feature = Feature.parse("modality")
    assert feature.categories == 3
    assert feature.extract(stimulus(words))[[0, 110, 121], 0].tolist() == [1, 0, 2]
    with pytest.raises(InputError, match=r"modality 'smell'. Allowed: audio, visual"):
        feature.extract(stimulus(spoken(["a"], modality="smell")))


def number(label: str, language: str = "en") -> int:
    return phoneme_class(Phoneme(start=0, duration=1, phoneme=label, language=language))


def test_alphabets_of_phonemes() -> None:
    for sound, labels in {
        "ʌ": ["AH", "AH0", "AH1", "ah", "ah_B", "ah_I"],
        "ŋ": ["NG", "ng_E"],
        "j": ["Y", "y_B"],
        "n": ["N", "n_S"],
        "z": ["Z", "z_E"],
    }.items():
        assert {number(label) for label in labels} == {1 + SOUNDS.index(sound)}, sound
    for sound, labels in {"ŋ": ["N"], "ʒ": ["Z"], "y": ["y", "y:"], "ɑ": ["A"], "a": ["a:"], "œy": ["9y"], "ə": ["@"]}.items():
        assert {number(label, "nl") for label in labels} == {1 + SOUNDS.index(sound)}, sound
    assert number("t") == number("T") == number("t", "nl") == number("t", "")
    assert {number(label) for label in ("sil", "", "sp", "SIL", "sil_S")} == {0}
    others = {number(label) for label in ("spn", "ʘ", "ǃ", "q'")}
    assert len(others) > 1 and min(others) > len(SOUNDS) and max(others) <= len(SOUNDS) + OTHERS
    assert Feature.parse("phoneme").categories == 1 + len(SOUNDS) + OTHERS
    assert len(set(SOUNDS)) == len(SOUNDS) and SOUNDS[:3] == ("ɑ", "æ", "ʌ") and SOUNDS[-1] == "ɲ"


def test_phonemes_have_the_same_numbers_in_every_process() -> None:
    labels = ["AH0", "t_B", "NG", "spn", "ʘ", "sil"]
    heard = Stimulus(6.0, phonemes=tuple(Phoneme(start=i, duration=1, phoneme=label) for i, label in enumerate(labels)))
    frames = Feature.parse("phoneme").extract(heard)[60:720:120, 0].astype(int).tolist()
    assert frames == [number(label) for label in labels]
    code = f"""
from raybrain.events import Phoneme
from raybrain.features.phonemes import phoneme_class
print([phoneme_class(Phoneme(start=0, duration=1, phoneme=label)) for label in {labels}])
"""
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(frames)
