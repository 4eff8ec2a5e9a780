"""What was heard in a recording that no model has seen, and what had to be assumed; everything through the public doors."""

import json
import re
import shutil
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import raybrain as package
from raybrain.config import InputError
from raybrain.model_folder import KnownRecording, write_model
from raybrain.predict.guess import UNKNOWN, Guess
from raybrain.predict.model import Model
from raybrain.predict.stretches import Speech, Stretches
from raybrain.report.topography import topographies
from tests.conftest import Ended
from tests.predict.conftest import KNOWN, Heard, Make, changed_raw

Run = Callable[..., Ended]
SMALL = ["encoder.depth=2", "encoder.hidden=8", "encoder.attention.channels=6", "encoder.initial_linear=6"]
SMALL += ["encoder.attention.dimensions=32"]


@pytest.fixture(scope="module")
def folder(make: Make) -> Path:
    return make(*SMALL)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return package.load(folder)


@pytest.fixture(scope="module")
def plain(model: Model, heard: Heard) -> Guess:
    return model.predict(heard.raw, sounds=heard.sounds, subject=KNOWN[0], every_s=5, step_s=1)


def test_every_moment_has_its_likeliest_stretches(plain: Guess) -> None:
    times = [row["time_s"] for row in plain.moments]
    assert times == pytest.approx(np.arange(0, 5 * len(times), 5))
    assert times[-1] + plain.length_s <= 70
    shares = likely(plain)
    assert shares.shape == (len(times), 3) and (shares > 0).all() and (shares.sum(axis=1) <= 1 + 1e-9).all()
    assert plain.shares.sum(axis=1) == pytest.approx(1)
    for row in plain.moments:  # stretches that are named stand for their neighbours, and so lie apart
        starts = [guess["from_s"] for guess in row["guesses"] if guess["sound"] == row["guesses"][0]["sound"]]
        assert all(abs(one - other) >= plain.length_s / 2 - 1e-6 for one in starts for other in starts if one != other)
    assert list(plain.table.columns) == ["time_s", "sound", "from_s", "probability"]
    assert len(plain.table) == len(times)
    assert [share for _, share in plain.overall] == sorted((share for _, share in plain.overall), reverse=True)
    assert json.loads(json.dumps(plain.result()))["windows"] == plain.moments


def test_it_says_what_it_assumed_and_no_more(plain: Guess) -> None:
    assert plain.assumed == [
        "recorded at 125 Hz, resampled to the model's 120 Hz",
        "probabilities are calibrated on 80 windows of the valid split, where they are 3.0% off in the mean",
    ]


def test_probabilities_follow_from_scores_by_the_temperature(model: Model, heard: Heard, plain: Guess) -> None:
    """By hand: the window, the speech, the scores, a softmax."""
    from raybrain.predict.new_recording import read_recording
    from raybrain.predict.stretches import read_sounds

    new, speech = read_recording(heard.raw, model.card), read_sounds(heard.sounds, model.card)
    stretches = speech.grid(1.0)
    estimates = model.estimates(new.values, [600], subject=KNOWN[0], scaler=new.scaler, layout=new.layout)
    scores = model.scores(estimates, speech.windows(stretches.of, stretches.start_s))
    likely = (scores.double() / 0.02).softmax(dim=1).numpy()[0]
    best = plain.moments[1]["guesses"][0]
    assert speech.names[stretches.of[likely.argmax()]] == best["sound"]
    assert stretches.start_s[likely.argmax()] == best["from_s"]
    near = (stretches.of == stretches.of[likely.argmax()]) & (np.abs(stretches.start_s - best["from_s"]) < speech.length_s / 2)
    assert likely[near].sum() == pytest.approx(best["probability"], rel=1e-5)


def test_stretches_stand_for_those_that_overlap_them_by_more_than_half() -> None:
    some = Stretches(np.array([0, 0, 0, 0, 1, 1]), np.array([0.0, 1.0, 1.5, 3.0, 0.0, 1.0]), 3.0, spaced=True)
    first, stop = some.near
    assert list(zip(first, stop, strict=True)) == [(0, 2), (0, 3), (1, 3), (3, 4), (4, 6), (4, 6)]
    alone = Stretches(some.of, some.start_s, 3.0, spaced=False)
    assert [list(part) for part in alone.near] == [[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]]
    assert [some.nearest(0, 1.4), some.nearest(1, 9.0), some.nearest(2, 0.0)] == [2, 5, -1]


def likely(found: Guess) -> np.ndarray:
    """The probabilities of all stretches that are named, [windows top]."""
    return np.array([[guess["probability"] for guess in row["guesses"]] for row in found.moments])


def lacking(raw: Any) -> None:
    raw.drop_channels([raw.ch_names[number] for number in (0, 3, 6, 9, 12)])
    raw.resample(160, verbose="error")


def renamed(raw: Any) -> None:
    raw.rename_channels({name: f"X{number}" for number, name in enumerate(raw.ch_names)})


MONTAGES: list[tuple[str, Callable[[Any], None], list[str]]] = [
    ("five missing", lacking, ["recorded at 160 Hz", "5 of 16 channels are missing ("]),
    ("other names", renamed, ["16 of 16 channels have other names than the model's and are matched by place"]),
    ("marked bad", lambda raw: raw.info["bads"].append(raw.ch_names[2]), ["1 of 16 channels are missing, 1 marked bad"]),
    ("another order", lambda raw: raw.reorder_channels(raw.ch_names[::-1]), []),
]


@pytest.mark.parametrize(("change", "lines"), [row[1:] for row in MONTAGES], ids=[row[0] for row in MONTAGES])
def test_another_montage(change: Any, lines: list[str], model: Model, heard: Heard, plain: Guess, tmp_path: Path) -> None:
    other = changed_raw(heard, tmp_path / "other_raw.fif", change)
    found = model.predict(other, sounds=heard.sounds, subject=KNOWN[0], every_s=5, step_s=1)
    for line in lines:
        assert any(line in one for one in found.assumed), found.assumed
    missing = [line for line in found.assumed if "missing" in line]
    assert all("left out, which this encoder allows" in line for line in missing)
    if missing:
        assert not np.allclose(likely(found), likely(plain), atol=1e-4)
    else:
        np.testing.assert_allclose(likely(found), likely(plain), atol=1e-4)


def test_a_fixed_montage_is_filled_by_interpolation(make: Make, heard: Heard, tmp_path: Path) -> None:
    """The value of a missing channel comes near to what it was, and the rest stays."""
    from raybrain.predict.new_recording import read_recording

    card = package.load(make("encoder=ridge")).card
    whole = read_recording(heard.raw, card)
    less = read_recording(changed_raw(heard, tmp_path / "less_raw.fif", lambda raw: raw.drop_channels(raw.ch_names[4:5])), card)
    assert any("1 of 16 channels are missing" in line and "interpolated" in line for line in less.assumed)
    assert less.layout == whole.layout
    there = np.arange(16) != 4
    np.testing.assert_allclose(less.values[:, there], whole.values[:, there], rtol=1e-4, atol=1e-9)
    assert np.corrcoef(less.values[:, 4], whole.values[:, 4])[0, 1] > 0.3


def test_no_window_holds_what_is_flat(make: Make, heard: Heard, tmp_path: Path) -> None:
    from raybrain.predict.new_recording import read_recording

    def still(raw: Any) -> None:
        first = round(10 * raw.info["sfreq"])
        raw._data[:, first : first + round(2 * raw.info["sfreq"])] = 0.0

    read = read_recording(changed_raw(heard, tmp_path / "still_raw.fif", still), package.load(make("encoder=ridge")).card)
    assert "2.0 s are flat: no window holds any of it" in read.assumed
    starts, length = read.grid(0.5) / read.window.rate_hz, read.window.samples / read.window.rate_hz
    assert len(starts) and ((starts + length <= 10 + 0.01) | (starts >= 12 - 0.01)).all()


# somebody new


def test_somebody_new_is_the_mean_of_all_others(model: Model) -> None:
    wide = model.with_subject("me")
    assert wide.subjects == (*KNOWN, "me") and model.subjects == KNOWN
    before, after = model.network.state_dict(), wide.network.state_dict()
    own = [name for name in before if before[name].shape != after[name].shape]
    assert own == ["encoder.front.subject_layer.weights"]
    assert torch.equal(after[own[0]][2], before[own[0]].mean(dim=0))
    with pytest.raises(InputError, match=f"has a subject '{KNOWN[0]}' already"):
        model.with_subject(KNOWN[0])


def test_who_was_left_out_of_training_is_somebody_new(model: Model, heard: Heard, tmp_path: Path) -> None:
    known, left_out = KNOWN
    card = replace(model.card, trained=(known,))
    write_model(tmp_path / "fewer", card, model.network.state_dict())
    fewer = package.load(tmp_path / "fewer")
    assert fewer.subjects == (known,)
    with pytest.raises(InputError, match=f"knows no subject '{left_out}'"):
        fewer.predict(heard.raw, sounds=heard.sounds, subject=left_out)
    scale = (1.0,) * fewer.shapes.channels
    known_recording = {"r": KnownRecording(left_out, 0, scale, scale)}
    with_it = Model(fewer.path, replace(card, recordings=known_recording), model.network.state_dict())
    signal = np.random.default_rng(0).normal(size=(2 * card.window.samples, fewer.shapes.channels))
    assert len(with_it.estimates(signal, [0], recording="r")) == 1, "it is known whose it is, and what somebody begins with"
    back = fewer.with_subject(left_out)
    assert back.subjects == KNOWN and back.shapes == fewer.shapes
    mean = fewer.with_subject("me").network.encoder.front.subject_layer.weights[-1]
    assert torch.equal(mean, model.network.encoder.front.subject_layer.weights[0]), "the mean over the only one it knows"


def test_the_picture_of_the_sensors_is_that_of_whom_a_map_was_fitted_to(make: Make) -> None:
    model = package.load(make("encoder=ridge"))
    with torch.no_grad():
        model.network.encoder.weights.zero_()
        for subject in (0, 1):
            model.network.encoder.weights[subject, :, subject] = 1.0
    for name in KNOWN:
        scale = (1.0,) * model.shapes.channels
        recordings = {"r": KnownRecording(name, 0, scale, scale)}
        one = Model(model.path, replace(model.card, trained=(name,), recordings=recordings), model.network.state_dict())
        (picture,) = topographies(one)
        assert picture.strength.argmax() == KNOWN.index(name)
    nobody = Model(model.path, replace(one.card, trained=("other/1",)), model.network.state_dict())
    assert topographies(nobody) == []


@pytest.mark.parametrize("own", ["low_rank", "channels"])
def test_somebody_new_has_what_all_share(own: str, make: Make) -> None:
    model = package.load(make(*SMALL, "encoder.subject_layer.shared.on=true", f"encoder.subject_layer.shared.own={own}"))
    layer = model.with_subject("me").network.encoder.front.subject_layer
    assert torch.equal(layer.matrices()[-1], layer.shared)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder.subject=none", "encoder.subject=embedding", "encoder=ridge"])
def test_every_encoder_takes_somebody_new(kind: str, make: Make, heard: Heard) -> None:
    model = package.load(make(*([] if "ridge" in kind else SMALL), kind))
    found = model.predict(heard.raw, sounds=heard.sounds, every_s=10, step_s=1)
    assert found.subject == UNKNOWN
    assert any("taken for the mean of its 2" in line for line in found.assumed)
    assert any("too sure for somebody new" in line for line in found.assumed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder.subject=layer", "encoder.subject=none", "encoder=ridge"])
def test_labelled_minutes_calibrate_and_those_after_them_tell_how_good_that_is(
    kind: str, make: Make, heard: Heard, tmp_path: Path
) -> None:
    model = package.load(make(*([] if "ridge" in kind else SMALL), kind))
    found = model.predict(heard.raw, sounds=heard.sounds, calibrate=heard.events, minutes=0.8, every_s=10, step_s=0.5)
    (line,) = [line for line in found.assumed if "calibrat" in line and "probab" not in line]
    assert ("nothing to calibrate" in line) == (kind == "encoder.subject=none")
    assert found.check["windows"] >= 10 and 0 <= found.check["right"] <= 1
    assert found.check["right_chance"] < 0.1
    if kind == "encoder=ridge":  # fitted anew, so that it works although the model is nonsense
        assert found.check["right"] > 3 * found.check["right_chance"]
        before, after = (float(part.split()[number]) for part, number in zip(line.split(" -> "), (-1, 0), strict=True))
        assert after < before


def test_a_model_that_learned_to_know_somebody_can_be_kept(model: Model, tmp_path: Path) -> None:
    kept = model.with_subject("me").save(tmp_path / "kept")
    assert package.load(kept).subjects == (*KNOWN, "me")


# other speech


def test_stretches_of_a_table(model: Model, heard: Heard, tmp_path: Path) -> None:
    name = sorted(path.name for path in heard.sounds.glob("*.wav"))[0]
    table = tmp_path / "stretches.tsv"
    table.write_text(f"sound\tonset\n{name}\t1.5\n{name}\t2.0\n{Path(name).stem}\t4.0\n")
    found = model.predict(heard.raw, sounds=heard.sounds, stretches=table, every_s=10, subject=KNOWN[0])
    assert {guess["from_s"] for row in found.moments for guess in row["guesses"]} == {1.0, 1.5, 3.5}
    assert all(sum(guess["probability"] for guess in row["guesses"]) == pytest.approx(1) for row in found.moments)


WORDS = ["data.features=word_length,word_segment"]


def test_sentences_are_ranked_by_their_words(make: Make, heard: Heard, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(
        "The cat sat on the mat.\n\n  A considerably longer sentence, with several extraordinarily long words in it. \n"
    )
    model = package.load(make(*SMALL, *WORDS))
    found = model.predict(heard.raw, text=text, every_s=10)
    assert found.speech.what == "sentence"
    assert list(found.speech.names) == [" ".join(line.split()) for line in text.read_text().splitlines() if line]
    assert any("letters a second" in line for line in found.assumed)
    with pytest.raises(InputError, match="this model knows speech by mel, which a text does not have; type --sounds DIR"):
        package.load(make(*SMALL)).predict(heard.raw, text=text)


def test_features_of_sounds_are_those_of_training(model: Model, heard: Heard) -> None:
    """A window is cut from the frames of the whole sound, scaled by the model, silence where it goes on behind it."""
    from raybrain.predict.stretches import read_sounds

    speech: Speech = read_sounds(heard.sounds, model.card)
    (scale,) = model.features
    (mel,) = model.experiment.data.features
    from raybrain.events import Sound
    from raybrain.features.base import Stimulus

    path = heard.sounds / speech.names[0]
    lasts = float(speech.durations_s[0])
    frames = scale.scaled(mel.extract(Stimulus(lasts, (Sound(start=0, duration=lasts, filepath=str(path)),))))
    window = speech.windows(np.array([0]), np.array([1.0]))[0].numpy()
    wanted = frames[np.floor((1.0 + np.arange(window.shape[1]) / 120) * 125 + 0.5 + 1e-6).astype(int)].T
    np.testing.assert_allclose(window, wanted)
    late = speech.windows(np.array([0]), np.array([lasts]))[0].numpy()
    assert (late[:, -10:] == scale.quiet[:, None]).all()


# on the command line


def test_the_command_tells_people_and_programs(raybrain: Run, folder: Path, heard: Heard, tmp_path: Path) -> None:
    command = ["predict", str(folder), str(heard.raw), "--sounds", str(heard.sounds), "--every", "10", "--step", "1"]
    ended = raybrain(*command, "--picture", str(tmp_path / "guess.svg"), "--json")
    assert ended.code == 0, ended.err
    assert "what was heard in new_raw.fif" in ended.out and "assumed: recorded at 125 Hz" in ended.out
    assert (tmp_path / "guess.svg").read_text().startswith("<?xml")
    assert len(ended.json["windows"]) == 7 and ended.json["check"] == {}
    ended = raybrain("export", str(folder), "--to", str(tmp_path / "out"), "--json")
    assert ended.code == 0, ended.err
    assert [Path(path).name for path in ended.json["files"]] == ["README.md", "config.json", "model.json", "model.safetensors"]


def truncated(heard: Heard, folder: Path) -> str:
    path = folder / "cut_raw.fif"
    path.write_bytes(heard.raw.read_bytes()[:-50_000])
    return str(path)


def silent(folder: Path, seconds: float) -> str:
    sounds = folder / "sounds"
    sounds.mkdir()
    with wave.open(str(sounds / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\0\1" * int(16_000 * seconds))
    return str(sounds)


def foreign(heard: Heard, folder: Path) -> str:
    def change(raw: Any) -> None:
        renamed(raw)
        for channel in raw.info["chs"]:
            channel["loc"][:3] += 1.0

    return str(changed_raw(heard, folder / "foreign_raw.fif", change))


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def damaged(model: Path, folder: Path) -> str:
    copy = folder / "model"
    shutil.copytree(model, copy)
    (copy / "model.json").write_text((copy / "model.json").read_text()[:-100])
    return str(copy)


WRONG: dict[str, tuple[dict[str, Callable[[Heard, Path], str]], str]] = {
    "no recording": ({"recording": lambda h, f: str(f / "none.fif")}, r"no recording .*none\.fif; type the path of a file"),
    "no model": ({"model": lambda h, f: str(f)}, r"no model in "),
    "a truncated recording": ({"recording": truncated}, r"cut_raw\.fif .*(truncated|cannot be read)"),
    "not a recording": ({"recording": lambda h, f: written(f / "a_raw.fif", "text")}, r"a_raw\.fif cannot be read"),
    "no folder of sounds": ({"--sounds": lambda h, f: str(f / "none")}, r"no folder .*none; type --sounds DIR"),
    "a folder without sounds": (
        {"--sounds": lambda h, f: str(f)},
        r"no sounds in .*; it should hold files of these kinds",
    ),
    "short sounds": (
        {"--sounds": lambda h, f: silent(f, 1.0)},
        r"no sound is as long as a window .* 3\.0 s; the longest .* 1\.0",
    ),
    "no shared channel": ({"recording": foreign}, r"none of the 16 channels the model knows .* is in the recording"),
    "no column": (
        {"--calibrate": lambda h, f: written(f / "e.tsv", "onset\tvalue\n1\t2\n")},
        r"e\.tsv has no column 'stim_f",
    ),
    "no onset": ({"--calibrate": lambda h, f: written(f / "e.tsv", "stim_file\na\n")}, r"e\.tsv has no column 'onset'"),
    "no table": ({"--calibrate": lambda h, f: str(f / "none.tsv")}, r"none\.tsv cannot be read as a table"),
    "other sounds": (
        {"--calibrate": lambda h, f: written(f / "e.tsv", "onset\tstim_file\n1\tz.wav\n")},
        r"e\.tsv names none of the \d+ sounds \(z\.wav\)",
    ),
    "too few labels": (
        {"--calibrate": lambda h, f: str(h.events), "--minutes": lambda h, f: "0.1"},
        r"labelled windows are too few to calibrate on",
    ),
    "somebody unknown": ({"--subject": lambda h, f: "synthetic-eeg/1"}, r"no subject 'synthetic-eeg/1', did you mean"),
    "no picture": (
        {"--picture": lambda h, f: str(f / "a.gif")},
        r"a\.gif is no name of a picture; it must end with",
    ),
    "no folder of the picture": (
        {"--picture": lambda h, f: str(f / "none" / "a.png")},
        r"no folder .*none to write a\.png",
    ),
    "a table of another sound": (
        {"--stretches": lambda h, f: written(f / "s.tsv", "sound\tonset\nz\t1\n")},
        r"s\.tsv, line 2: no sound 'z'",
    ),
    "no seconds": ({"--every": lambda h, f: "0"}, r"every_s.*greater than 0"),
    "both": (
        {"--text": lambda h, f: written(f / "t.txt", "a b")},
        r"say what may have been heard: --sounds DIR, or --text",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line(case: str, raybrain: Run, folder: Path, heard: Heard, tmp_path: Path) -> None:
    changes, line = WRONG[case]
    words = {
        "model": str(folder),
        "recording": str(heard.raw),
        "--sounds": str(heard.sounds),
        "--picture": str(tmp_path / "p.png"),
    }
    words |= {name: value(heard, tmp_path) for name, value in changes.items()}
    before = sorted(tmp_path.rglob("*"))
    options = [part for name, value in words.items() if name.startswith("--") for part in (name, value)]
    ended = raybrain("predict", words["model"], words["recording"], *options)
    assert ended.code == 2, ended.out + ended.err
    assert len(ended.err.strip().splitlines()) == 1 and "raybrain: " in ended.err
    assert re.search(line, ended.err), ended.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_model_is_one_line(raybrain: Run, folder: Path, heard: Heard, tmp_path: Path) -> None:
    ended = raybrain("predict", damaged(folder, tmp_path), str(heard.raw), "--sounds", str(heard.sounds))
    assert (ended.code, len(ended.err.strip().splitlines())) == (2, 1)
    assert "damaged file" in ended.err


def test_a_model_that_does_not_know_how_sure_it_is_says_so(make: Make, heard: Heard) -> None:
    model = package.load(make(*SMALL, calibration=None))
    found = model.predict(heard.raw, sounds=heard.sounds, subject=KNOWN[0], every_s=10, step_s=1)
    assert found.calibration is None and any("not calibrated" in line for line in found.assumed)


def test_a_known_model_of_another_task_or_an_unknown_option_is_refused(model: Model, heard: Heard) -> None:
    with pytest.raises(InputError, match=r"evry_s.*did you mean 'every_s'"):
        model.predict(heard.raw, sounds=heard.sounds, evry_s=1)
