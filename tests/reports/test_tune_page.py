"""The page of a search: what it says, and what a browser shows of it."""

import base64
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarcoscope.core.tuning import SearchConfig, Trial, TrialState, searched
from sarcoscope.reports.tune_figures import draw_importance, draw_slice
from sarcoscope.reports.tune_page import SearchRecord, duration, metric_words, shown, write_tune_page
from tests.reports.pagereader import Page
from tests.reports.test_browser import HOSTILE, chromium, open_page

__all__ = ["chromium"]
PARAMETERS = searched(SearchConfig(learning_rate=(3e-4, 1e-2)), 5)
BLUE = np.array([0, 114, 178])


def trial(number: int, value: float | None, state: TrialState = TrialState.COMPLETE, reason: str = "") -> Trial:
    values = {one.name: one.low + (one.high - one.low) * number / 20 for one in PARAMETERS}
    return Trial(
        number=number,
        state=state,
        values={**values, "depth": number % 6},
        value=value,
        log_loss=None if value is None else 1 - value,
        best_epoch=None if value is None else 7,
        epochs=9 if state is TrialState.COMPLETE else 5,
        seconds=600.0,
        reason=reason,
    )


SEARCH = SearchRecord(
    name="b7-search",
    network="tf_efficientnet_b7",
    metric="tile_macro_auc",
    parameters=PARAMETERS,
    trials=(
        *(trial(number, 0.9 - 0.01 * number) for number in range(12)),
        trial(12, 0.6, TrialState.PRUNED, "at epoch 5 worse than half of the complete trials at that epoch"),
        trial(13, None, TrialState.FAILED, "the loss is nan in step 3 of 9"),
    ),
    total=16,
    epochs=9,
    classes=("LMS", "UPS"),
    validation_tiles=1234,
    validation_slides=41,
    importance={"learning_rate": 0.5, "weight_decay": 0.2, "mixup": 0.1, "dropout": 0.1, "strength": 0.1, "depth": 0.0},
    members={0: "b7-search-1", 1: "b7-search-2"},
)


def written(path: Path, search: SearchRecord) -> Page:
    write_tune_page(path, search)
    return Page(path)


def test_values_stand_beside_what_they_were_counted_on(tmp_path: Path) -> None:
    page = written(tmp_path / "t.html", SEARCH)
    for words in (
        "16 trials of tf_efficientnet_b7: 12 complete, 1 pruned, 1 failed, 2 not begun; 2 h 20 min of training.",
        "Best tile macro AUC 0.900 trial-0000, epoch 7 of 9, kept as b7-search-1",
        "On validation tiles, n = 1,234 of 41 slides, classes LMS, UPS. Trial and epoch were chosen by these same",
        "the best of 12 trials, so every value on this page is optimistic. The search has read no test tile.",
        "The best 10 of 12 complete trials",
        "trial-0001 b7-search-2 0.890 0.000785 0.011 0.04 0.025 0.36 1 7 9 10 min",
        "trial-0012 pruned 5 0.600 at epoch 5 worse than half of the complete trials at that epoch",
        "trial-0013 failed 5 \N{EN DASH} the loss is nan in step 3 of 9",
        "From 12 trials, so no more than a hint",
        "learning rate 0.0003 to 0.01 (by its logarithm)",
        "Research use only",
    ):
        assert words in page.text, words
    assert "synthetic" not in page.text
    alts = [picture["alt"] for picture in page.all("img")]
    assert len(alts) == 2 + len(PARAMETERS)
    assert alts[0].endswith(
        "learning rate 50%, weight decay 20%, mix-up a 10%, dropout 10%, augmentation 10%, stages opened 0%"
    )
    assert alts[2] == "tile macro AUC of the trials along learning rate; the best trial has 0.0003"


def test_phantoms_are_named_above_all(tmp_path: Path) -> None:
    page = written(tmp_path / "t.html", replace(SEARCH, synthetic=True))
    assert page.text.startswith(
        "b7-search: search Not a clinical result. Trained and judged on synthetic phantom slides"
    )


def test_few_trials_and_none_are_said_in_words(tmp_path: Path) -> None:
    few = replace(
        SEARCH, trials=SEARCH.trials[:1], importance={}, importance_why_not="1 trials ran to their end", total=1
    )
    page = written(tmp_path / "t.html", few)
    assert "Not known: 1 trials ran to their end." in page.text
    assert "1 complete trial where values" in page.text
    assert "Pruned and failed" not in page.text
    failed = replace(few, trials=SEARCH.trials[-1:], members={})
    page = written(tmp_path / "t.html", failed)
    assert "No trial ran to its end." in page.text
    assert "the loss is nan" in page.text
    running = replace(
        few, trials=(replace(SEARCH.trials[0], state=TrialState.RUNNING, values={}, value=None),), members={}
    )
    page = written(tmp_path / "t.html", running)
    assert "1 trial of tf_efficientnet_b7: 1 running" in page.text
    assert page.all("img") == []


def test_a_browser_shows_all_pictures_and_asks_nobody(chromium: str, tmp_path: Path) -> None:
    hostile = replace(
        SEARCH, classes=(HOSTILE,), trials=(*SEARCH.trials[:-1], trial(13, None, TrialState.FAILED, HOSTILE))
    )
    write_tune_page(tmp_path / "t.html", hostile)
    shot, log = tmp_path / "shot.png", tmp_path / "net.json"
    done = open_page(
        chromium,
        tmp_path / "t.html",
        tmp_path,
        "--window-size=1280,4200",
        f"--screenshot={shot}",
        f"--log-net-log={log}",
    )
    assert "CONSOLE" not in done.stderr
    assert "example.invalid" not in log.read_text()
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = (np.abs(pixels - BLUE).sum(axis=2) < 12).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], blue.astype(int), [0]])))
    tall = [int(stop - start) for start, stop in zip(edges[::2], edges[1::2], strict=True) if stop - start > 15]
    assert len(tall) >= 4  # bars that can be seen, of the importance


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_bars_are_as_long_as_the_shares() -> None:
    picture = pixels_of(draw_importance(SEARCH.importance, PARAMETERS))
    blue = (np.abs(picture - BLUE).sum(axis=2) < 12).sum(axis=1)
    bars = blue[blue > 0]
    lengths = sorted({int(length) for length in bars if np.count_nonzero(np.abs(bars - length) <= 1) > 30})
    assert lengths[0] / lengths[-1] == pytest.approx(0.2, abs=0.01)  # 10 % beside 50 %
    assert picture[0, 0].tolist() == [255, 255, 255]


def test_only_members_are_ringed() -> None:
    def orange(kept: set[int]) -> int:
        picture = pixels_of(draw_slice(PARAMETERS[0], SEARCH.trials[:12], "tile_macro_auc", "tile macro AUC", kept))
        return int((np.abs(picture - np.array([230, 159, 0])).sum(axis=2) < 12).sum())

    assert orange(set()) == 0
    assert orange({0, 5}) == pytest.approx(2 * orange({3}), rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.44, "0.4 s"), (42.0, "42 s"), (89.0, "89 s"), (91.0, "2 min"), (3600.0, "60 min"), (11_100.0, "3 h 05 min")],
)
def test_durations_in_words(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_words_and_values() -> None:
    assert metric_words("slide_balanced_accuracy") == "slide balanced accuracy"
    assert [shown(one, 3.14159) for one in PARAMETERS] == ["3.14"] * 5 + ["3"]


def test_the_page_is_written_as_one_file(tmp_path: Path) -> None:
    page = written(tmp_path / "t.html", SEARCH)
    assert [file.name for file in tmp_path.iterdir()] == ["t.html"]
    for picture in page.all("img"):
        kind, content = picture["src"].split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content).startswith(b"\x89PNG")
    assert "http" not in page.source.split("</style>")[1].replace(picture["src"], "")
