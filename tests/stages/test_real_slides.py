"""Real slides through the shipped phantom bundle. What it calls them means nothing; that they come through does."""

import json
from pathlib import Path

import numpy as np
import pytest

from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.bundle import find_bundle
from sarcoscope.formats.tiles import read_tiles
from sarcoscope.stages.diagnose import DiagnoseConfig, RunSummary, diagnose
from sarcoscope.stages.jobs import SlideJob, jobs_from_paths

SVS, TWIN = "CMU-1-Small-Region.svs", "dicom_CMU-1-Small-Region"


def run(folder: Path, names: list[str], out: Path, mpp: float | None = None) -> RunSummary:
    jobs = jobs_from_paths([folder / name for name in names], None if mpp is None else Mpp(mpp))
    return diagnose(jobs, find_bundle("phantom"), DiagnoseConfig(out=out))


def test_a_slide_and_its_dicom_twin_give_the_same_plan_and_nearly_the_same_probabilities(
    shared_slides: Path, tmp_path: Path
) -> None:
    jobs = [SlideJob(slide=name, path=shared_slides / path) for name, path in (("svs", SVS), ("dicom", TWIN))]
    summary = diagnose(jobs, find_bundle("phantom"), DiagnoseConfig(out=tmp_path, minimum_tiles=5))
    assert not summary.failures
    one, twin = summary.records
    assert one.tiles == twin.tiles
    assert one.tiles.planned == 20
    assert one.tiles.kept == 8
    assert one.label is not None
    assert (one.mpp, one.mpp_source) == (0.499, "file: aperio.MPP")
    assert (twin.mpp, twin.mpp_source) == (0.499, "file: DICOM PixelSpacing")
    (tiles, p, _), (twin_tiles, q, _) = (read_tiles(tmp_path / name / "tiles.parquet") for name in ("svs", "dicom"))
    assert [(tile.box, tile.dropped) for tile in tiles] == [(tile.box, tile.dropped) for tile in twin_tiles]
    assert np.abs(p - q).max() < 0.05, np.abs(p - q).max()
    assert one.provenance["slide_file"]["sha256"] != twin.provenance["slide_file"]["sha256"]


def test_eight_tiles_are_too_few_for_a_diagnosis(shared_slides: Path, tmp_path: Path) -> None:
    (record,) = run(shared_slides, [SVS], tmp_path).records
    assert record.undetermined == "8 tiles kept, at least 20 needed"
    features = json.loads((tmp_path / "CMU-1-Small-Region" / "tiles.geojson").read_text())["features"]
    assert len(features) == 8


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("test3-DAPI-2-387.ndpi", "dark background, as in fluorescence"),
        ("camelyon16_jpeg2000_tiled_full.dcm", "28.97 um/px"),
        ("openslide-python_small.svs", "16x16 px is smaller than one tile (513 px of level 0)"),
        ("openslide-python_boxes.tiff", "352.8 um/px"),
        ("histolab_broken.svs", "histolab_broken.svs: "),
        ("pathml_small_dicom_TCGA-XK-AAJU.dcm", "pathml_small_dicom_TCGA-XK-AAJU.dcm: "),
        ("pathml_small_vectra.qptiff", "pathml_small_vectra.qptiff: "),
        ("cytomine_HE_flat_862x896.tiff", "no scale"),
        ("README.md", "looks like text"),
    ],
)
def test_what_cannot_be_diagnosed_gets_its_named_refusal(
    shared_slides: Path, tmp_path: Path, name: str, told: str
) -> None:
    summary = run(shared_slides, [name], tmp_path)
    assert summary.exit_code == 2
    (error,) = summary.failures.values()
    assert isinstance(error, SlideError)
    assert told in str(error)
    assert str(shared_slides / name) in str(error)
    assert "\n" not in str(error)
    assert error.advice or "; " in str(error)


def test_a_scale_that_overrides_still_does_not_let_a_coarse_slide_be_upsampled(
    shared_slides: Path, tmp_path: Path
) -> None:
    job = SlideJob(
        slide="c", path=shared_slides / "camelyon16_jpeg2000_tiled_full.dcm", mpp=Mpp(28.97), mpp_override=True
    )
    summary = diagnose([job], find_bundle("phantom"), DiagnoseConfig(out=tmp_path))
    assert "coarser than the 0.5 um/px asked for" in str(summary.failures["c"])


def test_a_flat_image_comes_through_with_a_scale_from_the_user(shared_slides: Path, tmp_path: Path) -> None:
    (record,) = run(shared_slides, ["cytomine_HE_flat_862x896.tiff"], tmp_path, mpp=0.5).records
    assert (record.mpp, record.mpp_source) == (0.5, "given: --mpp")
    assert record.tiles.planned == 1  # the scale is invented for this test: the file has none
