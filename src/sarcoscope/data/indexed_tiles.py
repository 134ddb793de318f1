"""Tiles of a run folder as `LabelledTiles`: read from their slides, or from their files, when they are asked for."""

import shutil
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor
from typing_extensions import override

from sarcoscope.core.errors import ArtifactError, InputError, SlideError, shown
from sarcoscope.core.geometry import Rgb
from sarcoscope.data.labelled import LabelledTiles
from sarcoscope.data.tile_pixels import Look, ReadTile, at_side, open_tiles
from sarcoscope.formats.tile_index import read_index, read_record

_MOST_OPEN: Final = 32
"""Slides that a process has open at a time: each takes some 10 MB, and opening it as long as reading ten tiles."""
_READ_BY: Final = ("index_file", "tile", "file", "left_l0", "top_l0", "width_l0", "height_l0")
"""Columns that reading goes by."""
_SHARED: Final = Path("/dev/shm")  # noqa: S108 - nothing is written there by name
"""Where Linux counts shared memory."""


class IndexedTiles(LabelledTiles):
    """Rows of a run folder's tile index, with their px.

    Slides are opened when their first tile is read, a few at a time, by each process for itself.
    """

    def __init__(
        self,
        run: Path,
        table: pl.DataFrame,
        classes: Sequence[str],
        *,
        look: Look | None = None,
        side_px: int | None = None,
        cache_mb: float = 0,
    ) -> None:
        """All rows of `table`, which is like `stages.tile_sets.tile_table`; `classes` are labels in order.

        A tile of another side than `side_px` is cropped in the middle or mirrored at its edges; None takes the most
        frequent side. Tiles are kept once they are decoded where all of them fit into `cache_mb`. Raises InputError for
        no row and for a label that is no class, ArtifactError for an index file that is damaged or lacks a row.
        """
        if table.is_empty():
            raise InputError("no tile", "look at split.csv, and at what was dropped or rejected")
        if strange := sorted(set(table["label"].fill_null("none")) - set(classes)):
            raise InputError(f"tiles of class {strange[0]!r}", f"the classes are {', '.join(classes)}")
        rows = _with_index_file(table, run / "tiles")
        numbers = {code: number for number, code in enumerate(classes)}
        self._labels = rows["label"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
        self._slides = _numbers(rows)
        self._side_px = side_px or _most_frequent_side(rows, run / "tiles")
        self._rows = rows.select(_READ_BY)
        self._opened = _Opened(run / "tiles", look)
        self._kept = _kept(len(rows), self._side_px, cache_mb)

    @property
    @override
    def labels(self) -> npt.NDArray[np.int64]:
        return self._labels

    @property
    @override
    def slides(self) -> npt.NDArray[np.int64]:
        return self._slides

    @property
    @override
    def side_px(self) -> int:
        return self._side_px

    @property
    def cached_mb(self) -> float:
        """Of `cache_mb`, what is kept free for its decoded tiles; 0 where they do not all fit."""
        return 0.0 if self._kept is None else self._kept.px.nbytes / 1e6

    @override
    def read(self, index: int) -> Rgb:
        if self._kept is not None and self._kept.there[index]:
            return np.array(self._kept.px[index].numpy())
        row = self._rows.row(index, named=True)
        read = self._opened.reader(row["index_file"])
        try:
            rgb = at_side(read(row), self._side_px)
        except SlideError as error:
            if row["file"] is not None:  # which its message names
                raise
            said = error.problem.removeprefix(f"{shown(error.path)}: ")
            raise SlideError(error.path, f"tile {row['tile']}: {said}", error.advice) from error
        if self._kept is not None:
            self._kept.px[index].numpy()[:] = rgb
            self._kept.there[index] = True
        return rgb


class _Opened:
    """Readers of index files, the latest few; a copy of it in another process begins with none."""

    def __init__(self, folder: Path, look: Look | None) -> None:
        self._folder, self._look = folder, look
        self._readers: OrderedDict[str, tuple[ReadTile, ExitStack]] = OrderedDict()
        weakref.finalize(self, _close, self._readers)

    @override
    def __reduce__(self) -> tuple[type["_Opened"], tuple[Path, Look | None]]:
        return type(self), (self._folder, self._look)

    def reader(self, file: str) -> ReadTile:
        """Of one index file. Raises ArtifactError, and SlideError where its slide does not open."""
        if file not in self._readers:
            if len(self._readers) == _MOST_OPEN:
                _close(self._readers, 1)
            stack = ExitStack()
            self._readers[file] = stack.enter_context(open_tiles(self._folder / file, self._look)), stack
        self._readers.move_to_end(file)
        return self._readers[file][0]


def _close(readers: OrderedDict[str, tuple[ReadTile, ExitStack]], count: int | None = None) -> None:
    """Close those that were used longest ago; all where no count is given."""
    for _ in range(len(readers) if count is None else count):
        _, (_, stack) = readers.popitem(last=False)
        stack.close()


@dataclass(frozen=True, slots=True)
class _Kept:
    """Decoded tiles in memory that worker processes share.

    Nothing is locked: two processes that read one tile write the same bytes, and only then say that it is there.
    """

    px: Tensor
    """(N, side, side, 3) uint8."""
    there: Tensor
    """(N,) bool."""


def _kept(count: int, side_px: int, most_mb: float) -> _Kept | None:
    """Room for so many tiles; None where they do not fit into `most_mb`, or not into half of the shared memory left."""
    size = count * side_px * side_px * 3
    left = shutil.disk_usage(_SHARED).free if _SHARED.is_dir() else 2 * size
    if size > most_mb * 1e6 or size > left / 2:
        return None
    px = torch.empty((count, side_px, side_px, 3), dtype=torch.uint8)
    there = torch.zeros(count, dtype=torch.bool)
    for shared in (px, there):
        shared.share_memory_()  # type: ignore[no-untyped-call]
    return _Kept(px, there)


def _with_index_file(table: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """The rows with the name of the index file that each is listed in. Raises ArtifactError where one is in none."""
    listed = [
        read_index(file).select("slide", "tile", index_file=pl.lit(file.name)) for file in folder.glob("*.parquet")
    ]
    nothing = pl.DataFrame(schema={"slide": pl.String, "tile": pl.String, "index_file": pl.String})
    rows = table.join(pl.concat([nothing, *listed]), on=["slide", "tile"], how="left", maintain_order="left")
    if not (lost := rows.filter(pl.col("index_file").is_null())).is_empty():
        problem = f"lists no tile {lost['tile'][0]} of slide {lost['slide'][0]} any more"
        raise ArtifactError(folder, problem, "the tiles were cut anew meanwhile: start again")
    return rows


def _numbers(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """(N,) a number for each slide; a slide whose tiles have several labels counts once for each of them."""
    pairs = rows.select("slide", "label").unique().sort("slide", "label").with_columns(number=pl.int_range(pl.len()))
    numbered = rows.join(pairs, on=["slide", "label"], how="left", maintain_order="left")
    return numbered["number"].cast(pl.Int64).to_numpy()


def _most_frequent_side(rows: pl.DataFrame, folder: Path) -> int:
    """Px; of a ready-made tile the shorter side, and of sides that are as frequent the smallest."""
    sides = pl.DataFrame(
        [(file, _side_of(read_record(folder / file))) for file in rows["index_file"].unique()],
        schema={"index_file": pl.String, "side": pl.Int64},
        orient="row",
    )
    own = pl.coalesce("side", pl.min_horizontal("width_l0", "height_l0"))
    counted = rows.join(sides, on="index_file", how="left").select(side=own)["side"].value_counts()
    return int(counted.sort("count", "side", descending=[True, False])["side"][0])


def _side_of(record: Mapping[str, Any]) -> int | None:
    """Side of a slide's tiles, px; None for ready-made ones."""
    return record["inputs"]["cut"]["tile_px"] if record["kind"] == "slide" else None
