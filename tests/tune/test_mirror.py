"""What a sweep knows of its trials in memory, beside the database."""

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from raybrain.config import InputError
from tests.postgres import Postgres
from tests.sweeps import DEPTH, LR, Bench, space


def database_of(sweep: Bench) -> Any:
    return sweep.ledger.study._storage.database


def known(trials: list[FrozenTrial]) -> list[Any]:
    """All that is known of trials, times and ids apart."""
    shown = [{**vars(trial)} for trial in trials]
    for trial in shown:
        for name in ("_trial_id", "_datetime_start", "datetime_complete"):
            del trial[name]
    return shown


@pytest.mark.parametrize(("sampler", "scheduler"), [("tpe", "asha:1"), ("cmaes", "hyperband:1"), ("qmc", "none")])
def test_the_database_knows_what_memory_knows(sampler: Any, scheduler: Any, bench: Any) -> None:
    asked = space(
        parameters={"optim.lr": LR, "encoder.depth": DEPTH}, sampler=sampler, scheduler=scheduler, fixed={"train.epochs": 4}
    )
    sweep = bench(asked, trials=9)
    for trained in range(3):
        member = sweep.ledger.next()
        sweep.train(member, [0.5 / (1 + trained)] * 4)
        sweep.ledger.ended(member)
    sweep.ledger.next()
    study = sweep.ledger.study
    kept = optuna.load_study(study_name=study.study_name, storage=database_of(sweep))
    assert known(kept.trials) == known(study.trials) and len(study.trials) >= 4
    attributes = [one._storage.get_study_system_attrs(one._study_id) for one in (kept, study)]
    assert attributes[0] == attributes[1] and (sampler != "qmc" or attributes[0])
    again = bench(asked, trials=9)  # as after a kill
    assert known(again.ledger.study.trials) == known(kept.trials)


def test_a_trial_that_another_process_drew_meanwhile_is_one_line(bench: Any) -> None:
    sweep = bench(space(parameters={"optim.lr": LR}))
    assert sweep.ledger.next()
    optuna.load_study(study_name=sweep.ledger.study.study_name, storage=database_of(sweep)).ask()
    with pytest.raises(InputError, match=r"another process works on the same study .*there is a trial 1 already"):
        sweep.ledger.next()


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_a_trial_takes_as_many_statements_at_the_end_of_a_sweep_as_at_its_beginning(
    where: str, bench: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    from sqlalchemy import event

    if where == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("RAYBRAIN_OPTUNA_STORAGE", server.database("mirror"))
    asked = space(parameters={"optim.lr": LR}, scheduler="none", sampler="random", fixed={"train.epochs": 1})
    sweep = bench(asked, trials=40)
    statements: list[str] = []
    event.listen(database_of(sweep).engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    counts, under_way = [], []
    for _ in range(40):
        statements.clear()
        under_way.append(sweep.ledger.next())
        if len(under_way) == 8:  # at once
            member = under_way.pop(0)
            sweep.train(member, [0.5])
            sweep.ledger.ended(member)
            counts.append(len(statements))
    assert len(counts) == 33 and len(set(counts)) == 1, counts
