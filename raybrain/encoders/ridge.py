"""Ridge: regularised linear regression with time lags, the baseline of the field. Fitted in closed form, subject by subject.

Crosse et al. 2016, "The Multivariate Temporal Response Function (mTRF) Toolbox", for both directions: what is estimated at a
moment is a weighted sum of what goes in around that moment. The conventions are those of mTRFpy: windows are padded with zeros,
covariances are averaged over windows, the bias is not penalised, and a penalty counts times the sampling rate.

Dimension letters: S subjects, B windows, C channels, L lags, T time samples, D dimensions that are estimated; P = C * L.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Shapes
from raybrain.config import InputError
from raybrain.encoders.base import FittedEncoder, FittedModule, Pair

PENALTIES = tuple(10.0**power for power in range(-3, 6))
BANDS = 16  # ways to divide the penalty among several features, where these go in


class Ridge(FittedEncoder, name="ridge"):
    """Ridge regression with time lags (mTRF).

    A lag says what goes into an estimate: what happens so much later in the window that goes in, or earlier if it is negative.
    The task's are those of a brain that answers 0 to 400 ms after the sound: to decode it -0.15 to 0.25 s, since
    ``window.offset_s`` reads the brain 150 ms later already, and to encode the sound -0.25 to 0.15 s. Bad sensors and those of
    unknown place say nothing, where the place of any is known.

    Attributes:
        tmin_s: the first lag; None for the task's.
        tmax_s: the last lag; None for the task's.
        step_s: between two lags; 0 for a lag at every sample.
        penalties: the regularisation to choose from, by the mean correlation over what is estimated on the valid split.
        per_output: choose a penalty for each dimension that is estimated, rather than one for all.
        per_subject: a map for each subject; else one for all. Who has no train segments gets the latter in any case.
        bands: so many ways to divide the penalty among the features that go in are tried besides the equal one, so that a
            feature of many dimensions, or one that tells nothing, does not decide for all (banded ridge regression,
            Nunez-Elizalde et al. 2019); 0 for none, None for 16 where several features go in.
    """

    version: ClassVar[int] = 2  # sensors that are invalid say nothing

    tmin_s: float | None = None
    tmax_s: float | None = None
    step_s: float = Field(1 / 60, ge=0)
    penalties: tuple[PositiveFloat, ...] = Field(PENALTIES, min_length=1)
    per_output: bool = False
    per_subject: bool = True
    bands: int | None = Field(None, ge=0)

    def build(self, shapes: Shapes) -> "RidgeMaps":
        """A map for each subject."""
        longest, length = max(map(abs, self.between(shapes.lags_s))), shapes.times / shapes.rate_hz
        if longest >= length:
            raise InputError(f"a lag of {longest:g} s does not fit in a window of {length:g} s; type less for tmin_s or tmax_s")
        if self.bands and len(shapes.groups) < 2:
            names = ", ".join(part.name for part in shapes.groups) or "sensors, not features,"
            raise InputError(
                f"bands={self.bands} divides the penalty among several features that go in, and here {names} go in;"
                " type task=encode data.features=... with several, or bands=0"
            )
        return RidgeMaps(self, shapes)

    def lags(self, shapes: Shapes) -> range:
        """The lags in samples."""
        first, last = self.between(shapes.lags_s)
        step = max(1, round(self.step_s * shapes.rate_hz))
        return range(round(first * shapes.rate_hz), round(last * shapes.rate_hz) + 1, step)

    def ways(self, sizes: Sequence[int]) -> tuple[Tensor, ...]:
        """The ways to divide the penalty among groups of channels of these sizes, as :func:`divided` gives them."""
        return divided(BANDS if self.bands is None else self.bands, sizes)

    def between(self, usual: tuple[float, float]) -> tuple[float, float]:
        """The first lag and the last one in seconds, by those that are usual for a task.

        Raises:
            InputError: if the first is after the last.
        """
        first = usual[0] if self.tmin_s is None else self.tmin_s
        last = usual[1] if self.tmax_s is None else self.tmax_s
        if first > last:
            raise InputError(f"the first lag, tmin_s={first:g}, must not be after the last, tmax_s={last:g}")
        return first, last


class RidgeMaps(FittedModule):
    """The maps of all subjects; random before they are fitted."""

    def __init__(self, config: Ridge, shapes: Shapes) -> None:
        super().__init__()
        self.config, self.rate_hz, self.lags = config, shapes.rate_hz, config.lags(shapes)
        self.groups = shapes.groups
        size = len(shapes.subjects), shapes.features, shapes.channels, len(self.lags)
        self.weights = nn.Parameter(torch.randn(size) / (size[2] * size[3]) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(size[:2]))

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        padded = F.pad(batch.usable, (-self.lags[0], self.lags[-1]))  # less than nothing is padded by cutting off
        if torch.compiler.is_exporting():  # a program cannot look who is in a batch
            return self._each(padded, batch)
        out = batch.signal.new_empty(len(batch), self.weights.shape[1], batch.signal.shape[-1])
        for subject in torch.unique(batch.subject).tolist():
            mine = batch.subject == subject
            out[mine] = F.conv1d(padded[mine], self.weights[subject], self.bias[subject], dilation=self.lags.step).to(out.dtype)
        return out

    def _each(self, padded: Tensor, batch: Batch) -> Tensor:
        """The same with a map for each window, which takes more memory."""
        times = batch.signal.shape[-1]
        lagged = torch.stack([padded[..., lag - self.lags[0] :][..., :times] for lag in self.lags], dim=2)
        bias = self.bias[batch.subject][..., None]
        return torch.einsum("bdcl,bclt->bdt", self.weights[batch.subject], lagged) + bias

    @torch.no_grad()
    def fit(self, subjects: Sequence[int], train: Iterable[Pair], valid: Iterable[Pair]) -> None:
        """One map for some subjects, from windows of theirs."""
        self._fit(subjects, train, valid, None)

    @torch.no_grad()
    def adapt(self, subject: int, train: Iterable[Pair], valid: Iterable[Pair]) -> None:
        """A map whose difference from the present one is penalised: the higher the penalty, the less it leaves that."""
        present = self.weights[subject].double().permute(2, 1, 0).flatten(0, 1)  # [P D], lags one after another
        self._fit([subject], train, valid, present)

    def _fit(self, subjects: Sequence[int], train: Iterable[Pair], valid: Iterable[Pair], around: Tensor | None) -> None:
        fitted = Moments(self.lags)
        for given, aimed in train:
            fitted.add(given, aimed)
        judge = Moments(self.lags)
        for given, aimed in valid:
            judge.add(given, aimed)
        divisions = self.config.ways([part.stop - part.start for part in self.groups])
        weights, bias = solve(fitted, judge if judge.windows else fitted, self.config, self.rate_hz, divisions, around)
        shape = self.weights.shape[1:]
        maps = weights.T.reshape(shape[0], len(self.lags), shape[1]).transpose(1, 2)
        for subject in subjects:
            self.weights[subject], self.bias[subject] = maps, bias


@dataclass
class Moments:
    """Sums over windows that are all a regression needs: memory does not depend on how many windows there are.

    A sample stands in many rows of the lagged signal, so the products of most pairs of lags are those of the pair one step
    before, less what leaves the window at its start and with what enters at its end.

    Attributes:
        lags: in samples.
        windows: how many were added.
        samples: how many in them.
    """

    lags: range
    windows: int = 0
    samples: int = 0
    _sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, given: Tensor, aimed: Tensor) -> None:
        """Add windows, [B C T] and [B D T]."""
        wide = torch.float64 if given.device.type == "cpu" else torch.float32
        x, y = given.to(wide), aimed.to(wide)
        lagged = _Lagged(x, self.lags)
        rows = y.transpose(0, 1).flatten(1).T  # [BT D]
        first = lagged.of(0)
        parts = {
            "first": torch.cat([first @ lagged.of(lag).T for lag in range(len(self.lags))], dim=1),
            "cross": torch.cat([lagged.of(lag) @ rows for lag in range(len(self.lags))]),
            "given": torch.cat([lagged.of(lag).sum(dim=1) for lag in range(len(self.lags))]),
            "aimed": rows.sum(dim=0),
            "squares": rows.square().sum(dim=0),
        }
        if len(self.lags) > 1:
            leaves, enters = lagged.edge(front=True), lagged.edge(front=False)
            parts["change"] = enters @ enters.T - leaves @ leaves.T
        for name, part in parts.items():
            self._sums[name] = self._sums[name] + part.double() if name in self._sums else part.double()
        self.windows += len(x)
        self.samples += len(x) * x.shape[-1]

    @property
    def gram(self) -> Tensor:
        """Products of the lagged signal with itself, [P P]; lags one after another, with all channels in each."""
        first, count = self._sums["first"], len(self.lags)
        channels = len(first)
        gram = first.new_empty(count, channels, count, channels)
        gram[0] = first.view(channels, count, channels)
        gram[:, :, 0] = first.T.reshape(count, channels, channels)
        if count > 1:
            change = self._sums["change"].view(count - 1, channels, count - 1, channels)
            for lag in range(1, count):
                gram[lag, :, 1:] = gram[lag - 1, :, :-1] + change[lag - 1]
        return gram.view(count * channels, count * channels)

    @property
    def cross(self) -> Tensor:
        """Products of the lagged signal with what is aimed at, [P D]."""
        return self._sums["cross"]

    @property
    def means(self) -> tuple[Tensor, Tensor]:
        """Of the lagged signal, [P], and of what is aimed at, [D]."""
        return self._sums["given"] / self.samples, self._sums["aimed"] / self.samples

    @property
    def centred(self) -> tuple[Tensor, Tensor]:
        """:attr:`gram` and :attr:`cross` without the means."""
        mean, target = self.means
        return self.gram - self.samples * torch.outer(mean, mean), self.cross - self.samples * torch.outer(mean, target)

    @property
    def spread(self) -> Tensor:
        """Centred sum of squares of what is aimed at, [D]."""
        return self._sums["squares"] - self._sums["aimed"].square() / self.samples

    def of(self, channels: Tensor) -> "Moments":
        """Those of some channels of what goes in."""
        count = len(self._sums["first"])

        def places(lags: int) -> Tensor:
            return (torch.arange(lags)[:, None] * count + channels).flatten().to(self._sums["first"].device)

        every, but_last = places(len(self.lags)), places(len(self.lags) - 1)
        sums = self._sums | {name: self._sums[name][every] for name in ("cross", "given")}
        sums["first"] = self._sums["first"][channels.to(every.device)][:, every]
        if "change" in sums:
            sums["change"] = self._sums["change"][but_last][:, but_last]
        return Moments(self.lags, self.windows, self.samples, sums)

    def correlation(self, weights: Tensor) -> Tensor:
        """Of what these weights [P D] estimate with what is aimed at, [D]."""
        own, agree = self.centred
        return _correlation(weights, own, agree, self.spread)


@dataclass(frozen=True)
class _Lagged:
    """Windows [B C T] with the lags of a regression, zero where a lag reaches out of a window."""

    x: Tensor
    lags: range

    def of(self, lag: int) -> Tensor:
        """The signal at a lag, [C BT]."""
        return self._cut(self.lags[lag], self.x.shape[-1])

    def edge(self, front: bool) -> Tensor:
        """What leaves at the start, or enters at the end, from each lag but the last to the next one, [(L - 1)C B*step]."""
        begin = 0 if front else self.x.shape[-1]
        return torch.cat([self._cut(lag + begin, self.lags.step) for lag in self.lags[:-1]])

    def _cut(self, start: int, length: int) -> Tensor:
        """Samples from ``start`` on of every window, [C B*length]."""
        times = self.x.shape[-1]
        inside = self.x[..., min(max(start, 0), times) : min(max(start + length, 0), times)]
        before = min(max(-start, 0), length)
        full = F.pad(inside, (before, length - before - inside.shape[-1]))
        return full.transpose(0, 1).flatten(1)


def divided(bands: int, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Ways to divide a penalty among groups of channels of these sizes: what each channel is multiplied with, [C], in each.

    The penalties of two groups are up to a million times apart; their geometric mean over groups stays. None if there is one
    group alone.
    """
    if not bands or len(sizes) < 2:
        return ()
    engine = torch.quasirandom.SobolEngine(len(sizes))  # type: ignore[no-untyped-call]
    powers = 6 * engine.draw(bands + 2, dtype=torch.float64)[2:] - 3  # the first two points divide equally
    scales = 10 ** (-(powers - powers.mean(dim=1, keepdim=True)) / 2)
    return tuple(scale.repeat_interleave(torch.tensor(sizes)) for scale in scales)


def solve(
    fitted: Moments,
    judge: Moments,
    config: Ridge,
    rate_hz: float,
    divisions: Sequence[Tensor] = (),
    around: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The weights [P D] and bias [D] of the penalty, and its division, that do best on the windows of ``judge``.

    It is the penalty of the weights, or of their difference from those ``around`` which they are looked for.
    """
    penalties = [penalty * rate_hz * fitted.windows for penalty in config.penalties]
    plain = _Problem(*fitted.centred, *judge.centred, judge.spread, penalties, config.per_output, around)
    best, weights = plain.solved()
    for division in divisions:
        scale = division.to(weights.device).repeat(len(fitted.lags))[:, None]
        score, tried = plain.scaled(scale).solved()
        weights = torch.where(score > best, scale * tried, weights)
        best = torch.maximum(best, score)
    mean, target = fitted.means
    return weights, target - mean @ weights


@dataclass(frozen=True)
class _Problem:
    """What a penalty is chosen by.

    Attributes:
        gram, cross: of the windows to fit, without the means, [P P] and [P D].
        own, agree: those of the windows that judge.
        spread: of what is aimed at there, [D].
        penalties: to choose from.
        per_output: for each dimension.
        around: weights that others may differ from at a penalty, [P D]; None for 0.
    """

    gram: Tensor
    cross: Tensor
    own: Tensor
    agree: Tensor
    spread: Tensor
    penalties: Sequence[float]
    per_output: bool
    around: Tensor | None

    def scaled(self, scale: Tensor) -> "_Problem":
        """The same with each lagged channel multiplied with ``scale`` [P 1]: weights of it, times that, are of the signal."""
        gram, own = (scale * products * scale.T for products in (self.gram, self.own))
        around = None if self.around is None else self.around / scale
        return replace(self, gram=gram, cross=scale * self.cross, own=own, agree=scale * self.agree, around=around)

    def solved(self) -> tuple[Tensor, Tensor]:
        """Scores [D] and weights [P D] of the best penalty."""
        cross = self.cross if self.around is None else self.cross - self.gram @ self.around
        values, vectors = torch.linalg.eigh(self.gram)
        turned, agree, own = vectors.T @ cross, vectors.T @ self.agree, vectors.T @ self.own @ vectors
        best = weights = torch.empty(0)
        for penalty in self.penalties:
            tried = turned / (values + penalty)[:, None]
            tried = tried if self.around is None else tried + vectors.T @ self.around
            score = _correlation(tried, own, agree, self.spread)
            score = score if self.per_output else score.mean().expand_as(score)
            if not len(best):
                best, weights = score, tried
            else:
                weights = torch.where(score > best, tried, weights)
                best = torch.maximum(best, score)
        return best, vectors @ weights


def _correlation(weights: Tensor, own: Tensor, agree: Tensor, spread: Tensor) -> Tensor:
    """Of what weights [P D] estimate with what is aimed at, [D]."""
    power = (weights * (own @ weights)).sum(dim=0) * spread
    return (weights * agree).sum(dim=0) / power.clamp(min=torch.finfo(power.dtype).tiny).sqrt()
