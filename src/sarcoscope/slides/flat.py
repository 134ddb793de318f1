"""Single images as slides: PNG, JPEG and the TIFFs that OpenSlide refuses because they are not tiled.

8-bit RGB, gray and PNG palettes; everything else is refused by name. The image is decoded whole at the first
read and kept until `close`, hence the limit on its size. A print resolution is no scale: PNG and JPEG densities
are ignored; a TIFF's resolution tags count as a claim like any slide's. EXIF orientation is not applied: boxes
are in the pixels as stored, as they are for every other slide.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from PIL import Image, JpegImagePlugin, PngImagePlugin
from typing_extensions import override

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import SlideInfo
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.foreign import DECODER_ERRORS
from sarcoscope.slides.resample import WHITE, level_of
from sarcoscope.slides.scale import GivenScale, ScaleClaim, scale_or_problem

FLAT_PX_MAX: Final = 100_000_000
"""Largest flat image, px: 300 MB decoded. A larger one is a pyramid's business."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_BIT_DEPTH_AT: Final = 24
_READABLE_MODES: Final = {"L", "RGB", "P", "LA", "PA", "RGBA"}
_MODE_WORDS: Final = {"1": "black and white only", "CMYK": "CMYK print colours", "I;16": "16 bits per sample"}
_SAVE_AS: Final = "save it as 8-bit RGB TIFF or PNG"
_COPY_AGAIN: Final = "copy it from its origin again"
_UM_PER_UNIT: Final = {2: 25_400.0, 3: 10_000.0}
"""TIFF ResolutionUnit: inch, centimetre."""


@dataclass(frozen=True, slots=True)
class _Flat:
    """What the header of a flat image says."""

    kind: str
    size: Size
    icc_profile: bool
    claim: ScaleClaim


class FlatImageReader(PyramidSource):
    """A `SlideSource` of one level over one PNG, JPEG or flat TIFF. Raises SlideOpenError."""

    def __init__(self, path: Path, *, given: GivenScale | None = None) -> None:
        with _translated(path, SlideOpenError):
            with path.open("rb") as file:
                head = file.read(32)
            flat = _tiff_header(path) if head.startswith(TIFF) else _image_header(path, head)
        self._decode: Callable[[Path], Rgb] = _decode_tiff if head.startswith(TIFF) else _decode_image
        self._pixels: Rgb | None = None
        self._decoding = threading.Lock()
        scale, problem = scale_or_problem(flat.claim, given)
        info = SlideInfo(
            vendor="flat",
            size=flat.size,
            levels=(level_of(flat.size, flat.size),),
            scale=scale,
            scale_problem=problem,
            icc_profile=flat.icc_profile,
            properties={"flat.format": flat.kind},
        )
        super().__init__(path, (path,), info)

    @override
    def _fetch(self, level: int, box_lv: Box, /) -> Rgb:
        with self._decoding:
            if self._pixels is None:
                with _translated(self.path, SlideReadError):
                    self._pixels = self._decode(self.path)
            pixels = self._pixels
        size = self.info.size
        if pixels.shape != (size.height, size.width, 3):
            raise SlideReadError(self.path, f"decodes to {pixels.shape}, not to its stated size", _COPY_AGAIN)
        return pixels[box_lv.top : box_lv.bottom, box_lv.left : box_lv.right].copy()

    @override
    def _fetch_icc_profile(self) -> bytes | None:
        with _translated(self.path, SlideReadError):
            return _icc_profile(self.path)

    @override
    def _release(self) -> None:
        self._pixels = None


def is_flat_image(head: bytes) -> bool:
    """Whether a file that begins so is a PNG, a JPEG or a TIFF."""
    return head.startswith((_PNG, _JPEG, *TIFF))


@contextmanager
def _translated(path: Path, into: type[SlideError]) -> Iterator[None]:
    """The decoders' errors as ours, once, at the door."""
    try:
        with np.errstate(over="ignore"):  # tifffile adds up what a damaged file states
            yield
    except DECODER_ERRORS as error:
        raise into(path, f"damaged or cut short ({type(error).__name__}: {error})", _COPY_AGAIN) from error


def _image_header(path: Path, head: bytes) -> _Flat:
    with closing(_image(path, head)) as image:
        width, height = image.size
        _check_size(path, width, height)
        if image.mode not in _READABLE_MODES:
            raise SlideOpenError(path, _MODE_WORDS.get(image.mode, f"pixels of mode {image.mode}"), _SAVE_AS)
        if image.format == "PNG" and head[_PNG_BIT_DEPTH_AT] == 16:
            raise SlideOpenError(path, _MODE_WORDS["I;16"], _SAVE_AS)
        kind = image.format or "image"
        return _Flat(kind, Size(width, height), "icc_profile" in image.info, ScaleClaim(source=f"file: {kind}"))


def _image(path: Path, head: bytes) -> Image.Image:
    """The plugin itself, not Image.open: the size is checked here, not against Pillow's process-wide limit."""
    return PngImagePlugin.PngImageFile(path) if head.startswith(_PNG) else JpegImagePlugin.JpegImageFile(path)


def _icc_profile(path: Path) -> bytes | None:
    with path.open("rb") as file:
        head = file.read(32)
    if head.startswith(TIFF):
        with tifffile.TiffFile(path, is_ndpi=False) as tiff:  # else it would go by the name
            tag = tiff.pages.first.tags.get("InterColorProfile")
            return None if tag is None else bytes(tag.value)
    with closing(_image(path, head)) as image:
        found = image.info.get("icc_profile")
        return found if isinstance(found, bytes) else None


def _decode_image(path: Path) -> Rgb:
    with path.open("rb") as file:
        head = file.read(32)
    with closing(_image(path, head)) as image:
        if image.mode in ("L", "RGB"):
            return np.array(image.convert("RGB"), np.uint8)
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (WHITE, WHITE, WHITE, 255))
        return np.array(Image.alpha_composite(white, rgba).convert("RGB"), np.uint8)


def _tiff_header(path: Path) -> _Flat:
    with tifffile.TiffFile(path, is_ndpi=False) as tiff:
        if len(tiff.pages) == 0:
            raise SlideOpenError(path, "a TIFF that is cut short: its directory lies behind the end", _COPY_AGAIN)
        page = tiff.pages.first
        _check_size(path, int(page.imagewidth), int(page.imagelength))
        if refusal := _tiff_damage(tiff, page) or _tiff_refusal(tiff, page):
            raise SlideOpenError(path, *refusal)
        return _Flat(
            "TIFF",
            Size(int(page.imagewidth), int(page.imagelength)),
            page.tags.get("InterColorProfile") is not None,
            _tiff_claim(page),
        )


def _tiff_damage(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[str, str] | None:
    """What shows that a TIFF is not whole, and what to do; None for one that seems whole."""
    if page.description.startswith("Aperio"):
        return "an Aperio slide that OpenSlide refuses, so damaged or cut short", _COPY_AGAIN
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > tiff.filehandle.size:
        return "a TIFF that is cut short: its pixels lie behind the end of the file", _COPY_AGAIN
    return None


def _tiff_refusal(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[str, str] | None:
    """Why a whole TIFF is not read as a flat image, and what to do; None for one that is."""
    if "PerkinElmer-QPI" in page.description:
        return "a multispectral (QPTIFF) image, not brightfield RGB", "export an RGB rendering of it"
    alike = sum(other.shape == page.shape for other in tiff.pages)
    if alike > 1:
        return f"a TIFF of {alike} images of one size: channels, focus planes or a series", "export one RGB image"
    if page.dtype != np.uint8:
        return f"a TIFF of {page.dtype or 'unknown'} samples, want 8-bit", _SAVE_AS
    if page.photometric not in {
        tifffile.PHOTOMETRIC.MINISBLACK,
        tifffile.PHOTOMETRIC.RGB,
        tifffile.PHOTOMETRIC.YCBCR,
    }:
        return f"a TIFF with colours as {getattr(page.photometric, 'name', page.photometric)}", _SAVE_AS
    if page.samplesperpixel not in (1, 3):
        return f"a TIFF of {page.samplesperpixel} samples per px, want gray or RGB", _SAVE_AS
    return None


def _tiff_claim(page: tifffile.TiffPage) -> ScaleClaim:
    """um/px by the resolution tags; nothing where they are absent, zero or without a unit of length."""
    unit = page.tags.get("ResolutionUnit")
    um = _UM_PER_UNIT.get(int(unit.value)) if unit is not None else None
    sides = [_um_per_px(page.tags.get(name), um) for name in ("XResolution", "YResolution")]
    return ScaleClaim(mpp_x=sides[0], mpp_y=sides[1], source="file: TIFF XResolution")


def _um_per_px(tag: tifffile.TiffTag | None, um: float | None) -> float | None:
    if tag is None or um is None:
        return None
    px, units = tag.value
    return um * units / px if px and units else None


def _decode_tiff(path: Path) -> Rgb:
    with tifffile.TiffFile(path, is_ndpi=False) as tiff:
        page = tiff.pages.first
        pixels = page.asarray(maxworkers=1)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels, np.uint8)


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise SlideOpenError(path, f"an image of {width}x{height} px", _COPY_AGAIN)
    if width * height > FLAT_PX_MAX:
        megapixels = f"{width * height / 1e6:.0f} megapixels, at most {FLAT_PX_MAX / 1e6:.0f} are read flat"
        advice = "convert it to a pyramid, e.g. vips tiffsave IN OUT.tiff --tile --pyramid --compression jpeg"
        raise SlideOpenError(path, f"an image of {megapixels}", advice)
