"""Slides that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, CZI, DICOM, tiled TIFF and more.

One OpenSlide handle serves all threads. Its pixels are premultiplied ARGB; they are laid over white here.
After a failed read the handle stays in error (OpenSlide's rule), so every later read of that slide fails too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import POINTER, c_uint32
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import openslide
from openslide import lowlevel
from typing_extensions import override

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import SlideInfo
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.dicom import series_files
from sarcoscope.slides.resample import WHITE, level_of
from sarcoscope.slides.scale import GivenScale, ScaleClaim, scale_or_problem

_DICOM_SPACING: Final = "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[0]"

_SCALE_PLACES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "aperio": (("aperio.MPP", "aperio.MPP"),),
    "dicom": ((_DICOM_SPACING, "DICOM PixelSpacing"),),
    "generic-tiff": (("tiff.XResolution", "TIFF XResolution"),),
    "hamamatsu": (("hamamatsu.PhysicalWidth", "hamamatsu.PhysicalWidth"), ("tiff.XResolution", "NDPI XResolution")),
    "mirax": (("mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X", "MRXS MICROMETER_PER_PIXEL"),),
    "philips": (("philips.DICOM_PIXEL_SPACING", "philips.DICOM_PIXEL_SPACING"),),
    "trestle": (("tiff.XResolution", "TIFF XResolution"),),
    "ventana": (("ventana.ScanRes", "ventana.ScanRes"),),
}
"""By vendor: the raw properties from which OpenSlide takes um/px, and what to call them."""

_WHOLE_PX_MAX: Final = 8192 * 8192
"""Largest tile and largest associated image, px: 256 MiB in OpenSlide's hands. Scanners write 240 to 4096 px a side."""
_ICC_BYTES_MAX: Final = 64 * 1024 * 1024
_DAMAGED: Final = "the file is damaged: copy it from the scanner again"

_UM_PER_UNIT: Final[Mapping[str, float]] = {"inch": 25_400.0, "centimeter": 10_000.0}


class OpenSlideReader(PyramidSource):
    """A `SlideSource` over one OpenSlide handle. Raises SlideOpenError with OpenSlide's own reason."""

    def __init__(self, path: Path, *, given: GivenScale | None = None) -> None:
        with _translated(path, SlideOpenError, "copy it again if it may be cut short, or convert it to SVS"):
            handle = lowlevel.open(path)
        try:
            with _translated(path, SlideOpenError, "its metadata cannot be read: copy it from the scanner again"):
                info = _info(handle, given)
                _check_memory(path, info)
                self._downsamples = tuple(
                    lowlevel.get_level_downsample(handle, level) for level in range(len(info.levels))
                )
            files = _files(path, info)
        except SlideError:
            lowlevel.close(handle)
            raise
        self._handle = handle
        super().__init__(path, files, info)

    @override
    def _fetch(self, level: int, box_lv: Box, /) -> Rgb:
        argb = np.empty((box_lv.height, box_lv.width), np.uint32)
        left_l0 = round(box_lv.left * self._downsamples[level])
        top_l0 = round(box_lv.top * self._downsamples[level])
        with _translated(self.path, SlideReadError, "the file may be damaged: copy it from the scanner again"):
            # The public read_region turns the pixels into an un-premultiplied PIL image: 0.6 ms more for 512 px.
            lowlevel._read_region(  # noqa: SLF001 - tests hold it to the public one
                self._handle,
                argb.ctypes.data_as(POINTER(c_uint32)),
                left_l0,
                top_l0,
                level,
                box_lv.width,
                box_lv.height,
            )
        return over_white(argb)

    @override
    def _fetch_associated(self, name: str) -> Rgb:
        with _translated(self.path, SlideReadError, f"its {name} image is damaged; its tiles may still be sound"):
            rgba = np.asarray(lowlevel.read_associated_image(self._handle, name))
        alpha = rgba[..., 3:].astype(np.uint16)
        mixed = (rgba[..., :3] * alpha + WHITE * (255 - alpha) + 127) // 255
        return mixed.astype(np.uint8)

    @override
    def _fetch_icc_profile(self) -> bytes | None:
        with _translated(self.path, SlideReadError, "its ICC profile is damaged: copy it from the scanner again"):
            return lowlevel.read_icc_profile(self._handle)

    @override
    def _release(self) -> None:
        lowlevel.close(self._handle)


def over_white(argb: npt.NDArray[np.uint32]) -> Rgb:
    """(height, width) premultiplied ARGB in native byte order, laid over white, as (height, width, 3) uint8."""
    bgra = argb.astype("<u4", copy=False).view(np.uint8).reshape(*argb.shape, 4)
    rgb = np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), np.uint8)
    if argb.min() < 0xFF00_0000:
        rgb += WHITE - bgra[..., 3:]
    return rgb


def detect_vendor(path: Path) -> str | None:
    """OpenSlide's name for the format, None where it knows none; a look at the head of the file only."""
    with _translated(path, SlideOpenError, "copy it from the scanner again"):
        return openslide.OpenSlide.detect_format(path)


@contextmanager
def _translated(path: Path, into: type[SlideError], advice: str) -> Iterator[None]:
    """OpenSlide's errors as ours, once, at the door."""
    try:
        yield
    except openslide.OpenSlideError as error:
        reason = str(error).removeprefix(f"Reading {path}: ").replace(str(path), "it")
        raise into(path, f"OpenSlide: {reason}", advice) from error


def _info(handle: lowlevel._OpenSlide, given: GivenScale | None) -> SlideInfo:
    properties = {name: lowlevel.get_property_value(handle, name) for name in lowlevel.get_property_names(handle)}
    count = lowlevel.get_level_count(handle)
    sizes = [Size(*lowlevel.get_level_dimensions(handle, level)) for level in range(count)]
    vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
    claim = scale_claim(vendor, properties)
    scale, problem = scale_or_problem(claim, given)
    return SlideInfo(
        vendor=vendor,
        size=sizes[0],
        levels=tuple(level_of(sizes[0], size) for size in sizes),
        scale=scale,
        scale_problem=problem,
        objective_power=claim.power,
        associated=tuple(sorted(lowlevel.get_associated_image_names(handle))),
        icc_profile="openslide.icc-size" in properties,
        properties=properties,
    )


def _check_memory(path: Path, info: SlideInfo) -> None:
    """Refuse what OpenSlide would have to hold whole and cannot: GLib ends the process where memory fails."""
    for index in range(len(info.levels)):
        sides = [info.properties.get(f"openslide.level[{index}].tile-{side}", "1") for side in ("width", "height")]
        if int(sides[0]) * int(sides[1]) > _WHOLE_PX_MAX:
            raise SlideOpenError(path, f"states tiles of {sides[0]}x{sides[1]} px in level {index}", _DAMAGED)
    for name in info.associated:
        sides = [info.properties.get(f"openslide.associated.{name}.{side}", "1") for side in ("width", "height")]
        if int(sides[0]) * int(sides[1]) > _WHOLE_PX_MAX:
            raise SlideOpenError(path, f"states a {name} image of {sides[0]}x{sides[1]} px", _DAMAGED)
    if int(info.properties.get("openslide.icc-size", "0")) > _ICC_BYTES_MAX:
        size = info.properties["openslide.icc-size"]
        raise SlideOpenError(path, f"states an ICC profile of {size} bytes", _DAMAGED)


def scale_claim(vendor: str, properties: Mapping[str, str]) -> ScaleClaim:
    """What OpenSlide's properties claim of the scale.

    A raw value that OpenSlide could not parse counts as NaN: the file does say something, but no number.
    """
    place, source = next(
        (pair for pair in _SCALE_PLACES.get(vendor, ()) if pair[0] in properties), ("", openslide.PROPERTY_NAME_MPP_X)
    )
    mpp_x = _number(properties.get(openslide.PROPERTY_NAME_MPP_X))
    mpp_y = _number(properties.get(openslide.PROPERTY_NAME_MPP_Y))
    if mpp_x is None and mpp_y is None and place and place != "tiff.XResolution":
        mpp_x = float("nan")
    return ScaleClaim(
        mpp_x=mpp_x,
        mpp_y=mpp_y,
        power=_number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
        source=f"file: {source}",
        others=() if place == "tiff.XResolution" else _tiff_resolution(properties),
    )


def _tiff_resolution(properties: Mapping[str, str]) -> tuple[tuple[str, float], ...]:
    """um/px by the TIFF resolution tags, where they are there and in a unit of length."""
    per_unit = _number(properties.get("tiff.XResolution"))
    um = _UM_PER_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
    if um is None or per_unit is None or not per_unit > 0:
        return ()
    return (("TIFF XResolution", um / per_unit),)


def _number(text: str | None) -> float | None:
    """The number in a property, None where it is absent, NaN where it is no number."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _files(path: Path, info: SlideInfo) -> tuple[Path, ...]:
    """The files whose bytes make up the slide."""
    if info.vendor == "dicom" and "dicom.SeriesInstanceUID" in info.properties:  # not where it is no text
        return series_files(path, info.properties["dicom.SeriesInstanceUID"])
    if info.vendor == "mirax":
        return tuple(sorted((path, *(file for file in path.with_suffix("").iterdir() if file.is_file()))))
    return (path,)
