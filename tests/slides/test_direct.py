"""The direct path is held to OpenSlide, its slow twin: equal px as stored, near ones where the DCT shrinks."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typing_extensions import override

from sarcoscope.core.errors import InputError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.tiff_direct import TiffJpegReader
from sarcoscope.testing.slides import SlideSourceContract
from sarcoscope.testing.strategies import boxes_around
from tests.slides.images import APERIO, tissue, write_svs

SIZE = Size(610, 405)


def direct(path: Path) -> TiffJpegReader:
    slide = open_slide(path)
    assert isinstance(slide, TiffJpegReader)
    return slide


class TestDirectSvs(SlideSourceContract):
    @pytest.fixture(autouse=True)
    def _use_tmp(self, tmp_path: Path) -> None:
        self.tmp = tmp_path

    @override
    def open_slide(self) -> SlideSource:
        return direct(write_svs(self.tmp / "a.svs", tissue(SIZE.width, SIZE.height)))


class TestDirectSvsOfOneLevel(TestDirectSvs):
    @override
    def open_slide(self) -> SlideSource:
        return direct(write_svs(self.tmp / "a.svs", tissue(SIZE.width, SIZE.height), levels=1))


def write_tiff(path: Path, rgb: Rgb, *, tile: int = 64, **how: Any) -> Path:
    with tifffile.TiffWriter(path, bigtiff=bool(how.pop("big", False)), byteorder=how.pop("order", "<")) as tiff:
        settings = {"compression": "jpeg", "photometric": "rgb", "metadata": None} | how
        tiff.write(rgb, tile=(tile, tile), **settings)
    return path


KINDS: dict[str, dict[str, Any]] = {
    "aperio": {"description": APERIO.format(width=SIZE.width, height=SIZE.height, tile=64, power=20, mpp=0.5)},
    "generic": {},
    "rgb": {"compressionargs": {"outcolorspace": "rgb"}},
    "4:2:0": {"photometric": "ycbcr", "subsampling": (2, 2)},
    "4:2:2": {"photometric": "ycbcr", "subsampling": (2, 1)},
    "bigtiff": {"big": True},
    "tile of 48": {"tile": 48},
}


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TiffJpegReader, OpenSlideReader]]:
    path = tmp_path_factory.mktemp("direct") / "a.tif"
    write_tiff(path, tissue(SIZE.width, SIZE.height), **KINDS[request.param])
    with direct(path) as ours, OpenSlideReader(path) as twin:
        yield ours, twin


@given(box=boxes_around(SIZE))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_native_pixels_are_openslides(pair: tuple[TiffJpegReader, OpenSlideReader], box: Box) -> None:
    ours, twin = pair
    assert ours.info == twin.info
    out = Size(box.width, box.height)
    np.testing.assert_array_equal(ours.read(box, out), twin.read(box, out))


@given(x=st.integers(0, 30), y=st.integers(0, 20), side=st.integers(2, 20), shrink=st.sampled_from([2, 4, 8]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shrunk_pixels_are_nearly_the_average(
    pair: tuple[TiffJpegReader, OpenSlideReader], x: int, y: int, side: int, shrink: int
) -> None:
    ours, twin = pair
    box = Box(x * shrink, y * shrink, side * shrink, side * shrink)
    out = Size(side, side)
    difference = np.abs(ours.read(box, out).astype(int) - twin.read(box, out))
    # The texture is noise at this scale; of tissue see below. Where chroma is halved one way only (4:2:2), the decoder
    # leaves it halved at every scale.
    first = ours.jpeg(0, 0, 0)
    assert first is not None
    mean, most = (8, 48) if first[1].sampling[0] == (2, 1) else (4, 16)
    assert difference.mean() <= mean
    assert difference.max() <= most


def test_every_level_of_a_pyramid_is_openslides(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", tissue(1000, 700), levels=4)
    with direct(path) as ours, OpenSlideReader(path) as twin:
        assert all(ours.jpeg_levels)
        for index, level in enumerate(ours.info.levels):
            whole = Box(0, 0, level.size.width, level.size.height)
            np.testing.assert_array_equal(ours.read_level(index, whole), twin.read_level(index, whole))


def test_real_tissue_is_openslides(shared_slides: Path) -> None:
    path = shared_slides / "CMU-1-Small-Region.svs"
    with direct(path) as ours, OpenSlideReader(path) as twin:
        whole = Box(0, 0, twin.info.size.width, twin.info.size.height)
        out = Size(whole.width, whole.height)
        np.testing.assert_array_equal(ours.read(whole, out), twin.read(whole, out))


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_real_tissue_shrunk_is_within_the_stated_tolerance(shared_slides: Path, shrink: int) -> None:
    path = shared_slides / "CMU-1-Small-Region.svs"
    with direct(path) as ours, OpenSlideReader(path) as twin:
        box, out = Box(0, 0, 2048, 2048), Size(2048 // shrink, 2048 // shrink)
        difference = np.abs(ours.read(box, out).astype(int) - twin.read(box, out))
    assert difference.mean() <= 0.15
    assert np.mean(difference > 3) <= 0.01


def test_a_stored_level_is_read_before_a_shrunk_one(tmp_path: Path) -> None:
    rgb = tissue(1024, 1024)
    with tifffile.TiffWriter(tmp_path / "b.svs") as tiff:  # level 1 is no shrunk level 0, but black
        description = APERIO.format(width=1024, height=1024, tile=256, power=40, mpp=0.25)
        for level in (rgb, np.zeros((512, 512, 3), np.uint8)):
            tiff.write(
                level, tile=(256, 256), compression="jpeg", photometric="rgb", description=description, metadata=None
            )
    with direct(tmp_path / "b.svs") as slide:
        assert slide.read(Box(0, 0, 512, 512), Size(256, 256)).max() == 0
        assert slide.read(Box(0, 0, 1024, 1024), Size(128, 128)).max() == 0


def test_absent_tiles_are_what_openslide_makes_of_them(tmp_path: Path) -> None:
    for name, description in (("a.svs", KINDS["aperio"]["description"]), ("b.tif", None)):
        path = write_tiff(tmp_path / name, tissue(SIZE.width, SIZE.height), description=description)
        _patch_tile(path, 12, b"")
        with direct(path) as ours, OpenSlideReader(path) as twin:
            assert ours.payload(0, 2, 1) is None
            for box in (Box(100, 40, 150, 120), Box(128, 64, 64, 64)):
                out = Size(box.width, box.height)
                np.testing.assert_array_equal(ours.read(box, out), twin.read(box, out))
            assert ours.read(Box(128, 64, 64, 64), Size(16, 16)).shape == (16, 16, 3)


def test_aperio_tiles_over_an_absent_one_are_openslides(tmp_path: Path) -> None:
    """Aperio's encoder can write wrong pixels there, so OpenSlide paints them from the finer level."""
    path = write_svs(tmp_path / "a.svs", tissue(1024, 1024), levels=3)
    _patch_tile(path, 16 * 5 + 6, b"")  # column 6, row 5: tile 3, 2 of level 1 and tile 1, 1 of level 2
    with direct(path) as ours, OpenSlideReader(path) as twin:
        for level, column, row, hole in ((1, 3, 2, True), (2, 1, 1, True), (1, 2, 2, False), (2, 2, 1, False)):
            box = Box(64 * column, 64 * row, 64, 64)
            pixels = ours.read_level(level, box)
            np.testing.assert_array_equal(pixels, twin.read_level(level, box))
            assert bool((pixels == 255).all(axis=2).any()) is hole
        box = Box(320, 256, 256, 256)
        assert np.abs(ours.read(box, Size(128, 128)).astype(int) - twin.read(box, Size(128, 128))).max() <= 8


def test_three_colours_that_are_said_to_be_gray_are_left_to_openslide(tmp_path: Path) -> None:
    rgb = tissue(SIZE.width, SIZE.height)
    path = write_tiff(tmp_path / "a.tif", rgb, photometric="ycbcr", subsampling=(1, 1))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(int(tifffile.PHOTOMETRIC.MINISBLACK))
    with open_slide(path) as slide, OpenSlideReader(path) as twin:
        box, out = Box(0, 0, 200, 200), Size(200, 200)
        np.testing.assert_array_equal(slide.read(box, out), twin.read(box, out))


def test_a_narrow_slide_is_shrunk_by_what_the_decoder_shrinks_it(tmp_path: Path) -> None:
    """23 px at 1/8 are 2 px, each of them 8 px wide and not a half of the slide."""
    rgb = np.full((1000, 23, 3), 255, np.uint8)
    rgb[:, :8] = 0
    with direct(write_tiff(tmp_path / "a.tif", rgb)) as slide:
        assert slide.read(Box(8, 400, 10, 400), Size(1, 40)).min() >= 250


def test_a_progressive_tile_is_left_to_openslide(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", tissue(SIZE.width, SIZE.height), photometric="ycbcr", subsampling=(1, 1))
    buffer = io.BytesIO()
    Image.fromarray(tissue(64, 64, seed=5)).save(buffer, "JPEG", progressive=True, subsampling=0)
    _patch_tile(path, 12, buffer.getvalue())
    with direct(path) as ours, OpenSlideReader(path) as twin:
        box = Box(128, 64, 64, 64)
        np.testing.assert_array_equal(ours.read(box, Size(64, 64)), twin.read(box, Size(64, 64)))
        assert np.abs(ours.read(box, Size(64, 64)).astype(int) - tissue(64, 64, seed=5)).mean() < 4


def test_a_damaged_tile_is_a_read_error(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", tissue(SIZE.width, SIZE.height))
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        at, count = page.dataoffsets[12], page.databytecounts[12]
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(count))
    with direct(path) as ours:
        assert ours.read(Box(0, 0, 64, 64), Size(64, 64)).shape == (64, 64, 3)
        with pytest.raises(SlideReadError, match=r"a\.tif"):
            ours.read(Box(128, 64, 64, 64), Size(64, 64))


def test_what_is_not_jpeg_tiles_stays_with_openslide(tmp_path: Path) -> None:
    rgb = tissue(SIZE.width, SIZE.height)
    path = write_tiff(tmp_path / "a.tif", rgb, compression="zlib")
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)


def test_levels_that_are_not_jpeg_tiles_are_read_by_openslide(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    rgb = tissue(512, 512)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(rgb, tile=(64, 64), compression="jpeg", photometric="rgb", metadata=None)
        tiff.write(rgb[::2, ::2], tile=(64, 64), compression="zlib", photometric="rgb", subfiletype=1, metadata=None)
    with direct(path) as slide:
        assert [level is not None for level in slide.jpeg_levels] == [True, False]
        np.testing.assert_array_equal(slide.read_level(1, Box(3, 5, 200, 100)), rgb[::2, ::2][5:105, 3:203])


def test_payloads_are_the_files_bytes(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", tissue(SIZE.width, SIZE.height))
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff, direct(path) as slide:
        page = tiff.pages.first
        for index, (at, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
            assert slide.payload(0, index % 10, index // 10) == content[at : at + count]


def test_a_box_outside_a_level_is_refused(tmp_path: Path) -> None:
    with direct(write_svs(tmp_path / "a.svs", tissue(300, 200))) as slide, pytest.raises(InputError, match="level 1"):
        slide.read_level(1, Box(100, 50, 51, 50))


def _patch_tile(path: Path, index: int, jpeg: bytes) -> None:
    """Put another stream in the place of a tile, at the end of the file; an empty one makes the tile absent."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.pages.first
        offsets, counts = list(page.dataoffsets), list(page.databytecounts)
        tiff.filehandle.seek(0, 2)
        offsets[index] = tiff.filehandle.tell() if jpeg else 0
        counts[index] = len(jpeg)
        tiff.filehandle.write(jpeg)
        page.tags["TileOffsets"].overwrite(offsets)
        page.tags["TileByteCounts"].overwrite(counts)
