"""Validation: what is known of a network after each epoch, whoever of the workers computes which part of it."""

import torch
import torch.distributed as dist
from torch import Tensor

from raybrain.tasks.retrieve import averages, rank_rows, tally
from raybrain.train.step import Learner


class Validation:
    """The valid split, as one of ``learner.place.world`` workers sees it."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.pools = learner.task.pools(learner.tables.words("valid_words"))

    @torch.no_grad()
    def loss(self) -> float:
        """The mean loss over the valid split, in groups as large as in training."""
        learner, place = self.learner, self.learner.place
        learner.network.eval()
        rows = learner.tables.rows["valid"]
        groups = torch.split(rows, learner.sizes.group)
        total = torch.zeros((), dtype=torch.float64, device=place.device)
        for number in range(place.rank, len(groups), place.world):
            total += learner.group_losses(groups[number]).double().sum()
        return float(self._summed(total)) / len(rows)

    def retrieval(self) -> dict[str, float]:
        """Accuracies at the word onsets of the valid split, averaged over studies, with what chance would give."""
        place = self.learner.place
        shares = [place.share(len(pool.rows)) for pool in self.pools]
        ranked = [rank_rows(self.learner, pool, mine) for pool, mine in zip(self.pools, shares, strict=True)]
        tallies = [self._summed(tally(some).to(place.device)) for some in ranked]
        return {f"valid_{name}": value for name, value in averages(self.learner.task, self.pools, tallies).items()}

    def _summed(self, tensor: Tensor) -> Tensor:
        if self.learner.place.world > 1:
            dist.all_reduce(tensor)
        return tensor
