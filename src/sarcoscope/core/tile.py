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
    FOLD = "fold"
    """The section lies double over part of it."""
    OUT_OF_FOCUS = "out_of_focus"
    """Part of it is out of focus, as under an air bubble or where the scanner lost the plane."""
    NOT_SELECTED = "not_selected"
    """Good, but others on the slide have more nuclei (extraction by score)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One cell of a slide's grid, and what was measured there."""

    row: int
    column: int
    box: Box
    """Level-0 px."""
    tissue: float
    """Share of the tile that the slide's tissue mask covers, 0..1."""
    pen: float = 0.0
    """Share of the tile under marker ink, 0..1."""
    fold: float = 0.0
    """Share of the tile where the section lies double, 0..1."""
    sharpness: float | None = None
    """Variance of the Laplacian over tissue px at the tile's own scale; None where it was not read."""
    unfocused: float | None = None
    """Share of the tile's stained blocks that are out of focus, 0..1; None where it was not read."""
    nuclei: float | None = None
    """Nuclei per mm2 (`tiling.nuclear_density`); None where it was not measured."""
    phash: int | None = None
    """Perceptual hash (`tiling.phash`), 0 to 2**64 - 1; None where it was not read."""
    dropped: DropReason | None = None
    """None for a kept tile."""

    def __post_init__(self) -> None:
        for name in ("tissue", "pen", "fold"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"tile {self.row},{self.column}: {name}={getattr(self, name)}, want 0..1")

    @property
    def kept(self) -> bool:
        """Whether the tile takes part in the vote."""
        return self.dropped is None
