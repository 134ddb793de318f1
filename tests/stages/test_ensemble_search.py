"""The ranking of combinations: a best one that is known, ties that are told as ties, and too many to rank."""

import csv
from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss

from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Search
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.evaluation import read_search
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.manifest import read_cohort, write_cohort
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.formats.tile_index import read_cohort_tiles
from sarcoscope.stages.cohort_split import SplitAsk, split_run
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.ensemble import SearchAsk, search_ensembles
from sarcoscope.stages.ensemble_search import smallest_level, subsets_of
from tests.cohorts_made import tissue, write_tile
from tests.members_made import made_member

CLASSES = ("DDLPS", "UPS")
SLIDES = 12
"""Of validation, each class; four tiles a slide."""
Chance = Callable[[int, int], float]
"""Probability of the truth on a tile, by its slide and its place in that: 0 to 3."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return validation_run(tmp_path_factory.mktemp("search"))


def validation_run(folder: Path) -> Path:
    """FOLDER/run of ready-made tiles; slides d0 and u0 train, the others validate."""
    for label in CLASSES:
        for slide in range(SLIDES + 1):
            for place in range(4):
                seed = 1000 * CLASSES.index(label) + 10 * slide + place
                write_tile(folder / "tiles" / label / f"{label[0].lower()}{slide}_{place}.png", tissue(seed, 16))
    asked = TilesConfig(
        folder=folder / "tiles", out=folder / "run", mpp=Mpp(0.5), slide_regex=r"^([^_]+)_", nuclei=False
    )
    cohort_from_tiles(asked)
    parts = [f"{letter}{slide},{'validation' if slide else 'train'}" for letter in "du" for slide in range(SLIDES + 1)]
    (folder / "run" / SPLIT_FILE).write_text("\n".join(["slide,part", *parts]) + "\n")
    return folder / "run"


def with_members(run: Path, **true: Chance) -> tuple[Path, ...]:
    """Members whose predictions are these on validation tiles; their graph is never asked."""
    tiles = read_cohort_tiles(run).filter(~pl.col("slide").is_in(["d0", "u0"]))
    tiles = tiles.with_columns(part=pl.lit("validation"))
    folders = []
    for name, probability in true.items():
        rows = [
            (label, probability(int(slide[1:]), int(Path(tile).stem.rpartition("_")[2])))
            for slide, tile, label in tiles.select("slide", "tile", "label").iter_rows()
        ]
        values = np.array([[p if label == code else 1 - p for code in CLASSES] for label, p in rows])
        folders.append(made_member(run, name, classes=CLASSES, tiles=tiles, probabilities=values))
    return tuple(folders)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A run of one's own, with the same tiles."""
    home = tmp_path / "run"
    (home / "tiles").mkdir(parents=True)
    for file in run.rglob("*"):
        if file.is_file():
            (home / file.relative_to(run)).write_bytes(file.read_bytes())
    return home


def search(run: Path, **values: Any) -> Search:
    return search_ensembles(SearchAsk(**{"run": run, "draws": 400, **values}))


def even(_slide: int, place: int) -> float:
    return 0.9 if place % 2 == 0 else 0.45


def odd(_slide: int, place: int) -> float:
    return 0.9 if place % 2 else 0.45


def wrong(_slide: int, _place: int) -> float:
    return 0.05


def test_members_that_make_up_for_each_other_lead(copy: Path) -> None:
    """(0.9 + 0.45) / 2 is right everywhere, (0.9 + 0.45 + 0.05) / 3 nowhere."""
    with_members(copy, a=even, b=odd, c=wrong)
    found = search(copy)
    values = {one.members: one.value.value for one in found.ranked}
    assert values == {
        ("a", "b"): 1.0,
        ("a",): 0.5,
        ("b",): 0.5,
        ("c",): 0.0,
        ("a", "c"): 0.0,
        ("b", "c"): 0.0,
        ("a", "b", "c"): 0.0,
    }
    assert [one.members for one in found.ranked[:4]] == [("a", "b"), ("a",), ("b",), ("c",)]
    assert found.level_with_best == 1
    assert found.ranked[0].behind_best is None
    assert found.ranked[1].behind_best is not None
    assert (found.ranked[1].behind_best.value, found.ranked[1].behind_best.low) == (0.5, 0.5)
    assert smallest_level(found.ranked).members == ("a", "b")
    assert (found.tiles, found.slides, found.patients) == (2 * SLIDES * 4, 2 * SLIDES, None)
    assert found.ranked[0].value.units == 2 * SLIDES
    assert found.synthetic


def test_two_that_differ_by_a_tile_cannot_be_told_apart(copy: Path) -> None:
    """`a` and `t` err on one tile each, of two slides; together on none. `w` errs on half of the tiles."""
    with_members(
        copy,
        a=lambda slide, place: 0.4 if (slide, place) == (1, 0) else 0.9,
        t=lambda slide, place: 0.4 if (slide, place) == (2, 0) else 0.9,
        w=even,
    )
    found = search(copy)
    assert {found.ranked[at].members for at in range(2)} >= {("a", "t")}
    level = {one.members for one in found.ranked if one.is_level}
    assert {("a",), ("t",), ("a", "t")} <= level
    assert ("w",) not in level
    assert found.level_with_best == len(level)
    assert smallest_level(found.ranked).members == ("a",)
    behind = {one.members: one.behind_best for one in found.ranked}[("a",)]
    assert behind is not None
    assert behind.value == pytest.approx(2 / (2 * SLIDES * 4))  # both classes have a slide 1
    assert behind.low is not None
    assert behind.low < 0


def test_a_value_is_that_of_the_fused_tiles(copy: Path) -> None:
    rng = np.random.default_rng(8)
    drawn = {name: rng.uniform(0.2, 0.9, (SLIDES + 1, 4)) for name in "ab"}
    with_members(copy, **{name: lambda s, p, of=values: float(of[s, p]) for name, values in drawn.items()})
    mean = ((drawn["a"] + drawn["b"]) / 2)[1:].ravel()
    said = {"a": drawn["a"][1:].ravel(), "b": drawn["b"][1:].ravel(), "a b": mean}
    truth = np.repeat([0, 1], SLIDES * 4)
    for metric in ("tile_balanced_accuracy", "tile_log_loss"):
        for one in search(copy, metric=metric).ranked:
            true = np.tile(said[" ".join(one.members)], 2)
            ups = np.where(truth == 1, true, 1 - true)
            plain = balanced_accuracy_score(truth, ups > 0.5) if metric != "tile_log_loss" else log_loss(truth, ups)
            assert one.value.value == pytest.approx(plain)


def test_a_patient_and_a_slide_of_the_same_name_are_two(copy: Path) -> None:
    """The patient of one slide is called as another slide is whose patient nobody knows."""
    named = {"d1": "d2"}
    write_cohort(copy, [replace(one, patient=named.get(one.slide)) for one in read_cohort(copy)])
    with_members(copy, a=even)
    assert search(copy).ranked[0].value.units == 2 * SLIDES


def test_patients_are_drawn_where_they_are_known(copy: Path) -> None:
    write_cohort(copy, [replace(one, patient=f"p{one.slide[1:]}") for one in read_cohort(copy)])
    with_members(copy, a=even)
    found = search(copy)
    assert (found.patients, found.ranked[0].value.units) == (SLIDES, SLIDES)


def test_tiles_of_pooled_classes_have_no_say(copy: Path) -> None:
    split_run(SplitAsk(source=copy, pooled=("UPS",), force=True))
    tiles = read_cohort_tiles(copy).with_columns(part=pl.lit("validation"))
    values = np.tile([0.2, 0.8], (len(tiles), 1))
    made_member(copy, "ups", classes=CLASSES, tiles=tiles, probabilities=values)
    found = search(copy)
    assert found.slides < SLIDES
    assert found.ranked[0].value.value == 0


def test_the_files_hold_what_was_found(copy: Path) -> None:
    with_members(copy, a=even, b=odd)
    found = search(copy, name="mine", rule="weighted", most=1)
    assert read_search(copy / "ensembles" / "mine.json") == found
    with (copy / "ensembles" / "mine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["members"] for row in rows] == [";".join(one.members) for one in found.ranked] == ["a", "b"]
    assert [float(row["value"]) for row in rows] == [0.5, 0.5]
    assert [row["behind"] for row in rows] == ["", "0.0"]
    assert [row["level"] for row in rows] == ["yes", "yes"]
    assert [row["synthetic"] for row in rows] == ["yes", "yes"]
    assert set(found.provenance) >= {"made", "version", "members", "split_sha256", "left_out"}
    assert found.provenance["split_sha256"] == sha256_file(copy / SPLIT_FILE)
    assert search(copy, name="again", rule="weighted", most=1).ranked == found.ranked


def test_weights_are_fitted_for_each_combination(copy: Path) -> None:
    """Of a member that knows and one that is always wrong, weighting leaves the first; the mean would be wrong."""
    with_members(copy, c=wrong, good=lambda _slide, _place: 0.8)
    values = {one.members: one.value.value for one in search(copy, rule="weighted").ranked}
    assert values[("c", "good")] == 1
    assert {one.members: one.value.value for one in search(copy).ranked}[("c", "good")] == 0


@given(members=st.integers(1, 9), most=st.none() | st.integers(1, 12))
def test_every_combination_comes_once_the_small_ones_first(members: int, most: int | None) -> None:
    found = subsets_of(members, most)
    assert len(set(found)) == len(found) == sum(comb(members, size) for size in range(1, min(most or 9, members) + 1))
    assert [len(one) for one in found] == sorted(len(one) for one in found)
    assert all(one == tuple(sorted(set(one))) for one in found)


def test_more_than_can_be_read_are_refused_with_what_fits() -> None:
    assert len(subsets_of(14)) == 2**14 - 1
    with pytest.raises(InputError, match="more than 16,384 combinations of 15 members; give --most 7, or"):
        subsets_of(15)
    assert len(subsets_of(15, 7)) <= 2**14
    with pytest.raises(InputError, match="give --most 4"):  # 20 + 190 + 1,140 + 4,845, and 15,504 more of five
        subsets_of(20)
    with pytest.raises(InputError, match="give fewer members"):
        subsets_of(2**14 + 1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"metric": "slide_accuracy"}, "unknown metric 'slide_accuracy' of tiles"),
        ({"most": 0}, "at most 0 members"),
        ({"draws": 0}, "0 draws"),
        ({"name": "a/b"}, "name 'a/b' of a search"),
        ({"rule": "max"}, "unknown rule 'max'"),
        ({"fold": "x"}, "no trained member in .* of repetition x"),
    ],
)
def test_what_makes_no_search_is_one_line(copy: Path, values: dict[str, Any], said: str) -> None:
    with_members(copy, a=even)
    with pytest.raises(InputError, match=said):
        search(copy, **values)
    assert not (copy / "ensembles").exists()


def test_a_run_without_members_or_validation_tiles_says_so(copy: Path) -> None:
    with pytest.raises(InputError, match=r"no trained member in .*members; run sarcoscope train first"):
        search(copy)
    split = copy / SPLIT_FILE
    split.write_text(split.read_text().replace("validation", "train"))
    made_member(copy, "a", classes=CLASSES)
    with pytest.raises(InputError, match=r"no validation tile at 0\.5 um/px to rank on"):
        search(copy)
