"""A tile: a place on a slide, what was measured there, and whether it is used."""

from dataclasses import dataclass
from enum import StrEnum

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box


class DropReason(StrEnum):
    """Why a tile is not predicted. The value is what is written to files."""

    BLANK = "blank"
    """No tissue at all: glass."""
    LITTLE_TISSUE = "little_tissue"
    """Less tissue than the threshold."""
    PEN = "pen"
    """Marker ink covers part of it."""
    BLURRED = "blurred"
    """Out of focus: variance of the Laplacian under the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One cell of a slide's grid."""

    row: int
    column: int
    box: Box
    """Level-0 px."""
    tissue: float
    """Share of the tile that the slide's tissue mask covers, 0..1."""
    pen: float = 0.0
    """Share of the tile under marker ink, 0..1."""
    sharpness: float | None = None
    """Variance of the Laplacian over tissue px at the tile's own scale; None where it was not read."""
    dropped: DropReason | None = None
    """None for a kept tile."""

    def __post_init__(self) -> None:
        if not 0 <= self.tissue <= 1 or not 0 <= self.pen <= 1:
            raise InputError(f"tile {self.row},{self.column}: tissue={self.tissue} pen={self.pen}, want 0..1")

    @property
    def kept(self) -> bool:
        """Whether the tile takes part in the vote."""
        return self.dropped is None
