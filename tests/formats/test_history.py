"""A training's history comes back as written, and equal ones are equal byte by byte."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.history import (
    Epoch,
    Timing,
    read_history,
    read_timings,
    write_history,
    write_timings,
)
from sarcoscope.metrics.classification import Scores

numbers = st.floats(allow_nan=False, allow_infinity=False)
shares = st.none() | st.floats(0, 1)
scores = st.builds(
    Scores,
    tile_accuracy=shares,
    tile_balanced_accuracy=shares,
    tile_macro_auc=shares,
    tile_log_loss=st.none() | numbers,
    slide_accuracy=shares,
    slide_balanced_accuracy=shares,
    tiles=st.integers(0, 10**9),
    slides=st.integers(0, 10**6),
)
epochs = st.lists(
    st.builds(
        Epoch,
        number=st.just(1),
        step=st.integers(0, 10**9),
        images=st.integers(0, 10**12),
        loss=numbers,
        learning_rate=numbers,
        open_stages=st.integers(0, 9),
        mixed=st.booleans(),
        validation=st.none() | scores,
    ),
    max_size=6,
).map(lambda found: [replace(one, number=number) for number, one in enumerate(found, start=1)])
timings = st.lists(
    st.builds(
        Timing,
        number=st.integers(1, 99),
        seconds=numbers,
        images_per_second=numbers,
        wait_share=numbers,
        validation_seconds=numbers,
        memory_mb=numbers,
    )
)
JUDGED = Scores(
    tile_accuracy=0.5,
    tile_balanced_accuracy=0.1 + 0.2,
    tile_macro_auc=None,
    tile_log_loss=2.0,
    slide_accuracy=1.0,
    slide_balanced_accuracy=None,
    tiles=120,
    slides=3,
)
FIRST = Epoch(
    number=1, step=30, images=480, loss=1.25, learning_rate=2e-3, open_stages=0, mixed=True, validation=JUDGED
)
SECOND = replace(FIRST, number=2, step=60, images=960, loss=0.5, open_stages=1, mixed=False, validation=None)
LINES = (
    "epoch,step,images,loss,learning_rate,open_stages,mixed,validation_tile_accuracy,"
    "validation_tile_balanced_accuracy,validation_tile_macro_auc,validation_tile_log_loss,validation_slide_accuracy,"
    "validation_slide_balanced_accuracy,validation_tiles,validation_slides,best\n"
    "1,30,480,1.25,0.002,0,1,0.5,0.30000000000000004,,2.0,1.0,,120,3,1\n"
    "2,60,960,0.5,0.002,1,0,,,,,,,,,0\n"
)


@given(epochs, st.integers(0, 6))
def test_a_history_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[Epoch], best: int
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    write_history(path, written, best)
    assert read_history(path) == (written, best if best <= len(written) else 0)


@given(timings)
def test_timings_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, written: list[Timing]) -> None:
    path = tmp_path_factory.mktemp("timings") / "timings.csv"
    write_timings(path, written)
    assert read_timings(path) == written


def test_the_file_reads_well_by_hand(tmp_path: Path) -> None:
    write_history(tmp_path / "a" / "history.csv", [FIRST, SECOND], best=1)
    assert (tmp_path / "a" / "history.csv").read_text(encoding="utf-8") == LINES
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["history.csv"]
    timing = Timing(
        number=1, seconds=2.5, images_per_second=192.0, wait_share=0.25, validation_seconds=1.0, memory_mb=900.0
    )
    write_timings(tmp_path / "timings.csv", [timing])
    assert (tmp_path / "timings.csv").read_text(encoding="utf-8") == (
        "epoch,seconds,images_per_second,wait_share,validation_seconds,memory_mb\n1,2.5,192.0,0.25,1.0,900.0\n"
    )


def test_numbers_of_numpy_are_written_as_those_of_python(tmp_path: Path) -> None:
    of_scores: dict[str, Any] = {"tile_accuracy": np.float64(0.5), "tiles": np.int64(120)}
    given: dict[str, Any] = {"loss": np.float64(1.25), "step": np.int64(30), "validation": replace(JUDGED, **of_scores)}
    first = replace(FIRST, **given)
    write_history(tmp_path / "history.csv", [first, SECOND], best=1)
    assert (tmp_path / "history.csv").read_text(encoding="utf-8") == LINES


def test_a_history_read_and_carried_on_equals_one_written_at_once(tmp_path: Path) -> None:
    write_history(tmp_path / "a.csv", [FIRST], best=1)
    read, best = read_history(tmp_path / "a.csv")
    write_history(tmp_path / "a.csv", [*read, SECOND], best)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == LINES


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1.25", "much", "line 2: could not convert string to float: 'much'; train again"),
        ("1.25", "nan", "line 2: epoch 1 with a value that is no number"),
        ("0.5,0.3", "inf,0.3", "line 2: epoch 1 with a value that is no number"),
        ("1,30,480", "1,30.0,480", "line 2: invalid literal for int"),
        ("1,30,480", "1,-30,480", "line 2: epoch 1 of 480 images"),
        ("\n2,60", "\n3,60", "line 3: epoch 3, want 2"),
        (",0\n", ",1\n", "line 3: epoch 1 is the best one too"),
        (",0\n", ",yes\n", "line 3: 'yes' is neither 0 nor 1"),
        (",120,3,1", ",,3,1", "line 2: invalid literal for int"),
        (",0\n", "\n", "line 3: not 16 cells"),
        (",best\n", "\n", "other columns than this version writes"),
        ("images,loss", "loss,images", "other columns than this version writes"),
    ],
)
def test_a_damaged_history_names_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert LINES.count(old) >= 1
    path = tmp_path / "history.csv"
    path.write_text(LINES.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ArtifactError, match=words) as error:
        read_history(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_missing_history_and_one_of_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"history\.csv: there is no such file; train again"):
        read_history(tmp_path / "history.csv")
    (tmp_path / "timings.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArtifactError, match=r"timings\.csv: cannot be read"):
        read_timings(tmp_path / "timings.csv")
    (tmp_path / "timings.csv").write_text("a,b\n")
    with pytest.raises(ArtifactError, match=r"timings\.csv: has other columns"):
        read_timings(tmp_path / "timings.csv")


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": float("nan")},
        {"learning_rate": float("inf")},
        {"validation": replace(JUDGED, tile_log_loss=float("inf"))},
        {"number": 0},
        {"step": -1},
        {"open_stages": -1},
    ],
)
def test_an_epoch_is_valid_from_birth(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="epoch"):
        replace(FIRST, **wrong)
