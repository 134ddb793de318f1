"""TensorBoard and MLflow are told of each epoch, where they are installed; a training depends on neither.

What they hold can be had from history.csv too. Nothing goes over the network but to MLFLOW_TRACKING_URI, where a user
has set it: without it MLflow keeps a SQLite file. A training that was killed goes on in the same curves.
"""

import json
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from sarcoscope.core.errors import InputError, TrainingError, shown
from sarcoscope.formats.atomic import writing

TENSORBOARD_FOLDER: Final = "tensorboard"
MLFLOW_FILE: Final = "mlflow.db"
MLFLOW_FOLDER: Final = "mlflow"
EXPERIMENT: Final = "sarcoscope"
_LONGEST_VALUE: Final = 500
"""Characters of a parameter that MLflow takes everywhere."""
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_./ -]")
_BATCH: Final = 100
"""Parameters that MLflow takes at once."""


class Tracker(Protocol):
    """One of them."""

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Told so that nothing is lost where the process is killed right after. Raises OSError or TrackerError."""
        ...

    def close(self, *, failed: bool) -> None:
        """Raises as `epoch` does."""
        ...


class TrackerError(Exception):
    """A tracker's library could not do what it was asked for."""


class Trackers:
    """Those of the wanted trackers that are installed; only the main process has any."""

    def __init__(self, folder: Path, name: str, wanted: tuple[str, ...], config: Mapping[str, Any]) -> None:
        """Open them.

        Args:
            folder: where files lie: tensorboard/, and mlflow.db with mlflow/ unless MLFLOW_TRACKING_URI is set.
            name: of the member, hence of its run.
            wanted: tensorboard, mlflow; one that is not installed is passed over.
            config: JSON values; MLflow lists them as parameters, nested by one level.

        Raises InputError for an unknown tracker, and TrainingError where MLFLOW_TRACKING_URI does not answer.
        """
        if unknown := sorted(set(wanted) - set(_KNOWN)):
            raise InputError(f"unknown tracker {unknown[0]!r}", f"give {', '.join(_KNOWN)}")
        self.lost: dict[str, str] = {}
        """Why one was given up on the way."""
        self._open: dict[str, Tracker] = {}
        for one in dict.fromkeys(wanted):
            try:
                self._open[one] = _KNOWN[one](folder, name, config)
            except ImportError:
                continue
            except TrackerError as error:
                raise TrainingError(f"{one} cannot be used ({error})", f"mend it, or leave {one} out") from error
        self.used: tuple[str, ...] = tuple(self._open)
        """Those that are told, in the order that was asked for."""

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Tell all of them the values of an epoch; what a tracker was told of a step before is not told twice.

        One that fails is given up, and the training goes on: see `lost`.
        """
        for one in tuple(self._open):
            self._try(one, lambda tracker: tracker.epoch(values, step))

    def close(self, *, failed: bool = False) -> None:
        """End all of them; doing so twice is no error."""
        for one in tuple(self._open):
            self._try(one, lambda tracker: tracker.close(failed=failed))
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None)

    def _try(self, name: str, tell: Callable[[Tracker], None]) -> None:
        try:
            tell(self._open[name])
        except (OSError, TrackerError) as error:
            self.lost[name] = " ".join(str(error).split())
            del self._open[name]


class TensorBoard:
    """Event files under FOLDER/tensorboard; what earlier files hold of later steps is hidden by a resumed training."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - ImportError says that there is none

        self._writer_of = SummaryWriter
        self._folder = folder / TENSORBOARD_FOLDER / name
        self._text = f"```json\n{json.dumps(dict(config), indent=2)}\n```"
        self._writer: Any = None

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Write and flush."""
        if self._writer is None:  # only now it is known from which step on to write
            with writing(self._folder):
                self._writer = self._writer_of(str(self._folder), purge_step=step)
            self._writer.add_text("config", self._text, step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, *, failed: bool) -> None:
        """Close the file; it says nothing of how it ended."""
        del failed
        if self._writer is not None:
            self._writer.close()


class Mlflow:
    """A run of the experiment `sarcoscope`; a training that goes on does so in its run."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report its use to its makers
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
