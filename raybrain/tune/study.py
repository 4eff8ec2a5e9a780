"""Study: the Optuna study of a sweep, with the sampler and the pruner that its space asks for."""

import os
import shlex
import uuid
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from raybrain.config import InputError, first_line
from raybrain.disks import network_disk
from raybrain.integrity import explaining_database
from raybrain.tune.seal import check_seals
from raybrain.tune.space import SearchSpace
from raybrain.tune.sweep_record import StudyName, SweepRecord

STORAGE = "RAYBRAIN_OPTUNA_STORAGE"


def open_study(space: SearchSpace, record: SweepRecord) -> Any:
    """The Optuna study of a sweep, in its folder or in the database at $RAYBRAIN_OPTUNA_STORAGE.

    Homes may share a database. Each has a study of its own there, as it has trainings of its own.

    Raises:
        InputError: if the database cannot be opened, or is damaged.
    """
    import optuna

    from raybrain.tune.mirror import MirroredStorage

    directions = ["minimize" if space.mode == "min" else "maximize", *["minimize"] * len(space.objectives)]
    with sole_writer(), _explaining_damage(record):
        database = _database(os.environ.get(STORAGE) or _file(record.path))
        name = _name(record, database, directions) if STORAGE in os.environ else record.path.name
        optuna.create_study(storage=database, study_name=name, directions=directions, load_if_exists=True)
        pruner = space.scheduler.pruner(space.experiment().train.epochs)
        study = optuna.load_study(study_name=name, storage=MirroredStorage(database, name), pruner=pruner)
        check_seals(study)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study.sampler = space.sampler.sampler(space, len(study.get_trials(deepcopy=False)))
    return study


@contextmanager
def _explaining_damage(record: SweepRecord) -> Iterator[None]:
    """Turn what is raised about a damaged database into one line; other troubles with it stay what they are."""
    file = record.path / "optuna.db"
    mended = "the same command then goes through the trials again, and what is trained is not trained again"
    sqlite: AbstractContextManager[None] = nullcontext()
    if STORAGE in os.environ:
        what = f"the study of {record.path.name} in the database that ${STORAGE} names is damaged"
        cure = f"delete it there: {mended}"
    else:
        what, cure = f"damaged database {file}", f"type mv {shlex.quote(str(file))} {shlex.quote(f'{file}.damaged')}: {mended}"
        sqlite = explaining_database(file, cure)
    try:
        with sqlite:
            yield
    except InputError:
        raise
    except (ValueError, LookupError) as error:  # of a trial: its seal, or a value that is none
        raise InputError(f"{what} ({first_line(error)}); {cure}") from None


def _name(record: SweepRecord, database: Any, directions: list[str]) -> str:
    """The name of a sweep's study among those of other homes. It moves with the home; a copy of the home gets another one."""
    known = record.study()
    if known is None or known.is_elsewhere(record.path):
        known = StudyName(_free_name(record.path.name, database, directions), "")
    record.keep_study(known.name)
    return known.name


def _free_name(name: str, database: Any, directions: list[str]) -> str:
    """A name that no study of a database has: that of the sweep if it can be had, since Hyperband decides by it."""
    import optuna

    try:
        optuna.create_study(storage=database, study_name=name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError:  # another home's
        return f"{name}-{uuid.uuid4().hex[:8]}"
    return name


def keep_drawn(study: Any) -> None:
    """Write a trial that was drawn to the database, before anything is trained for it."""
    study._storage.flush()


@contextmanager
def sole_writer() -> Iterator[None]:
    """Say in one line that somebody else ended a trial of this study meanwhile, or that the database is gone.

    Raises:
        InputError: if so.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except optuna.exceptions.UpdateFinishedTrialError as error:
        raise InputError(
            f"another process works on the same study in the database that ${STORAGE} names ({error}); "
            "is there a copy of this home on another machine? Remove study.json from the folder of one of the two sweeps"
        ) from None
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        reason = first_line(error.__cause__ or error)
        raise InputError(
            f"the database of the sweep does not answer ({reason}); when it does, the same command goes on where it was"
        ) from None


def check_database(home: Path) -> None:
    """Refuse a place of studies that cannot be used, before anything is done for a sweep of a home.

    Raises:
        InputError: if the database at $RAYBRAIN_OPTUNA_STORAGE cannot be opened, or a file would lie on a network disk.
    """
    address = os.environ.get(STORAGE)
    file = _sqlite_file(address) if address else home
    if file and (kind := network_disk(file)):
        raise InputError(
            f"{file} lies on a network disk ({kind}), where SQLite, which a sweep is kept in, is damaged sooner or later; "
            f"keep sweeps in Postgres: type export {STORAGE}=postgresql+psycopg://USER@HOST/DATABASE, "
            "and its password as PGPASSWORD; or choose a home on a disk of this machine with --home DIR"
        )
    if address:
        _database(address)


def _sqlite_file(address: str) -> Path | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except ArgumentError:  # which is told in its place
        return None
    return Path(url.database) if url.drivername.startswith("sqlite") and url.database else None


def _database(address: str) -> Any:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = f"the database that ${STORAGE} names" if STORAGE in os.environ else address  # the variable may hold a password
    try:
        return optuna.storages.RDBStorage(address)
    except ImportError as error:
        cure = "type pip install 'psycopg[binary]' for postgresql+psycopg://..."
        raise InputError(f"{where} needs a driver that is not installed ({error.__cause__ or error}); {cure}") from None
    except SQLAlchemyError as error:
        cure = f"type an address like {STORAGE}=postgresql+psycopg://USER@HOST/DATABASE, and its PGPASSWORD; or leave it out"
        raise InputError(f"cannot open {where} ({first_line(error)}); {cure}") from None


def dashboard(folder: Path) -> str:
    """The command that shows a sweep in Optuna's own dashboard."""
    address = f'"${STORAGE}"' if STORAGE in os.environ else shlex.quote(_file(folder))  # the variable may hold a password
    return f"optuna-dashboard {address}"


def _file(folder: Path) -> str:
    return f"sqlite:///{folder / 'optuna.db'}"
