"""Figures: what came of a sweep, to look at."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from raybrain.tune.ledger import Ledger
from raybrain.tune.population import line_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(ledger: Ledger) -> dict[str, "Figure"]:
    """How the best score grew, trials by epoch, which parameters matter, what good points share; Pareto front, population."""
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as plots

    space, study = ledger.space, ledger.study
    one: dict[str, Any] = {"target_name": space.metric}
    if space.objectives:
        one["target"] = lambda trial: trial.values[0]
    drawn: dict[str, Callable[[], Any]] = {"history": lambda: plots.plot_optimization_history(study, **one)}
    if ledger.population:  # whose parameters are not the same all along
        drawn["population"] = lambda: _population(ledger)
    else:
        drawn["importance"] = lambda: plots.plot_param_importances(study, **one)
        drawn["parallel_coordinates"] = lambda: plots.plot_parallel_coordinate(study, **one)
        if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
            drawn["epochs"] = lambda: _epochs(ledger)
    if space.objectives:
        drawn["pareto_front"] = lambda: plots.plot_pareto_front(study, target_names=[space.metric, *space.objectives])
    made = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyplot.switch_backend("agg")
        for name, draw in drawn.items():
            with suppress(ValueError, RuntimeError, ZeroDivisionError):  # too few trials, or all alike
                axes = draw()
                figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
                figure.set_size_inches(8, 4.7)  # small, so that what is written in it is large on a page
                _lighten(figure)
                made[name] = figure
        pyplot.close("all")
    return made


def _lighten(figure: "Figure") -> None:
    """Dark lines on white, with a light grid, in place of optuna's grey."""
    for axes in figure.axes:
        axes.set_facecolor("white")
        axes.tick_params(grid_color="#d5dbe3", colors="#56606f")
        for spine in axes.spines.values():
            spine.set_edgecolor("#6c7582")
        axes.title.set(color="#1b2230", fontweight="bold", fontsize=12)


def _epochs(ledger: Ledger) -> Any:
    """The score of every trial after each epoch. Where lines cross late, judging early would have kept the wrong ones."""
    from optuna.visualization import matplotlib as plots

    axes = plots.plot_intermediate_values(ledger.study)
    axes.set(title="trials by epoch: the score of the weights kept so far", xlabel="epoch", ylabel=ledger.space.metric)
    if ledger.space.mode == "min":
        axes.set_yscale("log")
    axes.legend(title="trial", fontsize="x-small", ncols=4)
    return axes


def _population(ledger: Ledger) -> Any:
    """Every trial of a population from where it was copied: its score after each epoch, and the settings it trained with."""
    from matplotlib import pyplot

    begun, space = ledger.begun(), ledger.space
    names = list(dict.fromkeys(name for frozen, _ in begun for name in space.scheduler.turning(space, frozen.params)))
    _, grid = pyplot.subplots(1 + len(names), sharex=True, squeeze=False, layout="constrained")
    panels = dict(zip([space.metric, *names], grid[:, 0], strict=True))
    for frozen, jobs in begun:
        copied, params = line_of(frozen)[-1]
        history = next(iter(jobs.values())).record.history()
        shown = [(row["epoch"], row[space.metric]) for row in history if row["epoch"] >= copied]
        if not shown:
            continue
        ended = frozen.state.name != "COMPLETE"
        look = {"color": f"C{frozen.number % 10}", "alpha": 0.4 if ended else 1.0}
        panels[space.metric].plot(*zip(*shown, strict=True), **look, label=str(frozen.number))
        if ended:
            panels[space.metric].plot(*shown[-1], "x", **look)
        for name in params.keys() & set(names):
            panels[name].plot([copied, len(history)], [params[name]] * 2, **look)
    panels[space.metric].set(title="population: one line per trial, from where it was copied; x where it ended")
    panels[space.metric].legend(title="trial", fontsize="x-small", ncols=4)
    for name, axes in panels.items():
        axes.set_ylabel(name.rpartition(".")[2])
        if name in names and all(value > 0 for value in axes.dataLim.intervaly):
            axes.set_yscale("log")
    grid[-1, 0].set_xlabel("epoch")
    return grid
