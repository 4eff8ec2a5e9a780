"""Parallel: work on many recordings or stimuli with Ray Data; outcomes are known as they come."""

import logging
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from raybrain.config import InputError
from raybrain.console import PlainConsole
from raybrain.placement import ProcessPool, memory_on_a_node
from raybrain.prepare.tasks import Job, Source, draft_part, guarded, working_memory

if TYPE_CHECKING:
    import ray.data

console = PlainConsole(stderr=True)
Row = dict[str, Any]
Task = Callable[[Row], Row]
TRIES = 3  # of the task of a recording whose process dies; Ray tries without end, and a file may crash its reader each time
LOOK_S = 0.2  # between two looks at what tasks report
POST = "raybrain_parts"


class Resident:
    """A process that keeps running: ``function`` is unpickled once, and what it loads is kept between tasks."""

    def __init__(self, function: Task) -> None:
        self.function = function

    def __call__(self, row: Row) -> Row:
        """Run one task."""
        return self.function(row)


def each(tasks: Sequence[Any], function: Task, title: str, *, pool: ProcessPool | None = None, total: int = 0) -> Iterator[Row]:
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

    _set_up()
    dataset = ray.data.from_items([{"task": pickle.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
    if pool is None:
        dataset = dataset.map(function)
    else:
        size = min(pool.size, len(tasks))
        # one process is enough to begin with, where others use the cluster too
        compute = ray.data.ActorPoolStrategy(min_size=1, max_size=size, initial_size=size, max_tasks_in_flight_per_actor=1)
        dataset = dataset.map(Resident, fn_constructor_args=(function,), compute=compute, **pool.resources)
    with _progress(title, total or len(tasks)) as advance:
        try:
            for row in dataset.iter_rows():
                advance(row.get("count", 1))
                yield row
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise InputError(
                f"{title}: a process was killed repeatedly ({type(error).__name__}), perhaps for lack of memory; "
                "what is done is kept, and the same command goes on from there"
            ) from error


def each_recording(sources: Sequence[Source], function: Callable[[Source], Row], logs: Path, title: str) -> Iterator[Row]:
    """Run ``function`` on every recording; rows are returned as they finish, with its ``uid`` and an ``error`` in one line.

    Args:
        sources: the recordings.
        function: gives a row.
        logs: a folder for faults that are not the data's.
        title: of the progress bar.
    """
    if not sources:
        return

    post = Post()

    def task(row: Row) -> Row:
        def result() -> Row:
            post.begin(row["uid"])
            return {"result": pickle.dumps(function(pickle.loads(row["task"])))}

        return {"result": b""} | guarded(result, row["uid"], logs)

    dataset = _recordings(sources, num_cpus=1).map(task, num_cpus=1)
    with _progress(title, len(sources)) as advance, post.open():
        for row in dataset.iter_rows():
            advance(1)
            yield {"uid": row["uid"], "error": row["error"]} | (pickle.loads(row["result"]) if row["result"] else {})


def write_parts(jobs: Sequence[Job], logs: Path, title: str, show: Callable[[Row], None]) -> None:
    """Make the parts of recordings and put them in their store.

    Args:
        jobs: of one store.
        logs: a folder for faults that are not the data's.
        title: of the progress bar.
        show: is called with the outcome of each recording as soon as it is known: ``uid``, ``error``, ``remarks``.
    """
    if not jobs:
        return
    from raybrain.prepare.recordings import PartsDatasink

    post, shown = Post(), set[str]()

    def draft(row: Row) -> Row:
        def result() -> Row:
            post.begin(row["uid"])
            return {"draft": pickle.dumps(draft_part(pickle.loads(row["task"])))}

        return {"draft": b""} | guarded(result, row["uid"], logs)

    resources = {"num_cpus": 1, "memory": memory_on_a_node(max(map(working_memory, jobs)))}
    dataset = _recordings(jobs, **resources).map(draft, **resources)
    sink = PartsDatasink(jobs[0].store, logs, post.send)
    with _progress(title, len(jobs)) as advance, post.open():

        def once(outcome: Row) -> None:
            if outcome["uid"] not in shown:
                shown.add(outcome["uid"])
                advance(1)
                show(outcome)

        with post.watched(once):
            dataset.write_datasink(sink, ray_remote_args=resources)
        for outcome in sink.outcomes:
            once(outcome)


def _recordings(tasks: "Sequence[Source | Job]", **resources: int) -> "ray.data.Dataset":
    """A row for each. What is mapped with the same resources is done by the same task."""
    import ray.data

    from raybrain.prepare.recordings import RecordingsDatasource

    _set_up()
    return ray.data.read_datasource(RecordingsDatasource(tasks), override_num_blocks=len(tasks), **resources)


def _set_up() -> None:
    """Have datasets executed quietly."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # after the import, which sets it; errors are raised as well
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=total)
        yield lambda count: progress.advance(bar, count)


@dataclass(frozen=True)
class Post:
    """What tasks tell the process that began them and those that come after them, by way of the memory of Ray's head.

    What Ray Data itself says of a sink comes when all is written, hours after the first recording; and of a task whose process
    died it says nothing.
    """

    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have nothing left of it afterwards."""
        from ray.experimental.internal_kv import _internal_kv_del

        try:
            yield
        finally:
            with suppress(Exception):  # Ray is gone, and it with Ray
                _internal_kv_del(self.name, del_by_prefix=True, namespace=POST)

    def begin(self, uid: str) -> None:
        """Count that a task begins.

        Raises:
            InputError: if it did so too often before, and never came to an end.
        """
        from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

        key = f"{self.name}/tries/{uid}"
        tries = int(_internal_kv_get(key, namespace=POST) or 0)
        if tries == TRIES:
            raise InputError(f"its process was killed {TRIES} times, perhaps for lack of memory")
        _internal_kv_put(key, str(tries + 1), namespace=POST)

    def send(self, outcome: Row) -> None:
        """Report the outcome of a recording."""
        from ray.experimental.internal_kv import _internal_kv_put

        _internal_kv_put(f"{self.name}/outcomes/{outcome['uid']}", pickle.dumps(outcome), namespace=POST)

    @contextmanager
    def watched(self, show: Callable[[Row], None]) -> Iterator[None]:
        """Call ``show`` from a thread with what is reported while the block runs."""
        done = threading.Event()

        def watch() -> None:
            with suppress(Exception):  # Ray is going away, or what is shown cannot be: nothing is lost but news
                while not done.wait(LOOK_S):
                    self._collect(show)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _collect(self, show: Callable[[Row], None]) -> None:
        from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list

        for key in _internal_kv_list(f"{self.name}/outcomes/", namespace=POST):
            outcome = _internal_kv_get(key, namespace=POST)
            _internal_kv_del(key, namespace=POST)
            show(pickle.loads(outcome))
