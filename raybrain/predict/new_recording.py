"""New recording: a file that no model has seen, as the signal that a model takes; and what had to be assumed for that."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from raybrain.batch import Layout
from raybrain.config import InputError
from raybrain.encoders.base import Encoder
from raybrain.encoders.front import FrontEncoder
from raybrain.model_folder import ModelCard
from raybrain.plain import from_tree
from raybrain.signal.bad_stretches import BadStretch, beyond, described
from raybrain.signal.base import Context, SignalConfig, Step
from raybrain.signal.montage import Matched, arranged, best_match, place_unknown
from raybrain.signal.window import Scaler, SegmentConfig, Window

SHOWN = 6  # names in a line


@dataclass(frozen=True)
class NewRecording:
    """A recording as a model sees it.

    Attributes:
        path: of its file.
        values: [samples channels] of the prepared signal, unscaled, in the order of ``layout``.
        layout: sensors of the model; those that the recording lacks are not valid.
        scaler: fitted on the recording itself.
        bad: what its annotations take out of use, and where it is flat.
        window: how windows are cut.
        assumed: what had to be assumed, a line each.
    """

    path: Path
    values: np.ndarray
    layout: Layout
    scaler: Scaler
    bad: tuple[BadStretch, ...]
    window: Window
    assumed: list[str] = field(default_factory=list)

    def fit(self, starts: np.ndarray) -> np.ndarray:
        """Those of some first samples at which a window fits into the recording, and holds nothing that is marked as bad."""
        rate_hz, samples = self.window.rate_hz, self.window.samples
        kept = (starts >= 0) & (starts <= len(self.values) - samples)
        for stretch in self.bad:
            kept &= (starts + samples <= stretch.start * rate_hz) | (starts >= stretch.stop * rate_hz)
        return starts[kept]

    def grid(self, every_s: float) -> np.ndarray:
        """The first samples of windows that begin every so many seconds."""
        seconds = np.arange(0.0, len(self.values) / self.window.rate_hz, every_s)
        return self.fit(np.round(seconds * self.window.rate_hz).astype(int))


def read_recording(path: Path, card: ModelCard) -> NewRecording:
    """A recording as a model sees it.

    Args:
        path: a file, or the folder of a recording, in a format that mne reads; BIDS sidecars beside it are read too.
        card: of the model.

    Raises:
        InputError: if it cannot be read or prepared, is shorter than a window, or has no channel that the model knows.
    """
    from raybrain.signal.bad_stretches import bad_stretches
    from raybrain.signal.odd_signal import odd_recording
    from raybrain.signal.pipeline import read_signal
    from raybrain.studies.readers.lone_recording import read_lone

    raw, assumed = read_lone(path)
    odd = [line for line in odd_recording(raw) if "positions" not in line]
    assumed += [f"{line} (each channel is divided by its own scale)" if "unit" in line else line for line in odd]
    places = {name: place for one in card.shapes.layouts for name, place in zip(one.channels, one.places, strict=True) if place}
    if placed := place_unknown(raw, places):
        assumed.append(f"{placed} channels are taken to lie where those of their names do that the model knows")
    config = from_tree(SignalConfig, card.experiment["data"]["signal"])
    steps, context, lines = _preparation(card, config, path, float(raw.info["sfreq"]))
    marked = bad_stretches(raw)
    signal = read_signal(raw, steps, context)
    bads, values = set(signal.recording.info["bads"]), signal.values
    bad = (*marked, *beyond(signal.flat.stretches(), marked))
    usable = np.array([name not in bads for name in signal.channels])
    matched = best_match(signal.channels, signal.places, usable, card.shapes.layouts)
    encoder = from_tree(Encoder, card.experiment["encoder"])
    masks = isinstance(encoder, FrontEncoder) and encoder.attention.on
    values = arranged(values, signal.places, matched, interpolate=not masks)
    if len(values) < card.window.samples:
        lasts, needs = len(values) / card.window.rate_hz, card.window.samples / card.window.rate_hz
        raise InputError(f"{path} lasts {lasts:.1f} s, and a window of this model {needs:.1f} s")
    assumed += [*lines, *signal.remarks, *_about_channels(matched, masks, bads)]
    assumed += [f"{described(bad)}: no window holds any of it"] if bad else []
    scaler = Scaler.fitted(values, np.array([], dtype=int), card.window, context.seed, config.scaling)
    layout = _masked(matched) if masks else _whole(matched)
    return NewRecording(path, values, layout, scaler, bad, card.window, assumed)


def _preparation(
    card: ModelCard, config: SignalConfig, path: Path, recorded_hz: float
) -> tuple[tuple[Step, ...], Context, list[str]]:
    """The steps that the model's signal went through, what they may know, and what was added to them."""
    data = card.experiment["data"]
    segments = from_tree(SegmentConfig, data["segments"])
    steps, lines = config.steps, []
    if recorded_hz != config.rate_hz:
        lines.append(f"recorded at {recorded_hz:g} Hz, resampled to the model's {config.rate_hz:g} Hz")
        if not any(step.name == "resample" for step in steps):
            steps = (*steps, Step.kind("resample")())

    def everywhere(rate_hz: float, samples: int) -> np.ndarray:
        length = segments.samples(rate_hz)
        return np.arange(0, max(samples - length, 1), length)

    return steps, Context(config.rate_hz, data["splits"]["seed"], segments, everywhere, (path,)), lines


def _whole(matched: Matched) -> Layout:
    """The layout of a recording of which no channel is missing any more: which were bad in training is another matter."""
    return replace(matched.layout, valid=(True,) * len(matched.layout.valid))


def _masked(matched: Matched) -> Layout:
    """The layout of a model, in which what is missing is not valid."""
    there = (matched.rows >= 0).tolist()
    valid = tuple(one and other for one, other in zip(matched.layout.valid, there, strict=True))
    return replace(matched.layout, valid=valid)


def _about_channels(matched: Matched, masks: bool, bads: set[str]) -> Iterator[str]:
    """What had to be assumed about the sensors."""
    count, missing = len(matched.rows), matched.missing
    if matched.by_place:
        yield f"{matched.by_place} of {count} channels have other names than the model's and are matched by place"
    if missing:
        how = "left out, which this encoder allows" if masks else "interpolated from the channels around them"
        marked = f", {len(bads)} marked bad" if bads else ""
        yield f"{len(missing)} of {count} channels are missing{marked} ({_some(missing)}): {how}"
    if matched.left_over:
        yield f"{len(matched.left_over)} channels that the model does not know are not used ({_some(matched.left_over)})"


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])
