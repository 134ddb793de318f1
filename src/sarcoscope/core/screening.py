"""What a reader decides of a tile when irrelevant ones are taken out by hand (paper, section 1.2.1)."""

from dataclasses import dataclass
from enum import StrEnum

TileKey = tuple[str, str]
"""Slide and tile, as the columns `slide` and `tile` of a tile index have them."""


class Verdict(StrEnum):
    """What a reader says of a tile. The value is what is written to files."""

    REJECT = "reject"
    """It says nothing of the diagnosis, or shows something else: not to be used."""
    KEEP = "keep"
    """It was seen, and stays."""
    WITHDRAWN = "withdrawn"
    """What the same reader said before counts no more, as if the tile had never been seen: an undone decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One line of screening.csv; the last line of a reader about a tile counts."""

    slide: str
    tile: str
    verdict: Verdict
    reader: str = ""
    """Who; empty where the file does not say."""
    when: str = ""
    """UTC, ISO 8601, as written; empty where the file does not say."""
    reason: str = ""
    mpp: float | None = None
    """um/px, for people, as the label."""
    left_l0: int | None = None
    top_l0: int | None = None
    """Where the tile lay, level-0 px: what lies elsewhere now was not decided about."""
    label: str | None = None

    @property
    def key(self) -> TileKey:
        """What the decision is about."""
        return self.slide, self.tile
