"""Display: how a download goes. Bars on a terminal, elsewhere a line now and then."""

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from raybrain.download.unpack import amount

LINE_S = 30.0  # between two lines
BARS_S = 0.1  # between two looks of the bars


class Display:
    """Shows the bytes of all files together, and of those under way. Threads may call it.

    Args:
        title: what is downloaded, from where.
        there: bytes there are already.
        total: bytes there will be.
        files: how many are to come.
    """

    def __init__(self, title: str, there: int, total: int, files: int) -> None:
        self.console = Console(stderr=True)
        self.title, self.total, self.files, self.done = title, total, files, 0
        self.bytes: dict[str, int] = {}
        self.sum = there
        self.lock, self.said = threading.Lock(), time.monotonic()
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
        """End, with what there is now."""
        with self.lock:
            self._show()
        if self.bars:
            self.bars.stop()

    def has(self, path: str, count: int, total: int | None) -> None:
        """The file at ``path`` has so many bytes now."""
        with self.lock:
            self.sum += count - self.bytes.get(path, 0)
            self.bytes[path] = count
            if self.bars and path not in self.tasks:
                self.tasks[path] = self.bars.add_task(f"  {path.rpartition('/')[2]}", total=total)
            if time.monotonic() - self.said > (BARS_S if self.bars else LINE_S):
                self._show()

    def end(self, path: str) -> None:
        """The file at ``path`` is done with, for better or worse."""
        with self.lock:
            self.done += 1
            if self.bars and path in self.tasks:
                self.bars.remove_task(self.tasks.pop(path))

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        """Show how far it is."""
        self.said = time.monotonic()
        if self.bars:
            for path, task in self.tasks.items():
                self.bars.update(task, completed=self.bytes[path] if path else self.sum)
        else:
            self.say(f"{self.title}: {amount(self.sum)} of {amount(self.total)}, {self.done} of {self.files} files done")
