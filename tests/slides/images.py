"""Small images and slide files, made for the tests."""

from pathlib import Path

import cv2
import numpy as np
import tifffile

from sarcoscope.core.geometry import Rgb

APERIO = "Aperio Image Library v1\r\n{width}x{height} ({tile}x{tile}) JPEG|AppMag = {power}|MPP = {mpp}"


def tissue(width: int, height: int, seed: int = 0) -> Rgb:
    """Smooth pink and violet blobs: compresses like tissue, and no two places look alike."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 12)
    return np.clip(np.array([190, 120, 180]) + smooth * 800, 0, 255).astype(np.uint8)


def write_svs(path: Path, rgb: Rgb, *, mpp: str = "0.4990", power: str = "20", tile: int = 64, levels: int = 3) -> Path:
    """A pyramidal JPEG TIFF that OpenSlide takes for an Aperio slide."""
    height, width = rgb.shape[:2]
    description = APERIO.format(width=width, height=height, tile=tile, power=power, mpp=mpp)
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            tiff.write(
                rgb,
                tile=(tile, tile),
                compression="jpeg",
                compressionargs={"level": 95},
                photometric="rgb",
                subfiletype=1 if level else 0,
                description=description,
                metadata=None,
            )
            half_height, half_width = rgb.shape[0] // 2, rgb.shape[1] // 2
            even = rgb[: 2 * half_height, : 2 * half_width]
            rgb = np.asarray(cv2.resize(even, (half_width, half_height), interpolation=cv2.INTER_AREA), np.uint8)
    return path
