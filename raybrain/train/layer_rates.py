"""Layer rates: which weights are trained, and how fast each of them: what a network that starts from a trained one is asked.

A part goes by the name of a module or of a weight inside of the encoder, such as ``front`` or ``blocks.0``; what lies beside
the encoder by its full name, such as ``loss``.
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from raybrain.config import InputError, hint
from raybrain.encoders.ridge_start import RidgeStart
from raybrain.experiment import LayersConfig


def rates(network: nn.Module, config: LayersConfig) -> dict[str, float]:
    """By what the learning rate of each weight is multiplied, by its full name.

    Raises:
        InputError: if there is no part of a name.
    """
    names = [name for name, _ in network.named_parameters()]
    asked: dict[str, float] = {}
    for part, factor in sorted(config.factors().items(), key=lambda item: item[0].count(".")):  # the closest name counts
        asked |= dict.fromkeys(chosen(network, [part]), factor)
    layers = list(_layers(*main_network(network)))
    depth = {name: len(layers) - 1 - number for number, layer in enumerate(layers) for name in names if _inside(name, layer)}
    return {name: asked.get(name, 1.0) * config.decay ** depth.get(name, 0) for name in names}


def chosen(network: nn.Module, parts: Sequence[str]) -> set[str]:
    """The full names of the weights in some parts of a network.

    Raises:
        InputError: if there is no such part.
    """
    names = [name for name, _ in network.named_parameters()]
    inside: set[str] = set()
    for part in parts:
        mine = {name for name in names for prefix in _places(network) if _inside(name, prefix + part)}
        if not mine:
            known = {name.removeprefix(prefix).partition(".")[0] for name in names for prefix in _places(network)}
            raise InputError(f"no part {part!r} of the network{hint(part, known)}")
        inside |= mine
    return inside


def batch_norms(network: nn.Module, frozen: set[str]) -> Iterator[nn.Module]:
    """The layers of batch norm whose weights are frozen: these go by what they have seen."""
    for name, module in network.named_modules():
        own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters(recurse=False)}
        if isinstance(module, _BatchNorm) and own and own <= frozen:
            yield module


def grouped(parameters: Sequence[nn.Parameter], factors: Mapping[int, float], **settings: object) -> list[dict[str, object]]:
    """Groups of an optimiser, one for each factor; ``factors`` go by the identity of a parameter."""
    groups = []
    for factor in sorted({factors[id(one)] for one in parameters}, reverse=True):
        some = [one for one in parameters if factors[id(one)] == factor]
        groups.append({"params": some, **settings} | ({"rate": factor} if factor != 1 else {}))
    return groups


def main_network(network: nn.Module) -> tuple[str, nn.Module]:
    """The network that estimates, without a line beside it, and its full name."""
    encoder = network.get_submodule("encoder")
    return ("encoder.network", encoder.network) if isinstance(encoder, RidgeStart) else ("encoder", encoder)


def _places(network: nn.Module) -> tuple[str, ...]:
    """What may be left out at the start of a name."""
    return ("", "encoder.", f"{main_network(network)[0]}.")


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _layers(name: str, module: nn.Module) -> Iterator[str]:
    """The names of a network's layers, in the order in which they were made.

    These are the items of its lists, and what lies beside such a list; a layer may be as complicated as it likes.
    """
    for child, part in module.named_children():
        path = f"{name}.{child}"
        if not any(True for _ in part.parameters()):
            continue
        if isinstance(part, nn.ModuleList):
            yield from (f"{path}.{number}" for number, item in enumerate(part) if any(True for _ in item.parameters()))
        elif any(isinstance(inner, nn.ModuleList) for inner in part.modules()):
            yield from _layers(path, part)
        else:
            yield path
