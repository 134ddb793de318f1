"""ZYP slides (WinMedic, Zhiying): JPEG tiles straight from the file; docs/formats/zyp.md says how it is known."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideError, SlideOpenError
from sarcoscope.core.geometry import Size
from sarcoscope.core.slide import Level, SlideInfo
from sarcoscope.slides.byte_spans import Span, read_span, unlike_layout
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import JpegLevel
from sarcoscope.slides.scale import GivenScale, ScaleClaim, scale_or_problem
from sarcoscope.slides.tile_index import CELLS_MAX
from sarcoscope.slides.vendor_pyramid import VendorPyramid
from sarcoscope.slides.zyp_items import Item
from sarcoscope.slides.zyp_layout import BARCODE, MACRO, PREVIEW, SLICE_INFO, ZypLayout, read_layout, version_at
from sarcoscope.slides.zyp_tiles import LENGTH, LEVELS, POSITION, whole_number

TILE_SIDE: Final = 256
SIDE_MAX: Final = 2**24
"""Longest side of level 0, px."""

_ROI_PX: Final = 2 ** (LEVELS - 1)
"""Level-0 px per px of the level that ROI values are in."""
_ASSOCIATED: Final = {BARCODE: "label", MACRO: "macro", PREVIEW: "thumbnail"}
_BRIGHTFIELD: Final = frozenset({"", "0", "brightfield", "bf", "\u660e\u573a"})
"""ScanMode in lower case without spaces; the last is Chinese for brightfield."""
_ROI: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_SLICE_SIZE: Final = re.compile(r"([0-9]{1,9})\s*\u00d7\s*([0-9]{1,9})", re.ASCII)
_ZOOM: Final = re.compile(r"\s*([0-9]{1,4}(?:\.[0-9]{1,4})?)\s*[xX\u00d7]?\s*", re.ASCII)
_NEXT_JPEG: Final = b"\xff\xd9\xff\xd8\xff"
_LOOK_BYTES: Final = 16 * 1024 * 1024
_SHOWN_CHARS: Final = 200
_SHOWN_FIELDS: Final = 200


@dataclass(frozen=True, slots=True)
class _Roi:
    """The slide on the absolute grid of its tiles, level-0 px."""

    left: int
    top: int
    right: int
    bottom: int

    def whole_at(self, level: int) -> bool:
        """Whether its edges are whole px of that level: otherwise the level lies a part of a px beside the others."""
        return all(edge % (1 << level) == 0 for edge in (self.left, self.top, self.right, self.bottom))


class ZypReader(VendorPyramid):
    """A `SlideSource` over one ZYP file of version 1.10 or 2.01. Raises SlideOpenError, naming what is not as known."""

    def __init__(self, path: Path, *, given: GivenScale | None = None) -> None:
        data = FileBytes(path)
        try:
            layout = read_layout(data)
            slide = layout.named(SLICE_INFO)
            if slide is None:
                raise unlike_layout(data, f"it holds no item {SLICE_INFO!r}")
            _refuse_other_kinds(data, slide.item)
            roi = _roi(data, slide.item)
            numbers = [level for level in _levels(data, layout, roi) if roi.whole_at(level)]
            info = _info(layout, slide.item, roi, numbers, given)
            levels = [_jpeg_level(layout, roi, level) for level in numbers]
        except SlideError:
            data.close()
            raise
        super().__init__(data, info, levels, _images(layout))


def is_zyp(path: Path) -> bool:
    """Whether a file ends as a ZYP does: its last 8 bytes lead to a short string. Raises SlideError if unreadable."""
    data = FileBytes(path)
    try:
        return version_at(data) is not None
    finally:
        data.close()


def refuse_cut_zyp(path: Path) -> None:
    """SlideOpenError for a file named .zyp of several JPEGs one behind the other: without its end a ZYP is just that.

    It would else be read as the first of them.
    """
    if path.suffix.lower() != ".zyp":
        return
    data = FileBytes(path)
    try:
        several = _NEXT_JPEG in read_span(data, 0, min(data.size, _LOOK_BYTES), "its begin")
    finally:
        data.close()
    if several:
        problem = "begins as a ZYP does and does not end as one: it is cut short"
        raise SlideOpenError(path, problem, "copy it from the scanner again")


def _refuse_other_kinds(data: FileBytes, slide: Item) -> None:
    mode = slide.value("ScanMode") or ""
    if "".join(mode.lower().split()) not in _BRIGHTFIELD:
        raise unlike_layout(data, f"a ZYP file of ScanMode {mode[:40]!r}: only brightfield is read")
    for key in ("FlatNum", "ChannelNum"):
        said = slide.value(key)
        if said is not None and (whole_number(said) or 0) > 1:
            raise unlike_layout(data, f"a ZYP file of {key} {said[:40]!r}: only one is read")


def _roi(data: FileBytes, slide: Item) -> _Roi:
    edges = {key: slide.value(f"ROI{key}") for key in ("Left", "Top", "Right", "Bottom")}
    said = ", ".join(f"ROI{key} {'absent' if text is None else repr(text[:40])}" for key, text in edges.items())
    px = [Fraction(text) * _ROI_PX for text in edges.values() if text is not None and _ROI.fullmatch(text)]
    if len(px) < len(edges) or any(edge.denominator != 1 for edge in px):
        raise unlike_layout(data, f"its ZYP SliceInfo states {said}, want whole level-0 px in units of {_ROI_PX}")
    roi = _Roi(*(int(edge) for edge in px))
    width, height = roi.right - roi.left, roi.bottom - roi.top
    cells = -(-width // TILE_SIDE) * -(-height // TILE_SIDE)
    if (
        not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX and cells <= CELLS_MAX)
        or max(roi.right, roi.bottom) > 2 * SIDE_MAX
    ):
        raise unlike_layout(data, f"its ZYP SliceInfo states {said}: that is {width}x{height} px")
    stated = slide.value("SliceSize")
    sides = _SLICE_SIZE.fullmatch(stated or "")
    if sides is None or (int(sides[1]), int(sides[2])) != (width, height):
        size = "no SliceSize" if stated is None else f"SliceSize {stated[:40]!r}"
        raise unlike_layout(data, f"its ZYP SliceInfo states {size}, but {said}: that is {width}\u00d7{height}")
    return roi


def _levels(data: FileBytes, layout: ZypLayout, roi: _Roi) -> list[int]:
    """The levels that have tiles, every tile within the slide; level 0 must be one of them."""
    tiles, levels = layout.tiles, layout.tiles.levels()
    if not levels or levels[0] != 0:
        raise unlike_layout(data, "its ZYP tile index has no tile of level 0")
    side = TILE_SIDE << tiles.level
    across = (tiles.column * side < roi.right) & ((tiles.column + 1) * side > roi.left)
    down = (tiles.row * side < roi.bottom) & ((tiles.row + 1) * side > roi.top)
    outside = ~(across & down)
    if outside.any():
        at = int(outside.argmax())
        tile = f"{tiles.level[at]},{tiles.column[at]},{tiles.row[at]} (level,x,y)"
        area = f"{roi.left}, {roi.top} to {roi.right}, {roi.bottom}"
        raise unlike_layout(data, f"its ZYP tile {tile} lies outside the slide, which is {area} in level-0 px")
    return levels


def _jpeg_level(layout: ZypLayout, roi: _Roi, level: int) -> JpegLevel:
    left_lv, top_lv, right_lv, bottom_lv = (edge >> level for edge in (roi.left, roi.top, roi.right, roi.bottom))
    first_column, first_row = left_lv // TILE_SIDE, top_lv // TILE_SIDE
    return JpegLevel(
        size=Size(right_lv - left_lv, bottom_lv - top_lv),
        tile=Size(TILE_SIDE, TILE_SIDE),
        table=layout.tiles.table(
            level,
            first_column=first_column,
            first_row=first_row,
            columns=-(-right_lv // TILE_SIDE) - first_column,
            rows=-(-bottom_lv // TILE_SIDE) - first_row,
        ),
        origin_x=first_column * TILE_SIDE - left_lv,
        origin_y=first_row * TILE_SIDE - top_lv,
    )


def _images(layout: ZypLayout) -> dict[str, Span]:
    found = {name: layout.named(key) for key, name in _ASSOCIATED.items()}
    return {
        name: one.blob for name, one in found.items() if one is not None and one.blob is not None and one.blob.length
    }


def _info(layout: ZypLayout, slide: Item, roi: _Roi, levels: list[int], given: GivenScale | None) -> SlideInfo:
    mpp, zoom = slide.value("MicrometersPerPixel"), _ZOOM.fullmatch(slide.value("ScanZoom") or "")
    power = (float(zoom[1]) or None) if zoom else None
    side = None if mpp is None else _number(mpp)
    scale, problem = scale_or_problem(
        ScaleClaim(mpp_x=side, mpp_y=side, power=power, source="file: ZYP MicrometersPerPixel"), given
    )
    size = Size(roi.right - roi.left, roi.bottom - roi.top)
    return SlideInfo(
        vendor="zyp",
        size=size,
        levels=tuple(
            Level(size=Size(size.width >> level, size.height >> level), downsample=float(2**level)) for level in levels
        ),
        scale=scale,
        scale_problem=problem,
        objective_power=power,
        associated=tuple(sorted(_images(layout))),
        properties=_properties(layout),
    )


def _number(text: str) -> float:
    """A decimal fraction, NaN for anything else."""
    return float(text) if _ROI.fullmatch(text.strip()) else math.nan


def _properties(layout: ZypLayout) -> dict[str, str]:
    shown = {"zyp.version": layout.version.value, "zyp.tiles": str(len(layout.tiles))}
    for one in layout.items:
        for field in one.item.fields:
            if len(shown) < _SHOWN_FIELDS and field.key.value not in {POSITION, LENGTH}:
                name = f"zyp.{one.item.name.value[:_SHOWN_CHARS]}.{field.key.value[:_SHOWN_CHARS]}"
                shown.setdefault(name, field.value.value[:_SHOWN_CHARS])
    return shown
