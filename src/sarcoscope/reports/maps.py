"""The classification map: each kept tile coloured by its label over the slide (paper figure 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.reports.colors import DROPPED, INK, LINE, MUTED, NOTICE, WHITE, Color, parse_color, tile_alpha
from sarcoscope.reports.drawing import fit, font, png, wrap, write
from sarcoscope.reports.overlay import blend, draw_overlay, hatching
from sarcoscope.reports.wording import (
    DROPPED_WORDS,
    count_and_share,
    headline,
    length,
    lower_first,
    nice_length,
    refined_headline,
)

_MARGIN, _GAP = 56, 56
_SMALLEST, _LARGEST = 900, 1600
_ENTRY = Size(430, 66)
_HEAD, _UNDER = 148, 64
WIDE_FROM = 2.2
"""From this width over height on, the legend stands below the slide."""


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Where everything stands, px of the finished picture."""

    slide: Size
    """The slide's picture as drawn."""
    slide_at: tuple[int, int]
    """Its left and top."""
    legend_at: tuple[int, int]
    columns: int
    notice_top: int
    canvas: Size


def slide_size(thumbnail: Size) -> Size:
    """Size at which the slide is drawn: small overviews are enlarged, large ones reduced."""
    longest = max(thumbnail.width, thumbnail.height)
    factor = min(max(longest, _SMALLEST), _LARGEST) / longest
    return Size(max(1, round(thumbnail.width * factor)), max(1, round(thumbnail.height * factor)))


def map_layout(thumbnail: Size, entries: int, notice_lines: int) -> MapLayout:
    """The legend stands beside the slide, or below where the slide is wide."""
    slide = slide_size(thumbnail)
    left, top = _MARGIN, _MARGIN + _HEAD
    if slide.width > WIDE_FROM * slide.height:
        width = slide.width
        columns = max(1, (width + _GAP) // (_ENTRY.width + _GAP))
        legend = (left, top + slide.height + _UNDER + 24)
        bottom = legend[1] + -(-entries // columns) * _ENTRY.height
    else:
        columns = 1
        picture = max(slide.width, 300)
        legend = (left + picture + _GAP, top)
        width = picture + _GAP + _ENTRY.width
        bottom = top + max(slide.height + _UNDER, entries * _ENTRY.height)
    notice = bottom + 40
    canvas = Size(width + 2 * _MARGIN, notice + 24 * notice_lines + _MARGIN)
    return MapLayout(slide, (left, top), legend, columns, notice, canvas)


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One line of the legend."""

    kind: Literal["class", "dropped", "ramp"]
    head: str
    figure: str
    """Right-aligned count and share; empty where there is none."""
    detail: str
    color: Color = DROPPED
    reason: DropReason | None = None


def legend_entries(record: DiagnosisRecord) -> list[LegendEntry]:
    """Classes with counts and shares, the dropped tiles that are drawn, and what strong colour means."""
    entries = [
        LegendEntry(
            "class",
            item.code,
            count_and_share(record.votes, item.code),
            item.name,
            parse_color(item.color),
        )
        for item in record.classes
    ]
    entries.append(LegendEntry("ramp", "", "", "stronger colour: higher probability"))
    dropped = [
        LegendEntry("dropped", DROPPED_WORDS[str(reason)], f"{count:,}", "dropped", reason=reason)
        for reason in DropReason
        if reason is not DropReason.BLANK and (count := record.tiles.dropped.get(str(reason), 0))
    ]
    return [*entries, *dropped]


def _swatch(entry: LegendEntry, classes: int) -> Image.Image:
    height, width = (40, 40) if entry.kind != "ramp" else (20, 160)
    pixels = np.full((height, width, 3), WHITE, np.uint8)
    if entry.kind == "ramp":
        chances = np.linspace(1 / classes, 1, width)
        grey = [round(255 - tile_alpha(float(p), classes) * 175) for p in chances]
        pixels[:] = np.array(grey, np.uint8)[None, :, None]
    elif entry.reason is not None:
        pixels[hatching(height, width, entry.reason)] = DROPPED
        pixels[[0, -1]] = pixels[:, [0, -1]] = DROPPED
    else:
        pixels[:] = entry.color
    return Image.fromarray(pixels)


def _draw_legend(canvas: Image.Image, layout: MapLayout, entries: Sequence[LegendEntry], classes: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for index, entry in enumerate(entries):
        column, row = index % layout.columns, index // layout.columns
        left = layout.legend_at[0] + column * (_ENTRY.width + _GAP)
        top = layout.legend_at[1] + row * _ENTRY.height
        right = left + _ENTRY.width
        swatch = _swatch(entry, classes)
        canvas.paste(swatch, (left, top))
        text = left + swatch.width + 16
        if entry.kind == "ramp":
            draw.text((left, top + 26), "chance", font=font(14), fill=MUTED, anchor="la")
            draw.text((left + swatch.width, top + 26), "certain", font=font(14), fill=MUTED, anchor="ra")
            for line, words in enumerate(wrap(entry.detail, font(16), right - text)):
                write(draw, (text, top + 16 + 22 * line), words, face=font(16), ink=MUTED, anchor="ls")
            continue
        figure_px = font(20).getlength(entry.figure)
        write(draw, (right, top + 17), entry.figure, face=font(20), ink=INK, anchor="rs")
        head = fit(entry.head, font(20, bold=True), right - figure_px - 16 - text)
        write(draw, (text, top + 17), head, face=font(20, bold=True), ink=INK, anchor="ls")
        write(draw, (text, top + 40), fit(entry.detail, font(16), right - text), face=font(16), ink=MUTED, anchor="ls")


def _draw_scale_bar(draw: ImageDraw.ImageDraw, layout: MapLayout, um_per_px: float) -> None:
    microns = nice_length(max(layout.slide.width, 160) * um_per_px / 4)
    left, top = layout.slide_at[0], layout.slide_at[1] + layout.slide.height + 22
    right = left + max(1, round(microns / um_per_px))
    draw.rectangle((left, top, right - 1, top + 5), fill=INK)
    write(draw, (left, top + 14), length(microns), face=font(18), ink=INK, anchor="la")


def _draw_head(draw: ImageDraw.ImageDraw, record: DiagnosisRecord, width: int) -> None:
    lines = [
        (24, record.slide, font(34, bold=True), INK),
        (74, headline(record), font(22), INK),
        (106, f"After the refined rule: {lower_first(refined_headline(record))}", font(18), MUTED),
    ]
    for top, words, face, ink in lines:
        write(draw, (_MARGIN, _MARGIN + top), fit(words, face, width), face=face, ink=ink, anchor="ls")


def faded(image: Rgb) -> Rgb:
    """The picture in light grey: no stain can be taken for a class's colour."""
    grey = image @ np.array([0.299, 0.587, 0.114])
    return np.repeat((255 - (255 - grey[..., None]) * 0.85).round().astype(np.uint8), 3, axis=2)


def draw_map(
    thumbnail: Rgb, record: DiagnosisRecord, tiles: Sequence[Tile], probabilities: Probabilities
) -> tuple[Rgb, MapLayout]:
    """The finished picture (height, width, 3) and where the slide stands on it.

    Args:
        thumbnail: the whole slide, any size.
        record: of the same slide.
        tiles: every cell of the grid.
        probabilities: (kept, C), one row for each kept tile in the order of `tiles`.

    Raises InputError where they do not fit each other or a class colour is none.
    """
    entries = legend_entries(record)
    source = Size(thumbnail.shape[1], thumbnail.shape[0])
    width = map_layout(source, len(entries), 0).canvas.width - 2 * _MARGIN
    notice = wrap(record.notice, font(16), width)
    layout = map_layout(source, len(entries), len(notice))
    size = (layout.slide.width, layout.slide.height)
    overview = Image.fromarray(thumbnail).resize(size, Image.Resampling.LANCZOS)
    colors = [parse_color(item.color) for item in record.classes]
    overlay = draw_overlay(Size(*record.size), layout.slide, tiles, probabilities, colors)
    canvas = Image.new("RGB", (layout.canvas.width, layout.canvas.height), WHITE)
    draw = ImageDraw.Draw(canvas)
    left, top = layout.slide_at
    draw.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=LINE)
    canvas.paste(Image.fromarray(blend(faded(np.asarray(overview)), overlay)), layout.slide_at)
    _draw_head(draw, record, width)
    _draw_scale_bar(draw, layout, record.size[0] * record.mpp / size[0])
    _draw_legend(canvas, layout, entries, len(colors))
    for line, words in enumerate(notice):
        write(draw, (_MARGIN, layout.notice_top + 24 * line), words, face=font(16), ink=NOTICE, anchor="la")
    return np.asarray(canvas), layout


def classification_map(
    thumbnail: Rgb, record: DiagnosisRecord, tiles: Sequence[Tile], probabilities: Probabilities
) -> bytes:
    """`draw_map` as PNG."""
    return png(Image.fromarray(draw_map(thumbnail, record, tiles, probabilities)[0]))
