"""Experiment: what is asked. It composes the settings of all parts; its signature names the question.

Where it runs is a :class:`raybrain.cluster.Cluster`: another type, which can never enter the signature.
"""

import importlib
import itertools
import math
import pkgutil
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from raybrain.config import Config, InputError, hint, override
from raybrain.data_config import DataConfig
from raybrain.encoders.base import Encoder, FittedEncoder, SpeechEncoder, Stored
from raybrain.encoders.ridge import Ridge
from raybrain.events import BY_RECORDING
from raybrain.identity import signature
from raybrain.losses.base import Loss
from raybrain.signal.window import WindowConfig
from raybrain.start_config import StartConfig
from raybrain.tasks.base import Task

STEPS = ("extra_negatives", "negatives", "epochs", "updates_per_epoch", "patience")  # settings of training by steps
SCHEDULED = ("lr", "beta2", "weight_decay")  # settings of the optimiser that may change while it works


class LayersConfig(Config):
    """Which weights are trained, and how fast each: for a network that starts from a trained one.

    A part goes by the name of a module or of a weight inside of the encoder, such as "front" or "blocks.0".

    Attributes:
        frozen: parts that are kept as they are. Their batch norm goes by what it has seen.
        thaw: train frozen parts as well once so many epochs are done; None to keep them to the end.
        rates: PART:FACTOR, by which the learning rate of a part is multiplied: ``front:0.1``.
        decay: the learning rate of each layer is that of the layer after it times this.
    """

    frozen: tuple[str, ...] = ()
    thaw: PositiveInt | None = None
    rates: tuple[str, ...] = ()
    decay: float = Field(default=1.0, gt=0, le=1)

    @field_validator("frozen")
    @classmethod
    def _in_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))

    @field_validator("rates")
    @classmethod
    def _spelled_alike(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        rates = sorted(map(_rate, value))
        for (part, _), (again, _) in itertools.pairwise(rates):
            if part == again:
                raise InputError(f"{part} has two rates; type one of both")
        return tuple(f"{part}:{factor!r}" for part, factor in rates if factor != 1)

    @model_validator(mode="after")
    def _something_to_thaw(self) -> Self:
        if self.thaw is not None and not self.frozen:
            raise InputError(f"thaw={self.thaw} says when frozen parts are trained, and none are; type frozen=PART with it")
        return self

    def factors(self) -> dict[str, float]:
        """By what the learning rates of some parts are multiplied."""
        return dict(map(_rate, self.rates))


def _rate(text: str) -> tuple[str, float]:
    """An item of ``rates``: a part and its factor."""
    parts = re.fullmatch(r"\s*([\w.]+)\s*:\s*([0-9.eE+-]+)\s*", text)
    try:
        part, factor = (parts[1], float(parts[2])) if parts else ("", 0.0)
    except ValueError:
        part, factor = "", 0.0
    if not 0 < factor < float("inf"):
        raise InputError(f"{text!r} is no rate of a part; type PART:FACTOR with a factor above 0, like front:0.1")
    return part, factor


class OptimConfig(Config):
    """The optimiser.

    Attributes:
        kind: "adam"; "adamw", with a weight decay of its own; "muon" for the matrices inside of the encoder, with AdamW for
            the rest (Jordan et al. 2024).
        lr: learning rate.
        beta2: how slowly the running mean of squared gradients forgets.
        weight_decay: as Adam's L2 penalty on all weights; of the others, how fast matrices shrink (Loshchilov and Hutter 2019).
        warmup: updates over which the learning rate grows from nothing.
        decay_to: the share of the learning rate that is left at the end of all epochs, to which it falls along half a cosine.
        clip: gradients that are longer than this, over all weights, are cut to it; None for any length.
        average: validate and keep the running mean of the weights, which forgets so slowly; 0 for the weights themselves.
        layers: which weights are trained when, and how fast each.
        schedule: changes while training goes on, EPOCHS:SETTING=VALUE: ``10:lr=0.0001`` sets the learning rate once ten epochs
            are done.
    """

    kind: Literal["adam", "adamw", "muon"] = "adam"
    lr: PositiveFloat = 3e-4
    beta2: float = Field(default=0.999, gt=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=0, ge=0)
    decay_to: float = Field(default=1.0, ge=0, le=1)
    clip: PositiveFloat | None = None
    average: float = Field(default=0.0, ge=0, lt=1)
    layers: LayersConfig = LayersConfig()
    schedule: tuple[str, ...] = ()

    @field_validator("schedule")
    @classmethod
    def _in_one_spelling(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        changes = sorted(map(_change, value))
        for (epochs, setting, _), (again, same, _) in itertools.pairwise(changes):
            if (epochs, setting) == (again, same):
                raise InputError(f"after {epochs} epochs {setting} changes twice; type one of both")
        kept, in_force = [], dict(info.data)
        for epochs, setting, number in changes:
            if in_force.get(setting) != number:  # else it changes nothing, and would give the same question another name
                kept.append(f"{epochs}:{setting}={number!r}")
            in_force[setting] = number
        return tuple(kept)

    @model_validator(mode="after")
    def _possible_throughout(self) -> Self:
        for epochs, _, _ in map(_change, self.schedule):
            self.after(epochs)
        return self

    def after(self, epochs: int) -> Self:
        """The settings in force once ``epochs`` epochs are done, with no schedule and nothing to thaw later."""
        changes = {setting: number for when, setting, number in map(_change, self.schedule) if when <= epochs}
        thawed = self.layers.thaw is not None and self.layers.thaw <= epochs
        layers = self.layers.model_copy(update={"thaw": None} | ({"frozen": ()} if thawed else {}))
        return override(self.model_copy(update={"schedule": (), "layers": layers}), changes)


def _change(text: str) -> tuple[int, str, float]:
    """An item of a schedule: after how many epochs, which setting, its value."""
    parts = re.fullmatch(r"\s*(\d+)\s*:\s*(\w+)\s*=\s*(\S+?)\s*", text)
    if parts is None:
        raise InputError(f"{text!r} is no change of a setting; type EPOCHS:SETTING=VALUE, like 10:lr=0.0001")
    epochs, setting, value = parts.groups()
    if setting not in SCHEDULED:
        raise InputError(f"no setting {setting!r} that can change{hint(setting, SCHEDULED)}")
    if int(epochs) == 0:
        raise InputError(f"{text!r} is no change, it is so from the start; type optim.{setting}={value}")
    try:
        return int(epochs), setting, float(value)
    except ValueError:
        raise InputError(f"{text!r}: {value!r} is no number") from None


class TrainConfig(Config):
    """How long and in which batches.

    Attributes:
        batch_size: segments that a step of the optimiser sees, over all workers: their number is no part of the question.
        batch_size_per_worker: resolves to ``batch_size``, and stands in place of it.
        contrast_size: candidates of its batch that each estimate is ranked against; None for the whole batch.
        extra_negatives: further candidates from the train split.
        negatives: how these are chosen: drawn from all train segments, each as likely ("uniform"), or from the nearest
            neighbours of what the batch aims at ("near"), which are hard to tell from it.
        epochs: at most so many.
        updates_per_epoch: steps of the optimiser in an epoch, at most; fewer where the train split has fewer batches.
        patience: stop after so many epochs without a lower valid loss.
        seed: of the first weights, the order of segments and dropout.
        subjects: train with the first so many subjects of each study, in order of their names; None for all.
        leave_out: subjects who are neither trained nor validated with, such as ``01`` of every study or ``STUDY/01``. They are
            tested as somebody new: without a word, and calibrated on some minutes of their train split (``test.minutes``).
        share: of the train segments of each recording, the first so many in time: as if less had been recorded. What is
            prepared stays the same.
        control: what is trained on instead, to see that the test is at chance then: "noise" in place of what goes in, or each
            train segment with what is aimed at in another one ("shuffled"); "none" for the train segments as they are.
    """

    batch_size: PositiveInt = 256
    batch_size_per_worker: PositiveInt | None = None
    contrast_size: PositiveInt | None = 128
    extra_negatives: int = Field(default=0, ge=0)
    negatives: Literal["uniform", "near"] = "uniform"
    epochs: PositiveInt = 200
    updates_per_epoch: PositiveInt = 1200
    patience: PositiveInt = 10
    seed: int = Field(default=2036, ge=0)
    subjects: PositiveInt | None = None
    leave_out: tuple[str, ...] = ()
    share: float = Field(default=1.0, gt=0, le=1)
    control: Literal["none", "noise", "shuffled"] = "none"

    @field_validator("leave_out")
    @classmethod
    def _in_one_spelling(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({name.strip() for name in names} - {""}))

    @model_validator(mode="after")
    def _something_to_choose(self) -> Self:
        if self.negatives != "uniform" and not self.extra_negatives:
            raise InputError(
                f"train.negatives={self.negatives} says how extra negatives are chosen, and there are none;"
                " type train.extra_negatives=NUMBER with it"
            )
        return self


class TestConfig(Config):
    """What is tested.

    Attributes:
        subjects: the test segments of the first so many subjects of each study, in order of their names; None for all.
        left_out: test those whom ``train.leave_out`` names, and nobody else.
        minutes: of calibration, at which those whom ``train.leave_out`` names are tested too, beside ridge regression.
    """

    subjects: PositiveInt | None = None
    left_out: bool = False
    minutes: tuple[float, ...] = Field((0.0, 2.0, 5.0, 10.0), min_length=1)

    @field_validator("minutes")
    @classmethod
    def _in_order(cls, minutes: tuple[float, ...]) -> tuple[float, ...]:
        if bad := [one for one in minutes if not 0 <= one < math.inf]:
            raise InputError(f"minutes of calibration are 0 or more, found {bad[0]:g}; type 0,2,5")
        return tuple(sorted(set(minutes)))


class Experiment(Config):
    """One question: which data, which model, which training. The defaults are the paper's where the paper says.

    Attributes:
        version: of the defaults.
        data: what is prepared.
        window: how a window of signal enters the encoder.
        task: the direction: what goes into the network, and what it is to estimate.
        encoder: the network that estimates.
        speech_encoder: the network that sees what is to be estimated; "stored" takes it as it is.
        loss: what training makes small.
        start: a trained model from which training starts.
        optim: the optimiser.
        train: batches and epochs.
        test: what is tested.
    """

    version: Literal[1, 2] = 2  # raise it when a default changes, so that old signatures keep their meaning
    data: DataConfig = Field(default_factory=DataConfig)
    window: WindowConfig = WindowConfig()
    task: Task = Field(default_factory=lambda: Task.kind("decode")())
    encoder: Encoder = Field(default_factory=lambda: Encoder.kind("simple_conv")())
    speech_encoder: SpeechEncoder = Stored()
    loss: Loss = Field(default_factory=lambda: Loss.kind("contrastive")())
    start: StartConfig = StartConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    test: TestConfig = TestConfig()

    @model_validator(mode="after")
    def _schedule_in_time(self) -> Self:
        for text in self.optim.schedule:
            if _change(text)[0] >= self.train.epochs:
                raise InputError(
                    f"optim.schedule has {text!r}, but training ends with train.epochs={self.train.epochs}; type less"
                )
        thaw = self.optim.layers.thaw
        if thaw is not None and thaw >= self.train.epochs and not isinstance(self.encoder, FittedEncoder):
            raise InputError(
                f"optim.layers.thaw={thaw}, but training ends with train.epochs={self.train.epochs}; type less, or none to keep"
                " what is frozen to the end"
            )
        return self

    @model_validator(mode="after")
    def _only_the_encoder_is_fitted(self) -> Self:
        if isinstance(self.encoder, FittedEncoder) and not isinstance(self.speech_encoder, Stored):
            raise InputError(
                f"encoder={self.encoder.name} is fitted, not trained, and speech_encoder={self.speech_encoder.name} must be"
                " trained; type speech_encoder=stored"
            )
        return self

    @model_validator(mode="after")
    def _line_meets_what_is_stored(self) -> Self:
        if self.encoder.line is not None and not isinstance(self.speech_encoder, Stored):
            raise InputError(
                f"encoder.ridge.on=true fits what is stored, and speech_encoder={self.speech_encoder.name} makes something else"
                " of it; type speech_encoder=stored, or encoder.ridge.on=false"
            )
        return self

    @model_validator(mode="after")
    def _fit_for_the_task(self) -> Self:
        if not self.task.has_sensors and (cure := self.encoder.without_sensors()):
            raise InputError(
                f"task={self.task.name} gives the encoder no sensors, which encoder={self.encoder.name} asks for; type {cure}"
            )
        for part in (self.encoder, self.encoder.line):
            if isinstance(part, Ridge):
                part.between(self.task.lags_s)
        if self.task.aims_at_brain and not isinstance(self.speech_encoder, Stored):
            raise InputError(
                f"task={self.task.name} aims at the brain, and speech_encoder={self.speech_encoder.name} is for speech;"
                " type speech_encoder=stored"
            )
        return self

    @model_validator(mode="after")
    def _subjects_known(self) -> Self:
        if self.data.splits.mode == "subject" and (cure := self.encoder.without_subjects()):
            raise InputError(
                f"data.splits.mode=subject tests people whom encoder={self.encoder.name} was not trained with, and it learns "
                f"something of each; type {cure}"
            )
        if self.train.leave_out and self.data.splits.mode in BY_RECORDING:
            raise InputError(
                f"train.leave_out takes people out of data that are split by what was said, and"
                f" data.splits.mode={self.data.splits.mode} holds out whole ones; type data.splits.mode=clean, or name them in"
                " data.splits.test"
            )
        if self.test.left_out and not self.train.leave_out:
            raise InputError("test.left_out tests whom train.leave_out names, and that names nobody; type train.leave_out=NAME")
        some, asked = self.train.subjects, self.test.subjects
        if some is not None and (asked is None or asked > some) and (cure := self.encoder.without_subjects()):
            raise InputError(
                f"train.subjects={some} leaves people to be tested whom encoder={self.encoder.name} was not trained with, and "
                f"it learns something of each; type test.subjects={some}, or {cure}"
            )
        return self

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        length = self.data.segments.length_s
        if self.window.offset_s >= length:
            raise InputError(f"window.offset_s={self.window.offset_s:g} leaves nothing of a window of {length:g} s; type less")
        return self

    @property
    def fits_line(self) -> bool:
        """Whether training begins with fitting a line."""
        return self.encoder.line is not None

    def named(self) -> dict[str, Any]:
        """What a fit in closed form does not read stands at its default, lest the same fit get several names."""
        if not isinstance(self.encoder, FittedEncoder):
            return {}
        fitted = TrainConfig(epochs=1)
        train = self.train.model_copy(update={name: getattr(fitted, name) for name in STEPS})
        return {"start": StartConfig(), "optim": OptimConfig(), "train": train}

    def as_read(self) -> Self:
        """The same question, with what its encoder does not read at the defaults: a fit in closed form is one epoch."""
        return self.model_copy(update=self.named())

    @property
    def signature(self) -> str:
        """Twelve hexadecimal digits: the same question has the same ones."""
        return signature(self, version=self.version)


def recipe_names() -> list[str]:
    """All recipes: the modules of raybrain.recipes."""
    package = importlib.import_module("raybrain.recipes")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def recipe(name: str, changes: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment a recipe describes, with dotted settings changed.

    Raises:
        InputError: if there is no such recipe or setting, or a value is not allowed.
    """
    names = recipe_names()
    if name not in names:
        raise InputError(f"no recipe called {name!r}{hint(name, names)}")
    experiment = importlib.import_module(f"raybrain.recipes.{name}").experiment()
    assert isinstance(experiment, Experiment)
    return override(experiment, changes or {})
