"""TPE: tree-structured Parzen estimators (Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization)."""

from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from raybrain.tune.samplers.base import Sampler

if TYPE_CHECKING:
    from raybrain.tune.space import SearchSpace


class Tpe(Sampler, name="tpe", shorthand="seed"):
    """Where good trials lay dense and bad ones sparse, seen for all parameters together.

    Attributes:
        seed: of its draws.
        first_trials: how many are drawn at random before it begins.
    """

    seed: int = Field(default=0, ge=0)
    first_trials: PositiveInt = 10

    def sampler(self, space: "SearchSpace", trials: int) -> Any:
        """Optuna's; if a function draws the parameters, for each set of them that goes together."""
        from optuna.samplers import TPESampler

        return TPESampler(
            seed=self.seed + trials,
            n_startup_trials=self.first_trials,
            multivariate=True,
            constant_liar=True,  # what runs counts as bad until it is done, so that others are drawn elsewhere
            group=callable(space.parameters),
        )
