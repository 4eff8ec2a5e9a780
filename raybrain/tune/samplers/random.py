"""Random: points drawn without looking at what came of others."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from raybrain.tune.samplers.base import Sampler

if TYPE_CHECKING:
    from raybrain.tune.space import SearchSpace


class RandomPoints(Sampler, name="random", shorthand="seed"):
    """Anywhere in the space, each point on its own.

    Attributes:
        seed: of its draws.
    """

    seed: int = Field(default=0, ge=0)

    def sampler(self, space: "SearchSpace", trials: int) -> Any:
        """Optuna's."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=self.seed + trials)
