"""Speech models: hidden states of wav2vec 2.0 and similar models, or of Whisper's encoder.

See Défossez et al. 2023, Methods, "Deep speech representations"; wav2vec 2.0 (Baevski et al. 2020) is the default.
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

BATCH_S = 120.0  # seconds of sound per batch on a GPU
PADDED = ("wav2vec2", "hubert", "wavlm")  # models whose attention masks hide padding, as tests have shown


@dataclass(frozen=True)
class FrameGrid:
    """How the frames of a model relate to the samples of its input.

    Attributes:
        rate_hz: the sampling rate of the input.
        hop: samples between successive frames.
        field: samples that a frame depends on.
        centred: whether frame i is centred on sample ``i * hop``; otherwise its field starts there.
    """

    rate_hz: int
    hop: int
    field: int
    centred: bool

    @property
    def lead_s(self) -> float:
        """The time of the centre of the first frame, in seconds."""
        return 0.0 if self.centred else (self.field - 1) / 2 / self.rate_hz

    def frames(self, samples: int) -> int:
        """The number of frames for a number of samples."""
        return math.ceil(samples / self.hop) if self.centred else 1 + (samples - self.field) // self.hop

    def samples(self, first: int, stop: int) -> slice:
        """The samples that frames ``first`` to ``stop`` depend on."""
        return slice(first * self.hop, stop * self.hop if self.centred else (stop - 1) * self.hop + self.field)


@dataclass(frozen=True)
class SoundWindow:
    """A part of one sound that is processed at once: its frames start at ``first``, and those in ``kept`` are used."""

    sound: int
    wave: "Tensor"
    first: int
    kept: slice


class SpeechFeature(Pretrained):
    """The frames that a speech model computes from each sound, without seeing any other sound.

    They are stored at ``rate_hz``, taking the model's frame nearest in time.

    Attributes:
        window_s: longer sounds are processed in overlapping windows of this duration.
        context_s: the overlap at both ends of such a window; its frames are discarded.
    """

    unit: ClassVar[str] = "activation"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
    version: ClassVar[int] = 2  # sounds of odd rates are resampled otherwise
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
    def grid(self) -> FrameGrid:
        """How the model's frames relate to the samples of a sound."""
        config = self.settings()
        if config.model_type != "whisper" and not hasattr(config, "conv_stride"):
            raise InputError(
                f"{self.checkpoint} is a {config.model_type} model; supported are models of waves (wav2vec 2.0, HuBERT, WavLM) "
                "and Whisper"
            )
        extractor = self.tool("AutoFeatureExtractor")
        if config.model_type == "whisper":
            if self.window_s > extractor.chunk_length:
                raise InputError(
                    f"{self.checkpoint} takes {extractor.chunk_length} s at most, found window_s={self.window_s:g}"
                )
            hop = 2 * extractor.hop_length  # its second convolution has a stride of two
            return FrameGrid(extractor.sampling_rate, hop, hop, centred=True)
        steps = [1, *itertools.accumulate(config.conv_stride, lambda a, b: a * b)]
        field = 1 + sum((kernel - 1) * step for kernel, step in zip(config.conv_kernel, steps, strict=False))
        return FrameGrid(extractor.sampling_rate, steps[-1], field, centred=False)

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The frames of all sounds, silence between them."""
        return next(self._extract_group([stimulus], "cpu"))

    def extract_many(self, stimuli: Sequence[Stimulus], device: str = "cpu") -> Iterator[np.ndarray]:
        """The frames of several stimuli. Windows are batched on a GPU; on a CPU they are not, so that results are exact."""
        for group in [stimuli] if device != "cpu" else [[stimulus] for stimulus in stimuli]:
            yield from self._extract_group(group, device)

    def _extract_group(self, stimuli: Sequence[Stimulus], device: str) -> Iterator[np.ndarray]:
        out = [self.frames(stimulus) for stimulus in stimuli]
        sounds = [(frames, sound) for frames, stimulus in zip(out, stimuli, strict=True) for sound in stimulus.sounds]
        if sounds:
            grid = self.grid
            pieces = self._pieces([self._wave(sound, grid) for _, sound in sounds], grid, device)
            for (frames, sound), piece in zip(sounds, pieces, strict=True):
                spread(frames, self.rate_hz, piece, grid.rate_hz / grid.hop, sound, grid.lead_s)
        return iter(out)

    def _pieces(self, waves: "Sequence[Tensor]", grid: FrameGrid, device: str) -> list[np.ndarray]:
        """The model's frames of each wave, [frames size]."""
        windows = [window for number, wave in enumerate(waves) for window in self._windows(number, wave, grid)]
        pieces = [np.zeros((grid.frames(len(wave)) if len(wave) else 0, self.size), dtype=np.float32) for wave in waves]
        for batch in self._batches(windows, BATCH_S * grid.rate_hz if device != "cpu" else 0.0):
            for window, states in zip(batch, self.run([window.wave for window in batch], device), strict=True):
                kept = states[window.kept].numpy()
                pieces[window.sound][window.first + window.kept.start :][: len(kept)] = kept
        return pieces

    def run(self, waves: "Sequence[Tensor]", device: str) -> "list[Tensor]":
        """The model's output for several normalised waves, each [frames size] float32, as if each were processed alone."""
        import torch

        grid, net = self.grid, self.network(device)
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.inference_mode(), exact, torch.autocast(torch.device(device).type, enabled=False):
            states = self._states(net, self._inputs(waves, grid, device)).float().cpu()
        counts = [grid.frames(len(wave)) for wave in waves]
        if states.shape[1] < max(counts) or states.shape[2] != self.size:
            raise InputError(
                f"{self.checkpoint} returns {states.shape[1]} frames of {states.shape[2]} where its settings promise "
                f"{max(counts)} of {self.size}; the frames of such a model cannot be placed in time"
            )
        return [state[:count] for state, count in zip(states, counts, strict=True)]

    def _states(self, net: Any, inputs: "dict[str, Tensor]") -> "Tensor":
        """The model's output [batch frames size]."""
        raise NotImplementedError

    def _inputs(self, waves: "Sequence[Tensor]", grid: FrameGrid, device: str) -> "dict[str, Tensor]":
        import torch

        if grid.centred:
            arrays = [wave.numpy() for wave in waves]
            extracted = self.tool("AutoFeatureExtractor")(arrays, sampling_rate=grid.rate_hz, return_tensors="pt")
            return {"input_features": extracted["input_features"].to(device)}
        lengths = torch.tensor([len(wave) for wave in waves])
        values = torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
        inputs = {"input_values": values.to(device)}
        if len(set(lengths.tolist())) > 1:
            inputs["attention_mask"] = (torch.arange(values.shape[1]) < lengths[:, None]).long().to(device)
        return inputs

    def _wave(self, sound: Sound, grid: FrameGrid) -> "Tensor":
        """A whole sound as the model expects it: with zero mean and unit variance if it was trained on that."""
        import torch

        wave = read(sound, grid.rate_hz)
        if not len(wave) or grid.centred:
            return wave
        inputs = self.tool("AutoFeatureExtractor")(wave.numpy(), sampling_rate=grid.rate_hz, return_tensors="pt")
        values: torch.Tensor = inputs["input_values"][0].float()
        return torch.nn.functional.pad(values, (0, max(0, grid.field - len(values))))

    def _windows(self, sound: int, wave: "Tensor", grid: FrameGrid) -> Iterator[SoundWindow]:
        if not len(wave):
            return
        frames = grid.frames(len(wave))
        context = round(self.context_s * grid.rate_hz / grid.hop)
        step = max(1, int(self.window_s * grid.rate_hz / grid.hop) - 2 * context)
        inner = range(context + step, frames - context, step) if frames > step + 2 * context else ()
        for start, stop in itertools.pairwise([0, *inner, frames]):
            first, last = max(0, start - context), min(frames, stop + context)
            samples = grid.samples(first, last)
            whole = slice(samples.start, None if last == frames else samples.stop)
            yield SoundWindow(sound, wave[whole], first, slice(start - first, stop - first))

    def _batches(self, windows: Sequence[SoundWindow], samples: float) -> Iterator[list[SoundWindow]]:
        """Batches of windows of similar length; of equal length for models that padding would influence."""
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
    """Hidden states of a speech model: wav2vec 2.0, HuBERT, WavLM or Whisper's encoder. The default is the paper's.

    Attributes:
        layers: which hidden states; 0 is the input of the first transformer layer, k the output of the k-th.
        combine: take the mean of the layers, or concatenate them.
    """

    layers: tuple[NonNegativeInt, ...] = Field((14, 15, 16, 17, 18), min_length=1)
    combine: Literal["mean", "concat"] = "mean"

    @property
    def size(self) -> int:
        """The width of the model, times the number of layers if they are concatenated."""
        config = self.settings()
        hidden_states(config, self.layers, self.checkpoint)
        return int(config.hidden_size) * (len(self.layers) if self.combine == "concat" else 1)

    def _states(self, net: Any, inputs: "dict[str, Tensor]") -> "Tensor":
        import torch

        states = net(**inputs, output_hidden_states=True).hidden_states
        chosen = [states[layer] for layer in self.layers]
        return torch.cat(chosen, dim=-1) if self.combine == "concat" else torch.stack(chosen).mean(dim=0)


class SpeechModelConv(SpeechFeature, name="speech_model_conv", shorthand="checkpoint"):
    """The convolutional features of wav2vec 2.0, HuBERT or WavLM: the input of their transformer."""

    @property
    def size(self) -> int:
        """The number of channels of the last convolution."""
        config = self.settings()
        if not hasattr(config, "conv_dim"):
            raise InputError(f"{self.checkpoint} has no convolutions over waves; type speech_model:{self.checkpoint}")
        return int(config.conv_dim[-1])

    def _states(self, net: Any, inputs: "dict[str, Tensor]") -> "Tensor":
        states: Tensor = net.feature_extractor(inputs["input_values"])
        return states.transpose(1, 2)
