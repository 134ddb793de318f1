"""What a file is decides who reads it, not what it is called."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from sarcoscope.core.errors import SlideOpenError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import SlideInfo
from sarcoscope.slides.opening import open_slide
from sarcoscope.testing.kfb_writer import write_kfb
from sarcoscope.testing.zyp_writer import write_zyp
from tests.slides.images import tissue, write_svs
from tests.slides.test_dicom import write_instance
from tests.slides.test_jpeg2000 import RGB, write_jpeg2000_svs

PICTURE = tissue(150, 110)
ENDINGS = (
    *("", ".bif", ".czi", ".dcm", ".gif", ".isyntax", ".jpg", ".kfb", ".mrxs", ".ndpi", ".png", ".scn", ".sdpc"),
    *(".svs", ".svslide", ".tif", ".txt", ".vms", ".vsi", ".zip", ".zyp"),
)


def write_generic_tiff(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PICTURE, tile=(64, 64), photometric="rgb", compression="jpeg", metadata=None)
    return path


def write_flat_tiff(path: Path) -> Path:
    tifffile.imwrite(path, PICTURE, photometric="rgb", resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    return path


def write_png(path: Path) -> Path:
    Image.fromarray(PICTURE).save(path, "PNG")
    return path


def write_jpeg(path: Path) -> Path:
    Image.fromarray(PICTURE).save(path, "JPEG")
    return path


WRITERS: dict[str, Callable[[Path], object]] = {
    "Aperio SVS": lambda path: write_svs(path, PICTURE),
    "Aperio SVS, JPEG 2000": lambda path: write_jpeg2000_svs(path, PICTURE, RGB),
    "DICOM": write_instance,
    "generic TIFF": write_generic_tiff,
    "flat TIFF": write_flat_tiff,
    "KFB": lambda path: write_kfb(path, PICTURE),
    "PNG": write_png,
    "JPEG": write_jpeg,
    "ZYP": lambda path: write_zyp(path, PICTURE),
}


def seen(path: Path) -> tuple[str, SlideInfo, Rgb]:
    """By which reader a file is opened, what it says of it, and what it reads."""
    with open_slide(path) as slide:
        return type(slide).__name__, slide.info, slide.read(Box(20, 10, 64, 48), Size(64, 48))


@pytest.mark.parametrize("name", WRITERS)
def test_a_slide_opens_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "slide"
    WRITERS[name](path)
    reader, info, pixels = seen(path)
    for ending in ENDINGS:
        if name == "JPEG" and ending == ".mrxs":
            continue  # a JPEG of that name is the preview of an MRXS slide: see test_mrxs.py
        path = path.rename(tmp_path / f"renamed{ending}")
        again = seen(path)
        assert again[:2] == (reader, info), ending
        np.testing.assert_array_equal(again[2], pixels)


@pytest.mark.parametrize("ending", ["", ".jpg", ".mrxs", ".svs", ".tif"])
def test_a_real_ndpi_opens_under_any_name(shared_slides: Path, tmp_path: Path, ending: str) -> None:
    real = shared_slides / "test3-DAPI-2-387.ndpi"
    (tmp_path / f"renamed{ending}").symlink_to(real)
    assert seen(tmp_path / f"renamed{ending}")[1] == seen(real)[1]


def padded(head: bytes) -> bytes:
    """Such a beginning, and bytes that are no text."""
    return head + bytes(range(32)) * 20


VSI = b"II*\0\x60\0\0\0\x18\0IS"
BMP = b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (
            b'\xef\xbb\xbf<DataObject ObjectType="DPUfsImport">',
            "a Philips iSyntax slide, which is not read here",
        ),
        (b"SQ\x01\0", "an SDPC (TEKSQRAY) slide, which is not read here"),
        (b"SQLite format 3\0", "an SQLite database that holds no Sakura slide"),
        (VSI, "an Olympus VSI slide, which is not read here"),
        (b"ZISRAWFILE\0\0\0\0\0\0", "a Zeiss CZI slide, damaged or of a kind that is not read (OpenSlide: "),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE container (ZVI, OIB, MDS"),
        (b"p\0\0\0", "a Leica LIF file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive, which is not read here; unpack it"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"a.svs".ljust(257, b"\0") + b"ustar", "a tar archive"),
        (b"II\xbc\x01", "a JPEG XR image, which is not read here; save it as"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image outside of a slide"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 image outside of a slide"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"GIF89a", "a GIF image"),
        (BMP, "a BMP image"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP image"),
        (b"\0\0\0\x18ftypheic", "a HEIC or AVIF image"),
        (b"<html><body>sign in</body></html>", "not a slide: it looks like text"),
        (b"slide,mpp\na,0.5\n", "not a slide: it looks like text"),
        (b"\x05\x05\x05\x05", "not a slide that any reader knows"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, head: bytes, words: str) -> None:
    (tmp_path / "a.svs").write_bytes(head if words.endswith("text") else padded(head))
    with pytest.raises(SlideOpenError) as caught:
        open_slide(tmp_path / "a.svs")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.svs'}: ")
    assert caught.value.advice


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.isyntax", "Philips iSyntax"), ("a.SDPC", "SDPC"), ("a.vsi", "Olympus VSI"), ("a.mrxs", "MRXS")],
)
def test_a_scanners_ending_counts_where_the_content_says_nothing(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(padded(b"\x05\x05\x05\x05"))
    with pytest.raises(SlideOpenError, match=f"named like {words}, but its content is not; convert it"):
        open_slide(tmp_path / name)


def test_a_tiff_named_vsi_is_a_tiff(tmp_path: Path) -> None:
    assert seen(write_flat_tiff(tmp_path / "a.vsi"))[1].vendor == "flat"
