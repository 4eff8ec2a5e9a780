"""Model: a trained model in use, with neither the data it was trained on nor Ray.

::

    model = raybrain.load("/results/runs/1a2b3c4d5e6f-9a8b7c6d")
    guess = model.predict("sub-05_eeg.vhdr", sounds="stimuli/")           # which stretches of sound were heard when
    estimates = model.estimates(signal, starts, recording="bids_sub-01")  # [windows features time]
    scores = model.scores(estimates, candidates)                          # [windows candidates]
"""

import difflib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from raybrain.batch import Batch, Layout, Shapes, step_draws
from raybrain.bucket.address import typed_path
from raybrain.bucket.copies import fetch
from raybrain.cluster import home_path
from raybrain.config import InputError, first_line, hint
from raybrain.experiment import Experiment
from raybrain.features.scale import FeatureScale
from raybrain.identity import version
from raybrain.model_folder import ModelCard, is_model, read_card, read_weights, write_model
from raybrain.network import Network, Parts
from raybrain.plain import from_tree
from raybrain.signal.window import Scaler, Window
from raybrain.tasks.retrieve import ROWS_AT_ONCE
from raybrain.train.record import run_records

if TYPE_CHECKING:
    from raybrain.predict.guess import Guess


class Model:
    """A trained model.

    Attributes:
        path: its folder.
        signature: of the experiment it answers.
        shapes: what its network is built for.
        window: how its windows are cut.
        metrics: of the valid split, at the epoch whose weights it has.
        features: the features of speech and how they are scaled, in order.
        network: its networks, in evaluation mode.
    """

    def __init__(self, path: Path, card: ModelCard, weights: dict[str, Tensor], device: str = "cpu") -> None:
        self.path, self.card, self.device = path, card, _device(device)
        self.network = _network(path, card, weights).to(self.device).eval()

    def __repr__(self) -> str:
        subjects, scores = len(self.subjects), ", ".join(f"{name} {value:.3g}" for name, value in self.metrics.items())
        return f"<Model {self.signature}: {self.card.experiment['encoder']['name']}, {subjects} subjects; {scores}>"

    @cached_property
    def experiment(self) -> Experiment:
        """What was asked.

        Raises:
            InputError: if a kind of study, feature or the like is not known here.
        """
        return from_tree(Experiment, self.card.experiment)

    @property
    def signature(self) -> str:
        """Of the experiment."""
        return self.card.signature

    @property
    def shapes(self) -> Shapes:
        """What the network is built for."""
        return self.card.shapes

    @property
    def window(self) -> Window:
        """How windows are cut from a signal."""
        return self.card.window

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whom it was trained with or calibrated to, as "study/subject"."""
        return self.card.subjects

    @property
    def recordings(self) -> tuple[str, ...]:
        """The recordings whose scale it knows."""
        return tuple(self.card.recordings)

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The sensors it knows."""
        return self.shapes.layouts

    @property
    def features(self) -> tuple[FeatureScale, ...]:
        """The features of speech, in order."""
        return self.card.features

    @property
    def metrics(self) -> dict[str, float]:
        """How good it is on the valid split."""
        return self.card.metrics

    def estimates(
        self,
        signal: np.ndarray,
        starts: Iterable[int],
        recording: str | None = None,
        subject: str | None = None,
        scaler: Scaler | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """What it makes of windows of a signal, [windows features time].

        Args:
            signal: [samples channels] at ``window.rate_hz``, prepared as in training (``experiment.data.signal``), unscaled.
            starts: the first sample of each window: that of the anchor is ``-window.tmin_s`` seconds later.
            recording: one it knows, which says subject, scaler and layout where these are not given.
            subject: one it knows.
            scaler: of the signal, such as ``Scaler.fitted`` makes.
            layout: the sensors; those it knows if it knows but one layout.

        Raises:
            InputError: if it is not known whose signal it is or how to scale it, what is given does not fit together, or the
                signal is not finite.
        """
        with torch.no_grad():
            return torch.cat(
                [self.network.encoder(batch) for batch in self.batches(signal, starts, recording, subject, scaler, layout)]
            )

    def batches(
        self,
        signal: np.ndarray,
        starts: Iterable[int],
        recording: str | None = None,
        subject: str | None = None,
        scaler: Scaler | None = None,
        layout: Layout | None = None,
    ) -> Iterator[Batch]:
        """Windows of a signal as the encoder sees them, some at a time; the arguments are those of ``estimates``.

        Raises:
            InputError: as ``estimates`` does.
        """
        source = self._source(recording, subject, scaler, layout)
        signal = _numbers(signal)
        divided, centre = self._scaled(signal, source)
        for some in torch.split(self._fitting(starts, len(signal)), ROWS_AT_ONCE):
            yield self._batch(self.window.cut(divided, some, centre.expand(len(some), -1)), source)

    def predict(
        self,
        recording: str | os.PathLike[str],
        sounds: str | os.PathLike[str] | None = None,
        text: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> "Guess":
        """What was heard in a new recording: stretches of sounds, or sentences, ranked for every moment of it.

        Args:
            recording: a file that mne reads, of whatever sensors and sampling rate.
            sounds: a folder of sounds that may have been heard, or one of them.
            text: in place of sounds, a file of sentences, one a line.
            options: the fields of :class:`~raybrain.predict.guess.Options`: who it is, what is known of what was heard, and how
                dense to look.

        Raises:
            InputError: if something cannot be read, or does not go with this model.
        """
        from raybrain.predict.guess import Options, guess

        speech = {name: Path(path) for name, path in (("sounds", sounds), ("text", text)) if path is not None}
        return guess(self, Path(recording), Options(**speech, **options))

    def with_subject(self, name: str) -> "Model":
        """This model with one more subject: who has what all share, if there is that, and else the mean of all others' weights.

        Args:
            name: of the new subject.

        Raises:
            InputError: if there is a subject of that name, or the encoder does not take more subjects.
        """
        from raybrain.predict.new_subject import added

        return added(self, name)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model whole or not at all, in place of what is in the folder; ``load`` gives it back.

        Raises:
            OSError: if it cannot be written.
        """
        write_model(Path(folder), self.card, self.network.state_dict())
        return Path(folder)

    def check_subject(self, subject: str) -> str:
        """``subject``, if the model knows it.

        Raises:
            InputError: if it does not.
        """
        return _among(subject, self.subjects, "subject")

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """How well each candidate fits each estimate, [windows candidates]; the more the better.

        Args:
            estimates: [windows features time].
            candidates: [candidates features time], scaled as in training (``FeatureScale.scaled`` of each of ``features``).
        """
        with torch.no_grad():
            scores: Tensor = self.network.loss.scores(estimates, self.network.aimed(candidates.to(self.device)))
        return scores

    def _source(self, recording: str | None, subject: str | None, scaler: Scaler | None, layout: Layout | None) -> "_Source":
        """Whose signal it is, how to scale it and where its sensors are, from what was said and what the model knows."""
        known = self.card.recordings[_among(recording, self.recordings, "recording")] if recording else None
        who = subject
        if known is not None:
            who, scaler = subject or known.subject, scaler or known.scaler
        if who is None:
            raise InputError("say whose signal it is: recording=... or subject=..., as in model.recordings and model.subjects")
        if scaler is None:
            raise InputError("say how to scale the signal: scaler=Scaler.fitted(...), of raybrain.signal.window")
        if layout is None and known is None and len(self.layouts) > 1:
            raise InputError("say which sensors these are: layout=..., as in model.layouts")
        if subject is not None:  # whose recording was left out of training has what somebody begins with
            self.check_subject(subject)
        layouts, number = ((layout,), 0) if layout else (self.layouts, known.layout if known else 0)
        return _Source(self.shapes.subjects.index(who), scaler, layouts, number)

    def _scaled(self, signal: np.ndarray, source: "_Source") -> tuple[Tensor, Tensor]:
        """Signal and centre divided by the scale, with as many channels as the widest layout."""
        channels = len(source.layouts[source.layout].channels)
        if channels > self.shapes.channels:
            raise InputError(f"the layout has {channels} channels, and the model takes {self.shapes.channels} at most")
        if signal.ndim != 2 or signal.shape[1] != channels or len(source.scaler.scale) != channels:
            shape = " x ".join(map(str, signal.shape)) or "one number"
            raise InputError(
                f"signal [samples channels] and scaler must have the {channels} channels of the layout,"
                f" found {shape} and {len(source.scaler.scale)}"
            )
        if not np.isfinite(signal).all():
            bad = np.flatnonzero(~np.isfinite(signal).all(axis=0)).tolist()
            raise InputError(
                f"the signal is not finite in {len(bad)} of {channels} channels, the first of them number {bad[0]}"
            )
        padding = (0, self.shapes.channels - channels)
        both = source.scaler.divided(signal), source.scaler.divided_centre
        divided, centre = (F.pad(torch.from_numpy(values), padding).to(self.device) for values in both)
        return divided, centre

    def _fitting(self, starts: Iterable[int], samples: int) -> Tensor:
        rows, last = np.asarray(list(starts)), samples - self.window.samples
        if last < 0:
            raise InputError(f"a window has {self.window.samples} samples, and this signal {samples}")
        if len(rows) and not np.issubdtype(rows.dtype, np.integer):
            raise InputError(f"starts are numbers of samples, found {rows[0]}; type integers, not seconds")
        if not len(rows) or rows.min() < 0 or rows.max() > last:
            span = f"from {rows.min()} to {rows.max()}" if len(rows) else "none"
            raise InputError(f"windows of {self.window.samples} samples can start at 0 to {last} of this signal, found {span}")
        return torch.from_numpy(rows.astype(np.int64)).to(self.device)

    def _batch(self, signal: Tensor, source: "_Source") -> Batch:
        count, width = len(source.layouts), self.shapes.channels
        positions, valid = torch.zeros(count, width, 2), torch.zeros(count, width, dtype=torch.bool)
        for number, layout in enumerate(source.layouts):
            positions[number, : len(layout.channels)] = torch.tensor(layout.positions)
            valid[number, : len(layout.channels)] = torch.tensor(layout.valid)
        batch = Batch(
            signal=signal,
            subject=torch.full((len(signal),), source.subject),
            layout=torch.full((len(signal),), source.layout),
            positions=positions,
            valid=valid,
            draws=step_draws(self.card.experiment["train"]["seed"], 0),
            segment=torch.arange(len(signal)),
        )
        return batch.to(self.device, signal.dtype)


@dataclass(frozen=True)
class _Source:
    """Where a signal comes from: the index of its subject, its scaler, and which of some layouts it has."""

    subject: int
    scaler: Scaler
    layouts: tuple[Layout, ...]
    layout: int


def load(model: str | os.PathLike[str], home: str | os.PathLike[str] | None = None, device: str = "cpu") -> Model:
    """A trained model.

    Args:
        model: its folder, the folder of its run, the name of that folder, or the signature of its experiment.
        home: where the run of a name or signature is; the usual home folder if None.
        device: what it computes on.

    Raises:
        InputError: if there is none, it is damaged, or a kind that it is built from is not known here.
    """
    folder = find_model(str(model), home_path(Path(home) if home else None))
    return Model(folder, read_card(folder), read_weights(folder), device)


def find_model(model: str, home: Path) -> Path:
    """The folder of a trained model, by what a person calls it: see :func:`load`.

    Raises:
        InputError: if there is none.
    """
    path = Path(model).expanduser()
    for folder in (path, path / "model"):
        if is_model(folder):
            return folder.absolute()
    if path.exists() or os.sep in model:
        raise InputError(f"no model in {path}; `raybrain train` writes one into the folder of the run once training is done")
    trained = [(record.path.name, record.model) for record in run_records(home) if is_model(record.model)]
    folders = [folder for name, folder in trained if model in (name, name.partition("-")[0])]
    if len(folders) > 1:
        runs = " or ".join(str(folder.parent) for folder in folders)
        raise InputError(f"{model} was trained on several versions of its data; type one of them: {runs}")
    if not folders:
        near = difflib.get_close_matches(model, {name.partition("-")[0] for name, _ in trained}, n=1)
        raise InputError(f"no trained model {model!r} in {typed_path(home)}{f', did you mean {near[0]!r}?' if near else ''}")
    fetch(folders[0].parent)
    return folders[0]


def _numbers(signal: Any) -> np.ndarray:
    """A signal as an array of numbers."""
    try:
        return np.asarray(signal, dtype=getattr(signal, "dtype", np.float64))
    except (TypeError, ValueError):
        raise InputError(f"signal is an array [samples channels] of numbers, found {type(signal).__name__}") from None


def _device(name: str) -> torch.device:
    """A device that is there."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"no device {name!r} ({first_line(error)}); type cpu, or cuda where there is a GPU") from None
    return device


def _among(name: str, known: Sequence[str], what: str) -> str:
    if name not in known:
        raise InputError(f"the model knows no {what} {name!r}{hint(name, known)}")
    return name


def parts(card: ModelCard) -> Parts:
    """The settings of the parts of a model's networks.

    Raises:
        InputError: if a kind is not known here.
    """
    return Parts.read(card.experiment)


def _network(path: Path, card: ModelCard, weights: dict[str, Tensor]) -> Network:
    """The networks of a model, with its weights."""
    made = parts(card)
    for part, kind in (("encoder", made.encoder), ("speech_encoder", made.speech), ("loss", made.loss)):
        if (here := version(type(kind))) != card.versions.get(part):
            warnings.warn(
                f"{path}: {part}={kind.name} has version {here} here and was trained with {card.versions.get(part)};"
                " estimates may differ",
                stacklevel=4,
            )
    with torch.random.fork_rng(devices=[]):  # the first weights of a network are drawn, and then replaced
        network = Network(made, card.shapes)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        line = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: the weights do not fit the network that is built here ({line})") from None
    return network
