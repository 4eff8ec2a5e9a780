from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.batch import Batch, step_draws
from raybrain.config import InputError, override
from raybrain.encoders.augment import Augment, AugmentConfig, shifted

RATE, CHANNELS, TIMES = 50.0, 6, 100
ALL: dict[str, Any] = {
    "shift_s": 0.1,
    "amplitude": 0.5,
    "noise": 0.3,
    "bands.count": 2,
    "time.count": 2,
    "sensors.share": 0.3,
    "sensors.radius": 0.2,
}


def batch(rows: int = 40, dtype: torch.dtype = torch.float64, step: int = 0) -> Batch:
    make = torch.Generator().manual_seed(1)
    valid = torch.ones(2, CHANNELS, dtype=torch.bool)
    valid[1, -1] = False
    return Batch(
        signal=torch.randn(rows, CHANNELS, TIMES, generator=make, dtype=torch.float64).to(dtype),
        subject=torch.zeros(rows, dtype=torch.long),
        layout=torch.arange(rows) % 2,
        positions=torch.rand(2, CHANNELS, 2, generator=make, dtype=torch.float64).to(dtype),
        valid=valid,
        draws=step_draws(3, step),
        segment=torch.arange(rows) * 7,
    )


def changed(given: Batch, changes: dict[str, Any], training: bool = True) -> Tensor:
    out: Tensor = Augment(override(AugmentConfig(), changes), RATE).train(training)(given)
    return out


def test_by_default_nothing_is_changed() -> None:
    assert not AugmentConfig().on and changed(batch(), {}).equal(batch().signal)


@pytest.mark.parametrize("changes", [{name: value} for name, value in ALL.items()] + [ALL], ids=lambda some: "+".join(some))
def test_a_change_depends_on_step_and_segment_alone(changes: dict[str, Any]) -> None:
    assert override(AugmentConfig(), changes).on
    whole, given = changed(batch(), changes), batch()
    assert not whole.equal(given.signal) and whole.isfinite().all()
    some = torch.tensor([30, 2, 2])
    part = {name: getattr(given, name)[some] for name in ("signal", "subject", "layout", "segment")}
    torch.testing.assert_close(changed(replace(given, **part), changes), whole[some])
    assert not changed(batch(step=1), changes).equal(whole)
    torch.testing.assert_close(changed(batch(dtype=torch.float32), changes), whole.float(), rtol=1e-4, atol=1e-5)
    assert changed(given, changes, training=False).equal(given.signal)


def test_a_shift_moves_in_time() -> None:
    given = batch(rows=200)
    out = changed(given, {"shift_s": 0.1})
    moved = {by: shifted(given.signal, torch.full((200,), by)) for by in range(-6, 7)}
    by = [next(by for by, wanted in moved.items() if out[row].equal(wanted[row])) for row in range(200)]
    assert {*range(-5, 6)} == {*by} and moved[2][:, :, 2:].equal(given.signal[:, :, :-2]) and not moved[2][:, :, :2].any()


def test_amplitude_multiplies() -> None:
    ratio = changed(batch(rows=200), {"amplitude": 0.5}) / batch(rows=200).signal
    assert 0.5 <= ratio.min() < 0.55 and 1.45 < ratio.max() <= 1.5
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio))


def test_noise_has_its_size() -> None:
    noise = changed(batch(), {"noise": 0.3}) - batch().signal
    assert noise.std() == pytest.approx(0.3, rel=0.02) and abs(noise.mean()) < 0.01


def test_time_masks_are_as_many_and_as_long_as_is_said() -> None:
    gone = changed(batch(rows=200), {"time.count": 2, "time.longest_s": 0.2}) == 0
    assert gone.equal(gone[:, :1].expand_as(gone))
    lengths = gone[:, 0].sum(dim=1)
    assert lengths.max() <= 22 and 8 < lengths.double().mean() < 12
    assert (gone[:, 0, 1:] & ~gone[:, 0, :-1]).sum(dim=1).max() <= 2 and gone[:, 0].any(dim=0).all()


def test_bands_are_taken_out_and_the_rest_stays() -> None:
    before, after = (torch.fft.rfft(x) for x in (batch().signal, changed(batch(), {"bands.count": 1, "bands.widest_hz": 4})))
    gone = (after.abs() < 1e-9)[:, 0]
    assert gone.sum(dim=1).max() <= 8 + 1 and 3 < gone.sum(dim=1).double().mean() < 5  # half a hertz apart
    kept = ~gone[:, None].expand_as(after)
    torch.testing.assert_close(after[kept], before[kept])


def test_sensors_are_dropped_whole_and_the_others_grow() -> None:
    given = replace(batch(rows=200), signal=torch.ones(200, CHANNELS, TIMES, dtype=torch.float64))
    out = changed(given, {"sensors.share": 0.5})
    gone = (out == 0).all(dim=-1)
    assert gone.equal((out == 0).any(dim=-1)) and 0.4 < gone.double().mean() < 0.55 and not gone.all(dim=1).any()
    valid = given.valid[given.layout]
    torch.testing.assert_close((out[..., 0] * valid).sum(dim=1), valid.sum(dim=1).double())
    assert changed(given, {"sensors.share": 0.5, "sensors.rescale": False}).max() == 1


def test_a_region_of_sensors_is_dropped() -> None:
    given = replace(batch(rows=200), signal=torch.ones(200, CHANNELS, TIMES, dtype=torch.float64))
    gone = (changed(given, {"sensors.radius": 0.4}) == 0).all(dim=-1)
    where = given.positions[given.layout]
    assert gone.any(dim=0).all()
    assert all(torch.cdist(xy[off], xy[off]).max() <= 0.8 for xy, off in zip(where, gone, strict=True) if off.any())
    assert not (changed(given, {"sensors.radius": 2.0}) == 0).any(), "never all of them"


@pytest.mark.parametrize("changes", [{"sensors.share": 1.0}, {"amplitude": 1.0}, {"noise": -1.0}, {"time.longest_s": 0}])
def test_what_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        override(AugmentConfig(), changes)
