"""CMA-ES: covariance matrix adaptation (Hansen 2016, arXiv:1604.00772)."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from raybrain.config import InputError
from raybrain.tune.samplers.base import Sampler

if TYPE_CHECKING:
    from raybrain.tune.space import SearchSpace


class CmaEs(Sampler, name="cmaes", shorthand="seed"):
    """From a normal distribution that moves to where trials were good; choices among names are drawn at random.

    Attributes:
        seed: of its draws.
    """

    seed: int = Field(default=0, ge=0)

    def sampler(self, space: "SearchSpace", trials: int) -> Any:
        """Optuna's."""
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(seed=self.seed + trials, warn_independent_sampling=False)

    def check(self, space: "SearchSpace") -> None:
        """Refuse several objectives."""
        super().check(space)
        if space.objectives:
            raise InputError('the sampler "cmaes" knows one objective only; type sampler="tpe"')
