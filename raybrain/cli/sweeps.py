"""Commands for many experiments: tune."""

from typing import Annotated

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
    show_evaluation,
)


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

    cluster = make_cluster(home, where, address=address, workers=workers)
    sweep = sweeping.make_sweep(load_space(space), changes_of(settings), trials, workers)
    training.check(sweep.experiment.train, cluster)
    Tracker.open(cluster.home)  # does it answer?
    prepared = [prepare_data(experiment, cluster) for experiment in sweep.data_parts()]
    with ray_session(cluster):
        swept = sweeping.run(sweep, prepared, cluster)
        console().print(trials_table(swept.trials, sweep.space.metric, sweep.keys))
        data = next(part for part in prepared if part.digest == swept.best.job.digest)
        result = show_evaluation(swept.best, data, parent=swept.tracking)
    print_json(as_json, result | {"sweep": swept.result()})
    for part in prepared:
        exit_for_failed(part, accept_failed)
