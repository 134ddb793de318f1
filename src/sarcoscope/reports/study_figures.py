"""Plots of a study's tile-level results: intervals, confusion matrices, reliability, searches."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Estimate, Evaluation, PatchResult, Reliability, Search, SlideResult
from sarcoscope.reports.study_choice import PART_WORDS, WAY_WORDS, own_models, patch_of
from sarcoscope.reports.study_drawing import (
    INK_HEX,
    LINE_HEX,
    MUTED_HEX,
    SMALL,
    TINY,
    WIDTH,
    dress,
    finish,
    grid_of,
    interval,
    new_figure,
    percent_axis,
    short,
    title,
)
from sarcoscope.reports.tune_page import metric_words

MOST_PANELS: Final = 6
"""Models that have a panel of their own; the others stand in tables and CSV."""
_ABREAST: Final = 5
_BLUES: Final = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#9ecae1", "#08519c"])
_BLUE, _ORANGE = "#08519c", "#b35806"


def _patches(evaluation: Evaluation, part: Part, *, own: bool = False) -> list[PatchResult]:
    models = own_models(evaluation) if own else evaluation.models
    return [one for model in models if (one := patch_of(evaluation, model.name, part))]


def panels_of(evaluation: Evaluation, part: Part) -> list[PatchResult]:
    """Results that have a panel of their own: the first `MOST_PANELS` own models that have tiles in the part."""
    return _patches(evaluation, part, own=True)[:MOST_PANELS]


def draw_patch(evaluation: Evaluation, part: Part, notice: str) -> bytes:
    """PNG: each model's accuracy per class and overall with intervals; a panel a class, a row a model."""
    found = _patches(evaluation, part)
    panels: list[tuple[str, str, list[Estimate | None]]] = [
        (item.code + ("*" if item.code in evaluation.pooled else ""), item.color,
         [one.per_class.get(item.code) for one in found])
        for item in evaluation.classes
    ]  # fmt: skip
    panels.append(("Overall", INK_HEX, [one.overall for one in found]))
    if found[0].without_pooled is not None:
        panels.append(("Without pooled", INK_HEX, [one.without_pooled for one in found]))
    panels.append(("Balanced", INK_HEX, [one.balanced_accuracy for one in found]))
    rows = -(-len(panels) // _ABREAST)
    columns = -(-len(panels) // rows)
    figure = new_figure(rows * (0.55 + 0.19 * len(found)) + 0.35)
    axes = grid_of(figure, rows, columns, sharex=True, sharey=True)
    for panel, (name, color, values) in zip(axes, panels, strict=False):
        _dots(panel, values, color)
        title(panel, name)
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    axes[0].set_yticks(range(len(found)), [short(one.model, 22) for one in found])
    axes[0].set_ylim(len(found) - 0.4, -0.6)
    percent_axis(axes[0])
    figure.supylabel("")
    for panel in axes:
        panel.tick_params(labelbottom=True)
    return finish(figure, notice)


def _dots(panel: Axes, values: Sequence[Estimate | None], color: str) -> None:
    dress(panel)
    panel.tick_params(axis="y", length=0)
    for row, one in enumerate(values):
        if one is None or one.value is None:
            continue
        interval(panel, (one.value, row), (one.low, one.high), color=color, linewidth=2.2, alpha=0.55, zorder=2)
        panel.plot([one.value], [row], "o", color=color, markersize=5, markeredgecolor=INK_HEX, markeredgewidth=0.7,
                   zorder=3)  # fmt: skip


def draw_patch_confusion(evaluation: Evaluation, part: Part, notice: str) -> bytes:
    """PNG: a matrix a model, counts of tiles and shares of each row."""
    codes = [one.code for one in evaluation.classes]
    found = [(one.model, np.array(one.confusion, float)) for one in panels_of(evaluation, part)]
    return _matrices(found, codes, codes, notice)


def draw_slide_confusion(evaluation: Evaluation, results: Sequence[SlideResult], notice: str) -> bytes:
    """PNG: a matrix a part and way of one model, counts of slides and shares of each row; undetermined ones last."""
    codes = [one.code for one in evaluation.classes]
    rows = [code for code in codes if any(code in one.confusion for one in results)]
    labels = {label for one in results for counts in one.confusion.values() for label in counts}
    columns = [*codes, *sorted(labels - set(codes))]
    found = []
    for one in results:
        counts = [[one.confusion.get(row, {}).get(column, 0) for column in columns] for row in rows]
        found.append((f"{PART_WORDS[one.part]}, {WAY_WORDS[one.way]}", np.array(counts, float)))
    return _matrices(found, rows, columns, notice)


def _matrices(
    found: Sequence[tuple[str, np.ndarray]], rows: Sequence[str], columns: Sequence[str], notice: str
) -> bytes:
    abreast = min(len(found), 3 if len(columns) <= 6 else 2 if len(columns) <= 9 else 1)
    lines = -(-len(found) // abreast)
    side = WIDTH / max(2, abreast)
    height = min(side * (len(rows) / len(columns)) + 0.3, 5.5)
    figure = new_figure(lines * height + 0.35, width=WIDTH if abreast > 1 or len(columns) > 9 else side)
    axes = grid_of(figure, lines, abreast)
    for panel, (name, counts) in zip(axes, found, strict=False):
        _matrix(panel, counts, [short(one, 9) for one in rows], [short(one, 9) for one in columns])
        title(panel, short(name, 34))
    for panel in axes[len(found) :]:
        panel.set_visible(False)
    return finish(figure, notice)


def _matrix(panel: Axes, counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    panel.imshow(shares, cmap=_BLUES, vmin=0, vmax=1, aspect="auto")
    size = TINY if len(columns) <= 9 else 5.5
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else INK_HEX if count else MUTED_HEX
        share = f"\n{shares[row, column]:.0%}" if count else ""
        panel.text(column, row, f"{count:,.0f}{share}", ha="center", va="center", fontsize=size, color=ink,
                   linespacing=0.95)  # fmt: skip
    panel.set_xticks(
        range(len(columns)),
        columns,
        rotation=40 if len(columns) > 4 else 0,
        ha="right" if len(columns) > 4 else "center",
    )
    panel.set_yticks(range(len(rows)), rows)
    panel.tick_params(labelsize=TINY, colors=INK_HEX, length=0)
    panel.set_xlabel("told", fontsize=TINY, color=MUTED_HEX, labelpad=1)
    panel.set_ylabel("true", fontsize=TINY, color=MUTED_HEX, labelpad=1)
    panel.spines[:].set_color(LINE_HEX)
    panel.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    panel.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    panel.grid(which="minor", color=LINE_HEX, linewidth=0.6)
    panel.tick_params(which="minor", length=0)


def draw_reliability(evaluation: Evaluation, part: Part, notice: str) -> bytes:
    """PNG: a panel a model, share right over confidence before and after its temperature."""
    found = panels_of(evaluation, part)
    abreast = min(3, len(found))
    lines = -(-len(found) // abreast)
    figure = new_figure(lines * 2.35 + 0.35, width=WIDTH if abreast > 1 else 3.4)
    axes = grid_of(figure, lines, abreast, sharex=True, sharey=True)
    for panel, one in zip(axes, found, strict=False):
        dress(panel, grid="both")
        panel.plot([0, 1], [0, 1], color=MUTED_HEX, linewidth=0.8, linestyle=(0, (2, 2)))
        _line(panel, one.before, "T = 1", color=_ORANGE, marker="s", style="--", hollow=True)
        _line(panel, one.after, f"T = {one.temperature:.2f}", color=_BLUE, marker="o", style="-", hollow=False)
        title(panel, short(one.model, 30))
        panel.legend(loc="best", fontsize=TINY, frameon=False, handlelength=2.2, borderaxespad=0.2)
        panel.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    for panel in axes[len(found) :]:
        panel.set_visible(False)
    for place, panel in enumerate(axes):
        panel.tick_params(labelbottom=True, labelleft=True)
        panel.set_xlabel("largest probability", fontsize=SMALL, color=INK_HEX)
        if place % abreast == 0:
            panel.set_ylabel("share right", fontsize=SMALL, color=INK_HEX)
    return finish(figure, notice)


def _line(panel: Axes, found: Reliability, words: str, *, color: str, marker: str, style: str, hollow: bool) -> None:
    bars = [one for one in found.bins if one.tiles and one.confidence is not None and one.right is not None]
    ece = "" if found.ece.value is None else f", ECE {found.ece.value:.1%}"
    places = [one.confidence or 0.0 for one in bars]
    panel.plot(places, [one.right or 0.0 for one in bars], linestyle=style, marker=marker, color=color, linewidth=1.4,
               markersize=3.6, markerfacecolor="white" if hollow else color, label=words + ece)  # fmt: skip


def draw_search(search: Search, notice: str, most: int = 30) -> bytes:
    """PNG: the best combinations and how far each is from the best; those that cannot be told from it are dark."""
    shown = search.ranked[:most]
    figure = new_figure(0.75 + 0.185 * len(shown))
    left, right = grid_of(figure, 1, 2, sharey=True)
    for row, one in enumerate(shown):
        color, face = (_BLUE, _BLUE) if one.is_level else (MUTED_HEX, "white")
        for panel, value in ((left, one.value), (right, one.behind_best)):
            if value is None or value.value is None:
                continue
            interval(panel, (value.value, row), (value.low, value.high), color=color, linewidth=1.4, zorder=2)
            panel.plot([value.value], [row], "o", color=color, markerfacecolor=face, markersize=4.2, zorder=3)
    right.axvline(0, color=INK_HEX, linewidth=0.8)
    right.text(0, 0, " the best", fontsize=TINY, color=INK_HEX, va="center")
    for panel in (left, right):
        dress(panel)
        panel.tick_params(axis="y", length=0)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5))
    left.set_yticks(range(len(shown)), [short(" + ".join(one.members), 44) for one in shown])
    left.tick_params(axis="y", labelsize=TINY)
    left.set_ylim(len(shown) - 0.4, -0.8)
    left.set_xlabel(f"{metric_words(search.metric)} on {search.part} tiles", fontsize=SMALL, color=INK_HEX)
    right.set_xlabel("difference to the best", fontsize=SMALL, color=INK_HEX)
    _key(figure)
    return finish(figure, notice)


def _key(figure: Figure) -> None:
    marks = [
        figure.axes[0].plot([], [], "o", color=_BLUE, markersize=4.2)[0],
        figure.axes[0].plot([], [], "o", color=MUTED_HEX, markerfacecolor="white", markersize=4.2)[0],
    ]
    words = ["cannot be told from the best", "behind it by more than its interval"]
    figure.legend(marks, words, loc="outside upper right",
                  fontsize=SMALL, frameon=False, ncols=2)  # fmt: skip
