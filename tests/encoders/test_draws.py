from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from raybrain.batch import Keys, step_draws
from raybrain.encoders.draws import Dropout, DropPath, chance, normal, place, shared, uniform


def keys(seed: int = 0, step: int = 0, segments: Tensor | None = None) -> Keys:
    return Keys.of(step_draws(seed, step), torch.arange(40) if segments is None else segments)


def test_they_never_change() -> None:
    """A run that goes on after an update must draw what it would have drawn."""
    drawn = uniform(Keys(torch.tensor(3), torch.tensor([0, 12345])), "a place", (2,))
    assert drawn.tolist() == [[0.6153586947261624, 0.5765085155860844], [0.31701801502726223, 0.7396351316062353]]
    assert place("a place") == 5441433780820679123 and place(7) == 7


def test_a_segment_has_its_numbers_whoever_it_comes_with() -> None:
    whole = uniform(keys(), "a", (3, 2))
    some = torch.tensor([31, 4, 4])
    assert torch.equal(uniform(keys(segments=some), "a", (3, 2)), whole[some])
    assert torch.equal(shared(keys(segments=some), "a", (5,)), shared(keys(), "a", (5,)))
    assert torch.equal(uniform(keys(), "a", (4,))[:, :3], uniform(keys(), "a", (3,))), "what is padded at its end"


@pytest.mark.parametrize("drawing", [uniform, normal, shared])
def test_seed_step_and_place_each_give_others(drawing: Callable[..., Tensor]) -> None:
    first = drawing(keys(), "a", (7,))
    others = [drawing(keys(seed=1), "a", (7,)), drawing(keys(step=1), "a", (7,)), drawing(keys(), "b", (7,))]
    assert all((other != first).all() for other in others)
    assert first.unique().numel() == first.numel() and first.dtype == torch.float64


def test_they_are_as_random_as_they_should_be() -> None:
    drawn = torch.stack([uniform(keys(step=step), where, (50,)) for step in range(5) for where in "abcde"])
    assert drawn.min() >= 0 and drawn.max() < 1
    count = drawn.numel()
    assert abs(drawn.mean() - 0.5) < 5 * (1 / 12 / count) ** 0.5
    assert abs(drawn.var() - 1 / 12) < 5 * (1 / 180 / count) ** 0.5
    parts = torch.histc(drawn.float(), 100, 0, 1)
    assert ((parts - count / 100) ** 2 / (count / 100)).sum() < 99 + 5 * (2 * 99) ** 0.5  # chi squared
    centred = drawn - 0.5
    for axis in range(3):  # neighbours in place and step, segment and element
        assert abs((centred * centred.roll(1, axis)).mean() * 12) < 5 / count**0.5
    usual = normal(keys(), "a", (500,))
    assert usual.isfinite().all()
    assert abs(usual.mean()) < 5 / usual.numel() ** 0.5 and abs(usual.var() - 1) < 5 * (2 / usual.numel()) ** 0.5
    assert abs((usual**4).mean() - 3) < 5 * (96 / usual.numel()) ** 0.5


def test_a_chance_is_as_probable_as_is_said() -> None:
    often = chance(keys(), "a", (99, 9), 0.3)
    assert abs(often.double().mean() - 0.3) < 5 * (0.21 / often.numel()) ** 0.5
    pairs = often.flatten(1)[:, :-1].view(40, -1, 2).double() - 0.3  # two share a hash
    assert abs(pairs.prod(dim=-1).mean()) < 5 * 0.21 / (often.numel() / 2) ** 0.5
    rarely = chance(keys(), "a", (99, 9), 0.1)
    assert (often | ~rarely).all() and chance(keys(), "a", (5,), 0.3).equal(often.flatten(1)[:, :5])
    assert not chance(keys(), "a", (9,), 0.0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout_keeps_the_mean_and_rests_in_evaluation(dtype: torch.dtype) -> None:
    layer, x = Dropout(0.25, "a"), torch.ones(40, 30, 20, dtype=dtype)
    dropped = layer(x, keys())
    assert dropped.dtype == dtype and set(dropped.unique().tolist()) == {0, x.new_tensor(4 / 3).item()}
    assert abs((dropped == 0).double().mean() - 0.25) < 0.02
    assert torch.equal(dropped == 0, layer(x.double(), keys()) == 0), "the same at every precision"
    assert torch.equal(layer.eval()(x, keys()), x) and torch.equal(Dropout(0.0, "a")(x, keys()), x)


def test_dropout_along_an_axis_takes_all_of_it() -> None:
    gone = Dropout(0.5, "a", along=(-1,))(torch.ones(40, 30, 20), keys()) == 0
    assert torch.equal(gone.any(dim=-1), gone.all(dim=-1)) and 0.4 < gone.double().mean() < 0.6


def test_drop_path_takes_whole_segments() -> None:
    layer, x = DropPath(0.5, "a"), torch.ones(40, 3, 2)
    gone = (layer(x, keys()) == 0).flatten(1)
    assert torch.equal(gone.any(dim=1), gone.all(dim=1)) and 10 < gone[:, 0].sum() < 30
    assert torch.equal(layer.eval()(x, keys()), x)


@pytest.mark.slow
def test_a_compiler_sees_through_it() -> None:
    layer = Dropout(0.25, "a")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for step in range(2):
        x = torch.randn(40, 3, 4, requires_grad=True)
        assert torch.equal(compiled(x, keys(step=step)), layer(x, keys(step=step)))
