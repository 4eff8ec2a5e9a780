"""Guess: what was heard in a new recording, moment by moment; how sure that is, and what had to be assumed.

::

    model = raybrain.load("/results/runs/1a2b3c4d5e6f-9a8b7c6d")
    guess = model.predict("sub-05_eeg.vhdr", sounds="stimuli/")
    guess.table  # one row per window: the likeliest stretch, and how likely it is
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from raybrain.config import Config, InputError
from raybrain.predict.labels import Labels, labelled, read_labels
from raybrain.predict.new_recording import read_recording
from raybrain.predict.new_subject import Labelled, Material, calibrate
from raybrain.predict.stretches import Speech, Stretches, listed, read_sentences, read_sounds
from raybrain.probabilities import Calibration, calibrated, calibration_error, probabilities

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from raybrain.predict.model import Model

UNKNOWN = "somebody new"
TILE_BYTES = 64 * 2**20  # of stretches that are scored at once
ROWS_BYTES = 2**30  # of estimates that are kept at once
RIGHT_S = 0.25  # a guess is right that begins so near to the truth
SURE_ROWS = 30  # labelled windows from which a temperature is worth fitting


class Options(Config):
    """What is asked of a recording.

    Attributes:
        sounds: a folder of sounds that may have been heard, or one of them.
        text: in place of sounds, a file of sentences, one a line.
        stretches: a table of the stretches to rank, with the columns sound and onset; else all of them, every ``step_s``.
        subject: a subject that the model knows, as "study/subject"; else somebody new.
        calibrate: a table of what was heard when, with the columns onset and stim_file, to calibrate somebody new on.
        minutes: so many labelled minutes to calibrate on, and all that is labelled after them to tell how good it is; None for
            all to calibrate on.
        every_s: seconds between two windows of the recording.
        step_s: seconds between two stretches of a sound.
        top: how many stretches to name for each window.
    """

    sounds: Path | None = None
    text: Path | None = None
    stretches: Path | None = None
    subject: str | None = None
    calibrate: Path | None = None
    minutes: float | None = Field(None, ge=0)
    every_s: PositiveFloat = 1.0
    step_s: PositiveFloat = 0.1
    top: PositiveInt = 3

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.sounds is None) == (self.text is None):
            raise InputError("say what may have been heard: --sounds DIR, or --text FILE")
        if self.calibrate and (self.text or self.subject):
            other = "--text has no sounds to calibrate on" if self.text else "--subject names somebody the model knows"
            raise InputError(f"--calibrate is for somebody new, who heard sounds, but {other}; leave one of both out")
        if self.minutes is not None and not self.calibrate:
            raise InputError("--minutes says how much to calibrate on; type --calibrate EVENTS.tsv too")
        return self


@dataclass(frozen=True)
class Guess:
    """What was heard in a recording.

    Attributes:
        recording: its path.
        subject: as whom the model takes it.
        speech: what may have been heard.
        length_s: of a window.
        moments: a row per window: ``time_s`` and ``guesses``, best first, each with what it is of, from which second of that
            on, and its probability.
        shares: [windows, sounds or sentences], the probability of each.
        assumed: what had to be assumed, a line each.
        calibration: how scores became probabilities; None if the model does not know.
        check: how good it is where it is known what was heard; empty if that is known nowhere.
    """

    recording: Path
    subject: str
    speech: Speech
    length_s: float
    moments: list[dict[str, Any]]
    shares: np.ndarray
    assumed: list[str]
    calibration: Calibration | None
    check: Mapping[str, float]

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row per window: when, the likeliest stretch, from which second of it on, and how likely that is."""
        import pandas as pd

        return pd.DataFrame([{"time_s": row["time_s"], **row["guesses"][0]} for row in self.moments])

    @property
    def overall(self) -> list[tuple[str, float]]:
        """Sounds or sentences by their mean probability over the recording, the likeliest first."""
        mean = self.shares.mean(axis=0)
        return [(self.speech.names[number], float(mean[number])) for number in np.argsort(-mean, kind="stable")]

    def figure(self) -> "Figure":
        """How likely each sound or sentence is along time."""
        from raybrain.predict.timeline import timeline

        return timeline(self)

    def result(self) -> dict[str, Any]:
        """Everything as plain data: what ``--json`` prints."""
        return {
            "recording": str(self.recording),
            "subject": self.subject,
            "length_s": self.length_s,
            "assumed": self.assumed,
            "calibration": asdict(self.calibration) if self.calibration else None,
            "check": dict(self.check),
            "overall": [{self.speech.what: name, "probability": share} for name, share in self.overall],
            "windows": self.moments,
        }

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))


def guess(model: "Model", path: Path, options: Options) -> Guess:
    """Rank what may have been heard for every moment of a recording.

    Raises:
        InputError: if something cannot be read, or does not go with the model.
    """
    card = model.card
    if (task := card.experiment["task"]["name"]) != "decode":
        raise InputError(f"this model was trained with task={task}; predict takes one that decodes speech from the brain")
    if options.calibrate:
        read_labels(options.calibrate)  # what is wrong with it is said before anything takes time
    if options.subject is not None:
        model.check_subject(options.subject)
    new = read_recording(path, card)
    speech = read_sounds(options.sounds, card) if options.sounds else read_sentences(options.text or Path(), card)
    stretches = listed(options.stretches, speech, card.window.tmin_s) if options.stretches else speech.grid(options.step_s)
    starts = new.grid(options.every_s)
    if not len(starts):
        raise InputError(f"no window of {speech.length_s:.1f} s of {path} is free of what is marked as bad")
    labels = None
    if options.calibrate:
        stride_s = float(card.experiment["data"]["segments"]["stride_s"])
        labels = labelled(options.calibrate, new, speech, stride_s, options.minutes)
    known = _known(model, options, Material(new, speech), labels)
    ranker = _Ranker(known.model, known.subject, Material(new, speech), stretches)
    calibration, sure = _calibration(ranker, known.held)
    temperature = calibration.temperature if calibration else 1.0
    moments, shares = [], []
    for some, scores in ranker.scored(starts):
        likely = probabilities(scores, temperature).numpy()
        moments += list(_moments(some / new.window.rate_hz, likely, speech, stretches, options.top))
        shares.append(_shares(likely, stretches, len(speech.names)))
    check = _check(ranker, labels.later, temperature) if labels else {}
    assumed = [*new.assumed, *speech.assumed, *(labels.assumed if labels else ()), *known.lines, *sure]
    return Guess(path, known.subject, speech, speech.length_s, moments, np.concatenate(shares), assumed, calibration, check)


@dataclass(frozen=True)
class _Known:
    """Who it is: the model that knows them, and labelled windows that were held out of the calibration, if there was one."""

    model: "Model"
    subject: str
    held: Labelled | None
    lines: list[str]


def _known(model: "Model", options: Options, material: Material, labels: Labels | None) -> _Known:
    """Whom the model takes a recording for."""
    if options.subject is not None:
        return _Known(model, options.subject, None, [])
    if labels is None or options.minutes == 0:
        count = len(model.subjects)
        line = (
            f"the model does not know the subject, who is taken for the mean of its {count}; with some labelled minutes"
            " --calibrate EVENTS.tsv does better"
        )
        return _Known(model.with_subject(UNKNOWN), UNKNOWN, None, [line])
    fitted, held = labels.first.parted(material.recording.window.samples)
    wide, line = calibrate(model, UNKNOWN, material, fitted, held)
    return _Known(wide, UNKNOWN, held, [line])


@dataclass(frozen=True)
class _Ranker:
    """Scores the stretches for windows of a recording."""

    model: "Model"
    subject: str
    material: Material
    stretches: Stretches

    @torch.no_grad()
    def scored(self, starts: np.ndarray) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """First samples of windows, some at a time, and the scores of all stretches, [windows stretches]."""
        size = 4 * self.model.shapes.features * self.model.shapes.times
        new, speech, of, start_s = self.material.recording, self.material.speech, self.stretches.of, self.stretches.start_s
        tiles = np.array_split(np.arange(len(of)), -(-len(of) * size // TILE_BYTES))
        for some in np.array_split(starts, -(-len(starts) * size // ROWS_BYTES)):
            estimates = self.model.estimates(new.values, some, subject=self.subject, scaler=new.scaler, layout=new.layout)
            parts = [self.model.scores(estimates, speech.windows(of[tile], start_s[tile])).cpu() for tile in tiles]
            yield some, torch.cat(parts, dim=1)

    def apart(self, scores: torch.Tensor, targets: np.ndarray) -> torch.Tensor:
        """Scores in which the neighbours of the true stretches, which are as right as these, are as low as any."""
        first, stop = self.stretches.near
        scores = scores.clone()
        for row, target in zip(scores, targets.tolist(), strict=True):
            true = row[target].item()
            row[first[target] : stop[target]] = row.min().item()
            row[target] = true
        return scores

    def targets(self, some: Labelled) -> np.ndarray:
        """The stretch that is nearest to what was heard in each labelled window; -1 where none is of that sound."""
        return np.array([self.stretches.nearest(of, at) for of, at in zip(some.of, some.start_s, strict=True)])


def _calibration(ranker: _Ranker, held: Labelled | None) -> tuple[Calibration | None, list[str]]:
    """How scores become probabilities, by labelled windows of the recording itself where there are enough; and a line on it."""
    known = ranker.model.card.calibration
    if held is not None:
        targets = ranker.targets(held)
        rows = targets >= 0
        if rows.sum() >= SURE_ROWS:
            scores = torch.cat([scores for _, scores in ranker.scored(held.starts[rows])])
            own = calibrated([(ranker.apart(scores, targets[rows]), torch.from_numpy(targets[rows]))])
            if own is not None:
                what = f"{own.rows} labelled windows of this recording"
                return own, [f"probabilities are calibrated on {what}, where they are {own.error:.1%} off in the mean"]
    if known is None:
        return None, ["probabilities are not calibrated, since the model does not say how sure it is: only their order counts"]
    off = f"where they are {known.error:.1%} off in the mean"
    line = f"probabilities are calibrated on {known.rows} windows of the valid split, {off}"
    return known, [line if ranker.subject != UNKNOWN else f"{line}: of people the model knows, so too sure for somebody new"]


def _moments(
    times_s: np.ndarray, likely: np.ndarray, speech: Speech, stretches: Stretches, top: int
) -> Iterator[dict[str, Any]]:
    """What each window may have been of; a stretch stands for its neighbours too, which overlap it by more than half."""
    first, stop = stretches.near
    for time_s, row in zip(times_s, likely, strict=True):
        sums, left, guesses = np.concatenate([[0.0], row.cumsum()]), row.copy(), []
        for _ in range(top):
            best = int(left.argmax())
            if left[best] < 0:
                break
            near = slice(first[best], stop[best])
            name = speech.names[stretches.of[best]]
            share = min(float(sums[near.stop] - sums[near.start]), 1.0)
            guesses.append({speech.what: name, "from_s": round(float(stretches.start_s[best]), 3), "probability": share})
            left[near] = -1.0
        yield {"time_s": round(float(time_s), 3), "guesses": guesses}


def _shares(likely: np.ndarray, stretches: Stretches, names: int) -> np.ndarray:
    """The probability of each sound or sentence, [windows names]."""
    out = np.zeros((len(likely), names))
    np.add.at(out.T, stretches.of, likely.T)
    return out


def _check(ranker: _Ranker, later: Labelled, temperature: float) -> dict[str, float]:
    """How often the likeliest stretch is right where it is known what was heard, beside chance; empty if that is nowhere."""
    targets = ranker.targets(later)
    later, targets = later.some(targets >= 0), targets[targets >= 0]
    if not len(later):
        return {}
    of, start_s = ranker.stretches.of, ranker.stretches.start_s
    first, stop = ranker.stretches.near
    likely = torch.cat([probabilities(scores, temperature) for _, scores in ranker.scored(later.starts)]).numpy()
    same = of[None] == later.of[:, None]
    right = same & (np.abs(start_s[None] - later.start_s[:, None]) <= RIGHT_S)
    best = likely.argmax(axis=1)
    rows, sums = np.arange(len(best)), np.pad(likely.cumsum(axis=1), ((0, 0), (1, 0)))
    sure = sums[rows, stop[best]] - sums[rows, first[best]]
    near = same[rows, best] & (np.abs(start_s[best] - later.start_s) < ranker.stretches.length_s / 2)
    shares = _shares(likely, ranker.stretches, int(of.max()) + 1)
    return {
        "windows": float(len(later)),
        "stretches": float(len(of)),
        "right": float(right[rows, best].mean()),
        "right_chance": float(right.mean()),
        "right_sound": float((shares.argmax(axis=1) == later.of).mean()),
        "right_sound_chance": float(same.mean()),
        "probability": float(sure.mean()),
        "calibration_error": calibration_error(torch.from_numpy(sure), torch.from_numpy(near)),
    }
