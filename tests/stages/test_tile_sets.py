"""The tiles of a run folder with their parts."""

from pathlib import Path

import pytest

from sarcoscope.cohort.dealing import deal
from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.split import write_split
from sarcoscope.stages.tile_sets import tile_table, usable
from tests.cohorts_made import write_run

SLIDES = [CohortSlide(slide=name, path=Path(name), label=label) for name, label in (("a", "A"), ("b", "A"), ("m", "M"))]
CONFIG = {"config": {"ratios": [0.5, 0.25, 0.25], "seed": 3, "pooled": ["M"]}}


def row(slide: str, tile: str, label: str, **values: object) -> dict[str, object]:
    return {"slide": slide, "tile": tile, "label": label, "block": tile.split("@", maxsplit=1)[0], **values}


def test_parts_pools_and_rejections(tmp_path: Path) -> None:
    scales = [row("m", f"r{place}@{scale}", "M") for place in range(8) for scale in ("fine", "coarse")]
    tiles = [
        row("a", "r0", "A"),
        row("a", "r1", "A", dropped="blank"),
        row("b", "r0", "A"),
        row("m", "r9", "M", dropped="blurred"),
        *scales,
    ]
    run = write_run(tmp_path, SLIDES, tiles)
    write_split(run, SLIDES, {"part": {"a": Part.TRAIN, "m": Part.POOLED}}, CONFIG)
    (run / "screening.csv").write_text("slide,tile,decision\na,r0,reject\n")
    table = tile_table(run)
    assert len(table) == len(tiles)
    assert table.columns[-3:] == ["part", "pooled", "rejected"]
    by_tile = {(one["slide"], one["tile"]): one for one in table.iter_rows(named=True)}
    assert (by_tile["a", "r0"]["part"], by_tile["a", "r0"]["rejected"]) == ("train", True)
    assert (by_tile["a", "r1"]["part"], by_tile["a", "r1"]["rejected"]) == ("train", False)
    assert by_tile["b", "r0"]["part"] is None  # the split leaves it open
    assert by_tile["m", "r9"]["part"] is None  # nothing of its block is kept
    dealt = deal([("m", f"r{place}") for place in range(8)], (0.5, 0.25, 0.25), 3)
    for place in range(8):
        both = {by_tile["m", f"r{place}@{scale}"]["part"] for scale in ("fine", "coarse")}
        assert both == {str(dealt["m", f"r{place}"])}  # all scales of a block go one way
    assert table.filter("pooled")["slide"].unique().to_list() == ["m"]
    counts = dict(table.filter("pooled").drop_nulls("part")["part"].value_counts().iter_rows())
    assert counts == {"train": 8, "validation": 4, "test": 4}
    assert set(usable(table)["slide"]) == {"m"}


def test_a_block_of_two_classes_goes_one_way(tmp_path: Path) -> None:
    tiles = [row("m", f"r{place}@{label}", label) for place in range(6) for label in "MN"]
    run = write_run(tmp_path, SLIDES[2:], tiles)
    write_split(run, SLIDES[2:], {"part": {"m": Part.POOLED}}, CONFIG)
    table = tile_table(run)
    assert len(table) == 12
    assert all(len(set(rows["part"])) == 1 for _, rows in table.group_by("block"))
    assert tile_table(run).equals(table)


def test_repetitions_by_name(tmp_path: Path) -> None:
    run = write_run(tmp_path, SLIDES[:2], [row("a", "r0", "A"), row("b", "r0", "A")])
    folds = {"fold1": {"a": Part.TEST, "b": Part.TRAIN}, "fold2": {"a": Part.TRAIN, "b": Part.TEST}}
    write_split(run, SLIDES[:2], folds, CONFIG)
    assert tile_table(run, "fold2").sort("slide")["part"].to_list() == ["train", "test"]
    with pytest.raises(ArtifactError, match="name one: fold1, fold2"):
        tile_table(run)


def test_a_run_without_a_split_or_tiles_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no tiles"):
        tile_table(tmp_path)
    run = write_run(tmp_path, SLIDES[:1], [row("a", "r0", "A")])
    with pytest.raises(ArtifactError, match="run sarcoscope cohort split first"):
        tile_table(run)
