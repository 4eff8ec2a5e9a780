"""Expense: hours, network and money of trainings on a cluster, by rates that were given, else by the pace of this machine.

Workers are taken to be fully busy: two are twice as fast as one. What stops early costs less.
"""

from dataclasses import dataclass
from math import ceil

from raybrain.cluster import Cluster
from raybrain.download.unpack import amount

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Load:
    """What there is to do; bytes and counts of all trainings together.

    Attributes:
        trainings: how many.
        segments: that all steps see.
        seconds: of all trainings on this machine, one after the other; None where nobody knows.
        gradients: floats that a worker exchanges with the others; None where nobody knows.
        store: bytes of prepared data.
        maps: bytes that each node reads from them.
    """

    trainings: int
    segments: int | None
    seconds: float | None
    gradients: float | None
    store: float | None
    maps: float | None


@dataclass(frozen=True)
class Expense:
    """What a load takes on a cluster.

    Attributes:
        hours: until all is trained.
        worker_hours: of all workers that there are, also of those that wait for the last one.
        network: bytes between machines; None where nobody knows.
        month: price of keeping the prepared data for a month; None where nobody knows.
        money: for workers and network.
        source: how the pace is known.
    """

    hours: float
    worker_hours: float
    network: float | None
    month: float | None
    money: float
    source: str

    def lines(self) -> list[str]:
        """For people."""
        time = f"at most {self.hours:,.3g} h on the cluster = {self.worker_hours:,.3g} worker-hours, {self.source}"
        moved = [] if self.network is None else [f"about {amount(self.network)} between machines"]
        kept = f", and {self.month:,.2f} a month for the prepared data" if self.month else ""
        paid = [f"at most {self.money:,.2f} for workers and network{kept}, at the given prices"] if self.money else []
        return [time, *moved, *paid]


def expense(load: Load, cluster: Cluster) -> Expense | None:
    """What a load takes on a cluster; None if no rates were given, or nobody knows how fast it is."""
    rates, size = cluster.rates, cluster.workers
    if rates == type(rates)() or not load.trainings:
        return None
    if rates.segments_s and load.segments is not None:
        busy, source = load.segments / rates.segments_s / 3600, "by the given rate"
    elif not rates.segments_s and load.seconds is not None:
        busy, source = load.seconds * size / 3600, "at the pace of this machine"
    else:
        return None
    workers = max(rates.workers, size)
    at_once = max(1, workers // size)
    hours = busy / size / load.trainings * ceil(load.trainings / at_once)  # trainings of one length, side by side
    network = _network(load, cluster, workers)
    gigabytes = (network or 0.0) / 1e9
    month = None if load.store is None else load.store / 1e9 * rates.gb_month
    return Expense(hours, hours * workers, network, month, hours * workers * rates.worker_hour + gigabytes * rates.gb, source)


def _network(load: Load, cluster: Cluster, workers: int) -> float | None:
    """Bytes between machines: each reads the data once; where a training spans several, they sum up gradients, in a ring."""
    per_node = cluster.rates.workers_per_node
    if load.maps is None or load.gradients is None:
        return None
    nodes, of_one = ceil(workers / per_node), ceil(cluster.workers / per_node)
    read = nodes * load.maps if nodes > 1 else 0.0
    return read + 2 * (of_one - 1) * FLOAT * load.gradients
