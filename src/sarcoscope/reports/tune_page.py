"""NAME.html of a search: its best trials, what mattered, how it went, and what became of the others."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sarcoscope.core.tuning import Parameter, Trial, TrialState, ranked
from sarcoscope.formats.atomic import write_text
from sarcoscope.reports.pages import data_uri, render
from sarcoscope.reports.tune_figures import draw_history, draw_importance, draw_slice
from sarcoscope.reports.wording import plural

MOST_ROWS: Final = 10
"""Of the table of the best; all trials stand in a table that can be unfolded."""
_RESEARCH: Final = "Research use only, not a medical device."
_SYNTHETIC: Final = "Trained and judged on synthetic phantom slides, of no clinical meaning."


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """What a search came to so far."""

    name: str
    network: str
    metric: str
    """One of `core.training.VALIDATION_METRICS`."""
    parameters: tuple[Parameter, ...]
    trials: tuple[Trial, ...]
    total: int
    """So many were asked for."""
    epochs: int
    """Of a trial that is not ended early."""
    classes: tuple[str, ...]
    validation_tiles: int
    validation_slides: int
    importance: Mapping[str, float] = field(default_factory=dict)
    """Shares by parameter that together are 1; empty where they are not known."""
    importance_why_not: str = ""
    members: Mapping[int, str] = field(default_factory=dict)
    """What the best trials are called as members, by their numbers."""
    pruned: bool = True
    """Whether trials could be pruned."""
    synthetic: bool = False


def write_tune_page(path: Path, search: SearchRecord) -> None:
    """Write one self-contained page atomically. Raises ArtifactError."""
    best, words = ranked(search.trials, search.metric), metric_words(search.metric)
    page = render(
        "tune.html",
        search=search,
        notices=[_SYNTHETIC, _RESEARCH] if search.synthetic else [_RESEARCH],
        words=words,
        counted=counted(search),
        best=best,
        rows=best[: max(MOST_ROWS, len(search.members))],
        others=[one for one in search.trials if one.state in {TrialState.PRUNED, TrialState.FAILED}],
        total_seconds=sum(one.seconds for one in search.trials),
        show=shown,
        duration=duration,
        **_pictures(search, best, words),
    )
    write_text(path, page)


def _pictures(search: SearchRecord, best: list[Trial], words: str) -> dict[str, Any]:
    """Pictures as data URIs with what they show in words; none where there is nothing to draw."""
    over = [one for one in search.trials if one.state is not TrialState.RUNNING]
    judged = [one for one in over if one.value is not None]
    history = draw_history(over, search.metric, words) if over else None
    importance = draw_importance(search.importance, search.parameters) if search.importance else None
    slices = [
        (one, draw_slice(one, judged, search.metric, words, set(search.members))) for one in search.parameters if judged
    ]
    shares = sorted(search.importance.items(), key=lambda item: -item[1])
    names = {one.name: one.words for one in search.parameters}
    return {
        "history": None if history is None else data_uri(history, "png"),
        "importance": None if importance is None else data_uri(importance, "png"),
        "importance_words": ", ".join(f"{names[name]} {share:.0%}" for name, share in shares),
        "slices": [
            (data_uri(picture, "png"), one.words, shown(one, best[0].values[one.name]) if best else None)
            for one, picture in slices
        ],
    }


def counted(search: SearchRecord) -> str:
    """How many trials there are of each kind, in words."""
    states = Counter(one.state for one in search.trials)
    parts = [f"{states[state]} {state}" for state in TrialState if states[state]]
    if missing := search.total - len(search.trials):
        parts.append(f"{missing} not begun")
    return f"{plural(search.total, 'trial')} of {search.network}: {', '.join(parts)}"


def metric_words(metric: str) -> str:
    """'tile_macro_auc' as 'tile macro AUC'."""
    return metric.replace("_", " ").replace("auc", "AUC")


def duration(seconds: float) -> str:
    """'0.4 s', '40 s', '12 min', '3 h 05 min'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def shown(parameter: Parameter, value: float) -> str:
    """A value of a parameter to three digits."""
    return str(round(value)) if parameter.whole else f"{value:.3g}"
