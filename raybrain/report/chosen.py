"""Chosen: the runs that a person names, as models to compare: by signature, folder or sweep."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from raybrain.bucket.copies import WEIGHTS, fetch
from raybrain.config import InputError, hint
from raybrain.evaluate.rank import recall
from raybrain.report.compared import ComparedModel, TestedRun
from raybrain.report.compared_settings import called, differing, without_seed
from raybrain.report.gather import KeptSweep, cell_name, find_run, find_sweep
from raybrain.train.record import RunRecord, run_records
from raybrain.tune.sweep_record import sweep_records

AGAIN = "run the command that trains it again, which goes on where it was"


def chosen_models(home: Path, names: Sequence[str]) -> list[ComparedModel]:
    """The models that some names stand for, each once. Runs that differ in nothing but their seed are one.

    A name is that of a run (its signature, the first digits of that, or its folder), of a sweep (all that was tested of it) or
    SWEEP:ROW, a row of a sweep's table.

    Raises:
        InputError: if there is no such run or row, or it was not trained to the end, or not tested.
    """
    alone: list[TestedRun] = []
    models: list[ComparedModel] = []
    for name in names:
        if record := find_run(home, name):
            alone.append(tested(record, home))
        else:
            models += _of_sweep(home, name, prefixed=len(names) > 1)
    known = {run.name for model in models for run in model.runs}
    fresh = {run.name: run for run in alone if run.name not in known}
    return [*_grouped(list(fresh.values()), models), *models]


def _grouped(runs: Sequence[TestedRun], others: Sequence[ComparedModel]) -> list[ComparedModel]:
    """Runs as models, called by the settings in which they differ from each other."""
    groups: list[tuple[Mapping[str, object], list[TestedRun]]] = []
    for run in runs:
        settings = without_seed(run.experiment)
        same = next((members for known, members in groups if known == settings), None)
        if same is None:
            groups.append((settings, [run]))
        else:
            same.append(run)
    firsts = [members[0] for _, members in groups]
    rows = differing([*(run.experiment for run in firsts), *(model.runs[0].experiment for model in others)])
    return [
        ComparedModel(f"{called(rows, number) or run.experiment.encoder.name} ({run.name[:6]})", tuple(members))
        for number, (run, (_, members)) in enumerate(zip(firsts, groups, strict=True))
    ]


def tested(record: RunRecord, home: Path, cure: str = AGAIN) -> TestedRun:
    """A run with its results.

    Args:
        record: of the run.
        home: where its baseline and its store are.
        cure: what to do about a run that is trained and was not tested.

    Raises:
        InputError: if it was not trained to the end, or not tested.
    """
    experiment = record.experiment()
    if experiment is None or record.state != "finished":
        why = record.failure()
        raise InputError(f"run {record.path.name} is not trained to the end{f' ({why})' if why else ''}; {AGAIN}")
    evaluation = recall(record, home)
    if evaluation is None:
        raise InputError(f"run {record.path.name} is trained, but was not tested, or by an earlier version; {cure}")
    return TestedRun(record.path.name, experiment, evaluation, record.sizes())


def _of_sweep(home: Path, name: str, prefixed: bool) -> list[ComparedModel]:
    """What was tested of a sweep, or one row of it."""
    sweep_name, colon, row = name.partition(":")
    sweep = _sweep(home, sweep_name)
    groups: dict[str, list[TestedRun]] = {}
    for called_so, record in _cells(home, sweep):
        if not colon or called_so == row:
            cure = f"type raybrain report {sweep.folder.name}, which tests all of the sweep that may be tested"
            groups.setdefault(called_so, []).append(tested(record, home, cure))
    if not groups:
        rows = dict.fromkeys(called_so for called_so, _ in _cells(home, sweep))
        raise InputError(f"no row {row!r} was tested in the sweep {sweep.folder.name}{hint(row, rows)}")
    start = f"{sweep_name}: " if prefixed else ""
    return [ComparedModel(f"{start}{called_so}", tuple(runs)) for called_so, runs in groups.items()]


def _sweep(home: Path, name: str) -> KeptSweep:
    finished = [record.path.name for record in sweep_records(home) if record.is_finished]
    if any(name in (folder, folder.rpartition("-")[0], f"{folder.rpartition('-')[0]}.py") for folder in finished):
        return find_sweep(home, name)
    there = [*finished, *(record.path.name.partition("-")[0] for record in run_records(home))]
    near = difflib.get_close_matches(name, dict.fromkeys(there), n=1)
    guess = f", did you mean {near[0]!r}?" if near else ";"
    raise InputError(f"no run and no sweep called {name!r} in {home}{guess} `raybrain home` shows what is there")


def _cells(home: Path, sweep: KeptSweep) -> Iterator[tuple[str, RunRecord]]:
    for trial, run in sweep.runs():
        path = home / "runs" / Path(run["folder"]).name
        fetch(path, WEIGHTS)
        yield cell_name(sweep, trial, run), RunRecord(path)
