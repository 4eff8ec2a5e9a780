"""Commands for trained models: predict, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raybrain.cli.common import Home, Json, app, console, print_json, say

if TYPE_CHECKING:
    from rich.table import Table

    from raybrain.predict.guess import Guess

MOST = 40  # rows of a table on the terminal
TrainedModel = Annotated[
    str, typer.Argument(help="a trained model: its folder, its run's folder or the name of that, or a signature")
]
Device = Annotated[str, typer.Option(help="what it computes on: cpu, cuda")]


@app.command()
def predict(
    model: TrainedModel,
    recording: Annotated[Path, typer.Argument(help="a recording in a format that mne reads")],
    sounds: Annotated[Path | None, typer.Option(help="a folder of the sounds that may have been heard")] = None,
    text: Annotated[Path | None, typer.Option(help="in place of sounds: sentences, one a line")] = None,
    stretches: Annotated[Path | None, typer.Option(help="a table of the stretches to rank: sound, onset")] = None,
    subject: Annotated[str | None, typer.Option(help="a subject that the model knows; else somebody new")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="what was heard when, to calibrate somebody new on: an events.tsv with onset, stim_file")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="calibrate on so many labelled minutes, and test on those after them")
    ] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="between two windows of the recording")] = 1.0,
    step: Annotated[float, typer.Option(metavar="SECONDS", help="between two stretches of a sound")] = 0.1,
    top: Annotated[int, typer.Option(help="how many stretches to name for each window")] = 3,
    picture: Annotated[Path | None, typer.Option(help="draw how likely each sound is along time: .png, .svg or .pdf")] = None,
    device: Device = "cpu",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Rank what may have been heard for every moment of a new recording, and say how sure that is."""
    from raybrain.predict.guess import Options
    from raybrain.predict.model import load
    from raybrain.predict.timeline import check_kind, write_picture

    if picture is not None:
        check_kind(picture)
    options = Options(
        sounds=sounds,
        text=text,
        stretches=stretches,
        subject=subject,
        calibrate=calibrate,
        minutes=minutes,
        every_s=every,
        step_s=step,
        top=top,
    )
    guess = load(model, home, device).predict(recording, **dict(options))
    if picture is not None:
        write_picture(guess, picture)
    console().print(_table(guess))
    _explain(guess, picture)
    print_json(as_json, guess.result())


@app.command()
def export(
    model: TrainedModel,
    to: Annotated[Path, typer.Option(help="a folder that is not there yet, or empty")],
    format_: Annotated[str, typer.Option("--format", help="safetensors, torch (.pt2) or onnx")] = "safetensors",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write a trained model for use elsewhere."""
    from raybrain.predict.export import export as write
    from raybrain.predict.model import load

    files = write(load(model, home), format_, to)
    for path in files:
        say(str(path))
    print_json(as_json, {"format": format_, "files": [str(path) for path in files]})


def _table(guess: "Guess") -> "Table":
    """The likeliest stretches of each window, as many windows as fit on a terminal."""
    from rich.table import Table

    what, count = guess.speech.what, len(guess.moments)
    more = f"; the first {MOST} of {count} windows, --json or --picture for all" if count > MOST else ""
    table = Table(title=f"what was heard in {guess.recording.name}, in windows of {guess.length_s:.1f} s{more}")
    table.add_column("from, s", justify="right")
    for number in range(max(len(row["guesses"]) for row in guess.moments)):
        table.add_column(f"{what} (from, s)" if number == 0 else f"{number + 1}.")
        table.add_column("probability" if guess.calibration else "share", justify="right")
    for row in guess.moments[:MOST]:
        cells = [f"{row['time_s']:.1f}"]
        for one in row["guesses"]:
            cells += [f"{one[what]} ({one['from_s']:.1f})", f"{one['probability']:.0%}"]
        table.add_row(*cells)
    return table


def _explain(guess: "Guess", picture: Path | None) -> None:
    """Print what is likely overall, what had to be assumed, and how good it is where that is known."""
    likely = ", ".join(f"{name[:40]} {share:.0%}" for name, share in guess.overall[:5])
    say(f"over the whole recording: {likely}")
    for line in guess.assumed:
        say(f"assumed: {line}")
    if check := guess.check:
        say(
            f"check: in {check['windows']:.0f} further labelled windows the right one of {check['stretches']:.0f} stretches"
            f" stands first in {check['right']:.1%} (chance {check['right_chance']:.2%}), the right {guess.speech.what} in"
            f" {check['right_sound']:.1%} (chance {check['right_sound_chance']:.1%}); probabilities are"
            f" {check['probability']:.0%} in the mean, and {check['calibration_error']:.1%} off"
        )
    if picture is not None:
        say(f"picture in {picture}")
