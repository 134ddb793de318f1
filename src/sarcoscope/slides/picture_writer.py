"""A part of a slide as one flat picture, PNG or JPEG, with its scale where the format has a place for it."""

from io import BytesIO
from pathlib import Path
from typing import Final, Literal

from PIL import Image, PngImagePlugin

from sarcoscope.core.geometry import Mpp, Rgb

_ORIGIN: Final = "sarcoscope origin "
_HEAD_BYTES: Final = 4096
_UM_PER_CM: Final = 10_000
_UM_PER_INCH: Final = 25_400
_JPEG_DENSITY_MAX: Final = 65_535
_DENSITY_AT: Final = 13
"""Where a JFIF stream states the unit of its density, then px across and down, two bytes each."""

PictureKind = Literal["png", "jpeg"]


def write_picture_file(
    path: Path, rgb: Rgb, kind: PictureKind, *, mpp: Mpp, quality: int, origin: str, icc_profile: bytes | None
) -> None:
    """Write (height, width, 3) uint8; `origin` is found again by `picture_origin`. Raises OSError.

    PNG states px a metre (pHYs), JPEG px a centimetre (JFIF density), which has no room for less than 0.153 um/px;
    a finer JPEG states none.
    """
    buffer = BytesIO()
    image = Image.fromarray(rgb)
    if kind == "png":
        words = PngImagePlugin.PngInfo()
        words.add_text("Comment", _ORIGIN + origin)
        dpi = (_UM_PER_INCH / mpp, _UM_PER_INCH / mpp)
        image.save(buffer, "PNG", pnginfo=words, dpi=dpi, icc_profile=icc_profile)
        path.write_bytes(buffer.getvalue())
        return
    image.save(buffer, "JPEG", quality=quality, comment=_ORIGIN + origin, icc_profile=icc_profile)
    path.write_bytes(with_jpeg_scale(buffer.getvalue(), mpp))


def with_jpeg_scale(jfif: bytes, mpp: Mpp) -> bytes:
    """A JFIF stream that states um/px as its density, which has no room for less than 0.153 um/px."""
    stream = bytearray(jfif)
    per_cm = round(_UM_PER_CM / mpp)
    if per_cm <= _JPEG_DENSITY_MAX:
        stream[_DENSITY_AT : _DENSITY_AT + 5] = b"\x02" + 2 * per_cm.to_bytes(2, "big")
    return bytes(stream)


def picture_origin(path: Path) -> str | None:
    """The origin of a picture that was written here; None for every other file."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    _, found, behind = head.partition(_ORIGIN.encode())
    return behind[:32].decode("ascii", "replace") if found else None
