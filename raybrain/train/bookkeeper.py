"""Bookkeeper: what is done while a training goes on beside training: its history is kept and logged, its audience told."""

from collections.abc import Sequence

from raybrain.train.log_training import EpochLog
from raybrain.train.messages import Audience, Epochs, Steps
from raybrain.train.record import Row, RunRecord
from raybrain.train.step import Place


class Bookkeeper:
    """Is told of steps and epochs on every worker; the first one's keeps them. Whether to stop, all workers agree on."""

    def __init__(self, record: RunRecord, place: Place, audience: Audience, log: EpochLog) -> None:
        self.record, self.place, self.audience, self.log = record, place, audience, log

    def step(self, epoch: int, step: int, of: int) -> None:
        """``step`` of ``of`` updates of an epoch are done."""
        if self.place.rank == 0:
            self.audience.hear(Steps(epoch, step, of))

    def resumed(self, history: Sequence[Row]) -> bool:
        """Training goes on after these epochs, of which the audience may not have heard. Whether it is to stop instead."""
        self._keep(history)
        return any(self._stops(history[:epochs]) for epochs in range(1, len(history) + 1))

    def epoch(self, history: Sequence[Row]) -> bool:
        """An epoch, the last of ``history``, is done and its checkpoint written. Whether to stop there."""
        self._keep(history)
        return self._stops(history)

    def _keep(self, history: Sequence[Row]) -> None:
        if self.place.rank == 0:
            self.record.keep_history(list(history))
            self.log.add(history)

    def _stops(self, history: Sequence[Row]) -> bool:
        """Tell of the last epoch; whether to stop there, the same on all workers."""
        stop = b""
        if self.place.rank == 0:
            self.audience.hear(Epochs(tuple(history)))
            stop = b"stop" * self.audience.stops(len(history))
        return self.place.first(stop) == b"stop"
