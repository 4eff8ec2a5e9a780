"""Train a few steps on random data in several processes: what the equivalence tests compare."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from raybrain.batch import Batch
from raybrain.config import override
from raybrain.encoders import layers
from raybrain.encoders.base import Encoder
from raybrain.experiment import Experiment, TrainConfig
from raybrain.features.frame_table import FeatureTable
from raybrain.signal.window import Window
from raybrain.train import step as stepping
from raybrain.train.neighbours import order_of
from raybrain.train.order import Contrast, Order, contrast
from raybrain.train.start import fit_line, set_gain, start_fits
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables

STEPS = 10
contrast_of = contrast
SEGMENTS, RECORDINGS, CHANNELS, TIMES = 128, 3, 7, 40
SPLITS = {"train": (0, 96), "valid": (96, 112), "valid_words": (112, 128)}
SMALL: dict[str, Any] = {
    "encoder.depth": 2,
    "encoder.hidden": 8,
    "encoder.attention.channels": 6,
    "encoder.attention.dimensions": 32,
    "encoder.initial_linear": 5,
    "train.batch_size": 16,
    "train.seed": 7,
    "optim.lr": 1e-3,
    "window.offset_s": 0.1,
}
DEEP = {"speech_encoder": "deep_mel", "speech_encoder.depth": 2, "speech_encoder.hidden": 6, "speech_encoder.output": 4}
WAVE = {
    "speech_encoder": "wave",
    "speech_encoder.strides": "5",
    "speech_encoder.channels": 4,
    "speech_encoder.depth": 1,
    "speech_encoder.output": 4,
}
RANDOM = {
    "encoder.augment.shift_s": 0.1,
    "encoder.augment.amplitude": 0.3,
    "encoder.augment.noise": 0.3,
    "encoder.augment.bands.count": 1,
    "encoder.augment.time.count": 2,
    "encoder.augment.sensors.share": 0.2,
    "encoder.augment.sensors.radius": 0.1,
    "encoder.augment.mixup": 0.5,
    "encoder.conv.dropout.input": 0.1,
    "encoder.conv.dropout.layers": 0.2,
    "encoder.attention.per_subject": True,
    "encoder.attention.usage_penalty": 0.1,
    "encoder.tokens.depth": 1,
    "encoder.tokens.hidden": 8,
    "encoder.subject_layer.shared.on": True,
    "encoder.svd_penalty": 0.1,
}
MODERN = {
    "optim.kind": "muon",  # whose matrices are rounded to bfloat16: a smaller step keeps that below what a test allows
    "optim.lr": 3e-4,
    "optim.weight_decay": 0.1,
    "optim.warmup": 3,
    "optim.decay_to": 0.1,
    "optim.clip": 0.5,
    "optim.average": 0.9,
    "train.epochs": 2,
}
# smaller than, equal to and larger than the batch of one of two and of four workers
CASES: dict[str, dict[str, Any]] = {
    "inside a worker": {"train.contrast_size": 2},
    "a worker's batch": {"train.contrast_size": 8},
    "across workers": {"train.contrast_size": 16},
    "extra negatives": {"train.contrast_size": 8, "train.extra_negatives": 5},
    "hard negatives": {"train.contrast_size": 8, "train.extra_negatives": 5, "train.negatives": "near"},
    "trained speech side": {"train.contrast_size": 16, **DEEP},
    "trained speech side, extra": {"train.contrast_size": 8, "train.extra_negatives": 5, **DEEP},
    "end to end": {"train.contrast_size": 16, **WAVE},
    "trained map in the loss": {"train.contrast_size": 16, "loss.linear": 3},
    "regression": {"train.contrast_size": 16, "loss": "mse"},
    "every random option": {"train.contrast_size": 8, "train.extra_negatives": 5, **RANDOM},
    "every random option on both sides": {
        "train.contrast_size": 16,
        "train.extra_negatives": 5,
        **RANDOM,
        **DEEP,
        "speech_encoder.conv.dropout.input": 0.1,
        "speech_encoder.conv.dropout.layers": 0.2,
    },
    "regression and classes": {"train.contrast_size": 16, "loss": "mixed"},
    "both directions": {"train.contrast_size": 8, "train.extra_negatives": 5, "loss": "info_nce", "loss.linear": 3},
    "both directions, soft": {
        "train.contrast_size": 16,
        "loss": "info_nce",
        "loss.equal": "one",
        "loss.alike": "left_out",
        "loss.soft.weight": 0.3,
        **DEEP,
    },
    "consensus": {"train.contrast_size": 8, "loss": "consensus", "loss.weight": 2.0, "loss.of": "info_nce"},
    "each feature": {"train.contrast_size": 16, "loss": "by_feature", "loss.of": "info_nce", "loss.weights": (1.0, 3.0)},
    "encode": {
        "task": "encode",
        "task.prompt_s": 0.3,
        "task.lowpass_hz": 6.0,
        "encoder.attention.on": False,
        "train.contrast_size": 16,
        "train.extra_negatives": 3,
    },
    "pairs": {"train.contrast_size": 16, "train.extra_negatives": 5, "loss": "siglip"},
    "frozen, then not": {
        "train.contrast_size": 8,
        "optim.layers.frozen": "front,convs.layers.0",
        "optim.layers.thaw": 1,
        "optim.layers.decay": 0.5,
        "optim.weight_decay": 0.1,
        "optim.average": 0.9,
        **RANDOM,
    },
    "recurrent": {
        "train.contrast_size": 8,
        "encoder": "conv_rnn",
        "encoder.lstm.dropout.input": 0.1,
        "encoder.lstm.dropout.layers": 0.1,
        "encoder.local.on": True,
        "encoder.local.layers": 2,
        "encoder.growth": 2.0,
        "encoder.dropout.input": 0.1,
        "encoder.dropout.layers": 0.1,
        "encoder.local.dropout": 0.1,
    },
    "pretrained": {"train.contrast_size": 8, "encoder": "foundation", "encoder.hidden": 4, "encoder.sensors": True},
    "from ridge": {"train.contrast_size": 8, "encoder.ridge.on": True},
    "from ridge, both directions": {"train.contrast_size": 8, "encoder.ridge.on": True, "loss": "info_nce"},
    "conformer from ridge": {
        "train.contrast_size": 8,
        "encoder": "conformer",
        "encoder.block.heads": 2,
        "encoder.ridge.on": True,
        "encoder.ridge.trained": True,
        **MODERN,
    },
}


def random_tables(experiment: Experiment, dtype: torch.dtype = torch.float64, dimensions: int = 5) -> Tables:
    """Signal and features of noise: three recordings of two subjects, two layouts; quantities at another rate, and classes."""
    make = torch.Generator().manual_seed(0)
    samples, frames, rate = 400, 200, 20.0
    recording = torch.arange(SEGMENTS) % RECORDINGS
    start = recording * samples + torch.randint(0, samples - TIMES, (SEGMENTS,), generator=make)
    frame_count = torch.full((SEGMENTS,), frames)
    feature = FeatureTable(
        name="noise",
        rate_hz=25.0,
        frames=torch.randn(1 + frames, dimensions, generator=make, dtype=dtype),
        first=torch.rand(SEGMENTS, generator=make, dtype=torch.float64) * 220 - 30,  # some start before, some end after
        begin=torch.ones(SEGMENTS, dtype=torch.long),
        count=frame_count,
    )
    classes = replace(
        feature,
        name="classes",
        rate_hz=20.0,
        frames=torch.arange(1 + frames)[:, None].remainder(3).to(dtype),
        weights=(0.5, 1.0, 2.0),
    )
    valid = torch.ones(2, CHANNELS, dtype=torch.bool)
    valid[1, -2:] = False
    return Tables(
        signal=torch.randn(RECORDINGS * samples, CHANNELS, generator=make, dtype=dtype),
        centre=torch.randn(RECORDINGS, CHANNELS, generator=make, dtype=dtype) / 10,
        layout=torch.tensor([0, 1, 0]),
        positions=torch.rand(2, CHANNELS, 2, generator=make, dtype=dtype),
        valid=valid,
        subject=torch.tensor([0, 1, 1]),
        recording=recording,
        start=start,
        candidate=torch.arange(SEGMENTS),
        features=[feature, classes] if experiment.loss.name in ("mixed", "by_feature") else [feature],
        rows={name: torch.arange(*ends) for name, ends in SPLITS.items()},
        meta={
            "subjects": [["a", "1"], ["a", "2"]],
            "layouts": [
                {"channels": [f"c{number}" for number in range(count)], "places": [None] * count}
                for count in (CHANNELS, CHANNELS - 2)
            ],
            "recordings": ["a1", "a2", "a3"],
            "candidates": [{"study": "a", "word": f"word {number % 9}"} for number in range(SEGMENTS)],
        },
        window=Window(rate, -0.5, TIMES, 11).read_with(experiment.window),
    )


def train(case: dict[str, Any], place: Place, dimensions: int = 5) -> dict[str, Tensor]:
    """Ten steps: every loss, the last gradients, and the weights and buffers after."""
    known = Encoder.kind(case.get("encoder", "simple_conv")).model_fields
    small = {key: value for key, value in SMALL.items() if not key.startswith("encoder.") or key.split(".")[1] in known}
    experiment = override(Experiment(), small | case)
    tables = random_tables(experiment, place.dtype, dimensions)
    sizes = contrast_of(experiment.train, place.world, len(tables.rows["train"]))
    learner = Learner(experiment, tables, sizes, place)
    if fits := start_fits(experiment, tables):
        for done in range(0, len(fits), place.world):
            fit_line(learner, fits[done : done + place.world])
        set_gain(learner)
    order = order_of(experiment, learner)
    first = learner.optimizer.steps.start  # after the fit of a line
    steps = range(first, first + STEPS)
    losses = []
    for step in steps:
        learner.set_optim(experiment.optim.after(step // sizes.updates_per_epoch))
        losses.append(learner.update(learner.load(order.batch(step), order.extra(step), step)))
    gradients = {f"gradient {name}": p.grad for name, p in learner.network.named_parameters() if p.grad is not None}
    weights = {f"weight {name}": value.clone() for name, value in learner.network.state_dict().items()}
    average = {f"average {name}": value for name, value in learner.optimizer.average.items()}
    return {"loss": torch.stack(losses), **gradients, **weights, **average}


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Over all losses, gradients and weights, relative where they are larger than one."""
    assert one.keys() == other.keys()
    gaps = [((a - b).abs() / a.abs().clamp(min=1)).max() for a, b in ((one[k].double(), other[k].double()) for k in one)]
    return float(torch.stack(gaps).max())


def in_workers(work: Callable[..., None], world: int, *arguments: Any) -> None:
    """Call ``work(rank, *arguments)`` in ``world`` processes that are one process group, with one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_worker, args=(work, world, folder, arguments), nprocs=world)  # type: ignore[no-untyped-call]


def _worker(rank: int, work: Callable[..., None], world: int, folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    work(rank, *arguments)
    dist.barrier()  # a process must not go while the other still talks to it
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a thread of Gloo may still free a tensor: were Python ending meanwhile, it would abort the process


def _train_cases(rank: int, world: int, folder: str, jobs: list[tuple[str, str, str]]) -> None:
    for number, (case, dtype, fault) in enumerate(jobs):
        with FAULTS[fault](rank):
            result = train(CASES[case], Place(rank, world, dtype=getattr(torch, dtype)))
        if rank == 0:
            torch.save(result, f"{folder}/{number}.pt")


def run_workers(world: int, jobs: list[tuple[str, str, str]]) -> list[dict[str, Tensor]]:
    """The result of each (case, dtype, fault) with ``world`` workers."""
    if world == 1:
        return [train(CASES[case], Place(dtype=getattr(torch, dtype))) for case, dtype, _ in jobs]
    with tempfile.TemporaryDirectory() as folder:
        in_workers(_train_cases, world, world, folder, jobs)
        return [torch.load(Path(folder) / f"{number}.pt") for number in range(len(jobs))]


def _count(rank: int, folder: str, dimensions: list[int]) -> None:
    for number in dimensions:
        sent: list[int] = []

        def counted(tensor: Tensor, honest: Any = dist.all_reduce, sent: list[int] = sent) -> Any:
            sent.append(tensor.numel() * tensor.element_size())
            return honest(tensor)

        with mock.patch.object(dist, "all_reduce", counted), mock.patch.object(dist, "all_gather", None):
            result = train(CASES["extra negatives"], Place(rank, 2), number)
        gradients = sum(value.numel() for name, value in result.items() if name.startswith("gradient"))
        if rank == 0:
            torch.save({"sent": sent, "gradients": 4 * (gradients + 1)}, f"{folder}/{number}.pt")


def exchanged(dimensions: list[int]) -> list[dict[str, Any]]:
    """For features of each of these sizes: bytes of every exchange of two workers, and bytes of gradients (and the loss)."""
    with tempfile.TemporaryDirectory() as folder:
        in_workers(_count, 2, folder, dimensions)
        return [torch.load(Path(folder) / f"{number}.pt") for number in dimensions]


# faults, to see that the comparison would notice them


@contextmanager
def _nothing(rank: int) -> Iterator[None]:
    yield


@contextmanager
def _local_batch_norm(rank: int) -> Iterator[None]:
    with mock.patch.object(layers.BatchNorm, "forward", torch.nn.BatchNorm1d.forward):
        yield


@contextmanager
def _own_draws(rank: int) -> Iterator[None]:
    honest = stepping.step_draws
    with mock.patch.object(stepping, "step_draws", lambda seed, step: honest(seed + rank, step)):
        yield


@contextmanager
def _own_segments(rank: int) -> Iterator[None]:
    honest = Tables.brain

    def counted(self: Tables, rows: Tensor, draws: Tensor) -> Batch:
        return replace(honest(self, rows, draws), segment=torch.arange(len(rows)))

    with mock.patch.object(Tables, "brain", counted):
        yield


@contextmanager
def _own_negatives(rank: int) -> Iterator[None]:
    honest = Order.extra
    with mock.patch.object(Order, "extra", lambda self, step: honest(self, step + 1000 * rank)):
        yield


@contextmanager
def _local_negatives(rank: int) -> Iterator[None]:
    def local(config: TrainConfig, workers: int, segments: int) -> Contrast:
        sizes = contrast(config, workers, segments)
        return replace(sizes, group=sizes.per_worker)

    with mock.patch.dict(globals(), {"contrast_of": local}):
        yield


@contextmanager
def _one_way_gather(rank: int) -> Iterator[None]:
    """What the usual gather does: the gradient that other workers have for one's candidates is lost."""

    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.rank * ctx.length : (ctx.rank + 1) * ctx.length].contiguous(), None, None

    with mock.patch.object(stepping._AllGather, "backward", staticmethod(backward)):
        yield


FAULTS: dict[str, Callable[[int], Any]] = {
    "none": _nothing,
    "batch norm of one worker": _local_batch_norm,
    "attention dropout of each worker": _own_draws,
    "segments as each worker counts them": _own_segments,
    "extra negatives of each worker": _own_negatives,
    "negatives of one worker": _local_negatives,
    "gather without gradient": _one_way_gather,
}
