"""Ridge regression gives what mTRFpy gives on the same windows, in both directions, and chooses penalties on valid."""

from typing import Any

import numpy as np
import pytest
import torch
from mtrf.model import TRF
from torch import Tensor

from raybrain.batch import Batch, FeatureSlice, Shapes, step_draws
from raybrain.config import InputError, override
from raybrain.encoders.ridge import Moments, Ridge, RidgeMaps, divided, solve
from raybrain.experiment import Experiment

RATE, WINDOWS, CHANNELS, TIMES, DIMENSIONS = 100.0, 12, 3, 60, 4
LAGS: dict[str, tuple[float, float]] = {
    "around": (-0.05, 0.1),
    "later": (0.02, 0.05),
    "earlier": (-0.1, -0.02),
    "at once": (0.0, 0.0),
}


def windows(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """What goes in, and what is aimed at, which depends on it; neither has a mean of zero."""
    make = torch.Generator().manual_seed(seed)
    given = torch.randn(WINDOWS, CHANNELS, TIMES, generator=make, dtype=torch.float64) + 0.3
    noise = torch.randn(WINDOWS, DIMENSIONS, TIMES, generator=make, dtype=torch.float64)
    return given.to(dtype), (noise + given[:, :1].roll(-3, dims=2) - 1).to(dtype)


def maps(changes: dict[str, Any], subjects: int = 1, dtype: torch.dtype = torch.float64) -> RidgeMaps:
    names = tuple(f"s/{number}" for number in range(subjects))
    config = override(Ridge(), {"step_s": 0, "penalties": (1.0,), **changes})
    return config.build(Shapes(CHANNELS, names, DIMENSIONS, TIMES, RATE)).to(dtype)


def estimates(module: RidgeMaps, given: Tensor, subject: Tensor | None = None) -> Tensor:
    none = torch.zeros(len(given), dtype=torch.long)
    nowhere, draws = torch.zeros(1, CHANNELS, 2), step_draws(0, 0)
    batch = Batch(given, none if subject is None else subject, none, nowhere, nowhere[..., 0].bool(), draws, none)
    with torch.no_grad():
        return module(batch)


def columns(values: Tensor) -> list[np.ndarray]:
    return [window.T.double().numpy() for window in values]


def of_mtrf(given: Tensor, aimed: Tensor, lags: tuple[float, float], backward: bool, penalty: float) -> np.ndarray:
    """What mTRFpy makes of the windows it was fitted on, [B D T]. To it a lag is how much the response is later."""
    x, y = columns(given), columns(aimed)
    model = TRF(direction=-1 if backward else 1)
    ends = lags if backward else (-lags[1], -lags[0])
    model.train(*((y, x) if backward else (x, y)), RATE, *ends, penalty)
    made = model.predict(stimulus=None, response=x) if backward else model.predict(stimulus=x)
    return np.stack(made).transpose(0, 2, 1)


@pytest.mark.parametrize("backward", [True, False], ids=["backward", "forward"])
@pytest.mark.parametrize("lags", LAGS.values(), ids=LAGS)
def test_it_equals_mtrfpy(lags: tuple[float, float], backward: bool) -> None:
    given, aimed = windows()
    for penalty in (1e-3, 1.0, 1e3):
        module = maps({"tmin_s": lags[0], "tmax_s": lags[1], "penalties": (penalty,)})
        module.fit([0], [(given[:5], aimed[:5]), (given[5:], aimed[5:])], [])
        expected = of_mtrf(given, aimed, lags, backward, penalty)
        np.testing.assert_allclose(estimates(module, given).numpy(), expected, rtol=0, atol=1e-9)


def test_it_equals_mtrfpy_in_single_precision() -> None:
    given, aimed = windows(dtype=torch.float32)
    module = maps({"tmin_s": -0.05, "tmax_s": 0.1}, dtype=torch.float32)
    module.fit([0], [(given, aimed)], [])
    expected = of_mtrf(given, aimed, (-0.05, 0.1), True, 1.0)
    np.testing.assert_allclose(estimates(module, given).numpy(), expected, rtol=0, atol=1e-5)


def test_a_penalty_for_each_output_is_mtrfpys() -> None:
    """The one that does best on the valid windows, dimension by dimension."""
    given, aimed = windows()
    aimed[:, 1] = torch.randn(aimed[:, 1].shape, generator=torch.Generator().manual_seed(9), dtype=aimed.dtype)
    other, wanted = windows(seed=1)
    settings = {"tmin_s": 0.0, "tmax_s": 0.1, "penalties": (1e-3, 1e-1, 1e1)}
    each = maps({**settings, "per_output": True})
    each.fit([0], [(given, aimed)], [(other, wanted)])
    alone = []
    for penalty in settings["penalties"]:
        module = maps({**settings, "penalties": (penalty,)})
        module.fit([0], [(given, aimed)], [])
        alone.append(_correlations(estimates(module, other), wanted))
    best = [settings["penalties"][number] for number in np.argmax(alone, axis=0)]
    assert len(set(best)) > 1, "dimensions differ in what is best for them"
    parts = [of_mtrf(given, aimed[:, [d]], (0.0, 0.1), True, penalty) for d, penalty in enumerate(best)]
    np.testing.assert_allclose(estimates(each, given).numpy(), np.concatenate(parts, axis=1), rtol=0, atol=1e-9)
    together = maps(settings)
    together.fit([0], [(given, aimed)], [(other, wanted)])
    one = settings["penalties"][int(np.argmax(np.mean(alone, axis=1)))]
    expected = of_mtrf(given, aimed, (0.0, 0.1), True, one)
    np.testing.assert_allclose(estimates(together, given).numpy(), expected, rtol=0, atol=1e-9)


def _correlations(made: Tensor, wanted: Tensor) -> list[float]:
    return [float(np.corrcoef(made[:, d].flatten(), wanted[:, d].flatten())[0, 1]) for d in range(DIMENSIONS)]


@pytest.mark.parametrize("lags", [range(-5, 11, 1), range(-5, 11, 4), range(3, 8, 2), range(-9, -2, 3), range(0, 1)], ids=str)
def test_products_of_lags_are_those_of_the_lagged_signal(lags: range) -> None:
    given, aimed = windows()
    moments = Moments(lags)
    for some in (slice(0, 4), slice(4, 12)):
        moments.add(given[some], aimed[some])
    padded = torch.nn.functional.pad(given, (TIMES, TIMES))
    lagged = torch.cat([padded[..., TIMES + lag : 2 * TIMES + lag] for lag in lags], dim=1)
    torch.testing.assert_close(moments.gram, torch.einsum("bpt,bqt->pq", lagged, lagged))
    torch.testing.assert_close(moments.cross, torch.einsum("bpt,bdt->pd", lagged, aimed))


def test_everybody_has_a_map_of_their_own() -> None:
    module = maps({"tmin_s": 0.0, "tmax_s": 0.05}, subjects=3)
    for subjects, seed in (([0, 2], 0), ([1], 1)):
        module.fit(subjects, [windows(seed)], [])
    given, _ = windows()
    first, second, third = (estimates(module, given, torch.full((WINDOWS,), number)) for number in range(3))
    assert torch.equal(first, third) and not torch.allclose(first, second)
    mixed = estimates(module, given, torch.arange(WINDOWS) % 3)
    torch.testing.assert_close(mixed[1::3], second[1::3])
    torch.testing.assert_close(mixed[::3], first[::3])


def test_lags_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"tmin_s=0.3, must not be after the last, tmax_s=0.25"):
        maps({"tmin_s": 0.3})
    for part in ({"encoder": "ridge", "encoder.tmin_s": 0.3}, {"encoder.ridge.on": True, "encoder.ridge.line.tmin_s": 0.3}):
        with pytest.raises(InputError, match=r"tmin_s=0.3: the first lag, tmin_s=0.3, must not be after the last, tmax_s=0.25"):
            override(Experiment(), part)
    with pytest.raises(InputError, match=r"a lag of 0.6 s does not fit in a window of 0.6 s"):
        maps({"tmax_s": 0.6})


TELLS, NOISE = 1, 40
GROUPS = (FeatureSlice("tells", 0, TELLS), FeatureSlice("noise", TELLS, TELLS + NOISE))


def moments_of_two_features(seed: int) -> Moments:
    """One feature of one dimension that tells something, faintly, and one of many dimensions that tells nothing."""
    make = torch.Generator().manual_seed(seed)
    given = torch.randn(6, TELLS + NOISE, TIMES, generator=make, dtype=torch.float64)
    moments = Moments(range(0, 3))
    noise = torch.randn(6, DIMENSIONS, TIMES, generator=make, dtype=torch.float64)
    moments.add(given, 0.3 * given[:, :1] + noise)
    return moments


def test_a_penalty_for_each_feature_finds_what_one_for_all_loses() -> None:
    train, valid, test = (moments_of_two_features(seed) for seed in range(3))
    ways = divided(32, (TELLS, NOISE))
    one, several = (solve(train, valid, Ridge(), RATE, divisions)[0] for divisions in ((), ways))
    assert valid.correlation(several).mean() > valid.correlation(one).mean(), "chosen by this"
    assert test.correlation(several).mean() > test.correlation(one).mean() + 0.02
    share = several.view(3, -1, DIMENSIONS)[:, TELLS:].norm() / one.view(3, -1, DIMENSIONS)[:, TELLS:].norm()
    assert share < 0.3, "the noise is penalised more"


def test_a_division_is_ridge_regression_on_scaled_features() -> None:
    train, valid = moments_of_two_features(0), moments_of_two_features(1)
    (way,) = divided(1, (TELLS, NOISE))
    assert way.shape == (TELLS + NOISE,) and len(way.unique()) == 2 and way.log().unique().mean() == pytest.approx(0)
    scale = way.repeat(3)
    gram = scale[:, None] * (train.gram - train.samples * torch.outer(*[train.means[0]] * 2)) * scale
    cross = scale[:, None] * (train.cross - train.samples * torch.outer(*train.means))
    penalty = 10.0 * RATE * train.windows * torch.eye(len(gram), dtype=gram.dtype)
    config = override(Ridge(), {"penalties": (10.0,), "bands": 1})
    weights, _ = solve(train, valid, config, RATE, [way])
    plain, _ = solve(train, valid, config, RATE)
    expected = scale[:, None] * torch.linalg.solve(gram + penalty, cross)
    better = valid.correlation(expected).mean() > valid.correlation(plain).mean()
    torch.testing.assert_close(weights, expected if better else plain)


def test_bands_are_of_features_that_go_in() -> None:
    with pytest.raises(InputError, match=r"bands=4 divides the penalty among several features .* sensors, not features, go in"):
        maps({"bands": 4})
    shapes = Shapes(TELLS + NOISE, ("s/0",), DIMENSIONS, TIMES, RATE, groups=GROUPS)
    module = override(Ridge(), {"step_s": 0, "bands": 4, "tmin_s": 0.0, "tmax_s": 0.02}).build(shapes).double()
    make = torch.Generator().manual_seed(0)
    given, aimed = (torch.randn(6, size, TIMES, generator=make, dtype=torch.float64) for size in (TELLS + NOISE, DIMENSIONS))
    module.fit([0], [(given, aimed)], [(given, aimed)])
    assert module.weights.isfinite().all()
