"""Messages: what a training and those who wait for it say to each other while it runs, through Ray and never through files.

The process that waits opens an :class:`Exchange`, an actor without a CPU of its own. Workers send what they have done to it
and ask it whether to stop; the other side waits for messages (an :class:`Inbox`) and passes verdicts. All of it is lost with
the actor: then training goes on unseen, and a training that waits for a verdict stops where it can go on later.

Without Ray a training has an :class:`Audience` that is called in the same process.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

SEND_S = 10.0  # after which a message that cannot be delivered is given up
STEPS_S = 0.5  # between two messages about steps
AGAIN_S = 1.0  # between two tries to reach an actor whose node does not answer


@dataclass(frozen=True)
class Started:
    """Training begins: what it is made of, in one line."""

    line: str


@dataclass(frozen=True)
class Steps:
    """``step`` of ``of`` updates of an epoch are done; epochs are counted from 0."""

    epoch: int
    step: int
    of: int


@dataclass(frozen=True)
class Epochs:
    """An epoch is done: the metrics of all so far."""

    history: tuple[dict[str, float], ...]


Message = Started | Steps | Epochs


class Audience(Protocol):
    """Who hears of a training, from its first worker."""

    def hear(self, message: Message) -> None:
        """Something has happened."""

    def stops(self, epoch: int) -> bool:
        """Whether training is to stop after an epoch it has heard of; may wait until that is decided."""


class Nobody:
    """An audience of nobody: training goes on to its end."""

    def hear(self, message: Message) -> None:
        """Nothing."""

    def stops(self, epoch: int) -> bool:
        """Never."""
        return False


class _Box:
    """The messages about one run, numbered, and the last verdict."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, Message]] = []
        self.count = 0
        self.epoch, self.stop = 0, False

    def put(self, message: Message) -> None:
        """Add a message; of steps only the last ones are of interest."""
        if isinstance(message, Steps):
            self.messages = [(number, other) for number, other in self.messages if not isinstance(other, Steps)]
        self.count += 1
        self.messages.append((self.count, message))

    def after(self, number: int) -> list[Message]:
        """The messages after the one with this number."""
        return [message for count, message in self.messages if count > number]


class _Post:
    """The actor: a box for each run. Its methods wait without holding up one another."""

    def __init__(self) -> None:
        self.boxes: dict[str, _Box] = defaultdict(_Box)
        self.news = asyncio.Condition()

    async def clear(self, run: str) -> None:
        """Forget what is of another time."""
        self.boxes[run] = _Box()

    async def put(self, run: str, message: Message) -> None:
        self.boxes[run].put(message)
        async with self.news:
            self.news.notify_all()

    async def get(self, run: str, after: int, wait: bool) -> tuple[int, list[Message]]:
        """The messages after the one with this number, and the number of the last."""
        async with self.news:
            while wait and self.boxes[run].count <= after:
                await self.news.wait()
        return self.boxes[run].count, self.boxes[run].after(after)

    async def judge(self, run: str, epoch: int, stop: bool) -> None:
        self.boxes[run].epoch, self.boxes[run].stop = epoch, stop
        async with self.news:
            self.news.notify_all()

    async def stops(self, run: str, epoch: int) -> bool:
        async with self.news:
            while not (self.boxes[run].stop or self.boxes[run].epoch >= epoch):
                await self.news.wait()
        return self.boxes[run].stop


@dataclass(frozen=True)
class Exchange:
    """Where messages are exchanged. Travels to any process of the cluster; ends with the process that opened it."""

    actor: Any

    @classmethod
    @contextmanager
    def open(cls) -> "Iterator[Exchange]":
        """A new one, on the node of this process: others may go without it. Needs a running Ray.

        Its process ends with the block, as Tune keeps what it runs, and with it whom that knows, as long as a process lives.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_concurrency=1000, scheduling_strategy=here)(_Post).remote()
        try:
            yield cls(actor)
        finally:
            with suppress(Exception):  # Ray itself may be gone
                ray.kill(actor)

    def clear(self, run: str) -> None:
        """Forget what was said about a run before it is trained again."""
        import ray

        with suppress(ray.exceptions.RayError):  # whoever uses it next notices
            self.ask("clear", run)

    def judge(self, run: str, epoch: int, stop: bool) -> None:
        """Decide whether a run stops after an epoch; it waits for that if its audience is judged.

        Raises:
            ray.exceptions.RayError: if nobody can hear of it any more.
        """
        self.ask("judge", run, epoch, stop)

    def ask(self, method: str, *arguments: Any, timeout: float | None = SEND_S) -> Any:
        """Call the actor and wait for the answer.

        Raises:
            ray.exceptions.RayError: if it is gone, or does not answer in time.
        """
        import ray

        return ray.get(getattr(self.actor, method).remote(*arguments), timeout=timeout)


@dataclass
class Sender:
    """An audience that is elsewhere: sends messages about a run, and waits for verdicts if it is judged."""

    exchange: Exchange
    run: str
    judged: bool
    lost: bool = False
    steps: Any = None  # the last message about steps, under way
    steps_at: float = 0.0  # when it was sent

    def hear(self, message: Message) -> None:
        """Send a message. Steps are sent now and then, and not waited for; all else has arrived."""
        import ray

        if self.lost or not self._due(message):
            return
        is_steps = isinstance(message, Steps)
        arrived = self.steps is None or ray.wait([self.steps], timeout=0 if is_steps else SEND_S)[0]
        if is_steps:
            self.steps = self.exchange.actor.put.remote(self.run, message) if arrived else self.steps
            return
        try:
            self.exchange.ask("put", self.run, message)
        except ray.exceptions.RayError:
            self.lost = True

    def _due(self, message: Message) -> bool:
        """Whether to send a message: of steps the last of an epoch, and others some time apart."""
        if isinstance(message, Steps):
            if message.step < message.of and time.monotonic() - self.steps_at < STEPS_S:
                return False
            self.steps_at = time.monotonic()
        return True

    def stops(self, epoch: int) -> bool:
        """The verdict; a training that cannot get one any more stops."""
        import ray

        while self.judged:
            try:
                return bool(self.exchange.ask("stops", self.run, epoch, timeout=None))
            except ray.exceptions.ActorUnavailableError:  # its node may come back
                time.sleep(AGAIN_S)
            except ray.exceptions.RayError:
                return True
        return False


class Inbox:
    """The messages about a run, for the process that waits for it.

    Args:
        exchange: where they arrive.
        run: name of the run.
    """

    def __init__(self, exchange: Exchange, run: str) -> None:
        self.exchange, self.run = exchange, run
        self.number = 0
        self.waiting: Any = None
        self.lost = False

    def receive(self, timeout_s: float) -> list[Message]:
        """New messages, as soon as there are some; none after so many seconds."""
        import ray

        if self.lost:
            time.sleep(timeout_s)
            return []
        if self.waiting is None:
            self.waiting = self.exchange.actor.get.remote(self.run, self.number, True)
        ready, _ = ray.wait([self.waiting], timeout=timeout_s)
        return self._take(ready[0]) if ready else []

    def rest(self) -> list[Message]:
        """What has arrived and was not received yet."""
        return [] if self.lost else self._take(self.exchange.actor.get.remote(self.run, self.number, False))

    def _take(self, answer: Any) -> list[Message]:
        import ray

        self.waiting = None
        try:
            self.number, messages = ray.get(answer, timeout=SEND_S)
        except ray.exceptions.RayError:
            self.lost = True
            return []
        return list(messages)
