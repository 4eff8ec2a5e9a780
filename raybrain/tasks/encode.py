"""Encode: from what is heard to the brain, as Défossez et al. 2023 do beside decoding, and as forward TRFs do."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from raybrain.batch import Batch, FeatureSlice, Layout, Shapes, step_draws
from raybrain.config import InputError
from raybrain.signal.window import Scaler, Window
from raybrain.tasks.base import CONTROLS, Data, Task
from raybrain.tasks.candidates import Pool, WordSegments, pools

ORDER = 4  # of the Butterworth low-pass
Sensors = tuple[tuple[tuple[str, ...], tuple[bool, ...]], ...]  # of each layout the channels, and which are valid


class Encode(Task, name="encode"):
    """The features of speech go in, the brain is aimed at, channel by channel. Each recording is ranked among its own windows.

    Channels are those that all recordings have, under one name. One that is bad in a recording is silent there.

    Attributes:
        prompt_s: the first so many seconds of the brain's window go in, too, beside the features; they are aimed at no more.
        lowpass_hz: only what is slower is aimed at (Butterworth of order 4, zero phase); None for all.
    """

    measures: ClassVar[tuple[str, ...]] = ("correlation",)
    lags_s: ClassVar[tuple[float, float]] = (-0.25, 0.15)
    # an untrained network passes the course of speech on to every channel, which tells windows apart already
    controls: ClassVar[tuple[str, ...]] = tuple(name for name in CONTROLS if name != "untrained")
    has_sensors: ClassVar[bool] = False
    aims_at_brain: ClassVar[bool] = True

    prompt_s: float = Field(0.0, ge=0)
    lowpass_hz: PositiveFloat | None = None

    def shapes(self, data: Shapes) -> Shapes:
        """Features (and the channels of the prompt) go in, the channels that all recordings have are aimed at.

        Raises:
            InputError: if there is no such channel, or a setting does not go with the window or the sampling rate.
        """
        if (length := data.times / data.rate_hz) <= self.prompt_s:
            raise InputError(f"task.prompt_s={self.prompt_s:g} leaves nothing of a window of {length:g} s; type less")
        if self.lowpass_hz is not None and self.lowpass_hz >= data.rate_hz / 2:
            raise InputError(
                f"task.lowpass_hz={self.lowpass_hz:g} is not below half of the sampling rate, {data.rate_hz / 2:g} Hz;"
                " type less, or task.lowpass_hz=none"
            )
        channels = len(shared_channels(data.layouts)) if data.layouts else data.channels
        if not channels:
            raise InputError(
                f"task=encode estimates channels that all recordings have, and none is in all {len(data.layouts)} layouts;"
                " type data.studies=... with one study, or recordings of one cap"
            )
        heard = Layout.unknown([f"feature {number}" for number in range(data.features)])
        going_in, groups = data.features, data.slices
        if self.prompt_s:
            going_in += channels
            groups += (FeatureSlice("prompt", data.features, going_in),)
        return replace(data, channels=going_in, features=channels, layouts=(heard,), slices=(), groups=groups)

    def window(self, brain: Window) -> Window:
        """Features are cut as they are, at the samples of the brain's windows that are seen."""
        return Window(brain.rate_hz, brain.tmin_s, brain.times, baseline_samples=0)

    def scaler(self, brain: Scaler, speech: Scaler) -> Scaler:
        """That of the features; of a model in use no prompt is known, and padding stands in for it."""
        return speech

    def given(self, data: Data, rows: Tensor, draws: Tensor) -> Batch:
        """The features, with the start of the brain's window after them if there is a prompt."""
        brain, heard = data.brain(rows, draws), data.speech(rows)
        if self.prompt_s:
            prompt = self._channels(brain, data.shapes.layouts)
            prompt[..., self._prompt(data.shapes.rate_hz) :] = 0
            heard = torch.cat([heard, prompt.to(heard)], dim=1)
        nowhere = torch.zeros(1, heard.shape[1], 2, device=heard.device)
        unseen = torch.zeros(nowhere.shape[:2], dtype=torch.bool, device=heard.device)
        return replace(brain, signal=heard, layout=torch.zeros_like(brain.layout), positions=nowhere, valid=unseen)

    def aimed(self, data: Data, rows: Tensor) -> Tensor:
        """The channels that all recordings have; zero as long as the prompt lasts."""
        shapes = data.shapes
        signal = self._channels(data.brain(rows, step_draws(seed=0, step=0)), shapes.layouts)
        if self.lowpass_hz is not None:
            signal = lowpassed(signal, self.lowpass_hz, shapes.rate_hz)
        signal[..., : self._prompt(shapes.rate_hz)] = 0
        return signal

    def pools(self, segments: WordSegments) -> list[Pool]:
        """One for each recording: the brain of one person is no candidate for that of another."""
        return pools(segments, segments.recording.tolist())

    def measure(self, estimates: Tensor, aimed: Tensor) -> dict[str, Tensor]:
        """The correlation over the time of a segment, averaged over its channels."""
        heard = (aimed != 0).any(dim=1, keepdim=True)  # not the prompt
        count = heard.sum(dim=2, keepdim=True).clamp(min=1)
        one, other = ((part - (part * heard).sum(dim=2, keepdim=True) / count) * heard for part in (estimates, aimed))
        values = torch.cosine_similarity(one, other, dim=2)
        active = (aimed != 0).any(dim=2)
        return {"correlation": (values * active).sum(dim=1) / active.sum(dim=1).clamp(min=1)}

    def _prompt(self, rate_hz: float) -> int:
        return round(self.prompt_s * rate_hz)

    def _channels(self, brain: Batch, layouts: Sequence[Layout]) -> Tensor:
        """The channels of a batch that all recordings have, [batch channels time]; zero where they are bad."""
        index, usable = (part.to(brain.signal.device)[brain.layout] for part in _places(_sensors(layouts)))
        picked = brain.signal.gather(1, index[..., None].expand(-1, -1, brain.signal.shape[2]))
        return picked * usable[..., None]


def shared_channels(layouts: Sequence[Layout]) -> tuple[str, ...]:
    """The channels that all layouts have and at least one can use, in the order of the first."""
    return _shared(_sensors(layouts))


def lowpassed(signal: Tensor, edge_hz: float, rate_hz: float) -> Tensor:
    """What is slower than ``edge_hz``, along the last dimension; windows are mirrored at both ends."""
    length = signal.shape[-1]
    padding = min(length - 1, round(3 * rate_hz / edge_hz))
    padded = F.pad(signal, (padding, padding), mode="reflect")
    frequencies = torch.fft.rfftfreq(padded.shape[-1], 1 / rate_hz, dtype=signal.dtype, device=signal.device)
    gain = 1 / (1 + (frequencies / edge_hz) ** (2 * ORDER))
    slow: Tensor = torch.fft.irfft(torch.fft.rfft(padded) * gain, n=padded.shape[-1])
    return slow[..., padding : padding + length].contiguous()


def _sensors(layouts: Sequence[Layout]) -> Sensors:
    """Of sensors whose places nobody knows all are used; else those that are valid."""
    return tuple((layout.channels, layout.valid if any(layout.valid) else (True,) * len(layout.valid)) for layout in layouts)


@lru_cache(maxsize=8)
def _shared(sensors: Sensors) -> tuple[str, ...]:
    everywhere = set.intersection(*(set(channels) for channels, _ in sensors))
    usable = {name for channels, valid in sensors for name, good in zip(channels, valid, strict=True) if good}
    return tuple(name for name in sensors[0][0] if name in everywhere & usable)


@lru_cache(maxsize=8)
def _places(sensors: Sensors) -> tuple[Tensor, Tensor]:
    """Of each layout, where each shared channel is and whether it can be used, [layouts channels] each."""
    names = _shared(sensors)
    index = [[channels.index(name) for name in names] for channels, _ in sensors]
    usable = [[valid[place] for place in places] for places, (_, valid) in zip(index, sensors, strict=True)]
    return torch.tensor(index), torch.tensor(usable)
