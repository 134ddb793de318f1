"""What a study's report is built of; the page and the PDF are two drawings of the same blocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import groupby
from typing import Literal

from PIL import Image

Mark = Literal["", "right", "wrong", "best", "quiet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table."""

    text: str
    sub: str = ""
    """A second line in small type: an interval, a class's name."""
    mark: Mark = ""
    color: str = ""
    """'#rrggbb' of a swatch in front; empty for none."""
    bars: tuple[tuple[str, float], ...] = ()
    """Colours and shares (0..1) of a bar above the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    text: str
    group: str = ""
    """Columns of one group that stand beside each other have it as a common heading."""
    number: bool = False
    """Aligned to the right."""
    width: float = 1.0
    """Relative to the other columns, on paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; the first cell of a row names the row."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    csv: str = ""
    """Name of the CSV in tables/ that holds these numbers; empty for none."""

    def groups(self) -> list[tuple[str, int]]:
        """Headings over the columns and how many each stands over; none where no column has a group."""
        if not any(one.group for one in self.columns):
            return []
        return [(group, len(list(columns))) for group, columns in groupby(self.columns, key=lambda one: one.group)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph."""

    words: str
    kind: Literal["plain", "lead", "warning", "hint", "heading"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """A list of sentences."""

    items: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A number that stands out."""

    what: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """Numbers beside each other."""

    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture with its caption."""

    name: str
    """Its file in figures/, with suffix .png or .jpg."""
    content: bytes
    alt: str
    """What it shows, in words."""
    caption: str
    share: float = 1.0
    """Of the text's width, on paper."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        with Image.open(BytesIO(self.content)) as image:
            return image.size

    @property
    def kind(self) -> str:
        """Of the file: png or jpeg."""
        return "png" if self.name.endswith(".png") else "jpeg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures beside each other."""

    figures: tuple[Figure, ...]
    columns: int = 2
    """On a wide screen."""
    paper: int = 2
    """On paper."""


Block = Table | Text | Points | Cards | Figure | Gallery


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report."""

    id: str
    """Its anchor."""
    title: str
    short: str
    """In the navigation."""
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReport:
    """The whole report."""

    title: str
    notices: tuple[str, ...]
    """What must stand on every page."""
    lead: str
    sections: tuple[Section, ...]
    tables: Mapping[str, str] = field(default_factory=dict)
    """Content of each CSV by its name."""
    made: str = ""
    """Where it came from, in the last line."""

    def figures(self) -> tuple[Figure, ...]:
        """All pictures in their order."""
        found: list[Figure] = []
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Gallery):
                    found.extend(block.figures)
                elif isinstance(block, Figure):
                    found.append(block)
        return tuple(found)
