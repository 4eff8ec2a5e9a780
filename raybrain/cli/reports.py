"""Commands for tables and pages: report, reproduce."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybrain.cli.common import (
    Accept,
    Address,
    Home,
    Json,
    Settings,
    Where,
    Workers,
    app,
    changes_of,
    console,
    exit_for_failed,
    make_cluster,
    prepare_data,
    print_json,
)

if TYPE_CHECKING:
    from raybrain.cluster import Cluster
    from raybrain.store import Prepared
    from raybrain.tune.space import SearchSpace


@app.command()
def report(
    sweep: Annotated[str, typer.Argument(help="a sweep: the name of its folder, or of its search space")],
    workers: Workers = 1,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Test a sweep, and put its table beside the published one; of what is no grid, the best trial alone is tested."""
    cluster = make_cluster(home, where, address=address, workers=workers)
    print_json(as_json, _report(sweep, cluster))


def _report(name: str, cluster: "Cluster") -> dict[str, Any]:
    """Evaluate, print the table, keep the page next to the sweep and in MLflow; return everything for --json."""
    from raybrain.cluster import ray_session
    from raybrain.report.gather import find_sweep, gather
    from raybrain.report.page import SweepReport, page
    from raybrain.report.results import TOLERANCE, comparisons
    from raybrain.report.terminal import results_table
    from raybrain.storage import aside

    sweep = find_sweep(cluster.home, name)
    with ray_session(cluster):
        tested = gather(sweep, lambda experiment: prepare_data(experiment, cluster), cluster)
    missing, trials = (sweep.missing(), []) if sweep.grid else ([], sweep.trials)
    told = SweepReport(sweep.folder.name, tested, missing, trials, sweep.figures, sweep.space)
    found = told.cells
    console().print(results_table(found, comparisons(found)))
    if any(cell.published for cell in found):
        typer.echo(TOLERANCE)
    elif sweep.space and sweep.space.published:
        typer.echo("settings differ from the published ones, so nothing is compared with them")
    for line in told.missing:
        typer.echo(f"not in the table: {line}", err=True)
    path = sweep.folder / "report.html"
    with aside(path) as temporary:
        temporary.write_text(page(told))
    if sweep.tracking:
        sweep.tracking.artifact(path)
        sweep.tracking.table("report", [_flat(cell.result()) for cell in found])
    typer.echo(f"table, subjects, controls{', curves and trials' if told.trials else ' and curves'}: {path}")
    return told.result() | {"page": str(path)}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in row.items()}


@app.command()
def reproduce(
    collection: Annotated[str, typer.Argument(help="a folder of search spaces; nmi is the paper's")],
    settings: Settings = None,
    only: Annotated[str | None, typer.Option(help="some of its grids, like main_table,ablation")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it would take; do nothing")] = False,
    workers: Workers = 1,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    as_json: Json = False,
) -> None:
    """Run the paper's grids and put the results beside its tables; the same command again goes on where it was."""
    from raybrain.report.cost import FLOPS
    from raybrain.report.reproduce import bills, missing_studies, spaces_of

    cluster = make_cluster(home, where, address=address, workers=workers)
    names = [name.strip() for name in only.split(",")] if only else []
    spaces = spaces_of(collection, names, changes_of(settings))
    bill = bills(spaces, cluster.home / "runs")
    missing = missing_studies(spaces, cluster.cache)
    for item in bill:
        typer.echo(item.line())
    if any(item.cost and item.cost.steps for item in bill):
        typer.echo(f"GPU-hours: if no training stops early, on one GPU that sustains {FLOPS / 1e12:g} TFLOP/s")
    for study in missing:
        typer.echo(f"raybrain: {study.study} is missing, for {study.trainings} trainings: {study.reason}", err=True)
    plan = {"grids": [vars(item) | {"cost": item.cost and vars(item.cost) | {"hours": item.cost.hours}} for item in bill]}
    found = plan | {"missing": [vars(study) for study in missing]}
    if missing or dry_run:
        print_json(as_json, found)
        raise typer.Exit(2 if missing else 0)
    failed: list[Prepared] = []
    reports = [_run(space, cluster, failed) for space in spaces]
    print_json(as_json, found | {"reports": reports})
    for part in failed:
        exit_for_failed(part, accept_failed)
    if any(told["missing"] for told in reports):
        raise typer.Exit(1)


def _run(space: "SearchSpace", cluster: "Cluster", failed: "list[Prepared]") -> dict[str, Any]:
    """Run a grid to its end and report it; data without some recordings are added to ``failed``."""
    from raybrain.cluster import ray_session
    from raybrain.train import fit as training
    from raybrain.tune import sweep as sweeping

    sweep = sweeping.make_sweep(space, space.asked)
    for experiment in sweep.data_parts:
        training.check(experiment.train, cluster)
    typer.echo(f"{space.name}: {space.question.splitlines()[0]}", err=True)
    with ray_session(cluster):
        prepared = [prepare_data(experiment, cluster) for experiment in sweep.data_parts]
        failed += [part for part in prepared if part.failed]
        swept = sweeping.run(sweep, prepared, cluster)
        return _report(swept.name, cluster)
