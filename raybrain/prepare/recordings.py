"""Recordings: a source and a sink for Ray Data, between which a map makes parts of a store.

``raybrain prepare`` runs ``read_datasource(RecordingsDatasource(jobs)).map(...).write_datasink(PartsDatasink(...))``. All three
state the same CPUs and memory, by which Ray places them, so that they are one operator and a recording is one task of it, which
Ray gives to another process when its own dies.

A row stands for a recording, and its signal never passes through Ray: it is computed and written aside a few seconds at a time
inside of the map's task, and the sink puts what is complete in its place. Sent through as blocks all of it would be in memory
at once, since a write task keeps the blocks that it has written until it ends (Ray 2.60).

Ray may run a write twice, when a process dies after its task is done but before that is known. The part is then written anew
with the same content, and readers see one or the other: writing is atomic and repeatable, which is all that is needed.
"""

import pickle
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.datasource import Datasink, Datasource, ReadTask, WriteResult

from raybrain.config import InputError
from raybrain.prepare.tasks import DraftedPart, Job, Source, guarded
from raybrain.store import Store

Outcome = dict[str, Any]  # "uid" of a recording, "error" or an empty string, "remarks"
ROW = pa.schema([("uid", pa.string()), ("bytes", pa.int64()), ("task", pa.binary())])


class RecordingsDatasource(Datasource):  # type: ignore[misc]
    """Recordings, one read task and one row each: ``uid``, ``bytes`` of the files it is read from, and the pickled ``task``."""

    def __init__(self, tasks: Sequence[Source | Job]) -> None:
        super().__init__()
        self._files = [_files(task) for task in tasks]
        self._rows = [_row(task, files) for task, files in zip(tasks, self._files, strict=True)]

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all rows, which is what Ray holds of them; what a task needs besides is the ``memory`` of the map."""
        return sum(row.nbytes for row in self._rows)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """A task per recording, whatever the ``parallelism``: what fails is one recording."""
        return [
            ReadTask(partial(list, [row]), BlockMetadata(1, row.nbytes, None, input_files=tuple(files)), row.schema)
            for row, files in zip(self._rows, self._files, strict=True)
        ]


def _files(task: Source | Job) -> dict[str, int]:
    """Bytes of each file of a recording, by path; nothing where they cannot be listed, of which its task will say why."""
    with suppress(InputError, OSError):
        return {str(path): path.stat().st_size for path in task.files().values()}
    return {}


def _row(task: Source | Job, files: dict[str, int]) -> pa.Table:
    source = task if isinstance(task, Source) else task.source
    return pa.table([[source.recording.uid], [sum(files.values())], [pickle.dumps(task)]], schema=ROW)


class PartsDatasink(Datasink[list[Outcome]]):  # type: ignore[misc]
    """Puts drafted parts in their places in a store, each whole or not at all.

    Attributes:
        outcomes: of the recordings whose tasks came to an end, when all is done.
    """

    def __init__(self, store: Store, logs: Path, report: Callable[[Outcome], None]) -> None:
        """Put parts in ``store``, write what is known of faults to the folder ``logs``.

        Args:
            store: where the parts belong.
            logs: for faults that are not the data's.
            report: is called by a write task with each outcome as soon as it is known.
        """
        self.store, self.logs, self.report = store, logs, report
        self.outcomes: list[Outcome] = []

    def write(self, blocks: Iterable[Block], ctx: Any) -> list[Outcome]:
        """Write parts from rows of ``uid``, ``error`` and ``draft``: a pickled :class:`DraftedPart` where nothing failed."""
        rows = (row for block in blocks for row in BlockAccessor.for_block(block).to_arrow().to_pylist())
        return [self._written(row) for row in rows]

    def _written(self, row: dict[str, Any]) -> Outcome:
        outcome: Outcome = {"uid": row["uid"], "error": row["error"], "remarks": []}
        if not row["error"]:
            drafted: DraftedPart = pickle.loads(row["draft"])
            outcome |= guarded(partial(drafted.write_to, self.store), row["uid"], self.logs)
        self.report(outcome)
        return outcome

    def on_write_complete(self, write_result: "WriteResult[list[Outcome]]") -> None:
        """Keep the outcomes."""
        self.outcomes = [outcome for some in write_result.write_returns for outcome in some or ()]
