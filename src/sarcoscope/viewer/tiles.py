"""The tiles of a run folder as the page wants them: a list of sheets at once, one sheet's tiles when it is opened.

A sheet is what is looked through at one go: a slide, or of ready-made tiles whose slides hold a few tiles each, or are
not known at all, those of one class.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.core.errors import ArtifactError, SarcoscopeError
from sarcoscope.core.screening import TileKey
from sarcoscope.formats.tile_index import read_index, read_record

FEW_TILES: Final = 20
"""Ready-made slides that hold fewer tiles on average are looked through class by class."""
SHEET_TILES: Final = 5000
"""Tiles of a class on one such sheet."""
_SHEETS_KEPT: Final = 128
"""Tables that stay in memory, those looked at last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One line of the list; `error` where its index cannot be read."""

    number: int
    """Its place in the list, which addresses on the page are made of."""
    name: str
    file: Path
    labels: Mapping[str, int]
    """Tiles in use of each label; '' for those without one."""
    dropped: int
    slide: str | None = None
    """The slide; None where it is one class of ready-made tiles of several slides."""
    label: str = ""
    """The class, where it is one."""
    part: int = 0
    """Which sheet of the class, from 0."""
    error: str | None = None

    @property
    def in_use(self) -> int:
        """Tiles that quality and selection left."""
        return sum(self.labels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetTiles:
    """The tiles of one sheet, ordered by scale and place."""

    number: int
    slide: str | None
    path: Path
    """The slide, or the folder of ready-made tiles."""
    ready_made: bool
    size_l0: tuple[int, int] | None
    """Width and height; None for ready-made tiles."""
    table: pl.DataFrame
    """Columns of a tile index."""

    def __len__(self) -> int:
        return self.table.height

    def key(self, row: int) -> TileKey:
        """Slide and tile of a row."""
        return str(self.table["slide"][row]), str(self.table["tile"][row])

    def tile_keys(self) -> Iterable[TileKey]:
        """Slide and tile of every row."""
        return zip(self.table["slide"].to_list(), self.table["tile"].to_list(), strict=True)

    def column(self, name: str) -> list[Any]:
        """A column as JSON takes it: no NaN."""
        values = self.table[name]
        return (values.fill_nan(None) if values.dtype.is_float() else values).to_list()


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a file goes on one sheet; see the fields of `Sheet`."""

    tiles: pl.DataFrame
    slide: str | None = None
    label: str = ""
    number: int = 0


class ScreenCohort:
    """The sheets of a run folder. Raises ArtifactError where it holds no tiles."""

    def __init__(self, run: Path, *, sheet_tiles: int = SHEET_TILES) -> None:
        """`sheet_tiles` of a class go on one sheet, where tiles come class by class."""
        self._sheet_tiles = sheet_tiles
        files = sorted((run / "tiles").glob("*.parquet"))
        if not files:
            raise ArtifactError(run, "holds no tiles", "run sarcoscope tile, or sarcoscope cohort from-tiles, first")
        self._tiles: dict[TileKey, int] = {}
        self.sheets: Sequence[Sheet] = self._sheets(files)
        self._tables: OrderedDict[int, SheetTiles] = OrderedDict()
        self._lock = threading.Lock()

    def tiles(self, number: int) -> SheetTiles:
        """The tiles of the sheet at a place in the list. Raises ArtifactError, IndexError."""
        sheet = self.sheets[number]
        with self._lock:
            if (known := self._tables.get(number)) is not None:
                self._tables.move_to_end(number)
                return known
        loaded = _load(sheet, self._sheet_tiles)
        with self._lock:
            self._tables[number] = loaded
            while len(self._tables) > _SHEETS_KEPT:
                self._tables.popitem(last=False)
        return loaded

    def sheet_of(self, key: TileKey) -> int | None:
        """The sheet on which a tile in use is found; None where there is none of that name."""
        return self._tiles.get(key)

    def _sheets(self, files: Sequence[Path]) -> list[Sheet]:
        sheets: list[Sheet] = []
        for file in files:
            try:
                table, ready_made = read_index(file), _is_ready_made(read_record(file))
            except SarcoscopeError as error:
                sheets.append(
                    Sheet(number=len(sheets), name=file.stem, file=file, labels={}, dropped=0, error=str(error))
                )
                continue
            for part in _parts(table, self._sheet_tiles, ready_made=ready_made):
                number = len(sheets)
                sheets.append(_sheet(number, file, part))
                used = part.tiles.filter(pl.col("dropped").is_null())
                keys = zip(used["slide"].to_list(), used["tile"].to_list(), strict=True)
                self._tiles.update(dict.fromkeys(keys, number))
        return sheets


def _is_ready_made(record: Mapping[str, Any]) -> bool:
    return record.get("kind") != "slide"


def _parts(table: pl.DataFrame, sheet_tiles: int, *, ready_made: bool) -> Iterator[_Part]:
    slides = table["slide"].unique().sort().to_list()
    if not ready_made or table.height >= FEW_TILES * len(slides):
        for slide in slides:
            yield _Part(table.filter(pl.col("slide") == slide), slide=slide)
        return
    for label in table["label"].fill_null("").unique().sort().to_list():
        tiles = _of_label(table, label)
        for number in range(-(-tiles.height // sheet_tiles)):
            yield _Part(tiles.slice(number * sheet_tiles, sheet_tiles), label=label, number=number)


def _of_label(table: pl.DataFrame, label: str) -> pl.DataFrame:
    return table.filter(pl.col("label").fill_null("") == label).sort("slide", "tile")


def _sheet(number: int, file: Path, part: _Part) -> Sheet:
    used = part.tiles.filter(pl.col("dropped").is_null())["label"].fill_null("").value_counts()
    named = part.slide if part.slide is not None else part.label or "no label"
    return Sheet(
        number=number,
        name=f"{named}, part {part.number + 1}" if part.number else named,
        file=file,
        labels=dict(sorted(zip(used["label"].to_list(), used["count"].to_list(), strict=True))),
        dropped=int(part.tiles["dropped"].is_not_null().sum()),
        slide=part.slide,
        label=part.label,
        part=part.number,
    )


def _load(sheet: Sheet, sheet_tiles: int) -> SheetTiles:
    if sheet.error is not None:
        raise ArtifactError(sheet.file, sheet.error.removeprefix(f"{sheet.file}: "))
    record, table = read_record(sheet.file), read_index(sheet.file)
    ready_made = _is_ready_made(record)
    path = record.get("folder" if ready_made else "path", record.get("path"))
    if not isinstance(path, str):
        raise ArtifactError(sheet.file, "does not say where its tiles come from", "run sarcoscope tile again")
    if sheet.slide is not None:
        order = ["mpp", "row", "column", "tile"]
        table = table.filter(pl.col("slide") == sheet.slide).sort(order, nulls_last=True, maintain_order=True)
    else:
        table = _of_label(table, sheet.label).slice(sheet.part * sheet_tiles, sheet_tiles)
    size = record.get("size_l0")
    return SheetTiles(
        number=sheet.number,
        slide=sheet.slide,
        path=Path(path),
        ready_made=ready_made,
        size_l0=(int(size[0]), int(size[1])) if size and not ready_made else None,
        table=table,
    )
