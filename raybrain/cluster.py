"""Cluster: where an experiment runs. Never part of its signature, since it must not change the answer."""

import json
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from raybrain.bucket.address import home_copy, place_of
from raybrain.bucket.objects import begin_home
from raybrain.config import Config, InputError, first_line, plugin_files
from raybrain.lifeline import tied_to_node
from raybrain.ownership import owned, owner_of, unowned
from raybrain.rates import Rates
from raybrain.tracking.base import Tracker, TrackingStore

# Ray Train's controller looks at its workers this often; the end of a run waits for a look (2 s by default)
WORKER_ENVIRONMENT = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1", "TOKENIZERS_PARALLELISM": "false", "RAY_AIR_NEW_OUTPUT": "0"}
DRIVER_ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would take Ctrl-C for the end of a sweep
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # and write tables of its own of every trial, which the tracking store has
}

PROBE_S = 5.0
_outer: ContextVar[tuple[ExitStack, Callable[["Cluster"], object]] | None] = ContextVar("outer", default=None)
HANDED_ON, LOGINS = ("MLFLOW_",), ("AWS_", "GOOGLE_")  # variables that workers need as they are here; those for a bucket
HANDOVER, HANDOVER_S = "RAYBRAIN_ENVIRONMENT", 30.0  # names what is handed on, and how long a worker waits for it
QUIET = ("ray._private.authentication", "ray.train", "ray.tune")


class Cluster(Config):
    """The machine: workers and what each may use, the Ray address, the folder for all results.

    Attributes:
        home: everything raybrain writes goes below it; $RAYBRAIN_HOME, else ~/.raybrain. On several nodes on shared storage.
        address: of a running Ray cluster ("auto" for one on this machine); None starts one and stops it at the end.
        workers: training processes; one GPU each where there are GPUs.
        min_workers: train with fewer workers, but not with less than this, while machines are missing; None for all or none.
        gpus: "auto" uses them where there are some or can come, "on" refuses to go without, "off" uses none.
        gpus_per_model: share of a GPU that each process takes which extracts a feature with a model.
        gpus_per_worker: less than 1 lets trials of one worker share a GPU.
        cpus_per_worker: that each training process may use.
        precision: "auto" is bfloat16 autocast on GPUs and float32 on CPUs.
        compile: torch.compile the encoder.
        failures: how many times a crashed training is begun again; a machine that goes as Ray was warned does not count.
        checkpoint_s: seconds between checkpoints inside an epoch; there is one at each epoch's end as well, and one every few
            seconds while Ray is warned that a machine goes.
        tracker: where runs are tracked for people to look at.
        scratch: a folder on a disk of each node for memory maps; None for one below home.
        wait_s: seconds to wait for machines that a cluster starts when they are asked for.
        strict: go on with no recording missing only; else those that cannot be prepared are named and done without.
        rates: how fast its workers are and what they cost, for estimates.
    """

    home: Path = Field(default_factory=lambda: home_path())
    address: str | None = None
    workers: PositiveInt = 1
    min_workers: PositiveInt | None = None
    gpus: Literal["auto", "on", "off"] = "auto"
    gpus_per_model: float = Field(default=1.0, gt=0, le=1)
    gpus_per_worker: float = Field(default=1.0, gt=0)
    cpus_per_worker: PositiveInt = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    failures: int = Field(default=3, ge=0)
    checkpoint_s: float = Field(default=300.0, ge=0)
    tracker: Tracker = Field(default_factory=lambda: Tracker.kind("mlflow")())
    scratch: Path | None = None
    wait_s: float = Field(default=1800.0, gt=0)
    strict: bool = False
    rates: Rates = Rates()

    @field_validator("home")
    @classmethod
    def _home(cls, home: Path) -> Path:
        return home_path(home)

    @field_validator("scratch")
    @classmethod
    def _on_the_node(cls, folder: Path | None) -> Path | None:
        if folder is not None and home_copy(folder) != folder:
            raise InputError(f"memory maps lie on a disk of each node, not at {folder}; type a folder")
        return folder and folder.expanduser().absolute()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_workers is not None and self.min_workers > self.workers:
            some = f"at least {self.min_workers} of {self.workers} workers cannot be"
            raise InputError(f"{some}; type min_workers={self.workers} or less, or more workers")
        if self.gpus_per_worker < 1 and self.workers > 1:
            raise InputError(
                f"gpus_per_worker={self.gpus_per_worker:g}: {self.workers} workers cannot share a GPU; type workers=1"
            )
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise InputError(f"gpus_per_worker={self.gpus_per_worker:g}: a share of one GPU, or a whole number")
        return self

    @property
    def cache(self) -> Path:
        """Where studies are downloaded or made."""
        return self.home / "studies"

    def tracking_store(self) -> TrackingStore:
        """The store of its tracker.

        Raises:
            InputError: if it does not answer, or lies on a disk that workers on other machines do not see.
        """
        if (place := place_of(self.home)) and self.joins and self.tracker.lies_in(self.home):
            where = f"the database of MLflow cannot lie in {place}, nor on one machine of several"
            raise InputError(f"{where}; set MLFLOW_TRACKING_URI to the address of a server")
        return self.tracker.open(self.home)

    @property
    def joins(self) -> bool:
        """Whether it is a Ray cluster that runs already, perhaps on several machines."""
        return bool(self.address or os.environ.get("RAY_ADDRESS"))

    @property
    def maps(self) -> Path:
        """Where each node keeps its memory maps."""
        return self.scratch or self.home / "maps"


def home_path(given: Path | None = None) -> Path:
    """``given``, else $RAYBRAIN_HOME, else ~/.raybrain; of a bucket this node's copy, InputError if it can be no home."""
    return home_copy(given or Path(os.environ.get("RAYBRAIN_HOME") or "~/.raybrain")).expanduser().absolute()


def home_folder(given: Path | None = None) -> Path:
    """``home_path``, made if it is not there.

    Raises:
        InputError: if it cannot be written.
    """
    home = home_path(given)
    if place := place_of(home):
        begin_home(place)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {home} ({error.strerror}); choose another folder with --home DIR") from None
    return home


@contextmanager
def one_session(begin: Callable[[Cluster], object]) -> Iterator[None]:
    """Let the first :func:`ray_session` inside, if there is any, last until the end of this one: Ray starts once at most.

    ``begin`` is called with its cluster as soon as Ray is there.
    """
    with ExitStack() as stack:
        before = _outer.set((stack, begin))
        try:
            yield
        finally:
            _outer.reset(before)


@contextmanager
def ray_session(cluster: Cluster) -> Iterator[None]:
    """Join the cluster at ``cluster.address`` or $RAY_ADDRESS, or start one here and stop it at the end."""
    import ray

    if ray.is_initialized():
        yield
    elif outer := _outer.get():
        stack, begin = outer
        stack.enter_context(_new_session(cluster))
        begin(cluster)
        yield
    else:
        with _new_session(cluster):
            yield


@contextmanager
def _new_session(cluster: Cluster) -> Iterator[None]:
    import ray

    address = cluster.address or os.environ.get("RAY_ADDRESS")
    os.environ.update(WORKER_ENVIRONMENT | DRIVER_ENVIRONMENT)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    plain = WORKER_ENVIRONMENT | _plugin_environment()
    common = {"logging_level": "error", "log_to_driver": bool(os.environ.get("RAYBRAIN_DEBUG"))}
    with ExitStack() as stack:
        if address:
            probe(address)
            handover = Handover((*HANDED_ON, *LOGINS) if place_of(cluster.home) else HANDED_ON)
            try:
                with _on_loopback() if _is_on_loopback(address) else nullcontext():
                    ray.init(address, runtime_env=handover.runtime_env(plain), **common)
            except (ConnectionError, ValueError, RuntimeError) as error:
                cure = "start one with `ray start --head`, or set RAY_AUTH_MODE=token and the token of the one that runs"
                raise InputError(f"no Ray cluster at {address!r} ({first_line(error)}); {cure}") from None
            stack.callback(ray.shutdown)
            stack.enter_context(handover.open())
        else:
            _remove_orphans()
            folder = str(stack.enter_context(session_folder()))
            with _on_loopback():
                # without its dashboard Ray Train cannot tell whether a run lives, and one that was killed keeps its machines
                own = {"_temp_dir": folder, "include_dashboard": True, "resources": {"trial": 64}}
                _start(runtime_env={"env_vars": plain}, **own, **common)
            stack.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own handler aborts the process where it stands
        with tied_to_node():
            yield


def _start(**settings: Any) -> None:
    """Start a Ray of our own."""
    import ray

    try:
        ray.init("local", **settings)
    except InputError:
        raise
    except Exception as error:  # Ray raises nothing more special where one of its processes ends, or is too slow
        ray.shutdown()
        reason = first_line(error).rstrip(":")
        cure = "run the same command again, with less beside it"
        raise InputError(f"Ray did not start on this machine ({reason}); {cure}") from None


def _is_on_loopback(address: str) -> bool:
    """Whether a cluster listens on loopback alone, as one that a command started; Ray would look for it outside."""
    import ray

    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdigit():
        return False
    try:
        socket.create_connection((ray.util.get_node_ip_address(), int(port)), timeout=PROBE_S).close()
    except OSError:
        return True
    return False


class Handover:
    """Variables of the environment on their way to the workers of a cluster that runs already.

    A Ray that a command starts has its environment anyway. On another one they are kept in the memory of its head, under a name
    of their own, and removed when the command ends; a worker takes them from there when it starts. Who may run code on that
    cluster can read them there, as long as they are there: after a kill until the head ends.
    """

    def __init__(self, handed_on: tuple[str, ...] = HANDED_ON) -> None:
        self.variables = {key: value for key, value in os.environ.items() if key.startswith(handed_on)}
        self.name = uuid.uuid4().hex

    def runtime_env(self, plain: dict[str, str]) -> dict[str, Any]:
        """The runtime environment of a job whose workers take them, besides variables that everybody may see."""
        if not self.variables:
            return {"env_vars": plain}
        return {"env_vars": {**plain, HANDOVER: self.name}, "worker_process_setup_hook": f"{__name__}.take_over"}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have them ready for workers. Needs a running Ray."""
        from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put

        if self.variables:
            _internal_kv_put(self.name, json.dumps(self.variables), namespace=HANDOVER)
        try:
            yield
        finally:
            if self.variables:
                _internal_kv_del(self.name, namespace=HANDOVER)


def take_over() -> None:
    """Take the variables that a job hands on into the environment of this process; what a worker does when it starts."""
    from ray.experimental.internal_kv import _internal_kv_get

    name, until = os.environ[HANDOVER], time.monotonic() + HANDOVER_S
    while (kept := _internal_kv_get(name, namespace=HANDOVER)) is None:  # it may start before they are there
        if time.monotonic() > until:
            return  # the job is over
        time.sleep(0.05)
    os.environ.update(json.loads(kept))


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray begins to listen on loopback alone, as by itself where it forms no clusters; and its token is for its owner."""
    from ray._private import ray_constants

    forms, name = ray_constants.ENABLE_RAY_CLUSTER, ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(name)
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[name] = "0"  # for its other processes
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = forms
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
        token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
        with suppress(OSError):  # there is none, or it is somebody else's
            token.chmod(0o600)


def _plugin_environment() -> dict[str, str]:
    """What a worker needs to find the user's plug-ins, wherever it runs: on several nodes they must be on shared storage."""
    files = plugin_files()
    folders = dict.fromkeys(str(file.parent) for file in files)
    path = os.pathsep.join([*folders, "${PYTHONPATH}"])  # Ray fills in the node's own
    return {"RAYBRAIN_PLUGINS": os.pathsep.join(map(str, files)), "PYTHONPATH": path} if files else {}


@contextmanager
def session_folder() -> Iterator[Path]:
    """A temporary folder for what Ray itself needs. It belongs to this process as long as that lives."""
    made = Path(tempfile.mkdtemp(prefix=".rb-"))  # short: it becomes part of socket names
    with owned(made, "Ray", _refuse):
        folder = made.rename(made.with_name(made.name[1:]))  # only now, or others could take it for one that is left behind
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _refuse(line: str) -> None:
    raise InputError(line)


def sessions() -> dict[Path, bool]:
    """The folders of the Ray sessions that raybrain began on this machine, and whether the process that did still lives.

    A living one holds a lock on its folder. Its number would not do: several containers may share a temporary folder, and
    each counts its processes on its own. Where nobody ever held a lock, nothing is known, and it counts as living.
    """
    alive = {}
    for folder in sorted(Path(tempfile.gettempdir()).glob("rb-*")):
        alive[folder] = True
        with suppress(OSError):  # another user's
            if owner_of(folder):
                with unowned(folder) as free:
                    alive[folder] = not free
    return alive


def _remove_orphans() -> None:
    """Remove what sessions left behind that were killed."""
    for folder, alive in sessions().items():
        if not alive:
            shutil.rmtree(folder, ignore_errors=True)


def probe(address: str) -> None:
    """Refuse an address nobody listens at, which Ray itself would try for minutes.

    Raises:
        InputError: if nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"no Ray cluster at {address!r} ({reason}); start one with `ray start --head`") from None


def asks_for_token(address: str) -> bool | None:
    """Whether a running Ray cluster answers only to who has its token; None if it says neither."""
    import grpc
    from ray._private.services import canonicalize_bootstrap_address

    place = canonicalize_bootstrap_address(address) if address == "auto" else address.removeprefix("ray://")
    if place is None:
        return None
    with grpc.insecure_channel(place) as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=PROBE_S)
        except grpc.RpcError as error:
            return True if error.code() is grpc.StatusCode.UNAUTHENTICATED else None
    return False
