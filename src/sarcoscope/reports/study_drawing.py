"""What all plots of a study share: paper size, inks, marks, the notice, and only glyphs that the font has."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from sarcoscope.reports.colors import INK, LINE, MUTED, NOTICE, as_hex
from sarcoscope.reports.drawing import font, wrap

WIDTH: Final = 7.1
"""Inches: the text's width on A4, so that type keeps its size."""
DPI: Final = 200
PLAIN, SMALL, TINY = 8.5, 7.5, 6.5
"""Points."""
INK_HEX, LINE_HEX, MUTED_HEX = as_hex(INK), as_hex(LINE), as_hex(MUTED)
ABSENT: Final = "\N{WHITE SQUARE}"
"""For a letter that the font does not have."""


@cache
def _glyphs() -> frozenset[int]:
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return frozenset(FT2Font(str(path)).get_charmap())


def drawable(text: str) -> str:
    """The text with a square for each letter that DejaVu Sans lacks; line breaks stay."""
    return "".join(one if one == "\n" or ord(one) in _glyphs() else ABSENT for one in text)


def short(text: str, most: int = 26) -> str:
    """At most so many letters, the last an ellipsis where it was cut."""
    shown = drawable(" ".join(text.split()))
    return shown if len(shown) <= most else shown[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def drawing() -> Iterator[None]:
    """Plots come out alike whatever a user's own matplotlibrc says; no text is taken for a formula."""
    with matplotlib.style.context("default"), mpl.rc_context({"text.parse_math": False, "font.size": PLAIN}):
        yield


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """White, in inches, laid out by itself; at most 60 inches high."""
    return Figure(figsize=(width, min(height, 60)), dpi=DPI, facecolor="white", layout="constrained")


def grid_of(figure: Figure, rows: int, columns: int, **shared: Any) -> list[Axes]:
    """Panels row by row."""
    return list(np.asarray(figure.subplots(rows, columns, squeeze=False, **shared)).ravel())


def finish(figure: Figure, notice: str) -> bytes:
    """PNG with the notice below the plot, since pictures get about by themselves."""
    if notice:
        room_px = 0.97 * figure.get_figwidth() * DPI
        lines = wrap(drawable(notice), font(round(TINY * DPI / 72)), room_px)
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=TINY, color=as_hex(NOTICE))
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()


def dress(panel: Axes, *, grid: str | None = "x") -> None:
    """Quiet spines and ticks, grid lines across one axis."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(MUTED_HEX)
    panel.tick_params(labelsize=SMALL, colors=INK_HEX, length=2.5)
    panel.set_axisbelow(True)
    if grid:
        panel.grid(axis=grid, color=LINE_HEX, linewidth=0.6)  # type: ignore[arg-type]


def title(panel: Axes, text: str, *, size: float = SMALL, color: str = INK_HEX) -> None:
    """A panel's name, left-aligned."""
    panel.set_title(drawable(text), fontsize=size, color=color, loc="left", weight="bold")


def percent_axis(panel: Axes, low: float = 0.0, high: float = 1.0) -> None:
    """The x axis from `low` to `high` in per cent."""
    panel.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    panel.xaxis.set_major_formatter(lambda value, _place: f"{abs(100 * value):.0f}")
    step = 0.5 if high - low > 0.7 else 0.2
    panel.set_xticks(np.arange(np.ceil(low / step - 1e-9) * step, high + 1e-9, step))


def interval(panel: Axes, at: tuple[float, float], bounds: tuple[float | None, float | None], **style: Any) -> None:
    """A horizontal line of an interval; nothing where there is none."""
    low, high = bounds
    if low is not None and high is not None:
        panel.plot([low, high], [at[1], at[1]], solid_capstyle="butt", **style)
