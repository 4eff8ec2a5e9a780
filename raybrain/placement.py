"""Placement: whether a node has room for what a training needs, and asking a cluster for machines that it can bring.

A worker runs on one node, so what counts is what each node has, not what they have together. A cluster that starts machines
when they are asked for is asked with a placement group, which goes when it is there, refused, or its command ends.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from raybrain.bucket.address import place_of
from raybrain.bucket.objects import file_system
from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.console import PlainConsole
from raybrain.lifeline import regularly

LOOK_S = 1.0  # between two looks at what an autoscaler makes of a request
ANSWER_S = 15.0  # an autoscaler looks every five seconds; one that has not refused by then starts machines
YOUNG_S = 30.0  # a cluster that began less than this ago may have an autoscaler that has not looked yet
ROOM_LOOK_S = 5.0  # between two looks whether what works still has room
DRAIN_LOOK_S = 1.0  # between two looks whether a node is about to go
SMALL = 1e-9

Resources = Mapping[str, float]
console = PlainConsole(stderr=True)


@dataclass(frozen=True)
class ProcessPool:
    """Processes that stay: how many there may be, and what Ray is to give each."""

    size: int
    resources: dict[str, float]


def given_device(cluster: Cluster) -> str:
    """What a Ray task or actor computes on: "cuda" only if Ray gave it a GPU and it may be used, else "cpu"."""
    import ray

    return "cuda" if cluster.gpus != "off" and ray.get_gpu_ids() else "cpu"


def worker_resources(cluster: Cluster) -> dict[str, float]:
    """What each worker takes: its CPUs, and a GPU where the cluster has or can bring one, and may use it. Needs a running Ray.

    Raises:
        InputError: if GPUs are asked for and there are none.
    """
    cpus = float(cluster.cpus_per_worker)
    with_gpu = {"CPU": cpus, "GPU": cluster.gpus_per_worker}
    if cluster.gpus == "off":
        return {"CPU": cpus}
    if any(node.get("GPU", 0) >= 1 for node in _nodes()) or can_come(with_gpu):
        return with_gpu
    if cluster.gpus == "on" or cluster.gpus_per_worker != 1:
        asked = "gpus=on" if cluster.gpus == "on" else f"gpus_per_worker={cluster.gpus_per_worker:g}"
        raise InputError(f"{asked}, and the cluster has no GPU for a worker with {cpus:g} CPUs; type gpus=off for CPUs")
    return {"CPU": cpus}


def check_room(cluster: Cluster) -> None:
    """Refuse workers that no node has room for, before anything is prepared for them. Needs a running Ray.

    On a cluster that brings machines one worker is asked about: all of them are asked for when they are about to train.

    Raises:
        InputError: if there is none, nor can come.
    """
    if cluster.address or os.environ.get("RAY_ADDRESS"):
        _let_begin()
    each, workers = worker_resources(cluster), cluster.min_workers or cluster.workers
    room = _slots(each)
    if room < workers and not (grows() and (room or can_come(each))):
        raise _no_room(workers, each)


def room_for(cluster: Cluster, workers: int) -> int:
    """How many groups of ``workers`` there is room for at once, after waiting for machines that the cluster brings.

    Needs a running Ray.

    Raises:
        InputError: if there is no room for one, nor can come, or it does not come in ``cluster.wait_s``.
    """
    each = worker_resources(cluster)
    if _slots(each) < workers and not _bring(cluster, [each] * workers):
        raise _no_room(workers, each)
    return max(1, _slots(each) // workers)


def model_pool(cluster: Cluster) -> ProcessPool:
    """The processes that may hold a model at once: shares of GPUs where the cluster has GPUs and may use them, else CPUs.

    One CPU stays free, since a pool that holds all of them leaves none to feed it. Needs a running Ray.

    Raises:
        InputError: if machines that can come do not come in ``cluster.wait_s``.
    """
    each = worker_resources(cluster)
    gpus = "GPU" in each
    least = [{"CPU": 1.0, "GPU": 1.0}] if gpus else [{"CPU": 1.0}, {"CPU": 1.0}]
    kind = "GPU" if gpus else "CPU"
    if _total(kind) < len(least):
        _bring(cluster, least)  # a machine with one CPU goes on with a pool of one
    if gpus:
        return ProcessPool(int(_total("GPU")) * int(1 / cluster.gpus_per_model + SMALL), {"num_gpus": cluster.gpus_per_model})
    free = max(int(_total("CPU")) - 1, 0)
    cpus = min(cluster.cpus_per_worker, free)
    return ProcessPool(free // cpus if cpus else 1, {"num_cpus": cpus})


def memory_on_a_node(wanted: int) -> int:
    """Bytes that a task may ask for: ``wanted``, or what the largest node has, where the task then runs alone.

    Needs a running Ray. More than any node has would be waited for without end.
    """
    return int(min(wanted, max((node.get("memory", 0) for node in _nodes()), default=0)))


def place_near(each: Resources, node: str | None) -> Any:
    """What a trial asks Ray for: room on this node, or on another if it has none or is gone. Needs a running Ray."""
    from ray.tune import PlacementGroupFactory

    near = node if len(_nodes()) > 1 else None  # trials that ask for the same share processes
    return PlacementGroupFactory([each], strategy="STRICT_PACK", _soft_target_node_id=near)


def grows() -> bool:
    """Whether the cluster starts machines when they are asked for. Needs a running Ray."""
    return bool(_autoscaler().autoscaler_state_version)


@contextmanager
def draining() -> Iterator[Callable[[], bool]]:
    """Whether a node of the cluster is about to go, as it is known at the moment: a cloud takes it back, or nobody needs it.

    Ray is asked in the background. It is never the case where no Ray runs.
    """
    import ray

    if not ray.is_initialized():
        yield lambda: False
        return
    warned = threading.Event()

    def look() -> None:
        (warned.set if ray._private.state.state.get_draining_nodes() else warned.clear)()

    with regularly(look, DRAIN_LOOK_S, "draining"):
        yield warned.is_set


def _let_begin() -> None:
    """Wait for the first word of the autoscaler of a cluster that has just begun, if it has one."""
    from ray._private.worker import global_worker

    began = re.match(r"session_(.{19})_", global_worker.node.session_name)
    while began and not grows():
        age = (datetime.now() - datetime.strptime(began[1], "%Y-%m-%d_%H-%M-%S")).total_seconds()
        if not 0 <= age < YOUNG_S:
            return
        time.sleep(LOOK_S)


def can_come(resources: Resources) -> bool:
    """Whether the cluster can start a machine with room for these. It is told to."""
    if not grows():
        return False
    before, began = _autoscaler().last_seen_cluster_resource_state_version, time.monotonic()
    with _asked([resources]) as request:
        while not request.wait(LOOK_S) and time.monotonic() - began < ANSWER_S:
            answer = _autoscaler()
            if _refused(answer, request):
                return False
            if answer.pending_instance_requests and answer.last_seen_cluster_resource_state_version > before:
                return True
    return True


def _bring(cluster: Cluster, bundles: list[dict[str, float]]) -> bool:
    """Ask for machines and wait for them; False if they cannot come.

    Raises:
        InputError: if they do not come in ``cluster.wait_s``.
    """
    if not grows():
        return False
    began, silent = time.monotonic(), True
    what = _words(bundles)
    with _asked(bundles) as request:
        while not request.wait(LOOK_S):
            waited = time.monotonic() - began
            if _refused(_autoscaler(), request):
                return False
            if silent:
                silent = False
                _say_waiting(f"waiting for {what}, which the cluster brings", cluster)
            if waited > cluster.wait_s:
                raise InputError(
                    f"the cluster did not bring {what} in {waited:.0f} s; `ray status` says why; a larger wait_s waits longer"
                )
    return True


@contextmanager
def watching_room(cluster: Cluster, workers: int) -> Iterator[Callable[[], None]]:
    """Say it while a group of workers has no room any more: Ray waits for another machine without end, and without a word.

    Needs a running Ray.

    Yields:
        A call that raises InputError once there was no room for ``cluster.wait_s``.
    """
    each, since, room = worker_resources(cluster), 0.0, workers

    def look() -> None:
        nonlocal since, room
        room = _slots(each)
        if room >= workers:
            since = 0.0
        elif not since:
            since = time.monotonic()
            _say_waiting(f"a machine is gone: there is room for {room} of {workers} workers; waiting for another", cluster)

    def check() -> None:
        if since and time.monotonic() - since > cluster.wait_s:
            fewer = f", or type --workers {room}" if room else ""
            raise InputError(
                f"a machine is gone, and there was room for {room} of {workers} workers for {cluster.wait_s:.0f} s;"
                f" start another{fewer}; the same command goes on where it was"
            )

    with regularly(look, ROOM_LOOK_S, "room"):
        yield check


def _say_waiting(what: str, cluster: Cluster) -> None:
    console.print(f"{what}, for at most {cluster.wait_s / 60:.0f} min", soft_wrap=True)


@contextmanager
def _asked(bundles: list[Any]) -> Iterator[Any]:
    from ray.util.placement_group import placement_group, remove_placement_group

    request = placement_group([dict(bundle) for bundle in bundles], strategy="PACK")
    try:
        yield request
    finally:
        remove_placement_group(request)


def _refused(answer: Any, request: Any) -> bool:
    mine = request.id.hex()
    return any(refused.details.startswith(mine) for refused in answer.infeasible_gang_resource_requests)


def _autoscaler() -> Any:
    """What the autoscaler last said of itself; its version is 0 where there is none."""
    from ray._private.worker import global_worker
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    reply = GetClusterStatusReply()
    reply.ParseFromString(global_worker.gcs_client.get_cluster_status(timeout_s=10))
    return reply.autoscaling_state


def _nodes() -> list[Resources]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _total(kind: str) -> float:
    return sum(node.get(kind, 0) for node in _nodes())


def _slots(each: Resources) -> int:
    """How many workers there is room for on the nodes that are there."""
    return sum(min(_fit(node.get(kind, 0), amount) for kind, amount in each.items()) for node in _nodes())


def _fit(has: float, amount: float) -> int:
    """How often an amount fits; a share is one of a single GPU."""
    return int(has) * int(1 / amount + SMALL) if amount < 1 else int((has + SMALL) // amount)


def _words(bundles: list[dict[str, float]]) -> str:
    each = " and ".join(f"{amount:g} {kind}" for kind, amount in bundles[0].items())
    return each if len(bundles) == 1 else f"{len(bundles)} times {each}"


def _no_room(workers: int, each: dict[str, float]) -> InputError:
    room = _slots(each)
    need = f"--workers {workers} needs {_words([each] * workers)}"
    if room:
        return InputError(f"{need}, each on one node, and there is room for {room}; type --workers {room} or less")
    largest = " and ".join(f"{max((node.get(kind, 0) for node in _nodes()), default=0):g} {kind}" for kind in each)
    cure = "type fewer cpus_per_worker, or gpus_per_worker" if "GPU" in each else "type fewer cpus_per_worker"
    return InputError(f"{need}, and no node has room for one of them: the most that a node has is {largest}; {cure}")


def ray_storage(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Where Ray keeps what it needs of what is kept in a folder: below it, where all machines of the cluster see that."""
    place = place_of(folder)
    if place is None or not cluster.joins:
        return {"storage_path": str(folder)}
    system, root = file_system(place)
    return {"storage_path": f"{root}/{folder.relative_to(place.copy).as_posix()}", "storage_filesystem": system}
