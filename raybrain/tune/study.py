"""Study: the Optuna study of a sweep, with the sampler and the pruner that its space asks for."""

import os
import shlex
import warnings
from pathlib import Path
from typing import Any

from raybrain.config import InputError
from raybrain.tune.space import SearchSpace

STORAGE = "RAYBRAIN_OPTUNA_STORAGE"


def open_study(space: SearchSpace, folder: Path) -> Any:
    """The Optuna study of a sweep, in its folder or in the database at $RAYBRAIN_OPTUNA_STORAGE.

    Raises:
        InputError: if the database cannot be opened.
    """
    import optuna

    directions = ["minimize" if space.mode == "min" else "maximize", *["minimize"] * len(space.objectives)]
    study = optuna.create_study(
        storage=_storage(os.environ.get(STORAGE) or _file(folder)),
        study_name=folder.name,
        directions=directions,
        load_if_exists=True,
        pruner=space.scheduler.pruner(space.experiment().train.epochs),
    )
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study.sampler = space.sampler.sampler(space, len(study.get_trials(deepcopy=False)))
    return study


def check_database() -> None:
    """Refuse a database at $RAYBRAIN_OPTUNA_STORAGE that cannot be used, before anything is done for a sweep.

    Raises:
        InputError: if it cannot be opened.
    """
    if address := os.environ.get(STORAGE):
        _storage(address)


def _storage(address: str) -> Any:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = f"the database that ${STORAGE} names" if STORAGE in os.environ else address  # the variable may hold a password
    try:
        return optuna.storages.get_storage(address)
    except ImportError as error:
        cure = "type pip install 'psycopg[binary]' for postgresql+psycopg://..."
        raise InputError(f"{where} needs a driver that is not installed ({error.__cause__ or error}); {cure}") from None
    except SQLAlchemyError as error:
        cure = f"type an address like {STORAGE}=postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, or leave it out"
        raise InputError(f"cannot open {where} ({str(error).splitlines()[0]}); {cure}") from None


def dashboard(folder: Path) -> str:
    """The command that shows a sweep in Optuna's own dashboard."""
    address = f'"${STORAGE}"' if STORAGE in os.environ else shlex.quote(_file(folder))  # the variable may hold a password
    return f"optuna-dashboard {address}"


def _file(folder: Path) -> str:
    return f"sqlite:///{folder / 'optuna.db'}"
