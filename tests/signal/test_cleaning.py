"""Artefacts are planted in signal that is known, and each step takes off the one it is for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.config import InputError, override
from raybrain.signal.base import Context, SignalConfig, Step
from raybrain.signal.pipeline import Signal, read_signal
from raybrain.signal.window import SegmentConfig

RATE_HZ, SECONDS = 250.0, 60.0
SAMPLES = int(RATE_HZ * SECONDS)
TIMES = np.arange(SAMPLES) / RATE_HZ
CONTEXT = Context(
    RATE_HZ,
    1,
    SegmentConfig(),
    lambda rate_hz, samples: np.arange(round(rate_hz), samples - round(3.1 * rate_hz), 250),
)
HUM = 2e-5 * (np.sin(2 * np.pi * 50 * TIMES) + 0.3 * np.sin(2 * np.pi * 100 * TIMES))


def info(kinds: dict[str, str]) -> Any:
    import mne

    made = mne.create_info(list(kinds), RATE_HZ, list(kinds.values()))
    return made.set_montage("standard_1020", on_missing="ignore", verbose="error") if "eeg" in kinds.values() else made


def electrodes() -> list[str]:
    return "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2 M1 M2".split()  # noqa: SIM905


def brain(channels: int, seed: int = 0) -> np.ndarray:
    """Sources below 30 Hz that are seen by all channels: [channels samples] in volts."""
    import mne

    draw = np.random.default_rng(seed)
    sources = mne.filter.filter_data(draw.laplace(size=(8, SAMPLES)), RATE_HZ, 2, 30, verbose="error")
    return np.asarray(5e-6 * draw.standard_normal((channels, 8)) @ sources + 2e-7 * draw.standard_normal((channels, SAMPLES)))


def recording(values: np.ndarray, beside: dict[str, tuple[str, np.ndarray]] | None = None) -> Any:
    import mne

    beside = beside or {}
    kinds = dict.fromkeys(electrodes(), "eeg") | {name: kind for name, (kind, _) in beside.items()}
    return mne.io.RawArray(np.vstack([values, *(signal for _, signal in beside.values())]), info(kinds), verbose="error")


def clean(raw: Any, *steps: str, rate_hz: float = RATE_HZ) -> Signal:
    return read_signal(raw, SignalConfig(rate_hz=rate_hz, steps=steps).steps, CONTEXT)  # type: ignore[arg-type]


def error(signal: Signal, truth: np.ndarray) -> float:
    """Root mean square of what is left, inside, in units of the truth's."""
    inside = slice(1000, -1000)
    return float(np.sqrt(((signal.values[inside] - truth.T[inside]) ** 2).mean() / (truth[:, inside] ** 2).mean()))


def pulses(every_s: float, width_s: float) -> np.ndarray:
    at = np.arange(1.0, SECONDS, every_s)
    return np.exp(-0.5 * ((TIMES[:, None] - at) / width_s) ** 2).sum(axis=1)


@pytest.mark.parametrize("typed", ["notch", "notch:50", "lowpass:35"])
def test_hum_is_taken_off(typed: str) -> None:
    truth = brain(21)
    dirty = recording(truth + HUM)
    assert error(clean(dirty, typed), truth) < 0.1 * error(clean(dirty, "highpass:0.5"), truth)


def test_hum_is_taken_off_by_fitted_sines() -> None:
    truth = brain(21)
    steps = override(SignalConfig(rate_hz=RATE_HZ, steps=("notch",)), {"steps.notch.method": "spectrum_fit"}).steps  # type: ignore[arg-type]
    assert error(read_signal(recording(truth + HUM), steps, CONTEXT), truth) < 0.1


def test_filters_are_those_of_mne() -> None:
    raw = recording(brain(21))
    for typed, low, high in (("highpass:1", 1, None), ("lowpass:30", None, 30), ("bandpass", 1, 40)):
        expected = raw.copy().filter(low, high, verbose="error").get_data()
        np.testing.assert_allclose(clean(raw, typed).values.T, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    expected = raw.copy().notch_filter([50, 100], verbose="error").get_data()
    np.testing.assert_allclose(clean(raw, "notch").values.T, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_eyes_and_heart_are_taken_off_by_ica() -> None:
    truth = brain(21)
    blink, beat = pulses(4.1, 0.1), pulses(0.83, 0.012)
    eyes = np.exp(-np.arange(21) / 3.0)[:, None]  # the first ones lie on the forehead
    heart = np.random.default_rng(2).standard_normal((21, 1))
    beside = {"EOG": ("eog", 2e-4 * blink), "ECG": ("ecg", 1e-3 * beat)}
    dirty = recording(truth + 2e-4 * eyes * blink + 4e-5 * heart * beat, beside)
    before = error(clean(dirty, "highpass:0.5"), truth)
    eyes_only, both = clean(dirty, "ica:eye"), clean(dirty, "ica")
    assert both.channels == electrodes(), "what lies beside the brain is gone afterwards"
    assert error(eyes_only, truth) < 0.5 * before and error(both, truth) < 0.25 * before
    assert "(eye)" in eyes_only.remarks[0] and "(heart)" not in eyes_only.remarks[0]
    assert "(eye)" in both.remarks[0] and "(heart)" in both.remarks[0]
    (blinks,) = eyes_only.removed
    assert (blinks.reason, list(blinks.weights)) == ("eye", electrodes())
    assert abs(np.corrcoef(list(blinks.weights.values()), eyes[:, 0])[0, 1]) > 0.95


def test_ica_says_what_it_cannot_look_for() -> None:
    (line,) = clean(recording(brain(21)), "ica").remarks
    assert "no heart: there is no ECG channel" in line and "no eyes" not in line  # the forehead stands in for EOG
    short = Context(RATE_HZ, 1, SegmentConfig(), lambda rate_hz, samples: np.arange(0, 1000, 250))
    with pytest.raises(InputError, match=r"ica learns from 20 s of train windows at least, and this recording has 6\.0 s"):
        read_signal(recording(brain(21)), (Step.parse("ica"),), short)


def test_what_is_louder_than_all_else_leaves_ica_nothing_to_learn() -> None:
    loud = brain(21) + 1e-2 * np.random.default_rng(2).standard_normal((21, 1)) * pulses(4.1, 0.1)
    with pytest.raises(InputError, match=r"ica learns nothing of this recording \(.*\); say how many") as refused:
        clean(recording(loud), "ica:eye")
    assert "data.signal.steps.ica.components=20" in str(refused.value) and "\n" not in str(refused.value)


def test_channels_are_marked_bad_with_the_reason_and_interpolated() -> None:
    truth, draw = brain(21), np.random.default_rng(3)
    values = truth.copy()
    values[4] = 0.0
    values[8] += 1e-3 * draw.standard_normal(SAMPLES)
    values[12] = truth[12].std() * draw.standard_normal(SAMPLES)
    found = clean(recording(values), "bad_channels:flat+noisy+lonely")
    assert found.remarks == ("bad_channels: Fz (flat), C3 (noisy), P7 (lonely)",)
    assert np.flatnonzero(~found.valid).tolist() == [4, 8, 12]
    mended = clean(recording(values), "bad_channels:flat+noisy+lonely", "interpolate")
    assert mended.valid.all() and mended.remarks[1] == "interpolate: Fz, C3, P7"
    assert mended.values.std(axis=0)[8] < 0.1 * found.values.std(axis=0)[8] and mended.values.std(axis=0)[4] > 0
    config = override(SignalConfig(rate_hz=RATE_HZ, steps=("bad_channels:none",)), {"steps.bad_channels.names": "Cz,Oz"})  # type: ignore[arg-type]
    named = read_signal(recording(truth), config.steps, CONTEXT)
    assert named.remarks == ("bad_channels: Cz (named)",)


def test_a_good_recording_has_no_bad_channels() -> None:
    assert clean(recording(brain(21)), "bad_channels:flat+noisy+lonely").remarks == ()


def test_references() -> None:
    truth = brain(21)
    names = electrodes()
    raw = recording(truth)
    average = clean(raw, "reference").values.T
    np.testing.assert_allclose(average, truth - truth.mean(axis=0), atol=1e-12)
    ears = truth[[names.index("M1"), names.index("M2")]].mean(axis=0)
    for typed in ("reference:mastoids", "reference:m1+M2"):
        np.testing.assert_allclose(clean(raw, typed).values.T, truth - ears, atol=1e-12)
    with pytest.raises(InputError, match=r"reference:Cx: no channel Cx in this recording; it has Fp1, Fp2, "):
        clean(raw, "reference:Cx")
    with pytest.raises(InputError, match="reference:mastoids finds none of M1 and M2"):
        clean(raw.copy().drop_channels(["M1"]), "reference:mastoids")


def helmet(kinds: list[str], coils: list[int]) -> Any:
    """102 places around a head, with a sensor of each kind at each; and the direction in which it measures."""
    import mne

    number = np.arange(102)
    up, around = 1 - 1.2 * (number + 0.5) / 102, np.pi * (1 + 5**0.5) * number
    out = np.stack([np.sqrt(1 - up**2) * np.cos(around), np.sqrt(1 - up**2) * np.sin(around), up], axis=1)
    names = [f"MEG{place:03d}{kind}" for place in number for kind in "123"[: len(kinds)]]
    made = mne.create_info(names, RATE_HZ, kinds * 102)
    for row, channel in enumerate(made["chs"]):
        normal = out[row // len(kinds)]
        aside = np.cross(normal, [0.3, 0.5, 0.81])
        aside /= np.linalg.norm(aside)
        channel["coil_type"] = coils[row % len(kinds)]
        channel["loc"][:] = np.concatenate([0.12 * normal, aside, np.cross(normal, aside), normal])
    return made, np.repeat(out, len(kinds), axis=0)


@pytest.mark.slow
def test_maxwell_takes_off_what_comes_from_outside() -> None:
    import mne

    made, normal = helmet(["grad", "grad", "mag"], [3012, 3012, 3022])
    mags = mne.pick_types(made, meg="mag")
    draw = np.random.default_rng(0)
    outside = np.zeros((len(normal), 2500))
    outside[mags] = 1e-11 * normal[mags] @ draw.standard_normal((3, 1)) * np.sin(np.arange(2500) / 20)  # a far field
    inside = 1e-14 * draw.standard_normal(outside.shape)
    raw = mne.io.RawArray(outside + inside, made, verbose="error")
    left = clean(raw, "maxwell").values.T
    assert np.abs(left[mags]).std() < 0.05 * np.abs(outside[mags]).std()


def test_maxwell_follows_the_head_by_the_file_beside_the_recording(tmp_path: Path) -> None:
    import mne

    raw, moments = recording(brain(21)), np.column_stack([[0.0, 1.0], np.full((2, 9), 0.01)])
    context = replace(CONTEXT, files=(tmp_path / "sub-1_task-a_split-01_meg.fif",))
    mne.chpi.write_head_pos(tmp_path / "sub-1_task-a_headpos.pos", moments)
    for other in ("sub-10_task-a", "sub-1_task-ab"):
        mne.chpi.write_head_pos(tmp_path / f"{other}.pos", 2 * moments)
    still, step = Step.parse("maxwell"), override(SignalConfig(steps=("maxwell",)), {"steps.maxwell.movement": True}).steps[0]  # type: ignore[arg-type]
    assert still.fit(raw, context) is None and still.remarks(raw, None) == []
    fitted = step.fit(raw, context)
    np.testing.assert_allclose(fitted.moments, moments, atol=1e-5)
    assert step.remarks(raw, fitted) == ["maxwell: the head is followed by sub-1_task-a_headpos.pos"]
    (tmp_path / "sub-1_task-a_headpos.pos").write_text("Time q1\nwhat is this\n")
    with pytest.raises(InputError, match=r"sub-1_task-a_headpos\.pos holds no positions of a head \(.*\); get it again"):
        step.fit(raw, context)
    mne.chpi.write_head_pos(tmp_path / "sub-1_task-a.pos", moments)
    with pytest.raises(
        InputError, match=r"sub-1_task-a\.pos and sub-1_task-a_headpos\.pos are of the same recording; leave one"
    ):
        step.fit(raw, context)


def test_maxwell_reads_what_lies_beside_a_recording(tmp_path: Path) -> None:
    still, step = Step.parse("maxwell"), override(SignalConfig(steps=("maxwell",)), {"steps.maxwell.movement": True}).steps[0]  # type: ignore[arg-type]
    recorded = [tmp_path / name for name in ("channels.tsv", "sub-1_meg.fif")]
    assert step.files(recorded) == []
    names = ("sub-1_acq-calibration_meg.dat", "sub-1_acq-crosstalk_meg.fif", "sub-1.pos", "sub-2.pos")
    for name in names:
        (tmp_path / name).touch()
    assert step.files(recorded) == [tmp_path / name for name in names[:3]]
    assert still.files(recorded) == [tmp_path / name for name in names[:2]]


def test_what_reference_sensors_measure_is_taken_off() -> None:
    import mne

    made, _ = helmet(["mag"], [3022])
    draw = np.random.default_rng(0)
    noise = np.cumsum(draw.standard_normal((3, SAMPLES)), axis=1) * 1e-13
    truth = 1e-13 * draw.standard_normal((102, SAMPLES))
    far = mne.io.RawArray(noise, mne.create_info(["R1", "R2", "R3"], RATE_HZ, "ref_meg"), verbose="error")
    raw = mne.io.RawArray(truth + draw.standard_normal((102, 3)) @ noise, made, verbose="error").add_channels([far])
    result = clean(raw, "reference_sensors")
    assert len(result.channels) == 102
    assert error(result, truth) < 0.02 < 10 < error(clean(raw, "bad_channels:none"), truth)
    with pytest.raises(InputError, match="reference_sensors finds none in this recording"):
        clean(recording(brain(21)), "reference_sensors")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (
            "resample,notch:60",
            "notch:60 after resample finds nothing: at rate_hz=120 the signal ends at 60 Hz; type notch",
        ),
        ("lowpass:70", "lowpass.cutoff_hz=70 takes nothing off: at rate_hz=120 the signal ends at 60 Hz"),
        ("ica:eyes", "ica finds no 'eyes', did you mean 'eye'"),
        ("bad_channels:nosy", "no way to find bad channels called 'nosy', did you mean 'noisy'"),
        ("reference,compensation", "compensation after reference mixes channels that are changed already; type it first"),
        ("ica,maxwell", "maxwell after ica separates signal that is mixed already; type maxwell before it"),
    ],
)
def test_what_makes_no_sense_is_one_line(typed: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        override(SignalConfig(), {"steps": typed})
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("maxwell", "maxwell cannot be done to this recording"),
        ("compensation", "compensation:3: of compensations this recording has none"),
        ("notch:200", "notch:200 finds nothing in signal that ends at 125 Hz"),
    ],
)
def test_what_a_recording_does_not_allow_is_one_line(typed: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        clean(recording(brain(21)), typed)
    assert line in str(refused.value) and "\n" not in str(refused.value)
