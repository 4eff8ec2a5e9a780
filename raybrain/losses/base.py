"""Loss: the family of measures of how far estimates are from what was aimed at. To add one, add a file beside this one.

Dimension letters: R rows (estimates), N candidates, F features, T time samples.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raybrain.batch import Shapes
from raybrain.config import Choice
from raybrain.excerpts import Excerpts

TINY = 1e-8


class Loss(Choice):
    """What training makes small. Its settings are the fields of a kind."""

    @abstractmethod
    def build(self, shapes: Shapes) -> "LossModule":
        """The loss for estimates of these shapes."""


@dataclass(frozen=True)
class LossGroup:
    """What is known of a group of rows, whichever workers hold their estimates. Row n aims at candidate n.

    Attributes:
        excerpts: where the candidates lie in what was heard; None where nobody knows.
        shared: [group ...], what :meth:`LossModule.shared` gives of every row, with gradients, for a loss that needs it.
        estimates: [group features time], without gradients, for a loss that needs them.

    Where both are None, the rows at hand are the whole group.
    """

    excerpts: Excerpts | None = None
    shared: Tensor | None = None
    estimates: Tensor | None = None


ALONE = LossGroup()


class LossModule(nn.Module):
    """A loss that can also score: the scores rank candidates, the same way for every loss, so that tables compare.

    Attributes:
        needs_shared: whether the loss of a row depends on what :meth:`shared` gives of the other rows of its group.
        needs_estimates: whether it depends on their estimates, without changing them.
    """

    needs_shared: bool = False
    needs_estimates: bool = False

    def shared(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """What the losses of other rows of the group need to know of each row, [rows ...]; workers exchange it."""
        return self.scores(estimates, candidates)

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
        """The loss of each row, not reduced.

        Args:
            estimates: [rows features time].
            candidates: [candidates features time]; those no row aims at serve as further negatives.
            targets: [rows], which candidate each row should give.
            group: what is known beside.

        Returns:
            [rows], at least float32.
        """
        raise NotImplementedError

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """How well each candidate fits each estimate, [rows candidates], at least float32."""
        return inner_products(estimates, candidates)


def inner_products(estimates: Tensor, candidates: Tensor) -> Tensor:
    """Inner products over features and time, divided by the norm of the candidate, [rows candidates].

    Estimates are not normalised: their length is how sure the encoder is. Computed in float32 or better whatever autocast
    says, since a softmax of scores with eight bits is coarse.
    """
    dtype = torch.promote_types(torch.promote_types(estimates.dtype, candidates.dtype), torch.float32)
    with torch.autocast(estimates.device.type, enabled=False):
        rows, pool = estimates.flatten(1).to(dtype), candidates.flatten(1).to(dtype)
        # the result is divided and not the candidates: they are a thousand times larger
        scores: Tensor = rows @ pool.T / (TINY + torch.linalg.vector_norm(pool, dim=1))
        return scores


class RegressionLoss(LossModule):
    """A difference of each value, averaged over features and time. Candidates no row aims at play no part."""

    def __init__(self, difference: Callable[..., Tensor]) -> None:
        super().__init__()
        self.difference = difference

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
        """The mean difference of each row."""
        wanted = candidates[targets]
        dtype = torch.promote_types(torch.promote_types(estimates.dtype, wanted.dtype), torch.float32)
        return self.difference(estimates.to(dtype), wanted.to(dtype), reduction="none").mean(dim=(1, 2))
