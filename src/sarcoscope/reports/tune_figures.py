"""Pictures of a search: how it went, what mattered, and the trials along each parameter."""

import math
from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from sarcoscope.core.tuning import Parameter, Trial, TrialState, minimised, ranked
from sarcoscope.reports.colors import INK, LINE, MUTED, as_hex

_DPI: Final = 200
"""Pictures are shown at about half their px, so that they are sharp on fine screens and on paper."""
_PLAIN, _SMALL = 9.5, 8.5
_BLUE, _PALE, _ORANGE, _VERMILION = "#0072b2", "#b9d6e8", "#e69f00", "#d55e00"
"""After Okabe and Ito; marks differ in shape besides."""
_HOLLOW: Final[Mapping[str, Any]] = {
    "s": 30,
    "facecolors": "white",
    "edgecolors": "#5f6770",
    "linewidths": 1.3,
    "zorder": 2,
}


def draw_history(trials: Sequence[Trial], metric: str, words: str) -> bytes:
    """PNG: each trial's value in the order in which they began, and the best so far."""
    figure, panel = _panel(10.6, 3.5)
    complete = [one for one in trials if one.state is TrialState.COMPLETE and one.value is not None]
    pruned = [one for one in trials if one.state is TrialState.PRUNED and one.value is not None]
    failed = [one.number for one in trials if one.state is TrialState.FAILED]
    if complete:
        best = list(accumulate([one.value or 0.0 for one in complete], min if minimised(metric) else max))
        numbers = [one.number for one in complete]
        end = max(one.number for one in trials)
        panel.step([*numbers, end], [*best, best[-1]], where="post", color=_BLUE, linewidth=1.6, label="best so far")
        _dots(panel, complete, None, s=34, color=_BLUE, zorder=3, label="complete")
    if pruned:
        _dots(panel, pruned, None, **_HOLLOW, label="pruned: best until then")
    if failed:
        panel.scatter(failed, [0.03] * len(failed), s=34, marker="x", color=_VERMILION, linewidths=1.8, zorder=3,
                      transform=panel.get_xaxis_transform(), label="failed")  # fmt: skip
    panel.set_xlabel("Trial", fontsize=_PLAIN, color=as_hex(INK))
    panel.set_ylabel(_capital(words), fontsize=_PLAIN, color=as_hex(INK))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.margins(y=0.12)
    panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize=_SMALL, frameon=False)
    return _png(figure)


def draw_importance(importance: Mapping[str, float], parameters: Sequence[Parameter]) -> bytes:
    """PNG: a bar a parameter, the longest first."""
    shown = sorted(parameters, key=lambda one: importance[one.name])
    figure, panel = _panel(6.6, 0.7 + 0.36 * len(shown))
    shares = [importance[one.name] for one in shown]
    panel.barh(range(len(shown)), shares, height=0.62, color=_BLUE)
    panel.set_yticks(range(len(shown)), [one.words for one in shown])
    for row, share in enumerate(shares):
        panel.text(share + 0.012 * max(shares), row, f"{share:.0%}", va="center", fontsize=_PLAIN, color=as_hex(INK))
    panel.set_xlim(0, 1.14 * max(shares))
    panel.set_xticks([])
    panel.grid(visible=False)
    panel.spines[["bottom"]].set_visible(False)
    panel.tick_params(axis="y", length=0, labelsize=_PLAIN)
    return _png(figure)


def draw_slice(one: Parameter, trials: Sequence[Trial], metric: str, words: str, kept: Collection[int]) -> bytes:
    """PNG: the trials' values along one parameter; later ones are darker, the `kept` ones, by number, are ringed."""
    figure, panel = _panel(4.5, 2.9)
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED and trial.value is not None]
    _dots(panel, pruned, one.name, **_HOLLOW)
    best = ranked(trials, metric)
    last = max((trial.number for trial in best), default=0)
    colors = [_between(_PALE, _BLUE, trial.number / max(1, last)) for trial in best]
    _dots(panel, best, one.name, s=34, color=colors, edgecolors=_BLUE, linewidths=0.6, zorder=3)
    _dots(
        panel,
        [trial for trial in best if trial.number in kept],
        one.name,
        s=110,
        facecolors="none",
        edgecolors=_ORANGE,
        linewidths=2,
        zorder=4,
    )
    if one.log:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(one.low / 1.15, one.high * 1.15)
    else:
        margin = 0.05 * (one.high - one.low)
        panel.set_xlim(one.low - margin, one.high + margin)
        panel.xaxis.set_major_locator(MaxNLocator(integer=one.whole, nbins=6))
    panel.margins(y=0.12)
    panel.set_xlabel(_capital(one.words), fontsize=_PLAIN, color=as_hex(INK))
    panel.set_ylabel(_capital(words), fontsize=_PLAIN, color=as_hex(INK))
    return _png(figure)


def _dots(panel: Axes, trials: Sequence[Trial], along: str | None, **style: Any) -> None:
    """The trials' values, along a parameter or in the order in which they began."""
    places = [one.number if along is None else one.values[along] for one in trials]
    panel.scatter(places, [math.nan if one.value is None else one.value for one in trials], **style)


def _panel(width: float, height: float) -> tuple[Figure, Axes]:
    """Inches, at the size of the picture's text."""
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout="constrained")
    panel = figure.subplots()
    panel.grid(axis="y", color=as_hex(LINE), linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(as_hex(MUTED))
    panel.tick_params(labelsize=_SMALL, colors=as_hex(INK))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=6))
    return figure, panel


def _png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _between(low: str, high: str, share: float) -> str:
    """A colour between two '#rrggbb'."""
    pairs = zip(bytes.fromhex(low[1:]), bytes.fromhex(high[1:]), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * share):02x}" for one, other in pairs)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
