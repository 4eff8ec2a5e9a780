"""Group: how the workers of one training meet, so that they can add up gradients.

Ray's own configuration lets torch open the port at which they meet, and torch listens to every network for whoever comes. Here
the first worker opens it, at the address under which Ray knows its node, and what they exchange goes the same way: a Ray that
is on loopback alone keeps its workers there, too. A worker that is alone meets nobody, and opens nothing.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import ray
import ray.train.torch
import torch
import torch.distributed as dist
from ray.train.backend import Backend, BackendConfig

TIMEOUT_S = 1800  # of an exchange, after which the others count as lost
LEAVE_S = 5.0  # for saying goodbye; then the processes are ended anyway
_held: list[socket.socket] = []  # the port of this process until torch takes it over


class WorkerGroup(BackendConfig):  # type: ignore[misc]
    """For Ray Train: its workers are one group of torch.distributed, by NCCL with GPUs and by Gloo without."""

    @property
    def backend_cls(self) -> "type[GroupBackend]":
        """What Ray Train calls when workers start and end."""
        return GroupBackend

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[None]]:
        """What a worker trains in."""
        return _own_device


class GroupBackend(Backend):  # type: ignore[misc]
    """Brings the workers of a training together."""

    share_cuda_visible_devices = True  # NCCL takes the direct way between GPUs of a node that see one another

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Let all of them meet at the first one."""
        world = len(worker_group)
        if world > 1:
            host, port = worker_group.execute_single(0, _open)
            ray.get([worker_group.execute_single_async(rank, _join, host, port, rank, world) for rank in range(world)])

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Let them part, as far as they still live."""
        if len(worker_group) > 1:
            ray.wait(left := worker_group.execute_async(_leave), num_returns=len(left), timeout=LEAVE_S)


def _open() -> tuple[str, int]:
    """Listen where others of the group can reach this node; the address."""
    host = ray.util.get_node_ip_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    here = socket.create_server((host, 0), family=family, backlog=1024)
    _held.append(here)
    return host, here.getsockname()[1]


def _join(host: str, port: int, rank: int, world: int) -> None:
    """Meet the others."""
    if network := interface(ray.util.get_node_ip_address()):
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, network)
    limit = timedelta(seconds=TIMEOUT_S)
    own = {"is_master": True, "master_listen_fd": _held.pop().detach()} if rank == 0 else {"is_master": False}
    store = dist.TCPStore(host, port, world, timeout=limit, wait_for_workers=False, **own)  # type: ignore[attr-defined]
    backend = "nccl" if ray.get_gpu_ids() else "gloo"
    if backend == "nccl":
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")  # an exchange that never ends is an error
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)


def interface(address: str) -> str | None:
    """The network interface that has an address; None if none has: it belongs to what stands before this machine.

    Left to itself, Gloo goes by the name of the machine, which often means the machine itself alone (127.0.1.1), and NCCL takes
    the first interface that it finds.
    """
    import psutil

    places = psutil.net_if_addrs().items()
    return next((name for name, every in places for one in every if one.address.partition("%")[0] == address), None)


def _leave() -> None:
    """Leave the group, and the memory of a GPU."""
    if dist.is_initialized():
        dist.destroy_process_group()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _own_device() -> Iterator[None]:
    """A process that sees the GPUs of others, too, uses its own where none is named."""
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    yield
