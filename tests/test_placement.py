"""Whether there is room: what each node has counts, and a cluster that starts machines is asked and waited for."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from raybrain import placement
from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.placement import check_room, room_for, watching_room, worker_resources
from tests.conftest import REPO, TINY
from tests.mlflow_server import free_port, wait_for_port

HEAD = "f" * 51 + "00000"  # the name of the head that Ray's provider of pretended machines expects


class Autoscaler:
    """What an autoscaler says of itself: nothing, or that it looks, again and again."""

    def __init__(self, version: int = 0) -> None:
        self.autoscaler_state_version = version
        self.last_seen_cluster_resource_state_version = version
        self.infeasible_gang_resource_requests: list[Any] = []
        self.pending_instance_requests: list[Any] = []


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend to be on a cluster of these nodes, which brings no others."""

    def pretend(*some: dict[str, float]) -> None:
        monkeypatch.setattr(placement, "_nodes", lambda: list(some))
        monkeypatch.setattr(placement, "_autoscaler", Autoscaler)

    return pretend


def cluster(**settings: Any) -> Cluster:
    return override(Cluster(home=Path("home")), settings)


@pytest.mark.parametrize(
    ("some", "settings", "reason"),
    [
        (
            [{"CPU": 1}, {"CPU": 1}],
            {"cpus_per_worker": 2},
            "the most that a node has is 1 CPU",
        ),
        ([{"CPU": 3}, {"CPU": 3}], {"workers": 3, "cpus_per_worker": 2}, "there is room for 2; type --workers 2 or less"),
        ([{"CPU": 8}, {"CPU": 1, "GPU": 4}], {"cpus_per_worker": 2}, "needs 2 CPU and 1 GPU, and no node has room"),
        ([{"CPU": 8}], {"gpus": "on"}, "gpus=on, and the cluster has no GPU"),
        ([{"CPU": 8}], {"gpus_per_worker": 0.25}, "gpus_per_worker=0.25, and the cluster has no GPU"),
        ([], {}, "the most that a node has is 0 CPU"),
    ],
)
def test_what_fits_no_node_is_refused(
    some: list[dict[str, float]], settings: dict[str, Any], reason: str, nodes: Callable[..., None]
) -> None:
    nodes(*some)
    asked = cluster(**settings)
    for refuse in (lambda: check_room(asked), lambda: room_for(asked, asked.workers)):
        with pytest.raises(InputError) as error:
            refuse()
        assert reason in str(error.value) and "\n" not in str(error.value)


def test_groups_are_counted_by_node(nodes: Callable[..., None]) -> None:
    nodes({"CPU": 3, "GPU": 1}, {"CPU": 3, "GPU": 1}, {"CPU": 64})
    assert worker_resources(cluster()) == {"CPU": 1.0, "GPU": 1.0}
    assert room_for(cluster(), 2) == 1
    assert room_for(cluster(gpus="off", cpus_per_worker=2), 1) == 34
    assert room_for(cluster(gpus_per_worker=0.4), 1) == 4  # two on each GPU, not five on both
    check_room(cluster(workers=9, min_workers=2))


def test_a_machine_that_is_gone_is_said_and_waited_for_so_long(
    nodes: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def until(happened: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not happened():
            assert time.monotonic() < end
            time.sleep(0.01)

    monkeypatch.setattr(placement, "ROOM_LOOK_S", 0.01)
    said: list[str] = []
    monkeypatch.setattr(placement.console, "print", lambda line, **_: said.append(line))
    nodes({"CPU": 1}, {"CPU": 1}, {"CPU": 1})
    asked = cluster(workers=3, gpus="off", wait_s=60)
    with watching_room(asked, 3) as check:
        nodes({"CPU": 1}, {"CPU": 1})
        until(lambda: said)
        assert said == ["a machine is gone: there is room for 2 of 3 workers; waiting for another, for at most 1 min"]
        nodes({"CPU": 1}, {"CPU": 1}, {"CPU": 1})
        check()
    with watching_room(cluster(workers=3, gpus="off", wait_s=0.1), 3) as check:
        nodes({"CPU": 2})
        until(lambda: len(said) == 2)
        time.sleep(0.2)
        with pytest.raises(InputError, match=r"room for 2 of 3 workers for 0 s; start another, or type --workers 2; the same"):
            check()


# a cluster that brings machines: Ray's own autoscaler, with machines that are processes here


def launcher_config(port: int, large: dict[str, float]) -> dict[str, Any]:
    """What Ray's provider of pretended machines takes: no CPU at first; two of one CPU, and a large one, can come."""
    lists = ["cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands"]
    lists += [f"{who}_{what}_commands" for who in ("head", "worker") for what in ("setup", "start_ray")]
    provider = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    return {name: [] for name in lists} | {
        "cluster_name": "pretended",
        "max_workers": 4,
        "idle_timeout_minutes": 5,
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "auth": {"ssh_user": "nobody"},
        "provider": {
            **{"type": "external", "module": provider, "launch_multiple": True},
            **{"head_node_id": HEAD, "gcs_address": f"127.0.0.1:{port}"},
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
            "large": {"resources": large, "node_config": {}, "min_workers": 0, "max_workers": 1},
        },
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name: Ray puts sockets into it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextmanager
def growing(folder: Path, large: dict[str, float]) -> Iterator[str]:
    """The address of a cluster without a CPU whose autoscaler brings some."""
    port = free_port()
    (folder / "launcher.json").write_text(json.dumps(launcher_config(port, large)))
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}", "--num-cpus=0"]
    command += ["--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=100000000", f"--temp-dir={folder}"]
    command += [f"--autoscaling-config={folder / 'launcher.json'}", "--node-ip-address=127.0.0.1"]
    environment = os.environ | {
        **{"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_AUTH_MODE": "disabled", "RAY_FAKE_CLUSTER": "1"},
        **{"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD},
    }
    with open(folder / "log", "w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for_port(port)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        head.wait(90)


ASK = """
import json, sys
from pathlib import Path
from raybrain.cluster import Cluster, ray_session
from raybrain.config import InputError, override
from raybrain.placement import check_room, draining, place_near, room_for, worker_resources
import time
def near(node):
    import ray
    group = place_near({"CPU": 1.0}, node).to_placement_group()
    ray.get(group.ready(), timeout=30)
    return group, ray.util.placement_group_table(group)["bundles_to_node_id"][0]
for settings in json.loads(sys.argv[2]):
    cluster = override(Cluster(home=Path("home"), address=sys.argv[1]), settings)
    began = time.monotonic()
    with ray_session(cluster):
        try:
            check_room(cluster)
            answer = [worker_resources(cluster), room_for(cluster, cluster.workers)]
        except InputError as error:
            answer = str(error)
    print(json.dumps([answer, time.monotonic() - began]), flush=True)
with ray_session(cluster), draining() as warned:
    import ray
    machines = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    groups, places = zip(*[near(node) for node in machines])
    ray.util.remove_placement_group(groups[0])
    last, elsewhere = near(machines[1])  # which is taken
    for group in (*groups[1:], last):
        ray.util.remove_placement_group(group)
    print(json.dumps([[list(places) == machines, elsewhere == machines[0]], 0.0]), flush=True)
    from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION
    class Worker:
        def node(self):
            return ray.get_runtime_context().get_node_id()
    worker = ray.remote(num_cpus=1)(Worker).remote()  # a node that nobody uses would go at once
    node = ray.get(worker.node.remote())
    before, until = warned(), time.monotonic() + 30
    client = ray._raylet.GcsClient(address=sys.argv[1])
    assert client.drain_node(node, DRAIN_NODE_REASON_PREEMPTION, "a test", int(time.time() + 600) * 1000)[0]
    while not warned() and time.monotonic() < until:
        time.sleep(0.1)
    print(json.dumps([[before, warned()], 0.0]))
"""


@pytest.mark.slow
def test_machines_are_asked_for_and_waited_for(folder: Path) -> None:
    """In processes of their own, as this one may have a Ray already."""
    some: list[dict[str, Any]] = [
        {"cpus_per_worker": 2},
        {"workers": 2, "gpus": "off", "wait_s": 0.1},
        {},
        {"workers": 2, "gpus": "off"},
        {"workers": 9, "gpus": "off"},
    ]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    with growing(folder, {"CPU": 1, "GPU": 1}) as address:
        command = [sys.executable, "-c", ASK, address, json.dumps(some)]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=240, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(answers) == len(some) + 2, done.stderr
    (large, seconds), (short, _), (gpu, _), (two, _), (nine, _), (near, _), (warnings, _) = answers
    assert "no node has room for one of them" in large and seconds < 30
    assert "did not bring 2 times 1 CPU in" in short
    assert gpu == [{"CPU": 1.0, "GPU": 1.0}, 1], "a GPU that can come is used"
    assert two[0] == {"CPU": 1.0}
    assert "--workers 9 needs 9 times 1 CPU" in nine
    assert near == [True, True], "a trial goes where its data are, or where there is room"
    assert warnings == [False, True], "a node that is about to go is known"
    assert "waiting for 2 times 1 CPU, which the cluster brings" in done.stderr


SPACE = """
'Does a sweep wait for machines?'
from optuna.distributions import CategoricalDistribution
from raybrain.tune.space import SearchSpace
SPACE = SearchSpace(recipe="quickstart", parameters={"optim.lr": CategoricalDistribution([1e-3, 3e-3])}, metric="valid_loss",
                    sampler="grid", scheduler="none")
"""


@pytest.mark.slow
def test_a_sweep_on_a_cluster_without_machines_waits_for_them_and_runs(folder: Path, tmp_path: Path) -> None:
    """Its first tasks wait for a small one, its trials for the large one; both come for it alone."""
    (tmp_path / "space.py").write_text(SPACE)
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "tune", str(tmp_path / "space.py"), *TINY]
    command += ["--cluster", "gpus=off", "--cluster", "cpus_per_worker=2", "--home", str(tmp_path / "home"), "--json"]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    with growing(folder, {"CPU": 2}) as address:
        command += ["--cluster", f"address={address}"]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    sweep = json.loads(done.stdout.splitlines()[-1])["sweep"]
    assert [trial["state"] for trial in sweep["trials"]] == ["finished"] * 2
