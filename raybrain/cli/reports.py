"""Commands for tables and pages: report, compare, reproduce."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybrain.cli.common import (
    Accept,
    Address,
    Home,
    Json,
    ProfileName,
    Settings,
    Strict,
    Where,
    Workers,
    app,
    changes_of,
    console,
    exit_for_failed,
    known_cluster,
    make_cluster,
    print_json,
    say,
)

if TYPE_CHECKING:
    from raybrain.cluster import Cluster
    from raybrain.store import Prepared
    from raybrain.train.record import RunRecord
    from raybrain.tune.space import SearchSpace


@app.command()
def report(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|SWEEP]",
            help="a run: its signature or folder; or a sweep: the name of its folder, or of its search space",
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="write an index of all runs and sweeps of the home")] = False,
    workers: Workers = None,
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Write the page of a run or a sweep: one HTML file that needs no other. What of it is not tested yet is tested.

    Of a sweep that is a grid all cells are tested, and put beside what was published; of any other its best trial alone.
    """
    from raybrain.config import InputError
    from raybrain.report.gather import find_run

    if every == (name is not None):
        raise InputError(f"type {name} or --all, not both" if name else "type a run or a sweep, or --all for an index of all")
    cluster = known_cluster(home, where, profile, address=address, workers=workers)
    if name is None:
        print_json(as_json, _report_home(cluster))
        return
    record = find_run(cluster.home, name)
    print_json(as_json, _report_run(record, cluster) if record else _report(name, cluster))


def _report_home(cluster: "Cluster") -> dict[str, Any]:
    """Write the index of a home."""
    from raybrain import flow
    from raybrain.report.index_page import without_page

    index, path = flow.report_home(cluster)
    for entry in index.unfinished:
        say(f"{entry.what} {entry.folder.name}: {entry.reason}", err=True)
    if names := without_page(index):
        say(f"{len(names)} have no page yet; raybrain report {names[0]} writes one")
    say(f"{len(index.runs)} tested runs, {len(index.sweeps)} sweeps: {path}")
    return index.result() | {"page": str(path)}


def _report_run(record: "RunRecord", cluster: "Cluster") -> dict[str, Any]:
    """Report a run and print its table; return everything for --json."""
    from raybrain import flow
    from raybrain.report.terminal import accuracy_table, baseline_line, mark_lines

    made, path = flow.report_run(record, cluster)
    evaluation = made.evaluation
    console().print(accuracy_table(evaluation.studies, evaluation.subjects, made.experiment.task.measures))
    for line in [baseline_line(evaluation.studies), *mark_lines(evaluation.marks)]:
        say(line)
    say(f"{made.title}: {path}")
    return made.result() | {"page": str(path)}


def _report(name: str, cluster: "Cluster") -> dict[str, Any]:
    """Report a sweep and print its table; return everything for --json."""
    from raybrain import flow
    from raybrain.report.results import TOLERANCE, comparisons
    from raybrain.report.terminal import results_table

    made, path = flow.report(name, cluster)
    cells = made.cells
    console().print(results_table(cells, comparisons(cells)))
    if any(cell.published for cell in cells):
        say(TOLERANCE)
    elif made.space and made.space.published:
        say("settings differ from the published ones, so nothing is compared with them")
    for line in made.missing:
        say(f"not in the table: {line}", err=True)
    for recording, reason in made.left_out.items():
        say(f"left out {recording}: {reason}", err=True)
    say(f"table, subjects, controls{', curves and trials' if made.trials else ' and curves'}: {path}")
    return made.result() | {"page": str(path)}


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN...", help="runs by signature or folder; sweeps, or SWEEP:ROW for a row of their table"),
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Put tested models side by side: which is better, by how much, on whom, and in which settings they differ."""
    from raybrain import flow
    from raybrain.report.compared_words import doubt_lines, scores_table, settings_table, tests_table, verdicts

    made, path = flow.compare(*runs, cluster=known_cluster(home, None))
    console().print(scores_table(made))
    console().print(tests_table(made.tests))
    console().print(settings_table(made.settings, [model.name for model in made.models]))
    for line in [*made.notes, *doubt_lines(made), *verdicts(made)]:
        say(line)
    say(f"every subject, with pictures: {path}")
    print_json(as_json, made.result() | {"page": str(path)})


@app.command()
def reproduce(
    collection: Annotated[str, typer.Argument(help="a folder of search spaces; nmi is the paper's")],
    settings: Settings = None,
    only: Annotated[str | None, typer.Option(help="some of its grids, like main_table,ablation")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it would take; do nothing")] = False,
    workers: Workers = None,
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Run the paper's grids and put the results beside its tables; the same command again goes on where it was."""
    from raybrain.estimate.costs import FLOPS
    from raybrain.report.reproduce import bills, missing_studies, spaces_of

    cluster = make_cluster(home, where, profile, address=address, workers=workers, strict=strict or None)
    names = [name.strip() for name in only.split(",")] if only else []
    spaces = spaces_of(collection, names, changes_of(settings))
    bill = bills(spaces, cluster)
    missing = missing_studies(spaces, cluster.cache)
    for item in bill:
        say(item.line())
        for line in item.cost.further():
            say(f"  {line}")
    if any(item.cost.steps for item in bill):
        say(f"GPU-hours: if no training stops early, on one GPU that sustains {FLOPS / 1e12:g} TFLOP/s")
    for study in missing:
        say(f"raybrain: {study.study} is missing, for {study.trainings} trainings: {study.reason}", err=True)
    plan = {"grids": [item.result() for item in bill]}
    plan |= {"missing": [vars(study) for study in missing]}
    if missing or dry_run:
        print_json(as_json, plan)
        raise typer.Exit(2 if missing else 0)
    failed: list[Prepared] = []
    reports = [_run(space, cluster, failed) for space in spaces]
    print_json(as_json, plan | {"reports": reports})
    for part in failed:
        exit_for_failed(part, accept_failed)
    if any(made["missing"] for made in reports):
        raise typer.Exit(1)


def _run(space: "SearchSpace", cluster: "Cluster", failed: "list[Prepared]") -> dict[str, Any]:
    """Run a grid to its end and report it; data without some recordings are added to ``failed``."""
    from raybrain import flow
    from raybrain.cluster import one_session
    from raybrain.placement import check_room

    say(f"{space.name}: {space.question.splitlines()[0]}", err=True)
    with one_session(check_room):
        answer = flow.sweep(space, cluster, changes=space.asked)
        failed += [part for part in answer.prepared if part.failed]
        return _report(answer.swept.name, cluster)
