"""Partners: for each train segment another one in which the same is heard, mostly by someone else, to be mixed with it."""

import torch
from torch import Tensor

from raybrain.batch import Keys
from raybrain.encoders.draws import uniform
from raybrain.train.tables import Tables

NEAR_S = 0.25  # of what was heard, at most so far apart: half of the usual distance of train segments


class Partners:
    """The train segments in order of what was heard, on the device of the tables."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        excerpts = tables.excerpts(tables.rows["train"])
        self.earliest = excerpts.start_s.min()
        self.span = excerpts.start_s.max() - self.earliest + 3 * NEAR_S
        moments, order = self._moments(tables.rows["train"]).sort(stable=True)
        self.moments, self.rows = moments, tables.rows["train"][order]
        ends = tables.start.new_zeros(int(tables.recording.max()) + 1)
        self.last = ends.scatter_reduce(0, tables.recording, tables.start, "amax", include_self=False)
        self.first = ends.scatter_reduce(0, tables.recording, tables.start, "amin", include_self=False)

    def of(self, keys: Keys, rows: Tensor) -> tuple[Tensor, Tables]:
        """A partner of each segment, which may be itself.

        Args:
            keys: of the segments.
            rows: [batch], train segments.

        Returns:
            [batch] which segments the partners are, and tables with these alone, in this order, each moved in its recording so
            that the very same is heard as in the segment it is a partner of; as far as the recording reaches.
        """
        moments = self._moments(rows)
        begin, end = torch.searchsorted(self.moments, moments - NEAR_S), torch.searchsorted(self.moments, moments + NEAR_S)
        chosen = begin + (uniform(keys, "partner").to(begin.device) * (end - begin)).long()
        partners, tables = self.rows[chosen], self.tables
        recording, start = tables.recording[partners], tables.start[partners]
        start = start + ((moments - self.moments[chosen]) * tables.window.rate_hz).round().long()
        return partners, tables.picked(partners, start.clamp(self.first[recording], self.last[recording]))

    def _moments(self, rows: Tensor) -> Tensor:
        """A number for the moment of each segment in what was heard: those of two stimuli are far apart."""
        excerpts = self.tables.excerpts(rows)
        return excerpts.stimulus * self.span + (excerpts.start_s - self.earliest)
