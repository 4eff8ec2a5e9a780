"""Lifeline: ends a command when Ray has died on its machine, where Ray itself would let it wait without end."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from raybrain.config import InputError

LOOK_S = 2.0  # between two looks whether the node of this process lives
DEAD = "Ray has died on this machine: one of its processes was killed, perhaps for want of memory"
CURE = "the same command goes on where it was"


@contextmanager
def tied_to_node() -> Iterator[None]:
    """Interrupt the main thread once the Ray node of this process is dead.

    Nothing that this process waits for can come then. Only the main thread can be interrupted, so in others nothing is done.

    Raises:
        InputError: in place of the interruption.
    """
    import ray

    if threading.current_thread() is not threading.main_thread() or not ray.is_initialized():
        yield
        return
    node, dead = ray.get_runtime_context().get_node_id(), threading.Event()

    def look() -> None:
        if not dead.is_set() and any(known["NodeID"] == node and not known["Alive"] for known in ray.nodes()):
            dead.set()
            os.kill(os.getpid(), signal.SIGTERM)  # a process in the background may be deaf to SIGINT

    try:
        with regularly(look, LOOK_S, "lifeline"):
            yield
    except KeyboardInterrupt:
        if dead.is_set():
            raise InputError(f"{DEAD}; {CURE}") from None
        raise


@contextmanager
def regularly(look: Callable[[], object], every_s: float, name: str) -> Iterator[None]:
    """Call ``look`` from a thread of this name every so many seconds, while the block runs.

    What it raises is passed over: the head of the cluster is away, and may come back; Ray itself gives up after a while.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            with suppress(Exception):
                look()

    thread = threading.Thread(target=watch, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(every_s)
