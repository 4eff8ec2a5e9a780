"""A home shows what it keeps and what uses it; only what nothing needs is removed, and never a result."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest

from raybrain.cluster import Cluster, session_folder
from raybrain.config import override
from raybrain.experiment import Experiment, recipe
from raybrain.housekeeping import Item, clean, look, size
from raybrain.prepare import build
from raybrain.storage import read_json, write_json
from raybrain.store import Prepared
from raybrain.train.maps import brain_map, feature_map
from raybrain.train.record import RunRecord, run_record
from raybrain.verification import verify
from tests.conftest import REPO, TINY, Ended
from tests.test_claims import claiming

Parts = tuple[Path, dict[str, Prepared]]
Kept = tuple[Cluster, RunRecord]
HALF = ".manifest.json-" + "0" * 32


def tiny(**changes: str) -> Experiment:
    settings = dict(setting.split("=") for setting in TINY)
    return override(recipe("quickstart"), settings | {name.replace("__", "."): value for name, value in changes.items()})


USED, UNUSED = tiny(), tiny(data__segments__stride_s="0.7", data__features__mel__bands="10")


@pytest.fixture(scope="module")
def prepared(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """A home with two prepared data parts and their maps, without a run."""
    home = tmp_path_factory.mktemp("kept")
    cluster = Cluster(home=home)
    parts = {name: build.run(experiment.data, cluster) for name, experiment in (("used", USED), ("unused", UNUSED))}
    for part in parts.values():
        brain_map(part.store, list(part.recordings), part.brain, cluster.maps)
        for name, digest in part.features.items():
            feature_map(part.store, name, digest, cluster.maps)
    return home, parts


@pytest.fixture
def kept(prepared: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A copy of it in which one part has a run; of other sessions on this machine nothing is seen."""
    source, parts = prepared
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    home = tmp_path / "home"
    shutil.copytree(source, home)
    run = run_record(home, USED, parts["used"].digest)
    run.begin(USED)
    return Cluster(home=home), run


def needless(cluster: Cluster) -> dict[str, list[str]]:
    """Names of what nothing needs, by kind."""
    by_kind: dict[str, list[str]] = {}
    for item in look(cluster):
        if item.needless:
            by_kind.setdefault(item.kind, []).append(item.path.name)
    return by_kind


def names(cluster: Cluster, kind: str) -> dict[str, Item]:
    return {item.path.name: item for item in look(cluster) if item.kind == kind}


def test_what_is_kept_and_what_uses_it(kept: Kept, prepared: Parts) -> None:
    cluster, run = kept
    used, unused = (prepared[1][name].store.root.name for name in ("used", "unused"))
    stores = names(cluster, "store")
    assert set(stores) == {used, unused}
    assert stores[used].used_by == (run.path.name,) and not stores[used].needless
    assert stores[unused].used_by == () and stores[unused].needless
    assert stores[used].what == "synthetic: 2 recordings"
    assert stores[used].bytes == sum(path.stat().st_size for path in stores[used].path.rglob("*") if path.is_file())
    features = names(cluster, "features")
    assert sorted(item.used_by for item in features.values()) == [(), (run.path.name,)]
    maps = names(cluster, "map")
    assert sorted(item.used_by for item in maps.values()) == [(), (), (f"store {used}",), (f"store {used}",)]
    assert names(cluster, "run")[run.path.name].what == "begun, 0 epochs"
    assert len(names(cluster, "study")) == 1


def test_pages_are_listed_and_stay_when_what_they_show_goes(kept: Kept, prepared: Parts) -> None:
    cluster, _ = kept
    unused = prepared[1]["unused"].store.root.name
    folder, compared = cluster.home / "quality" / unused, cluster.home / "comparisons"
    for path in (folder / "study-a.html", folder / "a_1.html", compared / "0123456789ab.html", compared / HALF, folder / HALF):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a page")
        os.utime(path, (0, 0))
    (pages,) = names(cluster, "quality").values()
    assert (pages.path, pages.what, pages.bytes) == (folder, f"2 pages, of store {unused}", 3 * len("a page"))
    assert list(names(cluster, "comparison")) == ["0123456789ab.html"]
    assert needless(cluster)["left behind"] == [HALF, HALF]
    clean(cluster, look(cluster))
    assert sorted(path.name for path in folder.iterdir()) == ["a_1.html", "study-a.html"]
    assert [path.name for path in compared.iterdir()] == ["0123456789ab.html"]


def test_only_what_nothing_needs_is_removed(kept: Kept, prepared: Parts) -> None:
    cluster, run = kept
    assert {kind: len(some) for kind, some in needless(cluster).items()} == {"store": 1, "features": 1, "map": 2}
    before = {item.path for item in look(cluster) if not item.needless}
    removed = clean(cluster, look(cluster))
    assert len(removed) == 4 and all(item.bytes and not item.path.exists() for item in removed)
    assert {item.path for item in look(cluster)} == before
    assert needless(cluster) == {}
    again = build.run(USED.data, cluster)
    assert again.digest == prepared[1]["used"].digest
    assert run.experiment() == USED


def test_what_is_removed_can_be_made_again(kept: Kept, prepared: Parts) -> None:
    cluster, _ = kept
    clean(cluster, look(cluster))
    assert build.run(UNUSED.data, cluster).digest == prepared[1]["unused"].digest


def test_what_a_living_process_prepared_stays(kept: Kept, prepared: Parts) -> None:
    cluster, _ = kept
    name = prepared[1]["unused"].store.root.name
    process = claiming(cluster.home, name)
    (user,) = names(cluster, "store")[name].used_by
    assert str(process.pid) in user
    assert "store" not in needless(cluster)
    process.kill()
    process.communicate(timeout=30)
    assert needless(cluster)["store"] == [name]


def test_what_came_into_use_while_a_person_thought_stays(kept: Kept, prepared: Parts) -> None:
    cluster, _ = kept
    shown = look(cluster)
    run_record(cluster.home, UNUSED, prepared[1]["unused"].digest).begin(UNUSED)
    assert clean(cluster, shown) == []


def test_nothing_is_needless_while_a_run_does_not_say_what_it_is_made_from(kept: Kept) -> None:
    cluster, run = kept
    run.settings.write_text("{")
    assert needless(cluster) == {}


def test_a_run_whose_plugin_is_gone_keeps_its_data(kept: Kept) -> None:
    """Its settings are those its store was made from, whoever can read them."""
    cluster, run = kept
    settings = json.dumps(read_json(run.settings)).replace('"simple_conv"', '"an encoder of mine"')
    write_json(run.settings, json.loads(settings))
    assert {kind: len(some) for kind, some in needless(cluster).items()} == {"store": 1, "features": 1, "map": 2}
    assert sum(run.path.name in item.used_by for item in look(cluster) if item.kind in ("store", "features")) == 2


def test_rays_files_go_once_the_run_is_finished_and_nobody_holds_it(kept: Kept) -> None:
    cluster, run = kept
    run.ray.mkdir()
    assert "Ray's files" not in needless(cluster)
    run.finish(USED.signature, "digest", [{"epoch": 1, "valid_loss": 1.0}])
    assert needless(cluster)["Ray's files"] == ["ray"]
    with run.own("training", busy=print):
        assert "Ray's files" not in needless(cluster)
    clean(cluster, look(cluster))
    assert run.path.exists() and run.state == "finished" and not run.ray.exists()


def test_what_killed_processes_left_behind(kept: Kept) -> None:
    cluster, _ = kept
    store = next(item.path for item in look(cluster) if item.kind == "store" and not item.needless)
    old, fresh, strange = store / HALF, store / f"{HALF[:-1]}1", store / ".DS_Store"
    for path in (old, fresh, strange):
        path.write_text("x")
    long_ago = time.time() - 2 * 3600
    for path in (old, strange):
        os.utime(path, (long_ago, long_ago))
    (store / "damaged").mkdir()
    (cluster.maps / f".brain-0-{'0' * 32}").mkdir()
    with filelock.FileLock(cluster.maps / "brain-0.lock"):
        assert sorted(needless(cluster)["left behind"]) == [HALF, "damaged"]
    clean(cluster, look(cluster))
    assert not old.exists() and fresh.exists() and strange.exists()
    assert not list(cluster.maps.glob(".*"))


KILLED = """
import os, sys
from pathlib import Path
import soundfile
from raybrain.studies.synthetic.speech import story_folder
soundfile.write = lambda *arguments, **settings: os._exit(1)
story_folder(Path(sys.argv[1]), 0.1, 0)
"""


def test_a_story_that_a_killed_process_began_goes_and_what_is_in_a_study_stays(tmp_path: Path) -> None:
    cluster = Cluster(home=tmp_path / "home")
    subprocess.run([sys.executable, "-c", KILLED, str(cluster.cache)], env={**os.environ, "PYTHONPATH": str(REPO)})
    (left,) = cluster.cache.iterdir()
    own = cluster.cache / "a study" / HALF
    (own.parent / "damaged").mkdir(parents=True)
    own.write_text("x")
    assert needless(cluster) == {}
    for path in (left, own):
        os.utime(path, (1, 1))
    assert needless(cluster) == {"left behind": [left.name]}
    clean(cluster, look(cluster))
    assert [path.name for path in cluster.cache.iterdir()] == ["a study"] and own.exists()


def test_a_baseline_goes_with_what_is_known_of_it(kept: Kept) -> None:
    cluster, run = kept
    folder, used = cluster.home / "baselines", run.path.name.rpartition("-")[2]
    folder.mkdir()
    for stem in ("0-00000000", f"0-{used}"):
        for ending in (".parquet", ".json", ".parquet.lock"):
            (folder / f"{stem}{ending}").write_text("abc")
    assert names(cluster, "baseline")["0-00000000.parquet"].bytes == 9
    clean(cluster, look(cluster))
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {f"0-{used}"} and len(list(folder.iterdir())) == 3


def test_maps_are_as_readable_for_others_as_what_they_are_made_from(prepared: Parts) -> None:
    home, parts = prepared
    maps = [path for path in Cluster(home=home).maps.iterdir() if path.is_dir()]
    assert maps and {path.stat().st_mode for path in maps} == {parts["used"].store.root.stat().st_mode}


def test_sessions_of_ray_whose_process_was_killed(kept: Kept) -> None:
    cluster, _ = kept
    code = "import os; from raybrain.cluster import session_folder as f; session = f(); session.__enter__(); os._exit(1)"
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TMPDIR": tempfile.gettempdir()}
    subprocess.run([sys.executable, "-c", code], env=environment)
    (dead,) = Path(tempfile.gettempdir()).glob("rb-*")
    with session_folder() as living:
        assert set(names(cluster, "Ray's files")) == {dead.name, living.name}
        assert needless(cluster)["Ray's files"] == [dead.name]
    assert not living.exists()


def test_a_map_that_is_being_written_stays(kept: Kept) -> None:
    cluster, _ = kept
    one, other = needless(cluster)["map"]
    with filelock.FileLock(cluster.maps / f"{one}.lock"):
        assert needless(cluster)["map"] == [other]


def test_links_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "big.fif").write_bytes(b"x" * 1000)
    cluster = Cluster(home=tmp_path / "home")
    cluster.cache.mkdir(parents=True)
    (cluster.cache / "gwilliams2022").symlink_to(tmp_path / "own")
    (item,) = look(cluster)
    assert item.what == f"link to {tmp_path / 'own'}"
    assert item.bytes < 1000 < size(tmp_path / "own") + 1


def test_the_commands(kept: Kept, raybrain: Callable[..., Ended]) -> None:
    cluster, run = kept
    where = ("--home", str(cluster.home), "--json")
    shown = raybrain("home", *where)
    assert shown.code == 0, shown.err
    assert "raybrain home clean" in shown.out and run.path.name in shown.out
    assert {item["kind"] for item in shown.json["items"]} == {"run", "store", "features", "map", "study"}
    asked = raybrain("home", "clean", *where)
    assert (asked.code, len(asked.json["needless"]), asked.json["removed"]) == (0, 4, [])
    assert "add --yes" in asked.out
    done = raybrain("home", "clean", "--yes", *where)
    assert (done.code, len(done.json["removed"])) == (0, 4)
    assert "is needed" in raybrain("home", "clean", *where).out


def test_every_damaged_file_is_named_and_left_alone(kept: Kept, raybrain: Callable[..., Ended]) -> None:
    cluster, _ = kept
    assert list(verify(cluster, lambda done: None)) == []
    store = next((cluster.home / "stores").glob("*"))
    kinds = ["stores/*/manifest.json", "stores/*/parts/*.json", "features/*/*.parquet"]
    kinds += [f"stores/*/{table}/*/data.parquet" for table in ("brain", "events", "segments")]
    kinds += ["maps/brain-*/signal.npy", "maps/brain-*/meta.json", "maps/mel-*/frames.npy", "runs/*/experiment.json"]
    for kind in kinds:
        path = sorted(cluster.home.glob(kind))[0]
        whole, times = path.read_bytes(), path.stat()
        middle = len(whole) // 2
        for content in (whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
            path.write_bytes(content)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            assert path in [item.path for item in verify(cluster, lambda done: None)], kind
            assert path.read_bytes() == content
        path.write_bytes(whole)
    gone = sorted(store.glob("brain/*/data.parquet"))[0]
    gone.unlink()
    ended = raybrain("home", "verify", "--home", str(cluster.home), "--json")
    assert ended.code == 1 and f"{gone}: is missing; the next command that needs it makes it again" in ended.out
    assert [item["path"] for item in ended.json["damaged"]] == [str(gone)]


def test_what_cannot_be_made_again_is_said_so(tmp_path: Path) -> None:
    for name in ("mlflow.db", "runs/a/last.pt", "runs/a/best.pt", "runs/a/ray/any.json", "stores/.b-1/any.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"neither" * 1000)
    found = {item.path.name: item.cure for item in verify(Cluster(home=tmp_path), lambda done: None)}
    assert sorted(found) == ["best.pt", "last.pt", "mlflow.db"]
    assert found["last.pt"] == f"type rm {tmp_path / 'runs/a/last.pt'}: its training then begins again"
    assert found["mlflow.db"].startswith(f"type mv {tmp_path / 'mlflow.db'} ")
