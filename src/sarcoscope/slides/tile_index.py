"""The tile index of a vendor's file as columns of numbers, whatever the file's own form of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from sarcoscope.slides.byte_spans import unlike_layout
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import TileTable

CELLS_MAX: Final = 2**22
"""Most tiles of 256 px that level 0 may have room for: a whole glass slide (75 x 26 mm) at 0.1 um/px has 3 million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileIndex:
    """Every compressed tile that the file holds, (tiles,) int64 each, in the order of the file."""

    level: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    """On the grid of the level; below 2**20, as is `row`."""
    row: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    """From the start of the file."""
    length: npt.NDArray[np.int64]
    """At least 1."""

    @classmethod
    def joined(cls, parts: Sequence[tuple[npt.NDArray[np.int64], ...]]) -> Self:
        """From pieces of (level, column, row, offset, length); tiles of no bytes are left out as absent."""
        empty = tuple(np.empty(0, np.int64) for _ in range(5))
        columns = [np.concatenate(pieces) for pieces in zip(*(parts or [empty]), strict=True)]
        held = columns[4] > 0
        level, column, row, offset, length = (each[held] for each in columns)
        return cls(level=level, column=column, row=row, offset=offset, length=length)

    def __len__(self) -> int:
        return len(self.level)

    def levels(self) -> list[int]:
        """The levels that have tiles, finest first."""
        return [int(level) for level in np.unique(self.level)]

    def table(self, level: int, *, first_column: int, first_row: int, columns: int, rows: int) -> TileTable:
        """The tiles of one level, on a grid that begins at a column and a row of the file's own."""
        here = self.level == level
        cells = (self.row[here] - first_row) * columns + (self.column[here] - first_column)
        return TileTable(columns, rows, cells, self.offset[here], self.length[here])


def refuse_contradictions(data: FileBytes, tiles: TileIndex) -> None:
    """SlideOpenError where one tile is said to lie at two places; said twice alike is harmless."""
    keys = (tiles.level << 40) | (tiles.row << 20) | tiles.column
    order = np.argsort(keys, kind="stable")
    keys, offset, length = keys[order], tiles.offset[order], tiles.length[order]
    differ = (keys[1:] == keys[:-1]) & ((offset[1:] != offset[:-1]) | (length[1:] != length[:-1]))
    if differ.any():
        at = int(np.argmax(differ))
        tile = int(order[at])
        where = f"tile {tiles.column[tile]}, {tiles.row[tile]} (column, row) of level {tiles.level[tile]}"
        places = f"{length[at]} bytes at {offset[at]} and {length[at + 1]} bytes at {offset[at + 1]}"
        raise unlike_layout(data, f"its tile index has two places for {where}: {places}")
