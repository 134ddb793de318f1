import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.geometry import Box, Mask, Rgb, Size
from sarcoscope.phantom.maps import SlideMaps, draw_maps
from sarcoscope.phantom.recipes import RECIPES
from sarcoscope.phantom.render import BLOCK_L0, PhantomPainter
from sarcoscope.phantom.spec import ARTEFACTS, CLASSES, PhantomSlide
from sarcoscope.phantom.truth import Region, Truth, truth_map
from tests.phantom.conftest import SIDE, ink, nuclei, painter, whole


def _full(labels: Mask, side: int = SIDE) -> Mask:
    return np.asarray(cv2.resize(labels.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0)


def _inner(subject: PhantomPainter) -> Mask:
    """Tissue clear of the rim."""
    return _full(subject.maps.edge > 80)


@pytest.mark.parametrize("label", CLASSES)
def test_same_seed_same_pixels_another_seed_other_pixels(label: str) -> None:
    first = painter(label, side=2048)
    box = Box(700, 700, 600, 600)
    again = PhantomPainter(first.spec)
    other = painter(label, side=2048, seed=6)
    assert np.array_equal(first.read(box), again.read(box))
    assert not np.array_equal(first.read(box), other.read(box))


@settings(max_examples=10, deadline=None)
@given(left=st.integers(-300, 3000), top=st.integers(-300, 3000), side=st.integers(1, 700))
def test_any_box_is_cut_from_the_same_slide_whatever_the_order(left: int, top: int, side: int) -> None:
    picture = whole("DDLPS", component=0.4)
    padded = np.full((4100, 4100, 3), 255, np.uint8)
    padded[300 : 300 + SIDE, 300 : 300 + SIDE] = picture
    got = painter("DDLPS", component=0.4).read(Box(left, top, side, side))
    assert np.array_equal(got, padded[top + 300 : top + 300 + side, left + 300 : left + 300 + side])


@pytest.mark.parametrize("height", [333, 9999])
def test_pixels_do_not_depend_on_the_height_of_bands(height: int) -> None:
    subject = painter("LMS", side=2048, artefact="pen")
    assert np.array_equal(np.concatenate(list(subject.bands(height))), np.concatenate(list(subject.bands())))


@pytest.mark.parametrize("label", CLASSES)
def test_blocks_leave_no_seam(label: str) -> None:
    grey = whole(label).mean(axis=2)
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    for border in range(BLOCK_L0, SIDE, BLOCK_L0):
        around = np.concatenate([steps[border - 40 : border - 5], steps[border + 5 : border + 40]])
        assert steps[border - 1] < around.mean() + 4 * around.std()


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("batch", [1, 2])
def test_glass_is_nearly_white_and_tissue_is_not(label: str, batch: int) -> None:
    subject, picture = painter(label, batch=batch), whole(label, batch=batch)
    glass = picture[_full(subject.maps.edge < -80)]
    assert glass.mean(axis=0).min() > 236
    assert glass.min() > 225
    assert np.median(picture[_inner(subject)].min(axis=1)) < (215 if label != "WDLPS" else 256)


def _maps(size: Size, seed: int, artefacts: frozenset[str] = frozenset()) -> SlideMaps:
    spec = PhantomSlide(slide_id="phantom-maps", label="UPS", size=size, seed=seed, artefacts=artefacts)
    return draw_maps(spec, RECIPES["UPS"], np.random.default_rng(seed))


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1024, 9000), height=st.integers(1024, 9000), seed=st.integers(0, 2**31))
def test_tissue_covers_about_half_of_any_slide(width: int, height: int, seed: int) -> None:
    assert 0.45 <= _maps(Size(width, height), seed).tissue.mean() <= 0.65


@settings(max_examples=25, deadline=None)
@given(width=st.integers(2048, 9000), height=st.integers(2048, 9000), seed=st.integers(0, 2**31))
def test_artefacts_take_a_small_part_of_the_tissue_of_any_slide(width: int, height: int, seed: int) -> None:
    maps = _maps(Size(width, height), seed, ARTEFACTS)
    for touched in (maps.fold > 0, maps.pen > 0, maps.blur > 0):
        assert 0 < (touched & maps.tissue).sum() / maps.tissue.sum() < 0.15


def test_density_of_nuclei_differs_as_the_classes_do() -> None:
    density = {label: nuclei(whole(label), _inner(painter(label)))[0] for label in CLASSES}
    assert density["WDLPS"] < 0.7 * min(density[label] for label in CLASSES if label != "WDLPS")
    assert density["WDLPS"] < 0.4 * density["MPNST"]
    assert density["UPS"] < density["DDLPS"]
    assert density["UPS"] < density["LMS"]


def test_nuclei_of_ups_vary_most_in_size() -> None:
    areas = {label: nuclei(whole(label), _inner(painter(label)))[1] for label in ("LMS", "MPNST", "UPS")}
    spread = {label: float(np.std(np.log(one))) for label, one in areas.items()}
    assert spread["UPS"] > max(spread["LMS"], spread["MPNST"])
    assert np.quantile(areas["UPS"], 0.98) * 0.0625 > 250  # um2: a giant of 18 um across and more
    assert np.median(areas["LMS"]) * 0.0625 < 110


def test_lms_is_the_most_eosinophilic() -> None:
    def pink(label: str) -> float:
        picture = whole(label)[_inner(painter(label))].astype(float)
        stroma = picture[(ink(picture[None])[0] < 0.2) & (picture.min(axis=1) < 225)]
        return float(np.mean(np.log10(245 / np.maximum(stroma[:, 1], 1))))

    assert pink("LMS") > pink("MPNST") + 0.05


def test_fat_is_white_and_the_rest_of_the_slide_is_not() -> None:
    subject, picture = painter("DDLPS", component=0.4), whole("DDLPS", component=0.4)
    white = picture.min(axis=2) > 228
    inner = _inner(subject)
    fat, lean = _full(subject.maps.component > 200) & inner, _full(subject.maps.component < -200) & inner
    assert white[fat].mean() > 0.45
    assert white[lean].mean() < 0.2
    assert white[_inner(painter("WDLPS")) & (whole("WDLPS").min(axis=2) > 228)].size > 0


def test_truth_names_the_component_with_its_share() -> None:
    truth = truth_map(painter("DDLPS", component=0.4).spec)
    counts = np.bincount(truth.labels.ravel(), minlength=6)
    assert set(np.flatnonzero(counts)) == {Region.GLASS, Region.DDLPS, Region.WDLPS}
    assert counts[Region.WDLPS] / (counts[Region.WDLPS] + counts[Region.DDLPS]) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("label", CLASSES)
def test_truth_of_a_plain_slide_is_glass_and_its_label(label: str) -> None:
    assert set(np.unique(truth_map(painter(label)).labels)) == {0, 1 + CLASSES.index(label)}


def test_shares_of_a_box_sum_to_one_and_are_none_outside() -> None:
    truth = truth_map(painter("DDLPS", component=0.4))
    assert sum(truth.shares(Box(900, 1000, 1024, 1024)).values()) == pytest.approx(1)
    assert truth.shares(Box(0, 0, 64, 64)) == dict.fromkeys(Region, 0.0) | {Region.GLASS: 1.0}
    assert truth.shares(Box(SIDE + 10, 0, 64, 64)) == {}
    assert isinstance(truth, Truth)


@pytest.mark.parametrize("artefact", ["fold", "pen", "blur"])
def test_an_artefact_changes_a_small_part_of_the_tissue_and_only_that(artefact: str) -> None:
    subject = painter("LMS", artefact=artefact)
    maps = subject.maps
    touched = {"fold": maps.fold > 0, "pen": maps.pen > 0, "blur": maps.blur > 0}[artefact]
    changed = np.any(whole("LMS", artefact=artefact) != whole("LMS"), axis=2)
    reach = cv2.dilate(touched.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert changed[_full(touched) & _inner(subject)].mean() > 0.5
    assert not changed[~_full(reach)].any()


def _quiet(picture: Rgb) -> npt.NDArray[np.float64]:
    """Green, without the sensor's noise."""
    return np.asarray(cv2.GaussianBlur(picture[..., 1].astype(np.float64), (0, 0), 1.0))


def test_blur_takes_sharpness_and_a_fold_takes_light() -> None:
    blurry, folded, plain = painter("LMS", artefact="blur"), painter("LMS", artefact="fold"), whole("LMS")
    edges = [
        np.abs(cv2.Laplacian(_quiet(one), cv2.CV_64F))[_full(blurry.maps.blur > 0.99) & _inner(blurry)].mean()
        for one in (whole("LMS", artefact="blur"), plain)
    ]
    assert edges[0] < 0.5 * edges[1]
    inside = _full(folded.maps.fold > 40) & _inner(folded)
    assert whole("LMS", artefact="fold")[inside].mean() < 0.8 * plain[inside].mean()


def test_batches_differ_in_colour_and_sharpness() -> None:
    first, second = whole("LMS", batch=1), whole("LMS", batch=2)
    inner = _inner(painter("LMS"))
    assert np.abs(first[inner].mean(axis=0) - second[inner].mean(axis=0)).max() > 6
    sharp = [np.abs(cv2.Laplacian(_quiet(one), cv2.CV_64F))[inner].mean() for one in (first, second)]
    assert sharp[0] > sharp[1]
