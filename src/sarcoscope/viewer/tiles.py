"""The tiles of a run folder as the page wants them: a list of slides at once, one slide's tiles when it is opened."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.core.errors import ArtifactError, SarcoscopeError
from sarcoscope.core.screening import TileKey
from sarcoscope.formats.tile_index import read_index, read_record

_SLIDES_KEPT: Final = 256
"""Tables that stay in memory; about 1 MB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideEntry:
    """One slide in the list; `error` where its index cannot be read."""

    number: int
    """Its place in the list, which addresses on the page are made of."""
    slide: str
    file: Path
    labels: Mapping[str, int]
    """Tiles in use of each label; '' for those without one."""
    dropped: int
    error: str | None = None

    @property
    def in_use(self) -> int:
        """Tiles that quality and selection left."""
        return sum(self.labels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideTiles:
    """One slide's tiles, ordered by scale and place."""

    number: int
    slide: str
    path: Path
    """The slide, or the folder of its ready-made tiles."""
    ready_made: bool
    size_l0: tuple[int, int] | None
    """Width and height; None for ready-made tiles."""
    table: pl.DataFrame
    """Columns of a tile index."""

    def __len__(self) -> int:
        return self.table.height

    def key(self, row: int) -> TileKey:
        """Slide and tile of a row."""
        return self.slide, str(self.table["tile"][row])

    def column(self, name: str) -> list[Any]:
        """A column as JSON takes it: no NaN."""
        values = self.table[name]
        return (values.fill_nan(None) if values.dtype.is_float() else values).to_list()


class ScreenCohort:
    """The slides of a run folder. Raises ArtifactError where it holds no tiles."""

    def __init__(self, run: Path) -> None:
        files = sorted((run / "tiles").glob("*.parquet"))
        if not files:
            raise ArtifactError(run, "holds no tiles", "run sarcoscope tile, or sarcoscope cohort from-tiles, first")
        self.run = run
        self.entries: Sequence[SlideEntry] = [_entry(number, file) for number, file in enumerate(files)]
        self._tables: OrderedDict[int, SlideTiles] = OrderedDict()
        self._lock = threading.Lock()

    def tiles(self, number: int) -> SlideTiles:
        """The tiles of the slide at a place in the list. Raises ArtifactError, IndexError."""
        entry = self.entries[number]
        with self._lock:
            if (known := self._tables.get(number)) is not None:
                self._tables.move_to_end(number)
                return known
        loaded = _load(entry)
        with self._lock:
            self._tables[number] = loaded
            while len(self._tables) > _SLIDES_KEPT:
                self._tables.popitem(last=False)
        return loaded


def _entry(number: int, file: Path) -> SlideEntry:
    try:
        table = read_index(file)
        slide = str(table["slide"][0]) if table.height else str(read_record(file).get("slide", file.stem))
    except SarcoscopeError as error:
        return SlideEntry(number=number, slide=file.stem, file=file, labels={}, dropped=0, error=str(error))
    used = table.filter(pl.col("dropped").is_null())["label"].fill_null("").value_counts()
    labels = dict(sorted(zip(used["label"].to_list(), used["count"].to_list(), strict=True)))
    return SlideEntry(
        number=number, slide=slide, file=file, labels=labels, dropped=int(table["dropped"].is_not_null().sum())
    )


def _load(entry: SlideEntry) -> SlideTiles:
    record = read_record(entry.file)
    table = read_index(entry.file).sort("mpp", "row", "column", "file", nulls_last=True, maintain_order=True)
    if not isinstance(record.get("path"), str):
        raise ArtifactError(entry.file, "does not say where its slide lies", "run sarcoscope tile again")
    size = record.get("size_l0")
    return SlideTiles(
        number=entry.number,
        slide=entry.slide,
        path=Path(record["path"]),
        ready_made=record.get("kind") == "tiles",
        size_l0=(int(size[0]), int(size[1])) if size else None,
        table=table,
    )
