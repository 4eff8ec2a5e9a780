"""Features are extracted once, whoever heard it and whatever is killed; and nothing of the test split is in them."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.data_config import DataConfig
from raybrain.events import Word
from raybrain.features.base import Feature, Stimulus
from raybrain.features.mel import Mel
from raybrain.placement import model_pool
from raybrain.prepare import build as preparing
from raybrain.prepare.extract import Corpus, extract_some, make_feature
from raybrain.prepare.moments import RAREST, class_weights, frame_statistics
from raybrain.signal.base import SignalConfig
from raybrain.store import Frames, Prepared, Store, frames_folder
from tests.story import BLOCKS, SENTENCE_S, Counted, Heard, Modelled, Story, word_in

SAMPLES = round(BLOCKS * 2 * SENTENCE_S * 16_000)


@pytest.fixture
def wav(tmp_path: Path) -> str:
    path = tmp_path / "story.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(SAMPLES), 16_000, subtype="FLOAT")
    return str(path)


def prepared(home: Path, features: Sequence[Feature], wav: str, subjects: int = 1, **changes: object) -> Prepared:
    data = DataConfig(studies=(Story(wav=wav, subjects=subjects),), features=tuple(features), signal=SignalConfig(rate_hz=50))
    return preparing.run(override(data, changes), Cluster(home=home))


def counts(result: Prepared) -> dict[str, int]:
    (name,) = result.features
    return {key: result.store.manifest["features"][name][key] for key in ("stimuli", "heard", "computed")}


@pytest.mark.slow
def test_twenty_subjects_cost_one(ray_cluster: None, tmp_path: Path, wav: str, capfd: pytest.CaptureFixture[str]) -> None:
    feature, home = Counted(log=str(tmp_path / "log")), tmp_path / "home"
    first = prepared(home, [feature], wav, subjects=20)
    assert counts(first) == {"stimuli": BLOCKS, "heard": 20 * BLOCKS, "computed": BLOCKS}
    assert f"counted of {BLOCKS} stimuli (heard {20 * BLOCKS} times)" in " ".join(capfd.readouterr().err.split())
    extracted = word_in(feature.log).split()
    assert len(extracted) == len(set(extracted)) == BLOCKS

    other = prepared(home, [feature], wav, subjects=2, **{"splits.seed": 5})  # another store: other splits, other people
    assert other.store.root != first.store.root
    assert counts(other) == {"stimuli": BLOCKS, "heard": 2 * BLOCKS, "computed": 0}
    assert word_in(feature.log).split() == extracted
    scaled = prepared(home, [override(feature, {"scale": "none"})], wav, subjects=2, **{"splits.seed": 5})
    assert counts(scaled)["computed"] == 0, "how frames are scaled does not change them"
    assert scaled.digest != other.digest and scaled.brain == other.brain

    Path(f"{feature.log}.revision").write_text("2")
    anew = prepared(home, [feature], wav, subjects=2, **{"splits.seed": 5})
    assert counts(anew)["computed"] == BLOCKS, "another revision of its model"
    assert anew.digest != other.digest


@pytest.mark.slow
def test_what_is_killed_goes_on_where_it_was(ray_cluster: None, tmp_path: Path, wav: str) -> None:
    """A process that dies is started again; a feature that fails stops with one line; neither does a stimulus twice."""
    feature, home = Modelled(log=str(tmp_path / "log")), tmp_path / "home"
    Path(f"{feature.log}.once").write_text("cat10")
    Path(f"{feature.log}.fail").write_text("saw30")
    with pytest.raises(InputError, match=r"^feature modelled of stimulus \w+ \(the30 cat30 .*\): it does not like it$"):
        prepared(home, [feature], wav)
    Path(f"{feature.log}.fail").unlink()
    Path(f"{feature.log}.kill").write_text("saw30")
    with pytest.raises(
        InputError, match=r"^feature modelled of stimulus \w+ \(the30 .*\): its process was killed 2 times, .*$"
    ):
        prepared(home, [feature], wav)
    done = len(list(frames_folder(home, feature).folder.glob("*.parquet")))
    assert 0 < done < BLOCKS
    Path(f"{feature.log}.kill").unlink()
    assert counts(prepared(home, [feature], wav)) == {"stimuli": BLOCKS, "heard": BLOCKS, "computed": BLOCKS - done}
    extractions = Counter(word_in(feature.log).split())
    assert extractions.pop("the10") == 2, "once it died over it"
    assert extractions.pop("the30") > 2
    assert set(extractions.values()) == {1} and len(extractions) == BLOCKS - 2
    loads = word_in(f"{feature.log}.loads").split()
    assert len(loads) == len(set(loads)), "each process has loaded the model once"


@pytest.mark.slow
def test_train_features_do_not_know_the_test_sounds(ray_cluster: None, tmp_path: Path, wav: str) -> None:
    """Other audio in all blocks of the valid and test splits changes no byte of what is trained on, nor its scale."""
    features = (Heard(), Mel(bands=8))
    first = prepared(tmp_path / "home", features, wav)
    rows = first.store.segments(first.recordings[0]).to_pylist()
    train = {row["stimulus"] for row in rows if row["split"] == "train"}
    borders = {round(row["start_sample"] / 50 - row["stimulus_s"]) for row in rows if row["split"] == "train"}
    wave, rate = soundfile.read(wav, dtype="float32")
    other = str(tmp_path / "other.wav")
    block = round(2 * SENTENCE_S * rate)
    for start in range(0, len(wave), block):
        if start // rate not in borders:
            wave[start : start + block] = np.sin(np.arange(block) / 5)
    assert 0 < len(borders) == len(train) < BLOCKS - 2
    soundfile.write(other, wave, rate, subtype="FLOAT")
    second = prepared(tmp_path / "home", features, other)

    def frames(result: Prepared, feature: str) -> dict[str, bytes]:
        segments = result.store.segments(result.recordings[0]).to_pylist()
        stimuli = {f"{round(r['start_sample'] / 50 - r['stimulus_s'])} {r['split']}": r["stimulus"] for r in segments}
        return {place: result.store.frames(feature).read(key).tobytes() for place, key in stimuli.items()}

    for name in first.features:
        one, two = frames(first, name), frames(second, name)
        assert one.keys() == two.keys()
        assert {place.split()[1] for place in one if one[place] == two[place]} == {"train"}
        assert {place.split()[1] for place in one if one[place] != two[place]} == {"valid", "test"}
        scale = [statistics.store.manifest["features"][name] for statistics in (first, second)]
        for key in ("mean", "deviation"):  # up to the order of a sum, which goes by the names of stimuli
            np.testing.assert_allclose(scale[0][key], scale[1][key], rtol=1e-12)


class Heavy(Counted):
    packages: ClassVar[tuple[str, ...]] = ("numpy", "no_such_package")
    extra: ClassVar[str] = "text"


def test_a_missing_package_is_named_before_anything_is_made(tmp_path: Path, wav: str) -> None:
    with pytest.raises(InputError, match=r"needs no_such_package, not installed; type pip install 'raybrain\[text\]'$"):
        prepared(tmp_path / "home", [Heavy()], wav)
    assert not (tmp_path / "home").exists()


# one task


def spoken(word: str) -> Stimulus:
    return Stimulus(duration=1.0, words=(Word(start=0.0, duration=0.3, word=word),))


STIMULI = {"A": spoken("one"), "B": spoken("two"), "C": spoken("three")}


class Batched(Feature):
    """Word lengths, of all or none of the stimuli."""

    name: ClassVar[str] = "batched"
    rate_hz: float = 10.0
    refused: str = ""
    most: int = 9
    factor: float = 1.0
    classes: int = 0

    @property
    def categories(self) -> int:
        return self.classes

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        return self.extract_many([stimulus])[0]

    def extract_many(self, stimuli: Sequence[Stimulus], device: str = "cpu") -> list[np.ndarray]:
        words = [stimulus.words[0].word for stimulus in stimuli]
        if len(words) > self.most or self.refused in words:
            raise MemoryError("out of memory")
        return [self.frames(stimulus) + self.factor * len(word) for stimulus, word in zip(stimuli, words, strict=True)]


def test_what_is_too_much_at_once_is_done_one_by_one(tmp_path: Path) -> None:
    frames = Frames(tmp_path / "some")
    assert extract_some(Batched(most=1), STIMULI, frames, "cpu", tmp_path / "log")["count"] == 3
    assert [frames.read(key)[0, 0] for key in "ABC"] == [3, 3, 5]
    assert not list((tmp_path / "log").iterdir())


def test_who_is_at_fault_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    frames = Frames(tmp_path / "some")
    row = extract_some(Batched(refused="three"), STIMULI, frames, "cpu", tmp_path / "log")
    assert row["uid"] == "C"
    assert row["error"].startswith("MemoryError: out of memory (more in ")
    assert frames.missing("ABC") == ["C"]


def test_two_who_extract_the_same_end_with_whole_frames(tmp_path: Path) -> None:
    """Two stores that are prepared at once share a folder of frames, and so do two who prepare the same one."""
    stimuli, frames = {f"{n:03d}": spoken("x" * n) for n in range(1, 60)}, Frames(tmp_path / "some")
    rows = []

    def extract(run: str) -> None:
        rows.append(extract_some(Batched(), stimuli, frames, "cpu", tmp_path / "log", run))

    threads = [threading.Thread(target=extract, args=[run]) for run in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["count"] for row in rows] == [59] * 3
    assert frames.missing(stimuli) == []
    assert [frames.read(key)[0, 0] for key in stimuli] == list(range(1, 60))
    assert sorted(path.name for path in frames.folder.iterdir()) == [f"{key}.parquet" for key in stimuli]


@pytest.mark.parametrize(
    ("feature", "line"),
    [
        (Batched(factor=1e300), "gives values that are not numbers"),
        (Batched(factor=30_000.0, stored_as="float16"), "reaches 9e+04, more than float16 holds; type stored_as=float32"),
        (Batched(classes=3), "gives class 3, and has 3"),
    ],
)
def test_frames_that_cannot_be_kept(feature: Feature, line: str, tmp_path: Path) -> None:
    with np.errstate(over="ignore"):
        row = extract_some(feature, STIMULI, Frames(tmp_path / "some"), "cpu", tmp_path)
    assert (row["uid"], row["error"]) == ("A", line)


def test_halves_are_kept_where_asked_for(tmp_path: Path) -> None:
    sizes = {}
    for kind in ("float16", "float32"):
        frames = Frames(tmp_path / kind)
        extract_some(Batched(factor=np.pi, stored_as=kind), STIMULI, frames, "cpu", tmp_path)
        np.testing.assert_allclose(frames.read("C"), 5 * np.pi, rtol=5e-4 if kind == "float16" else 1e-7)
        sizes[kind] = frames.read("A").dtype
    assert sizes == {"float16": np.float32, "float32": np.float32}


# scale and weights

TRAIN = {"trained": Stimulus(duration=0.03, words=(Word(start=0.01, duration=0.02, word="a"),))}


@pytest.mark.parametrize(
    ("scale", "mean", "deviation"),
    [
        ("dimension", [2.0, 20.0], [1.0, 10.0]),
        ("all", [11.0, 11.0], [np.sqrt(0.25 * (1 + 9 + 100 + 900) - 121)] * 2),
        ("none", [0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_frame_statistics_by_hand(tmp_path: Path, scale: str, mean: list[float], deviation: list[float]) -> None:
    """Over the two frames in which a word of the train split is said: [1, 10] and [3, 30]."""
    feature, frames = override(Mel(rate_hz=100.0, bands=2), {"scale": scale}), Frames(tmp_path)
    values = np.array([[9, 9], [1, 10], [3, 30], [9, 9]], np.float32)
    frames.write("trained", values)
    frames.write("tested", values * 5)
    statistics = frame_statistics(feature, frames, TRAIN)
    np.testing.assert_allclose(statistics[0], mean)
    np.testing.assert_allclose(statistics[1], deviation)
    assert class_weights(feature, frames, TRAIN).tolist() == []


def test_scale_where_nobody_tells_the_words(tmp_path: Path) -> None:
    frames = Frames(tmp_path)
    frames.write("trained", np.array([[1.0], [1.0], [3.0], [3.0]], np.float32))
    statistics = frame_statistics(Mel(rate_hz=100.0, bands=1), frames, {"trained": Stimulus(duration=0.03)})
    assert [values.tolist() for values in statistics] == [[2.0], [1.0]]


def test_what_no_study_has_is_refused(tmp_path: Path) -> None:
    corpus = Corpus({"trained": TRAIN["trained"]}, {"trained": "train"}, 1)
    for name, kind in (("phoneme", "phonemes"), ("mel", "sounds")):
        with pytest.raises(InputError, match=f"^feature {name} needs {kind}, and the studies have none; leave it out"):
            make_feature(Feature.parse(name), corpus, Store(tmp_path), Cluster(home=tmp_path))
    assert not list(tmp_path.iterdir())


def test_class_weights_by_hand(tmp_path: Path) -> None:
    """400 frames: 300 of class 0, 99 of 1, one of 3, none of 2; and classes are not scaled."""
    frames = Frames(tmp_path)
    frames.write("trained", np.repeat([0.0, 1.0, 3.0], [300, 99, 1])[:, None].astype(np.float32))
    frames.write("tested", np.full((50, 1), 2.0, np.float32))
    weights = class_weights(Batched(classes=4), frames, TRAIN)
    np.testing.assert_allclose(weights, [400 / (3 * 300), 400 / (3 * 99), RAREST, RAREST])  # 400 / 3 is beyond the limit
    assert [values.tolist() for values in frame_statistics(Batched(classes=4), frames, TRAIN)] == [[0.0], [1.0]]


# the pool


@pytest.mark.parametrize(
    ("there", "settings", "size", "resources"),
    [
        ({"CPU": 8.0}, {}, 7, {"num_cpus": 1}),
        ({"CPU": 9.0}, {"cpus_per_worker": 4}, 2, {"num_cpus": 4}),
        ({"CPU": 2.0}, {"cpus_per_worker": 4}, 1, {"num_cpus": 1}),
        ({"CPU": 1.0}, {}, 1, {"num_cpus": 0}),
        ({"CPU": 8.0, "GPU": 2.0}, {}, 2, {"num_gpus": 1.0}),
        ({"CPU": 8.0, "GPU": 2.0}, {"gpus_per_model": 0.3}, 6, {"num_gpus": 0.3}),
        ({"CPU": 8.0, "GPU": 2.0}, {"gpus": "off"}, 7, {"num_cpus": 1}),
    ],
)
def test_models_share_what_there_is(
    there: dict[str, float],
    settings: dict[str, object],
    size: int,
    resources: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("raybrain.placement._nodes", lambda: [there])
    monkeypatch.setattr("raybrain.placement.grows", lambda: False)
    pool = model_pool(override(Cluster(home=Path("home")), settings))
    assert (pool.size, pool.resources) == (size, resources)
