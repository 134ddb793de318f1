"""The state of a training between two steps, and the file from which a killed one goes on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from errno import EINVAL
from pathlib import Path
from typing import IO, Any, Final, cast
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.atomic import replacing
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.metrics.classification import Scores
from sarcoscope.networks.checkpoints import UNPICKLING_ERRORS

CHECKPOINT_FILE: Final = "checkpoint.pt"
_SCHEMA: Final = 1
_DAMAGED: Final = "damaged: it is no checkpoint that can be read"
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
    with replacing(path) as temporary, temporary.open("wb") as file:
        told = _Told(file)
        try:
            torch.save(content, cast("IO[bytes]", told))
        except RuntimeError:
            if told.error is not None:
                raise told.error from None
            raise


class _Told:
    """A file whose errors torch, which hides them behind its own, does not lose."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        """Raises OSError, and keeps it."""
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """As `write`."""
        self._file.flush()


def read_state(path: Path, key: str) -> Mapping[str, Any] | None:
    """The content of a checkpoint; None where there is none.

    Raises ArtifactError where it cannot be read, or is of a training that was asked for otherwise.
    """
    if not path.exists():
        return None
    try:
        with ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not compare the checksums
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise ArtifactError(path, "does not fit into memory", "free some, then run again") from error
    except (BadZipFile, *UNPICKLING_ERRORS) as error:
        if isinstance(error, OSError) and error.errno != EINVAL:  # which is a place that a file cut short does not have
            problem = f"cannot be read ({error.strerror or error})"
            raise ArtifactError(path, problem, "check the drive, then run again") from error
        raise ArtifactError(path, _DAMAGED, _START_ANEW) from error
    if damaged:
        raise ArtifactError(path, _DAMAGED, _START_ANEW)
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
