"""What stands in two parts is found: planted copies, shared patients, files under two names."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

from sarcoscope.cohort.leakage import LeakKind
from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.formats.manifest import write_cohort
from sarcoscope.formats.split import write_split
from sarcoscope.formats.tile_index import read_cohort_tiles
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tiff_writer import write_pyramid
from sarcoscope.stages.cohort_leakage import LeakageReport, check_leakage
from sarcoscope.stages.cohort_split import SplitAsk, split_run
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.tiling.phash import phash
from tests.cohorts_made import tissue, write_run, write_tile, write_tiles
from tests.conftest import REPO
from tests.slides_made import write_drawn

CONFIG = {"config": {"ratios": [0.7, 0.15, 0.15], "seed": 0, "pooled": ["M"]}}


def changed(rgb: Rgb) -> Rgb:
    """A copy as a careless hand makes it: mirrored, turned, a little brighter; written as JPEG later."""
    return np.asarray(np.clip(np.rot90(rgb[:, ::-1]) * 1.05 + 6, 0, 255), np.uint8)


def run_of(folder: Path, run: Path, parts: dict[str, Part]) -> Path:
    """A run folder of tiles that are slides of their own, with parts by file."""
    cohort_from_tiles(TilesConfig(folder=folder, out=run, mpp=Mpp(0.5), nuclei=False))
    table = read_cohort_tiles(run)
    by_slide = {slide: parts.get(tile, Part.TRAIN) for slide, tile in table.select("slide", "tile").iter_rows()}
    slides = [CohortSlide(slide=slide, path=folder, label="A") for slide in by_slide]
    write_split(run, slides, {"part": by_slide}, CONFIG)
    return run


def pairs(report: LeakageReport) -> set[frozenset[str]]:
    return {frozenset({leak.tile, leak.other_tile}) for leak in report.leaks if leak.kind is LeakKind.TILE}


def test_planted_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=20)
    shutil.copy(folder / "A" / "sA0_0.png", folder / "B" / "exact.png")
    path = folder / "A" / "copy.jpg"
    Image.fromarray(changed(tissue(101))).save(path, quality=60)  # of B/sB0_1.png
    small = cv2.resize(tissue(5), (48, 48), interpolation=cv2.INTER_AREA)
    write_tile(folder / "A" / "small.png", np.asarray(small, np.uint8))  # of A/sA2_5.png
    parts = {"B/exact.png": Part.TEST, "A/copy.jpg": Part.VALIDATION, "A/small.png": Part.TEST1}
    run = run_of(folder, tmp_path / "run", parts)
    report = check_leakage(run)
    assert pairs(report) == {
        frozenset({"A/sA0_0.png", "B/exact.png"}),
        frozenset({"B/sB0_1.png", "A/copy.jpg"}),
        frozenset({"A/sA2_5.png", "A/small.png"}),
    }
    assert report.exit_code == 1
    assert all(leak.likeness is not None and leak.likeness > 0.9 for leak in report.leaks)
    likeness = [leak.likeness or 0 for leak in report.leaks]
    assert likeness == sorted(likeness, reverse=True)
    rows = list(csv.DictReader((run / "leakage.csv").read_text().splitlines()))
    assert [row["kind"] for row in rows] == ["tile"] * 3
    assert {row["part"] for row in rows} | {row["other_part"] for row in rows} == {
        "train",
        "test",
        "validation",
        "test1",
    }
    record = json.loads((run / "split.json").read_text())
    assert record["leakage"]["leaks"] == {"tile": 3}
    assert record["leakage"]["split_sha256"] == record["sha256"]


def test_copies_within_a_part_and_rejected_ones_are_no_leak(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    write_tile(folder / "A" / "copy.png", tissue(0))
    assert check_leakage(run_of(folder, tmp_path / "run", {})).leaks == ()
    run = run_of(folder, tmp_path / "other", {"A/copy.png": Part.TEST})
    assert len(check_leakage(run).leaks) == 1
    (run / "screening.csv").write_text("slide,tile,decision\nA_copy.png,A/copy.png,reject\n")
    assert check_leakage(run).leaks == ()
    assert list(csv.DictReader((run / "leakage.csv").read_text().splitlines())) == []


def test_nearly_empty_tiles_do_not_cry_wolf(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    slope = np.linspace(0, 14, 96)[None, :, None]
    for number in range(12):
        noise = np.random.default_rng(number).normal(0, 1.5, (96, 96, 3))
        write_tile(folder / "A" / f"{number}.png", np.clip(238 - slope + noise, 0, 255).astype(np.uint8))
        write_tile(folder / "A" / f"white{number}.png", np.full((96, 96, 3), 245, np.uint8))
    parts = {f"A/{number}.png": Part.TEST for number in range(6)} | {f"A/white{n}.png": Part.TEST for n in range(6)}
    report = check_leakage(run_of(folder, tmp_path / "run", parts))
    assert report.leaks == ()
    assert report.without_structure >= 12


def test_a_tile_that_is_gone_stays_under_suspicion(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=2)
    path = write_tile(folder / "A" / "copy.png", tissue(0))
    run = run_of(folder, tmp_path / "run", {"A/copy.png": Part.TEST})
    path.unlink()
    (leak,) = check_leakage(run).leaks
    assert (leak.likeness, leak.detail) == (None, "could not be looked at again")


def test_real_tiles_are_not_taken_for_one_another(tmp_path: Path) -> None:
    shared = REPO.parent / "shared" / "data" / "tiles" / "crc_val_he_7k_70"
    if not shared.is_dir():
        pytest.skip("shared/data/tiles is absent: leakage among real tiles not tested")
    folder = tmp_path / "tiles"
    shutil.copytree(shared, folder)
    first = min((folder / "TUM").iterdir())
    Image.fromarray(changed(np.asarray(Image.open(first)))).save(folder / "TUM" / "copy.jpg", quality=70)
    parts = {"TUM/copy.jpg": Part.TEST}
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    parts |= {file: Part.VALIDATION for file in files[::2] if file not in parts and not file.endswith(first.name)}
    report = check_leakage(run_of(folder, tmp_path / "run", parts))
    assert pairs(report) == {frozenset({f"TUM/{first.name}", "TUM/copy.jpg"})}
    assert report.tiles == 71


@pytest.fixture
def slides(tmp_path: Path) -> list[CohortSlide]:
    """Three slides: two of one patient, and two files of one content."""
    write_drawn(tmp_path / "a.svs", ["DU", "UD"])
    write_drawn(tmp_path / "b.svs", ["WL", "LW"])
    shutil.copy(tmp_path / "a.svs", tmp_path / "copy.svs")
    return [
        CohortSlide(slide="a", path=tmp_path / "a.svs", label="A", patient="P"),
        CohortSlide(slide="b", path=tmp_path / "b.svs", label="A", patient="P"),
        CohortSlide(slide="copy", path=tmp_path / "copy.svs", label="A"),
        CohortSlide(slide="same", path=tmp_path / "b.svs", label="A", patient="Q"),
    ]


def painted(path: Path, seed: int) -> CohortSlide:
    """A slide of 4 tiles of 256 px."""
    rgb = tissue(seed, 512)
    write_pyramid(path, [rgb], size=Size(512, 512), mpp=Mpp(0.5), power=20.0, description="drawn", quality=90)
    return CohortSlide(slide=path.stem, path=path, label="A")


def tiles_of(slide: CohortSlide, label: str = "A") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    with open_slide(slide.path) as source:
        for row in range(2):
            for column in range(2):
                box = Box(256 * column, 256 * row, 256, 256)
                tile = f"r{row}_c{column}"
                place = {"left_l0": box.left, "top_l0": box.top, "width_l0": box.width, "height_l0": box.height}
                names: dict[str, object] = {"slide": slide.slide, "tile": tile, "block": tile, "label": label}
                rows.append(names | place | {"phash": phash(source.read(box, Size(256, 256)))})
    return rows


def test_tiles_of_a_slide_that_was_scanned_under_two_names(tmp_path: Path) -> None:
    """Written anew with another quality: another content, the same places."""
    one, other = painted(tmp_path / "one.svs", 1), painted(tmp_path / "other.svs", 2)
    write_pyramid(
        tmp_path / "again.svs",
        [tissue(1, 512)],
        size=Size(512, 512),
        mpp=Mpp(0.5),
        power=20.0,
        description="drawn",
        quality=75,
    )
    again = CohortSlide(slide="again", path=tmp_path / "again.svs", label="A")
    slides = [one, other, again]
    run = write_run(tmp_path / "run", slides, [row for slide in slides for row in tiles_of(slide)])
    parts = {"one": Part.TRAIN, "other": Part.TRAIN, "again": Part.TEST}
    write_split(run, slides, {"part": parts}, CONFIG)
    report = check_leakage(run)
    assert {(leak.tile, leak.other_tile) for leak in report.leaks} == {
        (f"r{row}_c{column}", f"r{row}_c{column}") for row in range(2) for column in range(2)
    }
    assert {frozenset({leak.slide, leak.other_slide}) for leak in report.leaks} == {frozenset({"one", "again"})}
    assert {str(leak.kind) for leak in report.leaks} == {"tile"}


def test_tiles_of_one_pooled_slide_may_be_alike_but_not_those_of_two(tmp_path: Path) -> None:
    one = painted(tmp_path / "one.svs", 1)
    shutil.copy(one.path, tmp_path / "copy.svs")
    copy = CohortSlide(slide="copy", path=tmp_path / "copy.svs", label="M")
    same = [row | {"phash": 1234567, "left_l0": 0, "top_l0": 0} for row in tiles_of(one, "M")]
    run = write_run(tmp_path / "run", [one], same)
    write_split(run, [one], {"part": {"one": Part.POOLED}}, CONFIG)
    report = check_leakage(run)
    assert (report.leaks, report.pooled_tiles) == ((), 4)
    both = same + [row | {"slide": "copy"} for row in same]
    other = write_run(tmp_path / "other", [one, copy], both)
    write_split(other, [one, copy], {"part": {"one": Part.POOLED, "copy": Part.POOLED}}, CONFIG)
    kinds = {str(leak.kind) for leak in check_leakage(other).leaks}
    assert kinds == {"content", "tile"}


def test_patients_files_and_contents(slides: list[CohortSlide], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", slides, [])
    parts = {"a": Part.TRAIN, "b": Part.VALIDATION, "copy": Part.TEST1, "same": Part.TEST}
    write_split(run, slides, {"part": parts}, CONFIG)
    report = check_leakage(run)
    found = {(str(leak.kind), leak.slide, leak.other_slide) for leak in report.leaks}
    assert found == {("patient", "a", "b"), ("file", "b", "same"), ("content", "a", "copy"), ("content", "b", "same")}
    assert report.exit_code == 1


def test_the_two_test_sets_may_share_a_patient(slides: list[CohortSlide], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", slides[:2], [])
    write_split(run, slides[:2], {"part": {"a": Part.TEST1, "b": Part.TEST2}}, CONFIG)
    assert check_leakage(run).exit_code == 0


def test_each_repetition_is_looked_at(slides: list[CohortSlide], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", slides[:2], [])
    folds = {"fold1": {"a": Part.TEST, "b": Part.TEST}, "fold2": {"a": Part.TRAIN, "b": Part.TEST}}
    write_split(run, slides[:2], folds, CONFIG)
    assert [leak.repetition for leak in check_leakage(run).leaks] == ["fold2"]


def test_slides_that_only_one_of_the_files_has_are_told(slides: list[CohortSlide], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", slides[:3], [])
    (run / "split.csv").write_text("slide,part\na,train\nB,test\nb,\n")
    report = check_leakage(run)
    assert (report.strangers, report.without_part, report.exit_code) == (("B",), 2, 0)


def test_a_slide_that_is_gone_is_counted(slides: list[CohortSlide], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", slides[:3], [])
    write_split(run, slides[:3], {"part": {"a": Part.TRAIN, "copy": Part.TEST}}, CONFIG)
    (tmp_path / "copy.svs").unlink()
    report = check_leakage(run)
    assert (report.unread, report.leaks) == (1, ())


def test_a_fresh_split_by_command_is_clean(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=10)
    config = TilesConfig(folder=folder, out=tmp_path / "run", mpp=Mpp(0.5), slide_regex=r"^(s[AB]\d)_", nuclei=False)
    cohort_from_tiles(config)
    for ask in (SplitAsk(source=tmp_path / "run"), SplitAsk(source=tmp_path / "run", folds=3, force=True)):
        result = split_run(ask)
        assert result.leakage is not None
        assert result.leakage.leaks == ()


def test_an_index_without_hashes_is_said(slides: list[CohortSlide], tmp_path: Path) -> None:
    rows = [{"slide": "a", "tile": f"r{row}", "block": f"r{row}", "label": "A"} for row in range(3)]
    run = write_run(tmp_path / "run", slides[:1], rows)
    write_split(run, slides[:1], {"part": {"a": Part.TRAIN}}, CONFIG)
    report = check_leakage(run)
    assert (report.tiles, report.without_hash) == (0, 3)
    assert pl.read_csv(run / "leakage.csv").is_empty()


def test_where_nothing_can_be_read_nothing_is_said_to_be_sound(tmp_path: Path) -> None:
    slides = [CohortSlide(slide=f"s{n}", path=tmp_path / f"s{n}.svs", label="A", patient=f"p{n}") for n in range(4)]
    write_cohort(tmp_path, slides)
    write_split(tmp_path, slides, {"part": {f"s{n}": (Part.TRAIN, Part.TEST)[n % 2] for n in range(4)}}, CONFIG)
    report = check_leakage(tmp_path)
    assert (report.unread, report.whole, report.exit_code) == (4, False, 2)
    write_drawn(tmp_path / "s0.svs", ["DD", "DD"])
    report = check_leakage(tmp_path)
    assert (report.unread, report.whole, report.exit_code) == (3, False, 0)
