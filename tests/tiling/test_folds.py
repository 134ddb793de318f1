"""Folds on drawn overviews, on phantoms that know where theirs are, and on real tissue."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import TissueError
from sarcoscope.core.geometry import Mask, Rgb, Size
from sarcoscope.core.tile import DropReason
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.phantom.maps import MAP_L0
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import PhantomSlide
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.plan import plan_tiles
from sarcoscope.tiling.tissue import TissueMap, find_tissue, map_tissue

GLASS = np.array([243.0, 242.0, 244.0])
HEMATOXYLIN, EOSIN = np.array([0.61, 0.71, 0.34]), np.array([0.13, 0.85, 0.50])
SIDE = 400


def drawn(hematoxylin: float | np.ndarray, eosin: float | np.ndarray, seed: int = 0) -> Rgb:
    """An overview of 400 x 400 px: a square of tissue with these amounts of stain, 10 % noise on both, glass around."""
    rng = np.random.default_rng(seed)
    inside = np.zeros((SIDE, SIDE))
    inside[40:-40, 40:-40] = 1
    amounts = [
        np.full((SIDE, SIDE), amount) * inside * rng.normal(1, 0.1, (SIDE, SIDE)) for amount in (hematoxylin, eosin)
    ]
    density = amounts[0][..., None] * HEMATOXYLIN + amounts[1][..., None] * EOSIN
    light = GLASS * 10**-density + rng.normal(0, 1, (SIDE, SIDE, 3))
    return np.asarray(np.clip(light, 0, 255), np.uint8)


def band(degrees: float, wide: int = 20, long: int = 240) -> Mask:
    """A strip through the middle of the overview, px."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    corners = cv2.boxPoints(((SIDE / 2, SIDE / 2), (float(long), float(wide)), degrees))
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], (1,))
    return mask > 0


def folds(rgb: Rgb, um_per_px: float = 4.0) -> TissueMap:
    return map_tissue(rgb, um_per_px, Size(rgb.shape[1] * 8, rgb.shape[0] * 8), Path("a.svs"))


@pytest.mark.parametrize("degrees", [0, 30, 77, 90, 145])
@pytest.mark.parametrize("um_per_px", [2.0, 4.0, 10.0])
def test_a_strip_that_lies_double_is_a_fold(degrees: float, um_per_px: float) -> None:
    wide = max(8, round(80 / um_per_px))
    where = band(degrees, wide, 12 * wide if wide < 20 else 240)
    layers = 1.0 + where
    found = folds(drawn(0.15 * layers, 0.25 * layers), um_per_px).fold
    assert found[where].mean() > 0.8
    assert found[~cv2.dilate(where.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)].mean() < 0.001


def test_a_strip_of_cells_is_as_dense_but_no_fold() -> None:
    where = band(20)
    assert not folds(drawn(np.where(where, 0.65, 0.15), 0.25)).fold.any()


def test_a_strip_of_blood_is_as_dense_but_no_fold() -> None:
    where = band(20)
    assert not folds(drawn(np.where(where, 0.05, 0.15), np.where(where, 0.85, 0.25))).fold.any()


def test_a_round_dense_nodule_is_no_fold() -> None:
    rows, columns = np.ogrid[:SIDE, :SIDE]
    layers = 1.0 + ((rows - 200) ** 2 + (columns - 180) ** 2 < 50**2)
    assert not folds(drawn(0.15 * layers, 0.25 * layers)).fold.any()


def test_a_strip_of_grey_dust_is_no_fold() -> None:
    rgb = drawn(0.15, 0.25)
    rgb[band(20)] //= 3
    dusty = drawn(0.15, 0.25)
    dusty[band(20)] = rgb[band(20)].mean(axis=1, keepdims=True).astype(np.uint8)
    assert not folds(dusty).fold.any()


@pytest.mark.parametrize("layers", [0.5, 1.0, 2.0, 3.0])
def test_an_even_slide_has_no_fold_however_dark(layers: float) -> None:
    found = folds(drawn(0.15 * layers, 0.25 * layers))
    assert found.tissue.mean() > 0.6
    assert not found.fold.any()


def test_dense_tumour_beside_pale_stroma_is_no_fold() -> None:
    half = np.ones((SIDE, SIDE))
    half[:, 200:] = 2.4
    assert not folds(drawn(0.1 * half, 0.15 * half)).fold.any()


def test_a_folded_tile_is_dropped_as_such_and_pen_or_too_little_tissue_comes_first() -> None:
    layers = 1.0 + band(0, 30)
    rgb = np.asarray(cv2.resize(drawn(0.15 * layers, 0.25 * layers), (3200, 3200), interpolation=cv2.INTER_LINEAR))
    plan = plan_tiles(MemorySlide(rgb.astype(np.uint8), levels=4), TilingConfig())
    assert {tile.dropped for tile in plan.tiles if tile.fold > 0.1 and tile.tissue >= 0.5} == {DropReason.FOLD}
    assert any(tile.dropped is DropReason.FOLD for tile in plan.tiles)
    assert {tile.dropped for tile in plan.tiles if tile.tissue < 0.01} <= {DropReason.BLANK}
    lenient = plan_tiles(MemorySlide(rgb.astype(np.uint8), levels=4), TilingConfig(maximum_fold=1.0))
    assert not any(tile.dropped is DropReason.FOLD for tile in lenient.tiles)


@pytest.mark.filterwarnings("error")
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.25, 4.0, 300.0]))
def test_overviews_of_any_size_and_content_have_a_map_or_no_tissue(
    height: int, width: int, seed: int, um_per_px: float
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    try:
        found = folds(rgb, um_per_px)
    except TissueError:
        return
    assert found.fold.shape == found.tissue.shape == rgb.shape[:2]


def test_a_phantoms_fold_is_found_and_nothing_else_of_it() -> None:
    spec = PhantomSlide(slide_id="phantom-fold", label="LMS", seed=5, artefacts=frozenset({"fold"}))
    painter = PhantomPainter(spec)
    rows = [cv2.resize(rows, (512, 64), interpolation=cv2.INTER_AREA) for rows in painter.bands()]
    found = map_tissue(np.concatenate(rows).astype(np.uint8), MAP_L0 * spec.mpp, spec.size, Path("phantom"))
    truth = (painter.maps.fold > 0) & found.tissue
    assert truth.mean() > 0.005
    assert found.fold[truth].mean() > 0.6
    assert found.fold[~cv2.dilate(truth.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)].mean() < 0.001


def test_real_skin_has_no_fold_though_its_epidermis_is_a_dense_strip(shared_slides: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as slide:
        assert not find_tissue(slide, 0.499).fold.any()


def test_a_real_fold_is_found(shared_slides: Path) -> None:
    path = shared_slides.parent / "tiles" / "qc_histolab" / "pil-images-rgb" / "tcga-red-pen.png"
    bgr = cv2.imread(str(path))
    assert bgr is not None
    found = folds(np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)).fold
    rows, columns = np.nonzero(found)  # looked at: a crease at the upper right, black with two layers
    assert 300 < found.sum() < 3000
    assert (rows.max() < 60, columns.min() > 370) == (True, True)
