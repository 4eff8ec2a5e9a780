"""Fitting: closed forms over the data, one subject after another, each worker some of them; for whatever is fitted."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from raybrain.config import InputError
from raybrain.encoders.base import FittedModule, Pair
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

ROWS_AT_ONCE = 64
LOSS_GROUPS = 16  # of the train split, on which a loss is measured where there are no steps to average it over


@dataclass(frozen=True)
class Fit:
    """Subjects that share a fit, and the segments it is made from."""

    subjects: tuple[int, ...]
    train: Tensor
    valid: Tensor


def fits(tables: Tables, per_subject: bool, held_out: bool = False) -> list[Fit]:
    """A fit for each subject; of all train segments for those who have none, or for everybody.

    Where whole subjects, sessions or recordings are ``held_out``, a subject who has no valid segments is judged by those of
    all, and one who is not tested either has no fit of its own.
    """
    who = {split: tables.subject[tables.recording[rows]] for split, rows in tables.rows.items()}
    known = torch.unique(who["train"]).tolist() if per_subject else []
    if held_out:
        known = [one for one in known if one in who["valid"] or one in who["test"]]
    made = []
    for one in known:
        train, valid = (tables.rows[split][who[split] == one] for split in ("train", "valid"))
        made.append(Fit((one,), train, tables.rows["valid"] if held_out and not len(valid) else valid))
    if others := tuple(number for number in range(len(tables.shapes.subjects)) if number not in known):
        made.append(Fit(others, tables.rows["train"], tables.rows["valid"]))
    return made


def fit(learner: Learner, module: FittedModule, some: Sequence[Fit], around: Collection[int] = ()) -> None:
    """Make up to ``place.world`` fits of a part of the network, one on each worker; all have all of them afterwards.

    A fit of a subject's own is one ``around`` what that subject has, if named there, and all others are made anew.
    """
    place = learner.place
    if place.rank < len(some):
        mine = some[place.rank]
        train, valid = _taught(learner, mine.train), _pairs(learner, mine.valid)
        if len(mine.subjects) == 1 and mine.subjects[0] in around:
            module.adapt(mine.subjects[0], train, valid)
        else:
            module.fit(mine.subjects, train, valid)
    if place.world == 1:
        return
    for owner, one in enumerate(some):
        for parameter in module.parameters():
            part = parameter.data[list(one.subjects)]
            dist.broadcast(part, owner)
            parameter.data[list(one.subjects)] = part


def loss_groups(learner: Learner) -> list[Tensor]:
    """Some groups of train segments, spread evenly over the train split; the same on every worker."""
    rows, group = learner.tables.rows["train"], learner.sizes.group
    count = min(LOSS_GROUPS, max(1, len(rows) // group))
    spread = torch.linspace(0, len(rows) - 1, min(count * group, len(rows)), dtype=torch.float64).round().long()
    picked = rows[spread.to(rows.device)]
    return [picked[number::count] for number in range(count)]


def _taught(learner: Learner, rows: Tensor) -> Iterator[Pair]:
    for some in torch.split(rows, ROWS_AT_ONCE):
        yield learner.taught(some).usable, learner.wanted(some)


def _pairs(learner: Learner, rows: Tensor) -> Iterator[Pair]:
    for some in torch.split(rows, ROWS_AT_ONCE):
        yield learner.given(some).usable, learner.stored(some)


class CannotFit(InputError):
    """Something beside the encoder has weights: fitting again would only meet them again."""
