"""Sheets of class activation maps (paper, figure 8): each tile with its maps beside it.

Tissue stands in grey under a map, so that no stain can be taken for a value; colours are viridis, which colour-blind
readers see in the same order, and a line runs round what is above half the largest value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from sarcoscope.core.geometry import Rgb
from sarcoscope.reports.colors import INK, LINE, MUTED, NOTICE, WHITE, parse_color
from sarcoscope.reports.drawing import fit, font, png, wrap, write
from sarcoscope.reports.wording import length, nice_length

PANEL: Final = 256
"""Side of a picture on a sheet, px."""
MARGIN, HEAD = 40, 108
CAPTION: Final = 50
"""Above each tile, px: its name, and what was said of it."""
_WORDS, _GAP, _BETWEEN, _LEGEND = 30, 10, 36, 60
_WIDEST: Final = 1700
_OPACITY: Final = 0.55
_COLORS: Final = "viridis"
_WORDS_OF_LEGEND: Final = (
    "Each map has its own scale: from 0 (the place says nothing for the class, or speaks against it) to its largest "
    "value, which stands below it in units of the logit. The line runs round what is above half of that. What a "
    "network looks at is no proof of what it understands."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CamPanel:
    """One class's map over what a network was shown."""

    heat: npt.NDArray[np.float32]
    """(h, w) in 0..1, of any size."""
    words: str
    """Below it: class and probability."""
    figure: str
    """At its right, e.g. the largest value."""
    color: str
    """'#rrggbb' of the class."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CamRow:
    """What was shown, and maps over it."""

    rgb: Rgb
    """(px, px, 3)."""
    width_um: float | None
    """Of what is shown; None where nothing says, and no scale bar is drawn."""
    words: str
    """Below it, e.g. its scale."""
    panels: tuple[CamPanel, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CamItem:
    """One tile of a sheet."""

    head: str
    """Slide and tile."""
    detail: str
    """What is true and what was told."""
    rows: tuple[CamRow, ...]
    """One for each scale that members were shown."""


def draw_cam_sheet(items: Sequence[CamItem], *, title: str, detail: str, notice: str) -> bytes:
    """PNG of tiles with their maps; `notice`, e.g. that it is synthetic, stands above and below them.

    All items have the same number of rows and panels. Raises InputError where a colour is none.
    """
    across = 1 + max(len(row.panels) for item in items for row in item.rows)
    down = max(len(item.rows) for item in items)
    wide = across * (PANEL + _GAP) - _GAP
    high = CAPTION + down * (PANEL + _WORDS)
    fitting = max(1, (_WIDEST - 2 * MARGIN + _BETWEEN) // (wide + _BETWEEN))
    lines = -(-len(items) // fitting)
    columns = -(-len(items) // lines)
    width = max(2 * MARGIN + columns * (wide + _BETWEEN) - _BETWEEN, 2 * MARGIN + 3 * PANEL)
    below = wrap(_WORDS_OF_LEGEND, font(14), width - 2 * MARGIN - PANEL - 30)
    said = wrap(notice, font(16, bold=True), width - 2 * MARGIN)
    top = MARGIN + HEAD + 22 * len(said)
    foot = max(_LEGEND, 20 * len(below) + 24)
    canvas = Image.new("RGB", (width, top + lines * (high + _GAP) + foot + MARGIN), WHITE)
    draw = ImageDraw.Draw(canvas)
    _draw_head(draw, title, detail, said, width)
    for index, item in enumerate(items):
        left = MARGIN + index % columns * (wide + _BETWEEN)
        _draw_item(canvas, draw, item, (left, top + index // columns * (high + _GAP)), wide)
    _draw_legend(canvas, draw, (MARGIN, top + lines * (high + _GAP) + 16), below)
    return png(canvas)


def over(rgb: Rgb, heat: npt.NDArray[np.float32], side_px: int = PANEL) -> Rgb:
    """(side_px, side_px, 3): the tissue in grey, a map (h, w) of 0..1 in colour over it, and its half height as a line.

    A map without any positive value leaves the tissue in grey.
    """
    grey = _sized(rgb, side_px).astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    values = np.clip(cv2.resize(heat, (side_px, side_px), interpolation=cv2.INTER_LINEAR), 0, 1)
    colored = _colored(np.asarray(values, np.float64)).astype(np.float64)
    opacity = _OPACITY if values.max() > 0 else 0.0
    mixed = np.clip(grey[..., None] * (1 - opacity) + colored * opacity, 0, 255).round().astype(np.uint8)
    above = (values >= 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    picture = np.ascontiguousarray(mixed)
    cv2.drawContours(picture, outlines, -1, WHITE, 1, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def _colored(values: npt.NDArray[np.floating]) -> Rgb:
    """(...) of 0..1 to (..., 3)."""
    return np.asarray(mpl.colormaps[_COLORS](np.asarray(values, np.float64), bytes=True)[..., :3], np.uint8)


def _sized(rgb: Rgb, side_px: int) -> Rgb:
    shrinks = rgb.shape[0] >= side_px
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (side_px, side_px), interpolation=way), np.uint8)


def _draw_head(draw: ImageDraw.ImageDraw, title: str, detail: str, said: Sequence[str], width: int) -> None:
    for below, words, face, ink in ((28, title, font(30, bold=True), INK), (62, detail, font(18), MUTED)):
        write(draw, (MARGIN, MARGIN + below), fit(words, face, width - 2 * MARGIN), face=face, ink=ink, anchor="ls")
    for line, words in enumerate(said):
        write(draw, (MARGIN, MARGIN + 92 + 22 * line), words, face=font(16, bold=True), ink=NOTICE, anchor="ls")


def _draw_item(canvas: Image.Image, draw: ImageDraw.ImageDraw, item: CamItem, at: tuple[int, int], wide: int) -> None:
    left, top = at
    write(draw, (left, top + 18), fit(item.head, font(16), wide), face=font(16), ink=INK, anchor="ls")
    write(draw, (left, top + 40), fit(item.detail, font(14), wide), face=font(14), ink=MUTED, anchor="ls")
    for number, row in enumerate(item.rows):
        upper = top + CAPTION + number * (PANEL + _WORDS)
        tile = Image.fromarray(_sized(row.rgb, PANEL))
        if row.width_um is not None:
            _draw_scale_bar(tile, row.width_um / PANEL)
        canvas.paste(tile, (left, upper))
        draw.rectangle((left, upper, left + PANEL - 1, upper + PANEL - 1), outline=LINE)
        words = fit(row.words, font(14), PANEL)
        write(draw, (left, upper + PANEL + 18), words, face=font(14), ink=MUTED, anchor="ls")
        for place, panel in enumerate(row.panels, start=1):
            _draw_panel(canvas, draw, (left + place * (PANEL + _GAP), upper), row.rgb, panel)


def _draw_panel(canvas: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], rgb: Rgb, panel: CamPanel) -> None:
    left, top = at
    canvas.paste(Image.fromarray(over(rgb, panel.heat)), at)
    line, face = top + PANEL + 18, font(14)
    draw.rectangle((left, line - 11, left + 11, line), fill=parse_color(panel.color))
    room = PANEL - face.getlength(panel.figure) - 8 - 18
    write(draw, (left + 18, line), fit(panel.words, face, room), face=face, ink=INK, anchor="ls")
    write(draw, (left + PANEL, line), panel.figure, face=face, ink=MUTED, anchor="rs")


def _draw_scale_bar(tile: Image.Image, um_per_px: float) -> None:
    """In the lower left of the tile, dark on a white ground that any tissue is seen beside."""
    draw = ImageDraw.Draw(tile)
    microns = nice_length(PANEL * um_per_px / 3)
    bar, words = max(1, round(microns / um_per_px)), length(microns)
    right = 14 + max(bar, round(font(13).getlength(words)))
    draw.rectangle((6, PANEL - 34, right + 8, PANEL - 7), fill=WHITE)
    draw.rectangle((14, PANEL - 15, 14 + bar - 1, PANEL - 12), fill=INK)
    write(draw, (14, PANEL - 19), words, face=font(13), ink=INK, anchor="ls")


def _draw_legend(canvas: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], lines: Sequence[str]) -> None:
    left, top = at
    ramp = np.repeat(_colored(np.linspace(0, 1, PANEL))[None], 18, axis=0)
    shown = ramp * _OPACITY + 235.0 * (1 - _OPACITY)  # as over pale tissue
    canvas.paste(Image.fromarray(shown.round().astype(np.uint8)), at)
    draw.rectangle((left, top, left + PANEL - 1, top + 17), outline=LINE)
    draw.line((left + PANEL // 2, top, left + PANEL // 2, top + 17), fill=WHITE)
    for place, words, anchor in ((0, "0", "la"), (PANEL // 2, "half", "ma"), (PANEL, "largest", "ra")):
        write(draw, (left + place, top + 22), words, face=font(13), ink=MUTED, anchor=anchor)
    for number, words in enumerate(lines):
        write(draw, (left + PANEL + 30, top + 13 + 20 * number), words, face=font(14), ink=MUTED, anchor="ls")
