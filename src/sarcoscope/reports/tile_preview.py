"""What was cut from a slide, at a glance (paper, figure 2): its tissue, kept tiles, dropped ones by reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw

from sarcoscope.core.geometry import Box, Mask, Rgb, Size
from sarcoscope.core.tile import DropReason
from sarcoscope.reports.colors import DROP_COLORS, INK, LINE, MUTED, NOTICE, WHITE, Color
from sarcoscope.reports.drawing import fit, font, png, wrap, write
from sarcoscope.reports.maps import slide_size
from sarcoscope.reports.overlay import place
from sarcoscope.reports.wording import DROPPED_WORDS

KEPT: Final[Color] = (20, 20, 20)
REJECTED: Final[Color] = (204, 121, 167)
_TISSUE: Final[Color] = (0, 90, 60)
_TINT: Final = 0.42
_MARGIN, _GAP, _HEAD, _LEGEND, _ROW = 40, 40, 96, 360, 44
_CELL, _CAPTION = 224, 44


@dataclass(frozen=True, slots=True)
class Shown:
    """A tile as it is drawn."""

    box: Box
    dropped: DropReason | None
    rejected: bool = False
    """By a reader, though it was kept."""


def draw_slide(
    overview: Rgb, tissue: Mask, size_l0: Size, tiles: Sequence[Shown], *, title: str, detail: str, notice: str = ""
) -> bytes:
    """PNG of a slide's overview: tissue outlined, kept tiles framed, dropped ones tinted by reason, with counts.

    Args:
        overview: (h, w, 3) uint8 of the whole slide.
        tissue: (h', w') bool of the whole slide, of any size.
        size_l0: the slide, level-0 px.
        tiles: of one scale; dropped ones are painted first, so that kept ones lie on top.
        title: the slide's name.
        detail: a line below it, e.g. class and scale.
        notice: what must stand on the page, e.g. that it is synthetic.
    """
    size = slide_size(Size(overview.shape[1], overview.shape[0]))
    picture = np.asarray(Image.fromarray(overview).resize((size.width, size.height)), np.uint8).copy()
    _outline_tissue(picture, tissue)
    for tile in sorted(tiles, key=lambda one: one.dropped is None):
        if at := place(tile.box, size_l0, size):
            _paint(picture[at.top : at.bottom, at.left : at.right], tile)
    entries = _entries(tiles)
    width = 2 * _MARGIN + size.width + _GAP + _LEGEND
    notice_lines = wrap(notice, font(16), width - 2 * _MARGIN)
    height = _MARGIN + _HEAD + max(size.height, len(entries) * _ROW) + 24 * len(notice_lines) + _MARGIN + 16
    canvas = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(canvas)
    _head(draw, title, detail, width)
    canvas.paste(Image.fromarray(picture), (_MARGIN, _MARGIN + _HEAD))
    left = _MARGIN + size.width + _GAP
    for row, (color, filled, words, count) in enumerate(entries):
        top = _MARGIN + _HEAD + row * _ROW
        draw.rectangle((left, top, left + 27, top + 27), fill=color if filled else None, outline=color, width=3)
        write(draw, (left + 42, top + 20), words, face=font(18), ink=INK, anchor="ls")
        write(draw, (left + _LEGEND, top + 20), count, face=font(18), ink=INK, anchor="rs")
    for row, line in enumerate(notice_lines):
        write(draw, (_MARGIN, height - _MARGIN - 24 * (len(notice_lines) - 1 - row)), line, face=font(16), ink=NOTICE,
              anchor="ls")  # fmt: skip
    return png(canvas)


def _head(draw: ImageDraw.ImageDraw, title: str, detail: str, width: int) -> None:
    for below, words, face, ink in ((28, title, font(30, bold=True), INK), (62, detail, font(18), MUTED)):
        line = fit(words, face, width - 2 * _MARGIN)
        write(draw, (_MARGIN, _MARGIN + below), line, face=face, ink=ink, anchor="ls")


def _entries(tiles: Sequence[Shown]) -> list[tuple[Color, bool, str, str]]:
    """Colour, whether filled, words and count of each line of the legend."""
    kept = sum(tile.dropped is None and not tile.rejected for tile in tiles)
    rejected = sum(tile.dropped is None and tile.rejected for tile in tiles)
    entries = [(_TISSUE, False, "tissue", ""), (KEPT, False, "kept", f"{kept:,}")]
    if rejected:
        entries.append((REJECTED, True, "rejected by a reader", f"{rejected:,}"))
    counts = Counter(tile.dropped for tile in tiles)
    for reason in [reason for reason in DropReason if counts[reason]]:
        drawn = reason is not DropReason.BLANK
        color = DROP_COLORS[reason] if drawn else LINE
        words = DROPPED_WORDS[reason] if drawn else f"{DROPPED_WORDS[reason]}, not drawn"
        entries.append((color, drawn, words, f"{counts[reason]:,}"))
    return entries


def _outline_tissue(picture: Rgb, tissue: Mask) -> None:
    size = (picture.shape[1], picture.shape[0])
    mask = cv2.resize(tissue.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, outlines, -1, _TISSUE, 2, cv2.LINE_AA)


def _paint(cell: Rgb, tile: Shown) -> None:
    """Tint and frame one tile's px in place; glass is left as it is."""
    if tile.dropped is DropReason.BLANK:
        return
    color = REJECTED if tile.rejected else DROP_COLORS[tile.dropped] if tile.dropped else None
    if color is not None:
        cell[:] = (cell * (1 - _TINT) + np.array(color) * _TINT).astype(np.uint8)
    frame = color or KEPT
    cell[0], cell[-1], cell[:, 0], cell[:, -1] = frame, frame, frame, frame


def draw_sheet(tiles: Sequence[tuple[Rgb, str]], *, title: str, detail: str, columns: int = 6) -> bytes:
    """PNG of sample tiles with a caption under each; what follows its line break stands below in a paler ink."""
    rows = -(-len(tiles) // columns)
    step_x, step_y = _CELL + 16, _CELL + _CAPTION + 12
    width, height = 2 * _MARGIN + columns * step_x - 16, _MARGIN + _HEAD + rows * step_y + _MARGIN
    canvas = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(canvas)
    _head(draw, title, detail, width)
    for index, (rgb, caption) in enumerate(tiles):
        left, top = _MARGIN + index % columns * step_x, _MARGIN + _HEAD + index // columns * step_y
        canvas.paste(Image.fromarray(rgb).resize((_CELL, _CELL), Image.Resampling.BOX), (left, top))
        draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), outline=LINE)
        for line, words in enumerate(caption.split("\n")[:2]):
            at = (left, top + _CELL + 18 + 18 * line)
            write(draw, at, fit(words, font(14), _CELL), face=font(14), ink=MUTED if line else INK, anchor="ls")
    return png(canvas)
