"""Figures 3 and 4: the way from slides to decisions with a run's own numbers, and the paths of fused models."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from sarcoscope.core.evaluation import ModelWords
from sarcoscope.reports.study_choice import PART_WORDS, own_models, slide_tests
from sarcoscope.reports.study_drawing import (
    INK_HEX,
    MUTED_HEX,
    PLAIN,
    SMALL,
    TINY,
    WIDTH,
    drawable,
    finish,
    grid_of,
    new_figure,
    short,
)
from sarcoscope.reports.study_facts import StudyFacts
from sarcoscope.reports.wording import plural

_FILLS: Final = ("#eef3f8", "#e8f1ea", "#fdf1e3", "#f3ecf5", "#eceef1")
_TILE: Final = "#e7b7cd"
MOST_PATHS: Final = 8


def pipeline_steps(facts: StudyFacts) -> list[tuple[str, tuple[str, ...]]]:
    """The steps with what this run counts of each, in words."""
    evaluation = facts.evaluation
    slides, patients = len(facts.slides), len({one.patient for one in facts.slides if one.patient})
    counted = f"{slides:,} slides" if slides else f"{len({one.slide for one in evaluation.decisions}):,} slides decided"
    scales = sorted({one.mpp for one in facts.tiles}, reverse=True) or sorted(
        {mpp for one in evaluation.models for mpp in one.read_mpp}, reverse=True
    )
    kept = sum(one.kept for one in facts.tiles)
    tiles = [f"{kept:,} kept"] if kept else []
    networks = list(dict.fromkeys(name for one in evaluation.models for name in one.architectures))
    members = {name for one in evaluation.models for name in one.members}
    tests = [
        f"{PART_WORDS[part]}: {len({one.slide for one in evaluation.decisions if one.part is part})}"
        for part in slide_tests(evaluation)
    ]
    rules = list(dict.fromkeys(one.rule for one in own_models(evaluation) if len(one.members) > 1))
    return [
        ("Slides", (counted, *([f"{patients:,} patients"] if patients else []))),
        ("Tiles", (*tiles, *[f"{10 / mpp:.3g}x, {mpp:g} \N{MICRO SIGN}m/px" for mpp in scales])),
        ("Networks", (f"{len(members)} trained", *[short(one, 20) for one in networks[:3]])),
        ("Fusion", (plural(len(own_models(evaluation)), "model"), *rules)),
        ("Slides decided", (*tests, "vote, refined rule, set")),
    ]  # fmt: skip


def draw_pipeline(facts: StudyFacts, notice: str) -> bytes:
    """PNG: figure 3."""
    steps = pipeline_steps(facts)
    figure = new_figure(1.75)
    (panel,) = grid_of(figure, 1, 1)
    _blank(panel, 100, 22)
    width, gap = 17.2, 3.5
    for place, ((name, lines), fill) in enumerate(zip(steps, _FILLS, strict=True)):
        left = place * (width + gap)
        box = FancyBboxPatch((left + 0.4, 0.6), width - 0.8, 20.8, boxstyle="round,pad=0,rounding_size=1.2",
                             facecolor=fill, edgecolor=MUTED_HEX, linewidth=0.8)  # fmt: skip
        panel.add_patch(box)
        panel.text(left + width / 2, 17.6, name, fontsize=PLAIN, weight="bold", color=INK_HEX, ha="center", va="center")
        top = 9 + 1.7 * (min(4, len(lines)) - 1)
        for row, line in enumerate(lines[:4]):
            panel.text(left + width / 2, top - 3.4 * row, drawable(line), fontsize=TINY, color=INK_HEX, ha="center",
                       va="center")  # fmt: skip
        if place:
            _arrow(panel, (left - gap + 0.2, 11), (left, 11))
    return finish(figure, notice)


def fused(models: Sequence[ModelWords]) -> list[ModelWords]:
    """Models of several members, which have paths to be shown."""
    return [one for one in models if len(one.members) > 1]


def draw_paths(models: Sequence[ModelWords], notice: str) -> bytes:
    """PNG: figure 4; a panel a model, a row a member: what it is shown, the network, and how they are fused."""
    shown = fused(models)[:MOST_PATHS]
    abreast = min(2, len(shown))
    lines = [shown[at : at + abreast] for at in range(0, len(shown), abreast)]
    heights = [0.5 + 0.42 * max(len(one.members) for one in line) for line in lines]
    figure = new_figure(sum(heights) + 0.3, width=WIDTH if abreast > 1 else 3.8)
    axes = grid_of(figure, len(lines), abreast, height_ratios=heights)
    for place, panel in enumerate(axes):
        if place >= len(shown):
            panel.set_visible(False)
            continue
        rows = max(len(one.members) for one in lines[place // abreast])
        _paths(panel, shown[place], rows)
    return finish(figure, notice)


def _paths(panel: Axes, model: ModelWords, rows: int) -> None:
    count, step = len(model.members), 10
    _blank(panel, 100, rows * step + 9)
    top = rows * step
    panel.text(0, top + 5, f"{short(model.name, 26)}  ({model.mode})", fontsize=SMALL, weight="bold", color=INK_HEX,
               va="center")  # fmt: skip
    middle = top - count * step / 2
    widest = max(model.read_mpp)
    for place in range(count):
        row = top - (place + 0.5) * step
        side = max(2.4, 8 * model.read_mpp[place] / widest)
        tile = Rectangle((5 - side / 2, row - side / 2), side, side, facecolor=_TILE, edgecolor=INK_HEX, linewidth=0.6)
        panel.add_patch(tile)
        panel.text(11, row, f"{10 / model.read_mpp[place]:.3g}x", fontsize=TINY, color=INK_HEX, va="center")
        _arrow(panel, (20, row), (25, row))
        panel.add_patch(FancyBboxPatch((25, row - 3.7), 43, 7.4, boxstyle="round,pad=0,rounding_size=1",
                                       facecolor=_FILLS[0], edgecolor=MUTED_HEX, linewidth=0.7))  # fmt: skip
        trained = "+".join(f"{10 / mpp:.3g}x" for mpp in model.trained_mpp[place])
        panel.text(46.5, row + 1.6, short(model.architectures[place], 24), fontsize=TINY, color=INK_HEX, ha="center",
                   va="center")  # fmt: skip
        weight = f", weight {model.weights[place]:.2f}" if model.weights else ""
        panel.text(46.5, row - 1.9, short(f"trained at {trained}{weight}", 30), fontsize=5.8, color=MUTED_HEX,
                   ha="center", va="center")  # fmt: skip
        _arrow(panel, (68, row), (77, middle + (row - middle) * 0.25))
    panel.add_patch(Circle((82, middle), 5, facecolor=_FILLS[2], edgecolor=MUTED_HEX, linewidth=0.8))
    panel.text(82, middle, short(model.rule, 8), fontsize=5.2, color=INK_HEX, ha="center", va="center")
    _arrow(panel, (87, middle), (92, middle))
    panel.text(93, middle, "tile's\nlabel", fontsize=TINY, color=INK_HEX, va="center", linespacing=1)


def _blank(panel: Axes, width: float, height: float) -> None:
    panel.set(xlim=(-0.5, width + 0.5), ylim=(-0.5, height + 0.5))
    panel.set_axis_off()


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    panel.annotate("", xy=end, xytext=start,
                   arrowprops={"arrowstyle": "-|>", "color": INK_HEX, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
                               "mutation_scale": 7})  # fmt: skip


def pipeline_words(facts: StudyFacts) -> str:
    """The same in words."""
    return "; then ".join(f"{name}: {', '.join(lines)}" for name, lines in pipeline_steps(facts))


def path_words(model: ModelWords) -> str:
    """What figure 4 shows of a model, in words."""
    paths = [
        f"{name} trained at {'+'.join(f'{10 / mpp:.3g}x' for mpp in trained)} reading {10 / read:.3g}x"
        for name, trained, read in zip(model.architectures, model.trained_mpp, model.read_mpp, strict=True)
    ]
    return f"{model.name} ({model.mode}): {'; '.join(paths)}; fused by {model.rule}"
