"""Fetch: download what a study needs into its folder. Running it again resumes; if everything is there, it ends at once."""

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
from raybrain.download.receipts import NAME, Receipt, has_size
from raybrain.download.transfer import Stopped, Transfer, Unwritable
from raybrain.download.unpack import amount, path_problem, unpack

JOBS = 4
SPARE = 0.05  # disk space to leave free, as a share of the missing bytes
SPARE_BYTES = 1 << 28  # and at least this much


@dataclass(frozen=True)
class Offer:
    """What a host offers of the files a study needs, or the error it answered with."""

    host: str
    error: str = ""
    files: tuple[RemoteFile, ...] = ()
    missing: tuple[RemoteFile, ...] = ()

    def bytes(self, *, missing: bool = False) -> int:
        """The size of all files, or of the missing ones; a file of unknown size counts as 0."""
        return sum(file.bytes or 0 for file in (self.missing if missing else self.files))


@dataclass
class Download:
    """The files of a study, where they come from and where they go.

    Attributes:
        study: its name, as shown to users.
        folder: the study's folder. A folder with content but without our receipt is the user's own copy and is left alone.
        hosts: where to download from, the best first. If a host cannot be reached, the next one is tried.
        wanted: whether the file at a path is needed.
        jobs: files to download at the same time.
    """

    study: str
    folder: Path
    hosts: Sequence[Host]
    wanted: Callable[[str], bool] = lambda path: True
    jobs: int = JOBS
    _save: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def own(self) -> bool:
        """Whether the folder is the user's own copy, which we did not download."""
        return self.folder.is_dir() and not (self.folder / NAME).exists() and any(self.folder.iterdir())

    def ready(self) -> bool:
        """Whether all wanted files are there; contacts no host."""
        receipt = Receipt.load(self.folder)
        files = [file for file in receipt.files if self.wanted(file.path)] if receipt else []
        return receipt is not None and bool(files) and all(receipt.has(self.folder, file) for file in files)

    def fetch(self) -> Path:
        """Download all wanted files that are missing, and return the folder.

        Raises:
            InputError: if no host can be reached, a file has the wrong size or checksum, or the disk is too small.
        """
        if self.own() or self.ready():
            return self.folder
        with self._locked():
            if not (self.own() or self.ready()):  # another process may have downloaded it meanwhile
                self._fetch()
        return self.folder

    def survey(self) -> Iterator[Offer]:
        """What each host offers of the wanted files, and what of that is missing here. Hosts are contacted one by one."""
        receipt = Receipt.load(self.folder) or Receipt("")
        for host in self.hosts:
            try:
                wanted = [file for file in self._list(host) if self.wanted(file.path)]
            except InputError as error:
                yield Offer(host.name, str(error))
                continue
            missing = [file for file in wanted if not (receipt.has(self.folder, file) or self._is_in_own_copy(file))]
            yield Offer(host.name, "", tuple(wanted), tuple(missing))

    def _is_in_own_copy(self, file: RemoteFile) -> bool:
        return self.own() and not file.unpack and Receipt("").has(self.folder, file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time download this study; the lock of a killed process is released at once."""
        import filelock

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder.parent / f".{self.folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            Display(self.study, 0, 0, 0).print_line(f"{self.study}: another process is downloading it; waiting for that")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _fetch(self) -> None:
        receipt = Receipt.load(self.folder)
        reasons = []
        for host in sorted(self.hosts, key=lambda host: receipt is not None and host.name != receipt.host):
            try:
                files = self._list(host)
                conflict = receipt.differs(self.folder, {file.path: file for file in files}) if receipt else ""
                if conflict:
                    raise InputError(f"has another {conflict} than {self.folder}; delete that folder to start over")
            except InputError as error:
                reasons.append(f"{host.name}: {error}")
                continue
            try:
                self._fetch_from(host, files)
                return
            except Unreachable as error:
                reasons.append(f"{host.name}: {error}")
                receipt = Receipt.load(self.folder)
        raise InputError(
            f"{self.study} cannot be downloaded ({'; '.join(reasons)}); the same command tries again; "
            f"if you have a copy, put it, or a link to it, at {self.folder}"
        )

    def _list(self, host: Host) -> list[RemoteFile]:
        """The files that a host offers.

        Raises:
            InputError: if a path would leave the folder, or none of the files is wanted.
        """
        try:
            files = host.files()
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"its answer cannot be read ({type(error).__name__}: {error})") from None
        for file in files:
            problem = path_problem(file.path)
            if problem:
                raise InputError(f"it offers {file.path!r}, which {problem}")
        if not any(self.wanted(file.path) for file in files):
            raise InputError(f"none of its {len(files)} files is wanted")
        return files

    def _fetch_from(self, host: Host, files: Sequence[RemoteFile]) -> None:
        receipt = Receipt.load(self.folder) or Receipt(host.name)
        receipt.host = host.name
        receipt.list(files)
        wanted = [file for file in files if self.wanted(file.path)]
        missing = [file for file in wanted if not receipt.has(self.folder, file)]
        total = sum(file.bytes or 0 for file in wanted)
        present = total - sum(file.bytes or 0 for file in missing)
        self._check_space(missing)
        self._start(receipt)
        failed: list[InputError] = []
        with Display(f"{self.study} from {host.name}", present, total, len(missing)) as display:
            for outcome in self._download_each(host, receipt, missing, display):
                if isinstance(outcome, InputError):
                    display.print_line(str(outcome))
                    failed.append(outcome)
        receipt.complete = not failed
        receipt.save(self.folder)
        if failed:
            more = f" ({len(failed)} of {len(missing)} files failed)" if len(failed) > 1 else ""
            raise InputError(f"{self.study}: {failed[0]}{more}")

    def _download_each(
        self, host: Host, receipt: Receipt, files: Sequence[RemoteFile], display: Display
    ) -> Iterator[RemoteFile | InputError]:
        """Download files, several at a time; yields each as it finishes, or the error it failed with."""
        stop = threading.Event()
        with host.session() as session:
            transfer = Transfer(self.folder, host, session, stop)

            def download(file: RemoteFile) -> RemoteFile | InputError:
                try:
                    path = self.folder / file.path
                    if not has_size(path, file.bytes):
                        transfer(file, lambda count: display.update(file.path, count, file.bytes))
                    if file.unpack:
                        self._unpack(file, path, receipt)
                    return file
                except (Unreachable, Unwritable, Stopped):
                    raise
                except InputError as error:
                    return error
                finally:
                    display.end(file.path)

            pool = ThreadPool(max(1, min(self.jobs, len(files))))  # its threads do not keep the process from ending
            try:
                yield from pool.imap_unordered(download, files)
            except InputError:
                stop.set()
                pool.close()
                pool.join()  # nothing may be written any more when the next host is tried
                raise
            finally:
                stop.set()
                pool.terminate()

    def _unpack(self, file: RemoteFile, archive: Path, receipt: Receipt) -> None:
        inside = unpack(archive, archive.parent, file.inner)
        parent = archive.parent.relative_to(self.folder)
        with self._save:
            receipt.unpacked[file.path] = {(parent / path).as_posix(): count for path, count in inside.items()}
            receipt.save(self.folder)
        archive.unlink()

    def _start(self, receipt: Receipt) -> None:
        """Create the folder so that it holds our receipt from the first moment on."""
        if not (self.folder / NAME).exists():
            new = self.folder.with_name(f".{self.folder.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            receipt.save(new)
            if self.folder.is_symlink() or self.folder.exists():  # it is empty, else it would be the user's own copy
                (new / NAME).replace(self.folder / NAME)
                new.rmdir()
            else:
                new.rename(self.folder)
        receipt.complete = False
        receipt.save(self.folder)

    def _check_space(self, missing: Sequence[RemoteFile]) -> None:
        needed = sum(self._needed(file) for file in missing)
        needed += max(int(SPARE * needed), SPARE_BYTES) if missing else 0
        free = free_bytes(self.folder)
        if needed > free:
            raise InputError(
                f"{self.study} needs {amount(needed)} more in {self.folder}, and {amount(free)} are free; "
                "make room, or choose another folder with --home DIR"
            )

    def _needed(self, file: RemoteFile) -> int:
        """Bytes of disk space still needed for a file; an archive exists twice while it is unpacked."""
        target = self.folder / file.path
        part = target if target.exists() else target.with_name(f"{target.name}.part")
        present = part.stat().st_size if part.exists() else 0
        return max(0, (file.bytes or 0) - present) + (file.bytes or 0) * file.unpack


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free
