"""What a person hears of a training that failed."""

import errno

import pytest
import ray.exceptions
import ray.train

from raybrain.config import InputError
from raybrain.train.fit import cause_of, reason_of
from raybrain.tune.sweep import in_one_line


class HealthCheckFailed(Exception):
    """As Ray Train wraps what it hears of a worker that is gone."""

    def __init__(self, failure: Exception) -> None:
        super().__init__("a worker is gone")
        self.health_check_failure = failure


def group_error(error: Exception) -> Exception:
    return ray.train.WorkerGroupError("Training failed due to worker errors", {1: error})


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("the loss is not finite"), "the loss is not finite"),
        (OSError(errno.ENOSPC, "full", "a.pt"), "the disk is full (a.pt)"),
        (HealthCheckFailed(ray.exceptions.ActorDiedError()), "the process of a worker was killed"),
        (
            HealthCheckFailed(ray.exceptions.OutOfMemoryError("task 7")),
            "Ray ended a worker, since its machine ran out of memory",
        ),
    ],
)
def test_one_line_out_of_what_ray_wraps_around_it(error: Exception, line: str) -> None:
    cause = cause_of(group_error(error))
    assert isinstance(cause, InputError) and str(cause).startswith(line) and "\n" not in str(cause)
    assert reason_of(group_error(error)) == str(cause)


def test_a_bug_stays_what_it_is() -> None:
    error = group_error(AttributeError("no attribute"))
    assert cause_of(error) is error


def test_a_sweep_that_tune_ends_for_want_of_memory_is_one_line() -> None:
    """Tune knows actors that died and tasks that failed, and takes anything else for a bug."""
    with pytest.raises(InputError, match="its machine ran out of memory; train fewer at once"), in_one_line():
        try:
            raise ray.exceptions.OutOfMemoryError("task 7")
        except ray.exceptions.OutOfMemoryError as error:
            raise RuntimeError("Caught unexpected exception") from error
    with pytest.raises(RuntimeError, match="a bug"), in_one_line():
        raise RuntimeError("a bug")
