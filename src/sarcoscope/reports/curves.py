"""The curves of a training, from its history: loss, validation, learning rate, and what was open when."""

import math
from collections.abc import Sequence
from io import BytesIO
from itertools import groupby
from typing import Final

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sarcoscope.formats.history import Epoch
from sarcoscope.reports.colors import INK, LINE, MUTED, NOTICE, Color, as_hex
from sarcoscope.reports.drawing import fit, font
from sarcoscope.reports.wording import plural

SIZE_PX: Final = (1400, 900)
_DPI: Final = 100
_LARGE, _PLAIN, _SMALL = 22, 15, 14
"""Points; the smallest is 19 px high, half of which can still be read."""
_DIGIT_PX: Final = 16
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.085, 0.72, 0.835, 0.12
"""Of the panels, in shares of the picture."""
_ORANGE, _BLUE, _GREEN, _PURPLE = "#d55e00", "#0072b2", "#009e73", "#aa4499"
"""Told apart by the colour-blind too (Okabe and Ito; Tol); each line has its own dashes and marks besides."""
_WORDS: Final = {
    "tile_accuracy": "tile accuracy",
    "tile_balanced_accuracy": "tile balanced accuracy",
    "tile_macro_auc": "tile macro AUC",
    "tile_log_loss": "tile log loss",
    "slide_accuracy": "slide accuracy",
    "slide_balanced_accuracy": "slide balanced accuracy",
}
_ALWAYS: Final = ("slide_balanced_accuracy", "tile_balanced_accuracy")


def draw_curves(epochs: Sequence[Epoch], best: int, *, title: str, metric: str, notice: str = "") -> bytes:
    """PNG, 1400 x 900 px.

    Args:
        epochs: the history so far, at least one.
        best: number of the epoch that is kept, 0 for none yet.
        title: the member's name.
        metric: by which the best epoch was chosen, one of `core.training.VALIDATION_METRICS`.
        notice: what must stand on the picture, e.g. that it is of phantoms.
    """
    content = BytesIO()
    with matplotlib.style.context("default"):  # and not what a user's own matplotlibrc says
        curves_figure(epochs, best, title=title, metric=metric, notice=notice).savefig(content, format="png", dpi=_DPI)
    return content.getvalue()


def curves_figure(epochs: Sequence[Epoch], best: int, *, title: str, metric: str, notice: str = "") -> Figure:
    """What `draw_curves` draws."""
    figure = Figure(figsize=(SIZE_PX[0] / _DPI, SIZE_PX[1] / _DPI), dpi=_DPI, facecolor="white")
    grid = {"left": _LEFT, "right": _RIGHT, "top": _TOP, "bottom": _BOTTOM, "hspace": 0.14}
    panels: list[Axes] = list(figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.7), gridspec_kw=grid))
    _draw_loss(panels[0], epochs, metric)
    _draw_shares(panels[1], epochs, metric)
    _draw_rate(panels[2], epochs)
    _ring(panels[0 if metric == "tile_log_loss" else 1], epochs, best, metric)
    for panel, words in zip(panels, ("Loss (nats)", "Validation (0 to 1)", "Learning rate"), strict=True):
        panel.set_ylabel(words, fontsize=_PLAIN, color=as_hex(INK))
        _dress(panel, epochs, best, f"kept: epoch {best}" if panel is panels[0] else None)  # said once
        if panel.get_legend_handles_labels()[0]:
            panel.legend(
                loc="upper left", bbox_to_anchor=(1.01, 1.04), fontsize=_SMALL, frameon=False, handlelength=2.4
            )
    panels[2].set_xlabel("Epoch", fontsize=_PLAIN, color=as_hex(INK))
    panels[2].set_xlim(0.5, max(len(epochs), 1) + 0.5)
    panels[2].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=15, min_n_ticks=1))
    _write(figure, 0.955, title, points=_LARGE, ink=INK, bold=True)
    _write(figure, 0.915, outcome(epochs, best, metric), points=_PLAIN, ink=INK)
    _name_stages(panels[0], epochs)
    if notice:
        _write(figure, 0.022, notice, points=_SMALL, ink=NOTICE)
    return figure


def outcome(epochs: Sequence[Epoch], best: int, metric: str) -> str:
    """In one line, how many epochs there were and which one is kept, and why."""
    counted = plural(len(epochs), "epoch")
    if not best:
        return f"{counted}, none kept yet"
    judged = epochs[best - 1].validation
    if judged is None:
        return f"{counted}; without validation tiles the last one is kept"
    value = getattr(judged, metric)
    said = "no value" if value is None else f"{value:.3f}"
    return f"{counted}; epoch {best} is kept: {_WORDS[metric]} {said}"


def stage_bands(epochs: Sequence[Epoch]) -> list[tuple[int, int, int]]:
    """First and last epoch of each stretch in which the same stages were open, and how many those are."""
    stretches = [list(some) for _, some in groupby(epochs, lambda one: one.open_stages)]
    return [(some[0].number, some[-1].number, some[0].open_stages) for some in stretches]


def _draw_loss(panel: Axes, epochs: Sequence[Epoch], metric: str) -> None:
    mixed = any(one.mixed for one in epochs)
    words = "training, mixed tiles" if mixed else "training"
    _line(panel, epochs, [one.loss for one in epochs], words, color=_ORANGE, style="o-")
    values = _validation(epochs, "tile_log_loss")
    if any(math.isfinite(value) for value in values):
        _line(panel, epochs, values, "validation, " + _chosen("tile_log_loss", metric), color=_BLUE, style="s--")
    unmixed = next((one.number for one in epochs if mixed and not one.mixed), None)
    if unmixed is not None:
        panel.axvline(unmixed - 0.5, color=as_hex(MUTED), linestyle=":", linewidth=2, label="no mixing from here")


def _draw_shares(panel: Axes, epochs: Sequence[Epoch], metric: str) -> None:
    styles = iter(((_BLUE, "o-"), (_GREEN, "s--"), (_ORANGE, "^-.")))
    drawn = False
    for name in dict.fromkeys((*_ALWAYS, metric)):
        values = _validation(epochs, name)
        if name != "tile_log_loss" and any(math.isfinite(value) for value in values):
            color, style = next(styles)
            _line(panel, epochs, values, _chosen(name, metric), color=color, style=style)
            drawn = True
    if not drawn:
        panel.set_ylim(0, 1)
        panel.text(0.5, 0.5, "no validation tiles", transform=panel.transAxes, fontsize=_PLAIN, color=as_hex(MUTED),
                   ha="center", va="center")  # fmt: skip
        return
    low, high = panel.get_ylim()
    panel.set_ylim(max(low, -0.03), min(max(high, low + 0.05), 1.03))


def _draw_rate(panel: Axes, epochs: Sequence[Epoch]) -> None:
    rates = [one.learning_rate for one in epochs]
    _line(panel, epochs, rates, "of the head", color=_PURPLE, style="o-")
    panel.set_ylim(0, 1.1 * max(rates, default=0) or 1)
    panel.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)


def _ring(panel: Axes, epochs: Sequence[Epoch], best: int, metric: str) -> None:
    """Around the value for which the epoch is kept."""
    if best:
        panel.plot([best], _validation(epochs, metric)[best - 1 : best], "o", color=as_hex(INK), markersize=15,
                   markerfacecolor="none", markeredgewidth=2.2)  # fmt: skip


def _chosen(name: str, metric: str) -> str:
    return f"{_WORDS[name]}\n(the best is kept)" if name == metric else _WORDS[name]


def _validation(epochs: Sequence[Epoch], name: str) -> list[float]:
    """A score of each epoch; NaN, which leaves a gap, where it has none."""
    values = [getattr(one.validation, name) if one.validation else None for one in epochs]
    return [math.nan if value is None else value for value in values]


def _line(panel: Axes, epochs: Sequence[Epoch], values: list[float], words: str, *, color: str, style: str) -> None:
    size = 7 if len(epochs) <= 15 else 4 if len(epochs) <= 60 else 0
    panel.plot([one.number for one in epochs], values, style, color=color, linewidth=2.2, markersize=size, label=words)


def _dress(panel: Axes, epochs: Sequence[Epoch], best: int, kept: str | None) -> None:
    """Bands of stages, the best epoch, and the grid."""
    for place, (first, last, _) in enumerate(stage_bands(epochs)):
        if place % 2:
            panel.axvspan(first - 0.5, last + 0.5, color=as_hex(LINE), alpha=0.45, linewidth=0, zorder=0)
    if best:
        panel.axvline(best, color=as_hex(INK), linewidth=2, linestyle=(0, (6, 3)), zorder=1, label=kept)
    panel.grid(axis="y", color=as_hex(LINE), linewidth=1)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=_SMALL, colors=as_hex(INK))
    panel.yaxis.get_offset_text().set_fontsize(_SMALL)
    panel.spines[["top", "right"]].set_visible(False)


def _name_stages(panel: Axes, epochs: Sequence[Epoch]) -> None:
    """Above the bands, how many stages are open below the head."""
    bands = stage_bands(epochs)
    epoch_px = (_RIGHT - _LEFT) * SIZE_PX[0] / max(1, len(epochs))
    for first, last, stages in bands:
        if (last - first + 1) * epoch_px < _DIGIT_PX:
            continue  # too narrow for its number
        panel.text((first + last) / 2, 1.02, f"{stages}", transform=panel.get_xaxis_transform(), fontsize=_SMALL,
                   color=as_hex(MUTED), ha="center", va="bottom")  # fmt: skip
    if bands:
        panel.text(1.02, 1.02, "stages open below the head", transform=panel.transAxes, fontsize=_SMALL,
                   color=as_hex(MUTED), ha="left", va="bottom")  # fmt: skip


def _write(figure: Figure, base: float, text: str, *, points: int, ink: Color, bold: bool = False) -> None:
    """A line of text from the panels' left edge, cut where the picture ends; `base` in shares of the picture."""
    shown = fit(text, font(round(points * _DPI / 72), bold=bold), (0.98 - _LEFT) * SIZE_PX[0])
    figure.text(_LEFT, base, shown, fontsize=points, color=as_hex(ink), weight="bold" if bold else "normal",
                ha="left", va="baseline", parse_math=False)  # fmt: skip
