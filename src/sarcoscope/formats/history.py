"""history.csv of a training, a line an epoch; timings.csv beside it, since times are never the same twice.

Floats stand as Python's repr, the shortest text that reads back as the same number: equal trainings give equal bytes,
also where one of them was killed and went on.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from io import StringIO
from numbers import Integral
from pathlib import Path
from typing import Any, Final

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.atomic import write_text
from sarcoscope.formats.separated import read_separated
from sarcoscope.metrics.classification import Scores

HISTORY_FILE: Final = "history.csv"
TIMINGS_FILE: Final = "timings.csv"
_SCORES: Final = tuple(field.name for field in fields(Scores))
HISTORY_COLUMNS: Final = (
    *("epoch", "step", "images", "loss", "learning_rate", "open_stages", "mixed"),
    *(f"validation_{name}" for name in _SCORES),
    "best",
)
TIMING_COLUMNS: Final = ("epoch", "seconds", "images_per_second", "wait_share", "validation_seconds", "memory_mb")
_AGAIN: Final = "train again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of a training."""

    number: int
    """From 1; the column `epoch`."""
    step: int
    """Steps done at its end, since the training began."""
    images: int
    """Tiles drawn by then."""
    loss: float
    """Mean training loss of the epoch, of mixed and smoothed targets where there are such."""
    learning_rate: float
    """Of the head, at the epoch's last step."""
    open_stages: int
    """Stages below the head that learnt in it."""
    mixed: bool
    """Whether its batches were mixed (mix-up, CutMix)."""
    validation: Scores | None
    """None where there is no validation tile."""

    def __post_init__(self) -> None:
        values = (self.loss, self.learning_rate, *(astuple(self.validation) if self.validation else ()))
        if not all(math.isfinite(value) for value in values if value is not None):
            raise InputError(f"epoch {self.number} with a value that is no number", "lower the learning rate")
        if self.number < 1 or min(self.step, self.images, self.open_stages) < 0:
            raise InputError(f"epoch {self.number} of {self.images} images", "count epochs from 1, the rest from 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one epoch took."""

    number: int
    """From 1; the column `epoch`."""
    seconds: float
    """Of training, without validation."""
    images_per_second: float
    wait_share: float
    """Share of `seconds` in which no batch was ready, 0..1."""
    validation_seconds: float
    memory_mb: float
    """Most memory in use since the process began: of the GPU, or on a CPU of the process."""


def write_history(path: Path, epochs: Sequence[Epoch], best: int) -> None:
    """Write atomically; `best` is the number of the epoch that is kept, 0 for none yet. Raises ArtifactError."""
    rows = []
    for one in epochs:
        scores = astuple(one.validation) if one.validation else (None,) * len(_SCORES)
        about = (one.number, one.step, one.images, one.loss, one.learning_rate, one.open_stages, one.mixed)
        rows.append((*about, *scores, one.number == best))
    _write(path, HISTORY_COLUMNS, rows)


def read_history(path: Path) -> tuple[list[Epoch], int]:
    """Epochs, and the number of the best one, 0 for none. ArtifactError names the line that is wrong."""
    epochs: list[Epoch] = []
    best = 0
    for line, cells in _read(path, HISTORY_COLUMNS):
        with _named(path, line):
            epochs.append(_epoch(cells))
            if epochs[-1].number != len(epochs):
                raise ValueError(f"epoch {epochs[-1].number}, want {len(epochs)}")
            if _BOOLS[cells["best"]]:
                if best:
                    raise ValueError(f"epoch {best} is the best one too")
                best = len(epochs)
    return epochs, best


def write_timings(path: Path, timings: Sequence[Timing]) -> None:
    """Write atomically. Raises ArtifactError."""
    _write(path, TIMING_COLUMNS, map(astuple, timings))


def read_timings(path: Path) -> list[Timing]:
    """Timings as written. ArtifactError names the line that is wrong."""
    timings = []
    for line, cells in _read(path, TIMING_COLUMNS):
        with _named(path, line):
            seconds = {name: float(cells[name]) for name in TIMING_COLUMNS[1:]}
            timings.append(Timing(number=int(cells["epoch"]), **seconds))
    return timings


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[float | None]]) -> None:
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def _cell(value: Any) -> str:
    """A number so that it reads back as it was; True and False as 1 and 0; nothing for None."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, Integral) else repr(float(value))  # numpy's own repr is another


_BOOLS: Final = {"0": False, "1": True}


def _read(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line and cells by column."""
    table = read_separated(path, columns, absent=_AGAIN)
    if table.names != tuple(columns):
        raise ArtifactError(path, "has other columns than this version writes", _AGAIN)
    if short := [line for line, cells in table.rows if len(cells) != len(columns)]:
        raise ArtifactError(path, f"line {short[0]}: not {len(columns)} cells", _AGAIN)
    return [(line, dict(zip(columns, cells, strict=True))) for line, cells in table.rows]


def _epoch(cells: dict[str, str]) -> Epoch:
    """Raises ValueError, KeyError or InputError."""
    return Epoch(
        number=int(cells["epoch"]),
        step=int(cells["step"]),
        images=int(cells["images"]),
        loss=float(cells["loss"]),
        learning_rate=float(cells["learning_rate"]),
        open_stages=int(cells["open_stages"]),
        mixed=_BOOLS[cells["mixed"]],
        validation=_scores({name: cells[f"validation_{name}"] for name in _SCORES}),
    )


def _scores(cells: dict[str, str]) -> Scores | None:
    """None where all cells are empty. Raises ValueError."""
    if not any(cells.values()):
        return None
    tiles, slides = int(cells.pop("tiles")), int(cells.pop("slides"))
    shares: dict[str, Any] = {name: float(text) if text else None for name, text in cells.items()}
    return Scores(tiles=tiles, slides=slides, **shares)


@contextmanager
def _named(path: Path, line: int) -> Iterator[None]:
    try:
        yield
    except (ValueError, InputError) as error:
        raise ArtifactError(path, f"line {line}: {error}", _AGAIN) from error
    except KeyError as error:
        raise ArtifactError(path, f"line {line}: {error} is neither 0 nor 1", _AGAIN) from error
