"""TensorBoard and MLflow are told of each epoch, where they are installed; a training depends on neither.

What they hold can be had from history.csv too. Nothing goes over the network but to MLFLOW_TRACKING_URI, where a user
has set it: without it MLflow keeps a SQLite file. A training that was killed goes on in the same curves.
"""

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.atomic import write_text

TENSORBOARD_FOLDER: Final = "tensorboard"
MLFLOW_FILE: Final = "mlflow.db"
MLFLOW_FOLDER: Final = "mlflow"
MLFLOW_RUN_FILE: Final = "mlflow-run.txt"
EXPERIMENT: Final = "sarcoscope"
_LONGEST_VALUE: Final = 500
"""Characters of a parameter that every MLflow server takes."""
_MOST_AT_ONCE: Final = 100
"""Parameters that one takes at once."""
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_./ -]")


class _Unable(Exception):  # noqa: N818 - it never leaves this module
    """A tracker could not do what it was asked for."""


class Tracker(Protocol):
    """One of them; each method raises OSError or _Unable."""

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Told so that nothing is lost where the process is killed right after."""
        ...

    def close(self, *, failed: bool) -> None:
        """The training has ended."""
        ...


class Trackers:
    """Those of the wanted trackers that are installed, on the main process. One that fails is given up: `lost`."""

    def __init__(self, folder: Path, name: str, wanted: tuple[str, ...], config: Mapping[str, Any]) -> None:
        """Open them.

        Args:
            folder: of one training; where files lie: tensorboard/, and mlflow.db unless MLFLOW_TRACKING_URI is set.
            name: of the member, hence of its run.
            wanted: tensorboard, mlflow; one that is not installed is passed over.
            config: JSON values; MLflow lists them as parameters, sections as SECTION.KEY.

        Raises InputError for an unknown tracker.
        """
        if unknown := sorted(set(wanted) - set(_KNOWN)):
            raise InputError(f"unknown tracker {unknown[0]!r}", f"give {', '.join(_KNOWN)}")
        self.lost: dict[str, str] = {}
        """Why one was given up, in one line."""
        self._open: dict[str, Tracker] = {}
        for one in dict.fromkeys(wanted):
            with self._giving_up(one):
                self._open[one] = _KNOWN[one](folder, name, config)
        self._opened = tuple(self._open)

    @property
    def used(self) -> tuple[str, ...]:
        """Those that are told, or after the end were told to the end, in the order in which they were wanted."""
        return tuple(one for one in self._opened if one not in self.lost)

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Tell all of them the values of an epoch."""
        for one, tracker in list(self._open.items()):
            with self._giving_up(one):
                tracker.epoch(values, step)

    def close(self, *, failed: bool = False) -> None:
        """End all of them; the second time does nothing."""
        for one, tracker in list(self._open.items()):
            with self._giving_up(one):
                tracker.close(failed=failed)
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None)

    @contextmanager
    def _giving_up(self, name: str) -> Iterator[None]:
        try:
            yield
        except ImportError:
            return
        except (OSError, ArtifactError, _Unable) as error:
            self.lost[name] = " ".join(str(error).split())
            self._open.pop(name, None)


class TensorBoard:
    """Event files in FOLDER/tensorboard/NAME; a training that goes on hides what was written of later steps."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        """Raises ImportError."""
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - absent where tensorboard is

        self._begin = SummaryWriter
        self._folder = folder / TENSORBOARD_FOLDER / name
        self._text = f"```json\n{json.dumps(dict(config), indent=2)}\n```"
        self._writer: SummaryWriter | None = None

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Write and flush."""
        if self._writer is None:  # only now it is known from which step on it writes
            _sort_last(self._folder)
            self._writer = self._begin(str(self._folder), purge_step=step)
            self._writer.add_text("config", self._text, step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, *, failed: bool) -> None:
        """Close the file, which does not say how it ended."""
        del failed
        if self._writer is not None:
            self._writer.close()


class Mlflow:
    """A run of an experiment; FOLDER/mlflow-run.txt names it, so that a training goes on in its run."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        """Find the run or begin one. Raises ImportError, OSError and _Unable."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else it tells its makers of its use
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what fails is said once, in `lost`
        with _quietly():
            from mlflow import MlflowClient  # noqa: PLC0415 - may be absent, and takes a second
        uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
        places = None
        if not uri:
            uri, places = _local(folder), (folder / MLFLOW_FOLDER).absolute().as_uri()
        with _mlflow_errors():
            self._client = MlflowClient(uri)
            known = _known_run(self._client, folder / MLFLOW_RUN_FILE)
            self._run: str = known or self._new_run(name, config, places)
            self._told = _steps(self._client, self._run)
        if not known:
            write_text(folder / MLFLOW_RUN_FILE, f"{self._run}\n")

    def _new_run(self, name: str, config: Mapping[str, Any], places: str | None) -> str:
        from mlflow.entities import Param  # noqa: PLC0415

        called = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(called)
        experiment = found.experiment_id if found else self._client.create_experiment(called, places)
        run: str = self._client.create_run(experiment, run_name=name).info.run_id
        given = [Param(key, value) for key, value in parameters(config).items()]
        for start in range(0, len(given), _MOST_AT_ONCE):
            self._client.log_batch(run, params=given[start : start + _MOST_AT_ONCE])
        return run

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Write at once; a step that a killed process told of already is not told of again."""
        from mlflow.entities import Metric  # noqa: PLC0415

        if step in self._told:
            return
        now = round(time.time() * 1000)
        with _mlflow_errors():
            metrics = [Metric(_NOT_IN_A_NAME.sub("_", name), value, now, step) for name, value in values.items()]
            self._client.log_batch(self._run, metrics=metrics)
        self._told.add(step)

    def close(self, *, failed: bool) -> None:
        """Say how it ended."""
        with _mlflow_errors():
            self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


_KNOWN: Final[Mapping[str, Callable[[Path, str, Mapping[str, Any]], Tracker]]] = {
    "tensorboard": TensorBoard,
    "mlflow": Mlflow,
}


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Sections as SECTION.KEY, values as text of at most 500 characters: what MLflow takes as parameters."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, Mapping) else {key: value}
    words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flat.items()}
    return {_NOT_IN_A_NAME.sub("_", key): value[:_LONGEST_VALUE] for key, value in words.items()}


def _local(folder: Path) -> str:
    """The SQLite file of a training; mlflow-skinny writes no other local store. Raises ImportError and _Unable."""
    import sqlalchemy  # noqa: F401, PLC0415 - which optuna brings; mlflow-skinny does not

    path = (folder / MLFLOW_FILE).absolute().as_posix()
    if unfit := [one for one in "?%" if one in path]:
        raise _Unable(f"mlflow takes no path with {unfit[0]} in it")
    return f"sqlite:///{path}"


def _known_run(client: Any, path: Path) -> str | None:
    """The run that an earlier process began, running again; None where there is none, or it was deleted since."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    if not path.is_file():
        return None
    run = path.read_text(encoding="utf-8").strip()
    try:
        if client.get_run(run).info.lifecycle_stage != "active":
            return None
        client.update_run(run, "RUNNING")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run


def _steps(client: Any, run: str) -> set[int]:
    """The steps that a run holds."""
    keys = client.get_run(run).data.metrics
    return {metric.step for key in keys for metric in client.get_metric_history(run, key)}


def _sort_last(folder: Path) -> None:
    """Wait until a new event file sorts behind those that are there: their names begin with the second they began."""
    stamps = [file.name.split(".")[3] for file in folder.glob("events.out.tfevents.*")]
    newest = max((int(stamp) for stamp in stamps if stamp.isdigit()), default=0)
    time.sleep(min(2.0, max(0.0, newest + 1 - time.time())))


@contextmanager
def _quietly() -> Iterator[None]:
    """Its libraries warn of one another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    """What goes wrong in MLflow or the database below it is an _Unable."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    failures: tuple[type[Exception], ...] = (MlflowException,)
    with suppress(ImportError):
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        failures = (MlflowException, SQLAlchemyError)
    with _quietly():
        try:
            yield
        except failures as error:
            raise _Unable(str(error)) from error
