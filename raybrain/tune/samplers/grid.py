"""Grid: every point, in order."""

from typing import TYPE_CHECKING, ClassVar

from raybrain.config import InputError
from raybrain.tune.samplers.base import Sampler

if TYPE_CHECKING:
    from raybrain.tune.space import SearchSpace
    from raybrain.tune.walk import Point


class Grid(Sampler, name="grid"):
    """Every point of the space, in order; those that are not ``allowed`` left out."""

    planned: ClassVar[bool] = True

    def points(self, space: "SearchSpace") -> "list[Point]":
        """All of them.

        Raises:
            InputError: if there is no end of them, or none.
        """
        from raybrain.tune.walk import grid

        points = grid(space)
        if not points:
            raise InputError("the grid has no point that is allowed")
        return points
