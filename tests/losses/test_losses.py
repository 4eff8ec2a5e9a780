from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybrain.batch import FeatureSlice, Shapes
from raybrain.config import InputError, override
from raybrain.excerpts import Excerpts
from raybrain.losses.base import Loss, LossGroup
from raybrain.losses.contrastive import Contrastive

SHAPES = Shapes(channels=1, subjects=("s/1",), features=3, times=20, rate_hz=10.0, tmin_s=-0.5)
ROWS, CANDIDATES = 4, 6
TARGETS = torch.tensor([2, 0, 5, 3])


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    estimates, candidates = (torch.randn(n, SHAPES.features, SHAPES.times, generator=generator) for n in (ROWS, CANDIDATES))
    return estimates, candidates


def test_kinds() -> None:
    assert set(Loss.kinds()) >= {"contrastive", "info_nce", "siglip", "consensus", "by_feature", "l1", "mse", "mixed"}


def test_contrastive_by_hand(pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair
    losses = Contrastive().build(SHAPES)(estimates, candidates, TARGETS)
    for row, target in enumerate(TARGETS):
        logits = torch.stack([(estimates[row] * one).sum() / one.square().sum().sqrt() for one in candidates])
        torch.testing.assert_close(losses[row], logits.exp().sum().log() - logits[target])


def test_more_candidates_are_more_negatives(pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair
    loss, targets = Contrastive().build(SHAPES), torch.arange(ROWS)
    assert (loss(estimates, candidates, targets) > loss(estimates, candidates[:ROWS], targets)).all()


def test_a_silent_candidate_gives_no_nan(pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair[0].requires_grad_(), pair[1].clone()
    candidates[1] = 0
    candidates.requires_grad_()
    Contrastive().build(SHAPES)(estimates, candidates, TARGETS).sum().backward()
    assert estimates.grad is not None and candidates.grad is not None
    assert estimates.grad.isfinite().all() and candidates.grad.isfinite().all()


def test_trimmed_uses_its_part_only(pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair
    trimmed = Contrastive(tmin_s=0.0, tmax_s=1.0).build(SHAPES)
    part = slice(5, 15)  # the anchor is half a second into the window, at 10 Hz
    whole = Contrastive().build(SHAPES)
    torch.testing.assert_close(trimmed.scores(estimates, candidates), whole.scores(estimates[..., part], candidates[..., part]))


@pytest.mark.parametrize("window", [(1.0, 0.0), (-1.0, 1.0), (0.0, 5.0), (0.0, 0.01)])
def test_a_window_outside_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"window from -0\.5 to 1\.5 s"):
        Contrastive(tmin_s=window[0], tmax_s=window[1]).build(SHAPES)


def test_centered_scores_ignore_a_constant(pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair
    loss = Contrastive(center=True).build(SHAPES)
    torch.testing.assert_close(loss.scores(estimates + 3, candidates - 2), loss.scores(estimates, candidates))


def test_pooled_scores_ignore_the_order_in_time(pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair
    loss = Contrastive(pool=True).build(SHAPES)
    torch.testing.assert_close(loss.scores(estimates.flip(-1), candidates), loss.scores(estimates, candidates))


@pytest.mark.parametrize("options", [{"linear": 2}, {"linear": 2, "pool": True, "center": True}])
def test_linear_maps_are_trained(options: dict[str, Any], pair: tuple[Tensor, Tensor]) -> None:
    loss = override(Contrastive(), options).build(SHAPES)
    loss(*pair, TARGETS).sum().backward()
    gradients = [p.grad for p in loss.parameters()]
    assert len(gradients) == 4 and all(grad is not None for grad in gradients)


@pytest.mark.parametrize(("name", "difference"), [("l1", torch.abs), ("mse", torch.square)])
def test_regression_by_hand(name: str, difference: Any, pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair
    loss = Loss.parse(name).build(SHAPES)
    expected = [difference(estimates[row] - candidates[target]).mean() for row, target in enumerate(TARGETS)]
    torch.testing.assert_close(loss(estimates, candidates, TARGETS), torch.stack(expected))
    torch.testing.assert_close(loss.scores(estimates, candidates), Contrastive().build(SHAPES).scores(estimates, candidates))


@pytest.mark.parametrize("name", ["contrastive", "l1", "mse"])
def test_autocast_does_not_make_it_coarse(name: str, pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = (x.bfloat16() for x in pair)
    loss = Loss.parse(name).build(SHAPES)
    with torch.autocast("cpu", torch.bfloat16):
        values = loss(estimates, candidates, TARGETS), loss.scores(estimates, candidates)
    expected = loss(estimates.float(), candidates.float(), TARGETS), loss.scores(estimates.float(), candidates.float())
    for value, wanted in zip(values, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, wanted)


# a quantity of two dimensions, three classes, and a quantity of one
PARTS = (FeatureSlice("mel", 0, 2), FeatureSlice("phoneme", 2, 5, (0.5, 2.0, 10.0)), FeatureSlice("length", 5, 6))
MIXED = replace(SHAPES, features=6, slices=PARTS)


@pytest.fixture
def mixed() -> tuple[Tensor, Tensor, Tensor]:
    """Estimates, candidates and the classes of these."""
    generator = torch.Generator().manual_seed(0)
    estimates, candidates = (torch.randn(n, 6, SHAPES.times, generator=generator) for n in (ROWS, CANDIDATES))
    classes = torch.randint(0, 3, (CANDIDATES, SHAPES.times), generator=generator)
    candidates[:, 2:5] = torch.eye(3)[classes].transpose(1, 2)
    return estimates, candidates, classes


def test_mixed_by_hand(mixed: tuple[Tensor, Tensor, Tensor]) -> None:
    """Each feature counts the same: squares of quantities, weighted log-probabilities of classes, averaged over time."""
    estimates, candidates, classes = mixed
    losses = Loss.parse("mixed").build(MIXED)(estimates, candidates, TARGETS)
    weights = torch.tensor(PARTS[1].weights)
    for row, target in enumerate(TARGETS):
        guess, truth = estimates[row], candidates[target]
        chosen = torch.log_softmax(guess[2:5], dim=0)[classes[target], torch.arange(SHAPES.times)]
        expected = (
            (guess[:2] - truth[:2]).square().mean()
            - (weights[classes[target]] * chosen).mean()
            + (guess[5] - truth[5]).square().mean()
        ) / 3
        torch.testing.assert_close(losses[row], expected)
    entropy = nn.CrossEntropyLoss(weights, reduction="sum")(estimates[:, 2:5], classes[TARGETS]) / (ROWS * SHAPES.times)
    alone = Loss.parse("mixed").build(replace(MIXED, slices=PARTS[1:2]))
    torch.testing.assert_close(alone(estimates, candidates, TARGETS).mean(), entropy)


def test_mixed_of_quantities_is_mse(pair: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = pair
    mixed, mse = (
        Loss.parse("mixed").build(replace(SHAPES, slices=(FeatureSlice("mel", 0, 3),))),
        Loss.parse("mse").build(SHAPES),
    )
    torch.testing.assert_close(mixed(estimates, candidates, TARGETS), mse(estimates, candidates, TARGETS))
    torch.testing.assert_close(mixed.scores(estimates, candidates), mse.scores(estimates, candidates))


def test_mixed_scores_do_not_depend_on_the_zero_of_logits(mixed: tuple[Tensor, Tensor, Tensor]) -> None:
    """Candidates are compared with the probabilities of classes; whoever has them all right finds every candidate."""
    estimates, candidates, _ = mixed
    loss = Loss.parse("mixed").build(MIXED)
    moved = estimates.clone()
    moved[:, 2:5] += 7
    torch.testing.assert_close(loss.scores(moved, candidates), loss.scores(estimates, candidates))
    alone = candidates.clone()
    alone[:, [0, 1, 5]] = 0
    sure = alone.clone()
    sure[:, 2:5] *= 50
    assert loss.scores(sure, alone).argmax(dim=1).tolist() == list(range(CANDIDATES))


def test_mixed_trains_quantities_and_rare_classes(mixed: tuple[Tensor, Tensor, Tensor]) -> None:
    """A linear map learns all three features from noise that is a mixture of them."""
    generator = torch.Generator().manual_seed(1)
    classes = 2 - (torch.rand(60, SHAPES.times, generator=generator) * 20).long().clamp(max=2)  # 90 %, 5 %, 5 %
    wanted = torch.randn(60, 6, SHAPES.times, generator=generator)
    wanted[:, 2:5] = torch.eye(3)[classes].transpose(1, 2)
    brain = torch.einsum("cf,rft->rct", torch.randn(8, 6, generator=generator), wanted)
    encoder, loss = nn.Conv1d(8, 6, 1), Loss.parse("mixed").build(MIXED)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.1)
    values = []
    for _ in range(300):
        value = loss(encoder(brain), wanted, torch.arange(60)).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    guess = encoder(brain)
    assert values[-1] < 0.1 * values[0]
    assert (guess[:, [0, 1, 5]] - wanted[:, [0, 1, 5]]).square().mean() < 0.02
    for number in range(3):
        assert (guess[:, 2:5].argmax(dim=1) == classes)[classes == number].float().mean() > 0.95
    scores = loss.scores(guess, wanted)
    assert (scores.argmax(dim=1) == torch.arange(60)).float().mean() > 0.95


def test_mixed_needs_stored_features() -> None:
    with pytest.raises(InputError, match="type task=decode speech_encoder=stored"):
        Loss.parse("mixed").build(SHAPES)


# losses that know how candidates relate: candidate 1 overlaps with 2, 4 is the same as 0 to the last bit, 3 overlaps with 5

EXCERPTS = Excerpts(
    stimulus=torch.tensor([7, 7, 7, 8, 9, 8]),
    start_s=torch.tensor([0.0, 10.0, 11.0, 0.0, 0.0, 1.0], dtype=torch.float64),
    subject=torch.zeros(6, dtype=torch.long),
    length_s=2.0,
    rate_hz=10.0,
)
ALIKE = {1: {2}, 2: {1}, 3: {5}, 5: {3}}


@pytest.fixture
def family(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Six estimates, one for each candidate."""
    candidates = pair[1].clone()
    candidates[4] = candidates[0]
    return torch.randn(candidates.shape, generator=torch.Generator().manual_seed(2)), candidates


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0)


def negatives(row: int, equal: bool = True) -> list[int]:
    same = {0: 4, 4: 0}.get(row) if equal else None
    return [n for n in range(CANDIDATES) if n not in {row, same, *ALIKE.get(row, ())}]


def test_siglip_by_hand(family: tuple[Tensor, Tensor]) -> None:
    """Neither what overlaps or says the same nor what is the same to the last bit is a negative; the latter counts once."""
    estimates, candidates = family
    loss = override(Loss.parse("siglip"), {"temperature": 0.5, "bias": -1}).build(SHAPES)
    losses = loss(estimates, candidates, torch.arange(6), LossGroup(EXCERPTS))
    for row in range(6):
        logits = [2 * cosine(estimates[row], one) - 1 for one in candidates]
        wrong = [n for n in negatives(row) if n != 4]
        expected = -torch.log(torch.sigmoid(logits[row])) - sum(torch.log(torch.sigmoid(-logits[n])) for n in wrong)
        torch.testing.assert_close(losses[row], expected)
    losses.sum().backward()
    assert all(parameter.grad is not None and parameter.grad != 0 for parameter in loss.parameters())


def test_info_nce_by_hand(family: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = family
    loss = override(Loss.parse("info_nce"), {"temperature": 0.5, "alike": "left_out"}).build(SHAPES)
    losses = loss(estimates, candidates, torch.arange(6), LossGroup(EXCERPTS))
    logits = torch.stack([torch.stack([2 * cosine(row, one) for one in candidates]) for row in estimates])
    for row in range(6):
        kept = [row, *negatives(row, equal=False)]
        both = torch.logsumexp(logits[row, kept], 0) + torch.logsumexp(logits[kept, row], 0) - 2 * logits[row, row]
        torch.testing.assert_close(losses[row], both / 2)
    one_way = override(Loss.parse("info_nce"), {"symmetric": False}).build(SHAPES)
    assert not one_way.needs_shared
    entropy = nn.functional.cross_entropy(logits * (0.5 / 0.07), torch.arange(6), reduction="none")
    torch.testing.assert_close(one_way(estimates, candidates, torch.arange(6)), entropy)


def test_some_rows_of_a_group_have_the_losses_they_have_in_it(family: tuple[Tensor, Tensor]) -> None:
    """With one more candidate, which is a negative only."""
    estimates, candidates = family
    loss = override(Loss.parse("info_nce"), {"equal": "one", "soft.weight": 0.2}).build(SHAPES)
    whole = loss(estimates[:5], candidates, torch.arange(5))
    shared = loss.shared(estimates[:5], candidates)
    part = loss(estimates[2:4], candidates, torch.tensor([2, 3]), LossGroup(shared=shared))
    torch.testing.assert_close(part, whole[2:4])


@pytest.mark.parametrize("name", ["contrastive", "info_nce"])
def test_equal_candidates_count_once(name: str, family: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = family
    one = override(Loss.parse(name), {"equal": "one"} | ({"symmetric": False} if name == "info_nce" else {})).build(SHAPES)
    several = override(Loss.parse(name), {"symmetric": False} if name == "info_nce" else {}).build(SHAPES)
    targets = torch.tensor([0, 1, 2, 3, 0, 5])
    distinct = several(estimates, candidates[[0, 1, 2, 3, 5]], torch.tensor([0, 1, 2, 3, 0, 4]))
    torch.testing.assert_close(one(estimates, candidates, torch.arange(6)), distinct)
    torch.testing.assert_close(one(estimates, candidates, targets), distinct)
    assert (several(estimates, candidates, targets) > distinct).all()


def test_both_estimates_of_a_candidate_that_is_there_twice_are_right(family: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = family
    loss = override(Loss.parse("info_nce"), {"equal": "one"}).build(SHAPES)
    estimates[4] = estimates[0]
    losses = loss(estimates, candidates, torch.arange(6))
    torch.testing.assert_close(losses[0], losses[4])
    logits = loss.scores(estimates, candidates)
    way_back = -logits[:, 0].log_softmax(dim=0)[[0, 4]].mean()
    there = -logits[0, [0, 1, 2, 3, 5]].log_softmax(dim=0)[0]
    torch.testing.assert_close(losses[0], (there + way_back) / 2)


def test_soft_targets_by_hand(family: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = family
    loss = override(Loss.parse("contrastive"), {"soft.weight": 0.25, "soft.temperature": 0.5, "temperature": 3}).build(SHAPES)
    losses = loss(estimates, candidates, torch.arange(6))
    logits = Contrastive().build(SHAPES).scores(estimates, candidates) / 3
    for row in range(6):
        soft = torch.stack([cosine(candidates[row], one) / 0.5 for one in candidates]).softmax(dim=0)
        wanted = 0.75 * torch.eye(6)[row] + 0.25 * soft
        torch.testing.assert_close(losses[row], -(wanted * logits[row].log_softmax(dim=0)).sum())
    with pytest.raises(InputError, match=r"type loss\.soft\.weight=0"):
        override(Loss.parse("siglip"), {"soft.weight": 0.1}).build(SHAPES)


def test_contrastive_leaves_out_what_is_alike(family: tuple[Tensor, Tensor]) -> None:
    estimates, candidates = family
    loss = override(Loss.parse("contrastive"), {"alike": "left_out"}).build(SHAPES)
    losses = loss(estimates, candidates, torch.arange(6), LossGroup(EXCERPTS))
    logits = loss.scores(estimates, candidates)
    for row in range(6):
        kept = [row, *negatives(row, equal=False)]
        torch.testing.assert_close(losses[row], torch.logsumexp(logits[row, kept], 0) - logits[row, row])


def test_consensus_by_hand(family: tuple[Tensor, Tensor]) -> None:
    """Rows 1 and 2 overlap by a second, 3 and 5 are the same stretch; 0 and 4 are alone."""
    estimates, candidates = family
    subject = torch.tensor([0, 0, 1, 0, 0, 1])
    start_s = torch.tensor([0.0, 10.0, 11.0, 5.0, 10.0, 5.0], dtype=torch.float64)
    where = replace(EXCERPTS, subject=subject, start_s=start_s, stimulus=torch.tensor([7, 7, 7, 8, 9, 8]))
    plain, loss = Contrastive().build(SHAPES), override(Loss.parse("consensus"), {"weight": 0.5}).build(SHAPES)
    pull = loss(estimates, candidates, torch.arange(6), LossGroup(where)) - plain(estimates, candidates, torch.arange(6))
    later = slice(10, 20), slice(0, 10)  # a second at 10 Hz
    mean = (estimates[1, :, later[0]] + estimates[2, :, later[1]]) / 2
    shared = [(1, estimates[1, :, later[0]], mean), (2, estimates[2, :, later[1]], mean)]
    shared += [(row, estimates[row], (estimates[3] + estimates[5]) / 2) for row in (3, 5)]
    expected = torch.zeros(6)
    for row, own, towards in shared:
        expected[row] = 0.5 * (1 - cosine(own, towards))
    torch.testing.assert_close(pull, expected, atol=1e-5, rtol=1e-5)
    part = loss(estimates[2:4], candidates, torch.tensor([2, 3]), LossGroup(where, estimates=estimates))
    torch.testing.assert_close(part, loss(estimates, candidates, torch.arange(6), LossGroup(where))[2:4])
    loss.eval()
    rows = torch.arange(6)
    assert torch.equal(loss(estimates, candidates, rows, LossGroup(where)), plain(estimates, candidates, rows))


def test_consensus_is_that_of_people_however_many_windows_they_have(family: tuple[Tensor, Tensor]) -> None:
    """Row 0 is one person's; 1 and 2 are another's, half a second apart; 3 is a third one's. All overlap."""
    estimates, candidates = family
    start_s = torch.tensor([0.0, 0.0, 0.5, 0.0, 99.0, 199.0], dtype=torch.float64)
    where = replace(EXCERPTS, subject=torch.tensor([0, 1, 1, 2, 0, 0]), start_s=start_s, stimulus=torch.full((6,), 7))
    plain, loss = Contrastive().build(SHAPES), override(Loss.parse("consensus"), {"weight": 1.0}).build(SHAPES)
    pull = loss(estimates, candidates, torch.arange(6), LossGroup(where)) - plain(estimates, candidates, torch.arange(6))
    second = estimates[1].clone()
    second[:, 5:] = (estimates[1, :, 5:] + estimates[2, :, :-5]) / 2  # half a second at 10 Hz
    mean = (estimates[0] + second + estimates[3]) / 3
    torch.testing.assert_close(pull[0], 1 - cosine(estimates[0], mean), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["contrastive", "info_nce", "siglip", "consensus"])
def test_an_estimate_of_nothing_has_no_steep_gradient(kind: str, family: tuple[Tensor, Tensor]) -> None:
    """So a network begins beside a line that is left out: Adam would remember one steep gradient for thousands of steps."""
    zeros, candidates = torch.zeros_like(family[0]).requires_grad_(), family[1]
    where = replace(
        EXCERPTS, subject=torch.arange(6), start_s=torch.zeros(6, dtype=torch.float64), stimulus=torch.full((6,), 7)
    )
    losses = Loss.parse(kind).build(SHAPES)(zeros, candidates, torch.arange(6), LossGroup(where))
    losses.sum().backward()
    assert losses.isfinite().all() and zeros.grad is not None and zeros.grad.norm() < 100


def test_each_feature_counts_by_its_weight(mixed: tuple[Tensor, Tensor, Tensor]) -> None:
    estimates, candidates, _ = mixed
    loss = override(Loss.parse("by_feature"), {"weights": "1,2,5"}).build(MIXED)
    weighted = [(part, weight / 8) for part, weight in zip(PARTS, (1, 2, 5), strict=True)]
    own = Contrastive().build(SHAPES)
    losses = sum(w * own(estimates[:, part.slice], candidates[:, part.slice], TARGETS) for part, w in weighted)
    scores = sum(w * own.scores(estimates[:, part.slice], candidates[:, part.slice]) for part, w in weighted)
    torch.testing.assert_close(loss(estimates, candidates, TARGETS), losses)
    torch.testing.assert_close(loss.scores(estimates, candidates), scores)
    mse, mixture = override(Loss.parse("by_feature"), {"of": "mixed"}).build(MIXED), Loss.parse("mixed").build(MIXED)
    torch.testing.assert_close(mse(estimates, candidates, TARGETS), mixture(estimates, candidates, TARGETS))
    with pytest.raises(InputError, match=r"2 numbers for 3 features \(mel, phoneme, length\)"):
        override(Loss.parse("by_feature"), {"weights": "1,2"}).build(MIXED)
    with pytest.raises(InputError, match="type task=decode speech_encoder=stored"):
        Loss.parse("by_feature").build(SHAPES)
