"""Text and shapes on a Pillow image; the fonts are the ones that matplotlib ships."""

from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from sarcoscope.reports.colors import Color

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@cache
def font(px: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at a size in px."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), px)


def fit(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> str:
    """The text on one line, cut with an ellipsis where it is wider than `width_px`."""
    line = " ".join(text.split())
    if face.getlength(line) <= width_px:
        return line
    kept = len(line)
    while kept and face.getlength(line[:kept].rstrip() + ELLIPSIS) > width_px:
        kept -= 1
    return line[:kept].rstrip() + ELLIPSIS


def wrap(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """The text in lines no wider than `width_px`; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(fit(word, face, width_px))
    return lines


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    *,
    face: ImageFont.FreeTypeFont,
    ink: Color,
    anchor: str,
) -> None:
    """Text at a point (column, row) px; the anchor is Pillow's, e.g. 'ls' for left end of the baseline."""
    draw.text(at, text, font=face, fill=ink, anchor=anchor)


def png(image: Image.Image) -> bytes:
    """The image as PNG."""
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
