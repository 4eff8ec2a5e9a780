"""The database of a sweep."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

from raybrain.config import InputError
from raybrain.tune.study import STORAGE, check_database
from raybrain.tune.sweep import in_one_line
from raybrain.tune.sweep_record import SweepRecord
from tests.conftest import Ended
from tests.postgres import Postgres
from tests.sweeps import LR, Bench, space

Raybrain = Callable[..., Ended]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql+psycopg://someone:secret@127.0.0.1:9/optuna",
            r"(Connection refused|needs a driver .*pip install 'psycopg\[binary\]')",
        ),
        ("nonsense", r"cannot open the database that \$RAYBRAIN_OPTUNA_STORAGE names \(Could not parse"),
        ("sqlite:////nowhere/at/all.db", r"unable to open database file.*; type an address like"),
        ("mysql+mysqldb://someone@127.0.0.1/optuna", r"needs a driver that is not installed \(No module named 'MySQLdb'\)"),
    ],
)
def test_a_database_that_cannot_be_opened(
    address: str, said: str, raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE, address)
    ended = raybrain("tune", "quickstart", "--home", str(tmp_path))
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if line.startswith("raybrain: ")]
    assert len(lines) == 1 and re.search(said, lines[0])
    assert "secret" not in ended.err and not (tmp_path / "stores").exists()


@pytest.mark.parametrize("named", [False, True], ids=["in the home", "where the variable says"])
def test_a_file_on_a_network_disk_is_refused_with_the_line_to_type(
    named: bool, raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = [
        SimpleNamespace(mountpoint=place, fstype=kind) for place, kind in (("/", "ext4"), (str(tmp_path / "nfs"), "nfs4"))
    ]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: mounts)
    home, file = (tmp_path, tmp_path / "nfs" / "all.db") if named else (tmp_path / "nfs" / "me", tmp_path / "nfs" / "me")
    monkeypatch.setenv(STORAGE, f"sqlite:///{file}" if named else "")
    ended = raybrain("tune", "quickstart", "--home", str(home))
    assert ended.code == 2
    assert f"raybrain: {file} lies on a network disk (nfs4)" in ended.err and f"type export {STORAGE}=postgresql" in ended.err
    assert not (home / "stores").exists()
    monkeypatch.delenv(STORAGE)
    check_database(tmp_path / "local")


def test_homes_that_share_a_database_have_a_study_each(bench: Any, tmp_path: Path) -> None:
    """The same sweep of two homes, turn by turn, as when both run at once: neither ends a trial of the other."""

    def score(experiment: Any) -> float:
        return float(experiment.encoder.depth)

    name = f"{tmp_path.name}-s"  # of no other test's sweep in the database that all share
    here, there = (Bench(tmp_path / home / "sweeps" / name, space()) for home in ("a", "b"))
    assert here.ledger.study.study_name == name, "as without a shared database"
    first, second = here.ledger.next(), there.ledger.next()
    assert first and second and first.job.experiment == second.job.experiment
    for sweep, member in ((here, first), (there, second)):
        sweep.train(member, [0.5])
        assert sweep.ledger.ended(member) == "finished"
    assert len(here.run(score)) == len(there.run(score)) >= 1
    assert here.states == there.states == ["COMPLETE"] * len(here.states)
    again = Bench(tmp_path / "a" / "sweeps" / name, space())
    assert again.begun and again.ledger.study.study_name == here.ledger.study.study_name != there.ledger.study.study_name


def test_a_sweep_in_postgres_goes_on_where_it_was(
    postgres: Postgres, bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE, postgres.database("optuna"))
    asked = space(parameters={"optim.lr": LR}, scheduler="asha:1", fixed={"train.epochs": 3})
    sweep = bench(asked)
    assert (cut_off := sweep.ledger.next())
    again = bench(asked)  # as after a kill
    trained = again.run(lambda experiment: float(experiment.optim.lr))
    assert trained[0][0] == cut_off.job.experiment and len(trained) == 4
    assert set(again.states) <= {"COMPLETE", "PRUNED"} and len(bench(asked).begun) == 4
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and postgres.password.encode() in path.read_bytes()]
    assert not list(tmp_path.rglob("*.db"))


@pytest.fixture
def swept(bench: Any, tmp_path: Path) -> Bench:
    """A sweep of a home, of which one training is under way."""
    sweep = Bench(tmp_path / "home" / "sweeps" / "s", space())
    assert sweep.ledger.next()
    return sweep


def test_a_study_moves_with_its_home_and_a_copy_has_one_of_its_own(swept: Bench, tmp_path: Path) -> None:
    name = swept.ledger.study.study_name
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    assert Bench(tmp_path / "copy" / "sweeps" / "s", space()).ledger.study.study_name != name
    shutil.rmtree(tmp_path / "copy")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert Bench(tmp_path / "link" / "sweeps" / "s", space()).ledger.study.study_name == name
    shutil.move(tmp_path / "home", tmp_path / "moved")
    assert Bench(tmp_path / "moved" / "sweeps" / "s", space()).ledger.study.study_name == name
    assert SweepRecord(tmp_path / "moved" / "sweeps" / "s").study() is not None


def test_a_trial_that_another_process_ended_is_one_line(swept: Bench) -> None:
    """As by a copy of the home on another machine, where nobody can see that it is one."""
    member = next(iter(swept.ledger.busy.values()))
    optuna.load_study(study_name=swept.ledger.study.study_name, storage=swept.ledger.study._storage.database).tell(
        member.entry.trial.number, 0.1
    )
    with pytest.raises(InputError, match=r"another process works on the same study .* copy of this home on another machine"):
        swept.train(member, [0.5])


def test_a_database_that_is_gone_meanwhile_is_one_line(swept: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def gone(*arguments: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("server closed the connection"))

    member = next(iter(swept.ledger.busy.values()))
    monkeypatch.setattr(type(member.entry.trial), "report", gone)
    with pytest.raises(InputError, match=r"does not answer \(.*server closed the connection\); when it does"):
        swept.train(member, [0.5])


def test_what_tune_makes_of_it_is_still_one_line() -> None:
    from ray.tune.error import TuneError

    with pytest.raises(InputError, match=r"^another process$"), in_one_line():
        try:
            raise InputError("another process")
        except InputError:
            raise TuneError("Traceback")  # noqa: B904 - as Tune does


def test_a_disk_that_is_full_for_tune_is_one_line() -> None:
    from ray.tune.error import TuneError

    line = r"^the disk is full \(/home/x\); make room and run the same command again, which goes on where it was$"
    with pytest.raises(InputError, match=line), in_one_line():
        try:
            raise OSError(28, "No space left on device", "/home/x")
        except OSError:
            raise TuneError("Traceback")  # noqa: B904 - as Tune does


# damage


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A sweep in a database of its own, with its trials over."""
    sweep = Bench(tmp_path_factory.mktemp("done") / "sweeps" / "s", space())
    sweep.run(lambda experiment: float(experiment.encoder.depth))
    sweep.ledger.study._storage.remove_session()
    return sweep


def known(sweep: Bench) -> list[Any]:
    return [[trial.state, trial.values, trial.params, trial.intermediate_values, trial.user_attrs] for trial in sweep.begun]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trial_values SET value = value + 0.1",
        "UPDATE trial_params SET param_value = 1 - param_value",
        "UPDATE trial_intermediate_values SET intermediate_value = 0.001",
        "UPDATE trial_user_attributes SET value_json = '\"another\"' WHERE key = 'key'",
        "UPDATE trials SET state = 'FAIL' WHERE trial_id = 1",
    ],
)
def test_a_trial_that_is_not_as_it_was_kept_is_told_with_the_cure(change: str, done: Bench, tmp_path: Path) -> None:
    home = shutil.copytree(done.folder.parents[1], tmp_path / "home")
    file = home / "sweeps" / "s" / "optuna.db"
    with sqlite3.connect(file) as database:
        assert database.execute(change).rowcount > 0
    database.close()
    with pytest.raises(InputError, match=rf"^damaged database {file} \(.*\); type mv .*\.damaged: the same command") as error:
        Bench(file.parent, space())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (sqlite3.OperationalError("database or disk is full"), r"^cannot open .*optuna\.db \(database or disk is full\)$"),
        (sqlite3.DatabaseError("file is not a database"), r"^damaged database .*optuna\.db \(file is not .*\); type mv "),
        (None, r"^the database of the sweep does not answer \(.*the line is cut\); when it does, the same command"),
    ],
)
def test_only_a_damaged_database_is_to_be_moved_away(
    error: sqlite3.DatabaseError | None, line: str, done: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def fail(**settings: Any) -> None:
        raise OperationalError("SELECT", {}, error or Exception("the line is cut")) from error

    if error:
        error.sqlite_errorcode = sqlite3.SQLITE_FULL if "full" in str(error) else sqlite3.SQLITE_NOTADB
    monkeypatch.setattr(optuna, "create_study", fail)
    with pytest.raises(InputError, match=line):
        Bench(done.folder, space())


def test_a_mistake_of_our_own_is_not_taken_for_a_damaged_study(done: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**settings: Any) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(optuna, "create_study", fail)
    with pytest.raises(TypeError, match="a mistake"):
        Bench(done.folder, space())


def test_who_moves_a_damaged_database_away_trains_nothing_again(done: Bench, tmp_path: Path) -> None:
    home = shutil.copytree(done.folder.parents[1], tmp_path / "home")
    (home / "sweeps" / "s" / "optuna.db").unlink()
    again = Bench(home / "sweeps" / "s", space())
    assert again.run(lambda experiment: pytest.fail("it was trained again")) == []
    assert again.states == ["COMPLETE"] * 2


def test_a_damaged_database_is_told_and_never_gives_other_trials(done: Bench, tmp_path: Path) -> None:
    before, whole = known(done), (done.folder / "optuna.db").read_bytes()
    told, rng = 0, np.random.default_rng(0)
    for number, place in enumerate(rng.integers(0, len(whole), 12).tolist()):
        content = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
        folder = tmp_path / str(number) / "sweeps" / "s"
        folder.mkdir(parents=True)
        (folder / "optuna.db").write_bytes(content if number else whole[: len(whole) // 2])
        try:
            assert known(Bench(folder, space())) == before
        except InputError as error:
            assert "damaged database" in str(error) and "\n" not in str(error)
            told += 1
    assert told
