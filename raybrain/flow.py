"""Flow: the Python door. What a notebook and the command line call, from a question to its answer.

::

    import raybrain

    experiment = raybrain.recipe("quickstart", {"encoder.depth": 6})
    answer = raybrain.answer(experiment)  # prepares, trains and evaluates what is not done yet
    answer.table                          # accuracy of every subject, beside chance
    answer.figure()

What is done is never done again: the same question comes back at once. Progress goes to standard error.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from raybrain.answers import Answer, SweepAnswer
from raybrain.bucket.address import place_of
from raybrain.cluster import Cluster, home_folder, one_session
from raybrain.config import InputError, hint
from raybrain.console import PlainConsole
from raybrain.evaluate.rank import recall
from raybrain.evaluate.rank import run as evaluate
from raybrain.experiment import Experiment, recipe
from raybrain.placement import check_room
from raybrain.prepare import build
from raybrain.prepare.sources import sources_of
from raybrain.report.chosen import chosen_models
from raybrain.report.compared import ModelComparison, compare_models
from raybrain.report.compared_page import comparison_page, comparison_path
from raybrain.report.data_card import store_of
from raybrain.report.gather import check_finished, find_sweep, gather, outdated
from raybrain.report.index_page import HomeIndex, index_of, index_page
from raybrain.report.log_report import log_page, log_run_page
from raybrain.report.oddness import Judged
from raybrain.report.page import SweepReport, page
from raybrain.report.pictures import keep_subjects
from raybrain.report.quality_page import write_pages
from raybrain.report.render import keep_page
from raybrain.report.run_page import RunReport, run_page
from raybrain.report.terminal import leak_lines, shared_line
from raybrain.store import Prepared, SplitAudit
from raybrain.train import fit
from raybrain.train.fit import Trained
from raybrain.train.maps import are_whole
from raybrain.train.precision import slow_precision
from raybrain.train.record import RunRecord, run_records
from raybrain.tune.forecast import trainings
from raybrain.tune.log_sweep import log_winner
from raybrain.tune.outcome import Swept
from raybrain.tune.space import SearchSpace, load_space
from raybrain.tune.study import STORAGE, check_database
from raybrain.tune.sweep import Limits, Sweep, make_sweep, run
from raybrain.tune.sweep_record import SweepRecord

console = PlainConsole(stderr=True)


def prepare(experiment: Experiment, cluster: Cluster | None = None, tables: Collection[str] = ()) -> Prepared:
    """Prepare the data of an experiment, what is not prepared yet, and say how much there is.

    Recordings are prepared again of which an earlier version did not write some of ``tables``.

    Raises:
        InputError: if a study is not there, no recording could be prepared, or a split is empty.
    """
    prepared = build.run(experiment.data, _here(cluster), tables)
    manifest = prepared.store.manifest
    counts = ", ".join(f"{count} {split}" for split, count in manifest["counts"].items())
    _say(f"data ready: {len(prepared.recordings)} recordings, {counts} segments in {prepared.store.root}")
    audit = SplitAudit.of(manifest)
    for leak in leak_lines(audit.leaks):
        _warn(f"{leak}; data.splits.mode=clean keeps each on one side")
    for line in shared_line(audit):
        _say(line)
    if unknown := manifest.get("untrained"):
        _say(f"no train segments of {', '.join(unknown)}: nothing that is learned of single subjects is known of them")
    return prepared


def quality(
    experiment: Experiment | str, cluster: Cluster | None = None, recording: str = ""
) -> tuple[list[Judged], list[Path], Prepared]:
    """Judge the recordings of an experiment, or one ``recording`` alone, and write pages that people look at.

    Returns:
        The recordings, the oddest first; the pages to open first, one for each study; and the data.

    Raises:
        InputError: if there is no such recording, it cannot be prepared, or nothing can.
    """
    cluster = _here(cluster)
    experiment = recipe(experiment) if isinstance(experiment, str) else experiment
    known = [source.recording.uid for source in sources_of(experiment.data, cluster)] if recording else []
    if recording not in ("", *known):
        some = ", ".join(known[:5])
        raise InputError(f"no recording called {recording!r}{hint(recording, known)} among {len(known)} ({some}, ...)")
    prepared = prepare(experiment, cluster, ("quality",))
    if recording in prepared.failed:
        raise InputError(f"{recording} cannot be prepared: {prepared.failed[recording]}")
    folder = cluster.home / "quality" / experiment.data.brain_signature
    return *write_pages(prepared, folder, recording), prepared


def answer(experiment: Experiment | str, cluster: Cluster | None = None) -> Answer:
    """Prepare, train and evaluate what is not done yet; what is done comes at once.

    Args:
        experiment: what is asked; the name of a recipe asks that.
        cluster: where it runs; one worker on this machine and the usual home folder if None.

    Raises:
        InputError: if something asked for cannot be done.
    """
    cluster = _here(cluster)
    experiment = recipe(experiment) if isinstance(experiment, str) else experiment
    fit.check(experiment, cluster)
    cluster.tracking_store()  # does it answer?
    _warn(slow_precision(cluster))
    _say_what_stays(cluster)
    with one_session(check_room):
        prepared = prepare(experiment, cluster)
        if done := _finished(experiment, prepared, cluster):
            return done
        prepared = _whole(experiment, prepared, cluster)
        return _tested(fit.run(experiment, prepared, cluster), prepared)


def _whole(experiment: Experiment, prepared: Prepared, cluster: Cluster) -> Prepared:
    """The data as they are going to be read: what is not mapped on this machine is compared with its checksums before."""
    if are_whole(prepared.brain, prepared.features, cluster.maps):
        return prepared
    with console.status("comparing what is prepared with its checksums"):
        damaged = prepared.set_damaged_aside()
    return prepare(experiment, cluster) if damaged else prepared


def known(experiment: Experiment, cluster: Cluster | None = None) -> Answer | None:
    """The answer to an experiment that is trained already, evaluated if it is not; None if it is not trained."""
    cluster = _here(cluster)
    if not any(record.state == "finished" for record in run_records(cluster.home, experiment.signature)):
        return None  # before data are prepared for nothing
    return _finished(experiment, prepare(experiment, cluster), cluster)


def check(asked: Sweep, cluster: Cluster) -> None:
    """Refuse a sweep of which a training cannot be, before anything is prepared.

    Raises:
        InputError: if a batch does not divide among the workers.
    """
    for experiment in trainings(asked):
        fit.check(experiment, cluster)


def sweep(
    space: Sweep | SearchSpace | str,
    cluster: Cluster | None = None,
    changes: Mapping[str, Any] | None = None,
    trials: int | None = None,
    limits: Limits | None = None,
) -> SweepAnswer:
    """Run what is not run yet of a sweep. Its best trial by the valid split meets the test split, once; no other does.

    Args:
        space: a search space, the name or file of one, or a sweep of one that was made already.
        cluster: where it runs; one worker on this machine and the usual home folder if None.
        changes: dotted settings of all trials, or the variants of a dimension to keep.
        trials: how many; what the space says if None.
        limits: of this call, if any; a later one goes on.

    Raises:
        InputError: if something asked for cannot be done, or no trial was trained to the end.
    """
    cluster = _here(cluster)
    space = load_space(space) if isinstance(space, str) else space
    asked = make_sweep(space, changes or {}, trials) if isinstance(space, SearchSpace) else space
    limits = limits or Limits()
    check(asked, cluster)
    if limits.resume_only:
        asked.check_begun(cluster.home)
    check_database(cluster.home)
    cluster.tracking_store()  # does it answer, too?
    _warn(slow_precision(cluster))
    _say_what_stays(cluster, STORAGE)
    with one_session(check_room):
        prepared = tuple(_whole(experiment, prepare(experiment, cluster), cluster) for experiment in asked.data_parts)
        return _meet_test(run(asked, prepared, cluster, limits), prepared)


def _meet_test(swept: Swept, prepared: Sequence[Prepared]) -> SweepAnswer:
    """Evaluate the winner, all its repetitions."""
    by_digest = {part.digest: part for part in prepared}
    answers = {repeat: _tested(trained, by_digest[trained.job.digest]) for repeat, trained in swept.best.items()}
    tested = SweepAnswer(swept, tuple(prepared), answers)
    log_winner(swept.tracking, tested.tested)
    return tested


def report(name: str, cluster: Cluster | None = None) -> tuple[SweepReport, Path]:
    """Test a sweep that was run and write its page: every cell of a grid; of any other sweep its best trial alone.

    Args:
        name: of the sweep: its folder's, or its search space's.
        cluster: where the sweep was run.

    Returns:
        What is reported, and the HTML page.

    Raises:
        InputError: if there is no such sweep, or its trainings are not there any more.
    """
    cluster = _here(cluster)
    kept = find_sweep(cluster.home, name)
    with one_session(check_room):
        tested = gather(kept, lambda experiment: prepare(experiment, cluster), cluster)
    missing, trials = (kept.missing(), []) if kept.grid else ([], kept.trials)
    made = SweepReport(kept.folder.name, tested, missing, trials, kept.figures, kept.space)
    path = SweepRecord(kept.folder).page
    keep_page(path, page(made))
    if run := cluster.tracking_store().find(kept.tracking):
        log_page(run, path, made.rows())
    return made, path


def compare(*names: str, cluster: Cluster | None = None) -> tuple[ModelComparison, Path]:
    """Put trained and tested models side by side on the segments that all of them were tested on, and write a page.

    Nothing is trained or tested for it: results are read as the runs keep them, so their data need not be there.

    Args:
        names: of runs (signatures, their first digits, or folders), sweeps (all that was tested of them), or rows of sweeps
            (SWEEP:ROW). Runs that differ in nothing but their seed are one model.
        cluster: where they were trained; the usual home folder if None.

    Returns:
        The comparison, and the HTML page.

    Raises:
        InputError: if a name is not known, a run is not finished, or there are no two models that share a test segment.
    """
    home = _here(cluster).home
    made = compare_models(chosen_models(home, names))
    path = comparison_path(home, made)
    keep_page(path, comparison_page(made))
    return made, path


def report_run(record: RunRecord, cluster: Cluster | None = None) -> tuple[RunReport, Path]:
    """Write the page of one training, from what its folder keeps; what was not tested is tested. The page comes second.

    Raises:
        InputError: if it is not trained to the end, or cannot be tested by this version of the code.
    """
    cluster = _here(cluster)
    experiment = check_finished(record)
    if (evaluation := recall(record, cluster.home)) is None:
        if reason := outdated(record, experiment):
            raise InputError(f"{record.path.name}: {reason}")
        with one_session(check_room):
            known = _finished(experiment, prepare(experiment, cluster), cluster)
        if known is None or known.trained.job.record.path != record.path:
            raise InputError(f"{record.path} was not tested, and its data are not as they were; train it again")
        evaluation = known.evaluation
    made = RunReport(record, experiment, evaluation, store_of(record, experiment))
    keep_page(record.page, run_page(made))
    if run := cluster.tracking_store().find(record.tracking()):
        log_run_page(run, record.page)
    return made, record.page


def report_home(cluster: Cluster | None = None) -> tuple[HomeIndex, Path]:
    """Write the index of a home: every run and sweep in it, those without a result with the reason."""
    home = _here(cluster).home
    index, path = index_of(home), home / "index.html"
    keep_page(path, index_page(index))
    return index, path


def _here(cluster: Cluster | None) -> Cluster:
    cluster = cluster or Cluster()
    home_folder(cluster.home)
    return cluster


def _say_what_stays(cluster: Cluster, *more: str) -> None:
    """Say which databases of a home in a bucket are on this machine alone, unless variables of the environment name others."""
    place = place_of(cluster.home)
    variables = [*(["MLFLOW_TRACKING_URI"] if cluster.tracker.lies_in(cluster.home) else []), *more]
    if place and (unset := [name for name in variables if name not in os.environ]):
        here = f"a database cannot lie in {place}: what {' and '.join(unset)} could name is on this machine, in {cluster.home}"
        _say(f"{here}; results are in the bucket, and a sweep goes on from any machine")


def _finished(experiment: Experiment, prepared: Prepared, cluster: Cluster) -> Answer | None:
    trained = fit.recall(fit.make_job(experiment, prepared, cluster), cluster.tracking_store())
    return None if trained is None else _tested(trained, prepared)


def _tested(trained: Trained, prepared: Prepared) -> Answer:
    evaluation = evaluate(trained)
    keep_subjects(trained, evaluation)
    return Answer(prepared, trained, evaluation)


def _warn(line: str) -> None:
    """Say what is odd, if there is anything."""
    if line:
        _say(f"warning: {line}")


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
