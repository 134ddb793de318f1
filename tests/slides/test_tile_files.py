"""Ready-made tiles as files: every kind that is read, and what is not."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Mpp, Rgb
from sarcoscope.slides.tile_encoder import encode_tile
from sarcoscope.slides.tile_files import read_tile_file


def pixels() -> Rgb:
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bin"])
def test_lossless_pictures_come_back_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    kind = "TIFF" if name.endswith("tif") else "PNG"
    Image.fromarray(pixels()).save(tmp_path / name, kind)
    np.testing.assert_array_equal(read_tile_file(tmp_path / name), pixels())


def test_our_own_tiles_come_back(tmp_path: Path) -> None:
    for kind in ("png", "jxl"):
        (tmp_path / "a").write_bytes(encode_tile(pixels(), kind, Mpp(0.5)))
        np.testing.assert_array_equal(read_tile_file(tmp_path / "a"), pixels())
    (tmp_path / "a").write_bytes(encode_tile(np.full((24, 40, 3), 99, np.uint8), "jpeg", Mpp(0.5)))
    assert np.abs(read_tile_file(tmp_path / "a").astype(int) - 99).max() <= 1


def test_gray_is_rgb_and_transparent_is_white(tmp_path: Path) -> None:
    gray = np.full((20, 20), 70, np.uint8)
    Image.fromarray(gray).save(tmp_path / "a.png")
    assert np.unique(read_tile_file(tmp_path / "a.png")).tolist() == [70]
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(gray, lossless=True))
    assert np.unique(read_tile_file(tmp_path / "a.jxl")).tolist() == [70]
    opaque = np.stack([gray, np.full_like(gray, 255)], axis=-1)
    (tmp_path / "c.jxl").write_bytes(imagecodecs.jpegxl_encode(opaque, lossless=True))
    assert read_tile_file(tmp_path / "c.jxl").shape == (*gray.shape, 3)
    assert np.unique(read_tile_file(tmp_path / "c.jxl")).tolist() == [70]
    clear = np.dstack([np.full((20, 20, 3), 10, np.uint8), np.zeros((20, 20), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "b.png")
    (tmp_path / "b.jxl").write_bytes(imagecodecs.jpegxl_encode(clear, lossless=True))
    for name in ("b.png", "b.jxl"):
        assert read_tile_file(tmp_path / name).shape == (20, 20, 3)
        assert np.unique(read_tile_file(tmp_path / name)).tolist() == [255]


def damaged(kind: str) -> bytes:
    content = encode_tile(pixels(), kind, Mpp(0.5))  # type: ignore[arg-type]
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"words and words", "looks like text"),
        (b"%PDF-1.7\0\1\2\3\4\5", "a PDF document"),
        (damaged("png"), "damaged or cut short"),
        (damaged("jpeg"), "damaged or cut short"),
        (damaged("jxl"), "damaged or cut short"),
        (bytes(imagecodecs.jpegxl_encode(np.zeros((20, 20), np.uint16), lossless=True)), "save it as 8-bit RGB"),
    ],
)
def test_what_is_no_tile_is_our_own_error(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SlideError, match=words):
        read_tile_file(tmp_path / "a.png")
    with pytest.raises(SlideError, match="is not there any more"):
        read_tile_file(tmp_path / "nix.png")
