"""Parallel: run a function on many tasks with Ray Data; results come as they finish."""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from raybrain.cluster import ProcessPool
from raybrain.config import InputError

console = Console(stderr=True)
Task = Callable[[dict[str, Any]], dict[str, Any]]


class Resident:
    """A process that stays: what ``function`` holds is unpickled once, and what it loads is kept from task to task."""

    def __init__(self, function: Task) -> None:
        self.function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One task."""
        return self.function(row)


def each(
    tasks: Sequence[Any], function: Task, title: str, *, pool: ProcessPool | None = None, total: int = 0
) -> Iterator[dict[str, Any]]:
    """Run ``function`` on every task, one block each; rows come as they finish.

    Args:
        tasks: anything that can be pickled.
        function: from {"task": a pickled task} to a row; a row's ``count`` is how much of ``total`` it has done.
        title: of the progress bar.
        pool: processes that stay from task to task; None for any. A task whose process dies is given to the next one, for
            ever, so that ``function`` must know when to stop.
        total: what there is to do, if that is not the number of tasks.

    Raises:
        InputError: if a process died again and again.
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
        # one is enough to begin with, where others use the cluster as well
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
                f"{title}: a process was killed again and again ({type(error).__name__}), perhaps for want of memory; "
                "what is done is kept, and the same command goes on from there"
            ) from error
