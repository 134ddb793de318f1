"""Plots of a study's slide-level results: ways of deciding, sets, the sweep, and the paper's counts."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from sarcoscope.core.evaluation import Evaluation, Share, Sweep
from sarcoscope.reports.published_figures import PUBLISHED
from sarcoscope.reports.study_choice import (
    PART_WORDS,
    WAY_WORDS,
    coverage_of,
    own_models,
    slide_of,
    slide_tests,
    ways_of,
)
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
from sarcoscope.reports.wording import level_words

_MARKS: Final = {
    "vote": ("o", "white", "#5f6770"),
    "refined": ("o", INK_HEX, INK_HEX),
    "mean": ("s", "#56b4e9", "#08519c"),
    "regression": ("^", "#e69f00", "#8a4b00"),
}
"""Mark, face and edge; they differ in shape and filling, not in hue alone."""
_MOST_SWEEPS: Final = 8


def draw_ways(evaluation: Evaluation, notice: str) -> bytes:
    """PNG: share of slides right by each way, a row a model, a panel a test set, Wilson's intervals."""
    tests, ways = slide_tests(evaluation), ways_of(evaluation)
    models = evaluation.models
    figure = new_figure(0.75 + len(models) * (0.12 + 0.11 * len(ways)))
    axes = grid_of(figure, 1, len(tests), sharey=True)
    for panel, part in zip(axes, tests, strict=True):
        dress(panel)
        panel.tick_params(axis="y", length=0)
        for row, model in enumerate(models):
            for place, way in enumerate(ways):
                found = slide_of(evaluation, model.name, part, way)
                if found is not None:
                    at = row + (place - (len(ways) - 1) / 2) * 0.2
                    _share(panel, found.overall, at, way)
        n = max((one.overall.n for one in evaluation.slide if one.part is part), default=0)
        title(panel, f"{PART_WORDS[part].capitalize()}, n = {n}")
        percent_axis(panel)
        panel.set_xlabel("slides right, %", fontsize=SMALL, color=INK_HEX)
        for row in range(len(models) - 1):
            panel.axhline(row + 0.5, color=LINE_HEX, linewidth=0.6)
    axes[0].set_yticks(range(len(models)), [short(one.name, 24) for one in models])
    axes[0].set_ylim(len(models) - 0.5, -0.5)
    handles = [
        axes[0].plot([], [], mark, color=edge, markerfacecolor=face, markersize=4.5, linestyle="none")[0]
        for mark, face, edge in (_MARKS[way] for way in ways)
    ]
    figure.legend(handles, [WAY_WORDS[way] for way in ways], loc="outside upper right", fontsize=SMALL, frameon=False,
                  ncols=4)  # fmt: skip
    return finish(figure, notice)


def _share(panel: Axes, share: Share, row: float, way: str) -> None:
    if share.value is None:
        return
    mark, face, edge = _MARKS[way]
    interval(panel, (share.value, row), (share.low, share.high), color=edge, linewidth=1.1, zorder=2)
    panel.plot([share.value], [row], mark, color=edge, markerfacecolor=face, markersize=4.5, zorder=3)


def draw_coverage(evaluation: Evaluation, notice: str) -> bytes:
    """PNG: how often sets hold the truth against the level that was asked for, a row a model."""
    tests = [part for part in slide_tests(evaluation) if any(one.part is part for one in evaluation.coverage)]
    models = [one for one in evaluation.models if any(found.model == one.name for found in evaluation.coverage)]
    figure = new_figure(0.7 + 0.21 * len(models))
    axes = grid_of(figure, 1, len(tests), sharey=True)
    for panel, part in zip(axes, tests, strict=True):
        dress(panel)
        panel.tick_params(axis="y", length=0)
        levels = set()
        for row, model in enumerate(models):
            found = coverage_of(evaluation, model.name, part)
            if found is not None:
                levels.add(found.level)
                _share(panel, found.covered, row, "refined")
        for level in levels:
            panel.axvline(level, color="#b35806", linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
            panel.text(
                level,
                -0.62,
                f"asked for {level_words(level)} ",
                fontsize=TINY,
                color="#b35806",
                ha="right",
                va="center",
            )
        percent_axis(panel)
        title(panel, PART_WORDS[part].capitalize())
        panel.set_xlabel("slides whose set holds the truth, %", fontsize=SMALL, color=INK_HEX)
    axes[0].set_yticks(range(len(models)), [short(one.name, 24) for one in models])
    axes[0].set_ylim(len(models) - 0.4, -0.95)
    return finish(figure, notice)


def draw_sweeps(evaluation: Evaluation, notice: str) -> bytes:
    """PNG: slides right over the evidence fraction on validation slides, a panel a model."""
    names = [one.name for one in own_models(evaluation)]
    found = [one for one in evaluation.sweeps if one.model in names][:_MOST_SWEEPS] or list(evaluation.sweeps)[:1]
    abreast = min(3, len(found))
    lines = -(-len(found) // abreast)
    figure = new_figure(lines * 1.75 + 0.5, width=WIDTH if abreast > 1 else 3.8)
    axes = grid_of(figure, lines, abreast, sharex=True, sharey=True)
    for panel, one in zip(axes, found, strict=False):
        _sweep(panel, one)
    for panel in axes[len(found) :]:
        panel.set_visible(False)
    axes[0].set_ylim(0, 1.04)
    axes[0].yaxis.set_major_formatter(lambda value, _place: f"{100 * value:.0f}")
    for place, panel in enumerate(axes):
        panel.tick_params(labelbottom=True)
        panel.set_xlabel("evidence fraction, %", fontsize=SMALL, color=INK_HEX)
        if place % abreast == 0:
            panel.set_ylabel("slides right, %", fontsize=SMALL, color=INK_HEX)
    return finish(figure, notice)


def _sweep(panel: Axes, one: Sweep) -> None:
    dress(panel, grid="y")
    fractions = [100 * point.fraction for point in one.points]
    values = [np.nan if point.right.value is None else point.right.value for point in one.points]
    lows, highs = ([getattr(point.right, end) for point in one.points] for end in ("low", "high"))
    panel.fill_between(fractions, lows, highs, color="#9ecae1", alpha=0.45, linewidth=0, label="95% interval")
    panel.plot(fractions, values, "-", color="#08519c", linewidth=1.6, label="refined")
    if one.plain.value is not None:
        panel.axhline(one.plain.value, color=INK_HEX, linewidth=1, linestyle=(0, (4, 2)), label="original")
    panel.axvline(
        100 * one.declared, color="#b35806", linewidth=1.4, linestyle=":", label=f"declared {level_words(one.declared)}"
    )
    title(panel, f"{short(one.model, 24)}, n = {one.plain.n}")
    panel.legend(loc="lower right", fontsize=TINY, frameon=False, ncols=2, handlelength=1.8, columnspacing=0.9)


def draw_published(notice: str) -> bytes:
    """PNG: the paper's slides right, original and refined, a row a model."""
    tests = list(dict.fromkeys(one.test for one in PUBLISHED))
    figure = new_figure(1.75)
    axes = grid_of(figure, 1, len(tests), sharey=True)
    models = list(dict.fromkeys(one.model for one in PUBLISHED))
    for panel, test in zip(axes, tests, strict=True):
        dress(panel)
        panel.tick_params(axis="y", length=0)
        rows = [one for one in PUBLISHED if one.test == test]
        for one in rows:
            row = models.index(one.model)
            shares = (one.original / one.n, one.refined / one.n)
            panel.plot(shares, [row, row], "-", color=MUTED_HEX, linewidth=1.4, zorder=1)
            for share, way in zip(shares, ("vote", "refined"), strict=True):
                mark, face, edge = _MARKS[way]
                size = 4.5 if way == "refined" else 6.5
                panel.plot([share], [row], mark, color=edge, markerfacecolor=face, markersize=size,
                           zorder=3 if way == "refined" else 2)  # fmt: skip
            words = f"{one.original} \N{RIGHTWARDS ARROW} {one.refined}"
            panel.text(max(shares) + 0.025, row, words, fontsize=TINY, color=INK_HEX, va="center")
        title(panel, f"Published {test}, n = {rows[0].n}: other slides")
        percent_axis(panel, 0.4, 1.05)
        panel.set_xlabel("slides right, %: hollow original, filled refined", fontsize=TINY, color=INK_HEX)
    axes[0].set_yticks(range(len(models)), models)
    axes[0].set_ylim(len(models) - 0.5, -0.5)
    return finish(figure, notice)


def sweep_words(sweeps: Sequence[Sweep]) -> str:
    """What the curves show, for those who cannot see them."""
    parts = []
    for one in sweeps:
        rights = [point.right.right for point in one.points]
        if rights:
            parts.append(
                f"{one.model}: {one.plain.right} of {one.plain.n} without the rule, {min(rights)} to {max(rights)} "
                f"with it, declared {level_words(one.declared)}"
            )
    return "; ".join(parts)
