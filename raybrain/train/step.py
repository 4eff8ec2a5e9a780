"""Step: from the rows of a batch to changed weights. Plain torch; with several processes it talks through torch.distributed.

The guarantee: the same rows give the same loss, gradients and weights for any number of workers. Each worker encodes its
slice of the batch and ranks its estimates against the candidates of the whole group. Stored features are the same on every
worker, so nothing is exchanged for them; a trained speech side is gathered with its gradient. Losses are summed, divided by
the size of the whole batch, and gradients are summed over workers in one buffer of fixed layout (DistributedDataParallel
averages, and rearranges its buckets after the first step, so that a resumed run would add in another order).
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from raybrain.batch import Batch, step_draws, to_device
from raybrain.encoders.base import Encoder, SpeechEncoder
from raybrain.experiment import OptimConfig
from raybrain.losses.base import Loss, LossModule
from raybrain.train.order import Contrast
from raybrain.train.tables import Tables


@dataclass(frozen=True)
class Place:
    """Where this process stands among the workers, and what it computes on and with."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    compile: bool = False

    def mixed(self) -> AbstractContextManager[Any]:
        """Automatic mixed precision, or nothing."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext()

    def share(self, count: int) -> slice:
        """This worker's slice of ``count`` items in one global order."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)


@dataclass(frozen=True)
class Networks:
    """What is trained: settings of the three parts."""

    encoder: Encoder
    speech: SpeechEncoder
    loss: Loss


class Model(nn.Module):
    """Encoder, speech side (if one is trained) and loss: everything that has weights."""

    def __init__(self, networks: Networks, tables: Tables) -> None:
        super().__init__()
        stored = tables.shapes
        shapes = replace(stored, features=networks.speech.size(stored.features))
        self.encoder = networks.encoder.build(shapes)
        self.speech = networks.speech.build(stored.features)
        if self.speech is not None:
            shapes = replace(shapes, slices=())
        self.loss: LossModule = networks.loss.build(shapes)


class Learner:
    """A model, its optimiser and the data, in one of ``place.world`` processes."""

    def __init__(self, networks: Networks, optim: OptimConfig, tables: Tables, sizes: Contrast, seed: int, place: Place):
        torch.manual_seed(seed)
        self.model = Model(networks, tables).to(place.device, place.dtype)
        self.tables, self.sizes, self.seed, self.place = tables, sizes, seed, place
        self.encode = torch.compile(self.model.encoder) if place.compile else self.model.encoder
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=optim.lr,
            betas=(0.9, optim.beta2),
            weight_decay=optim.weight_decay,
            fused=True,
        )

    def set_optim(self, optim: OptimConfig) -> None:
        """Go on with other settings of the optimiser; what it has gathered of the gradients stays."""
        for group in self.optimizer.param_groups:
            group.update(lr=optim.lr, betas=(0.9, optim.beta2), weight_decay=optim.weight_decay)

    def load(self, rows: Tensor, extra: Tensor, step: int) -> "Loaded":
        """What this worker needs of a batch, on its device.

        Args:
            rows: [batch], the segments of all workers.
            extra: [extra], segments that serve as negatives only.
            step: keys the random draws.
        """
        mine, group = self.place.share(len(rows)), self.sizes.group
        if self.model.speech is None:  # the groups that hold a row of this worker
            spoken = slice(mine.start // group * group, -(-mine.stop // group) * group)
        else:
            spoken, extra = mine, extra[self.place.share(len(extra))]
        return Loaded(
            step,
            self.brain(rows[mine], step),
            self.stored_speech(torch.cat([rows[spoken], extra])),
            Shares(len(rows), mine, spoken),
        )

    def update(self, loaded: "Loaded") -> Tensor:
        """One optimiser step on a batch.

        Returns:
            The mean loss over the whole batch, on the device; the same on every worker.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(loaded)
        loss.backward()  # type: ignore[no-untyped-call]
        total = self._sum_gradients(loss.detach())
        self.optimizer.step()
        return total

    def loss(self, loaded: "Loaded") -> Tensor:
        """This worker's part of the mean loss over a batch; the parts of all workers add up to it."""
        sizes, mine, group = loaded.sizes, loaded.sizes.mine, self.sizes.group
        estimates = self.encoded(loaded.batch)
        speech = self._gathered(loaded)
        count = (sizes.batch if self.model.speech else sizes.spoken.stop) - speech.first
        rows, extra = speech.values[:count], speech.values[count:]
        losses = []
        for start in range(mine.start // group * group, mine.stop, group):
            own = slice(max(start, mine.start) - mine.start, min(start + group, mine.stop) - mine.start)
            candidates = torch.cat([rows[start - speech.first : start - speech.first + group], extra])
            targets = torch.arange(own.start, own.stop, device=estimates.device) + mine.start - start
            losses.append(self.model.loss(estimates[own], candidates, targets).sum())
        return torch.stack(losses).sum() / sizes.batch

    def brain(self, rows: Tensor, step: int = 0) -> Batch:
        """The brain side of some segments, on this worker's device."""
        batch = self.tables.batch(rows.to(self.tables.device), step_draws(self.seed, step))
        return batch.to(self.place.device, self.place.dtype)

    def stored_speech(self, rows: Tensor) -> Tensor:
        """The stored features of some segments, [rows features time], on this worker's device."""
        speech = self.tables.speech(rows.to(self.tables.device))
        return to_device(speech, self.place.device).to(self.place.dtype)

    def encoded(self, batch: Batch) -> Tensor:
        """What the encoder makes of a batch, [rows features time]."""
        with self.place.mixed():
            estimates: Tensor = self.encode(batch)
        return estimates

    def estimates(self, rows: Tensor) -> Tensor:
        """What the encoder makes of some segments, [rows features time]."""
        return self.encoded(self.brain(rows))

    def speech(self, rows: Tensor) -> Tensor:
        """The candidates some segments stand for, [rows features time], after the trained speech side if there is one."""
        return self._encoded_speech(self.stored_speech(rows))

    def _encoded_speech(self, stored: Tensor) -> Tensor:
        if self.model.speech is None:
            return stored
        with self.place.mixed():
            encoded: Tensor = self.model.speech(stored)
        return encoded

    def _gathered(self, loaded: "Loaded") -> "Candidates":
        """The candidates of a batch: stored ones as they were loaded, those of a trained speech side from all workers."""
        encoded = self._encoded_speech(loaded.speech)
        if self.model.speech is None:
            return Candidates(encoded, loaded.sizes.spoken.start)
        if self.place.world == 1:
            return Candidates(encoded, 0)
        shares = [Place(rank, self.place.world) for rank in range(self.place.world)]
        sizes = [(_length(share.share(loaded.sizes.batch)), _length(share.share(self.sizes.extra))) for share in shares]
        parts = _gather(encoded, [sum(size) for size in sizes], self.place.rank)
        rows = [part[:own] for part, (own, _) in zip(parts, sizes, strict=True)]
        extra = [part[own:] for part, (own, _) in zip(parts, sizes, strict=True)]
        return Candidates(torch.cat([*rows, *extra]), 0)

    def _sum_gradients(self, loss: Tensor) -> Tensor:
        """Add up gradients and loss over all workers, in one exchange; nothing is exchanged by one worker alone."""
        if self.place.world == 1:
            return loss
        pieces = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        flat = torch.cat([piece.reshape(-1) for piece in pieces] + [loss.reshape(1).to(pieces[0].dtype)])
        dist.all_reduce(flat)
        sizes = [parameter.numel() for parameter in self.parameters]
        for parameter, total in zip(self.parameters, torch.split(flat[:-1], sizes), strict=True):
            parameter.grad = total.view_as(parameter)
        return flat[-1]

    def state(self) -> dict[str, Any]:
        """Weights and optimiser, for a checkpoint."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state; one without an optimiser changes the weights only."""
        self.model.load_state_dict(state["model"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])


@dataclass(frozen=True)
class Shares:
    """Of ``batch`` rows, which are this worker's, and of which it has loaded the speech."""

    batch: int
    mine: slice
    spoken: slice


@dataclass(frozen=True)
class Loaded:
    """A step's data on a worker's device: its own brain segments, and stored speech, extra negatives last."""

    step: int
    batch: Batch
    speech: Tensor
    sizes: Shares


@dataclass(frozen=True)
class Candidates:
    """Candidates of consecutive rows of a batch, the first of which is row ``first``; extra negatives last."""

    values: Tensor
    first: int


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def _gather(tensor: Tensor, lengths: list[int], rank: int) -> list[Tensor]:
    """The tensors of all workers, of these lengths, with gradients to each."""
    longest = max(lengths)
    padded = torch.cat([tensor, tensor.new_zeros(longest - len(tensor), *tensor.shape[1:])])
    gathered: Tensor = _AllGather.apply(padded, rank, len(lengths))  # type: ignore[no-untyped-call]
    return [part[:length] for part, length in zip(torch.split(gathered, longest), lengths, strict=True)]


class _AllGather(torch.autograd.Function):
    """Concatenate over workers. Each worker's loss depends on what all sent, so gradients are summed before they go back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.length = rank, len(tensor)
        out = tensor.new_empty(world * len(tensor), *tensor.shape[1:])
        dist.all_gather(list(torch.split(out, len(tensor))), tensor.contiguous())
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        return gradient[ctx.rank * ctx.length : (ctx.rank + 1) * ctx.length], None, None
