"""The state of a training between two steps, and the file from which a killed one goes on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.atomic import replacing
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.metrics.classification import Scores
from sarcoscope.networks.checkpoints import UNPICKLING_ERRORS

CHECKPOINT_FILE: Final = "checkpoint.pt"
_SCHEMA: Final = 1
_START_ANEW: Final = "begin again with --force"

Weights = dict[str, Tensor]


@dataclass(slots=True)
class Progress:
    """How far a training is; all that a step depends on beside the weights is its number."""

    step: int = 0
    """Steps done."""
    loss: float = 0.0
    """Summed over the steps of the epoch in hand."""
    seconds: float = 0.0
    """Of the epoch in hand, spent by earlier processes too."""
    waited: float = 0.0
    """Seconds of those in which no batch was there."""
    history: list[Epoch] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    best: int = 0
    """Number of the best epoch so far; 0 for none."""
    best_weights: Weights | None = None
    """On the CPU."""


def weights_of(network: nn.Module) -> Weights:
    """A copy of a network's weights and buffers on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def save_state(
    path: Path,
    progress: Progress,
    network: nn.Module,
    ema: nn.Module | None,
    optimiser: torch.optim.Optimizer,
    *,
    key: str,
) -> None:
    """Write the state atomically; `key` names what the training was asked for, `ema` holds the moving average."""
    content = {
        "schema": _SCHEMA,
        "key": key,
        "step": progress.step,
        "loss": progress.loss,
        "seconds": progress.seconds,
        "waited": progress.waited,
        "history": [asdict(one) for one in progress.history],
        "timings": [asdict(one) for one in progress.timings],
        "best": progress.best,
        "best_weights": progress.best_weights,
        "network": network.state_dict(),
        "ema": None if ema is None else ema.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def read_state(path: Path, key: str) -> Mapping[str, Any] | None:
    """The content of a checkpoint; None where there is none.

    Raises ArtifactError where it cannot be read, or is of a training that was asked for otherwise.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError) as error:
        problem = f"cannot be read ({' '.join(str(error).split()) or 'out of memory'})"
        raise ArtifactError(path, problem, "check the drive and the memory, then run again") from error
    except UNPICKLING_ERRORS as error:
        raise ArtifactError(path, "damaged: it is no checkpoint that can be read", _START_ANEW) from error
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise ArtifactError(path, "no checkpoint of this version", _START_ANEW)
    if content["key"] != key:
        problem = "is of a training with another config, other tiles or other weights"
        raise ArtifactError(path, problem, "give it another name, or begin again with --force")
    return content


def restore(
    content: Mapping[str, Any], network: nn.Module, ema: nn.Module | None, optimiser: torch.optim.Optimizer
) -> Progress:
    """Put a checkpoint's weights where they belong, and say how far it was."""
    network.load_state_dict(content["network"])
    if ema is not None:
        ema.load_state_dict(content["ema"])
    optimiser.load_state_dict(content["optimiser"])
    return Progress(
        step=content["step"],
        loss=content["loss"],
        seconds=content["seconds"],
        waited=content["waited"],
        history=[_as_epoch(one) for one in content["history"]],
        timings=[Timing(**one) for one in content["timings"]],
        best=content["best"],
        best_weights=content["best_weights"],
    )


def _as_epoch(values: Mapping[str, Any]) -> Epoch:
    judged = values["validation"]
    return Epoch(**{**values, "validation": None if judged is None else Scores(**judged)})
