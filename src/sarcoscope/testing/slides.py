"""The promises of `SlideSource` as tests: a reader's test class inherits them and says how to open its slide."""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import cv2
import numpy as np
import pytest

from sarcoscope.core.errors import InputError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.port import SlideSource


class SlideSourceContract(ABC):
    """Inherit, override `open_slide`, and every rule of the port is tested on that reader.

    The slide is brightfield or not, of any content, and at least 16 px a side.
    """

    shrink_tolerance: ClassVar[float] = 4.0
    """Mean absolute difference, 0..255, allowed between a coarse read and the average of a fine one: the levels
    of a lossy slide are compressed each on its own, and makers shrink with filters of their own."""

    @abstractmethod
    def open_slide(self) -> SlideSource:
        """A freshly opened slide; the test closes it."""

    def test_it_is_a_slide_source(self) -> None:
        with self.open_slide() as slide:
            assert isinstance(slide, SlideSource)

    def test_info_is_consistent_and_stable(self) -> None:
        with self.open_slide() as slide:
            info = slide.info
            assert info.levels[0].size == info.size
            assert info.levels[0].downsample == 1
            downsamples = [level.downsample for level in info.levels]
            assert downsamples == sorted(downsamples)
            for level in info.levels:
                assert abs(level.size.width - info.size.width / level.downsample) < max(1, 0.05 * level.size.width)
                assert abs(level.size.height - info.size.height / level.downsample) < max(1, 0.05 * level.size.height)
            slide.read(_middle(info.size, 8), Size(8, 8))
            assert slide.info == info
        assert slide.info == info

    def test_files_exist_and_are_sorted(self) -> None:
        with self.open_slide() as slide:
            assert list(slide.files) == sorted(slide.files)
            assert all(file.is_file() for file in slide.files)

    @pytest.mark.parametrize("out", [Size(16, 16), Size(5, 7), Size(1, 1)])
    def test_shape_and_type_are_as_asked(self, out: Size) -> None:
        with self.open_slide() as slide:
            pixels = slide.read(_middle(slide.info.size, 16), out)
        assert pixels.shape == (out.height, out.width, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous

    def test_a_read_belongs_to_its_caller(self) -> None:
        with self.open_slide() as slide:
            box = _middle(slide.info.size, 16)
            first = slide.read(box, Size(16, 16))
            kept = first.copy()
            first[:] = 0
            np.testing.assert_array_equal(slide.read(box, Size(16, 16)), kept)

    def test_wholly_outside_is_white(self) -> None:
        with self.open_slide() as slide:
            size = slide.info.size
            for left, top in ((-40, 0), (0, -40), (size.width, 0), (0, size.height), (-10_000, -10_000)):
                assert (slide.read(Box(left, top, 32, 32), Size(32, 32)) == 255).all()

    def test_partly_outside_is_white_there_and_slide_elsewhere(self) -> None:
        with self.open_slide() as slide:
            size = slide.info.size
            for left, top in ((-5, -7), (size.width - 9, size.height - 6), (-5, size.height - 6)):
                self._check_margin(slide, Box(left, top, 16, 16))

    def test_a_box_around_the_whole_slide_is_white_around_it(self) -> None:
        with self.open_slide() as slide:
            size = slide.info.size
            around = Box(-size.width, -size.height, 3 * size.width, 3 * size.height)
            pixels = slide.read(around, Size(30, 30))
        assert (pixels[:9] == 255).all()
        assert (pixels[21:] == 255).all()
        assert (pixels[:, :9] == 255).all()
        assert (pixels[:, 21:] == 255).all()

    def test_two_halves_make_the_whole(self) -> None:
        with self.open_slide() as slide:
            box = _middle(slide.info.size, 256)
            half = box.width // 2
            left = slide.read(Box(box.left, box.top, half, box.height), Size(half, box.height))
            rest = box.width - half
            right = slide.read(Box(box.left + half, box.top, rest, box.height), Size(rest, box.height))
            np.testing.assert_array_equal(np.hstack([left, right]), _plain(slide, box))

    def test_a_coarse_read_is_the_average_of_a_fine_one(self) -> None:
        with self.open_slide() as slide:
            for shrink in (2, 4):
                box = _middle(slide.info.size, 256, multiple=shrink)
                out = Size(box.width // shrink, box.height // shrink)
                want = cv2.resize(_plain(slide, box), (out.width, out.height), interpolation=cv2.INTER_AREA)
                assert self._difference(slide.read(box, out), np.asarray(want, np.uint8)) <= self.shrink_tolerance

    def test_the_whole_slide_in_one_pixel_is_its_mean(self) -> None:
        with self.open_slide() as slide:
            size = slide.info.size
            whole = Box(0, 0, size.width, size.height)
            one, some = slide.read(whole, Size(1, 1)), slide.read(whole, Size(8, 8))
        assert self._difference(one[0, 0], some.mean((0, 1))) <= self.shrink_tolerance

    def test_threads_read_what_one_thread_reads(self) -> None:
        with self.open_slide() as slide:
            size = slide.info.size
            boxes = [Box(x, y, 48, 48) for y in _steps(size.height) for x in _steps(size.width)]
            serial = [slide.read(box, Size(24, 24)) for box in boxes]
            with ThreadPoolExecutor(8) as pool:
                parallel = list(pool.map(lambda box: slide.read(box, Size(24, 24)), boxes))
        np.testing.assert_array_equal(np.stack(parallel), np.stack(serial))

    def test_associated_images_are_readable(self) -> None:
        with self.open_slide() as slide:
            for name in slide.info.associated:
                image = slide.associated(name)
                assert image.ndim == 3
                assert image.shape[2] == 3
                assert image.dtype == np.uint8

    def test_an_unknown_associated_image_is_refused(self) -> None:
        with self.open_slide() as slide, pytest.raises(InputError, match="no such thing"):
            slide.associated("no such thing")

    def test_a_closed_slide_refuses_to_read(self) -> None:
        slide = self.open_slide()
        slide.close()
        slide.close()
        with pytest.raises(SlideReadError, match="closed"):
            slide.read(Box(0, 0, 8, 8), Size(8, 8))

    def test_with_closes(self) -> None:
        with self.open_slide() as slide:
            pass
        with pytest.raises(SlideReadError, match="closed"):
            slide.read(Box(0, 0, 8, 8), Size(8, 8))

    @staticmethod
    def _check_margin(slide: SlideSource, box: Box) -> None:
        size = slide.info.size
        pixels = _plain(slide, box)
        inside = Box(
            max(box.left, 0),
            max(box.top, 0),
            min(box.right, size.width) - max(box.left, 0),
            min(box.bottom, size.height) - max(box.top, 0),
        )
        want = np.full_like(pixels, 255)
        top, left = inside.top - box.top, inside.left - box.left
        want[top : top + inside.height, left : left + inside.width] = _plain(slide, inside)
        np.testing.assert_array_equal(pixels, want)

    @staticmethod
    def _difference(one: np.typing.NDArray[np.generic], other: np.typing.NDArray[np.generic]) -> float:
        return float(np.abs(one.astype(float) - other.astype(float)).mean())


def _plain(slide: SlideSource, box: Box) -> Rgb:
    """Level-0 px as they are."""
    return slide.read(box, Size(box.width, box.height))


def _middle(size: Size, longest: int, multiple: int = 1) -> Box:
    """A box around the middle of the slide, its sides a multiple, its corner on multiples, of so many px."""
    width, height = (min(longest, side) // multiple * multiple for side in (size.width, size.height))
    left, top = (size.width - width) // 2 // 8 * 8, (size.height - height) // 2 // 8 * 8
    return Box(left, top, width, height)


def _steps(length: int) -> range:
    return range(-16, length, max(1, length // 4))
