"""Colours of classes and of dropped tiles, and what can be read on them."""

import colorsys
import re
from collections.abc import Collection, Mapping
from typing import Final

from sarcoscope.core.errors import InputError
from sarcoscope.core.tile import DropReason

Color = tuple[int, int, int]
"""Red, green, blue, 0..255, sRGB."""

INK: Color = (27, 31, 36)
MUTED: Color = (95, 103, 112)
LINE: Color = (214, 218, 223)
EMPTY: Color = (240, 242, 244)
DROPPED: Color = (88, 96, 105)
WHITE: Color = (255, 255, 255)
NOTICE: Color = (122, 74, 0)

CLASS_PALETTE: Final = (
    *("#56b4e9", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00"),  # Okabe and Ito 2008
    *("#7f6a00", "#5b636c"),
)
"""For classes whose colour nothing says: colour-blind readers tell them apart."""

DROP_COLORS: Mapping[DropReason, Color] = {
    DropReason.BLANK: (176, 184, 192),
    DropReason.LITTLE_TISSUE: (240, 228, 66),
    DropReason.PEN: (0, 158, 115),
    DropReason.BLURRED: (0, 114, 178),
    DropReason.FOLD: (213, 94, 0),
    DropReason.OUT_OF_FOCUS: (86, 180, 233),
    DropReason.NOT_SELECTED: (88, 96, 105),
}
"""Where no class colours stand beside them: faults from the palette of Okabe and Ito, what is no fault in grey."""


def parse_color(text: str) -> Color:
    """'#rrggbb' to its channels. InputError for anything else."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise InputError(f"colour {text!r}", "give '#rrggbb'")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def as_hex(color: Color) -> str:
    """'#rrggbb'."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def spare_colors(count: int, taken: Collection[str]) -> list[str]:
    """'#rrggbb', so many: what is left of the palette, then hues evenly round the circle."""
    left = [color for color in CLASS_PALETTE if color not in taken]
    turned = [colorsys.hsv_to_rgb(place / max(1, count - len(left)), 0.55, 0.8) for place in range(count)]
    return [*left, *("#" + "".join(f"{round(255 * channel):02x}" for channel in rgb) for rgb in turned)][:count]


def luminance(color: Color) -> float:
    """Relative luminance, 0 (black) to 1 (white). WCAG 2.2."""
    linear = [v / 12.92 if (v := channel / 255) <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for channel in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(color: Color) -> Color:
    """The dark ink or white, whichever contrasts more with a background."""
    behind = luminance(color) + 0.05
    return INK if behind / (luminance(INK) + 0.05) >= 1.05 / behind else WHITE


def tile_alpha(probability: float, classes: int) -> float:
    """Opacity of a tile on the map: 0.40 at chance level to 0.80 at certainty, linear between."""
    chance = 1 / classes
    return 0.40 + 0.40 * min(max((probability - chance) / (1 - chance), 0.0), 1.0)
