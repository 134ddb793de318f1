"""What members say of a run's tiles and slides: what is kept, what is used again, and what is made anew."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typing_extensions import override

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.data.tile_pixels import open_tiles
from sarcoscope.diagnosis.fusion import softmax
from sarcoscope.formats.bundle import Bundle, BundleManifest, Fusion, read_bundle, write_bundle
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.inference.onnx import load_members
from sarcoscope.inference.predict import evenly
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.bundle_make import BundleAsk, make_bundle
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.predictions import PatchTable, Silent, patch_table, slide_tiles, train_features
from sarcoscope.stages.tile_sets import tile_table, usable
from sarcoscope.tiling.reading import box_around
from tests.bundles import CODES, TILE_RGB, color_bundle
from tests.cohorts_made import write_tile
from tests.evaluated import SLIDES, drawn_run, without_predictions
from tests.members_made import made_member
from tests.slides_made import write_drawn

LABELLED = (Part.VALIDATION, Part.TEST)


class Heard(Silent):
    """What a pass said: slides of which nothing was predicted, others, and tiles that were planned."""

    def __init__(self) -> None:
        self.reused: list[str] = []
        self.predicted: list[str] = []
        self.tiles = 0

    @override
    def tiles_planned(self, count: int) -> None:
        self.tiles += count

    @override
    def slide_finished(self, slide: str, *, reused: bool) -> None:
        (self.reused if reused else self.predicted).append(slide)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_run(tmp_path_factory.mktemp("predicted"))


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    return without_predictions(drawn, tmp_path)


@pytest.fixture
def bundle(run: Path, tmp_path: Path) -> Bundle:
    folders = tuple(run / "members" / name for name in ("sees-all", "no-ups"))
    return make_bundle(BundleAsk(members=folders, out=tmp_path / "bundle", minimum_tiles=6))


def concentric(bundle: Bundle, *scales: float | None) -> Bundle:
    """The bundle, its members reading further scales."""
    members = [one.model_copy(update={"mpp": mpp}) for one, mpp in zip(bundle.manifest.members, scales, strict=True)]
    changes = {"members": tuple(members), "fusion": Fusion(mode="concentric"), "name": "concentric"}
    manifest = bundle.manifest.model_copy(update=changes)
    return write_bundle(bundle.folder, BundleManifest.model_validate(manifest.model_dump()))


def plainly(run: Path, bundle: Bundle, rows: pl.DataFrame) -> np.ndarray:
    """(M, N, C) of rows of the index, one tile at a time: the slow twin."""
    found = []
    for row in rows.iter_rows(named=True):
        with open_tiles(run / "tiles" / f"{row['slide']}.parquet") as read:
            found.append([softmax(one.logits(read(row)[None]))[0] for one in load_members(bundle, 1)])
    return np.array(found).transpose(1, 0, 2)


def test_tiles_of_a_part_come_with_what_each_member_says_of_them(run: Path, bundle: Bundle) -> None:
    table = patch_table(run, bundle, LABELLED)
    wanted = usable(tile_table(run)).filter(pl.col("part").is_in(["validation", "test"])).sort("slide", "tile")
    keys = ["slide", "tile", "label", "part", "left_l0", "top_l0", "width_l0", "height_l0"]
    assert table.tiles.select(keys).equals(wanted.select(keys))
    assert table.tiles["patient"].to_list() == [f"p-{slide}" for slide in wanted["slide"]]
    assert not table.failures
    assert np.allclose(table.probabilities, plainly(run, bundle, table.tiles), atol=1e-6)


def test_a_second_pass_and_another_bundle_of_the_same_members_predict_nothing(run: Path, bundle: Bundle) -> None:
    first, heard = patch_table(run, bundle, [Part.TEST]), Heard()
    again = patch_table(run, bundle, [Part.TEST], listener=heard)
    assert np.array_equal(first.probabilities, again.probabilities)
    assert (sorted(heard.reused), heard.predicted, heard.tiles) == (["x-d", "x-u", "x-w"], [], 0)
    heard = Heard()
    one = make_bundle(BundleAsk(members=(run / "members" / "no-ups",), out=run / "one"))
    alone = patch_table(run, one, [Part.TEST], listener=heard)
    assert np.array_equal(alone.probabilities[0], first.probabilities[1])
    assert heard.tiles == 0


def test_only_tiles_that_are_not_there_are_predicted(run: Path, bundle: Bundle) -> None:
    heard = Heard()
    patch_table(run, bundle, [Part.TEST])
    table = patch_table(run, bundle, LABELLED, listener=heard)
    assert sorted(heard.reused) == ["x-d", "x-u", "x-w"]
    assert heard.tiles == table.tiles.filter(pl.col("part") == "validation").height == 48


@pytest.mark.parametrize("harm", ["cut", "emptied", "of another kind"])
def test_a_damaged_file_of_the_store_is_made_anew(harm: str, run: Path, bundle: Bundle) -> None:
    first = patch_table(run, bundle, [Part.TEST])
    files = sorted((run / "predictions" / "tiles").rglob("x-d.parquet"))
    assert len(files) == 2
    for file in files:
        content = file.read_bytes()
        file.write_bytes({"cut": content[:-40], "emptied": b""}.get(harm, (run / "tiles/x-d.parquet").read_bytes()))
    heard = Heard()
    again = patch_table(run, bundle, [Part.TEST], listener=heard)
    assert heard.predicted == ["x-d"]
    assert np.array_equal(first.probabilities, again.probabilities)


def test_a_slide_that_was_touched_is_predicted_anew(run: Path, bundle: Bundle) -> None:
    slide_tiles(run, bundle, [Part.TEST])
    path = run / "elsewhere.svs"
    cohort = (run / "cohort.csv").read_text()
    (line,) = [one for one in cohort.splitlines() if one.startswith("x-d,")]
    source = Path(line.split(",")[2])
    path.write_bytes(source.read_bytes())
    os.utime(path, ns=(1, 1))
    (run / "cohort.csv").write_text(cohort.replace(str(source), str(path)))
    heard = Heard()
    slide_tiles(run, bundle, [Part.TEST], listener=heard)
    assert heard.predicted == ["x-d"]


def test_whole_slides_have_every_kept_tile_of_the_bundles_own_grid(run: Path, bundle: Bundle) -> None:
    found, failures = slide_tiles(run, bundle, [Part.TEST1, Part.TEST2], features_of="no-ups")
    assert list(found) == ["a-d", "a-dw", "a-u", "a-m", "b-few", "b-l"]  # a-open has no label
    assert list(failures) == ["b-lost"]
    assert str(run.parent) not in failures["b-lost"]
    for name, one in found.items():
        drawn = "".join(SLIDES[name].cells)
        assert [CODES[at][0] for at in one.probabilities[0].argmax(axis=1)] == [cell for cell in drawn if cell != "."]
        assert one.features is not None
        assert np.abs(one.features - [TILE_RGB[at] for at in one.probabilities[0].argmax(axis=1)]).max() < 6
    again, _ = slide_tiles(run, bundle, [Part.TEST1, Part.TEST2], features_of="no-ups")
    for name, one in found.items():
        assert again[name].tiles == one.tiles
        assert np.array_equal(again[name].probabilities, one.probabilities)
        stored = again[name].features
        assert stored is not None
        assert one.features is not None
        assert np.array_equal(stored, one.features)
    assert slide_tiles(run, bundle, [Part.TEST1])[0]["a-d"].features is None


def test_a_concentric_member_is_shown_the_box_around_each_tile(run: Path, bundle: Bundle) -> None:
    table = patch_table(run, concentric(bundle, None, 1.0), [Part.TEST])
    shared = patch_table(run, read_bundle(bundle.folder), [Part.TEST])
    assert np.array_equal(table.probabilities[0], shared.probabilities[0])
    row = table.tiles.row(5, named=True)
    _, coarse = load_members(bundle, 1)
    with open_slide(_path(run, row["slide"])) as source:
        box = box_around(Box(row["left_l0"], row["top_l0"], row["width_l0"], row["height_l0"]), 256)
        seen = source.read(box, Size(64, 64))
    assert np.allclose(table.probabilities[1, 5], softmax(coarse.logits(seen[None]))[0], atol=1e-6)


def _path(run: Path, slide: str) -> Path:
    (line,) = [one for one in (run / "cohort.csv").read_text().splitlines() if one.startswith(f"{slide},")]
    return Path(line.split(",")[2])


def test_a_slide_too_coarse_for_what_a_member_is_shown_is_named(run: Path, bundle: Bundle) -> None:
    fine = concentric(bundle, None, 0.1)
    found, failures = slide_tiles(run, fine, [Part.TEST])
    assert not found
    assert all("coarser than the 0.1 um/px" in problem for problem in failures.values())
    table = patch_table(run, fine, [Part.TEST])
    assert table.tiles.is_empty()
    assert table.probabilities.shape == (2, 0, 5)
    assert set(table.failures) == {"x-d", "x-u", "x-w"}


def with_left(run: Path, name: str) -> tuple[PatchTable, np.ndarray]:
    """A member whose training left other values than its graph gives, and the test tiles it left them of."""
    rows = usable(tile_table(run)).filter(pl.col("slide") == "x-d").sort("slide", "tile").head(3)
    values = np.random.default_rng(1).dirichlet(np.ones(5), len(rows))
    folder = made_member(run, name, tiles=rows, probabilities=values)
    bundle = make_bundle(BundleAsk(members=(folder,), out=run / f"bundle-{name}"))
    return patch_table(run, bundle, [Part.TEST]), values


def test_what_training_left_of_tiles_is_used_and_the_rest_predicted(run: Path) -> None:
    table, left = with_left(run, "left")
    assert table.tiles["slide"][:3].to_list() == ["x-d"] * 3
    assert np.array_equal(table.probabilities[0, :3], left)
    told = [CODES[at][0] for at in table.probabilities[0, 3:].argmax(axis=1)]
    assert told == list("".join("".join(SLIDES[name].cells) for name in ("x-d", "x-u", "x-w")))[3:]


def test_what_training_left_is_not_used_where_tiles_were_cut_anew_since(run: Path) -> None:
    later = (run / SPLIT_FILE).stat().st_mtime_ns + 10**12
    os.utime(run / "tiles" / "x-d.parquet", ns=(later, later))
    table, left = with_left(run, "left")
    assert not np.allclose(table.probabilities[0, :3], left)


def test_features_are_of_training_tiles_alone_and_the_choice_is_seeded(run: Path, bundle: Bundle) -> None:
    every = train_features(run, bundle, "sees-all")
    assert every.shape == (24, 3)
    near = [int(np.abs(np.array(TILE_RGB) - row).sum(axis=1).argmin()) for row in every]
    assert sorted(near) == [0] * 8 + [3] * 8 + [4] * 8
    some = train_features(run, bundle, "sees-all", most=7, seed=3)
    assert some.shape == (7, 3)
    assert np.array_equal(some, train_features(run, bundle, "sees-all", most=7, seed=3))
    assert not np.array_equal(some, train_features(run, bundle, "sees-all", most=7, seed=4))
    with pytest.raises(InputError, match="no member 'nobody'"):
        train_features(run, bundle, "nobody")
    other = replace(bundle.manifest.tiling, mpp=Mpp(4.0))
    coarse = Bundle(bundle.folder, bundle.manifest.model_copy(update={"tiling": other}), bundle.sha256)
    with pytest.raises(InputError, match="no training tile at 4 um/px"):
        train_features(run, coarse, "sees-all")


@pytest.fixture
def ready_made(tmp_path: Path) -> Path:
    """Tiles of 64 px in folders of their classes, two slides a class, three tiles a slide; one file is no picture."""
    rng = np.random.default_rng(0)
    for code in ("DDLPS", "UPS"):
        for slide in ("1", "2"):
            for number in range(3):
                rgb = np.clip(np.array(TILE_RGB[CODES.index(code)]) + rng.normal(0, 14, (64, 64, 1)), 0, 255)
                write_tile(tmp_path / "tiles" / code / f"{code}{slide}_{number}.png", rgb.astype(np.uint8))
    run = tmp_path / "run"
    cohort_from_tiles(TilesConfig(folder=tmp_path / "tiles", out=run, mpp=Mpp(0.5), slide_regex=r"(\w+)_\d"))
    (run / SPLIT_FILE).write_text("slide,part\nDDLPS1,test\nUPS1,test\nDDLPS2,test1\nUPS2,test1\n")
    return run


def test_ready_made_tiles_stand_for_their_slides(ready_made: Path, tmp_path: Path) -> None:
    bundle = color_bundle(tmp_path / "b", members=2)
    table = patch_table(ready_made, bundle, [Part.TEST])
    assert [CODES[at] for at in table.probabilities[0].argmax(axis=1)] == table.tiles["label"].to_list()
    found, failures = slide_tiles(ready_made, bundle, [Part.TEST1], features_of="m1")
    assert not failures
    assert {name: one.probabilities.shape for name, one in found.items()} == {"DDLPS2": (2, 3, 5), "UPS2": (2, 3, 5)}
    for name, one in found.items():
        assert [CODES[at] for at in one.probabilities[1].argmax(axis=1)] == [name[:-1]] * 3
        assert one.features is not None
        assert one.features.shape == (3, 3)
    heard = Heard()
    slide_tiles(ready_made, bundle, [Part.TEST1], features_of="m1", listener=heard)
    assert (heard.predicted, heard.tiles) == ([], 0)


def test_a_ready_made_tile_that_cannot_be_read_takes_its_own_slide_out(ready_made: Path, tmp_path: Path) -> None:
    bundle = color_bundle(tmp_path / "b")
    for name in ("DDLPS1", "DDLPS2"):
        (tmp_path / "tiles" / "DDLPS" / f"{name}_1.png").write_bytes(b"no picture any more")
    table = patch_table(ready_made, bundle, [Part.TEST])
    assert set(table.failures) == {"DDLPS1"}
    assert "DDLPS1_1.png" in table.failures["DDLPS1"]
    assert set(table.tiles["slide"]) == {"UPS1"}
    found, failures = slide_tiles(ready_made, bundle, [Part.TEST1])
    assert (list(found), list(failures)) == (["UPS2"], ["DDLPS2"])


def test_ready_made_tiles_have_no_surroundings(ready_made: Path, tmp_path: Path) -> None:
    bundle = concentric(color_bundle(tmp_path / "b", members=2), None, 1.0)
    with pytest.raises(InputError, match="ready-made tiles have no surroundings"):
        patch_table(ready_made, bundle, [Part.TEST])


def test_features_of_a_large_slide_are_of_evenly_spread_tiles(tmp_path: Path) -> None:
    path = write_drawn(tmp_path / "s.svs", ["DUDUDUDUDUDU"] * 9)
    (tmp_path / "cohort.csv").write_text(f"slide,path,label\ns,{path},DDLPS\n")
    (tmp_path / "split.csv").write_text("slide,part\ns,test1\n")
    found, _ = slide_tiles(tmp_path, color_bundle(tmp_path / "b"), [Part.TEST1], features_of="m0")
    one = found["s"]
    assert len(one.tiles) == 108
    assert one.features is not None
    near = [int(np.abs(np.array(TILE_RGB) - row).sum(axis=1).argmin()) for row in one.features]
    assert near == one.probabilities[0].argmax(axis=1)[evenly(108)].tolist()
    assert len(near) == 64
