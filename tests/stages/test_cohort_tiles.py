"""Folders of ready-made tiles: real ones, our own, and what people's folders also hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.tile_index import read_cohort_tiles, read_record
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.tiling.phash import phash
from tests.cohorts_made import tissue, write_tile, write_tiles
from tests.conftest import REPO


@pytest.fixture(scope="module")
def real_tiles() -> Path:
    folder = REPO.parent / "shared" / "data" / "tiles"
    if not folder.is_dir():
        pytest.skip("shared/data/tiles is absent: cohorts of real tiles not tested")
    return folder


def config(folder: Path, out: Path, **values: object) -> TilesConfig:
    return TilesConfig(folder=folder, out=out, mpp=Mpp(0.5), **values)  # type: ignore[arg-type]


def test_tiles_without_ids_are_slides_of_their_own_in_one_file(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    told: list[tuple[int, int]] = []
    found = cohort_from_tiles(config(folder, tmp_path / "run"), lambda done, total: told.append((done, total)))
    assert (found.tiles, found.slides, found.without_slide, found.mixed_slides) == (8, 8, 8, 0)
    assert found.per_class == {"A": 4, "B": 4}
    assert found.sizes == {"96x96": 8}
    assert told[-1] == (8, 8)
    assert len(list((tmp_path / "run" / "tiles").iterdir())) == 1
    tiles = read_cohort_tiles(tmp_path / "run")
    slides = {one.slide: one for one in read_cohort(tmp_path / "run")}
    for row in tiles.iter_rows(named=True):
        slide = slides[row["slide"]]
        rgb = read_tile_file(slide.path / row["file"])
        assert row["phash"] == phash(rgb)
        assert (row["label"], row["mpp"], row["dropped"], row["tile"]) == (slide.label, 0.5, None, row["file"])
        assert (row["width_l0"], row["height_l0"], row["block"]) == (96, 96, row["file"])
        assert row["sharpness"] > 0
        assert row["nuclei"] is not None
    record = read_record(next((tmp_path / "run" / "tiles").iterdir()))
    assert record["folder"] == str(folder.resolve())


def test_slides_by_an_expression_are_a_file_each(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    write_tile(folder / "B" / "sA0_9.png", tissue(7))
    found = cohort_from_tiles(config(folder, tmp_path / "run", slide_regex=r"^(s[AB]\d)_", patient_regex="^s(.)"))
    assert (found.slides, found.patients, found.mixed_slides, found.without_slide) == (4, 2, 1, 0)
    assert sorted(path.name for path in (tmp_path / "run" / "tiles").iterdir()) == [
        "sA0.parquet",
        "sA1.parquet",
        "sB0.parquet",
        "sB1.parquet",
    ]
    slides = {one.slide: (one.label, one.patient) for one in read_cohort(tmp_path / "run")}
    assert slides == {"sA0": (None, "A"), "sA1": ("A", "A"), "sB0": ("B", "B"), "sB1": ("B", "B")}
    assert set(read_cohort_tiles(tmp_path / "run").filter(slide="sA0")["label"]) == {"A", "B"}


def test_ids_from_a_table(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=2)
    (tmp_path / "ids.csv").write_text(
        "file,slide,patient,batch\nA/sA0_0.png,x,P1,1\nsA0_1.png,x,P1,1\nsB0_0.png,y,P1,2\nsB0_1.png,z,P2,2\n"
    )
    cohort_from_tiles(config(folder, tmp_path / "run", ids=tmp_path / "ids.csv"))
    found = [(one.slide, one.patient, one.batch, one.label) for one in read_cohort(tmp_path / "run")]
    assert found == [("x", "P1", "1", "A"), ("y", "P1", "2", "B"), ("z", "P2", "2", "B")]
    (tmp_path / "ids.csv").write_text(
        "file,slide,patient\nsA0_0.png,x,P1\nsA0_1.png,x,P2\nsB0_0.png,y,\nsB0_1.png,y,\n"
    )
    with pytest.raises(InputError, match="tiles of slide 'x' are of patients P1, P2; mend the ids"):
        cohort_from_tiles(config(folder, tmp_path / "other", ids=tmp_path / "ids.csv"))
    assert not (tmp_path / "other").exists()


def test_what_people_s_folders_hold(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=2)
    write_tile(folder / "A" / "deep" / "er" / "UPPER.PNG", tissue(50, 64))
    write_tile(folder / "A" / "wide.TIF", tissue(51)[:40])
    write_tile(folder / "B" / "small.png", tissue(52, 15))
    (folder / "B" / "text.png").write_text("words")
    (folder / "B" / "empty.jpg").touch()
    (folder / "B" / "Thumbs.db").write_text("x")
    (folder / "B" / ".DS_Store").write_text("x")
    (folder / "B" / "notes.txt").write_text("x")
    (folder / "C").mkdir()
    write_tile(folder / "above.png", tissue(53))
    found = cohort_from_tiles(config(folder, tmp_path / "run"))
    assert found.per_class == {"A": 4, "B": 2}
    assert found.sizes == {"96x96": 4, "64x64": 1, "96x40": 1}
    assert found.strays == ("B/notes.txt", "above.png")
    assert found.empty == ("C",)
    assert found.failed == {
        "B/empty.jpg": "is empty (0 bytes)",
        "B/small.png": "15x15 px, want at least 16 a side",
        "B/text.png": "not a slide: it looks like text",
    }
    assert found.exit_code == 1
    assert "A/deep/er/UPPER.PNG" in set(read_cohort_tiles(tmp_path / "run")["tile"])
    assert "B_text.png" not in {one.slide for one in read_cohort(tmp_path / "run")}


def test_names_that_would_meet_in_one_file_stay_apart(tmp_path: Path) -> None:
    for name in ("A/b_c.png", "A_b/c.png", "A/x.png", "A/X.png"):
        write_tile(tmp_path / "tiles" / name, tissue(len(name)))
    found = cohort_from_tiles(config(tmp_path / "tiles", tmp_path / "run"))
    assert found.slides == 4
    assert len({one.slide.lower() for one in read_cohort(tmp_path / "run")}) == 4
    with pytest.raises(InputError, match="slides 'X' and 'x' would be one file"):
        cohort_from_tiles(config(tmp_path / "tiles", tmp_path / "other", slide_regex=r"^(\w)"))


def test_a_run_folder_among_the_tiles_is_none_of_them(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=2)
    write_tile(folder / "run" / "images" / "x.png", tissue(3))
    assert cohort_from_tiles(config(folder, folder / "run")).per_class == {"A": 2, "B": 2}


def test_a_link_to_a_class_is_followed_and_a_loop_is_not(tmp_path: Path) -> None:
    write_tiles(tmp_path / "elsewhere", per_class=2)
    folder = tmp_path / "tiles"
    write_tile(folder / "C" / "c.png", tissue(9))
    (folder / "A").symlink_to(tmp_path / "elsewhere" / "A")
    (folder / "C" / "loop").symlink_to(folder)
    assert cohort_from_tiles(config(folder, tmp_path / "run")).per_class == {"A": 2, "C": 1}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.png"], "holds no tiles in folders of classes"),
        (["A/notes.txt"], "holds no tiles in folders of classes"),
        (["train/A/1.png", "val/A/1.png"], "are parts of a split, not classes"),
    ],
)
def test_a_folder_that_is_no_cohort(tmp_path: Path, names: list[str], words: str) -> None:
    for name in names:
        path = tmp_path / "tiles" / name
        write_tile(path, tissue(0))
        if path.suffix == ".txt":
            path.write_text("words")
    with pytest.raises(InputError, match=words):
        cohort_from_tiles(config(tmp_path / "tiles", tmp_path / "run"))
    with pytest.raises(InputError, match="is no folder"):
        cohort_from_tiles(config(tmp_path / "nix", tmp_path / "run"))


def test_only_unreadable_tiles_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "tiles" / "A").mkdir(parents=True)
    (tmp_path / "tiles" / "A" / "a.png").write_text("words")
    with pytest.raises(InputError, match=r"not one of 1 tiles can be read, e.g. A/a.png: not a slide"):
        cohort_from_tiles(config(tmp_path / "tiles", tmp_path / "run"))


def test_our_own_pictures_bring_their_ids_and_their_scale(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for row in range(3):
        write_tile(folder / "LMS" / f"LMS__s 1__r{row}_c4__x{row * 2048}_y0__0.5um.png", tissue(row))
    found = cohort_from_tiles(TilesConfig(folder=folder, out=tmp_path / "run"))
    assert (found.slides, found.without_slide, found.mpp) == (1, 0, 0.5)
    tiles = read_cohort_tiles(tmp_path / "run").sort("tile")
    assert tiles["place"].to_list() == ["r0_c4", "r1_c4", "r2_c4"]
    assert tiles["left_l0"].to_list() == [0, 2048, 4096]
    assert tiles["slide"].unique().to_list() == ["s 1"]
    with pytest.raises(InputError, match=r"--mpp says 0\.25 um/px, the tiles' names 0\.5"):
        cohort_from_tiles(TilesConfig(folder=folder, out=tmp_path / "run", mpp=Mpp(0.25)))
    write_tile(folder / "LMS" / "LMS__s 1__r9_c4__x0_y0__1um.png", tissue(9))
    with pytest.raises(InputError, match=r"the tiles' names say 0\.5, 1 um/px; give one scale at a time"):
        cohort_from_tiles(TilesConfig(folder=folder, out=tmp_path / "run"))


def test_tiles_too_coarse_for_nuclei_are_indexed_without(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    cohort_from_tiles(replace(config(folder, tmp_path / "run"), mpp=Mpp(4.0)))
    assert read_cohort_tiles(tmp_path / "run")["nuclei"].null_count() == 8


def test_no_scale_is_never_guessed(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    with pytest.raises(InputError, match="no scale: nothing in the tiles says it; give --mpp"):
        cohort_from_tiles(TilesConfig(folder=folder, out=tmp_path / "run"))
    with pytest.raises(InputError, match="give a scale between"):
        TilesConfig(folder=folder, out=tmp_path / "run", mpp=Mpp(99))


def test_again_replaces_the_same_cohort_and_no_other(tmp_path: Path) -> None:
    folder, run = write_tiles(tmp_path / "tiles"), tmp_path / "run"
    cohort_from_tiles(config(folder, run))
    (run / "split.csv").write_text("slide,part\n")
    first = read_cohort_tiles(run)
    cohort_from_tiles(config(folder, run))
    assert read_cohort_tiles(run).equals(first)
    assert (run / "split.csv").exists()
    write_tile(folder / "A" / "new.png", tissue(70))
    (run / "split.csv").write_text("slide,part\nedited,train\n")
    with pytest.raises(ArtifactError, match="is of other slides, patients"):
        cohort_from_tiles(config(folder, run, nuclei=False))
    assert "edited" in (run / "split.csv").read_text()
    assert read_cohort_tiles(run).equals(first)
    with pytest.raises(ArtifactError, match="is of other slides, patients"):  # the same tiles, other patients
        cohort_from_tiles(config(folder, run, patient_regex="^(s[AB]|new)"))
    cohort_from_tiles(config(folder, run, nuclei=False, force=True))
    assert not (run / "split.csv").exists()
    assert read_cohort_tiles(run)["nuclei"].null_count() == 9
    other = config(write_tiles(tmp_path / "others"), run)
    with pytest.raises(ArtifactError, match="holds a cohort that was not made from this folder"):
        cohort_from_tiles(other)
    cohort_from_tiles(replace(other, force=True))
    assert len(read_cohort_tiles(run)) == 8


def test_many_slides_are_written_in_shards(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    cohort_from_tiles(config(folder, tmp_path / "run", slide_regex="^s(..)", most_files=1, rows_a_file=3))
    assert len(list((tmp_path / "run" / "tiles").iterdir())) == 3
    tiles = read_cohort_tiles(tmp_path / "run")
    assert tiles["tile"].to_list() == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_real_tiles_without_ids(real_tiles: Path, tmp_path: Path) -> None:
    found = cohort_from_tiles(config(real_tiles / "crc_val_he_7k_70", tmp_path / "run"))
    assert (found.tiles, found.slides, found.sizes, found.failed) == (70, 70, {"224x224": 70}, {})
    tiles = read_cohort_tiles(tmp_path / "run")
    by_class = {label: float(np.median(rows["nuclei"])) for (label,), rows in tiles.group_by("label")}
    assert by_class["LYM"] > by_class["ADI"]  # lymphocytes against fat


def test_real_tiles_with_ids_in_their_names(real_tiles: Path, tmp_path: Path) -> None:
    found = cohort_from_tiles(
        TilesConfig(
            folder=real_tiles / "kather2016_24",
            out=tmp_path / "run",
            mpp=Mpp(0.495),
            slide_regex=r"(CRC-Prim-HE-\d+)",
        )
    )
    assert (found.tiles, found.slides, found.mixed_slides, found.strays) == (24, 10, 8, ("REPO_LICENSE",))
    assert read_cohort_tiles(tmp_path / "run").filter(pl.col("label") == "08_EMPTY")["slide"].unique().to_list() == [
        "CRC-Prim-HE-06"
    ]
