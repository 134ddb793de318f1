from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.slides.tiff_writer import level_sizes, write_pyramid


def picture(size: Size, seed: int = 0) -> Rgb:
    rough = np.random.default_rng(seed).integers(0, 256, (size.height // 40 + 2, size.width // 40 + 2, 3), np.uint8)
    return np.asarray(cv2.resize(rough, (size.width, size.height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def bands(image: Rgb, height: int) -> Iterator[Rgb]:
    for top in range(0, len(image), height):
        yield image[top : top + height]


def level(slide: openslide.OpenSlide, index: int) -> Rgb:
    return np.asarray(slide.read_region((0, 0), index, slide.level_dimensions[index]).convert("RGB"))


def write(path: Path, image: Rgb, band: int = 256, tile: int = 256) -> None:
    size = Size(image.shape[1], image.shape[0])
    write_pyramid(
        path, bands(image, band), size=size, mpp=Mpp(0.25), power=40.0, description="a test", quality=90, tile=tile
    )


def test_openslide_reads_scale_power_and_every_level(tmp_path: Path) -> None:
    image = picture(Size(2300, 1700))
    write(tmp_path / "a.svs", image)
    with openslide.OpenSlide(tmp_path / "a.svs") as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert float(slide.properties["openslide.mpp-y"]) == 0.25
        assert float(slide.properties["openslide.objective-power"]) == 40
        assert slide.level_dimensions == ((2300, 1700), (1150, 850), (575, 425))
        assert "sarcoscope" in slide.properties["openslide.comment"]
        assert slide.associated_images["thumbnail"].size == (575, 425)
        expected = image
        for index in range(slide.level_count):
            assert np.abs(level(slide, index).astype(int) - expected).mean() < 3
            expected = np.asarray(
                cv2.resize(expected, (expected.shape[1] // 2, expected.shape[0] // 2), interpolation=cv2.INTER_AREA)
            )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 1500),
    height=st.integers(1, 1500),
    band=st.integers(1, 700),
    tile=st.sampled_from([16, 64, 240, 256]),
)
def test_any_size_band_and_tile_comes_back(tmp_path: Path, width: int, height: int, band: int, tile: int) -> None:
    image = picture(Size(width, height))
    write(tmp_path / "a.tiff", image, band, tile)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert slide.level_dimensions == tuple((one.width, one.height) for one in level_sizes(Size(width, height)))
        assert np.abs(level(slide, 0).astype(int) - image).mean() < 6
        last = slide.level_count - 1
        assert np.abs(level(slide, last).mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 5


def test_bytes_do_not_depend_on_the_bands(tmp_path: Path) -> None:
    image = picture(Size(1500, 1100))
    for name, band in (("a", 1), ("b", 300), ("c", 1100)):
        write(tmp_path / name, image, band)
    pages = []
    for name in "abc":
        with tifffile.TiffFile(tmp_path / name) as tiff:
            pages.append([page.asarray() for page in tiff.pages])
    for one in pages[1:]:
        assert all(np.array_equal(x, y) for x, y in zip(pages[0], one, strict=True))


def test_without_power_none_is_claimed(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "a.tiff", [picture(Size(300, 300))], size=Size(300, 300), mpp=Mpp(0.5), power=None)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert "openslide.objective-power" not in slide.properties
        assert float(slide.properties["openslide.mpp-x"]) == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        [np.zeros((100, 300, 3), np.uint8)],
        [np.zeros((400, 300, 3), np.uint8)],
        [np.zeros((300, 300, 3), np.uint8), np.zeros((1, 300, 3), np.uint8)],
        [np.zeros((300, 299, 3), np.uint8)],
        [np.zeros((300, 300), np.uint8)],
        [np.zeros((300, 300, 3), np.float32)],
        [],
    ],
)
def test_bands_that_do_not_add_up_are_refused_and_nothing_stays(tmp_path: Path, wrong: list[Rgb]) -> None:
    with pytest.raises(InputError, match=r"want|more than"):
        write_pyramid(tmp_path / "a.tiff", wrong, size=Size(300, 300), mpp=Mpp(0.25), power=40.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"tile": 100}, {"tile": 0}, {"quality": 0}, {"quality": 101}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="want"):
        write_pyramid(tmp_path / "a", [], size=Size(300, 300), mpp=Mpp(0.25), power=40.0, **change)


@pytest.mark.parametrize("words", ["a|b", "two\nlines", "µ"])
def test_descriptions_that_would_break_the_header_are_refused(tmp_path: Path, words: str) -> None:
    with pytest.raises(InputError, match="ASCII"):
        write_pyramid(tmp_path / "a", [], size=Size(300, 300), mpp=Mpp(0.25), power=40.0, description=words)


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Rgb]:
        yield np.zeros((600, 1200, 3), np.uint8)
        raise KeyboardInterrupt

    path = tmp_path / "a.tiff"
    path.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt):
        write_pyramid(path, interrupted(), size=Size(1200, 1200), mpp=Mpp(0.25), power=40.0)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        write(tmp_path / "nowhere" / "a.tiff", picture(Size(300, 300)))
