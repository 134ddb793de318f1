"""An ICC profile is reported, never applied (docs/decisions/0006-icc-is-reported.md); DICOM: see test_dicom.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.opening import open_slide
from tests.slides.images import APERIO, tissue

RGB = tissue(100, 80)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


Writer = Callable[[Path, bytes | None], Path]


def write_tiff(path: Path, icc: bytes | None, description: str = "") -> Path:
    tifffile.imwrite(
        path, RGB, photometric="rgb", tile=(64, 64), iccprofile=icc, description=description, metadata=None
    )
    return path


def svs(path: Path, icc: bytes | None) -> Path:
    return write_tiff(path, icc, APERIO.format(width=100, height=80, tile=64, power=20, mpp=0.5))


def flat_tiff(path: Path, icc: bytes | None) -> Path:
    tifffile.imwrite(path, RGB, photometric="rgb", iccprofile=icc, metadata=None)
    return path


def png(path: Path, icc: bytes | None) -> Path:
    Image.fromarray(RGB).save(path, "PNG", icc_profile=icc)
    return path


def jpeg(path: Path, icc: bytes | None) -> Path:
    Image.fromarray(RGB).save(path, "JPEG", icc_profile=icc, quality=95)
    return path


def read(path: Path) -> tuple[bool, Rgb]:
    with open_slide(path) as slide:
        return slide.info.icc_profile, slide.read(Box(0, 0, 100, 80), Size(100, 80))


@pytest.mark.parametrize("write", [svs, write_tiff, flat_tiff, png, jpeg])
def test_the_profile_is_reported_and_the_pixels_stay(tmp_path: Path, write: Writer) -> None:
    without, plain = read(write(tmp_path / "without", None))
    with_profile, same = read(write(tmp_path / "with", ICC))
    assert not without
    assert with_profile
    np.testing.assert_array_equal(same, plain)


def test_a_real_svs_has_none_and_its_dicom_twin_has_one(shared_slides: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as slide:
        assert not slide.info.icc_profile
    with open_slide(shared_slides / "dicom_CMU-1-Small-Region") as slide:
        assert slide.info.icc_profile
