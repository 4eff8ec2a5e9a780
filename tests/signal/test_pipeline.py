"""Steps are applied in the order given, to a copy of the recording; what cannot be is one line."""

from typing import Any, ClassVar

import numpy as np
import pytest

from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.signal.base import Context, SignalConfig, Step
from raybrain.signal.pipeline import Signal, read_signal
from tests.signal.recordings import NAMES, changed, eeg


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Step]]:
    """The steps that tests define do not stay."""
    known = dict(Step.kinds())
    monkeypatch.setattr(Step, "_kinds", known)
    return known


def signal(raw: Any, *steps: str, rate_hz: float = 120.0) -> Signal:
    return read_signal(raw, SignalConfig(rate_hz=rate_hz, steps=steps or ("resample",)).steps, Context(rate_hz))  # type: ignore[arg-type]


def test_signal_is_picked_resampled_and_marked() -> None:
    raw = eeg([*NAMES, "other"])
    raw.info["bads"] = ["Cz"]
    result = signal(raw)
    assert result.values.shape == (360, 11)
    assert result.channels == [*NAMES, "other"]
    assert result.valid.tolist() == [name not in ("Cz", "other") for name in result.channels]
    assert result.positions.shape == (11, 2)
    assert np.isfinite(result.places).all(axis=1).tolist() == [name != "other" for name in result.channels]
    assert raw.info["sfreq"] == 250.0, "the recording itself is left alone"


def test_steps_are_applied_in_the_order_given() -> None:
    class Double(Step, name="double"):
        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            return changed(raw, 2 * raw.get_data())

    class Lift(Step, name="lift"):
        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            return changed(raw, raw.get_data() + 1)

    values = np.ones((10, 750))
    values[:, 0] = 0
    raw = changed(eeg(), values)
    assert signal(raw, "double", "lift", rate_hz=250).values.max() == 3
    assert signal(raw, "lift", "double", rate_hz=250).values.max() == 4
    np.testing.assert_array_equal(raw.get_data(), values)


def test_a_step_is_fitted_on_what_the_steps_before_it_left(kinds: dict[str, type[Step]]) -> None:
    class Centre(Step, name="centre"):
        """Take off the mean of the train windows."""

        seen: ClassVar[list[tuple[float, int]]] = []

        def fit(self, raw: Any, context: Context) -> Any:
            self.seen.append((raw.info["sfreq"], context.window(raw).samples))
            return np.mean([raw.get_data()[:, start] for start in context.starts(raw)], axis=0)

        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            return changed(raw, raw.get_data() - fitted[:, None])

    def train_starts(rate_hz: float, samples: int) -> np.ndarray:
        return np.array([0, samples - 1])

    raw, context = eeg(), Context(125.0, train_starts=train_starts)
    first = read_signal(raw, (Centre(), kinds["resample"]()), context)
    then = read_signal(raw, (kinds["resample"](), Centre()), context)
    assert Centre.seen == [(250.0, 751), (125.0, 376)]
    plain = signal(raw, rate_hz=125).values
    np.testing.assert_array_equal(then.values, plain - (plain[0] + plain[-1]) / 2)
    assert not np.allclose(first.values, then.values)


def test_signal_that_cannot_be_used() -> None:
    raw = eeg()
    raw._data[3, 5] = np.nan
    with pytest.raises(InputError, match="not numbers in channels C3"):
        signal(raw)
    with pytest.raises(InputError, match="no MEG or EEG channels among misc"):
        signal(eeg().set_channel_types(dict.fromkeys(NAMES, "misc"), on_unit_change="ignore"))
    message = r"250 Hz after all steps \(highpass\), but data.signal.rate_hz is 120; add resample to data.signal.steps"
    with pytest.raises(InputError, match=message):
        signal(eeg(seconds=20), "highpass:1")


def test_gaps_in_a_sensor_that_is_not_drawn_do_not_matter() -> None:
    drawn = signal(eeg(), "sensors:4", "resample").channels
    raw = eeg()
    raw._data[NAMES.index(next(name for name in NAMES if name not in drawn)), 5] = np.nan
    assert signal(raw, "sensors:4", "resample").channels == drawn
    with pytest.raises(InputError, match="not numbers in channels"):
        signal(raw, "resample", "sensors:4")


def test_a_step_that_makes_gaps_or_no_recording_or_other_time_is_named() -> None:
    class Holes(Step, name="holes"):
        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            return changed(raw, np.where(np.arange(raw.n_times) == 7, np.nan, raw.get_data()))

    class Forgets(Step, name="forgets"):
        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            raw.load_data()

    class Cuts(Step, name="cuts"):
        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            return raw.crop(1.0)

    with pytest.raises(InputError, match="not numbers in channels Fp1, Fp2"):
        signal(eeg(), "holes", rate_hz=250)
    with pytest.raises(InputError, match="step forgets gave a NoneType, not a recording"):
        signal(eeg(), "forgets", "resample")
    with pytest.raises(InputError, match=r"step cuts made 2.00 s of 3.00 s; a step must leave time as it is"):
        signal(eeg(), "cuts", "resample")


# settings


def steps(typed: str) -> SignalConfig:
    return override(Experiment(), {"data.signal.steps": typed}).data.signal


def test_steps_as_typed() -> None:
    assert [step.name for step in Experiment().data.signal.steps] == ["resample"]
    config = steps("sensors:12,highpass:1,resample,autoreject")
    assert [step.name for step in config.steps] == ["sensors", "highpass", "resample", "autoreject"]
    experiment = override(Experiment(), {"data.signal.steps": "highpass,resample", "data.signal.steps.highpass.cutoff_hz": "2"})
    assert experiment.data.signal == steps("highpass:2,resample")
    assert experiment.signature != override(Experiment(), {"data.signal.steps": "resample,highpass:2"}).signature
    assert experiment.data.brain_signature != Experiment().data.brain_signature
    assert (config.channels(300), Experiment().data.signal.channels(300)) == (12, 300)
    assert steps("").steps == (), "signal that is recorded at the rate it is kept at needs none"


def test_a_step_that_may_be_repeated_is_with_other_settings_only() -> None:
    class Notch(Step, name="notch_of_a_test", shorthand="hz"):
        repeats: ClassVar[bool] = True
        hz: float = 50.0

        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            return raw.notch_filter(self.hz)

    assert len(steps("notch_of_a_test:50,notch_of_a_test:100,resample").steps) == 3
    with pytest.raises(InputError, match=r"step notch_of_a_test is there twice .*; type it once, or with other settings"):
        steps("notch_of_a_test,resample,notch_of_a_test:50")
    both = {"data.signal.steps": "notch_of_a_test:50,notch_of_a_test:100"}
    with pytest.raises(InputError, match="stands for 2 parts; type one of notch_of_a_test#0, notch_of_a_test#1 for it"):
        override(Experiment(), both | {"data.signal.steps.notch_of_a_test.hz": 1})
    second = override(Experiment(), both | {"data.signal.steps.notch_of_a_test#1.hz": 150})
    assert second.data.signal == steps("notch_of_a_test:50,notch_of_a_test:150")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("resample,resample", "step resample is there twice in steps=resample,resample; type it once$"),
        ("sensors:4,sensors:3,resample", "step sensors is there twice in steps=sensors,sensors,resample; type it once$"),
        ("highpass:60,resample", "highpass.cutoff_hz=60 leaves nothing at rate_hz=120; type less than half of it"),
        ("highpas", "no step called 'highpas', did you mean 'highpass'"),
        ("resample:100", "takes no value after a colon"),
        ("sensors:0", "sensors.*greater than 0|count=0"),
    ],
)
def test_steps_that_make_no_sense(typed: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        steps(typed)
