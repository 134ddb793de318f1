import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from sarcoscope.core.errors import SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.slides.flat import FLAT_PX_MAX
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.scale import require_scale
from tests.slides.images import tissue

RGB = tissue(40, 30)


def pixels(path: Path) -> Rgb:
    with open_slide(path) as slide:
        size = slide.info.size
        return slide.read(Box(0, 0, size.width, size.height), size)


def refused(path: Path, words: str) -> None:
    with pytest.raises(SlideOpenError, match=words) as caught:
        open_slide(path)
    assert caught.value.advice


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits"])
def test_rgb_tiff_reads_exactly(tmp_path: Path, compression: str | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), RGB)


def test_planar_tiff_reads_exactly(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), RGB)


def test_gray_becomes_rgb(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB[..., 0], photometric="minisblack")
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        np.testing.assert_array_equal(pixels(tmp_path / name), np.repeat(RGB[..., :1], 3, axis=2))


def test_png_reads_exactly_and_transparency_becomes_white(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), RGB)
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, :20] = 255
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "b.png")
    got = pixels(tmp_path / "b.png")
    np.testing.assert_array_equal(got[:, :20], RGB[:, :20])
    assert (got[:, 20:] == 255).all()


def test_palette_png_is_read(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(32)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), np.asarray(palette.convert("RGB")))


def test_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    with open_slide(tmp_path / "a.jpg") as slide:
        assert slide.info.size == Size(40, 30)


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16), photometric="rgb")
    refused(tmp_path / "a.tif", "uint16 samples")
    Image.fromarray(RGB[..., 0].astype(np.uint16)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "16 bits")


def test_print_colours_and_bilevel_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "CMYK")
    Image.fromarray(RGB).convert("1").save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "black and white")


def test_channels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 30, 40), np.uint8), photometric="minisblack")
    refused(tmp_path / "a.tif", "5 images of one size")
    five = np.zeros((30, 40, 5), np.uint8)
    tifffile.imwrite(tmp_path / "b.tif", five, photometric="minisblack", planarconfig="contig")
    refused(tmp_path / "b.tif", "5 samples per px")


def test_a_tiff_palette_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).quantize(16).save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "PALETTE")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (FLAT_PX_MAX // 1000).to_bytes(4, "big") + (1001).to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    refused(tmp_path / "a.png", "100 megapixels, at most 100 are read flat; convert it to a pyramid")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_cut_image_is_a_read_error(tmp_path: Path, name: str) -> None:
    Image.fromarray(tissue(200, 200)).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with open_slide(tmp_path / name) as slide, pytest.raises(SlideReadError, match="cut short"):
        slide.read(Box(0, 0, 9, 9), Size(9, 9))


def test_a_cut_tiff_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-100])
    refused(tmp_path / "a.tif", "cut short")


def test_a_print_density_is_no_scale(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", dpi=(300, 300))
    with open_slide(tmp_path / "a.jpg") as slide:
        assert slide.info.scale is None
        assert slide.info.scale_problem is None


def test_a_tiff_resolution_is_a_claim(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", RGB, photometric="rgb", resolution=(20_000, 20_000), resolutionunit="CENTIMETER"
    )
    with open_slide(tmp_path / "a.tif") as slide:
        assert require_scale(slide).mpp == pytest.approx(0.5)
        assert require_scale(slide).source == "file: TIFF XResolution"
    tifffile.imwrite(tmp_path / "b.tif", RGB, photometric="rgb", resolution=(72, 72), resolutionunit="INCH")
    with open_slide(tmp_path / "b.tif") as slide:
        assert "72 dpi" in str(slide.info.scale_problem)
    with open_slide(tmp_path / "b.tif", mpp=Mpp(0.25)) as slide:
        assert require_scale(slide).mpp == 0.25
        assert "72 dpi" in require_scale(slide).warnings[0]
