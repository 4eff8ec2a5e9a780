"""Step: from the rows of a batch to changed weights. Plain torch; with several processes it talks through torch.distributed.

The guarantee: the same rows give the same loss, gradients and weights for any number of workers. Each worker encodes its
slice of the batch and ranks its estimates against the candidates of the whole group. What is aimed at is stored where every
worker can read it, so nothing is exchanged for it; what a trained network makes of it is gathered with its gradient. Losses are
summed, divided by the size of the whole batch, and gradients are summed over workers in one buffer of fixed layout
(DistributedDataParallel averages, and rearranges its buckets after the first step, so that a resumed run would add in another
order).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from raybrain.batch import Batch, Keys, Shapes, step_draws, to_device
from raybrain.excerpts import Excerpts
from raybrain.experiment import Experiment, OptimConfig
from raybrain.losses.base import LossGroup
from raybrain.network import Network, Parts
from raybrain.tasks.base import Task
from raybrain.train.optimizer import Optimizer
from raybrain.train.order import Contrast
from raybrain.train.partners import Partners
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

    def first(self, value: bytes | None) -> bytes | None:
        """What the first worker has, on all of them; what the others have does not matter."""
        if self.world == 1:
            return value
        size = torch.tensor(-1 if value is None else len(value), device=self.device)
        dist.broadcast(size, 0)
        if size <= 0:
            return None if size < 0 else b""
        content = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        if self.rank == 0 and value:
            content.copy_(torch.frombuffer(bytearray(value), dtype=torch.uint8))
        dist.broadcast(content, 0)
        return content.cpu().numpy().tobytes()

    def share(self, count: int) -> slice:
        """This worker's slice of ``count`` items in one global order."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)


class Learner:
    """A network, its optimiser and the data, in one of ``place.world`` processes.

    Attributes:
        task: what goes in and what is aimed at.
        shapes: what the network is built for.
        network: everything that has weights.
    """

    def __init__(self, experiment: Experiment, tables: Tables, sizes: Contrast, place: Place) -> None:
        self.tables, self.sizes, self.seed, self.place = tables, sizes, experiment.train.seed, place
        self.task: Task = experiment.task
        self.shapes: Shapes = self.task.built_for(tables.shapes)
        self.control = experiment.train.control
        self._mates = Partners(tables) if experiment.encoder.mixes else None
        torch.manual_seed(self.seed)
        self.network = Network(Parts.of(experiment), self.shapes).to(place.device, place.dtype)
        self.encode = torch.compile(self.network.encoder) if place.compile else self.network.encoder
        updates, epochs = sizes.updates_per_epoch, experiment.train.epochs
        first = updates if experiment.fits_line else 0  # in the first epoch it is fitted
        self.optimizer = Optimizer(self.network, experiment.optim, range(first, epochs * updates))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The weights that are trained now."""
        return self.optimizer.parameters

    @property
    def trained(self) -> list[int]:
        """The numbers of the subjects who have train segments: others are left out."""
        who = self.tables.subject.cpu()[self.tables.recording.cpu()]
        return [int(number) for number in torch.unique(who[self.tables.rows["train"].cpu()])]

    @property
    def device(self) -> torch.device:
        """What it computes on."""
        return self.place.device

    def set_optim(self, optim: OptimConfig) -> None:
        """Go on with other settings of the optimiser; what it has gathered of the gradients stays."""
        self.optimizer.set(optim)

    def load(self, rows: Tensor, extra: Tensor, step: int) -> "Loaded":
        """What this worker needs of a batch, on its device.

        Args:
            rows: [batch], the segments of all workers.
            extra: [extra], segments that serve as negatives only.
            step: keys the random draws.
        """
        mine, group, everything = self.place.share(len(rows)), self.sizes.group, torch.cat([rows, extra])
        if self.network.aimed_side is None:  # the groups that hold a row of this worker
            aimed = slice(mine.start // group * group, -(-mine.stop // group) * group)
        else:
            aimed, extra = mine, extra[self.place.share(len(extra))]
        return Loaded(
            step,
            self.taught(rows[mine], step),
            self.wanted(torch.cat([rows[aimed], extra])),
            Shares(len(rows), mine, aimed),
            self.excerpts(everything),
            self._keys(torch.cat([rows[aimed], extra]), step),
        )

    def update(self, loaded: "Loaded") -> Tensor:
        """One optimiser step on a batch.

        Returns:
            The mean loss over the whole batch, on the device; the same on every worker.
        """
        self.optimizer.prepare()
        loss = self.loss(loaded)
        loss.backward()  # type: ignore[no-untyped-call]
        total = self._sum_gradients(loss.detach())
        self.optimizer.step(loaded.step)
        return total

    def loss(self, loaded: "Loaded") -> Tensor:
        """This worker's part of the mean loss over a batch; the parts of all workers add up to it."""
        estimates = self.encoded(loaded.given)
        parts = list(self._parts(loaded, self._gathered(loaded)))
        groups = self._groups(estimates, parts, loaded)
        losses = [
            self.network.loss(estimates[part.own], part.candidates, part.targets, group).sum()
            for part, group in zip(parts, groups, strict=True)
        ]
        total = torch.stack(losses).sum() / loaded.sizes.batch
        penalty = self.network.penalty(loaded.given) if self.place.rank == 0 else None
        return total if penalty is None else total + penalty

    def group_losses(self, rows: Tensor) -> Tensor:
        """The losses of some segments that are ranked against each other, [rows]."""
        targets = torch.arange(len(rows), device=self.place.device)
        group = LossGroup(self.tables.excerpts(rows).to(self.place.device))
        losses: Tensor = self.network.loss(self.estimates(rows), self.aimed(rows), targets, group)
        return losses

    def _parts(self, loaded: "Loaded", aimed: "Candidates") -> Iterator["_Part"]:
        """This worker's rows, group by group, with the candidates of each group."""
        sizes, mine, group = loaded.sizes, loaded.sizes.mine, self.sizes.group
        count = (sizes.batch if self.network.aimed_side else sizes.aimed.stop) - aimed.first
        rows, extra = aimed.values[:count], aimed.values[count:]
        for start in range(mine.start // group * group, mine.stop, group):
            own = slice(max(start, mine.start) - mine.start, min(start + group, mine.stop) - mine.start)
            candidates = torch.cat([rows[start - aimed.first : start - aimed.first + group], extra])
            targets = torch.arange(own.start, own.stop, device=candidates.device) + mine.start - start
            yield _Part(slice(start, start + group), own, candidates, targets)

    def _groups(self, estimates: Tensor, parts: Sequence["_Part"], loaded: "Loaded") -> list[LossGroup]:
        """What is known of the group of each part; what its loss needs of the rows of other workers is exchanged."""
        loss, batch = self.network.loss, loaded.sizes.batch
        shared = others = None
        if loss.needs_shared:
            shared = self._everyones(torch.cat([loss.shared(estimates[part.own], part.candidates) for part in parts]), batch)
        if loss.needs_estimates:
            others = self._everyones(estimates.detach(), batch)
        groups = []
        for part in parts:
            rows = [torch.arange(part.rows.start, part.rows.stop), torch.arange(batch, len(loaded.excerpts))]
            excerpts = loaded.excerpts.at(torch.cat(rows).to(loaded.excerpts.stimulus.device)).to(self.place.device)
            own = (None if values is None else values[part.rows] for values in (shared, others))
            groups.append(LossGroup(excerpts, *own))
        return groups

    def _everyones(self, values: Tensor, batch: int) -> Tensor:
        """What all workers have of their rows of a batch, [batch ...], with gradients to each."""
        world = self.place.world
        if world == 1:
            return values
        lengths = [_length(Place(rank, world).share(batch)) for rank in range(world)]
        return torch.cat(_gather(values, lengths, self.place.rank))

    def _keys(self, rows: Tensor, step: int) -> Keys:
        """What random numbers of some segments are drawn for, on this worker's device."""
        return Keys.of(*(to_device(values, self.place.device) for values in (step_draws(self.seed, step), rows)))

    def given(self, rows: Tensor, step: int = 0, tables: Tables | None = None) -> Batch:
        """What goes in of some segments, on this worker's device; of other ``tables`` than its own if these are given."""
        data = tables or self.tables
        batch = self.task.given(data, rows.to(data.device), step_draws(self.seed, step))
        return batch.to(self.place.device, self.place.dtype)

    def stored(self, rows: Tensor) -> Tensor:
        """What is aimed at in some segments, as it is stored, [rows features time], on this worker's device."""
        stored = self.task.aimed(self.tables, rows.to(self.tables.device))
        return to_device(stored, self.place.device).to(self.place.dtype)

    def taught(self, rows: Tensor, step: int = 0) -> Batch:
        """What goes in of some train segments, beside their partners if the encoder asks for these."""
        batch = self._taught(rows, self.given(rows, step))
        if self._mates is None:
            return batch
        device = self.tables.device
        rows = rows.to(device)
        partners, moved = self._mates.of(Keys.of(step_draws(self.seed, step).to(device), rows), rows)
        others = self.given(torch.arange(len(rows)), step, moved)
        others = replace(others, segment=to_device(partners, self.place.device))
        return replace(batch, partner=self._taught(partners, others))

    def _taught(self, rows: Tensor, batch: Batch) -> Batch:
        """A batch of some segments; noise that is each segment's own if the control asks for that."""
        if self.control != "noise":
            return batch
        noise = [torch.randn(batch.signal.shape[1:], generator=self._generator(row)) for row in rows.tolist()]
        return replace(batch, signal=torch.stack(noise).to(batch.signal))

    def wanted(self, rows: Tensor) -> Tensor:
        """What is aimed at in some train segments, as it is stored; that of others if the control asks for that."""
        return self.stored(self._wanted_rows(rows))

    def excerpts(self, rows: Tensor) -> Excerpts:
        """Where what some train segments aim at lies in what was heard."""
        return self.tables.excerpts(self._wanted_rows(rows))

    def _wanted_rows(self, rows: Tensor) -> Tensor:
        return self._partners[rows.cpu()] if self.control == "shuffled" else rows

    @cached_property
    def _partners(self) -> Tensor:
        """Of each train segment another one: the next of them in an order that is drawn."""
        train = self.tables.rows["train"].cpu()
        train = train[torch.randperm(len(train), generator=self._generator(-1))]
        partners = torch.arange(len(self.tables.recording))
        partners[train] = train.roll(-1)
        return partners

    def _generator(self, key: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * 1_000_003 + key + 1) % 2**63)

    def encoded(self, batch: Batch) -> Tensor:
        """What the encoder makes of a batch, [rows features time]."""
        with self.place.mixed():
            estimates: Tensor = self.encode(batch)
        return estimates

    def estimates(self, rows: Tensor) -> Tensor:
        """What the encoder makes of some segments, [rows features time]."""
        return self.encoded(self.given(rows))

    def aimed(self, rows: Tensor) -> Tensor:
        """What estimates of some segments are compared with, [rows features time]."""
        return self._aimed(self.stored(rows))

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """How well each candidate fits each estimate, [rows candidates]."""
        return self.network.loss.scores(estimates, candidates)

    def _aimed(self, stored: Tensor, keys: Keys | None = None) -> Tensor:
        with self.place.mixed():
            return self.network.aimed(stored, keys)

    def _gathered(self, loaded: "Loaded") -> "Candidates":
        """The candidates of a batch: as they were loaded, or where a trained network encodes them, from all workers."""
        encoded = self._aimed(loaded.aimed, loaded.keys)
        if self.network.aimed_side is None:
            return Candidates(encoded, loaded.sizes.aimed.start)
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
        return {"model": self.network.state_dict(), **self.optimizer.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state; one without an optimiser changes the weights only."""
        self.network.load_state_dict(state["model"])
        if "optimizer" in state:
            self.optimizer.restore(state)


@dataclass(frozen=True)
class Shares:
    """Of ``batch`` rows, which are this worker's, and of which it has loaded what is aimed at."""

    batch: int
    mine: slice
    aimed: slice


@dataclass(frozen=True)
class Loaded:
    """A step's data on a worker's device: what goes in, and what is aimed at as it is stored, extra negatives last.

    ``excerpts`` are those of the whole batch and all extra negatives; ``keys`` those of what is aimed at.
    """

    step: int
    given: Batch
    aimed: Tensor
    sizes: Shares
    excerpts: Excerpts
    keys: Keys


@dataclass(frozen=True)
class _Part:
    """Rows ``own`` of a worker's estimates, which belong to a group of ``rows`` of the batch, with what they aim at."""

    rows: slice
    own: slice
    candidates: Tensor
    targets: Tensor


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
