"""QMC: quasi-Monte Carlo, scrambled Sobol sequences (Bergstra and Bengio 2012, JMLR 13, section 4.3)."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from raybrain.tune.samplers.base import Sampler

if TYPE_CHECKING:
    from raybrain.tune.space import SearchSpace


class QuasiRandom(Sampler, name="qmc", shorthand="seed"):
    """Spread more evenly over the ranges of the space than random points.

    Attributes:
        seed: of the scrambling.
    """

    seed: int = Field(default=0, ge=0)

    def sampler(self, space: "SearchSpace", trials: int) -> Any:
        """Optuna's. It goes on by its place in the sequence, so it needs the same seed again."""
        from optuna.samplers import QMCSampler

        return QMCSampler(scramble=True, seed=self.seed, warn_independent_sampling=False)
