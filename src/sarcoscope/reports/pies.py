"""The pie of tile labels, as voted and after the refined rule (paper figure 7)."""

from collections.abc import Mapping
from math import cos, radians, sin

from PIL import Image, ImageDraw

from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.reports.colors import EMPTY, INK, LINE, MUTED, NOTICE, WHITE, Color, ink_on, parse_color
from sarcoscope.reports.drawing import fit, font, png, wrap, write
from sarcoscope.reports.wording import percent, plural, share_of

_MARGIN, _PIE, _GAP, _TITLE = 56, 420, 72, 52
_ROW = 64
_SMOOTH = 4
_HOLE = 0.27
"""Radius of the hole, in sides of the pie."""
_LABEL_FROM = 0.08
"""A slice with a smaller share is named in the legend only."""


def slice_angles(votes: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Start and end of each class's slice, degrees clockwise from three o'clock; the first starts at twelve."""
    total, start, angles = sum(votes.values()), 0, {}
    for code, count in votes.items():
        if count:
            angles[code] = (360 * start / total - 90, 360 * (start + count) / total - 90)
        start += count
    return angles


def _ring(votes: Mapping[str, int], colors: Mapping[str, Color]) -> Image.Image:
    side = _PIE * _SMOOTH
    image = Image.new("RGB", (side, side), WHITE)
    draw = ImageDraw.Draw(image)
    angles = slice_angles(votes)
    whole, middle, hole = (0, 0, side - 1, side - 1), side / 2, side * _HOLE
    if not angles:
        draw.ellipse(whole, fill=EMPTY, outline=LINE, width=2 * _SMOOTH)
    for code, (start, end) in angles.items():
        draw.pieslice(whole, start, end, fill=colors[code])
    if len(angles) > 1:
        for start, _ in angles.values():
            edge = (middle + side * cos(radians(start)), middle + side * sin(radians(start)))
            draw.line((middle, middle, *edge), fill=WHITE, width=2 * _SMOOTH)
    draw.ellipse((middle - hole, middle - hole, middle + hole, middle + hole), fill=WHITE)
    return image.resize((_PIE, _PIE), Image.Resampling.LANCZOS)


def _draw_ring(
    canvas: Image.Image, at: tuple[int, int], title: str, votes: Mapping[str, int], colors: Mapping[str, Color]
) -> None:
    draw, total = ImageDraw.Draw(canvas), sum(votes.values())
    column, row = at[0] + _PIE / 2, at[1] + _TITLE + _PIE / 2
    write(draw, (column, at[1] + 22), title, face=font(20, bold=True), ink=INK, anchor="ms")
    canvas.paste(_ring(votes, colors), (at[0], at[1] + _TITLE))
    write(draw, (column, row + 4), f"{total:,}", face=font(40, bold=True), ink=INK, anchor="ms")
    write(draw, (column, row + 32), plural(total, "tile").split()[1], face=font(18), ink=MUTED, anchor="ms")
    radius = _PIE * (0.5 + _HOLE) / 2
    for code, (start, end) in slice_angles(votes).items():
        if (end - start) / 360 >= _LABEL_FROM:
            angle, ink = radians((start + end) / 2), ink_on(colors[code])
            across, down = column + radius * cos(angle), row + radius * sin(angle)
            write(
                draw,
                (across, down - 2),
                fit(code, font(18, bold=True), 104),
                face=font(18, bold=True),
                ink=ink,
                anchor="ms",
            )
            write(draw, (across, down + 20), percent((end - start) / 360), face=font(17), ink=ink, anchor="ms")


def draw_rings(record: DiagnosisRecord) -> Image.Image:
    """The pies alone: the votes and, where the refined rule was applied, the refined votes to their right."""
    colors = {item.code: parse_color(item.color) for item in record.classes}
    drawn = [("Tile labels", record.votes)]
    if record.refined.applied:
        drawn.append(("After the refined rule", record.refined.votes))
    width = len(drawn) * _PIE + (len(drawn) - 1) * _GAP
    canvas = Image.new("RGB", (width, _TITLE + _PIE), WHITE)
    for index, (title, votes) in enumerate(drawn):
        _draw_ring(canvas, (index * (_PIE + _GAP), 0), title, votes, colors)
    return canvas


def _draw_legend(canvas: Image.Image, record: DiagnosisRecord, left: int, right: int, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    refined = record.refined.votes if record.refined.applied else None
    voted_at = right - 190 if refined else right
    small = font(15)
    write(draw, (voted_at, top), "tiles", face=small, ink=MUTED, anchor="rs")
    if refined:
        write(draw, (right, top), "refined", face=small, ink=MUTED, anchor="rs")
    for index, item in enumerate(record.classes):
        row = top + 20 + index * _ROW
        draw.line((left, row, right, row), fill=LINE)
        draw.rectangle((left, row + 14, left + 35, row + 49), fill=parse_color(item.color))
        text, room = left + 52, voted_at - left - 52 - 100
        write(
            draw,
            (text, row + 30),
            fit(item.code, font(19, bold=True), room),
            face=font(19, bold=True),
            ink=INK,
            anchor="ls",
        )
        write(draw, (text, row + 51), fit(item.name, font(15), room), face=font(15), ink=MUTED, anchor="ls")
        for end, votes in ((voted_at, record.votes), *([(right, refined)] if refined else [])):
            write(draw, (end, row + 30), f"{votes[item.code]:,}", face=font(19), ink=INK, anchor="rs")
            write(draw, (end, row + 51), percent(share_of(votes, item.code)), face=font(15), ink=MUTED, anchor="rs")


def draw_pie(record: DiagnosisRecord) -> Image.Image:
    """The pies with slide, legend (counts and shares equal the record's) and notice."""
    rings = draw_rings(record)
    legend = 720 if record.refined.applied else 620
    width = _MARGIN + rings.width + _GAP + legend + _MARGIN
    room = width - 2 * _MARGIN
    notice = wrap(record.notice, font(16), room)
    top = _MARGIN + 64
    bottom = top + max(rings.height, _TITLE + 20 + _ROW * len(record.classes)) + 40
    canvas = Image.new("RGB", (width, bottom + 24 * len(notice) + _MARGIN), WHITE)
    draw = ImageDraw.Draw(canvas)
    write(
        draw,
        (_MARGIN, _MARGIN + 24),
        fit(record.slide, font(30, bold=True), room),
        face=font(30, bold=True),
        ink=INK,
        anchor="ls",
    )
    canvas.paste(rings, (_MARGIN, top))
    _draw_legend(canvas, record, width - _MARGIN - legend, width - _MARGIN, top + _TITLE)
    for line, words in enumerate(notice):
        write(draw, (_MARGIN, bottom + 24 * line), words, face=font(16), ink=NOTICE, anchor="la")
    return canvas


def pie(record: DiagnosisRecord) -> bytes:
    """`draw_pie` as PNG."""
    return png(draw_pie(record))
