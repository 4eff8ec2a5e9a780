"""Timeline: a guess as a picture, how likely each sound or sentence is along the recording."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raybrain.config import InputError
from raybrain.storage import aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from raybrain.predict.guess import Guess

KINDS = ("png", "svg", "pdf")
MOST = 40  # sounds or sentences that are drawn, the likeliest
LETTERS = 36  # of a name
WIDE, ROW, EDGE = 11.0, 0.22, 1.6  # inches


def check_kind(path: Path) -> str:
    """The kind of picture that a file's name asks for.

    Raises:
        InputError: if it is none that can be written, or the folder is not there.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise InputError(f"{path} is no name of a picture; it must end with one of: {', '.join(f'.{one}' for one in KINDS)}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"no folder {path.absolute().parent} to write {path.name} into")
    return kind


def timeline(guess: "Guess") -> "Figure":
    """Probability of each sound or sentence along time, the likeliest at each moment marked."""
    import matplotlib
    from matplotlib.figure import Figure

    drawn = [name for name, _ in guess.overall[:MOST]]
    order = [name for name in guess.speech.names if name in drawn]  # as they are listed, which is often as they are heard
    numbers = [guess.speech.names.index(name) for name in order]
    times = np.array([row["time_s"] for row in guess.moments])
    step = float(np.diff(times).min()) if len(times) > 1 else guess.length_s
    edges = np.append(times, times[-1] + step)
    with matplotlib.rc_context({"text.parse_math": False}):  # a dollar in a name is a dollar
        figure = Figure(figsize=(WIDE, EDGE + ROW * len(order)), layout="constrained")
        axes = figure.subplots()
        likely = guess.shares[:, numbers].T
        mesh = axes.pcolormesh(edges, np.arange(len(order) + 1), likely, cmap="Blues", vmin=0)
        best = [row["guesses"][0][guess.speech.what] for row in guess.moments]
        places = [(time, order.index(name) + 0.5) for time, name in zip(times, best, strict=True) if name in order]
        axes.plot(*zip(*places, strict=True), "|", color="C1", markersize=6, label=f"likeliest {guess.speech.what}")
        axes.set_yticks(np.arange(len(order)) + 0.5, [_short(name) for name in order], fontsize="x-small")
        axes.set(ylim=(len(order), 0), xlabel="start of the window in the recording, s", title=_title(guess))
        axes.legend(loc="upper right", fontsize="x-small")
        figure.colorbar(mesh, label="probability" if guess.calibration else "share, not calibrated", fraction=0.03)
    return figure


def write_picture(guess: "Guess", path: Path) -> None:
    """Write the picture of a guess whole or not at all.

    Raises:
        InputError: if the name asks for no kind of picture.
    """
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({"text.parse_math": False, "svg.hashsalt": "raybrain"}):
        timeline(guess).savefig(content, format=check_kind(path))
    with aside(path) as temporary:
        temporary.write_bytes(content.getvalue())


def _title(guess: "Guess") -> str:
    left = len(guess.speech.names) - MOST
    more = f"; {left} less likely ones are not shown" if left > 0 else ""
    return f"{guess.recording.name}: which {guess.speech.what} was heard, in windows of {guess.length_s:.1f} s{more}"


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."
