"""Evening out: hand-made stains, phantoms of two laboratories, the table beside its slow twin."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.appearance import METHODS, Appearance
from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Rgb
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import CLASSES, PhantomSlide
from sarcoscope.tiling.appearance import Normaliser, choose_target, measure_appearance

Vector = tuple[float, float, float]
HEMATOXYLIN, EOSIN = (0.61, 0.71, 0.35), (0.13, 0.85, 0.50)
GLASS = np.full((8, 8, 3), (243, 242, 244), np.uint8)


def unit(vector: Vector) -> npt.NDArray[np.float64]:
    return np.asarray(np.array(vector) / np.linalg.norm(vector), np.float64)


def stained(hematoxylin: Vector = HEMATOXYLIN, eosin: Vector = EOSIN, *, seed: int = 0, strength: float = 1.0) -> Rgb:
    """A tile of 128 px: nuclei, stroma and mixtures of known stains, a corner of glass."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.2, 1.0, (128, 128, 2)) * strength
    amounts[:64, :, 0] *= rng.random((64, 128)) < 0.5
    amounts[64:, :, 1] *= rng.random((64, 128)) < 0.5
    amounts[:16, :16] = 0
    light = 256 * 10 ** -(amounts @ np.stack([unit(hematoxylin), unit(eosin)])) - 1
    return np.asarray(np.clip(np.rint(light), 0, 255), np.uint8)


def measured(tiles: Sequence[Rgb]) -> Appearance:
    found = measure_appearance(tiles)
    assert found is not None
    return found


def degrees(one: Vector, other: Vector) -> float:
    return float(np.degrees(np.arccos(np.clip(unit(one) @ unit(other), -1, 1))))


@pytest.fixture(scope="module")
def laboratories() -> dict[int, list[Rgb]]:
    """Tiles of 512 px at 0.25 um/px from the middle of one phantom, as two laboratories stain and scan it."""
    tiles = {}
    for batch in (1, 2):
        painter = PhantomPainter(PhantomSlide(slide_id="phantom-stain", label="UPS", batch=batch, seed=4))
        tiles[batch] = [painter.read(Box(left, 4096, 512, 512)) for left in (2560, 3584, 4608)]
    return tiles


@pytest.mark.parametrize(("hematoxylin", "eosin"), [(HEMATOXYLIN, EOSIN), ((0.69, 0.66, 0.28), (0.06, 0.82, 0.57))])
def test_known_stains_are_recovered(hematoxylin: Vector, eosin: Vector) -> None:
    found = measured([stained(hematoxylin, eosin)])
    assert degrees(found.stains[0], hematoxylin) < 2
    assert degrees(found.stains[1], eosin) < 2
    assert found.saturation == pytest.approx((0.98, 0.98), abs=0.08)


def test_brightness_and_contrast_by_hand() -> None:
    # Black and mid gray have L* 0 and 53.59; half of each: mean 26.79, deviation 26.79. Gray has no stain vectors
    # apart from itself, so hue is given to some px that leave L* as it is within a hundredth.
    rgb = np.zeros((128, 128, 3), np.uint8)
    rgb[64:] = 128
    rgb[:32] += np.random.default_rng(0).integers(0, 2, (32, 128, 3), dtype=np.uint8)
    found = measured([rgb])
    assert (found.brightness, found.contrast) == pytest.approx((26.79, 26.79), abs=0.1)


def test_the_order_of_tiles_does_not_matter_and_glass_does_not_count() -> None:
    tiles = [stained(seed=seed) for seed in range(5)]
    forth = measured(tiles)
    assert measured(tiles[::-1]) == forth
    glassy = [np.concatenate([tile, np.full_like(tile, 250)]) for tile in tiles]
    assert measured(glassy).brightness == pytest.approx(forth.brightness, abs=0.3)


@pytest.mark.parametrize(
    "tiles",
    [[], [np.full((128, 128, 3), 245, np.uint8)], [np.full((128, 128, 3), (200, 120, 170), np.uint8)], [GLASS]],
)
def test_too_little_stain_is_no_appearance(tiles: list[Rgb]) -> None:
    assert measure_appearance(tiles) is None


def test_a_slide_of_one_stain_keeps_it_beside_the_textbooks_other() -> None:
    rng = np.random.default_rng(0)
    light = 256 * 10 ** -(rng.uniform(0.2, 1.0, (128, 128, 1)) * unit(EOSIN)) - 1
    found = measured([np.asarray(np.rint(light), np.uint8)])
    assert degrees(found.stains[1], EOSIN) < 1
    assert degrees(found.stains[0], (0.65, 0.70, 0.29)) < 1


@pytest.mark.parametrize("method", METHODS)
def test_a_slide_brought_to_itself_stays(method: str, laboratories: dict[int, list[Rgb]]) -> None:
    own = measured(laboratories[1])
    for tile in laboratories[1]:
        after = Normaliser(method, own, own)(tile).astype(int)
        assert np.abs(after - tile).max() <= 2
        assert np.abs(after - tile).mean() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_white_and_glass_stay(method: str, laboratories: dict[int, list[Rgb]]) -> None:
    change = Normaliser(method, measured(laboratories[2]), measured(laboratories[1]))
    white = np.full((4, 4, 3), 255, np.uint8)
    assert np.abs(change(white).astype(int) - white).max() <= 1
    assert np.abs(change(GLASS).astype(int) - GLASS).max() <= 1


def test_two_laboratories_come_closer(laboratories: dict[int, list[Rgb]]) -> None:
    target, own = measured(laboratories[1]), measured(laboratories[2])
    after = {
        method: measured([Normaliser(method, own, target)(tile) for tile in laboratories[2]]) for method in METHODS
    }
    even, reinhard, macenko = (after[method] for method in METHODS)
    for name in ("brightness", "contrast"):
        far, near = (abs(getattr(one, name) - getattr(target, name)) for one in (own, even))
        assert near < 0.25 * far
    for name in ("lab_mean", "lab_std"):
        wanted = np.array(getattr(target, name))
        far, near = (np.linalg.norm(np.array(getattr(one, name)) - wanted) for one in (own, reinhard))
        assert near < 0.4 * far
    for stain in (0, 1):
        assert degrees(macenko.stains[stain], target.stains[stain]) < 0.35 * degrees(
            own.stains[stain], target.stains[stain]
        )
    assert macenko.saturation == pytest.approx(target.saturation, rel=0.1)


def test_macenko_exchanges_known_stains() -> None:
    # The same amounts of stain, seen through other dyes: evening out must give the picture of the target's dyes.
    other = stained((0.69, 0.66, 0.28), (0.06, 0.82, 0.57))
    wanted = stained()
    found = Normaliser("macenko", measured([other]), measured([wanted]))(other).astype(int)
    assert np.abs(found - wanted).mean() < 4 < np.abs(other.astype(int) - wanted).mean()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(METHODS), st.integers(0, 2**32 - 1), st.floats(0.7, 1.3))
def test_the_table_agrees_with_its_slow_twin(method: str, seed: int, strength: float) -> None:
    source = measured([stained((0.69, 0.66, 0.28), (0.06, 0.82, 0.57), strength=strength)])
    change = Normaliser(method, source, measured([stained()]))
    tile = stained((0.66, 0.68, 0.3), (0.09, 0.83, 0.55), seed=seed)
    apart = np.abs(change(tile).astype(int) - change.exactly(tile))
    assert apart.mean() < 1
    assert np.percentile(apart, 99) <= 3


def test_the_target_is_the_middle_of_slides_whatever_one_of_them_looks_like() -> None:
    usual = [measured([stained(seed=seed)]) for seed in range(4)]
    odd = replace(usual[0], brightness=3.0, contrast=90.0, stains=((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)))
    found = choose_target([*usual, odd])
    assert found.brightness == pytest.approx(np.median([one.brightness for one in [*usual, odd]]))
    assert degrees(found.stains[0], usual[1].stains[0]) < 1
    assert [np.linalg.norm(vector) for vector in found.stains] == pytest.approx([1, 1])
    assert choose_target([odd, *usual[::-1]]) == found
    assert choose_target([usual[2]]).lab_mean == pytest.approx(usual[2].lab_mean)


def test_no_slide_and_no_such_method_are_refused() -> None:
    with pytest.raises(InputError, match="no slide to choose a target from"):
        choose_target([])
    own = measured([stained()])
    with pytest.raises(InputError, match="unknown way of evening out 'vahadane'; give one of even, reinhard, macenko"):
        Normaliser("vahadane", own, own)


def test_every_class_of_phantoms_has_an_appearance() -> None:
    for label in CLASSES:
        painter = PhantomPainter(PhantomSlide(slide_id="phantom-look", label=label, seed=2))
        found = measured([painter.read(Box(3584, 3584, 1024, 1024))])
        assert degrees(found.stains[0], painter.batch.haematoxylin) < 8
        assert degrees(found.stains[1], painter.batch.eosin) < 12


@pytest.mark.parametrize("method", METHODS)
def test_dim_or_tinted_glass_stays_glass_where_its_level_is_known(
    method: str, laboratories: dict[int, list[Rgb]]
) -> None:
    own = measured(laboratories[1])
    target = replace(measured(laboratories[2]), brightness=own.brightness - 15)
    dim = np.full((8, 8, 3), (206, 198, 190), np.uint8)
    assert np.abs(Normaliser(method, own, target, glass=175)(dim).astype(int) - dim).max() <= 1
    assert np.abs(Normaliser(method, own, target)(dim).astype(int) - dim).max() > 1


@pytest.mark.parametrize("method", METHODS)
def test_a_slide_of_hardly_any_spread_stays_finite_and_its_glass_glass(
    method: str, laboratories: dict[int, list[Rgb]]
) -> None:
    target = measured(laboratories[2])
    flat = replace(target, contrast=5e-4, lab_std=(5e-4, 5e-4, 5e-4), saturation=(5e-4, 5e-4))
    evened = Normaliser(method, flat, target)
    assert np.abs(evened(np.full((4, 4, 3), 250, np.uint8)).astype(int) - 250).max() <= 1
    evened(laboratories[1][0])
