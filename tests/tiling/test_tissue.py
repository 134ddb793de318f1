"""The tissue map on drawn overviews and on real ones."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.errors import TissueError
from sarcoscope.core.geometry import Mask, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.tissue import box_shares, find_tissue, map_tissue

GLASS, STROMA, PALE, NUCLEI = (243, 242, 244), (222, 150, 190), (232, 212, 226), (90, 60, 130)


def overview(height: int = 200, width: int = 300, seed: int = 0) -> Rgb:
    """Glass with a scanner's noise."""
    noise = np.random.default_rng(seed).normal(0, 1.5, (height, width, 3))
    return np.clip(np.array(GLASS) + noise, 0, 255).astype(np.uint8)


def blob(rgb: Rgb, color: tuple[int, int, int], center: tuple[int, int] = (150, 100), radius: int = 60) -> Rgb:
    drawn = np.ascontiguousarray(rgb)
    cv2.circle(drawn, center, radius, color, -1)
    return drawn


def mapped(rgb: Rgb, um_per_px: float = 8.0) -> tuple[Mask, Mask]:
    found = map_tissue(rgb, um_per_px, Size(rgb.shape[1] * 16, rgb.shape[0] * 16), Path("a.svs"))
    return found.tissue, found.pen


def disc(radius: int = 60) -> Mask:
    y, x = np.mgrid[:200, :300]
    inside: Mask = (x - 150) ** 2 + (y - 100) ** 2 <= radius**2
    return inside


@pytest.mark.parametrize("color", [STROMA, PALE, NUCLEI])
def test_stained_tissue_is_found_whole_and_glass_is_not(color: tuple[int, int, int]) -> None:
    tissue, pen = mapped(blob(overview(), color))
    truth = disc()
    assert (tissue & truth).sum() / truth.sum() > 0.97
    assert (tissue & ~truth).sum() / truth.sum() < 0.06
    assert not pen.any()


def test_solid_cellular_tumour_keeps_its_stroma() -> None:
    # Otsu on such a tile alone would take the nuclei for tissue and the stroma for background.
    rng = np.random.default_rng(1)
    rgb = blob(overview(), STROMA)
    inside = disc()
    rgb[inside & (rng.random(inside.shape) < 0.5)] = NUCLEI
    tissue, _ = mapped(rgb)
    assert tissue[inside].mean() > 0.99


def test_a_slide_full_of_tissue_has_no_background() -> None:
    rgb = np.broadcast_to(np.array(STROMA, np.uint8), (200, 300, 3)).copy()
    rgb[::3, ::3] = NUCLEI
    tissue, _ = mapped(rgb)
    assert tissue.mean() > 0.99


def test_fat_vacuoles_belong_to_the_tissue() -> None:
    # Septa of 8 um around vacuoles of 80 um, as in well-differentiated liposarcoma.
    rgb = overview()
    region = np.zeros((200, 300), bool)
    region[40:160, 60:240] = True
    septa = region & ((np.indices((200, 300)) % 10 == 0).any(axis=0))
    rgb[septa] = STROMA
    tissue, _ = mapped(rgb)
    assert tissue[45:150, 65:230].mean() > 0.98
    assert tissue[~region].mean() < 0.02


def test_pen_and_black_padding_are_not_tissue() -> None:
    rgb = blob(overview(), STROMA)
    rgb[:, :30] = 0
    for row, ink in ((20, (20, 120, 60)), (28, (30, 50, 200)), (36, (40, 40, 42))):
        rgb[row : row + 5, 60:140] = ink
    tissue, pen = mapped(rgb)
    assert not tissue[:, :26].any()
    assert pen[20:25, 62:138].all()
    assert pen[28:33, 62:138].all()
    assert pen[36:41, 62:138].all()
    assert not (tissue & pen).any()


def test_gray_dust_is_not_tissue() -> None:
    rgb = blob(overview(), (180, 180, 181), radius=30)
    rgb = blob(rgb, STROMA, center=(60, 60), radius=30)
    tissue, _ = mapped(rgb)
    assert tissue[disc(25)].mean() < 0.05


WARM = [(250, 248, 240), (245, 238, 215), (248, 240, 210)]
TINTED = [(200, 206, 198), (205, 208, 200), (215, 218, 208), (190, 195, 200), *WARM]


@pytest.mark.parametrize("glass", TINTED)
@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_dim_or_tinted_glass_is_not_tissue(glass: tuple[int, int, int], noise: float) -> None:
    spread = np.random.default_rng(0).normal(0, noise, (200, 300, 3))
    rgb = np.clip(np.array(glass) + spread, 0, 255).astype(np.uint8)
    with pytest.raises(TissueError, match="no tissue found"):
        mapped(rgb)
    stained = tuple(round(channel * share) for channel, share in zip(glass, (0.9, 0.62, 0.78), strict=True))
    tissue, _ = mapped(blob(rgb, (stained[0], stained[1], stained[2])))
    truth = disc()
    assert (tissue & truth).sum() / truth.sum() > 0.97
    assert (tissue & ~truth).sum() / truth.sum() < 0.06


def test_what_was_never_scanned_is_not_the_white_of_the_glass() -> None:
    spread = np.random.default_rng(0).normal(0, 1.5, (200, 300, 3))
    rgb = np.clip(np.array((238, 235, 239)) + spread, 0, 255).astype(np.uint8)
    rgb[:, 180:] = 255
    with pytest.raises(TissueError, match="no tissue found"):
        mapped(rgb)
    tissue, _ = mapped(blob(rgb, STROMA, center=(80, 100), radius=40))
    assert not tissue[:, 130:].any()
    assert tissue[70:130, 50:110].mean() > 0.97


def pale(stroma: tuple[int, int, int], edge: int = 300) -> Rgb:
    """Pale stroma up to a column, saturated glass from there on."""
    spread = np.random.default_rng(0).normal(0, 2, (200, 300, 3))
    rgb = np.clip(np.array(stroma) + spread, 0, 255).astype(np.uint8)
    rgb[:, edge:] = 255
    return rgb


@pytest.mark.parametrize("stroma", [(215, 205, 212), (222, 208, 218), (225, 215, 222), (230, 218, 226)])
@pytest.mark.parametrize("edge", [150, 225])
def test_the_palest_stroma_is_tissue_beside_saturated_glass(stroma: tuple[int, int, int], edge: int) -> None:
    tissue, _ = mapped(pale(stroma, edge))
    assert tissue[:, : edge - 8].mean() > 0.95
    assert not tissue[:, edge + 8 :].any()


@pytest.mark.parametrize("stroma", [(215, 205, 212), (222, 208, 218)])
def test_pale_stroma_is_tissue_where_a_slide_shows_no_glass(stroma: tuple[int, int, int]) -> None:
    tissue, _ = mapped(pale(stroma))
    assert tissue.mean() > 0.95


def test_the_glass_of_a_dim_slide_is_its_own() -> None:
    rgb = blob(np.full((200, 300, 3), (205, 208, 200), np.uint8), (185, 120, 150))
    found = map_tissue(rgb, 8.0, Size(4800, 3200), Path("a.svs"))
    assert 180 <= found.glass < 200


@pytest.mark.parametrize("seed", range(3))
def test_a_white_slide_has_no_tissue(seed: int) -> None:
    with pytest.raises(TissueError, match=r"a\.svs: no tissue found"):
        mapped(overview(seed=seed))


def test_a_dark_background_is_refused() -> None:
    rgb = np.full((200, 300, 3), 3, np.uint8)
    rgb[disc(40)] = (10, 20, 200)
    with pytest.raises(TissueError, match="dark background"):
        mapped(rgb)


def test_black_padding_around_brightfield_is_not_a_dark_background() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[50:150, 100:200] = overview()[50:150, 100:200]
    rgb[disc(35)] = STROMA
    tissue, _ = mapped(rgb)
    assert tissue[disc(33)].mean() > 0.97
    assert not tissue[:40].any()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_shares_equal_counting_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((12, 17)) < 0.5
    size = Size(17 * 4, 12 * 4)  # each mask px is 4 level-0 px, so shares can be counted on the repeated mask
    fine = mask.repeat(4, 0).repeat(4, 1)
    left, top = rng.integers(0, 60, 20), rng.integers(0, 40, 20)
    width, height = rng.integers(1, 68 - left + 1), rng.integers(1, 48 - top + 1)
    boxes: npt.NDArray[np.int64] = np.stack([left, top, width, height], axis=1)
    counted = [fine[t : t + h, x : x + w].mean() for x, t, w, h in boxes.tolist()]
    np.testing.assert_allclose(box_shares(mask, boxes, size), counted, atol=1e-9)


def test_real_slides(shared_slides: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as slide:
        found = find_tissue(slide, 0.499)
    assert 0.35 < found.tissue.mean() < 0.45  # looked at: the strip of skin, without the glass on both sides
    assert found.pen.mean() < 0.01
    with open_slide(shared_slides / "test3-DAPI-2-387.ndpi") as slide, pytest.raises(TissueError, match="dark"):
        find_tissue(slide, 0.228)


@pytest.mark.parametrize(("name", "color"), [("pen_green", "green"), ("pen_red", "red"), ("pen_black", "black")])
def test_real_pen_against_its_mask(shared_slides: Path, name: str, color: str) -> None:
    folder = shared_slides.parent / "tiles" / "qc_histoqc" / "pen" / "1k_version"
    bgr = cv2.imread(str(folder / f"{name}.png"))
    assert bgr is not None
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    truth = cv2.imread(str(folder / f"{name}_mask.png"), cv2.IMREAD_GRAYSCALE)
    assert truth is not None
    ink = truth > 0
    found = map_tissue(rgb.astype(np.uint8), 8.0, Size(rgb.shape[1], rgb.shape[0]), Path(name)).pen
    recall, false = found[ink].mean(), found[~cv2.dilate(truth, np.ones((15, 15))).astype(bool)].mean()
    assert recall > 0.55, (color, recall)
    assert false < 0.02, (color, false)
