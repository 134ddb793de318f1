"""The perceptual hash on real and painted tiles: what it survives, what it tells apart."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from sarcoscope.cohort.hashes import NO_STRUCTURE, transform, variants
from sarcoscope.cohort.leakage import DISTANCE
from sarcoscope.core.geometry import Rgb
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.tiling.phash import phash
from tests.conftest import REPO


def textured(seed: int, side: int = 256) -> Rgb:
    """A random picture with structure at every scale."""
    rng = np.random.default_rng(seed)
    planes = [
        cv2.resize(rng.normal(0, 1, (cells, cells, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
        for cells in (3, 6, 12, 24, 48)
    ]
    return np.asarray(np.clip(170 + 22 * np.sum(planes, axis=0), 0, 255), np.uint8)


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    content = BytesIO()
    Image.fromarray(rgb).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content), np.uint8)


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.fixture(scope="module")
def real_tiles() -> list[Rgb]:
    folder = REPO.parent / "shared" / "data" / "tiles" / "crc_val_he_7k_70"
    if not folder.is_dir():
        pytest.skip("shared/data/tiles is absent: hashes of real tiles not tested")
    return [read_tile_file(path) for path in sorted(folder.rglob("*.jpg"))]


@pytest.mark.parametrize("side", [64, 150, 224, 256, 512])
@pytest.mark.parametrize("variant", range(8))
def test_a_turned_or_mirrored_tile_has_the_hash_that_follows(variant: int, side: int) -> None:
    rgb = textured(1, side)
    turned = np.stack([transform(rgb[..., band].astype(np.float32), variant) for band in range(3)], axis=-1)
    wanted = int(variants(np.array([phash(rgb)], np.uint64))[variant, 0])
    assert bits(phash(turned.astype(np.uint8)), wanted) <= 1  # a cosine of nearly 0 may fall to either side


def changed(rgb: Rgb) -> list[Rgb]:
    brighter = np.clip(rgb.astype(np.int32) + 12, 0, 255).astype(np.uint8)
    stronger = np.clip(rgb * 1.08, 0, 255).astype(np.uint8)
    smaller = cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return [jpeg(rgb, 90), jpeg(rgb, 50), brighter, jpeg(stronger, 70), np.asarray(smaller, np.uint8)]


def test_a_real_tile_keeps_its_hash_through_compression_and_brightening(real_tiles: list[Rgb]) -> None:
    distances = [bits(phash(rgb), phash(other)) for rgb in real_tiles for other in changed(rgb)]
    assert max(distances) <= DISTANCE
    assert np.mean(distances) < 1


def test_real_tiles_are_told_apart(real_tiles: list[Rgb]) -> None:
    found = np.array([phash(rgb) for rgb in real_tiles], np.uint64)
    assert NO_STRUCTURE not in found
    distance = np.bitwise_count(variants(found)[:, :, None] ^ found[None, None, :])
    distance[:, np.arange(len(found)), np.arange(len(found))] = 64
    assert distance.min() > DISTANCE


def test_what_has_no_structure_has_no_hash() -> None:
    noise = np.random.default_rng(0).normal(240, 3, (512, 512, 3)).clip(0, 255).astype(np.uint8)
    for plain in (np.full((64, 64, 3), 255, np.uint8), np.zeros((20, 30, 3), np.uint8), noise):
        assert phash(plain) == NO_STRUCTURE


def test_any_shape_has_one() -> None:
    for shape in ((16, 16), (30, 500), (1, 1), (3, 7)):
        assert 0 <= phash(textured(0)[: shape[0], : shape[1]].copy()) < 2**64
