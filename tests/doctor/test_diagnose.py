"""raybrain doctor: what it sees is so, what it expects comes true, and what is missing is said instead of raised."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
import torch

from raybrain.batch import Shapes
from raybrain.cluster import Cluster
from raybrain.config import override
from raybrain.doctor import diagnose as doctoring
from raybrain.doctor import exposure as exposing
from raybrain.download.base import Host, RemoteFile
from raybrain.estimate.speed import Speed
from raybrain.experiment import recipe
from raybrain.store import Store
from raybrain.studies.base import Facts, Study
from tests.conftest import TINY, Ended
from tests.download.test_download import NOWHERE, Plain
from tests.made_studies import FactsOnly
from tests.website import Answer, serve

Raybrain = Callable[..., Ended]


def rows(ended: Ended) -> dict[str, dict[str, str]]:
    return {finding["what"]: finding for finding in ended.json["findings"]}


def measured(*_: Any) -> Speed:
    """For tests of something else than how long a step takes."""
    return Speed("1 CPU", 0.5, 16, 1e9, 0.0, 1000)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctoring, "measure", measured)


def test_this_machine(raybrain: Raybrain, tmp_path: Path) -> None:
    ended = raybrain("doctor", "--json", "--home", str(tmp_path))
    looked = rows(ended)
    assert ended.code == 0, ended.out
    assert {"python", "torch and torchaudio", "Ray", "CPUs", "memory", "GPUs", "home folder", "tracking"} <= set(looked)
    assert looked["tracking"]["result"].startswith(f"sqlite:///{tmp_path}/mlflow.db, MLflow 3.")
    assert "what to do" in ended.out and str(tmp_path) in looked["home folder"]["result"]
    assert not list(tmp_path.iterdir()), "it only looks"


def test_what_is_wrong_is_bad(raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{NOWHERE}/mlflow")
    home = ("--home", "/proc/nobody/writes/here")
    ended = raybrain("doctor", "--json", "--address", "127.0.0.1:9", "--cluster", f"scratch={tmp_path}/file/x", *home)
    looked = rows(ended)
    assert ended.code == 1
    bad = {what: finding["advice"] for what, finding in looked.items() if finding["state"] == "bad"}
    assert set(bad) == {"Ray", "home folder", "memory maps folder", "tracking"}
    assert (
        "ray start --head" in bad["Ray"] and "--home DIR" in bad["home folder"] and "scratch=DIR" in bad["memory maps folder"]
    )
    assert "does not answer" in looked["tracking"]["result"] and "start it" in bad["tracking"]


def test_a_tracking_server(raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as site:
        site.pages = {"/health": b"OK", "/version": b"3.1.4"}
        monkeypatch.setenv("MLFLOW_TRACKING_URI", site.url)
        assert rows(raybrain("doctor", "--json", "--home", str(tmp_path)))["tracking"]["result"] == f"{site.url}, MLflow 3.1.4"
        site.pages.pop("/version")
        assert "unknown" in rows(raybrain("doctor", "--json", "--home", str(tmp_path)))["tracking"]["result"]


@pytest.mark.parametrize(
    ("pages", "others", "state", "result"),
    [
        ({exposing.FOR_ANYBODY.partition("?")[0]: b"{}"}, True, "warn", "everybody who reaches it"),
        ({exposing.FOR_ANYBODY.partition("?")[0]: b"{}"}, False, "ok", "everybody on this machine"),
        ({exposing.FOR_ANYBODY.partition("?")[0]: Answer(code=401)}, True, "ok", "whoever may log in"),
        ({}, True, "ok", "not known"),
    ],
)
def test_a_tracking_server_that_is_open_to_all_is_flagged(
    pages: dict[str, Any], others: bool, state: str, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposing, "_own_addresses", lambda: ["127.0.0.1"] if others else [])
    with serve() as site:
        site.pages = pages
        monkeypatch.setenv("MLFLOW_TRACKING_URI", site.url.replace("//", "//user:a-password@"))
        (finding,) = exposing.exposure(Cluster(home=tmp_path))
    assert finding.state == state and finding.result.startswith(result)
    assert "password" not in finding.result and ("--host 127.0.0.1" in finding.advice) == (state == "warn")


@pytest.mark.parametrize("address", ["http://me:a-password/x", "http://[::1"])
def test_an_address_of_a_tracking_server_that_is_none_is_a_finding(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    (finding,) = exposing.exposure(Cluster(home=tmp_path))
    assert "no address like http://HOST:PORT" in finding.result and "a-password" not in finding.result


class Head(grpc.GenericRpcHandler):
    """Answers as the head of a Ray cluster: to nobody, to who has a token, to all."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self.code = code

    def service(self, details: Any) -> Any:
        def answer(_: bytes, context: Any) -> bytes:
            context.set_code(self.code)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.parametrize(
    ("code", "state", "result"),
    [
        (grpc.StatusCode.OK, "warn", "everybody who reaches it, and they run what they like"),
        (grpc.StatusCode.UNAUTHENTICATED, "ok", "whoever has its token"),
        (grpc.StatusCode.UNIMPLEMENTED, "ok", "not known"),
    ],
)
def test_a_ray_cluster_without_a_token_is_flagged(code: grpc.StatusCode, state: str, result: str, tmp_path: Path) -> None:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Head(code)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    (finding,) = exposing.exposure(Cluster(home=tmp_path, address=f"127.0.0.1:{port}"))
    server.stop(None)
    assert finding.state == state and finding.result.startswith(result)
    assert ("get-auth-token --generate" in finding.advice) == (state == "warn")


def test_a_full_disk(raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    ended = raybrain("doctor", "quickstart", *TINY, "--json", "--home", str(tmp_path))
    assert ended.code == 1
    for what in ("disk", "home folder", "memory maps folder"):
        assert rows(ended)[what]["state"] == "bad" and "make room" in rows(ended)[what]["advice"]


def test_a_missing_folder_does_not_crash_it(raybrain: Raybrain, tmp_path: Path, quick: None) -> None:
    ended = raybrain("doctor", "quickstart", f"data.studies=bids:{tmp_path}/none", "--json", "--home", str(tmp_path))
    looked = rows(ended)
    assert ended.code == 1
    assert looked["study bids"]["state"] == "bad" and "type bids:PATH" in looked["study bids"]["advice"]
    assert looked["prepared data"]["state"] == "warn" and looked["a training step"]["state"] == "ok"
    assert raybrain("doctor", "quickstart", "encoder.dpeth=2").code == 2


def test_a_batch_that_does_not_divide(raybrain: Raybrain, tmp_path: Path) -> None:
    ended = raybrain("doctor", "quickstart", *TINY, "--workers", "3", "--json", "--home", str(tmp_path))
    assert ended.code == 1 and "does not divide among 3 workers" in rows(ended)["training"]["result"]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> list[Host]:
    """The hosts of a study called shop, of which nothing is here."""
    monkeypatch.setattr(Study, "_kinds", Study.kinds())
    places: list[Host] = [Plain(NOWHERE, title="dead")]

    class Shop(FactsOnly, name="shop"):
        """For these tests."""

        facts: ClassVar[Facts] = Facts("CC0", "en", "MEG", recordings=10, channels=200, hertz=1000.0, hours=20.0)
        hosts: ClassVar[Any] = places

    return places


def test_a_study_to_be_downloaded(raybrain: Raybrain, tmp_path: Path, shop: list[Host], quick: None) -> None:
    asked = ("doctor", "quickstart", "data.studies=shop", "--json", "--home", str(tmp_path))
    looked = rows(raybrain(*asked))
    assert looked["study shop"]["state"] == "warn" and f"{tmp_path}/studies/shop" in looked["study shop"]["advice"]
    with serve() as site:
        site.pages["/list"] = b"ok"
        shop.append(Plain(site.url, RemoteFile("a", f"{site.url}/a", 3_000_000_000), RemoteFile("b", f"{site.url}/b", 1)))
        looked = rows(raybrain(*asked))
    assert looked["study shop"]["result"] == "3.0 GB to download from plain, 2 files"
    assert "raybrain studies fetch shop" in looked["study shop"]["advice"]
    mel, brain = 20 * 3600 * 125 * 40 * 4, 20 * 3600 * 120 * 200 * 4  # bytes: hours, hertz, dimensions, float32
    assert looked["prepared data"]["result"] == f"at most {(mel + brain) / 1e9:.1f} GB"
    assert looked["disk"]["result"].startswith(f"{(2 * mel + 2 * brain + 3e9) / 1e9:.1f} GB in all")
    assert looked["memory to prepare"]["result"].startswith(f"about {3 * 8 * 200 * 1000 * 7200 / 1e9:.1f} GB a recording")
    segments = round(20 * 3600 / 0.5 * 0.7)
    assert looked["training"]["result"].startswith(f"about {segments:,} train segments, {min(segments // 64, 1200):,} steps")
    assert looked["training"]["result"].endswith(f"12 epochs at most: {0.5 * 12 * min(segments // 64, 1200) / 3600:.1f} h")


@pytest.mark.slow
def test_what_it_expects_comes_true(
    raybrain: Raybrain, ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is there, doctor names the sizes that prepare arrives at, and the encoder that train would build."""
    before = rows(raybrain("doctor", "quickstart", *TINY, "--json", "--home", str(tmp_path)))
    assert not any(finding["state"] == "bad" for finding in before.values())
    done = raybrain("prepare", "quickstart", *TINY, "--json", "--home", str(tmp_path))
    assert done.code == 0, done.err
    store = Store(Path(done.json["store"]))
    size, unit = before["prepared data"]["result"].removeprefix("at most ").split()
    expected = float(size) * {"kB": 1e3, "MB": 1e6}[unit]
    folders = [store.root / "brain", *(store.frames(name).folder for name in store.manifest["features"])]
    there = sum(path.stat().st_size for folder in folders for path in folder.rglob("*.parquet"))
    assert there / 1.5 < expected < there * 1.5
    segments = int(before["training"]["result"].split()[1].replace(",", ""))
    assert 0.6 < segments / done.json["counts"]["train"] < 1.7
    experiment = override(recipe("quickstart"), dict(setting.split("=") for setting in TINY))
    shapes = Shapes(channels=16, subjects=("s/1", "s/2"), features=20, times=343, rate_hz=120.0)
    trained = [parameter for parameter in experiment.encoder.build(shapes).parameters() if parameter.requires_grad]
    assert f"; {sum(map(torch.numel, trained)):,} parameters" in before["a training step"]["result"]
    assert "for 16 segments;" in before["a training step"]["result"], "measured as it is, not extrapolated"
    monkeypatch.setattr(doctoring, "measure", measured)
    after = rows(raybrain("doctor", "quickstart", *TINY, "--json", "--home", str(tmp_path)))
    assert f"about {done.json['counts']['train']:,} train segments" in after["training"]["result"]
    assert after["prepared data"]["result"] == f"there: {store.root}"
