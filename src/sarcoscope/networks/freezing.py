"""Which parts of a network learn, and how fast (paper, section 1.3)."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sarcoscope.networks.cam_network import CamNetwork


def open_stages(network: CamNetwork, opened: int) -> None:
    """Let the topmost `opened` stages and the head learn, and none below. `train_mode` has to follow.

    Raises ValueError where there are not so many stages.
    """
    stages = network.stages()
    if not 0 <= opened <= len(stages):
        raise ValueError(f"{opened} of {len(stages)} stages cannot be opened")
    for place, stage in enumerate(stages):
        for parameter in stage.parameters.values():
            parameter.requires_grad_(place >= len(stages) - opened)
    network.head.requires_grad_(True)


def train_mode(network: CamNetwork, *, train_batch_norm: bool) -> None:
    """Put what learns into training mode, and what is frozen into evaluation mode.

    So dropout and drop path act, and BatchNorm takes the statistics of its batches, in open stages only; where
    `train_batch_norm` is False, BatchNorm uses and keeps its running statistics everywhere, and its weights learn.
    """
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        frozen = parameters and not any(one.requires_grad for one in parameters)
        if frozen or (isinstance(module, _BatchNorm) and not train_batch_norm):
            module.eval()


def parameter_groups(
    network: CamNetwork, rates: Sequence[float], head_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Groups for AdamW with `name`, `params`, `lr` and `weight_decay`; every parameter is in exactly one.

    `rates` are one a stage, from the bottom up. Vectors (biases, normalisation) have no decay. Parameters that are
    frozen now are among them, so that one optimiser lasts the whole training. Raises ValueError where there is not a
    rate for each stage.
    """
    groups = []
    parts = [(stage.name, stage.parameters.values()) for stage in network.stages()]
    for (name, parameters), rate in zip(
        [*parts, ("head", network.head.parameters())], [*rates, head_rate], strict=True
    ):
        groups += _by_decay(name, parameters, rate, weight_decay)
    return groups


def _by_decay(name: str, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> list[dict[str, Any]]:
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in parameters:
        (matrices if parameter.ndim > 1 else vectors).append(parameter)
    return [
        {"name": f"{name} {kind}", "params": params, "lr": rate, "weight_decay": decay}
        for kind, params, decay in (("weights", matrices, weight_decay), ("vectors", vectors, 0.0))
        if params
    ]
