"""The curve picture shows the history's own numbers, and its words can be read."""

import math
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from sarcoscope.core.training import VALIDATION_METRICS
from sarcoscope.formats.history import Epoch
from sarcoscope.metrics.classification import Scores
from sarcoscope.reports.colors import NOTICE
from sarcoscope.reports.curves import curves_figure, draw_curves, outcome, stage_bands

NAME = "tf_efficientnet_b7-0.5um-part1-seed0"
PHANTOM = "Trained on synthetic phantom slides, of no clinical meaning."


def history(count: int, *, validated: bool = True) -> list[Epoch]:
    """A stage opens every few epochs up to four, the last epoch is not mixed, the third has no slide score."""
    found = []
    for number in range(1, count + 1):
        done = number / count
        judged = Scores(
            tile_accuracy=0.5 + 0.4 * done,
            tile_balanced_accuracy=0.4 + 0.4 * done,
            tile_macro_auc=0.7 + 0.2 * done,
            tile_log_loss=1.4 - done,
            slide_accuracy=None if number == 3 else 0.6 + 0.3 * done,
            slide_balanced_accuracy=None if number == 3 else 0.5 + 0.5 * done,
            tiles=300,
            slides=12,
        )
        found.append(
            Epoch(
                number=number,
                step=100 * number,
                images=1600 * number,
                loss=2 - done,
                learning_rate=2e-3 * (1 - done),
                open_stages=min(4, 10 * (number - 1) // count),
                mixed=number < count,
                validation=judged if validated else None,
            )
        )
    return found


def lines(panel: Axes) -> dict[str, list[float]]:
    """Values of each named curve."""
    found = {str(line.get_label()): line.get_ydata() for line in panel.lines}
    return {label: list(np.asarray(values, float)) for label, values in found.items() if not label.startswith("_")}


def test_curves_hold_the_numbers_of_the_history() -> None:
    epochs = history(12)
    figure = curves_figure(epochs, 9, title=NAME, metric="slide_balanced_accuracy", notice=PHANTOM)
    loss, shares, rate = figure.axes
    assert lines(loss)["training, mixed tiles"] == pytest.approx([2 - one / 12 for one in range(1, 13)])
    assert lines(loss)["validation, tile log loss"] == pytest.approx([1.4 - one / 12 for one in range(1, 13)])
    assert lines(shares)["tile balanced accuracy"] == pytest.approx([0.4 + 0.4 * one / 12 for one in range(1, 13)])
    slides = [math.nan if one == 3 else 0.5 + 0.5 * one / 12 for one in range(1, 13)]
    assert lines(shares)["slide balanced accuracy\n(the best is kept)"] == pytest.approx(slides, nan_ok=True)
    assert lines(rate)["of the head"] == pytest.approx([2e-3 * (1 - one / 12) for one in range(1, 13)])
    assert [panel.get_ylabel() for panel in figure.axes] == ["Loss (nats)", "Validation (0 to 1)", "Learning rate"]
    assert rate.get_xlabel() == "Epoch"


def test_the_kept_epoch_is_marked_in_every_panel_and_ringed_where_it_won() -> None:
    figure = curves_figure(history(12), 9, title=NAME, metric="tile_macro_auc")
    for panel in figure.axes:
        assert [9.0, 9.0] in [list(np.asarray(line.get_xdata(), float)) for line in panel.lines]
    (ring,) = [line for line in figure.axes[1].lines if line.get_markersize() > 10]
    assert np.asarray(ring.get_xydata()).tolist() == [[9.0, pytest.approx(0.7 + 0.2 * 9 / 12)]]


def test_stretches_of_open_stages_are_shaded_in_turn() -> None:
    first = history(1)[0]
    opened = [0, 0, 1, 2, 2, 2]
    epochs = [replace(first, number=number, open_stages=count) for number, count in enumerate(opened, start=1)]
    assert stage_bands(epochs) == [(1, 2, 0), (3, 3, 1), (4, 6, 2)]
    figure = curves_figure(epochs, 0, title=NAME, metric="tile_accuracy")
    for panel in figure.axes:
        boxes = [patch.get_window_extent().transformed(panel.transData.inverted()) for patch in panel.patches]
        assert [(round(box.x0, 3), round(box.x1, 3)) for box in boxes] == [(2.5, 3.5)]


@pytest.mark.parametrize(
    ("count", "best", "metric", "validated", "words"),
    [
        (12, 9, "tile_log_loss", True, "12 epochs; epoch 9 is kept: tile log loss 0.650"),
        (1, 1, "tile_accuracy", True, "1 epoch; epoch 1 is kept: tile accuracy 0.900"),
        (4, 3, "slide_accuracy", True, "4 epochs; epoch 3 is kept: slide accuracy no value"),
        (4, 4, "slide_accuracy", False, "4 epochs; without validation tiles the last one is kept"),
        (4, 0, "slide_accuracy", True, "4 epochs, none kept yet"),
        (0, 0, "slide_accuracy", True, "0 epochs, none kept yet"),
    ],
)
def test_the_outcome_in_words(count: int, best: int, metric: str, validated: bool, words: str) -> None:
    assert outcome(history(count, validated=validated), best, metric) == words


def test_without_validation_the_panel_says_so() -> None:
    figure = curves_figure(history(8, validated=False), 8, title=NAME, metric="slide_accuracy")
    loss, shares, _ = figure.axes
    assert set(lines(loss)) == {"training, mixed tiles", "no mixing from here", "kept: epoch 8"}
    assert lines(shares) == {}
    assert [text.get_text() for text in shares.texts] == ["no validation tiles"]


def words_of(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, and its box, px from the lower left."""
    figure.draw_without_rendering()
    hidden = [
        tick.label1
        for panel in figure.axes
        for axis in (panel.xaxis, panel.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]
    texts: list[Any] = figure.findobj(Text)
    drawn = [text for text in texts if text.get_visible() and text.get_text().strip() and text not in hidden]
    return [(text.get_text(), text.get_window_extent()) for text in drawn]


@pytest.mark.parametrize("metric", VALIDATION_METRICS)
@pytest.mark.parametrize("count", [1, 3, 12, 60, 300])
def test_words_lie_on_the_picture_and_not_on_one_another(count: int, metric: str) -> None:
    figure = curves_figure(history(count), max(1, count - 2), title="a" * 200, metric=metric, notice=PHANTOM * 4)
    check_words(figure)


def test_stages_that_open_too_fast_to_be_named_are_not() -> None:
    epochs = [replace(one, open_stages=min(9, one.number)) for one in history(150)]
    figure = curves_figure(epochs, 100, title=NAME, metric="tile_accuracy")
    assert [text.get_text() for text in figure.axes[0].texts] == ["9", "stages open below the head"]
    check_words(figure)


def check_words(figure: Figure) -> None:
    """All on the picture, none on another."""
    found = words_of(figure)
    assert len(found) > 12
    for text, box in found:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= 1400, text
        assert box.y1 <= 900, text
    for (one, box), (other, beside) in combinations(found, 2):
        width = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        height = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        assert width <= 2 or height <= 6, (one, other)  # boxes hold room above and below the letters


def pixels(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content), formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"))


def ink(image: np.ndarray, color: Sequence[int]) -> int:
    return int((image == color).all(axis=2).sum())


def test_the_picture_is_a_png_with_the_notice_in_its_own_ink() -> None:
    epochs = history(6)
    with_notice = pixels(draw_curves(epochs, 5, title=NAME, metric="tile_accuracy", notice=PHANTOM))
    without = pixels(draw_curves(epochs, 5, title=NAME, metric="tile_accuracy"))
    assert with_notice.shape == without.shape == (900, 1400, 3)
    assert ink(with_notice, NOTICE) > 500
    assert ink(without, NOTICE) == 0


def test_it_looks_the_same_whatever_its_user_has_set_up() -> None:
    epochs = history(6)
    plain = draw_curves(epochs, 5, title="$1 and _2", metric="tile_accuracy")
    with mpl.rc_context({"axes.facecolor": "black", "savefig.dpi": 30, "font.size": 40, "savefig.bbox": "tight"}):
        assert draw_curves(epochs, 5, title="$1 and _2", metric="tile_accuracy") == plain


def test_no_epoch_yet_is_no_error() -> None:
    assert pixels(draw_curves([], 0, title=NAME, metric="tile_accuracy")).shape == (900, 1400, 3)
