"""Optimizer: a step from gradients to weights, and what surrounds it: clipping, warm-up and decay, the average of weights.

All of it depends on gradients that are the same on every worker and on the number of the step, so that it needs no exchange
and goes on exactly after a restart.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from raybrain.config import InputError
from raybrain.encoders.ridge_start import last_layer
from raybrain.experiment import OptimConfig
from raybrain.train.layer_rates import batch_norms, chosen, grouped, rates

MOMENTUM = 0.9  # of Adam


class Optimizer:
    """The optimiser of a network.

    Args:
        network: with an ``encoder``; what is not to be trained has no ``requires_grad``.
        config: settings.
        steps: of the whole training, over which the learning rate grows and falls.

    Attributes:
        parameters: those that are trained now.

    Raises:
        InputError: if Muon finds no matrix, a part that settings name is not there, or nothing is left to train.
    """

    def __init__(self, network: nn.Module, config: OptimConfig, steps: range) -> None:
        self.network, self.config, self.steps = network, config, steps
        self.trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizers = _optimizers(network, self.trainable, config)
        self.average: dict[str, Tensor] = {}
        self.parameters, self._still = self.trainable, list[nn.Module]()
        self._freeze()
        self._turn(1.0)

    def set(self, config: OptimConfig) -> None:
        """Go on with other settings; what was gathered of the gradients stays."""
        self.config = config
        self._freeze()
        self._turn(1.0)

    def prepare(self) -> None:
        """Bring the network into the mode in which it is trained, and what is frozen to forget its gradients."""
        self.network.train()
        for module in self._still:
            module.eval()
        self.network.zero_grad(set_to_none=True)

    def _freeze(self) -> None:
        frozen = chosen(self.network, self.config.layers.frozen)
        named = {id(parameter): name for name, parameter in self.network.named_parameters()}
        self.parameters = [parameter for parameter in self.trainable if named[id(parameter)] not in frozen]
        if not self.parameters:
            raise InputError(
                f"optim.layers.frozen={','.join(self.config.layers.frozen)} leaves nothing to train; type fewer parts"
            )
        for parameter in self.trainable:
            parameter.requires_grad_(named[id(parameter)] not in frozen)
        self._still = list(batch_norms(self.network, frozen))

    def step(self, step: int) -> None:
        """Change the weights by the gradients they have."""
        config = self.config
        if config.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, config.clip)
        if config.warmup or config.decay_to < 1:
            self._turn(self.factor(step))
        if config.average:  # what was frozen begins to have one when it is trained
            self.average |= {name: value.clone() for name, value in self._averaged() if name not in self.average}
        for optimizer in self.optimizers:
            optimizer.step()
        if config.average:
            done = step - self.steps.start
            self._follow(min(config.average, (1 + done) / (10 + done)))  # at first the average must forget faster

    def factor(self, step: int) -> float:
        """By what the learning rate is multiplied in a step: a straight line up, then half a cosine down."""
        config, done, count = self.config, step - self.steps.start, len(self.steps)
        grown = min(1.0, (done + 1) / config.warmup) if config.warmup else 1.0
        progress = min(1.0, max(0, done - config.warmup) / max(1, count - config.warmup))
        return grown * (config.decay_to + (1 - config.decay_to) * (1 + math.cos(math.pi * progress)) / 2)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have the average of its weights, if one is kept."""
        if not self.average:
            yield
            return
        own = {name: value.clone() for name, value in self._averaged()}
        try:
            self._put(self.average)
            yield
        finally:
            self._put(own)

    def state(self) -> dict[str, Any]:
        """For a checkpoint; the average only if one is kept."""
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        return {"optimizer": states[0], "others": states[1:]} | ({"average": self.average} if self.average else {})

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state; one of an earlier version has one optimiser and no average."""
        for optimizer, known in zip(self.optimizers, [state["optimizer"], *state.get("others", [])], strict=True):
            optimizer.load_state_dict(known)
        self.average = {name: value.clone() for name, value in state.get("average", {}).items()}

    def _turn(self, factor: float) -> None:
        config = self.config
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                rate = factor * group.get("rate", 1.0)
                group.update(lr=config.lr * rate, weight_decay=config.weight_decay * group.get("decays", True))
                if "betas" in group:
                    group.update(betas=(MOMENTUM, config.beta2))

    def _averaged(self) -> Iterator[tuple[str, Tensor]]:
        """What training changes: weights, and what batch norm has seen."""
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                yield name, parameter.detach()
        for name, buffer in self.network.named_buffers():
            if buffer.is_floating_point():
                yield name, buffer

    @torch.no_grad()
    def _follow(self, kept: float) -> None:
        names, now = zip(*self._averaged(), strict=True)
        follow = get_ema_multi_avg_fn(kept)  # type: ignore[no-untyped-call]
        follow([self.average[name] for name in names], list(now), 0)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in self._averaged():
            value.copy_(values[name])


def _optimizers(network: nn.Module, parameters: list[nn.Parameter], config: OptimConfig) -> list[torch.optim.Optimizer]:
    adam: dict[str, Any] = {"lr": config.lr, "betas": (MOMENTUM, config.beta2), "fused": True}
    factors = rates(network, config.layers)
    known = {id(parameter): factors[name] for name, parameter in network.named_parameters()}
    if config.kind == "adam":
        return [torch.optim.Adam(grouped(parameters, known), weight_decay=config.weight_decay, **adam)]
    matrices = _matrices(network) if config.kind == "muon" else []
    inside = set(map(id, matrices))
    rest = [parameter for parameter in parameters if id(parameter) not in inside]
    groups = grouped([p for p in rest if p.ndim >= 2], known, decays=True, weight_decay=config.weight_decay)
    groups += grouped([p for p in rest if p.ndim < 2], known, decays=False, weight_decay=0.0)
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, **adam)]
    if matrices:
        decay = config.weight_decay
        made.append(
            torch.optim.Muon(grouped(matrices, known), lr=config.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return made


def _matrices(network: nn.Module) -> list[nn.Parameter]:
    """The matrices inside of an encoder: those of its linear layers but for the last layer."""
    encoder = network.get_submodule("encoder")
    last = last_layer(encoder)
    linear = [module for module in encoder.modules() if isinstance(module, nn.Linear) and module is not last]
    matrices: list[nn.Parameter] = [module.weight for module in linear if module.weight.requires_grad]  # type: ignore[misc]
    if not matrices:
        raise InputError("optim.kind=muon trains matrices, and this encoder has none inside; type optim.kind=adamw")
    return matrices
