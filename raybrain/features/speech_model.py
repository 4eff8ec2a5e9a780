"""Speech models: what wav2vec 2.0 and its like, or the encoder of Whisper, make of sound.

See Défossez et al. 2023, Methods, "Deep speech representations": wav2vec 2.0 (Baevski et al. 2020) is its default.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from raybrain.config import InputError
from raybrain.events import Sound
from raybrain.features.audio import read, spread
from raybrain.features.base import Stimulus
from raybrain.features.pretrained import Pretrained, hidden_states

if TYPE_CHECKING:
    from torch import Tensor

BATCH_S = 120.0  # seconds of sound a GPU takes at once
PADDED = ("wav2vec2", "hubert", "wavlm")  # their attention masks hide padding; of others we have not seen it


@dataclass(frozen=True)
class Grid:
    """How the frames of a model lie in the samples it takes: one every ``hop``, seeing ``field`` of them.

    Attributes:
        rate_hz: samples a second.
        centred: frame i is centred on sample ``i * hop``, else it starts there.
    """

    rate_hz: int
    hop: int
    field: int
    centred: bool

    @property
    def lead_s(self) -> float:
        """The time of the first frame's centre."""
        return 0.0 if self.centred else (self.field - 1) / 2 / self.rate_hz

    def frames(self, samples: int) -> int:
        """How many frames so many samples make."""
        return math.ceil(samples / self.hop) if self.centred else 1 + (samples - self.field) // self.hop

    def samples(self, first: int, stop: int) -> slice:
        """The samples that frames ``first`` to ``stop`` are made of."""
        return slice(first * self.hop, stop * self.hop if self.centred else (stop - 1) * self.hop + self.field)


@dataclass(frozen=True)
class SoundWindow:
    """A stretch of one sound that is run at once: its frames from ``first`` on, of which ``kept`` are used."""

    sound: int
    wave: "Tensor"
    first: int
    kept: slice


class SpeechFeature(Pretrained):
    """Frames that a speech model makes of sound. A sound is never seen beside another one.

    Frames are stored at ``rate_hz``, each the model's nearest in time.

    Attributes:
        window_s: a sound longer than this is run in windows that overlap.
        context_s: at both ends of such a window, there to be heard by the rest, and thrown away.
    """

    unit: ClassVar[str] = "activation"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
    checkpoint: str = Field("facebook/wav2vec2-large-xlsr-53", min_length=1)
    rate_hz: float = Field(50.0, gt=0)
    window_s: float = Field(30.0, gt=0)
    context_s: float = Field(5.0, ge=0)

    @model_validator(mode="after")
    def _something_between(self) -> Self:
        if 2 * self.context_s >= self.window_s:
            raise InputError(
                f"context_s={self.context_s:g} on both sides leaves nothing of window_s={self.window_s:g}; type less"
            )
        return self

    @property
    def grid(self) -> Grid:
        """How the model's frames lie in the sound."""
        config = self.settings()
        if config.model_type != "whisper" and not hasattr(config, "conv_stride"):
            raise InputError(
                f"{self.checkpoint} is a {config.model_type} model; known are models of waves (wav2vec 2.0, HuBERT, WavLM) "
                "and Whisper"
            )
        extractor = self.tool("AutoFeatureExtractor")
        if config.model_type == "whisper":
            if self.window_s > extractor.chunk_length:
                raise InputError(
                    f"{self.checkpoint} hears {extractor.chunk_length} s at most, found window_s={self.window_s:g}"
                )
            hop = 2 * extractor.hop_length  # its second convolution has a stride of two
            return Grid(extractor.sampling_rate, hop, hop, centred=True)
        steps = [1, *itertools.accumulate(config.conv_stride, lambda a, b: a * b)]
        field = 1 + sum((kernel - 1) * step for kernel, step in zip(config.conv_kernel, steps, strict=False))
        return Grid(extractor.sampling_rate, steps[-1], field, centred=False)

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The frames of all sounds, silence between them."""
        return next(self._together([stimulus], "cpu"))

    def extract_many(self, stimuli: Sequence[Stimulus], device: str = "cpu") -> Iterator[np.ndarray]:
        """The frames of some stimuli. A GPU takes several windows at once, a CPU one: there it is the same bit for bit."""
        for some in [stimuli] if device != "cpu" else [[stimulus] for stimulus in stimuli]:
            yield from self._together(some, device)

    def _together(self, stimuli: Sequence[Stimulus], device: str) -> Iterator[np.ndarray]:
        out = [self.frames(stimulus) for stimulus in stimuli]
        sounds = [(frames, sound) for frames, stimulus in zip(out, stimuli, strict=True) for sound in stimulus.sounds]
        if sounds:
            grid = self.grid
            pieces = self._pieces([self._wave(sound, grid) for _, sound in sounds], grid, device)
            for (frames, sound), piece in zip(sounds, pieces, strict=True):
                spread(frames, self.rate_hz, piece, grid.rate_hz / grid.hop, sound, grid.lead_s)
        return iter(out)

    def _pieces(self, waves: "Sequence[Tensor]", grid: Grid, device: str) -> list[np.ndarray]:
        """The model's frames of each wave, [frames size]."""
        windows = [window for number, wave in enumerate(waves) for window in self._windows(number, wave, grid)]
        pieces = [np.zeros((grid.frames(len(wave)) if len(wave) else 0, self.size), dtype=np.float32) for wave in waves]
        for batch in self._batches(windows, BATCH_S * grid.rate_hz if device != "cpu" else 0.0):
            for window, states in zip(batch, self.run([window.wave for window in batch], device), strict=True):
                kept = states[window.kept].numpy()
                pieces[window.sound][window.first + window.kept.start :][: len(kept)] = kept
        return pieces

    def run(self, waves: "Sequence[Tensor]", device: str) -> "list[Tensor]":
        """What the model makes of some normalised waves at once, each [frames size] float32, as if it were run alone."""
        import torch

        grid, net = self.grid, self.network(device)
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.inference_mode(), exact, torch.autocast(torch.device(device).type, enabled=False):
            states = self._states(net, self._inputs(waves, grid, device)).float().cpu()
        counts = [grid.frames(len(wave)) for wave in waves]
        if states.shape[1] < max(counts) or states.shape[2] != self.size:
            raise InputError(
                f"{self.checkpoint} makes {states.shape[1]} frames of {states.shape[2]} where its settings promise "
                f"{max(counts)} of {self.size}: not a model whose frames can be placed in time"
            )
        return [state[:count] for state, count in zip(states, counts, strict=True)]

    def _states(self, net: Any, inputs: "dict[str, Tensor]") -> "Tensor":
        """[batch frames size]."""
        raise NotImplementedError

    def _inputs(self, waves: "Sequence[Tensor]", grid: Grid, device: str) -> "dict[str, Tensor]":
        import torch

        if grid.centred:
            listed = [wave.numpy() for wave in waves]
            made = self.tool("AutoFeatureExtractor")(listed, sampling_rate=grid.rate_hz, return_tensors="pt")
            return {"input_features": made["input_features"].to(device)}
        lengths = torch.tensor([len(wave) for wave in waves])
        values = torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
        inputs = {"input_values": values.to(device)}
        if len(set(lengths.tolist())) > 1:
            inputs["attention_mask"] = (torch.arange(values.shape[1]) < lengths[:, None]).long().to(device)
        return inputs

    def _wave(self, sound: Sound, grid: Grid) -> "Tensor":
        """A whole sound as the model wants it: of zero mean and unit variance, if that is what it was trained on."""
        import torch

        wave = read(sound, grid.rate_hz)
        if not len(wave) or grid.centred:
            return wave
        made = self.tool("AutoFeatureExtractor")(wave.numpy(), sampling_rate=grid.rate_hz, return_tensors="pt")
        values: torch.Tensor = made["input_values"][0].float()
        return torch.nn.functional.pad(values, (0, max(0, grid.field - len(values))))

    def _windows(self, sound: int, wave: "Tensor", grid: Grid) -> Iterator[SoundWindow]:
        if not len(wave):
            return
        frames = grid.frames(len(wave))
        context = round(self.context_s * grid.rate_hz / grid.hop)
        step = max(1, int(self.window_s * grid.rate_hz / grid.hop) - 2 * context)
        inner = range(context + step, frames - context, step) if frames > step + 2 * context else ()
        for start, stop in itertools.pairwise([0, *inner, frames]):
            first, last = max(0, start - context), min(frames, stop + context)
            stretch = grid.samples(first, last)
            whole = slice(stretch.start, None if last == frames else stretch.stop)
            yield SoundWindow(sound, wave[whole], first, slice(start - first, stop - first))

    def _batches(self, windows: Sequence[SoundWindow], samples: float) -> Iterator[list[SoundWindow]]:
        """Windows that are run at once, of about the same length: of the very same one where padding would be heard."""
        config = self.settings()
        free = config.model_type in PADDED and config.feat_extract_norm == "layer"
        batch: list[SoundWindow] = []
        for window in sorted(windows, key=lambda window: len(window.wave)):
            full = (len(batch) + 1) * len(window.wave) > samples
            if batch and (full or not (free or len(batch[0].wave) == len(window.wave))):
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch


class SpeechModel(SpeechFeature, name="speech_model", shorthand="checkpoint"):
    """Hidden states of a speech model: wav2vec 2.0, HuBERT, WavLM, Whisper's encoder. The default is the paper's.

    Attributes:
        layers: which hidden states; 0 is what enters the first transformer layer, k what leaves the k-th.
        combine: their mean, or all of them side by side.
    """

    layers: tuple[NonNegativeInt, ...] = Field((14, 15, 16, 17, 18), min_length=1)
    combine: Literal["mean", "concat"] = "mean"

    @property
    def size(self) -> int:
        """The width of the model, as often as there are layers side by side."""
        config = self.settings()
        hidden_states(config, self.layers, self.checkpoint)
        return int(config.hidden_size) * (len(self.layers) if self.combine == "concat" else 1)

    def _states(self, net: Any, inputs: "dict[str, Tensor]") -> "Tensor":
        import torch

        states = net(**inputs, output_hidden_states=True).hidden_states
        chosen = [states[layer] for layer in self.layers]
        return torch.cat(chosen, dim=-1) if self.combine == "concat" else torch.stack(chosen).mean(dim=0)


class SpeechModelConv(SpeechFeature, name="speech_model_conv", shorthand="checkpoint"):
    """The convolutional features of wav2vec 2.0, HuBERT or WavLM: what goes into their transformer."""

    @property
    def size(self) -> int:
        """Channels of the last convolution."""
        config = self.settings()
        if not hasattr(config, "conv_dim"):
            raise InputError(f"{self.checkpoint} has no convolutions over waves; type speech_model:{self.checkpoint}")
        return int(config.conv_dim[-1])

    def _states(self, net: Any, inputs: "dict[str, Tensor]") -> "Tensor":
        states: Tensor = net.feature_extractor(inputs["input_values"])
        return states.transpose(1, 2)
