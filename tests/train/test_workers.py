"""The science does not depend on the number of workers: the promise, and that the test would notice if it were broken."""

import pytest
import torch
from torch import Tensor

from raybrain.config import InputError
from raybrain.experiment import TrainConfig
from raybrain.train.order import Order, contrast
from raybrain.train.step import Place
from tests.workers import CASES, DEEP, STEPS, exchanged, largest_difference, run_workers, train

JOBS = [(case, dtype, "none") for case in CASES for dtype in ("float64", "float32")]
LIMIT = {"float64": 1e-9, "float32": 1e-4}
# each fault with a case in which it matters
FAULTS = [
    ("across workers", "batch norm of one worker"),
    ("across workers", "attention dropout of each worker"),
    ("every random option", "segments as each worker counts them"),
    ("extra negatives", "extra negatives of each worker"),
    ("across workers", "negatives of one worker"),
    ("trained speech side", "gather without gradient"),
]


@pytest.fixture(scope="module")
def alone() -> dict[tuple[str, str, str], dict[str, Tensor]]:
    return dict(zip(JOBS, run_workers(1, JOBS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_loss_gradients_and_weights_do_not_depend_on_workers(
    world: int, alone: dict[tuple[str, str, str], dict[str, Tensor]]
) -> None:
    for job, result in zip(JOBS, run_workers(world, JOBS), strict=True):
        assert largest_difference(alone[job], result) < LIMIT[job[1]], f"{job[0]}, {job[1]}, {world} workers"


@pytest.mark.slow
def test_the_comparison_notices_every_fault(alone: dict[tuple[str, str, str], dict[str, Tensor]]) -> None:
    broken = run_workers(2, [(case, "float64", fault) for case, fault in FAULTS])
    for (case, fault), result in zip(FAULTS, broken, strict=True):
        assert largest_difference(alone[case, "float64", "none"], result) > 1e-6, fault


@pytest.mark.slow
def test_stored_features_are_never_exchanged() -> None:
    small, large = exchanged([5, 50])
    others = []
    for found in (small, large):
        assert found["sent"].count(found["gradients"]) == STEPS  # one exchange of gradients a step
        others.append(sum(size for size in found["sent"] if size != found["gradients"]))
    assert others[0] == others[1]  # statistics of batch norm, whatever the size of the features
    assert others[0] / STEPS < 1000


def test_classes_cannot_be_told_from_a_trained_speech_side() -> None:
    with pytest.raises(InputError, match="type task=decode speech_encoder=stored"):
        train({"loss": "mixed", "train.contrast_size": 16, **DEEP}, Place())


def test_the_order_is_one_for_all_and_each_epoch_sees_a_segment_once() -> None:
    config = TrainConfig(batch_size=8, contrast_size=4, extra_negatives=3)
    sizes = contrast(config, workers=2, segments=20)
    assert sizes.updates_per_epoch == 2
    order, again = (Order(torch.arange(20), sizes, seed=1) for _ in range(2))
    again.batch(5)  # asked out of turn, it answers the same
    batches = [order.batch(step) for step in range(4)]
    assert all(torch.equal(batch, again.batch(step)) for step, batch in enumerate(batches))
    assert all(torch.equal(order.extra(step), again.extra(step)) for step in range(4))
    for epoch in (batches[:2], batches[2:]):
        assert len(torch.cat(epoch).unique()) == 16
    assert not torch.equal(batches[0], batches[2])
    assert not torch.equal(order.extra(0), order.extra(1))


@pytest.mark.parametrize(
    ("settings", "workers", "said"),
    [
        ({"batch_size": 10, "contrast_size": None}, 4, r"does not divide among 4 workers; nearest: 8 or 12"),
        ({"batch_size": 16, "contrast_size": 6}, 2, r"contrast_size=6 does not divide train.batch_size=16; nearest: 4 or 8"),
        ({"batch_size": 128}, 1, r"there are 100 train segments; type 100 or less"),
        ({"batch_size": 16, "contrast_size": 16, "extra_negatives": 101}, 1, r"there are 100 train segments"),
    ],
)
def test_a_batch_that_does_not_divide_gets_one_line(settings: dict[str, int], workers: int, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        contrast(TrainConfig(**settings), workers, segments=100)
    assert "\n" not in str(error.value)


def test_a_batch_per_worker_resolves_to_a_batch() -> None:
    config = TrainConfig(batch_size_per_worker=8, contrast_size=16)
    sizes = contrast(config, workers=4, segments=100)
    assert (sizes.batch, sizes.per_worker, sizes.group) == (32, 8, 16)
