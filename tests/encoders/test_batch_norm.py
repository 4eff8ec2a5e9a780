"""Batch norm over two workers equals nn.BatchNorm1d on the joined batch."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raybrain.encoders.layers import BatchNorm
from tests.workers import in_workers

WORKERS = 2
CHANNELS, TIMES, STEPS = 3, 7, 2
OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "cumulative": {"momentum": None},
    "no affine": {"affine": False},
    "no statistics": {"track_running_stats": False},
}
ROWS = {"equal": (4, 4), "unequal": (5, 2), "one empty": (0, 6)}
FAR, NEAR_32, NEAR_64 = 50.0, 1e-5, 1e-9


def signal(rows: int, dtype: torch.dtype, mean: float) -> tuple[Tensor, Tensor]:
    """An input, and what the loss multiplies the output with."""
    generator = torch.Generator().manual_seed(rows)
    x, pull = torch.randn(2, STEPS, rows, CHANNELS, TIMES, generator=generator, dtype=torch.float64)
    return (x + mean).to(dtype), pull.to(dtype)


def filled(norm: nn.BatchNorm1d, dtype: torch.dtype) -> nn.BatchNorm1d:
    for number, parameter in enumerate(norm.parameters()):
        nn.init.uniform_(parameter, 0.5 + number, 1.5 + number, generator=torch.Generator().manual_seed(number))
    return norm.to(dtype)


def train(norm: nn.BatchNorm1d, x: Tensor, pull: Tensor) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    out = torch.stack([norm(step) for step in x])
    (out.square() * pull).sum().backward()
    assert x.grad is not None
    gradients = {f"grad {name}": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    return {"out": out.detach(), "grad input": x.grad} | gradients | dict(norm.named_buffers())


def case(
    options: str, rows: str, dtype: torch.dtype, mean: float, part: slice, kind: type[nn.BatchNorm1d]
) -> dict[str, Tensor]:
    x, pull = signal(sum(ROWS[rows]), dtype, mean)
    return train(filled(kind(CHANNELS, **OPTIONS[options]), dtype), x[:, part], pull[:, part])


CASES = [(options, rows, torch.float64, 0.0) for options in OPTIONS for rows in ROWS] + [
    ("usual", "unequal", torch.float32, FAR)
]


def worker(rank: int, folder: Path) -> None:
    results = []
    for options, rows, dtype, mean in CASES:
        first, second = ROWS[rows]
        part = slice(0, first) if rank == 0 else slice(first, first + second)
        results.append(case(options, rows, dtype, mean, part, BatchNorm))
    torch.save(results, folder / f"{rank}.pt")


def test_two_workers_equal_one(tmp_path: Path) -> None:
    in_workers(worker, WORKERS, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORKERS)]
    for (options, rows, dtype, mean), *parts in zip(CASES, *results, strict=True):
        near = NEAR_64 if dtype == torch.float64 else NEAR_32
        expected = case(options, rows, dtype, mean, slice(None), nn.BatchNorm1d)
        for name, whole in expected.items():
            ours = [part[name] for part in parts]
            if name in ("out", "grad input"):
                joined = torch.cat(ours, dim=1)
            elif name.startswith("grad"):
                joined = torch.stack(ours).sum(dim=0)
            else:
                assert torch.equal(*ours), f"{name}: workers differ"
                joined = ours[0]
            scale = max(1.0, whole.abs().max().item())
            torch.testing.assert_close(joined, whole, rtol=near, atol=near * scale, msg=lambda m, n=name: f"{n}: {m}")


def test_one_worker_is_the_plain_one() -> None:
    whole = slice(None)
    ours, plain = (case("usual", "equal", torch.float32, FAR, whole, kind) for kind in (BatchNorm, nn.BatchNorm1d))
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], plain[name]) for name in plain)
