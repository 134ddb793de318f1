"""Aperio slides of JPEG 2000 tiles (compressions 33003 and 33005): read through OpenSlide, not by the direct path."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from typing_extensions import override

from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.testing.slides import SlideSourceContract
from tests.slides.images import tissue

YCBCR, RGB = 33003, 33005
DESCRIPTION = "Aperio Image Library v10\r\n{0}x{1} (64x64) J2K/{2}|AppMag = 20|MPP = 0.4990"


def write_jpeg2000_svs(path: Path, rgb: Rgb, compression: int, levels: int = 3) -> Path:
    """A pyramid of lossless JPEG 2000 tiles of 64 px, as YCbCr (33003) or RGB (33005)."""
    height, width = rgb.shape[:2]
    kind = "YUV16" if compression == YCBCR else "KDU"
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            tiff.write(
                tiles(rgb, compression),
                shape=rgb.shape,
                dtype=np.uint8,
                tile=(64, 64),
                compression=compression,
                photometric="rgb",
                subfiletype=1 if level else 0,
                description=DESCRIPTION.format(width, height, kind),
                metadata=None,
            )
            half = (rgb.shape[1] // 2, rgb.shape[0] // 2)
            even = rgb[: 2 * half[1], : 2 * half[0]]
            rgb = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8)
    return path


def tiles(rgb: Rgb, compression: int) -> Iterator[bytes]:
    height, width = rgb.shape[:2]
    canvas = np.pad(rgb, ((0, -height % 64), (0, -width % 64), (0, 0)), mode="edge")
    if compression == YCBCR:
        canvas = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2YCrCb), np.uint8)[..., [0, 2, 1]]
    for top in range(0, height, 64):
        for left in range(0, width, 64):
            tile = np.ascontiguousarray(canvas[top : top + 64, left : left + 64])
            yield bytes(imagecodecs.jpeg2k_encode(tile, reversible=True, mct=False, codecformat="j2k"))


class _Jpeg2000(SlideSourceContract):
    compression: ClassVar[int]
    tmp: Path

    @pytest.fixture(autouse=True)
    def _use_tmp(self, tmp_path: Path) -> None:
        self.tmp = tmp_path

    @override
    def open_slide(self) -> SlideSource:
        return open_slide(write_jpeg2000_svs(self.tmp / "a.svs", tissue(610, 405), self.compression))


class TestJpeg2000Rgb(_Jpeg2000):
    compression = RGB


class TestJpeg2000YCbCr(_Jpeg2000):
    compression = YCBCR


def test_lossless_rgb_reads_exactly(tmp_path: Path) -> None:
    rgb = tissue(300, 200)
    with open_slide(write_jpeg2000_svs(tmp_path / "a.svs", rgb, RGB)) as slide:
        assert type(slide) is OpenSlideReader
        assert slide.info.vendor == "aperio"
        assert slide.info.objective_power == 20
        assert [level.downsample for level in slide.info.levels] == [1, 2, 4]
        assert require_scale(slide).mpp == 0.499
        np.testing.assert_array_equal(slide.read(Box(0, 0, 300, 200), Size(300, 200)), rgb)


def test_ycbcr_reads_as_rgb_but_for_rounding(tmp_path: Path) -> None:
    rgb = tissue(300, 200)
    with open_slide(write_jpeg2000_svs(tmp_path / "a.svs", rgb, YCBCR)) as slide:
        assert type(slide) is OpenSlideReader
        got = slide.read(Box(0, 0, 300, 200), Size(300, 200))
    assert np.abs(got.astype(int) - rgb).max() <= 3
