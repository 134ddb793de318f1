import threading
import time
from pathlib import Path

import numpy as np
import openslide
import pytest
from typing_extensions import override

from sarcoscope.core.errors import SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import Level, SlideInfo
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.openslide_reader import OpenSlideReader, over_white
from tests.slides.images import tissue, write_svs


def read_plainly(path: Path, box: Box) -> Rgb:
    """Level-0 px by OpenSlide's public door, laid over white by Pillow's arithmetic."""
    with openslide.OpenSlide(path) as slide:
        rgba = np.asarray(slide.read_region((box.left, box.top), 0, (box.width, box.height))).astype(float)
    alpha = rgba[..., 3:] / 255
    return np.asarray(np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)), np.uint8)


@pytest.mark.parametrize("box", [Box(0, 0, 100, 100), Box(-20, 30, 64, 64), Box(133, 77, 200, 150)])
def test_the_fast_read_equals_the_plain_read(tmp_path: Path, box: Box) -> None:
    path = write_svs(tmp_path / "a.svs", tissue(300, 200))
    with OpenSlideReader(path) as slide:
        np.testing.assert_array_equal(slide.read(box, Size(box.width, box.height)), read_plainly(path, box))


@pytest.mark.parametrize(
    ("argb", "rgb"),
    [
        (0xFF102030, (0x10, 0x20, 0x30)),
        (0x00000000, (255, 255, 255)),
        (0x80400000, (0x40 + 127, 127, 127)),  # half of (128, 0, 0), premultiplied
    ],
)
def test_premultiplied_pixels_over_white(argb: int, rgb: tuple[int, int, int]) -> None:
    assert tuple(over_white(np.array([[argb]], np.uint32))[0, 0]) == rgb


def test_levels_are_read_where_they_are_coarse_enough(tmp_path: Path) -> None:
    image = tissue(512, 512)
    with OpenSlideReader(write_svs(tmp_path / "a.svs", image)) as slide:
        got = slide.read(Box(128, 128, 256, 256), Size(64, 64)).astype(float)
    means = image[128:384, 128:384].reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(got - means).mean() < 3


def test_a_path_with_umlauts_and_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "Präparate der Ärzte"
    folder.mkdir()
    with OpenSlideReader(write_svs(folder / "ä b.svs", tissue(64, 64))) as slide:
        assert slide.read(Box(0, 0, 8, 8), Size(8, 8)).shape == (8, 8, 3)


class _Slow(PyramidSource):
    """Reads only when told to, and says whether it was given back under a read."""

    def __init__(self) -> None:
        size = Size(8, 8)
        info = SlideInfo(vendor="slow", size=size, levels=(Level(size=size, downsample=1.0),), scale=None)
        super().__init__(Path("slow"), (), info)
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.released = False
        self.released_during_read = False

    @override
    def _fetch(self, level: int, box_lv: Box, /) -> Rgb:
        self.reading.set()
        self.go_on.wait(10)
        self.released_during_read = self.released
        return np.zeros((box_lv.height, box_lv.width, 3), np.uint8)

    @override
    def _release(self) -> None:
        self.released = True


def test_closing_waits_for_reads_under_way() -> None:
    slide = _Slow()
    reader = threading.Thread(target=lambda: slide.read(Box(0, 0, 8, 8), Size(8, 8)))
    reader.start()
    slide.reading.wait(10)
    closer = threading.Thread(target=slide.close)
    closer.start()
    time.sleep(0.05)
    with pytest.raises(SlideReadError, match="closed"):
        slide.read(Box(0, 0, 8, 8), Size(8, 8))
    slide.go_on.set()
    reader.join(10)
    closer.join(10)
    assert slide.released
    assert not slide.released_during_read
