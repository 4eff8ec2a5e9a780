"""Precision: whether a CPU computes bfloat16 itself, or emulates it, which may take twenty times as long as float32."""

import functools
import time

import torch
from torch.nn import functional as F

from raybrain.cluster import Cluster

SLOW = 1.5  # times as long as float32 is slower for sure
SEGMENTS, CHANNELS, TIMES, TRIES = 16, 64, 120, 5


@functools.cache
def bfloat16_slowdown() -> float:
    """How many times as long a convolution and its gradient take on this CPU under bfloat16 autocast as in float32.

    It is measured, in a moment: the flags of a CPU do not tell what torch makes of them.
    """
    return _seconds(mixed=True) / _seconds(mixed=False)


def _seconds(mixed: bool) -> float:
    """The shortest of some tries."""
    signal = torch.full((SEGMENTS, CHANNELS, TIMES), 0.5)  # nothing is drawn, so that nobody draws otherwise later
    weight = torch.full((CHANNELS, CHANNELS, 3), 0.01, requires_grad=True)
    seconds = []
    for _ in range(1 + TRIES):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            out = F.conv1d(signal, weight)
        torch.autograd.grad(out.float().mean(), weight)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])  # the first one looks for the best way


def trains_on_gpus(cluster: Cluster) -> bool:
    """Whether this machine has GPUs, and may use them."""
    return cluster.gpus != "off" and torch.cuda.is_available()


def slow_precision(cluster: Cluster) -> str:
    """What is to be said of a precision that is slow on this machine; empty if it is not."""
    if cluster.precision != "bfloat16" or trains_on_gpus(cluster) or (slowdown := bfloat16_slowdown()) < SLOW:
        return ""
    return f"this CPU emulates bfloat16: it takes {slowdown:.2g} times as long as float32; leave out precision=bfloat16"
