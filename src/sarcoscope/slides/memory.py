"""A slide that is an array: the fake that tests and the phantom hand to code that wants a slide."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from typing_extensions import override

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.core.slide import Scale, SlideInfo
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.resample import level_of

HALF_MICRON = Scale(mpp=Mpp(0.5), source="memory")


class MemorySlide(PyramidSource):
    """A `SlideSource` over an (height, width, 3) uint8 array, which is copied.

    `levels` counts the levels of a pyramid of halvings; each holds at least one px. `files` is empty: the
    pixels come from no file.
    """

    def __init__(
        self,
        rgb: Rgb,
        *,
        scale: Scale | None = HALF_MICRON,
        levels: int = 1,
        path: Path = Path("memory"),
        power: float | None = None,
        associated: Mapping[str, Rgb] | None = None,
    ) -> None:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise InputError(f"pixels of shape {rgb.shape} {rgb.dtype}, want (height, width, 3) uint8")
        if not 1 <= levels <= max(rgb.shape[:2]).bit_length():
            raise InputError(f"{levels} levels of a slide of {rgb.shape[1]}x{rgb.shape[0]} px")
        self._pixels = _halvings(rgb, levels)
        self._associated = {name: image.copy() for name, image in (associated or {}).items()}
        sizes = [Size(level.shape[1], level.shape[0]) for level in self._pixels]
        info = SlideInfo(
            vendor="memory",
            size=sizes[0],
            levels=tuple(level_of(sizes[0], size) for size in sizes),
            scale=scale,
            objective_power=power,
            associated=tuple(sorted(self._associated)),
        )
        super().__init__(path, (), info)

    @override
    def _fetch(self, level: int, box_lv: Box, /) -> Rgb:
        return self._pixels[level][box_lv.top : box_lv.bottom, box_lv.left : box_lv.right].copy()

    @override
    def _fetch_associated(self, name: str) -> Rgb:
        return self._associated[name].copy()

    @override
    def _release(self) -> None:
        self._pixels = []
        self._associated = {}


def _halvings(rgb: Rgb, levels: int) -> list[Rgb]:
    """The array and its halvings, each px the mean of 2x2; an odd last row or column has no px of its own."""
    pyramid = [rgb.copy()]
    for _ in range(levels - 1):
        height, width = (max(1, side // 2) for side in pyramid[-1].shape[:2])
        whole = pyramid[-1][: 2 * height, : 2 * width]
        half = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        pyramid.append(np.asarray(half, np.uint8))
    return pyramid
