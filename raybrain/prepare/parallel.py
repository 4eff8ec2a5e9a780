"""Parallel: run a function on many tasks with Ray Data; results are returned as they finish."""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from raybrain.config import InputError
from raybrain.console import PlainConsole
from raybrain.placement import ProcessPool

console = PlainConsole(stderr=True)
Task = Callable[[dict[str, Any]], dict[str, Any]]


class Resident:
    """A process that keeps running: ``function`` is unpickled once, and what it loads is kept between tasks."""

    def __init__(self, function: Task) -> None:
        self.function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Run one task."""
        return self.function(row)


def each(
    tasks: Sequence[Any], function: Task, title: str, *, pool: ProcessPool | None = None, total: int = 0
) -> Iterator[dict[str, Any]]:
    """Run ``function`` on every task, one Ray Data block per task; rows are returned as they finish.

    Args:
        tasks: anything that can be pickled.
        function: from {"task": a pickled task} to a row; a row's ``count`` is its share of ``total``.
        title: of the progress bar.
        pool: processes that are kept between tasks; None for any process. A task whose process dies is given to the next
            process, without limit, so that ``function`` must know when to give up.
        total: the amount of work, if that is not the number of tasks.

    Raises:
        InputError: if a process died repeatedly.
    """
    if not tasks:
        return
    import ray.data
    import ray.exceptions

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # after the import, which sets it; errors are raised as well
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    items = [{"task": pickle.dumps(task)} for task in tasks]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    if pool is None:
        dataset = dataset.map(function)
    else:
        size = min(pool.size, len(items))
        # one process is enough to begin with, where others use the cluster too
        compute = ray.data.ActorPoolStrategy(min_size=1, max_size=size, initial_size=size, max_tasks_in_flight_per_actor=1)
        dataset = dataset.map(Resident, fn_constructor_args=(function,), compute=compute, **pool.resources)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=total or len(items))
        try:
            for row in dataset.iter_rows():
                progress.advance(bar, row.get("count", 1))
                yield row
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise InputError(
                f"{title}: a process was killed repeatedly ({type(error).__name__}), perhaps for lack of memory; "
                "what is done is kept, and the same command goes on from there"
            ) from error
