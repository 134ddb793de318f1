"""Maps of a run's tiles and of one slide, from real files, with a graph whose arithmetic is known."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, BundleError, InputError, ScaleError
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.diagnosis.calibration import Calibration
from sarcoscope.diagnosis.fusion import softmax
from sarcoscope.formats.bundle import Bundle, Fusion, write_bundle
from sarcoscope.formats.cam import CamRecord, CamTile, read_cam, read_maps
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.split import write_split
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.explain import ExplainAsk, ExplainSlideAsk, explain, explain_slide
from sarcoscope.stages.tile import TileConfig, tile
from tests.bundles import CODES, color_bundle, nearest_color_head, reseal
from tests.cohorts_made import write_tile
from tests.slides_made import draw, write_drawn
from tests.stages.tile_cohorts import CUT, write_manifest

SLIDES = {"d1": ("DDLPS", ["DDUD.", "DUDD.", "....."]), "l1": ("LMS", ["LLLLL", "LL...", "....."])}
"""A cell is a tile of 64 px at 0.5 um/px, 128 px of level 0; two of the DDLPS slide look like UPS."""
UPS_TILES = {"r0_c2_0.5um", "r1_c1_0.5um"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both slides cut into tiles, d1 and l1 of part test, v1 of part validation."""
    folder = tmp_path_factory.mktemp("explain")
    drawn = SLIDES | {"v1": ("UPS", ["UUUU.", "UUU..", "....."])}
    for seed, (name, (_, cells)) in enumerate(drawn.items()):
        write_drawn(folder / "slides" / f"{name}.svs", cells, seed=seed)
    rows = [{"slide": name, "path": f"slides/{name}.svs", "label": label} for name, (label, _) in drawn.items()]
    rows[0]["components"] = "WDLPS"
    manifest = write_manifest(folder, rows)
    tile(manifest, TileConfig(out=folder / "run", cut=CUT, workers=1))
    parts = {"d1": Part.TEST, "l1": Part.TEST, "v1": Part.VALIDATION}
    config = {"config": {"ratios": [0.5, 0.25, 0.25], "seed": 0, "pooled": []}}
    write_split(folder / "run", read_cohort(folder / "run"), {"part": parts}, config)
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two members, the second of which reads 1 um/px around a tile's centre; at a temperature."""
    made = color_bundle(tmp_path_factory.mktemp("bundle") / "b", members=2)
    first, second = made.manifest.members
    members = (first, second.model_copy(update={"mpp": 1.0}))
    changed = {
        "members": members,
        "fusion": Fusion(mode="concentric", rule="weighted", weights=(0.75, 0.25)),
        "calibration": Calibration(temperature=2.0),
    }
    return write_bundle(made.folder, made.manifest.model_copy(update=changed))


@pytest.fixture(scope="module")
def explained(run: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cam")
    summary = explain(ExplainAsk(run=run, bundle=bundle.folder, out=out, per_class=3))
    assert summary.exit_code == 0
    assert summary.record == read_cam(out / "cam.json")
    return out


def on_sheet(record: CamRecord, code: str, kind: str) -> list[CamTile]:
    found = [sheet for sheet in record.sheets if (sheet.code, sheet.kind) == (code, kind)]
    return [record.tiles[place] for sheet in found for place in sheet.tiles]


def test_right_wrong_and_uncertain_tiles_are_those_that_were_drawn(explained: Path) -> None:
    record = read_cam(explained / "cam.json")
    wrong = on_sheet(record, "DDLPS", "wrong")
    assert {(one.slide, one.tile, one.label, one.told) for one in wrong} == {
        ("d1", name, "DDLPS", "UPS") for name in UPS_TILES
    }
    assert [one.probabilities["UPS"] for one in wrong] == sorted(one.probabilities["UPS"] for one in wrong)[::-1]
    right = on_sheet(record, "DDLPS", "right")
    assert len(right) == 3
    assert {(one.slide, one.told) for one in right} == {("d1", "DDLPS")}
    assert not {one.tile for one in right} & UPS_TILES
    assert {one.slide for one in on_sheet(record, "LMS", "right") + on_sheet(record, "LMS", "uncertain")} == {"l1"}
    assert "no tile of LMS is told wrong" in record.missing
    assert [words for words in record.missing if "WDLPS" in words] == ["there is no tile of WDLPS"]
    assert {tuple(one.components) for one in wrong} == {("WDLPS",)}
    assert {tuple(one.components) for one in on_sheet(record, "LMS", "right")} == {()}
    assert record.part == "test"
    assert len({(one.slide, one.tile) for one in record.tiles}) == len(record.tiles)


def by_hand(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(C, 2, 2) of 64 px: mean colour of each quarter under the weights of the colour bundle's head."""
    quarters = pixels.astype(np.float64).reshape(2, 32, 2, 32, 3).mean(axis=(1, 3))
    return np.asarray(np.einsum("cf,hwf->chw", nearest_color_head()[0], quarters))


def test_maps_and_probabilities_are_the_arithmetic_by_hand(explained: Path, run: Path) -> None:
    record, maps = read_cam(explained / "cam.json"), read_maps(explained)
    one = next(one for one in record.tiles if one.tile == "r1_c1_0.5um" and one.slide == "d1")
    boxes = {0.5: Box(128, 128, 128, 128), 1.0: Box(64, 64, 256, 256)}  # around the same centre
    with open_slide(run.parent / "slides" / "d1.svs") as source:
        expected = {mpp: by_hand(source.read(box, Size(64, 64))) for mpp, box in boxes.items()}
    assert [(view.mpp, view.members) for view in one.views] == [(0.5, ["m0"]), (1.0, ["m1"])]
    bias = nearest_color_head()[1]
    for view in one.views:
        assert view.mpp is not None
        np.testing.assert_allclose(maps[view.array], expected[view.mpp], atol=1e-2)
        for at, code in enumerate(CODES):
            said = view.classes[code]
            assert said.logit == pytest.approx(expected[view.mpp][at].mean() + bias[at], abs=1e-2)
            assert said.mean == pytest.approx(said.logit - bias[at], abs=1e-2)
            assert said.largest == pytest.approx(expected[view.mpp][at].max(), abs=1e-2)
    members = [softmax(expected[mpp].mean(axis=(1, 2)) + bias) for mpp in (0.5, 1.0)]
    warm = np.sqrt(0.75 * members[0] + 0.25 * members[1])  # temperature 2
    np.testing.assert_allclose(list(one.probabilities.values()), warm / warm.sum(), atol=1e-3)


def test_every_sheet_is_a_picture_and_says_that_it_is_synthetic(explained: Path) -> None:
    record = read_cam(explained / "cam.json")
    assert {sheet.file for sheet in record.sheets} == {path.name for path in explained.glob("*.png")}
    for sheet in record.sheets:
        with Image.open(explained / sheet.file) as picture:
            assert picture.size[0] > 600
    assert record.synthetic
    assert record.notice.startswith("Trained on synthetic phantom slides")
    assert json.loads((explained / "cam.json").read_text())["research_use_only"] is True


def test_one_member_alone_and_what_an_earlier_run_left_goes(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "WDLPS-wrong.png").write_bytes(b"of an earlier run")
    for name in ("mine.png", "foot-right.png"):
        (tmp_path / name).write_bytes(b"somebody's")
    ask = ExplainAsk(run=run, bundle=bundle.folder, out=tmp_path, member="m1", per_class=1)
    record = explain(ask).record
    assert not (tmp_path / "WDLPS-wrong.png").exists()
    assert (tmp_path / "mine.png").exists()
    assert (tmp_path / "foot-right.png").exists()
    assert record.members == ["m1"]
    assert record.combined == "maps of m1"
    assert {view.mpp for one in record.tiles for view in one.views} == {1.0}
    assert {len(sheet.tiles) for sheet in record.sheets} == {1}
    with pytest.raises(InputError, match="no member 'm7'"):
        explain(ExplainAsk(run=run, bundle=bundle.folder, out=tmp_path, member="m7"))
    with pytest.raises(InputError, match="per_class=0; give at least 1"):
        ExplainAsk(run=run, bundle=bundle.folder, out=tmp_path, per_class=0)


def test_members_that_read_the_same_tile_are_shown_as_their_mean(run: Path, tmp_path: Path) -> None:
    shared = color_bundle(tmp_path / "b", members=3)
    record = explain(ExplainAsk(run=run, bundle=shared.folder, out=tmp_path / "cam", per_class=1)).record
    assert {tuple(view.members) for one in record.tiles for view in one.views} == {("m0", "m1", "m2")}
    assert record.combined == "mean maps of 3 members"
    alone = explain(ExplainAsk(run=run, bundle=shared.folder, out=tmp_path / "one", member="m0", per_class=1)).record
    together, single = read_maps(tmp_path / "cam"), read_maps(tmp_path / "one")
    assert [one.views[0].array for one in record.tiles] == [one.views[0].array for one in alone.tiles]
    for name, maps in together.items():
        np.testing.assert_allclose(maps, single[name], rtol=1e-5)  # equal members


def test_validation_where_test_has_no_tile_of_the_fold(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    ask = ExplainAsk(run=run, bundle=bundle.folder, out=tmp_path, part=Part.VALIDATION)
    assert {one.slide for one in explain(ask).record.tiles} == {"v1"}
    with pytest.raises(InputError, match=r"no tile of part train at 0\.5 um/px with a class of colour"):
        explain(ExplainAsk(run=run, bundle=bundle.folder, out=tmp_path, part=Part.TRAIN))
    elsewhere = tmp_path / "run"
    shutil.copytree(run, elsewhere)
    parts = {"d1": Part.TRAIN, "l1": Part.TRAIN, "v1": Part.VALIDATION}
    config = {"config": {"ratios": [0.5, 0.25, 0.25], "seed": 0, "pooled": []}}
    write_split(elsewhere, read_cohort(elsewhere), {"part": parts}, config)
    record = explain(ExplainAsk(run=elsewhere, bundle=bundle.folder, out=tmp_path / "cam")).record
    assert record.part == "validation"
    assert {one.slide for one in record.tiles} == {"v1"}


def test_a_slide_that_is_gone_is_named_and_the_others_are_shown(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent / "slides", tmp_path / "slides")
    rows = [{"slide": name, "path": f"slides/{name}.svs", "label": label} for name, (label, _) in SLIDES.items()]
    tile(write_manifest(tmp_path, rows), TileConfig(out=tmp_path / "run", cut=CUT, workers=1))
    config = {"config": {"ratios": [0.5, 0.25, 0.25], "seed": 0, "pooled": []}}
    parts = {"d1": Part.TEST, "l1": Part.TEST}
    write_split(tmp_path / "run", read_cohort(tmp_path / "run"), {"part": parts}, config)
    ask = ExplainAsk(run=tmp_path / "run", bundle=color_bundle(tmp_path / "b").folder, out=tmp_path / "cam")
    assert explain(ask).exit_code == 0
    (tmp_path / "slides" / "l1.svs").unlink()
    summary = explain(ask)  # its predictions are stored, its pixels are gone
    assert summary.exit_code == 1
    assert list(summary.record.failures) == ["l1"]
    assert {one.slide for one in summary.record.tiles} == {"d1"}


def test_a_head_of_another_graph_is_refused(run: Path, tmp_path: Path) -> None:
    made = color_bundle(tmp_path / "b")
    path = made.folder / made.manifest.members[0].head.path
    weight, bias = nearest_color_head()
    np.savez(path, weight=weight[::-1], bias=bias[::-1])
    other = reseal(made.folder)
    with pytest.raises(BundleError, match="is not the linear layer of its graph"):
        explain(ExplainAsk(run=run, bundle=other.folder, out=tmp_path / "cam"))
    np.savez(path, weight=np.ones((5, 7), np.float32), bias=bias)
    with pytest.raises(BundleError, match="does not fit its graph"):
        explain(ExplainAsk(run=run, bundle=reseal(made.folder).folder, out=tmp_path / "cam"))


def test_a_slide_whose_class_nobody_says(bundle: Bundle, tmp_path: Path) -> None:
    slide = write_drawn(tmp_path / "mixed.svs", ["DDDU.", "DDUU.", "WW..."])
    record = explain_slide(ExplainSlideAsk(slide=slide, bundle=bundle.folder, out=tmp_path / "cam", per_class=2)).record
    assert [(sheet.file, len(sheet.tiles)) for sheet in record.sheets] == [
        ("DDLPS-told.png", 2),
        ("UPS-told.png", 2),
        ("WDLPS-told.png", 2),
    ]
    assert record.missing == ["no tile is told as LMS", "no tile is told as MPNST"]
    assert {(one.slide, one.label) for one in record.tiles} == {("mixed", None)}
    assert {one.tile for one in on_sheet(record, "WDLPS", "told")} == {"r2_c0_0.5um", "r2_c1_0.5um"}
    assert {view.mpp for one in record.tiles for view in one.views} == {0.5, 1.0}


def test_a_slide_that_is_too_coarse_or_without_tissue_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    coarse = write_drawn(tmp_path / "coarse.svs", ["DDD", "DDD"], mpp=0.8, power=None)
    with pytest.raises(ScaleError, match="coarser than"):
        explain_slide(ExplainSlideAsk(slide=coarse, bundle=bundle.folder, out=tmp_path / "cam"))
    sure = ExplainSlideAsk(
        slide=coarse, bundle=bundle.folder, out=tmp_path / "cam", mpp=Mpp(0.25), mpp_override=True, per_class=1
    )
    assert explain_slide(sure).record.tiles
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_cam(tmp_path / "nothing" / "cam.json")


def test_ready_made_tiles_of_pooled_slides_are_read_from_their_files_and_marked(tmp_path: Path) -> None:
    for label in ("DDLPS", "LMS"):
        for number in range(12):
            rgb = draw([label[0]], cell=80, seed=number)  # larger than the bundle's tile: its middle counts
            write_tile(tmp_path / "tiles" / label / f"s{label}{number}_0.png", rgb)
    cohort_from_tiles(TilesConfig(folder=tmp_path / "tiles", out=tmp_path / "run", mpp=Mpp(0.5), nuclei=False))
    slides = read_cohort(tmp_path / "run")
    config = {"config": {"ratios": [0.5, 0.25, 0.25], "seed": 0, "pooled": ["DDLPS", "LMS"]}}
    write_split(tmp_path / "run", slides, {"part": {one.slide: Part.POOLED for one in slides}}, config)
    made = color_bundle(tmp_path / "b")
    ask = ExplainAsk(run=tmp_path / "run", bundle=made.folder, out=tmp_path / "cam")
    record, maps = explain(ask).record, read_maps(tmp_path / "cam")
    assert len(record.tiles) == 6  # a quarter of each class
    assert all(one.pooled and one.told == one.label for one in record.tiles)
    for one in record.tiles:
        rgb = read_tile_file(tmp_path / "tiles" / one.tile)
        np.testing.assert_allclose(maps[one.views[0].array], by_hand(rgb[8:72, 8:72]), atol=1e-2)
    wider = made.manifest.members[0].model_copy(update={"mpp": 1.0})
    around = {"members": (wider,), "fusion": Fusion(mode="concentric")}
    write_bundle(made.folder, made.manifest.model_copy(update=around))
    with pytest.raises(InputError, match="ready-made tiles have no surroundings"):
        explain(ask)


def test_the_command_and_its_exit_codes(run: Path, bundle: Bundle) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sarcoscope", "explain", *words], capture_output=True, text=True, check=False
        )

    told = command(str(bundle.folder), "--run", str(run), "--per-class", "1", "--json")
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout)
    assert said["exit_code"] == 0
    assert said["cam"] == str(run / "explain" / "colour" / "cam.json")
    assert (run / "explain" / "colour" / "DDLPS-wrong.png").is_file()
    refused = command("phantom", "--run", str(run), "--slide", "x.svs")
    assert refused.returncode == 2
    assert "give one of --run FOLDER and --slide FILE" in refused.stderr
    refused = command(str(bundle.folder), "--run", str(run), "--part", "test1", "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"].startswith("no tiles of part 'test1'")
    code = "import sys, sarcoscope.stages.explain; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
