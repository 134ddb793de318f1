"""The tiles of a training: which, of which part and scale, how often, and what is said where they cannot be had."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError, TrainingError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.screening import Decision, Verdict
from sarcoscope.core.training import BalanceConfig, LengthConfig, TrainConfig
from sarcoscope.formats.screening import SCREENING_NAME, append_decisions
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.formats.tile_index import read_cohort_tiles
from sarcoscope.stages.cohort_split import SplitAsk, split_run
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.tile import TileConfig, tile
from sarcoscope.stages.train_tiles import TrainTiles, choose_tiles, folds_of
from tests.cohorts_made import tissue, write_tile
from tests.screened import rejected_tiles
from tests.slides_made import write_drawn
from tests.stages.tile_cohorts import CUT, write_manifest

SLIDES = {"A": 10, "B": 5, "C": 3}
"""Dealt out to train, validation and test as 7, 2, 1; 3, 1, 1; 1, 1, 1. Two tiles a slide."""


def ready_run(folder: Path, slides: Mapping[str, int] = SLIDES, side: int = 32, **split: Any) -> Path:
    """FOLDER/run, split: so many slides A0, A1, ... of each class, of two ready-made tiles each; no two are alike."""
    for number, (label, count) in enumerate(slides.items()):
        for place in range(2 * count):
            rgb = np.roll(tissue(1000 * number + place, side), number, axis=2)  # classes differ in colour, too
            write_tile(folder / "tiles" / label / f"{label}{place // 2}_{place % 2}.png", rgb)
    asked = TilesConfig(
        folder=folder / "tiles", out=folder / "run", mpp=Mpp(0.5), slide_regex=r"^([^_]+)_", nuclei=False
    )
    cohort_from_tiles(asked)
    split_run(SplitAsk(source=folder / "run", **split))
    return folder / "run"


def put_parts(run: Path, parts: Mapping[str, str]) -> None:
    """split.csv as somebody would write it by hand."""
    (run / SPLIT_FILE).write_text("slide,part\n" + "".join(f"{slide},{part}\n" for slide, part in parts.items()))


def chosen(run: Path, fold: str = "", **values: Any) -> TrainTiles:
    return choose_tiles(run, fold, TrainConfig(run=str(run), **values))


def tiles_of(found: TrainTiles, part: Part) -> set[tuple[str, str]]:
    return set(found.tables[part].select("slide", "tile").iter_rows())


def every_tile(found: TrainTiles) -> list[tuple[str, str]]:
    return [key for part in found.tables for key in tiles_of(found, part)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody changes it."""
    return ready_run(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return ready_run(tmp_path, {"A": 4, "B": 4})


def test_each_part_has_its_own_slides_and_all_their_tiles(plain: Path) -> None:
    found = chosen(plain)
    assert (found.classes, found.mpp, found.validation_mpp, found.fold) == (("A", "B", "C"), (0.5,), 0.5, "")
    assert found.counts == {
        "train": {"A": 14, "B": 6, "C": 2},
        "validation": {"A": 4, "B": 2, "C": 2},
        "test": {"A": 2, "B": 2, "C": 2},
    }
    assert found.notes == ()
    assert found.look is None
    everything = every_tile(found)
    assert len(everything) == len(set(everything)) == 36
    slides = [set(table["slide"]) for table in found.tables.values()]
    assert not slides[0] & slides[1] | slides[0] & slides[2] | slides[1] & slides[2]


@pytest.mark.parametrize(
    ("balance", "multipliers", "drawn"),
    [
        # 14 x 6 = 84, 6 x 12 = 72, 2 x 30 = 60: the most is 1.4 of the least; every other choice leaves more
        ({}, {"A": 6, "B": 12, "C": 30}, (84, 72, 60)),
        ({"multipliers": {"C": 12, "A": 1}}, {"A": 1, "B": 12, "C": 12}, (14, 72, 24)),
        ({"by": "even"}, {}, (1, 1, 1)),
        ({"by": "none"}, {}, (14, 6, 2)),
    ],
)
def test_classes_are_drawn_by_their_multipliers(
    plain: Path, balance: dict[str, Any], multipliers: dict[str, int], drawn: tuple[int, ...]
) -> None:
    found = chosen(plain, balance=BalanceConfig(**balance))
    assert found.multipliers == multipliers
    assert found.shares == pytest.approx([one / sum(drawn) for one in drawn])


def test_a_multiplier_of_no_class_is_told(plain: Path) -> None:
    with pytest.raises(InputError, match=r"balance\.multipliers names class 'D'; the classes are A, B, C"):
        chosen(plain, balance=BalanceConfig(multipliers={"D": 6}))


def test_what_readers_rejected_is_not_used(run: Path) -> None:
    before = chosen(run)
    out, stays = sorted(tiles_of(before, Part.TRAIN))[:2]
    keep = Decision(slide=stays[0], tile=stays[1], verdict=Verdict.KEEP)
    reject = Decision(slide=out[0], tile=out[1], verdict=Verdict.REJECT)
    append_decisions(run / SCREENING_NAME, [reject, keep])
    assert rejected_tiles(run / SCREENING_NAME) == {out}
    after = chosen(run)
    assert tiles_of(after, Part.TRAIN) == tiles_of(before, Part.TRAIN) - {out}
    assert tiles_of(after, Part.VALIDATION) == tiles_of(before, Part.VALIDATION)
    label = out[0][0]
    assert after.counts["train"][label] == before.counts["train"][label] - 1


def test_a_slide_that_the_split_leaves_open_is_not_used(run: Path) -> None:
    put_parts(run, {"A0": "train", "B0": "train", "A1": "", "B1": "validation", "A2": "validation", "A3": "test1"})
    found = chosen(run)
    assert {slide for slide, _ in every_tile(found)} == {"A0", "B0", "B1", "A2"}
    assert "3 slides with tiles but no part in split.csv left out: A1, B2, B3" in found.notes


def test_a_class_that_the_split_leaves_open_is_named(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 2, "B": 2, "C": 2})
    put_parts(run, {"A0": "train", "B0": "train", "A1": "validation", "B1": "validation"})
    assert chosen(run).notes == ("2 slides with tiles but no part in split.csv left out: C0, C1; all of class C",)


def test_named_classes_leave_the_others_out_in_their_own_order(plain: Path) -> None:
    found = chosen(plain, classes=("C", "A"))
    assert found.classes == ("C", "A")
    assert found.counts["train"] == {"C": 2, "A": 14}
    assert {slide[0] for slide, _ in every_tile(found)} == {"A", "C"}
    assert found.notes == ("tiles of classes that are not asked for are left out: B",)
    assert found.multipliers == {"A": 6, "C": 30}  # 84 and 60


@pytest.mark.parametrize(
    ("parts", "classes", "told"),
    [
        ({"A0": "train", "A1": "validation"}, (), "only class A has training tiles; a network tells two classes apart"),
        ({"A0": "train", "B0": "test"}, ("A", "B"), "class B has no training tile; add slides of it, or leave it out"),
        ({"A0": "train", "B0": "train"}, ("A", "B", "X"), "class X has no training tile"),
        ({"A0": "test", "B0": "validation"}, (), "no training tile; look at split.csv"),
        ({"A0": "test1"}, (), "no training tile; look at split.csv"),
        ({"A0": ""}, (), "no tile that is kept and has a part; look at split.csv"),
    ],
)
def test_classes_that_cannot_be_learnt_are_named(
    run: Path, parts: dict[str, str], classes: tuple[str, ...], told: str
) -> None:
    put_parts(run, parts)
    with pytest.raises(TrainingError, match=told):
        chosen(run, classes=classes)


def test_a_class_that_only_validates_is_named_with_the_others(run: Path) -> None:
    for place in range(2):
        write_tile(run.parent / "tiles" / "C" / f"C0_{place}.png", tissue(7000 + place, 32))
    cohort_from_tiles(
        TilesConfig(folder=run.parent / "tiles", out=run, mpp=Mpp(0.5), slide_regex="^([^_]+)_", force=True)
    )
    put_parts(run, {"A0": "train", "B0": "train", "C0": "validation", "A1": "validation"})
    with pytest.raises(TrainingError, match=r"class C has validation tiles .* classes: \[A, B\]"):
        chosen(run)
    found = chosen(run, classes=("A", "B"))
    assert found.counts["validation"] == {"A": 2, "B": 0}
    assert found.notes == (
        "no validation tile of B: figures on validation say nothing of it",
        "tiles of classes that are not asked for are left out: C",
        "5 slides with tiles but no part in split.csv left out: A2, A3, B1, ...",
    )
    whole = chosen(run, train_on_validation=True)  # where it trains there is no riddle
    assert whole.counts["train"] == {"A": 4, "B": 2, "C": 2}


def test_classes_that_no_file_of_ours_can_name_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 3, "B cells": 3})
    with pytest.raises(InputError, match=r"class 'B cells'.*; call it by letters, digits, '_', '\+' and '-'"):
        chosen(run)
    put_parts(run, {"A0": "train"})
    with pytest.raises(TrainingError, match="only class A"):  # what is not asked for is no trouble
        chosen(run)


def test_without_validation_tiles_the_last_epoch_is_kept_and_that_is_said(run: Path) -> None:
    put_parts(run, {"A0": "train", "B0": "train", "A1": "test", "B1": "test"})
    found = chosen(run)
    assert found.notes == (
        "4 slides with tiles but no part in split.csv left out: A2, A3, B2, ...",
        "no validation tile: nothing is chosen by them, the last epoch is kept",
    )
    assert set(found.opened(TrainConfig(run=str(run)))) == {Part.TRAIN, Part.TEST}


def test_validation_tiles_train_too_where_asked(run: Path) -> None:
    before, after = chosen(run), chosen(run, train_on_validation=True)
    both = tiles_of(before, Part.TRAIN) | tiles_of(before, Part.VALIDATION)
    assert tiles_of(after, Part.TRAIN) == both
    assert after.counts["train"] == {"A": 6, "B": 6}
    assert after.counts["validation"] == {"A": 0, "B": 0}
    assert tiles_of(after, Part.TEST) == tiles_of(before, Part.TEST)
    assert after.notes == ()  # nothing that was asked for is remarkable


def test_pooled_classes_are_marked_and_stand_in_all_parts(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 4, "B": 4, "C": 5}, pooled=("C",))
    found = chosen(run)
    assert [found.counts[part]["C"] for part in ("train", "validation", "test")] == [7, 2, 1]  # of its ten tiles
    (note,) = found.notes
    assert note.startswith("tiles of pooled classes were dealt out one by one, their figures are optimistic")
    assert "C" in note
    assert "A" not in note.removesuffix("C")
    assert "[" not in note
    assert len(set(every_tile(found))) == 8 + 8 + 10


def test_repetitions_by_name(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 4, "B": 4}, folds=3)
    assert folds_of(run, ()) == ("fold1", "fold2", "fold3")
    assert folds_of(run, ("fold3", "fold1")) == ("fold3", "fold1")
    with pytest.raises(InputError, match="no repetition 'fold4' in the split; there are: fold1, fold2, fold3"):
        folds_of(run, ("fold4",))
    tested = [tiles_of(chosen(run, fold), Part.TEST) for fold in folds_of(run, ())]
    assert len(set().union(*tested)) == sum(map(len, tested)) == 16  # each slide tests once
    assert chosen(run, "fold2").fold == "fold2"
    with pytest.raises(ArtifactError, match="name one: fold1, fold2, fold3"):
        chosen(run)


def test_a_split_without_repetitions_needs_no_name(plain: Path) -> None:
    assert folds_of(plain, ()) == folds_of(plain, ("part",)) == ("",)
    with pytest.raises(InputError, match="no repetition 'fold1' in the split; there are: part"):
        folds_of(plain, ("fold1",))


SHADES = {"d": ["DDD.", "DDDb", "...."], "l": ["LLLL", "LLL.", "...."], "u": ["UUUU", "UUUU", "...."]}
PARTS = {
    **dict.fromkeys(("d1", "l1", "u1"), "train"),
    **dict.fromkeys(("d2", "l2", "u2"), "validation"),
    **dict.fromkeys(("d3", "l3", "u3"), "test"),
}


def slide_run(folder: Path, mpp: Sequence[float] = (0.5,), parts: Mapping[str, str] = PARTS) -> Path:
    """FOLDER/run of three slides of each of three classes, cut at some scales; FOLDER/d1.svs, ... are its slides."""
    rows = []
    for number, slide in enumerate(parts):
        if not (folder / f"{slide}.svs").exists():
            write_drawn(folder / f"{slide}.svs", SHADES[slide[0]], seed=number)
        label = {"d": "DDLPS", "l": "LMS", "u": "UPS"}[slide[0]]
        rows.append({"slide": slide, "path": f"{slide}.svs", "label": label})
    cut = replace(CUT, mpp=tuple(map(Mpp, mpp)))
    summary = tile(write_manifest(folder, rows), TileConfig(out=folder / "run", cut=cut, workers=1))
    assert summary.exit_code == 0
    put_parts(folder / "run", parts)
    return folder / "run"


def test_tiles_of_slides_without_those_that_were_dropped(tmp_path: Path) -> None:
    run = slide_run(tmp_path)
    found = chosen(run)
    assert found.counts == {part: {"DDLPS": 6, "LMS": 7, "UPS": 8} for part in ("train", "validation", "test")}
    dropped = read_cohort_tiles(run).filter(pl.col("dropped").is_not_null())
    assert {"blank", "blurred"} <= set(dropped["dropped"])
    assert not set(every_tile(found)) & set(dropped.select("slide", "tile").iter_rows())
    opened = found.opened(TrainConfig(run=str(run)))
    assert opened[Part.TRAIN].side_px == 64
    assert len(opened[Part.TEST].labels) == 21


def test_of_several_scales_somebody_has_to_say_which(tmp_path: Path) -> None:
    run = slide_run(tmp_path, (1.0, 0.5))
    with pytest.raises(InputError, match=r"the run has tiles at 0\.5, 1 um/px; say which to train on, e\.g\. mpp"):
        chosen(run)
    with pytest.raises(InputError, match=r"no tiles at 0\.25 um/px; the run has tiles at 0\.5, 1 um/px"):
        chosen(run, mpp=(0.25,))
    with pytest.raises(InputError, match=r"no tiles at 2 um/px"):
        chosen(run, mpp=(0.5,), validation_mpp=2.0)

    def scales(found: TrainTiles) -> dict[str, set[float]]:
        return {str(part): set(table["mpp"]) for part, table in found.tables.items()}

    coarse = chosen(run, mpp=(1.0,))
    assert scales(coarse) == {"train": {1.0}, "validation": {1.0}, "test": {1.0}}
    assert (coarse.mpp, coarse.validation_mpp) == ((1.0,), 1.0)
    across = chosen(run, mpp=(1.0,), validation_mpp=0.5)
    assert scales(across) == {"train": {1.0}, "validation": {0.5}, "test": {0.5}}
    assert scales(chosen(run, mpp=(0.5, 1.0)))["train"] == {0.5, 1.0}
    both = chosen(run, mpp=(1.0,), validation_mpp=0.5, train_on_validation=True)
    assert scales(both) == {"train": {1.0}, "validation": set(), "test": {0.5}}  # none at a scale it does not train at
    assert both.counts["train"] == {
        label: 2 * count for label, count in coarse.counts["train"].items()
    }  # drawn alike in both parts


@pytest.mark.parametrize("method", ["even", "reinhard", "macenko"])
def test_slides_are_evened_out_towards_the_training_slides_alone(tmp_path: Path, method: str) -> None:
    run = slide_run(tmp_path)
    first = chosen(run, normalise=method)
    assert first.look_slides == ("d1", "l1", "u1")
    assert first.look is not None
    assert first.look.method == method
    for seed, slide in enumerate(("d2", "l2", "u3"), start=70):  # other tissue in slides that validate and test
        write_drawn(tmp_path / f"{slide}.svs", ["WWWW", "WUUW"], seed=seed)
    slide_run(tmp_path)
    assert chosen(run, normalise=method).look == first.look
    write_drawn(tmp_path / "l1.svs", ["WWWW", "WUUW"], seed=80)
    slide_run(tmp_path)
    assert chosen(run, normalise=method).look != first.look
    whole = chosen(run, normalise=method, train_on_validation=True)
    assert whole.look_slides == ("d1", "d2", "l1", "l2", "u1", "u2")


def test_pooled_slides_have_no_say_in_what_slides_are_brought_to(tmp_path: Path) -> None:
    run = slide_run(tmp_path)
    before = chosen(run, normalise="reinhard", classes=("DDLPS", "LMS"))
    split_run(SplitAsk(source=tmp_path / "manifest.csv", out=run, pooled=("UPS",), force=True))
    recorded = (run / SPLIT_FILE).read_text().splitlines()
    column = recorded[0].split(",").index("part")
    mended = [line.split(",") for line in recorded[1:]]
    for cells in mended:
        cells[column] = "pooled" if cells[0].startswith("u") else PARTS[cells[0]]
    (run / SPLIT_FILE).write_text("\n".join([recorded[0], *(",".join(cells) for cells in mended)]) + "\n")
    found = chosen(run, normalise="reinhard")
    assert found.counts["train"]["UPS"] > 0
    assert found.look_slides == ("d1", "l1")
    assert found.look == before.look


def test_ready_made_tiles_are_not_evened_out(plain: Path) -> None:
    with pytest.raises(InputError, match="run holds ready-made tiles, which are not evened out; set normalise: none"):
        chosen(plain, normalise="reinhard")


@pytest.mark.parametrize(
    ("take_away", "kind", "told"),
    [
        (lambda run: (run / SPLIT_FILE).unlink(), ArtifactError, "run sarcoscope cohort split first"),
        (lambda run: [one.unlink() for one in (run / "tiles").iterdir()], ArtifactError, "holds no tiles"),
    ],
)
def test_a_run_folder_that_is_not_ready_says_what_to_run(
    run: Path, take_away: Callable[[Path], object], kind: type[SarcoscopeError], told: str
) -> None:
    take_away(run)
    with pytest.raises(kind, match=told):
        chosen(run)


def test_all_parts_share_the_memory_for_decoded_tiles(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 4, "B": 4})
    config = TrainConfig(run=str(run), side_px=256, cache_mb=1)  # 0.2 MB a tile
    put_parts(run, {"A0": "train", "B0": "train", "A1": "validation", "B1": "validation", "A2": "test"})
    found = chosen(run).opened(config)
    held = {part: (len(tiles.labels), tiles.cached_mb) for part, tiles in found.items()}
    mb = 256 * 256 * 3 / 1e6
    assert held == {
        Part.TRAIN: (4, pytest.approx(4 * mb)),  # 0.79 of 1 MB
        Part.VALIDATION: (4, 0),
        Part.TEST: (2, 0),  # 0.39 MB, of which 0.21 are left
    }


def test_tiles_of_another_side_are_brought_to_that_of_the_training_tiles(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 4, "B": 4})
    config = TrainConfig(run=str(run), side_px=48, length=LengthConfig(epochs=1))
    opened = chosen(run).opened(config)
    assert {tiles.side_px for tiles in opened.values()} == {48}
    assert opened[Part.TEST].read(0).shape == (48, 48, 3)
    assert {tiles.side_px for tiles in chosen(run).opened(replace(config, side_px=None)).values()} == {32}
