"""Progress: what people see of a training while it runs: a bar of the epoch's steps, and a line for each epoch."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from raybrain.train.loop import describe
from raybrain.train.messages import Epochs, Message, Started, Steps


class TrainingBar:
    """Shows the messages of a training while it is entered.

    Args:
        console: where.
        epochs: how many there are in all.
        done: epochs that need no line any more.
    """

    def __init__(self, console: Console, epochs: int, done: int) -> None:
        self.epochs, self.done = epochs, done
        columns = (TextColumn("train: {task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True)
        self.bar = self.progress.add_task("starting workers", total=None)
        self.line = ""

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def show(self, message: Message) -> None:
        """Show a message; what was shown before, as after a restart of the workers, is not shown again."""
        match message:
            case Started(line) if line != self.line:
                self.line = line
                self._print(line)
            case Steps(epoch, step, of):
                self.progress.update(self.bar, description=f"epoch {epoch + 1}/{self.epochs}", completed=step, total=of)
            case Epochs(history):
                for row in history[self.done :]:
                    self._print(describe(row, self.epochs))
                self.done = max(self.done, len(history))

    def _print(self, line: str) -> None:
        self.progress.print(line, highlight=False, soft_wrap=True)
