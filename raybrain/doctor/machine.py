"""Machine: what is installed, how much there is of everything, and whether folders and servers answer."""

import importlib
import os
import platform
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from raybrain.cluster import Cluster, probe
from raybrain.config import InputError, first_line
from raybrain.disks import network_disk
from raybrain.doctor.exposure import exposure
from raybrain.doctor.findings import Finding, check
from raybrain.download.fetch import free_bytes
from raybrain.download.unpack import amount

LITTLE, NOTHING = 10e9, 1e9  # bytes free on a disk
CGROUP = Path("/sys/fs/cgroup/memory.max")


def examine(cluster: Cluster) -> Iterator[Finding]:
    """Look at everything that does not depend on an experiment."""
    yield Finding("python", platform.python_version())
    yield check("torch and torchaudio", _torch)
    yield check("Ray", lambda: _ray(cluster))
    yield Finding("CPUs", f"{cpus()}, {cluster.workers * cluster.cpus_per_worker} of them for training")
    yield _memory()
    yield check("GPUs", lambda: _gpus(cluster))
    yield _precision(cluster)
    folders = {"home": cluster.home, "memory maps": cluster.maps}
    for name, folder in folders.items():
        yield check(f"{name} folder", lambda name=name, folder=folder: _folder(name, folder))  # type: ignore[misc]
    yield check("tracking", lambda: _tracking(cluster))
    yield from exposure(cluster)


def cpus() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> tuple[int, int]:
    """Memory of this machine, or what its container may use; and what is free of it."""
    import psutil

    memory = psutil.virtual_memory()
    try:
        limit = int(CGROUP.read_text())
    except (OSError, ValueError):  # no container, or one without a limit
        limit = memory.total
    return min(memory.total, limit), min(memory.available, limit)


def _memory() -> Finding:
    total, free = memory_bytes()
    size = f"{amount(total)}, {amount(free)} free"
    return Finding("memory", size) if total >= 7e9 else Finding("memory", size, "warn", "8 GB are better")


def _torch() -> Finding:
    what, names = "torch and torchaudio", ("torch", "torchaudio")
    versions = {name: metadata.version(name) for name in names}
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    cure = "install the pair that raybrain names: pip install --force-reinstall raybrain"
    try:
        for name in names:
            importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(what, f"{installed}: {first_line(error)}", "bad", cure)
    if len({".".join(version.split(".")[:2]) for version in versions.values()}) > 1:
        return Finding(what, installed, "warn", cure)
    return Finding(what, installed)


def _ray(cluster: Cluster) -> Finding:
    version = metadata.version("ray")
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    if not address:
        return Finding("Ray", f"{version}, starts its own for each command")
    probe(address)
    return Finding("Ray", f"{version}, at {address}")


def _gpus(cluster: Cluster) -> Finding:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.get_device_properties(number) for number in range(count)]
    names = ", ".join(f"{gpu.name} ({amount(gpu.total_memory)})" for gpu in gpus) or "none"
    if cluster.gpus == "off":
        return Finding("GPUs", f"{names}; gpus=off, so they are not used")
    if 0 < count < cluster.workers and not (cluster.address or os.environ.get("RAY_ADDRESS")):
        raise InputError(f"{names}, and {cluster.workers} workers want one each; type --workers {count}")
    if cluster.gpus == "on" and not (count or cluster.address or os.environ.get("RAY_ADDRESS")):
        return Finding("GPUs", "none, and gpus=on asks for them", "bad", "leave out gpus=on, or name a cluster with --address")
    return Finding("GPUs", names if count else "none; training runs on CPUs")


def _precision(cluster: Cluster) -> Finding:
    """Which one is best here."""
    from raybrain.train import precision
    from raybrain.train.precision import SLOW, slow_precision, trains_on_gpus

    if trains_on_gpus(cluster):
        return Finding("precision", "bfloat16, the default on GPUs" if cluster.precision != "float32" else "float32, as asked")
    if slow := slow_precision(cluster):
        result, _, advice = slow.partition("; ")
        return Finding("precision", result, "warn", advice)
    slowdown = precision.bfloat16_slowdown()
    if slowdown >= SLOW:
        return Finding("precision", f"float32 is best here; bfloat16 takes {slowdown:.2g} times as long, as it is emulated")
    if 1 / slowdown >= SLOW:
        faster = f"bfloat16 is {1 / slowdown:.2g} times as fast as float32 here: --cluster precision=bfloat16"
        return Finding("precision", faster)
    return Finding("precision", "float32; bfloat16 is about as fast here")


def device(folder: Path) -> int:
    """Which disk a folder is on, or would be made on."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists()).stat().st_dev


def _folder(name: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        option = "--home DIR" if name == "home" else "--cluster scratch=DIR"
        raise InputError(f"cannot write to {there} ({error.strerror}); choose another folder with {option}") from None
    if name == "home" and (kind := network_disk(folder)):
        missing = [variable for variable in ("RAYBRAIN_OPTUNA_STORAGE", "MLFLOW_TRACKING_URI") if not os.environ.get(variable)]
        if missing:
            advice = f"databases in files are damaged there; name a server with {' and '.join(missing)}: see cluster/README.md"
            return Finding("home folder", f"{folder} lies on a network disk ({kind})", "warn", advice)
    free = free_bytes(folder)
    state, advice = (
        ("bad", "make room") if free < NOTHING else ("warn", "a study may need more") if free < LITTLE else ("ok", "")
    )
    return Finding(f"{name} folder", f"{folder}, {amount(free)} free", state, advice)  # type: ignore[arg-type]


def _tracking(cluster: Cluster) -> Finding:
    return Finding("tracking", cluster.tracker.describe(cluster.home))
