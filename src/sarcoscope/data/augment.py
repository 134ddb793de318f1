"""Augmentation of single tiles on arrays; randomness is an argument."""

import cv2
import numpy as np

from sarcoscope.core.geometry import Rgb


def augment(rgb: Rgb, rng: np.random.Generator, out_px: int) -> Rgb:
    """Flip, turn, crop to `out_px`, vary stain and light, sometimes blur, compress or occlude.

    (h, w, 3) uint8 to (out_px, out_px, 3) uint8; the scale stays (no zoom), since microns per pixel are
    what the classes differ by.
    """
    top = int(rng.integers(rgb.shape[0] - out_px + 1))
    left = int(rng.integers(rgb.shape[1] - out_px + 1))
    tile = rgb[top : top + out_px, left : left + out_px]
    tile = np.rot90(tile, int(rng.integers(4)))
    if rng.random() < 0.5:
        tile = tile[:, ::-1]
    tile = vary_stain(np.ascontiguousarray(tile), rng)
    if rng.random() < 0.2:
        tile = np.asarray(cv2.GaussianBlur(tile, (0, 0), rng.uniform(0.3, 1.0)), np.uint8)
    if rng.random() < 0.2:
        _, coded = cv2.imencode(".jpg", tile, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 95))])
        tile = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    if rng.random() < 0.2:
        tile = occlude(tile, rng)
    return np.ascontiguousarray(tile)


def vary_stain(rgb: Rgb, rng: np.random.Generator, strength: float = 0.15) -> Rgb:
    """Scale and shift the optical density of each channel: other stain, other lamp (after Tellez 2018)."""
    common = rng.uniform(1 - strength, 1 + strength)
    gain = common * rng.uniform(1 - strength / 2, 1 + strength / 2, 3)
    shift = rng.uniform(-0.03, 0.03, 3)
    density = -np.log10((np.arange(256) + 1) / 256)
    table = np.clip(256 * 10 ** -(density[:, None] * gain + np.maximum(shift, 0)) - 1, 0, 255).astype(np.uint8)
    varied: Rgb = np.stack([cv2.LUT(rgb[..., channel], table[:, channel]) for channel in range(3)], axis=-1)
    return varied


def occlude(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Paint a rectangle of up to a third of each side in the tile's mean colour."""
    height, width = (int(side * rng.uniform(0.1, 0.33)) for side in rgb.shape[:2])
    top, left = int(rng.integers(rgb.shape[0] - height)), int(rng.integers(rgb.shape[1] - width))
    covered = rgb.copy()
    covered[top : top + height, left : left + width] = rgb.mean(axis=(0, 1)).astype(np.uint8)
    return covered
