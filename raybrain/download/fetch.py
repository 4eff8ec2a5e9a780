"""Run: what a study needs from its hosts, in its folder. The same command again goes on; when all is there, it ends at once."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from pathlib import Path

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.display import Display
from raybrain.download.http import Unreachable
from raybrain.download.record import NAME, Record, is_there
from raybrain.download.transfer import Stopped, Transfer, Unwritable
from raybrain.download.unpack import amount, fault, unpack

JOBS = 4
SPARE = 0.05  # of what is missing, and at least this much:
SPARE_BYTES = 1 << 28


@dataclass(frozen=True)
class Offer:
    """What a host has, or why it cannot be asked."""

    host: str
    error: str = ""
    files: tuple[RemoteFile, ...] = ()
    missing: tuple[RemoteFile, ...] = ()

    def bytes(self, *, missing: bool = False) -> int:
        """Of all files, or of those that are missing; a file whose size the host does not say counts as none."""
        return sum(file.bytes or 0 for file in (self.missing if missing else self.files))


@dataclass
class Download:
    """A study's files, and where they are to be.

    Attributes:
        study: what people call it.
        folder: of the study. If it is there without a record of ours, it is somebody's own copy and left as it is.
        hosts: where files are from, the best first. The next one is asked when one cannot be reached.
        wanted: whether a path is needed.
        jobs: files at a time.
    """

    study: str
    folder: Path
    hosts: Sequence[Host]
    wanted: Callable[[str], bool] = lambda path: True
    jobs: int = JOBS
    _save: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def own(self) -> bool:
        """Whether the folder is a copy of somebody's own."""
        return self.folder.is_dir() and not (self.folder / NAME).exists() and any(self.folder.iterdir())

    def ready(self) -> bool:
        """Whether all that is wanted is there; no host is asked."""
        record = Record.load(self.folder)
        files = [file for file in record.files if self.wanted(file.path)] if record else []
        return record is not None and bool(files) and all(record.has(self.folder, file) for file in files)

    def fetch(self) -> Path:
        """Have all wanted files in the folder, and return it.

        Raises:
            InputError: if no host can be reached, a file is not what it should be, or the disk is too small.
        """
        if self.own() or self.ready():
            return self.folder
        with self._alone():
            if not (self.own() or self.ready()):  # another process may have been at it
                self._fetch()
        return self.folder

    def survey(self) -> Iterator[Offer]:
        """What each host offers of what is wanted, and how much of that is there. They are asked one by one."""
        record = Record.load(self.folder) or Record("")
        for host in self.hosts:
            try:
                wanted = [file for file in self._listed(host) if self.wanted(file.path)]
            except InputError as error:
                yield Offer(host.name, str(error))
                continue
            missing = [file for file in wanted if not (record.has(self.folder, file) or self._owned(file))]
            yield Offer(host.name, "", tuple(wanted), tuple(missing))

    def _owned(self, file: RemoteFile) -> bool:
        return self.own() and not file.unpack and Record("").has(self.folder, file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time; the lock of one that is killed is free at once."""
        import filelock

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder.parent / f".{self.folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            Display(self.study, 0, 0, 0).say(f"{self.study}: another process is downloading it; waiting for that")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _fetch(self) -> None:
        record = Record.load(self.folder)
        reasons = []
        for host in sorted(self.hosts, key=lambda host: record is not None and host.name != record.host):
            try:
                files = self._listed(host)
                other = record.differs(self.folder, {file.path: file for file in files}) if record else ""
                if other:
                    raise InputError(f"has another {other} than {self.folder}; delete that to begin anew")
            except InputError as error:
                reasons.append(f"{host.name}: {error}")
                continue
            try:
                self._fetch_from(host, files)
                return
            except Unreachable as error:
                reasons.append(f"{host.name}: {error}")
                record = Record.load(self.folder)
        raise InputError(
            f"{self.study} cannot be downloaded ({'; '.join(reasons)}); the same command tries again; "
            f"if you have it, put it, or a link to it, at {self.folder}"
        )

    def _listed(self, host: Host) -> list[RemoteFile]:
        """What a host offers.

        Raises:
            InputError: if a path leads out of the folder, or nothing of it is wanted.
        """
        try:
            files = host.files()
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"its answer is not understood ({type(error).__name__}: {error})") from None
        for file in files:
            wrong = fault(file.path)
            if wrong:
                raise InputError(f"it offers {file.path!r}, which {wrong}")
        if not any(self.wanted(file.path) for file in files):
            raise InputError(f"none of its {len(files)} files is wanted")
        return files

    def _fetch_from(self, host: Host, files: Sequence[RemoteFile]) -> None:
        record = Record.load(self.folder) or Record(host.name)
        record.host = host.name
        record.list(files)
        wanted = [file for file in files if self.wanted(file.path)]
        missing = [file for file in wanted if not record.has(self.folder, file)]
        total = sum(file.bytes or 0 for file in wanted)
        there = total - sum(file.bytes or 0 for file in missing)
        self._refuse_full(missing)
        self._begin(record)
        failed: list[InputError] = []
        with Display(f"{self.study} from {host.name}", there, total, len(missing)) as display:
            for outcome in self._each(host, record, missing, display):
                if isinstance(outcome, InputError):
                    display.say(str(outcome))
                    failed.append(outcome)
        record.complete = not failed
        record.save(self.folder)
        if failed:
            more = f" ({len(failed)} of {len(missing)} files failed)" if len(failed) > 1 else ""
            raise InputError(f"{self.study}: {failed[0]}{more}")

    def _each(
        self, host: Host, record: Record, files: Sequence[RemoteFile], display: Display
    ) -> Iterator[RemoteFile | InputError]:
        """Download files, some at a time; each as it is done, or why it could not be had."""
        stop = threading.Event()
        with host.session() as session:
            transfer = Transfer(self.folder, host, session, stop)

            def one(file: RemoteFile) -> RemoteFile | InputError:
                try:
                    path = self.folder / file.path
                    if not is_there(path, file.bytes):
                        transfer(file, lambda count: display.has(file.path, count, file.bytes))
                    if file.unpack:
                        self._unpack(file, path, record)
                    return file
                except (Unreachable, Unwritable, Stopped):
                    raise
                except InputError as error:
                    return error
                finally:
                    display.end(file.path)

            pool = ThreadPool(max(1, min(self.jobs, len(files))))  # its threads do not keep the process from ending
            try:
                yield from pool.imap_unordered(one, files)
            except InputError:
                stop.set()
                pool.close()
                pool.join()  # nobody may write where another host is asked next
                raise
            finally:
                stop.set()
                pool.terminate()

    def _unpack(self, file: RemoteFile, archive: Path, record: Record) -> None:
        inside = unpack(archive, archive.parent, file.inner)
        at = archive.parent.relative_to(self.folder)
        with self._save:
            record.unpacked[file.path] = {(at / path).as_posix(): count for path, count in inside.items()}
            record.save(self.folder)
        archive.unlink()

    def _begin(self, record: Record) -> None:
        """The folder, with a record in it from its first moment on."""
        if not (self.folder / NAME).exists():
            new = self.folder.with_name(f".{self.folder.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            record.save(new)
            if self.folder.is_symlink() or self.folder.exists():  # empty, or it would be somebody's own
                (new / NAME).replace(self.folder / NAME)
                new.rmdir()
            else:
                new.rename(self.folder)
        record.complete = False
        record.save(self.folder)

    def _refuse_full(self, missing: Sequence[RemoteFile]) -> None:
        needed = sum(self._needed(file) for file in missing)
        needed += max(int(SPARE * needed), SPARE_BYTES) if missing else 0
        free = free_bytes(self.folder)
        if needed > free:
            raise InputError(
                f"{self.study} needs {amount(needed)} more in {self.folder}, and {amount(free)} are free; "
                "make room, or choose another folder with --home DIR"
            )

    def _needed(self, file: RemoteFile) -> int:
        """Bytes on disk until a file is there; an archive is there twice for a while."""
        target = self.folder / file.path
        part = target if target.exists() else target.with_name(f"{target.name}.part")
        have = part.stat().st_size if part.exists() else 0
        return max(0, (file.bytes or 0) - have) + (file.bytes or 0) * file.unpack


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder, or where it would be made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
