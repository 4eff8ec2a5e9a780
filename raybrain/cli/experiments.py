"""Commands for one experiment: list, show, prepare, quality, train, evaluate."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raybrain.cli.common import (
    Accept,
    Address,
    Home,
    Json,
    ProfileName,
    Recipe,
    Settings,
    Strict,
    Where,
    Workers,
    app,
    console,
    exit_for_failed,
    make_cluster,
    make_experiment,
    print_json,
    say,
    show_answer,
)

if TYPE_CHECKING:
    from raybrain.experiment import Experiment


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(help="a family, such as studies, features or encoders; recipes; spaces; clusters; or all"),
    ] = "all",
    home: Home = None,  # every command takes it, so that a script can say it everywhere
    as_json: Json = False,
) -> None:
    """List what there is to choose from."""
    from raybrain.config import InputError, hint
    from raybrain.report.catalogue import KINDS, catalogue

    if what != "all" and what not in KINDS:
        raise InputError(f"nothing called {what!r} to list{hint(what, [*KINDS, 'all'])}")
    if what == "features":
        from raybrain.report.catalogue import features
        from raybrain.report.terminal import features_table

        known = features()
        console().print(features_table(known))
        print_json(as_json, {"features": known})
        return
    listed = catalogue(list(KINDS) if what == "all" else [what])
    for title, entries in listed.items():
        say(f"{title}")
        width = max(map(len, entries), default=0)
        for name, line in entries.items():
            say(f"  {name:{width}}  {line}")
    print_json(as_json, listed)


@app.command()
def show(
    recipe: Recipe,
    settings: Settings = None,
    explain: Annotated[bool, typer.Option("--explain", help="say of every setting, other kinds' too, what it means")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show all settings of an experiment, what differs from the defaults, its signature, and what there is of it."""
    from raybrain.cluster import home_path
    from raybrain.config import InputError
    from raybrain.plain import differences, flat, tree
    from raybrain.report.terminal import audit_line, settings_table
    from raybrain.store import SplitAudit, Store
    from raybrain.train.record import run_records

    experiment = make_experiment(recipe, settings, home)
    if explain:
        _explain(experiment, home, as_json)
        return
    changed = differences(experiment)
    console().print(settings_table(flat(experiment), changed))
    say("differs from the defaults in:" if changed else "differs from the defaults in nothing")
    for key, value in changed.items():
        say(f"  {key}={value}")
    folder = home_path(home)  # looked into, not made
    store = folder / "stores" / experiment.data.brain_signature
    runs = [str(run.path) for run in run_records(folder, experiment.signature) if run.state == "finished"]
    say(f"signature {experiment.signature}")
    say(f"data {store if store.exists() else 'not prepared yet'}")
    with suppress(InputError):
        say(audit_line(SplitAudit.of(Store(store).manifest)))
    say(f"runs {', '.join(runs) or 'none finished yet'}")
    result = {"signature": experiment.signature, "differences": changed, "experiment": tree(experiment)}
    print_json(as_json, result | {"store": str(store), "runs": runs})


def _explain(experiment: "Experiment", home: Path | None, as_json: bool) -> None:
    """Print every setting of an experiment, and of how it runs, with its meaning."""
    from dataclasses import asdict, replace

    from raybrain.cluster import Cluster, home_path
    from raybrain.report.explain import explain
    from raybrain.report.terminal import explained

    first, *others = explain(Cluster(home=home_path(home)))
    groups = [*explain(experiment), replace(first, name="--cluster KEY=VALUE"), *others]
    console().print(explained(groups))
    print_json(as_json, {"groups": [asdict(group) for group in groups]})


@app.command()
def prepare(
    recipe: Recipe,
    settings: Settings = None,
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Turn recordings into prepared data, one task a recording."""
    from raybrain import flow
    from raybrain.answers import prepared_result

    experiment = make_experiment(recipe, settings, home)
    prepared = flow.prepare(experiment, make_cluster(home, where, profile, address=address, strict=strict or None))
    print_json(as_json, prepared_result(experiment, prepared))
    exit_for_failed(prepared, accept_failed)


@app.command()
def quality(
    recipe: Recipe,
    settings: Settings = None,
    recording: Annotated[str, typer.Option(metavar="NAME", help="look at one recording alone")] = "",
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    as_json: Json = False,
) -> None:
    """Show which recordings are odd, with a page for each: sensors, spectra, lost time, alignment with what is heard."""
    from raybrain import flow
    from raybrain.report.oddness import odd_table

    experiment = make_experiment(recipe, settings, home)
    cluster = make_cluster(home, where, profile, address=address)
    every, pages, prepared = flow.quality(experiment, cluster, recording)
    odd = [one for one in every if one.marks]
    if odd:
        console().print(odd_table(odd))
    say(f"{len(odd)} of {len(every)} recordings are odd")
    for page in pages:
        say(f"page: {page}")
    print_json(as_json, {"recordings": [one.result() for one in every], "pages": [str(page) for page in pages]})
    exit_for_failed(prepared, accept_failed)


@app.command()
def train(
    recipe: Recipe,
    settings: Settings = None,
    workers: Workers = None,
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Prepare, train and evaluate an experiment; the same command again goes on where it was, or shows the result."""
    from raybrain import flow

    cluster = make_cluster(home, where, profile, address=address, workers=workers, strict=strict or None)
    answer = flow.answer(make_experiment(recipe, settings, home), cluster)
    show_answer(answer)
    print_json(as_json, answer.result())
    exit_for_failed(answer.prepared, accept_failed)


@app.command()
def evaluate(
    recipe: Recipe,
    settings: Settings = None,
    workers: Workers = None,
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Show how well a trained experiment finds the right test segments."""
    from raybrain import flow
    from raybrain.config import InputError

    experiment = make_experiment(recipe, settings, home)
    answer = flow.known(experiment, make_cluster(home, where, profile, address=address, workers=workers))
    if answer is None:
        typed = " ".join([recipe, *(settings or [])])
        raise InputError(f"this experiment is not trained yet; run `raybrain train {typed}`")
    show_answer(answer)
    print_json(as_json, answer.result())
