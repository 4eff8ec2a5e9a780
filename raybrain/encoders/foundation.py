"""Foundation: a pretrained token encoder, between the front that all encoders share and a head that estimates.

Such a network cuts channels into patches of time, makes a token of each, and lets tokens look at each other: LaBraM (Jiang et
al. 2024, "Large brain model for learning generic representations with tremendous EEG data in BCI"), models of time series, or
any transformer. It comes from a checkpoint (:mod:`raybrain.encoders.checkpoint`), in one of three ways:

- a transformer of Hugging Face that takes ``inputs_embeds`` (BERT and the like): patches of each channel are embedded here,
  with an embedding of their channel added; their place in time is the transformer's own;
- a model of time series of Hugging Face that takes ``past_values`` (PatchTST), each channel on its own;
- anything else, by code: ``checkpoint.code=MODULE:FUNCTION`` names a function of the settings in config.json, a dictionary, and
  of the :class:`~raybrain.batch.Shapes` of the data (channels by name and place, sampling rate). It gives a torch module with
  an attribute ``width`` which maps ``signal`` [batch channels time], ``positions`` [batch channels 2] in [0, 1] and ``valid``
  [batch channels] to tokens [batch tokens width]: as many for each channel, one channel after another; or of all channels
  together, if it has an attribute ``per_channel`` that is False. It has no weights that tokens do not depend on, such as those
  of a classifier.

The pretrained part stays in evaluation mode while it is trained: no dropout but our own, whose masks any number of workers
agree on, and batch norm goes by what it has seen. ``optim.layers`` freezes it (``tokens.model``), for a while or for good, or
lets its layers learn more slowly than the head.

Dimension letters: B batch, C channels, T time samples, P patches, W width of a token, H channels inside of the head.
"""

import inspect
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Shapes
from raybrain.config import InputError
from raybrain.encoders.checkpoint import CheckpointConfig, matched
from raybrain.encoders.draws import Dropout
from raybrain.encoders.front import Front, FrontEncoder

SIZES = ("hidden_size", "d_model")  # what settings of transformers call the width of a token
UNUSED = ("pooler", "mask_token", "masked_spec_embed", "word_embeddings", "embed_tokens", "wte", "decoder", "lm_head")


class Foundation(FrontEncoder, name="foundation"):
    """The usual front, a pretrained token encoder, and a head from tokens to samples.

    Attributes:
        initial_linear: channels of a linear map of the sensors (or of the attention's outputs), which tokens are made of; None
            for none.
        checkpoint: the token encoder.
        sensors: make tokens of single sensors, as EEG models are pretrained; the front brings them together afterwards, where
            it else comes before. Code that makes tokens of all sensors together leaves nothing to a front: there is none.
        patch: samples of a token, at ``rate_hz``; of a network that cuts windows itself, nobody asks.
        rate_hz: what the network was trained at; None for that of the data.
        samples: that the head makes of a token, before they are brought to the rate of the data.
        hidden: channels inside of the head.
        dropout: of tokens, while training.
    """

    initial_linear: int | None = Field(16, gt=0)
    checkpoint: CheckpointConfig = CheckpointConfig()
    sensors: bool = False
    patch: int = Field(12, gt=0)
    rate_hz: PositiveFloat | None = None
    samples: int = Field(12, gt=0)
    hidden: int = Field(64, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _front_afterwards(self) -> "Foundation":
        if self.sensors and (self.augment.on or self.mixes or self.tokens.depth):
            raise InputError(
                "encoder.sensors=true makes tokens of sensors before the front, which has no signal then to change at random or"
                " to make tokens of; type encoder.sensors=false, or leave encoder.augment and encoder.tokens at their defaults"
            )
        return self

    def build(self, shapes: Shapes) -> nn.Module:
        """The network, with weights that are drawn: :meth:`pretrained` has the others."""
        return FoundationNet(self, shapes)

    @property
    def origin(self) -> str:
        """The checkpoint."""
        return self.checkpoint.path

    def pretrained(self, network: nn.Module) -> dict[str, Tensor]:
        """The weights of the token encoder."""
        assert isinstance(network, FoundationNet)
        wanted = network.tokens.model.state_dict()
        given = matched(wanted, self.checkpoint.weights(), self.checkpoint.path, UNUSED)
        return {f"tokens.model.{name}": value for name, value in given.items()}


class FoundationNet(nn.Module):
    """The network of a Foundation."""

    def __init__(self, config: Foundation, shapes: Shapes) -> None:
        super().__init__()
        self.samples, self.sensors = config.samples, config.sensors
        self.instance_norm = config.instance_norm and config.sensors
        self.rate = (config.rate_hz or shapes.rate_hz) / shapes.rate_hz
        front = config.model_copy(update={"instance_norm": False}) if config.sensors else config
        self.front: Front | None = Front(front, shapes)
        self.tokens = TokenEncoder(config, shapes, shapes.channels if config.sensors else self.front.channels)
        width = self.tokens.width * (self.front.channels if self.tokens.per_channel else 1)
        if config.sensors and not self.tokens.per_channel:
            self.front = None
            if config.subject != "none":
                raise InputError(
                    f"{config.checkpoint.code} makes tokens of all sensors together, after which no front comes that knows"
                    f" subjects, and encoder.subject={config.subject}; type encoder.subject=none, or encoder.sensors=false"
                )
        self.dropout = Dropout(config.dropout, "foundation tokens")
        self.head = nn.Conv1d(width, config.hidden * config.samples, 1)
        self.final = nn.Conv1d(config.hidden, shapes.features, 1)

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        times = batch.signal.shape[-1]
        tokens, span = self._of_sensors(batch) if self.sensors else self._of_channels(batch)
        x = self.head(self.dropout(tokens, batch.keys))
        x = x.unflatten(1, (-1, self.samples)).transpose(2, 3).flatten(2)  # the samples of a token one after another
        x = F.interpolate(x, size=max(1, round(times * span)), mode="linear")[..., :times]
        out: Tensor = self.final(F.gelu(F.pad(x, (0, times - x.shape[-1]))))
        return out

    def _of_channels(self, batch: Batch) -> tuple[Tensor, float]:
        """Tokens of what the front gives, [B C*W P], and how many windows long they are all together."""
        assert self.front is not None
        x = self.front(batch)
        nowhere = x.new_zeros(*x.shape[:2], 2)
        tokens, span = self.tokens(self._resampled(x), nowhere, torch.ones_like(nowhere[..., 0], dtype=torch.bool), None)
        return tokens.transpose(2, 3).flatten(1, 2), span

    def _of_sensors(self, batch: Batch) -> tuple[Tensor, float]:
        """Tokens of sensors, which the front brings together."""
        positions, valid = batch.positions[batch.layout], batch.valid[batch.layout]
        counted = batch.counted
        signal = F.instance_norm(batch.signal) if self.instance_norm else batch.signal
        attention = None if self.front is None else self.front.attention
        places = None if attention is None else attention.embedding(batch.positions)[batch.layout]
        if attention is not None or self.front is None:  # what is nowhere is not attended to either
            signal = signal * (valid if self.front is not None else counted)[..., None]
        tokens, span = self.tokens(self._resampled(signal), positions, counted, places)
        if self.front is None:
            return tokens[:, 0].transpose(1, 2), span
        patches = tokens.shape[2]
        x = self.front(replace(batch, signal=tokens.flatten(2)))
        return x.unflatten(2, (patches, -1)).transpose(2, 3).flatten(1, 2), span

    def _resampled(self, x: Tensor) -> Tensor:
        if self.rate == 1:
            return x
        return F.interpolate(x, size=max(1, round(x.shape[-1] * self.rate)), mode="linear")


class TokenEncoder(nn.Module):
    """The pretrained network, and what it needs around it.

    Attributes:
        model: the network as the checkpoint has it.
        width: of a token.
        per_channel: whether each channel has tokens of its own.
    """

    def __init__(self, config: Foundation, shapes: Shapes, channels: int) -> None:
        super().__init__()
        self.model = config.checkpoint.build(shapes).eval()
        self.patch = config.patch
        self.settings: Any = getattr(self.model, "config", None)
        self.kind = "code" if config.checkpoint.code else getattr(self.model, "main_input_name", "")
        sizes = (getattr(of, name, 0) for of, name in ((self.model, "width"), *((self.settings, size) for size in SIZES)))
        self.width = next((int(size) for size in sizes if size), 0)
        self.per_channel = bool(getattr(self.model, "per_channel", True))
        if not self.width:
            raise InputError(f"{config.checkpoint.code or self.kind} does not say how wide its tokens are; give it a width")
        if self.kind not in ("code", "past_values"):
            self._check_inputs(config)
            self.embedding = nn.Linear(config.patch, self.width)
            dimensions = config.attention.dimensions if config.sensors and config.attention.on else channels
            self.place = nn.Linear(dimensions, self.width, bias=False)
        for name, parameter in self.model.named_parameters():
            if any(part in name for part in UNUSED):  # without a gradient, which an optimiser takes for 0
                parameter.requires_grad_(False)

    def _check_inputs(self, config: Foundation) -> None:
        """Refuse a transformer that does not take what it would be given."""
        kind, known = type(self.model).__name__, inspect.signature(self.model.forward).parameters
        if "inputs_embeds" not in known:
            raise InputError(f"{kind} takes no inputs_embeds, so that patches cannot be its tokens; name code that makes them")
        if config.sensors and "attention_mask" not in known:
            raise InputError(
                f"{kind} takes no attention_mask, so that bad sensors would be looked at; type encoder.sensors=false"
            )

    def train(self, mode: bool = True) -> "TokenEncoder":
        """Training mode, but for the pretrained network."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, signal: Tensor, positions: Tensor, valid: Tensor, places: Tensor | None) -> tuple[Tensor, float]:
        """Tokens [B C P W], C being 1 where they are of all channels together; and how many windows long the patches are.

        Args:
            signal: [B C T].
            positions: [B C 2].
            valid: [B C].
            places: what positions are embedded as, [B C dimensions]; None where channels go by number.
        """
        if self.kind == "code":
            return self._checked(self.model(signal, positions, valid), signal), 1.0
        if self.kind == "past_values":
            return self._of_series(signal)
        times = signal.shape[-1]
        cut = torch.unflatten(F.pad(signal, (0, -times % self.patch)), -1, (-1, self.patch))  # B C P patch
        count, patches = cut.shape[1:3]
        if places is None:
            places = torch.eye(count, device=signal.device, dtype=signal.dtype).expand(len(signal), -1, -1)
        embedded = self.embedding(cut) + self.place(places.to(cut.dtype))[:, :, None]
        tokens = self._looked(embedded.flatten(1, 2), valid.repeat_interleave(patches, dim=1), patches)
        return torch.unflatten(tokens, 1, (count, patches)), patches * self.patch / times

    def _looked(self, embedded: Tensor, valid: Tensor, patches: int) -> Tensor:
        """What a transformer makes of embedded patches, [B tokens W]."""
        known = inspect.signature(self.model.forward).parameters
        limit = getattr(self.settings, "max_position_embeddings", None)
        given: dict[str, Tensor] = {"inputs_embeds": embedded}
        if "attention_mask" in known:
            given["attention_mask"] = valid.long()
        if "position_ids" in known:  # a place in time: all channels have the same
            numbers = torch.arange(patches, device=embedded.device)
            given["position_ids"] = numbers.repeat(embedded.shape[1] // patches).expand(len(embedded), -1)
        reach = patches if "position_ids" in known else embedded.shape[1]
        if limit is not None and reach > limit:
            raise InputError(f"the checkpoint has {limit} places in time, and {reach} are needed; type a larger encoder.patch")
        tokens: Tensor = self.model(**given).last_hidden_state
        return tokens

    def _of_series(self, signal: Tensor) -> tuple[Tensor, float]:
        """What a model of time series makes of each channel."""
        length, times = int(self.settings.context_length), signal.shape[-1]
        if times > length:
            raise InputError(
                f"the checkpoint takes {length} samples, and a window has {times}; type a lower encoder.rate_hz, or shorter"
                " segments"
            )
        alone = F.pad(signal, (0, length - times)).flatten(0, 1)[..., None]
        tokens: Tensor = torch.unflatten(self.model(past_values=alone).last_hidden_state[:, 0], 0, signal.shape[:2])
        return tokens, length / times

    def _checked(self, tokens: Tensor, signal: Tensor) -> Tensor:
        """Tokens of a network that is not ours, [B C P W]."""
        count = signal.shape[1] if self.per_channel else 1
        if tokens.ndim != 3 or tokens.shape[0] != len(signal) or tokens.shape[2] != self.width or tokens.shape[1] % count:
            raise InputError(
                f"the network of encoder.checkpoint.code gives {list(tokens.shape)}, and not tokens [{len(signal)},"
                f" a multiple of {count}, {self.width}]"
            )
        return torch.unflatten(tokens, 1, (count, -1))
