"""Downloads, against servers on this machine that serve each host's layout and misbehave."""

import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from raybrain.config import InputError
from raybrain.download import http
from raybrain.download.base import Host, RemoteFile
from raybrain.download.deep_blue import DeepBlue
from raybrain.download.dryad import Dryad
from raybrain.download.fetch import Download
from raybrain.download.nemar import Nemar
from raybrain.download.osf import OSF
from raybrain.download.receipts import NAME
from raybrain.download.s3 import OpenNeuro
from raybrain.download.unpack import unpack
from raybrain.download.webdav import Donders
from raybrain.storage import read_json
from raybrain.studies.base import Facts, Study
from tests.conftest import REPO, Ended, hear_ctrl_c
from tests.made_studies import FactsOnly
from tests.website import Answer, Request, Website, serve

BLOB = random.Random(0).randbytes(3_000_000)
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Website]:
    monkeypatch.setattr(http, "BACKOFF_S", 0.01)
    for name in [name for name in os.environ if name.startswith("RAYBRAIN_") and name != "RAYBRAIN_HOME"]:
        monkeypatch.delenv(name)
    with serve() as website:
        yield website


class Plain(Host):
    """Files of a website, as they are."""

    def __init__(self, site: str, *files: RemoteFile, title: str = "plain") -> None:
        self.site, self.offered, self.title = site, files, title

    @property
    def name(self) -> str:
        return self.title

    def files(self) -> list[RemoteFile]:
        with self.session() as session:
            http.request(session, "GET", f"{self.site}/list")
        return list(self.offered)


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def offer(site: Website, checksum: bool = True, **blobs: bytes) -> Plain:
    """A host that offers some files of ``site``."""
    site.pages |= {"/list": b"ok"} | {f"/{name}.bin": blob for name, blob in blobs.items()}
    files = [
        RemoteFile(f"raw/{name}.bin", f"{site.url}/{name}.bin", len(blob), md5(blob) if checksum else "")
        for name, blob in blobs.items()
    ]
    return Plain(site.url, *files)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.suffix in (".part", ".tag") or "unpack" in path.name)


# one file


@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "tag"])
def test_resumes_where_it_was_cut(site: Website, tmp_path: Path, checksum: bool) -> None:
    cut = random.Random(time.time_ns()).randrange(1, len(BLOB))
    download = Download("s", tmp_path / "s", [offer(site, checksum, a=BLOB)])
    site.cuts["/a.bin"] = [cut]
    assert (download.fetch() / "raw/a.bin").read_bytes() == BLOB, cut
    first, second = site.requests_for("/a.bin")
    assert second.headers["Range"] == f"bytes={cut}-"
    assert first.sent + second.sent == len(BLOB), "nothing is fetched twice"
    assert not leftovers(tmp_path)


def test_resumes_after_many_cuts(site: Website, tmp_path: Path) -> None:
    site.cuts["/a.bin"] = [200_000] * 9  # more than it would try without getting on
    folder = Download("s", tmp_path / "s", [offer(site, a=BLOB)]).fetch()
    assert (folder / "raw/a.bin").read_bytes() == BLOB
    assert site.sent("/a.bin") == len(BLOB)


def test_a_new_version_is_not_sewn_to_an_old_one(site: Website, tmp_path: Path) -> None:
    new = bytes(reversed(BLOB))
    site.cuts["/a.bin"] = [1_000_000]
    host = offer(site, checksum=False, a=BLOB)

    def changing(request: Request) -> bytes:
        return BLOB if len(site.requests_for("/a.bin")) == 1 else new

    site.pages["/a.bin"] = changing
    assert (Download("s", tmp_path / "s", [host]).fetch() / "raw/a.bin").read_bytes() == new


def test_without_ranges_it_begins_anew(site: Website, tmp_path: Path) -> None:
    site.ranges = False
    site.cuts["/a.bin"] = [1_000_000, 1_500_000]
    folder = Download("s", tmp_path / "s", [offer(site, a=BLOB)]).fetch()
    assert (folder / "raw/a.bin").read_bytes() == BLOB
    assert site.sent("/a.bin") == len(BLOB) + 2_500_000


def test_a_wrong_checksum_never_becomes_a_file(site: Website, tmp_path: Path) -> None:
    host = offer(site, a=BLOB, b=b"good")
    site.pages["/a.bin"] = BLOB[:-1] + bytes([BLOB[-1] ^ 1])
    with pytest.raises(InputError, match=r"raw/a.bin has the wrong checksum \(md5 .*deleted, the same command tries again"):
        Download("s", tmp_path / "s", [host]).fetch()
    assert not (tmp_path / "s/raw/a.bin").exists()
    assert (tmp_path / "s/raw/b.bin").read_bytes() == b"good", "the others are there"
    assert not leftovers(tmp_path)
    assert not read_json(tmp_path / "s" / NAME)["complete"]
    site.pages["/a.bin"] = BLOB
    assert (Download("s", tmp_path / "s", [host]).fetch() / "raw/a.bin").read_bytes() == BLOB
    assert len(site.requests_for("/b.bin")) == 1
    assert read_json(tmp_path / "s" / NAME)["complete"]


@pytest.mark.parametrize("lengths", [True, False])
def test_a_wrong_size_never_becomes_a_file(site: Website, tmp_path: Path, lengths: bool) -> None:
    host = offer(site, checksum=False, a=b"x" * 1000)
    site.lengths, site.pages["/a.bin"] = lengths, b"<html>are you a robot?</html>" * 50
    with pytest.raises(InputError, match=r"raw/a.bin.* 1000 bytes and sends|raw/a.bin.*instead of 1000"):
        Download("s", tmp_path / "s", [host]).fetch()
    assert not list((tmp_path / "s").rglob("a.bin*"))


def test_busy_and_broken_servers_are_asked_again(site: Website, tmp_path: Path) -> None:
    host = offer(site, a=BLOB)
    site.busy = {"/list": 2, "/a.bin": 3}
    site.cuts["/a.bin"] = [0, 10]
    assert (Download("s", tmp_path / "s", [host]).fetch() / "raw/a.bin").read_bytes() == BLOB


def test_gives_up_on_a_server_that_never_sends(site: Website, tmp_path: Path) -> None:
    host = offer(site, a=BLOB)
    site.cuts["/a.bin"] = [0] * 100
    with pytest.raises(InputError, match=r"cannot be downloaded \(plain: .*a.bin.*stopped sending") as caught:
        Download("s", tmp_path / "s", [host]).fetch()
    assert str(tmp_path / "s") in str(caught.value), "says where data of one's own would lie"
    assert len(site.requests_for("/a.bin")) <= http.TRIES + 2


def test_a_file_that_is_gone_is_named(site: Website, tmp_path: Path) -> None:
    host = offer(site, a=b"a", b=b"b")
    del site.pages["/a.bin"]
    with pytest.raises(InputError, match=r"s: http://.*/a.bin answers 404"):
        Download("s", tmp_path / "s", [host]).fetch()
    assert (tmp_path / "s/raw/b.bin").exists()


# a study


def test_all_there_is_instant(site: Website, tmp_path: Path) -> None:
    host = offer(site, a=b"a", b=b"b")
    download = Download("s", tmp_path / "s", [host])
    assert not download.ready()
    download.fetch()
    requests = len(site.log)
    assert download.ready() and download.fetch() == tmp_path / "s"
    assert len(site.log) == requests
    (tmp_path / "s/raw/a.bin").unlink()
    download.fetch()
    assert len(site.requests_for("/a.bin")) == 2 and len(site.requests_for("/b.bin")) == 1


def test_bars_on_a_terminal(
    site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    Download("s", tmp_path / "s", [offer(site, a=BLOB, b=b"b")]).fetch()
    assert re.search(r"s from plain .*3\.0/3\.0 MB", capfd.readouterr().err)


def test_only_what_is_wanted(site: Website, tmp_path: Path) -> None:
    host = offer(site, a=b"a", b=b"b")
    Download("s", tmp_path / "s", [host], wanted=lambda path: path.endswith("a.bin")).fetch()
    assert not (tmp_path / "s/raw/b.bin").exists()
    Download("s", tmp_path / "s", [host]).fetch()
    assert len(site.requests_for("/a.bin")) == 1 and (tmp_path / "s/raw/b.bin").exists()
    with pytest.raises(InputError, match="none of its 2 files is wanted"):
        Download("s", tmp_path / "t", [host], wanted=lambda path: False).fetch()


def test_a_copy_of_ones_own_is_left_alone(site: Website, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "other.txt").write_text("mine")
    (tmp_path / "s").symlink_to(mine)
    assert Download("s", tmp_path / "s", [offer(site, a=b"a")]).fetch() == tmp_path / "s"
    assert not site.log and [path.name for path in mine.iterdir()] == ["other.txt"]


def test_mirrors_in_order(site: Website, tmp_path: Path) -> None:
    good = offer(site, a=BLOB)
    dead = Plain(NOWHERE, title="dead")
    assert (Download("s", tmp_path / "s", [dead, good]).fetch() / "raw/a.bin").read_bytes() == BLOB
    with pytest.raises(InputError, match=r"s cannot be downloaded \(dead: http://127.0.0.1:9/list does not answer \(Conn"):
        Download("s", tmp_path / "t", [dead]).fetch()
    assert not (tmp_path / "t").exists(), "it would pass for a copy of one's own"


def test_a_mirror_goes_on_where_another_was(site: Website, tmp_path: Path) -> None:
    first = offer(site, a=BLOB, b=b"b" * 1000)
    site.cuts["/a.bin"] = [1_000_000] + [0] * 100
    with serve() as other:
        mirror = offer(other, a=BLOB, b=b"b" * 1000)
        mirror.title = "mirror"
        folder = Download("s", tmp_path / "s", [first, mirror], jobs=1).fetch()
        assert (folder / "raw/a.bin").read_bytes() == BLOB
        assert other.sent("/a.bin") == len(BLOB) - 1_000_000
        assert read_json(folder / NAME)["host"] == "mirror"
        odd = offer(other, a=BLOB[:100], c=b"")
        odd.title = "odd"
    site.pages.pop("/list")
    (folder / "raw/b.bin").unlink()
    with serve() as third, pytest.raises(InputError, match=r"odd: has another raw/a.bin than"):
        odd.site = third.url
        third.pages["/list"] = b"ok"
        Download("s", tmp_path / "s", [first, odd]).fetch()


def test_paths_do_not_lead_out(site: Website, tmp_path: Path) -> None:
    site.pages["/list"] = b"ok"
    for path in ("../x", "/etc/x", "a/../../x", "..", "C:x", "a\\b", "", NAME):
        host = Plain(site.url, RemoteFile(path, f"{site.url}/list", 2))
        with pytest.raises(InputError, match="plain: it offers"):
            Download("s", tmp_path / "s", [host]).fetch()
    assert not list(tmp_path.rglob("x"))


def test_a_full_disk_is_said_before(site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = offer(site, a=BLOB)
    usage = __import__("shutil").disk_usage(tmp_path)._replace(free=270_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"s needs 271.4 MB more in .* and 270.0 MB are free"):
        Download("s", tmp_path / "s", [host]).fetch()
    assert not site.requests_for("/a.bin") and not (tmp_path / "s").exists()


def test_a_disk_that_becomes_full(site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from raybrain.download.transfer import Transfer

    host, write = offer(site, a=BLOB, b=BLOB), Transfer._write

    def full(self: Any, part: Path, begin: int, response: Any, progress: Any) -> None:
        def count(done: int) -> None:
            if done > 1_000_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        write(self, part, begin, response, count)

    with monkeypatch.context() as patch:
        patch.setattr(Transfer, "_write", full)
        with pytest.raises(InputError, match=r"cannot write .*\.part \(No space left on device\); the same command goes on"):
            Download("s", tmp_path / "s", [host], jobs=1).fetch()
    Download("s", tmp_path / "s", [host]).fetch()
    assert "Range" in site.requests_for("/a.bin")[1].headers
    assert (tmp_path / "s/raw/b.bin").read_bytes() == BLOB


# several processes

FETCH = """
import json, sys
from typing import ClassVar
from raybrain.cli import main
from raybrain.download.base import Host, RemoteFile
from raybrain.studies.base import Facts
from tests.download.test_download import Plain
from tests.made_studies import FactsOnly
url, home, *files = json.loads(sys.argv[1])
class S(FactsOnly, name="s"):
    '''For a test.'''
    facts: ClassVar[Facts] = Facts(licence="CC0", language="en", device="EEG")
    hosts: ClassVar[tuple[Host, ...]] = (Plain(url, *(RemoteFile(**file) for file in files)),)
sys.argv = ["raybrain", "studies", "fetch", "s", "--home", home]
main()
"""


def start(host: Plain, home: Path) -> "subprocess.Popen[str]":
    arguments = json.dumps([host.site, str(home), *(vars(file) for file in host.offered)])
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, arguments],
        cwd=REPO,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        preexec_fn=hear_ctrl_c,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def test_two_processes_download_once(site: Website, tmp_path: Path) -> None:
    host, site.gate = offer(site, a=BLOB, b=BLOB[:1000]), threading.Event()
    both = [start(host, tmp_path) for _ in range(2)]
    waits, messages = threading.Event(), ["", ""]

    def listen(number: int) -> None:
        for line in both[number].stderr or ():
            messages[number] += line
            if "another process is downloading it; waiting for that" in line:
                waits.set()

    listeners = [threading.Thread(target=listen, args=(number,)) for number in range(2)]
    for listener in listeners:
        listener.start()
    assert waits.wait(60), messages
    site.gate.set()
    assert [process.wait(60) for process in both] == [0, 0], messages
    for listener in listeners:
        listener.join()
    assert sum("another process is downloading it; waiting for that" in text for text in messages) == 1
    assert len(site.requests_for("/a.bin")) == len(site.requests_for("/b.bin")) == 1
    assert (tmp_path / "studies/s/raw/a.bin").read_bytes() == BLOB


def test_who_waits_goes_on_when_the_other_is_killed(site: Website, tmp_path: Path) -> None:
    host, site.gate = offer(site, a=BLOB), threading.Event()
    first = start(host, tmp_path)
    part = tmp_path / "studies/s/raw/a.bin.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 500_000)
    second = start(host, tmp_path)
    assert second.stderr and "another process is downloading it" in second.stderr.readline()
    first.kill()
    first.communicate()
    site.gate.set()
    assert second.wait(30) == 0
    assert (tmp_path / "studies/s/raw/a.bin").read_bytes() == BLOB
    second.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle(site: Website, tmp_path: Path, how: signal.Signals) -> None:
    host, site.gate = offer(site, a=BLOB), threading.Event()
    process = start(host, tmp_path)
    part = tmp_path / "studies/s/raw/a.bin.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 500_000)
    process.send_signal(how)
    message = process.communicate(timeout=20)[1]  # though the server sends nothing
    if how == signal.SIGINT:
        assert process.returncode == 130 and message.endswith("stopped; the same command goes on where it was\n"), message
        assert "Traceback" not in message
    present = part.stat().st_size
    site.gate.set()
    time.sleep(0.1)
    Download("s", tmp_path / "studies/s", [host]).fetch()
    assert (tmp_path / "studies/s/raw/a.bin").read_bytes() == BLOB
    assert site.requests_for("/a.bin")[1].headers["Range"] == f"bytes={present}-"
    assert site.requests_for("/a.bin")[1].sent == len(BLOB) - present


# archives


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def link_zip(target: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("data/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, target)
        archive.writestr("data/link/x", "through")
    return out.getvalue()


def tarred(*members: tuple[str, bytes, str]) -> bytes:
    """Members: name, type, target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"data"))
    return out.getvalue()


GOOD = ("data/good", tarfile.REGTYPE, "")
BAD = {
    "dots.zip": zipped(**{"data/good": b"", "data/../../x": b""}),
    "absolute.zip": zipped(**{"/x": b""}),
    "windows.zip": zipped(**{"..\\x": b""}),
    "link.zip": link_zip("/etc"),
    "dots.tar.gz": tarred(GOOD, ("../x", tarfile.REGTYPE, "")),
    "absolute.tar.gz": tarred(GOOD, ("/x", tarfile.REGTYPE, "")),
    "link.tar.gz": tarred(GOOD, ("data/x", tarfile.SYMTYPE, "/etc/passwd")),
    "hard.tar.gz": tarred(GOOD, ("data/x", tarfile.LNKTYPE, "../../x")),
    "device.tar.gz": tarred(GOOD, ("data/x", tarfile.CHRTYPE, "")),
    "record.zip": zipped(**{NAME: b"{}"}),
}


@pytest.mark.parametrize("name", BAD)
def test_archives_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    archive.write_bytes(BAD[name])
    member = NAME if name.startswith("record") else r"data/link|.*x"
    with pytest.raises(InputError, match=rf"^{name} is not unpacked: its member '({member})' (leads|is|has) .*") as caught:
        unpack(archive, tmp_path / "to")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "to").iterdir()) and sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "to"])


DAMAGED = [b"no archive", zipped(a=BLOB[:5000])[:-2000], tarred(GOOD)[:-20], zipped(a=b"x")[:-5] + b"12345"]


@pytest.mark.parametrize("broken", DAMAGED, ids=["text", "zip cut off", "tar cut off", "zip without its end"])
def test_damaged_archives(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(broken)
    with pytest.raises(InputError, match=r"^a.zip "):
        unpack(tmp_path / "a.zip", tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())


def test_archives_do_not_strew(tmp_path: Path) -> None:
    (tmp_path / "proc.zip").write_bytes(zipped(**{"proc/S01.mat": b"1", "__MACOSX/proc/._S01.mat": b""}))
    (tmp_path / "flat.tar.gz").write_bytes(tarred(("a", tarfile.REGTYPE, ""), ("b/c", tarfile.REGTYPE, "")))
    assert unpack(tmp_path / "proc.zip", tmp_path) == {"proc/S01.mat": 1}
    assert unpack(tmp_path / "flat.tar.gz", tmp_path) == {"flat/a": 4, "flat/b/c": 4}
    assert (tmp_path / "flat/b/c").read_bytes() == b"data"


def test_archives_are_unpacked_once(site: Website, tmp_path: Path) -> None:
    packed = zipped(**{"proc/S01.mat": b"one", "proc/S02.mat": b"two"})
    site.pages |= {"/list": b"ok", "/p.zip": packed}
    host = Plain(site.url, RemoteFile("deep/proc.zip", f"{site.url}/p.zip", len(packed), md5(packed), unpack=True))
    download = Download("s", tmp_path / "s", [host])
    folder = download.fetch()
    assert (folder / "deep/proc/S02.mat").read_bytes() == b"two"
    assert not (folder / "deep/proc.zip").exists() and not leftovers(tmp_path)
    download.fetch()
    assert len(site.requests_for("/p.zip")) == 1
    (folder / "deep/proc/S01.mat").unlink()
    download.fetch()
    assert (folder / "deep/proc/S01.mat").read_bytes() == b"one"


def test_a_malicious_archive_is_not_downloaded_into_a_study(site: Website, tmp_path: Path) -> None:
    site.pages |= {"/list": b"ok", "/p.zip": BAD["dots.zip"]}
    host = Plain(site.url, RemoteFile("p.zip", f"{site.url}/p.zip", len(BAD["dots.zip"]), unpack=True))
    for _ in range(2):
        with pytest.raises(InputError, match=r"^s: p.zip is not unpacked: its member 'data/../../x' leads out of the folder$"):
            Download("s", tmp_path / "s", [host]).fetch()
    assert len(site.requests_for("/p.zip")) == 1
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [NAME, "p.zip"]


# the hosts


def reply(value: Any) -> Answer:
    return Answer(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})


def osf(site: Website, project: str, files: dict[str, bytes], page: int = 2) -> None:
    """The pages of a project of OSF: folders on several pages, listed one by one."""
    root = f"/v2/nodes/{project}/files/osfstorage/"
    folders: dict[str, list[dict[str, Any]]] = {root: []}
    for number, (path, data) in enumerate(files.items()):
        at = root
        for depth, name in enumerate(parents := path.split("/")[:-1]):
            inside = f"{root}{'-'.join(parents[: depth + 1])}/"
            if inside not in folders:
                folders[inside] = []
                related = {"files": {"links": {"related": {"href": f"{site.url}{inside}"}}}}
                folders[at].append({"attributes": {"kind": "folder", "name": name}, "relationships": related, "links": {}})
            at = inside
        hashes = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
        site.pages[f"/download/{project}{number}"] = data
        attributes = {
            "kind": "file",
            "name": path,
            "size": len(data),
            "materialized_path": f"/{path}",
            "extra": {"hashes": hashes},
        }
        folders[at].append({"attributes": attributes, "links": {"download": f"{site.url}/download/{project}{number}"}})
    for path, items in folders.items():

        def listing(request: Request, path: str = path, items: list[dict[str, Any]] = items) -> Answer:
            at = int(request.query.rpartition("page=")[2] or 1) if "&page=" in request.query else 1
            more = f"{site.url}{path}?size&page={at + 1}" if at * page < len(items) else None
            return reply({"data": items[(at - 1) * page : at * page], "links": {"next": more}})

        site.pages[path] = listing


def test_osf(site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"README.md": b"first", "sub-01/meg/a.con": BLOB[:3000], "sub-01/meg/b.mrk": b"b", "sub-01/meg/c.tsv": b"c"}
    osf(site, "aaaaa", first)
    osf(site, "bbbbb", {"README.md": b"second", "sub-02/meg/ü b.con": b"d"})
    host = OSF("aaaaa", "bbbbb", base=f"{site.url}/v2")
    files = {file.path: file for file in host.files()}
    assert sorted(files) == sorted({*first, "sub-02/meg/ü b.con"})
    assert files["sub-01/meg/a.con"].checksum == f"sha256:{hashlib.sha256(BLOB[:3000]).hexdigest()}"
    folder = Download("s", tmp_path / "s", [host]).fetch()
    assert (folder / "README.md").read_bytes() == b"first" and (folder / "sub-02/meg/ü b.con").read_bytes() == b"d"
    assert not any("Authorization" in request.headers for request in site.log)
    monkeypatch.setenv("RAYBRAIN_OSF_TOKEN", "geheim")
    host.files()
    assert site.log[-1].headers["Authorization"] == "Bearer geheim"


def dryad(site: Website, files: dict[str, bytes]) -> None:
    items = []
    for number, (name, data) in enumerate(files.items()):
        site.pages[f"/api/v2/files/{number}/download"] = data
        items.append(
            {
                "path": name,
                "size": len(data),
                "digest": hashlib.sha256(data).hexdigest(),
                "digestType": "sha-256",
                "_links": {"stash:download": {"href": f"/api/v2/files/{number}/download"}},
            }
        )
    site.pages["/api/v2/datasets/doi:10.5061/dryad.x"] = reply({"_links": {"stash:version": {"href": "/api/v2/versions/7"}}})

    def listing(request: Request) -> Answer:
        at = int(request.query.rpartition("page=")[2]) if "&page=" in request.query else 1
        links = {"next": {"href": f"/api/v2/versions/7/files?x&page={at + 1}"}} if at < len(items) else {}
        return reply({"_links": links, "_embedded": {"stash:files": items[at - 1 : at]}})

    site.pages["/api/v2/versions/7/files"] = listing


@pytest.mark.parametrize("nested", [True, False])
def test_dryad(site: Website, tmp_path: Path, nested: bool) -> None:
    speech, other = zipped(**{"Natural Speech/EEG/S1.mat": b"eeg"}), zipped(**{"N400/x.mat": b"no"})
    parts = {"Natural Speech.zip": speech, "N400.zip": other}
    dryad(site, {"README.md": b"read", "all.zip": zipped(**parts)} if nested else {"README.md": b"read"} | parts)
    host = Dryad("10.5061/dryad.x", inner="Natural Speech*.zip", base=f"{site.url}/api/v2")
    folder = Download("s", tmp_path / "s", [host]).fetch()
    assert (folder / "Natural Speech/EEG/S1.mat").read_bytes() == b"eeg"
    assert not list(folder.rglob("x.mat")) and not list(folder.rglob("*.zip"))
    if nested:
        with pytest.raises(InputError, match=r"all.zip holds no 'Cocktail\.zip', but N400.zip, Natural"):
            Download("s", tmp_path / "t", [Dryad("10.5061/dryad.x", "Cocktail.zip", f"{site.url}/api/v2")]).fetch()


def test_dryad_says_how_to_get_in(site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dryad(site, {"a.bin": b"a"})
    site.pages["/oauth/token"] = reply({"access_token": "abc"})

    def guarded(request: Request) -> Answer:
        return Answer(b"a") if request.headers.get("Authorization") == "Bearer abc" else Answer(b"", 401)

    site.pages["/api/v2/files/0/download"] = guarded
    host = Dryad("doi:10.5061/dryad.x", base=f"{site.url}/api/v2")
    with pytest.raises(InputError, match=r"refuses access.*set RAYBRAIN_DRYAD_ID and RAYBRAIN_DRYAD_SECRET"):
        Download("s", tmp_path / "s", [host]).fetch()
    monkeypatch.setenv("RAYBRAIN_DRYAD_ID", "me")
    monkeypatch.setenv("RAYBRAIN_DRYAD_SECRET", "s3cret")
    assert (Download("s", tmp_path / "s", [host]).fetch() / "a.bin").read_bytes() == b"a"
    assert "client_secret=s3cret" in site.requests_for("/oauth/token", "POST")[0].form


def test_deep_blue(site: Website, tmp_path: Path) -> None:
    packed = zipped(**{"proc/S01.mat": b"proc"})
    for key, name, data in (("aaa", "S01.mat", b"raw"), ("bbb", "proc.zip", packed), ("ccc", "../A b.csv", b"csv")):
        site.pages[f"/data/downloads/{key}"] = Answer(data, 200, {"Content-Disposition": f'attachment; filename="{name}"'})
    host = DeepBlue("bg257f92t", ("aaa", "bbb", "ccc"), base=f"{site.url}/data/downloads")
    assert [(file.path, file.bytes) for file in host.files()] == [("A b.csv", 3), ("S01.mat", 3), ("proc.zip", len(packed))]
    folder = Download("s", tmp_path / "s", [host]).fetch()
    assert (folder / "S01.mat").read_bytes() == b"raw" and (folder / "proc/S01.mat").read_bytes() == b"proc"


def bucket(site: Website, objects: dict[str, bytes], page: int = 2) -> None:
    """A bucket of S3; an object with 'parts' in its name was uploaded in parts."""
    site.pages |= {f"/b/{key}": data for key, data in objects.items()}

    def listing(request: Request) -> Answer:
        query = dict(pair.partition("=")[::2] for pair in request.query.split("&"))
        assert query["list-type"] == "2"
        keys = sorted(key for key in objects if key.startswith(query["prefix"]))
        begin = int(query.get("continuation-token", "0"))
        more = begin + page < len(keys)
        rows = "".join(
            f"<Contents><Key>{key}</Key><ETag>&quot;{hashlib.md5(objects[key]).hexdigest()}"
            f"{'-2' * ('parts' in key)}&quot;</ETag><Size>{len(objects[key])}</Size></Contents>"
            for key in keys[begin : begin + page]
        )
        next_ = f"<NextContinuationToken>{begin + page}</NextContinuationToken>" if more else ""
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        return Answer(
            f"<ListBucketResult {space}><IsTruncated>{str(more).lower()}</IsTruncated>{next_}{rows}</ListBucketResult>".encode()
        )

    site.pages["/b/"] = listing


def test_openneuro(site: Website, tmp_path: Path) -> None:
    objects = {f"ds1/sub-{number:02d}/eeg/a b+c.eeg": BLOB[:number] for number in range(5)}
    bucket(site, objects | {"ds1/stimuli/parts.wav": b"w", "ds1/stimuli/": b"", "ds10/x": b"x"})
    host = OpenNeuro("ds1", base=f"{site.url}/b")
    files = {file.path: file for file in host.files()}
    assert sorted(files) == ["stimuli/parts.wav", *(f"sub-{number:02d}/eeg/a b+c.eeg" for number in range(5))]
    assert files["stimuli/parts.wav"].checksum == "" and files["sub-04/eeg/a b+c.eeg"].checksum == md5(BLOB[:4])
    folder = Download("s", tmp_path / "s", [host]).fetch()
    assert (folder / "sub-04/eeg/a b+c.eeg").read_bytes() == BLOB[:4] and (folder / "sub-00/eeg/a b+c.eeg").exists()


def test_nemar(site: Website, tmp_path: Path) -> None:
    with serve() as storage:
        storage.pages["/objects/key"] = BLOB
        entry = {"path": "sub-01/meg/a b.con", "size": len(BLOB), "checksum_algorithm": "sha256", "url": "https://expires"}
        small = {"path": "README", "size": 4, "checksum_algorithm": "git", "checksum": "0" * 40, "url": None}
        site.pages |= {
            "/nm1/": reply({"dataset_id": "nm1", "latest": "v1.0.2"}),
            "/nm1/v1.0.2/manifest.json": reply([entry | {"checksum": hashlib.sha256(BLOB).hexdigest()}, small]),
            "/nm1/v1.0.2/README": b"read",
            "/nm1/v1.0.2/sub-01/meg/a b.con": Answer(
                b"", 302, {"Location": f"{storage.url}/objects/key?X-Amz-Signature=s3cret"}
            ),
        }
        storage.cuts["/objects/key"] = [1_000_000]
        folder = Download("s", tmp_path / "s", [Nemar("nm1", base=site.url)]).fetch()
        assert (folder / "sub-01/meg/a b.con").read_bytes() == BLOB and (folder / "README").read_bytes() == b"read"
        assert storage.sent("/objects/key") == len(BLOB), "a rest can be asked for across a redirect"


def webdav(site: Website, files: dict[str, bytes], root: str = "/di/col_v1/") -> None:
    folders = {root} | {f"{root}{path[: at + 1]}" for path in files for at, letter in enumerate(path) if letter == "/"}
    site.pages |= {f"{root}{path}": data for path, data in files.items()}

    def listing(request: Request) -> Answer:
        assert request.method == "PROPFIND" and request.headers["Depth"] == "1"
        below = (*folders, *(f"{root}{file}" for file in files))
        here = [request.path, *(path for path in below if f"{path.rstrip('/').rpartition('/')[0]}/" == request.path)]
        rows = "".join(
            f"<D:response><D:href>{path.replace(' ', '%20')}</D:href><D:propstat><D:prop>"
            + ("<D:resourcetype><D:collection/></D:resourcetype>" if path in folders else "<D:resourcetype/>")
            + (f"<D:getcontentlength>{len(files[path.removeprefix(root)])}</D:getcontentlength>" if path not in folders else "")
            + "</D:prop></D:propstat></D:response>"
            for path in dict.fromkeys(here)
        )
        evil = "<D:response><D:href>http://127.0.0.1:9/elsewhere/</D:href></D:response>"
        return Answer(f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{rows}{evil}</D:multistatus>'.encode(), 207)

    site.pages |= dict.fromkeys(folders, listing)


def test_donders(site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    files = {"sub-A2002/meg/a b.ds/x.meg4": BLOB, "stimuli/stimuli.txt": b"1 Het"}
    webdav(site, files)
    site.password = "Basic bWU6czNjcmV0"  # me:s3cret
    host = Donders("di/col_v1", base=site.url)
    with pytest.raises(InputError, match="requires a login; set RAYBRAIN_DONDERS_USER and RAYBRAIN_DONDERS_PASSWORD to"):
        Download("s", tmp_path / "s", [host]).fetch()
    assert not site.log
    monkeypatch.setenv("RAYBRAIN_DONDERS_USER", "me")
    monkeypatch.setenv("RAYBRAIN_DONDERS_PASSWORD", "wr0ng")
    with pytest.raises(InputError, match=r"refuses access \(401\); set RAYBRAIN_DONDERS") as caught:
        Download("s", tmp_path / "s", [host]).fetch()
    assert "wr0ng" not in str(caught.value)
    monkeypatch.setenv("RAYBRAIN_DONDERS_PASSWORD", "s3cret")
    folder = Download("s", tmp_path / "s", [host]).fetch()
    assert all((folder / path).read_bytes() == data for path, data in files.items())
    kept = "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".json"
    )
    assert "s3cret" not in kept + "".join(capfd.readouterr())


def test_a_terminal_is_asked_for_credentials(site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webdav(site, {"a.bin": b"a"})
    site.password = "Basic bWU6czNjcmV0"
    prompts: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: prompts.append(prompt) or "me")
    monkeypatch.setattr("getpass.getpass", lambda prompt: prompts.append(prompt) or "s3cret")
    assert (Download("s", tmp_path / "s", [Donders("di/col_v1", base=site.url)]).fetch() / "a.bin").exists()
    assert prompts == ["user: ", "password: "]


def test_credentials_stay_with_their_host(site: Website, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webdav(site, {"a.bin": b"a", "b.bin": b"b"})
    monkeypatch.setenv("RAYBRAIN_DONDERS_USER", "me")
    monkeypatch.setenv("RAYBRAIN_DONDERS_PASSWORD", "s3cret")
    with serve() as other:
        other.pages["/a.bin"] = b"a"
        site.pages["/di/col_v1/a.bin"] = Answer(b"", 302, {"Location": f"{other.url}/a.bin"})
        site.pages["/di/col_v1/b.bin"] = Answer(b"", 302, {"Location": f"{NOWHERE}/b.bin?token=s3cret"})
        with pytest.raises(InputError, match="does not answer") as caught:
            Download("s", tmp_path / "s", [Donders("di/col_v1", base=site.url)]).fetch()
        assert other.requests_for("/a.bin") and "Authorization" not in other.requests_for("/a.bin")[0].headers
        assert "s3cret" not in str(caught.value) and "bWU6" not in str(caught.value)
    with pytest.raises(InputError, match="unencrypted; use an https address"):
        Donders("col", base="http://example.org").files()


# the commands


@pytest.fixture
def shop(site: Website, monkeypatch: pytest.MonkeyPatch) -> Plain:
    """A study with hosts, called shop."""
    monkeypatch.setattr(Study, "_kinds", Study.kinds())
    host = offer(site, a=BLOB, b=b"b" * 1000)

    class Shop(FactsOnly, name="shop", shorthand="part"):
        """For these tests."""

        facts: ClassVar[Facts] = Facts(licence="CC0", language="en", device="EEG")
        hosts: ClassVar[tuple[Host, ...]] = (Plain(NOWHERE, title="dead"), host)
        part: str = ""

        def wanted(self, path: str) -> bool:
            return path.startswith(f"raw/{self.part}")

    return host


def test_fetch(shop: Plain, site: Website, raybrain: Callable[..., Ended], tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    listing = raybrain("studies", "fetch", "shop", "--dry-run", "--json", *home)
    assert listing.code == 0, listing.err
    assert "dead: http://127.0.0.1:9/list does not answer" in listing.out
    assert "plain: 2 files, 3.0 MB; 2 missing, 3.0 MB" in listing.out and "raw/b.bin" in listing.out and " free" in listing.out
    assert not (tmp_path / "studies").exists()
    only = raybrain("studies", "fetch", "shop", "--only", "*/b.*", *home)
    assert only.code == 0 and not site.requests_for("/a.bin")
    assert "plain: 2 files, 3.0 MB; 1 missing, 3.0 MB" in raybrain("studies", "fetch", "shop", "--dry-run", *home).out
    done = raybrain("studies", "fetch", "shop:a", "--jobs", "1", "--json", *home)
    assert done.json == {"study": "shop", "folder": str(tmp_path / "studies/shop"), "own": False}
    assert "shop from plain: 3.0 MB of 3.0 MB, 1 of 1 files done" in done.err
    assert Study.parse("shop").fetch(tmp_path / "studies") == tmp_path / "studies/shop"
    assert len(site.requests_for("/a.bin")) == len(site.requests_for("/b.bin")) == 1
    assert raybrain("studies", "fetch", "shpo", *home).code == 2


def test_fetch_says_what_is_wrong(shop: Plain, site: Website, raybrain: Callable[..., Ended], tmp_path: Path) -> None:
    site.pages.clear()
    ended = raybrain("studies", "fetch", "shop", "--home", str(tmp_path))
    assert ended.code == 2 and len(ended.err.strip().splitlines()) == 1
    assert f"if you have a copy, put it, or a link to it, at {tmp_path}/studies/shop" in ended.err
    (tmp_path / "dataset_description.json").touch()
    assert f"is in {tmp_path}" in raybrain("studies", "fetch", f"bids:{tmp_path}", "--home", str(tmp_path)).out
