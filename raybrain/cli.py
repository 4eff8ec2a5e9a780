"""raybrain: the command line. Heavy libraries load inside the commands, so that help is quick."""

import json
import os
import shlex
import shutil
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from raybrain.cluster import Cluster
    from raybrain.experiment import Experiment
    from raybrain.store import Prepared
    from raybrain.train.run import Trained

app = typer.Typer(
    name="raybrain",
    help="Find out which model, features and training decode speech best from MEG and EEG.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Recipe = Annotated[str, typer.Argument(help="a recipe, see `raybrain list recipes`")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="changed settings, like encoder.depth=6", show_default=False),
]
Home = Annotated[Path | None, typer.Option(help="folder for all that is written; else $RAYBRAIN_HOME, else ~/.raybrain")]
Json = Annotated[bool, typer.Option("--json", help="make the last line of output one JSON object")]
Address = Annotated[
    str | None,
    typer.Option(help="a running Ray cluster, `auto` for one on this machine; else $RAY_ADDRESS, else starts its own"),
]
Workers = Annotated[int, typer.Option(min=1, help="training processes, one GPU each where there are GPUs")]
Accept = Annotated[bool, typer.Option("--accept-failed", help="exit 0 though some recordings could not be prepared")]
Where = Annotated[
    list[str] | None,
    typer.Option("--cluster", metavar="KEY=VALUE", help="how it runs: precision, compile, gpus, failures, checkpoint_s, ..."),
]


INTERRUPTED = 130


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="studies, features, encoders, losses, recipes, spaces or all")] = "all",
    home: Home = None,  # every command takes it, so that a script can say it everywhere
    as_json: Json = False,
) -> None:
    """List what there is to choose from."""
    from raybrain.config import InputError, hint
    from raybrain.report.catalogue import KINDS, catalogue

    if what != "all" and what not in KINDS:
        raise InputError(f"nothing called {what!r} to list{hint(what, [*KINDS, 'all'])}")
    found = catalogue(list(KINDS) if what == "all" else [what])
    for title, entries in found.items():
        typer.echo(f"{title}")
        width = max(map(len, entries), default=0)
        for name, line in entries.items():
            typer.echo(f"  {name:{width}}  {line}")
    _json(as_json, found)


@app.command()
def show(recipe: Recipe, settings: Settings = None, home: Home = None, as_json: Json = False) -> None:
    """Show all settings of an experiment, what differs from the defaults, its signature, and what there is of it."""
    from raybrain.cluster import home_folder
    from raybrain.config import differences, flat, tree
    from raybrain.report.tables import settings_table

    experiment = _experiment(recipe, settings)
    changed = differences(experiment)
    _console().print(settings_table(flat(experiment), changed))
    typer.echo("differs from the defaults in:" if changed else "differs from the defaults in nothing")
    for key, value in changed.items():
        typer.echo(f"  {key}={value}")
    folder = home_folder(home)
    store = folder / "stores" / experiment.data.brain_signature
    runs = [
        str(path) for path in sorted((folder / "runs").glob(f"{experiment.signature}-*")) if (path / "result.json").exists()
    ]
    typer.echo(f"signature {experiment.signature}")
    typer.echo(f"data {store if store.exists() else 'not prepared yet'}")
    typer.echo(f"runs {', '.join(runs) or 'none finished yet'}")
    found = {"signature": experiment.signature, "differences": changed, "experiment": tree(experiment)}
    _json(as_json, found | {"store": str(store), "runs": runs})


@app.command()
def prepare(
    recipe: Recipe,
    settings: Settings = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    as_json: Json = False,
) -> None:
    """Turn recordings into prepared data, one task a recording."""
    experiment = _experiment(recipe, settings)
    prepared = _prepare(experiment, _cluster(home, where, address=address))
    _json(as_json, _prepared_result(experiment, prepared))
    _exit_for_failed(prepared, accept_failed)


@app.command()
def train(
    recipe: Recipe,
    settings: Settings = None,
    workers: Workers = 1,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    as_json: Json = False,
) -> None:
    """Prepare, train and evaluate an experiment; the same command again goes on where it was, or shows the result."""
    from raybrain.cluster import ray_session
    from raybrain.tracking import Tracker
    from raybrain.train import run as training

    experiment = _experiment(recipe, settings)
    cluster = _cluster(home, where, address=address, workers=workers)
    training.check(experiment.train, cluster)
    Tracker.open(cluster.home)  # does it answer?
    prepared = _prepare(experiment, cluster)
    job = training.make_job(experiment, prepared, cluster)
    finished = training.load(job)
    if finished:
        result = _evaluate(training.kept(finished), prepared)
    else:
        with ray_session(cluster):  # one session for both
            result = _evaluate(training.run(experiment, prepared, cluster), prepared)
    _json(as_json, result)
    _exit_for_failed(prepared, accept_failed)


@app.command()
def evaluate(
    recipe: Recipe,
    settings: Settings = None,
    workers: Workers = 1,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Show how well a trained experiment finds the right test segments."""
    from raybrain.config import InputError
    from raybrain.train import run as training

    experiment = _experiment(recipe, settings)
    cluster = _cluster(home, where, address=address, workers=workers)
    prepared = _prepare(experiment, cluster)
    trained = training.load(training.make_job(experiment, prepared, cluster))
    if trained is None:
        typed = " ".join([recipe, *(settings or [])])
        raise InputError(f"this experiment is not trained yet; run `raybrain train {typed}`")
    _json(as_json, _evaluate(training.kept(trained), prepared))


@app.command()
def tune(
    space: Annotated[str, typer.Argument(help="a search space: a file, or a name from `raybrain list spaces`")],
    settings: Settings = None,
    trials: Annotated[int | None, typer.Option(min=1, help="how many trials; else what the space says")] = None,
    workers: Workers = 1,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    as_json: Json = False,
) -> None:
    """Sweep a search space; the best trial by the valid split is evaluated on the test split, once."""
    from raybrain.cluster import ray_session
    from raybrain.report.tables import trials_table
    from raybrain.tracking import Tracker
    from raybrain.train import run as training
    from raybrain.tune import run as sweeping
    from raybrain.tune.space import load_space

    cluster = _cluster(home, where, address=address, workers=workers)
    sweep = sweeping.make_sweep(load_space(space), _changes(settings), trials, workers)
    training.check(sweep.experiment.train, cluster)
    Tracker.open(cluster.home)  # does it answer?
    prepared = [_prepare(experiment, cluster) for experiment in sweep.data_parts()]
    with ray_session(cluster):
        swept = sweeping.run(sweep, prepared, cluster)
        _console().print(trials_table(swept.trials, sweep.space.metric, sweep.keys))
        data = next(part for part in prepared if part.digest == swept.best.job.digest)
        result = _evaluate(swept.best, data, parent=swept.tracking)
    _json(as_json, result | {"sweep": swept.result()})
    for part in prepared:
        _exit_for_failed(part, accept_failed)


@app.command()
def ui(home: Home = None, port: Annotated[int, typer.Option(min=1, max=65535, help="port on this machine")] = 5000) -> None:
    """Open the MLflow UI on the results: http://127.0.0.1:5000."""
    from raybrain.cluster import home_folder
    from raybrain.config import InputError
    from raybrain.tracking import Tracker

    tracker = Tracker.open(home_folder(home))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise InputError(f"port {port} is in use; type --port {port + 1 if port < 65535 else 5000}")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracker.uri, "--port", str(port)]
    typer.echo(f"results of {tracker.uri} at http://127.0.0.1:{port} (Ctrl-C ends)")
    os.execv(sys.executable, command)


def _changes(settings: list[str] | None) -> dict[str, str]:
    from raybrain.config import InputError

    changes: dict[str, str] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InputError(f"{setting!r} is no setting; type KEY=VALUE, like encoder.depth=6")
        changes[key] = value
    return changes


def _experiment(recipe_name: str, settings: list[str] | None) -> "Experiment":
    from raybrain.config import override
    from raybrain.experiment import recipe

    return override(recipe(recipe_name), _changes(settings))


def _cluster(home: Path | None, where: list[str] | None, **named: Any) -> "Cluster":
    from raybrain.cluster import Cluster, home_folder
    from raybrain.config import override

    return override(Cluster(home=home_folder(home)), named | _changes(where))


def _prepare(experiment: "Experiment", cluster: "Cluster") -> "Prepared":
    from raybrain.prepare import run as preparing

    prepared = preparing.run(experiment.data, cluster)
    counts = prepared.store.manifest["counts"]
    leaks = prepared.store.manifest["sentences_in_two_splits"]
    typer.echo(
        f"data ready: {len(prepared.recordings)} recordings, "
        + ", ".join(f"{count} {split}" for split, count in counts.items())
        + f" segments in {prepared.store.root}",
        err=True,
    )
    if leaks:
        some = "; ".join(leaks[:3])
        typer.echo(
            f"warning: {len(leaks)} sentences stand in two splits ({some}); data.splits.mode=clean keeps them apart", err=True
        )
    return prepared


def _prepared_result(experiment: "Experiment", prepared: "Prepared") -> dict[str, Any]:
    return {
        "signature": experiment.signature,
        "store": str(prepared.store.root),
        "recordings": list(prepared.recordings),
        "failed_recordings": prepared.failed,
        "counts": prepared.store.manifest["counts"],
    }


def _evaluate(trained: "Trained", prepared: "Prepared", parent: Any = None) -> dict[str, Any]:
    """Print the final table; return everything for --json."""
    from raybrain.evaluate import run as evaluating
    from raybrain.report.tables import accuracy_table

    evaluation = evaluating.run(trained)
    _console().print(accuracy_table(evaluation.studies, evaluation.subjects))
    job = trained.job
    typer.echo(f"signature {job.experiment.signature}, MLflow run {trained.tracking.id} in {trained.tracking.uri}")
    typer.echo(f"all of it in {job.folder.path}; look at it with `raybrain ui --home {shlex.quote(str(job.cluster.home))}`")
    if parent is not None:
        parent.table("best_test_studies", evaluation.studies.to_dict("records"))
    return _prepared_result(job.experiment, prepared) | {
        "mlflow_run_id": trained.tracking.id,
        "tracking_uri": trained.tracking.uri,
        "run": str(job.folder.path),
        "best": trained.best,
        "history": trained.history,
        "test": evaluation.studies.to_dict("records"),
        "subjects": evaluation.subjects.to_dict("records"),
    }


def _console() -> "Console":
    """Standard output, wide enough for a table: a narrow terminal breaks lines, which is better than numbers cut off."""
    from rich.console import Console

    return Console(width=max(shutil.get_terminal_size((140, 0)).columns, 120))


def _exit_for_failed(prepared: "Prepared", accepted: bool) -> None:
    if not prepared.failed or accepted:
        return
    total = len(prepared.failed) + len(prepared.recordings)
    names = ", ".join(sorted(prepared.failed))
    typer.echo(
        f"{len(prepared.failed)} of {total} recordings failed ({names}); add --accept-failed to go without them", err=True
    )
    raise typer.Exit(1)


def _json(wanted: bool, value: Any) -> None:
    if wanted:
        sys.stderr.flush()
        print(json.dumps(value), flush=True)


def main() -> None:
    """The entry point: what a person asked for and cannot be done is one line and exit code 2."""
    from raybrain.config import InputError

    try:
        app()
    except InputError as error:
        _fail(str(getattr(error, "cause", error)))  # a Ray task wraps what it raises
    except SystemExit as error:
        if error.code == INTERRUPTED:
            typer.echo("stopped; the same command goes on where it was", err=True)
        raise
    except Exception as error:
        said = _said(error)
        if said is None:
            raise
        _fail(said)


def _said(error: Exception) -> str | None:
    """One line about what is wrong outside of raybrain; None if it may well be raybrain."""
    module, name = type(error).__module__, type(error).__name__
    if module.startswith("mlflow."):
        where = os.environ.get("MLFLOW_TRACKING_URI", "the home folder")
        return f"MLflow at {where}: {error}; when it answers again, the same command goes on where it was"
    if module == "ray.exceptions" and not name.startswith("RayTaskError"):
        return f"Ray failed ({name}); is the cluster still there? The same command goes on where it was"
    if isinstance(error, OSError) and not module.startswith("ray."):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None


def _fail(message: str) -> None:
    if os.environ.get("RAYBRAIN_DEBUG"):
        traceback.print_exc()
    typer.echo(f"raybrain: {' '.join(message.split())}", err=True)
    sys.exit(2)
