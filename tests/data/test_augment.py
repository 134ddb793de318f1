"""Variation of training tiles: what each part does to px, worked out by hand, and that a seed says it all."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from sarcoscope.core.geometry import Rgb
from sarcoscope.core.training import AugmentConfig
from sarcoscope.data.augment import augmentation, parts, vary
from sarcoscope.data.transforms import (
    Jpeg,
    Occlusion,
    StainJitter,
    Symmetry,
    TurnAndCrop,
    as_rgb,
    as_tensor,
    scale_stains,
)
from sarcoscope.tiling.nuclei import STAINS
from tests.cohorts_made import tissue

OFF = AugmentConfig(flips=False, free_rotation=0, crop=0, occlusion=0, colour=0, stain=0, blur=0, jpeg=0)
factors = st.floats(0.1, 1.9)


def noise(seed: int, side: int = 16) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def disc(side: int, radius: float) -> Rgb:
    """White on black, around the middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.repeat(np.where(np.hypot(y, x) <= radius, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def middle(rgb: Rgb) -> npt.NDArray[np.float64]:
    """Row and column of the centre of mass."""
    return np.array([np.average(axis, weights=rgb[..., 0]) for axis in np.mgrid[: rgb.shape[0], : rgb.shape[1]]])


def test_a_tensor_of_px_is_the_same_memory() -> None:
    rgb = noise(0)
    tile = as_tensor(rgb)
    assert tile.shape == (3, 16, 16)
    assert tile[2, 5, 7] == rgb[5, 7, 2]
    assert np.shares_memory(as_rgb(tile), rgb)


def test_all_eight_symmetries_come_and_each_as_often_as_the_others() -> None:
    rgb = noise(1, 8)
    turned = [np.rot90(rgb, quarter) for quarter in range(4)]
    expected = [np.ascontiguousarray(one).tobytes() for one in [*turned, *(one[:, ::-1] for one in turned)]]
    found = [as_rgb(vary(as_tensor(rgb), Symmetry(), seed)).tobytes() for seed in range(1600)]
    counts = [found.count(one) for one in expected]
    assert sum(counts) == 1600
    assert all(abs(count - 200) < 4 * math.sqrt(200 * 7 / 8) for count in counts)


def test_a_crop_around_the_middle_enlarges_it() -> None:
    crop = TurnAndCrop(65, turn=0, crop=0.5)
    rgb = disc(65, 10)
    found = crop.changed(rgb, {"degrees": 0, "share": 0.5, "across_px": 0, "down_px": 0})
    np.testing.assert_allclose(middle(found), (32, 32), atol=0.02)
    assert found.mean() / rgb.mean() == pytest.approx(4, rel=0.02)


def test_a_crop_beside_the_middle_moves_what_was_there_the_other_way() -> None:
    crop = TurnAndCrop(65, turn=0, crop=0.5)
    found = crop.changed(disc(65, 5), {"degrees": 0, "share": 0.5, "across_px": 8, "down_px": -4})
    np.testing.assert_allclose(middle(found), (32 + 8, 32 - 16), atol=0.02)  # 4 and 8 px, twice as large


def test_a_turn_by_a_right_angle_is_counter_clockwise_and_exact() -> None:
    turn = TurnAndCrop(16, turn=1, crop=0)
    rgb = noise(2)
    found = turn.changed(rgb, {"degrees": 90, "share": 0, "across_px": 0, "down_px": 0})
    np.testing.assert_array_equal(found, np.rot90(rgb))


@given(st.integers(0, 2**32 - 1))
def test_a_turn_fills_corners_with_tissue_and_keeps_sizes(seed: int) -> None:
    turn = TurnAndCrop(65, turn=1, crop=0)
    turned = as_rgb(vary(as_tensor(disc(65, 12)), turn, seed))
    assert turned.mean() / disc(65, 12).mean() == pytest.approx(1, rel=0.02)
    grey = np.clip(noise(seed, 65), 100, 200)
    assert as_rgb(vary(as_tensor(grey), turn, seed)).min() >= 100  # nothing black came in


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_a_crop_lies_within_the_tile(seed: int, most: float) -> None:
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        drawn = TurnAndCrop(100, turn=0, crop=most).make_params([])
    half = 100 * (1 - drawn["share"]) / 2
    assert 0 <= drawn["share"] <= most
    assert drawn["degrees"] == 0
    assert max(abs(drawn["across_px"]), abs(drawn["down_px"])) + half <= 50 + 1e-9


def levels(amounts: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Of a px with so much optical density of haematoxylin, eosin and blood, not rounded."""
    return np.asarray(256 * 10 ** -(np.array(amounts) @ np.array(STAINS)) - 1)


def amounts(px: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(-np.log10((px + 1) / 256) @ np.linalg.inv(np.array(STAINS)))


@given(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.2)), st.floats(0.5, 1.5), st.floats(0.5, 1.5))
def test_each_stain_is_multiplied_by_itself_and_the_rest_stays(
    stain: tuple[float, float, float], haematoxylin: float, eosin: float
) -> None:
    px = np.round(levels(stain)).astype(np.uint8).reshape(1, 1, 3)
    found = scale_stains(px, haematoxylin, eosin)[0, 0]
    before = amounts(px[0, 0].astype(np.float64))
    expected = levels((before[0] * haematoxylin, before[1] * eosin, before[2]))
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=0.51)


def test_twice_the_haematoxylin_is_twice_the_density_of_a_nucleus() -> None:
    nucleus = np.round(levels((0.5, 0, 0))).astype(np.uint8).reshape(1, 1, 3)
    density = -np.log10((nucleus[0, 0].astype(np.float64) + 1) / 256)
    found = -np.log10((scale_stains(nucleus, 2, 1)[0, 0].astype(np.float64) + 1) / 256)
    np.testing.assert_allclose(found, 2 * density, atol=0.005)
    np.testing.assert_allclose(scale_stains(nucleus, 1, 2).astype(int), nucleus, atol=1)


def test_stains_are_drawn_apart_and_within_their_spread() -> None:
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        drawn = np.array([list(StainJitter(0.2).make_params([]).values()) for _ in range(1000)])
    assert ((drawn.min(axis=0) > 0.8) & (drawn.min(axis=0) < 0.802)).all()
    assert ((drawn.max(axis=0) < 1.2) & (drawn.max(axis=0) > 1.198)).all()
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1


def test_stains_as_they_were_leave_every_colour_within_a_level() -> None:
    rgb = noise(3, 256)
    np.testing.assert_allclose(scale_stains(rgb, 1, 1).astype(int), rgb, atol=1)


@given(factors, factors)
@example(1.9, 0.1)
@example(0.1, 1.9)
def test_glass_stays_glass_and_no_colour_overflows(haematoxylin: float, eosin: float) -> None:
    white = np.full((1, 1, 3), 255, np.uint8)
    np.testing.assert_array_equal(scale_stains(white, haematoxylin, eosin), white)
    glass = np.full((1, 1, 3), (243, 242, 244), np.uint8)
    np.testing.assert_allclose(scale_stains(glass, haematoxylin, eosin).astype(int), glass, atol=15)
    corners = np.stack(np.meshgrid((0, 1, 255), (0, 1, 255), (0, 1, 255)), axis=-1).reshape(-1, 1, 3).astype(np.uint8)
    found = scale_stains(corners, haematoxylin, eosin)
    for before, after in zip(corners[:, 0].astype(np.float64), found[:, 0], strict=True):
        split = amounts(before)
        expected = np.clip(levels((split[0] * haematoxylin, split[1] * eosin, split[2])), 0, 255)
        np.testing.assert_allclose(after, expected, atol=0.6)


def test_jpeg_keeps_colours_and_loses_the_more_the_worse_it_is() -> None:
    rgb = tissue(7, 96)
    lost = []
    for quality in (95, 75, 50):
        found = Jpeg(quality, quality).changed(rgb, {"quality": quality})
        np.testing.assert_allclose(found.mean(axis=(0, 1)), rgb.mean(axis=(0, 1)), atol=1)  # no channels exchanged
        lost.append(np.abs(found.astype(int) - rgb).mean())
    assert 0 < lost[0] < lost[1] < lost[2] < 6


@given(st.integers(0, 2**32 - 1))
def test_an_occlusion_covers_one_rectangle_in_the_mean_colour(seed: int) -> None:
    rgb = tissue(seed % 50, 64)
    covered = as_rgb(vary(as_tensor(rgb), Occlusion(1.0, (0.02, 0.15)), seed))
    changed = (covered != rgb).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    mean = np.round(rgb.reshape(-1, 3).mean(axis=0))
    np.testing.assert_array_equal(covered[box], np.broadcast_to(mean, covered[box].shape))
    assert 0.01 < covered[box].size / covered.size < 0.17  # sides are whole px
    outside = np.ones((64, 64), np.bool_)
    outside[box] = False
    np.testing.assert_array_equal(covered[outside], rgb[outside])


def grey_levels(config: AugmentConfig) -> npt.NDArray[np.int64]:
    """What an even grey of 100 becomes, for many seeds."""
    grey = as_tensor(np.full((16, 16, 3), 100, np.uint8))
    varied = [vary(grey, augmentation(config, 16), seed) for seed in range(300)]
    assert all(bool((tile == tile[0, 0, 0]).all()) for tile in varied)
    return np.array([int(tile[0, 0, 0]) for tile in varied])


@pytest.mark.parametrize(("strength", "low", "high"), [(1.0, 90, 110), (2.0, 80, 120), (0.5, 95, 105)])
def test_strength_multiplies_ranges(strength: float, low: int, high: int) -> None:
    found = grey_levels(replace(OFF, colour=0.1, strength=strength))
    assert low - 3 <= found.min() <= low + 2  # torchvision rounds down after each of three changes
    assert high - 4 <= found.max() <= high


@pytest.mark.parametrize(("strength", "share"), [(1.0, 0.3), (2.0, 0.6), (3.0, 0.9), (0.5, 0.15)])
def test_strength_multiplies_chances(strength: float, share: float) -> None:
    tile = as_tensor(tissue(0, 32))
    transform = augmentation(replace(OFF, occlusion=0.3, strength=strength), 32)
    changed = [not torch.equal(vary(tile, transform, seed), tile) for seed in range(400)]
    assert abs(np.mean(changed) - share) < 4 * math.sqrt(share * (1 - share) / 400)


def test_no_chance_goes_beyond_certainty_and_no_range_to_nothing() -> None:
    strong = AugmentConfig(strength=3, free_rotation=1, occlusion=1, blur=1, jpeg=1, crop=0.9, colour=0.9, stain=0.9)
    varied = [vary(as_tensor(tissue(0, 64)), augmentation(strong, 64), seed) for seed in range(20)]
    assert {tile.shape for tile in varied} == {(3, 64, 64)}


@given(st.integers(0, 2**32 - 1))
def test_strength_0_and_nothing_switched_on_leave_tiles_as_they_are(seed: int) -> None:
    tile = as_tensor(noise(seed))
    for config in (OFF, AugmentConfig(strength=0)):
        assert torch.equal(vary(tile, augmentation(config, 16), seed), tile)
        assert parts(config, 16) == []


def test_only_what_is_switched_on_happens() -> None:
    tile, transform = as_tensor(noise(4)), augmentation(replace(OFF, flips=True), 16)
    assert all(sorted(vary(tile, transform, seed).flatten()) == sorted(tile.flatten()) for seed in range(20))


def test_each_part_has_a_name_and_is_certain_to_happen() -> None:
    named = parts(AugmentConfig(), 64)
    names = ["flips", "free_rotation", "crop", "stain", "colour", "blur", "jpeg", "occlusion"]
    assert [name for name, _ in named] == names
    tile = as_tensor(tissue(5, 64))
    for name, part in named:
        varied = [vary(tile, part, seed) for seed in range(24)]
        same = sum(torch.equal(one, tile) for one in varied)
        assert same <= (9 if name == "flips" else 0), name
        assert {one.shape for one in varied} == {(3, 64, 64)}
    assert [name for name, _ in parts(replace(AugmentConfig(), blur=0, crop=0), 64)] == [
        name for name in names if name not in {"blur", "crop"}
    ]


def varied_after(before: int, tile: Tensor, seed: int) -> Tensor:
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(before)
        torch.rand(before)
        state = torch.get_rng_state()
        found = vary(tile, augmentation(AugmentConfig(strength=2), 32), seed)
        assert torch.equal(torch.get_rng_state(), state)
    return found


def test_a_variation_is_a_function_of_tile_and_seed_and_leaves_random_numbers_as_they_were() -> None:
    rgb = tissue(6, 32)
    tile, before = as_tensor(rgb), rgb.copy()
    for seed in (0, 1, 2**63 - 1):
        one, other = varied_after(3, tile, seed), varied_after(8, tile, seed)
        assert torch.equal(one, other)
        assert one.dtype == torch.uint8
    assert len({varied_after(0, tile, seed).numpy().tobytes() for seed in range(40)}) == 40
    np.testing.assert_array_equal(rgb, before)
