"""The pixels behind the rows of a tile index: read on the fly, evened out where asked, of slides and of files alike."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sarcoscope.core.appearance import Appearance
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.formats.appearance import as_appearance
from sarcoscope.formats.tile_index import read_record
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.tiling.appearance import Normaliser

ReadTile = Callable[[Mapping[str, Any]], Rgb]
"""A row of the index to (px, px, 3) uint8; from several threads at once. Raises SlideError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How slides are evened out: a method of `core.appearance.METHODS` and what they are brought to."""

    method: str
    target: Appearance


@contextmanager
def open_tiles(index: Path, look: Look | None = None) -> Iterator[ReadTile]:
    """A reader of the tiles that one index file lists; the slide is open as long as the block runs.

    With a look each tile is brought from its slide's appearance to the look's target; tiles of a slide with too
    little stain to know, and ready-made ones, stay as they are. Raises ArtifactError and SlideError.
    """
    record = read_record(index)
    if record["kind"] != "slide":
        folder = Path(record["folder"])
        yield lambda row: read_tile_file(folder / row["file"])
        return
    own = appearance_in(record)
    evened = Normaliser(look.method, own, look.target, record["glass"]) if look and own else None
    side = Size(record["inputs"]["cut"]["tile_px"], record["inputs"]["cut"]["tile_px"])
    with open_indexed(record) as source:

        def read(row: Mapping[str, Any]) -> Rgb:
            rgb = source.read(box_of(row), side)
            return evened(rgb) if evened else rgb

        yield read


def open_indexed(record: Mapping[str, Any]) -> SlideSource:
    """The slide that an index was made from, with the scale it was given. Raises SlideOpenError."""
    given = record["mpp_given"]
    return open_slide(Path(record["path"]), mpp=None if given is None else Mpp(given), mpp_source="manifest")


def appearance_in(record: Mapping[str, Any]) -> Appearance | None:
    """What an indexed slide looks like; None where it holds too little stain, or is made of ready-made tiles."""
    found = record.get("appearance")
    return None if found is None else as_appearance(found)


def box_of(row: Mapping[str, Any]) -> Box:
    """Where a tile of a slide lies, level-0 px."""
    return Box(row["left_l0"], row["top_l0"], row["width_l0"], row["height_l0"])


def at_side(rgb: Rgb, side_px: int) -> Rgb:
    """(side_px, side_px, 3) around the middle of a tile (h, w, 3), not scaled; beyond its edges it is mirrored."""
    top, left = (max(length - side_px, 0) // 2 for length in rgb.shape[:2])
    rgb = rgb[top : top + side_px, left : left + side_px]
    down, right = (side_px - length for length in rgb.shape[:2])
    if not down and not right:
        return np.require(rgb, requirements=["C", "W"])
    edges = (down // 2, down - down // 2, right // 2, right - right // 2)
    return np.asarray(cv2.copyMakeBorder(rgb, *edges, cv2.BORDER_REFLECT_101), np.uint8)
