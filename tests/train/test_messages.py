"""Messages between a training and those who wait for it, while both live and when one is gone."""

import math
import threading
import time
from collections.abc import Iterator

import pytest

from raybrain.train import messages
from raybrain.train.messages import Epochs, Exchange, Inbox, Message, Sender, Started, Steps
from tests.sweeps import history_of

HISTORY = tuple(history_of([0.5, 0.4]))


@pytest.fixture
def exchange(ray_cluster: None) -> Iterator[Exchange]:
    with Exchange.open() as opened:
        yield opened


def test_an_exchange_ends_with_its_block_whoever_still_knows_it(ray_cluster: None) -> None:
    import ray

    with Exchange.open() as exchange:
        exchange.clear("run")
    with pytest.raises(ray.exceptions.RayActorError):
        exchange.ask("clear", "run")


def receive(inbox: Inbox, count: int) -> list[Message]:
    """The next messages, waited for."""
    received: list[Message] = []
    until = time.monotonic() + 60
    while len(received) < count and time.monotonic() < until:
        received += inbox.receive(1.0)
    return received


def test_messages_arrive_in_order_as_soon_as_they_are_sent(exchange: Exchange) -> None:
    sender, inbox, other = Sender(exchange, "a", judged=False), Inbox(exchange, "a"), Inbox(exchange, "b")
    sender.hear(Started("sizes"))
    assert receive(inbox, 1) == [Started("sizes")]
    later = threading.Timer(0.3, lambda: sender.hear(Epochs(HISTORY[:1])))
    later.start()
    began = time.monotonic()
    assert inbox.receive(30.0) == [Epochs(HISTORY[:1])]
    assert time.monotonic() - began < 15, "it was woken, and did not wait to the end"
    later.join()
    assert inbox.receive(0.1) == other.rest() == []


def test_steps_are_sent_some_time_apart_and_the_last_of_an_epoch_always(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "STEPS_S", math.inf)
    sender, inbox = Sender(exchange, "a", judged=False, steps_at=time.monotonic()), Inbox(exchange, "a")
    for step in (1, 2, 3):
        sender.hear(Steps(0, step, 3))
    assert receive(inbox, 1) == [Steps(0, 3, 3)]


def test_of_steps_only_the_last_ones_are_of_interest(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "STEPS_S", 0.0)
    sender, inbox = Sender(exchange, "a", judged=False), Inbox(exchange, "a")
    sender.hear(Started("sizes"))
    assert receive(inbox, 1) == [Started("sizes")]
    for step in (1, 2, 3):
        sender.hear(Steps(0, step, 3))
        assert receive(inbox, 1) == [Steps(0, step, 3)]
    sender.hear(Epochs(HISTORY[:1]))
    assert Inbox(exchange, "a").rest() == [Started("sizes"), Steps(0, 3, 3), Epochs(HISTORY[:1])]
    sender.hear(Steps(1, 1, 3))
    sender.hear(Epochs(HISTORY))
    assert inbox.rest() == [Epochs(HISTORY[:1]), Steps(1, 1, 3), Epochs(HISTORY)], "in order, whatever is waited for"


def test_a_verdict_is_waited_for_and_holds_for_epochs_before(exchange: Exchange) -> None:
    sender = Sender(exchange, "a", judged=True)
    exchange.judge("a", 2, stop=False)
    assert not sender.stops(1) and not sender.stops(2)
    later = threading.Timer(0.3, lambda: exchange.judge("a", 3, stop=True))
    later.start()
    began = time.monotonic()
    assert sender.stops(3)
    assert time.monotonic() - began > 0.2
    later.join()
    assert sender.stops(4), "a stop holds for all that comes"
    assert not Sender(exchange, "a", judged=False).stops(4)
    exchange.clear("a")
    exchange.judge("a", 1, stop=False)
    assert not sender.stops(1), "it is trained again"


def test_who_waits_for_a_verdict_when_the_exchange_is_gone_stops(exchange: Exchange) -> None:
    import ray

    sender, inbox, verdicts = Sender(exchange, "a", judged=True), Inbox(exchange, "a"), list[bool]()
    assert inbox.receive(0.1) == []
    waiting = threading.Thread(target=lambda: verdicts.append(sender.stops(1)))
    waiting.start()
    time.sleep(0.5)
    ray.kill(exchange.actor)
    waiting.join(timeout=30)
    assert verdicts == [True]
    sender.hear(Epochs(HISTORY))
    assert sender.lost
    assert inbox.receive(5.0) == inbox.rest() == []
    assert inbox.lost
    assert not Sender(exchange, "a", judged=False).stops(1), "a training that nobody judges goes on"
    exchange.clear("a")
    with pytest.raises(ray.exceptions.RayError):
        exchange.judge("a", 1, stop=False)
