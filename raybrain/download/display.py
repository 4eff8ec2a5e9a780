"""Display: the progress of a download. Bars on a terminal; elsewhere, a line every half minute."""

import threading
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from raybrain.console import PlainConsole
from raybrain.download.unpack import amount

LINE_S = 30.0  # between two lines
BARS_S = 0.1  # between two updates of the bars


class Display:
    """Shows how many bytes have been downloaded, in total and per file in progress. Thread-safe.

    Args:
        title: the study, and where it is downloaded from.
        present: bytes that were downloaded earlier.
        total: bytes there will be at the end.
        files: the number of files still to download.
    """

    def __init__(self, title: str, present: int, total: int, files: int) -> None:
        self.console = PlainConsole(stderr=True)
        self.title, self.total, self.files, self.done = title, total, files, 0
        self.bytes: dict[str, int] = {}
        self.sum = present
        self.lock, self.updated = threading.Lock(), time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=self.console) if self.console.is_terminal else None
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Begin."""
        if self.bars:
            self.bars.start()
            self.tasks[""] = self.bars.add_task(self.title, total=self.total or None, completed=self.sum)
        else:
            self._show()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Show the final state, and stop."""
        with self.lock:
            self._show()
        if self.bars:
            self.bars.stop()

    def update(self, path: str, count: int, total: int | None) -> None:
        """Receipt that ``count`` bytes of the file at ``path`` have been downloaded."""
        with self.lock:
            self.sum += count - self.bytes.get(path, 0)
            self.bytes[path] = count
            if self.bars and path not in self.tasks:
                self.tasks[path] = self.bars.add_task(f"  {path.rpartition('/')[2]}", total=total)
            if time.monotonic() - self.updated > (BARS_S if self.bars else LINE_S):
                self._show()

    def end(self, path: str) -> None:
        """Receipt that the file at ``path`` is finished or has failed."""
        with self.lock:
            self.done += 1
            if self.bars and path in self.tasks:
                self.bars.remove_task(self.tasks.pop(path))

    def print_line(self, line: str) -> None:
        """Print a line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        """Show the current progress."""
        self.updated = time.monotonic()
        if self.bars:
            for path, task in self.tasks.items():
                self.bars.update(task, completed=self.bytes[path] if path else self.sum)
        else:
            self.print_line(f"{self.title}: {amount(self.sum)} of {amount(self.total)}, {self.done} of {self.files} files done")
