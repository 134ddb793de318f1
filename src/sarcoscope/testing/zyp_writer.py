"""Small ZYP slides for the tests, written from the facts in docs/formats/zyp.md."""

import base64
import math
import struct
from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from sarcoscope.core.geometry import Rgb
from sarcoscope.testing.kfb_writer import Written, halved, jpeg_of

_SIDE: Final = 256
_ROI_PX: Final = 512
"""Level-0 px per px of level 9, the unit of ROI values."""


def write_zyp(
    path: Path,
    rgb: Rgb,
    *,
    version: str = "1.10",
    levels: int = 10,
    corner: tuple[Fraction | int, Fraction | int] = (0, 0),
    mpp: str = "0.25",
    zoom: str = "40",
    missing: Collection[tuple[int, int, int]] = (),
    preview: Rgb | None = None,
    barcode: Rgb | None = None,
    barcode_text: str = "",
    macro: Rgb | None = None,
    serial: str = "ZY-SN-0042",
    slice_info: Mapping[str, str | None] | None = None,
    more: Mapping[str, Mapping[str, str]] | None = None,
    quality: int = 90,
    sampling: str = "420",
    hole: int = 0,
) -> Written:
    """Write an (H, W, 3) picture as a ZYP file.

    `corner` is the left top corner of the slide on the absolute tile grid, in level-9 px (512 level-0 px), whose
    fractions must be whole level-0 px. `missing` are tiles to leave out, as (level, x, y) of that grid.
    `slice_info` adds, replaces or (None) drops fields of SliceInfo; `more` are further items behind the JPEGs.
    `hole` is how many bytes of nothing stand behind the first JPEG.
    """
    body = _Blobs(hole)
    items: dict[str, dict[str, str] | None] = {}
    if preview is not None:
        items["Preview"] = body.add("preview", jpeg_of(preview))
    items["SliceInfo"] = _slice_info(rgb, corner, mpp, zoom, slice_info or {})
    if barcode is not None:
        items["Barcode"] = body.add("barcode", jpeg_of(barcode)) | ({"Text": barcode_text} if barcode_text else {})
    if macro is not None:
        items["OriginalPreview"] = body.add("macro", jpeg_of(macro))
    items |= {name: dict(fields) for name, fields in (more or {}).items()}
    tiles, names = {}, bytearray()
    prefix = "0,0" if version == "2.01" else "0"
    for key, tile in _tiles(rgb, levels, corner):
        if key not in missing:
            tiles[key] = jpeg_of(tile, quality, sampling)
            names += item(",".join([prefix, *map(str, key)]), body.add("tiles", tiles[key]))
    if version == "2.01":
        items["FluorescenceInfo"] = None
    words = b"".join(item(name, fields) for name, fields in items.items())
    common = item("commonScanner", {"SerialNumber": serial})
    sections = [bytes(names), item("FieldOfView", {"Count": "1"}), common, b""]
    places, pieces = body.finished(words, sections, version)
    with path.open("wb") as file:
        for at, piece in pieces:
            file.seek(at)
            file.write(piece)
    return Written(path=path, places=places, tiles=tiles, images=body.images)


def cstring(text: str) -> bytes:
    """An MFC CArchive Unicode string."""
    units = text.encode("utf-16-le")
    count = len(units) // 2
    if count < 0xFF:
        length = struct.pack("<B", count)
    elif count < 0xFFFF:
        length = b"\xff" + struct.pack("<H", count)
    else:
        length = b"\xff\xff\xff" + struct.pack("<I", count)
    return b"\xff\xfe\xff" + length + units


def item(name: str, fields: Mapping[str, str] | None) -> bytes:
    """A name, a count of fields, and the fields; None writes a name alone, as some items are."""
    if fields is None:
        return cstring(name)
    pairs = b"".join(cstring(key) + cstring(value) for key, value in fields.items())
    return cstring(name) + struct.pack("<I", len(fields)) + pairs


class _Blobs:
    """JPEGs one behind the other, and where."""

    def __init__(self, hole: int) -> None:
        self.images: dict[str, bytes] = {}
        self._hole = hole
        self._at = 0
        self._places: dict[str, int] = {}
        self._pieces: list[tuple[int, bytes]] = []

    def add(self, what: str, jpeg: bytes) -> dict[str, str]:
        """Put a JPEG behind the others; the fields that say where it is."""
        if len(self._pieces) == 1:
            self._at += self._hole
        self._places.setdefault(what, self._at)
        self._pieces.append((self._at, jpeg))
        if what != "tiles":
            self.images[what] = jpeg
        fields = {"StartPosition": str(self._at), "DataLength": str(len(jpeg))}
        self._at += len(jpeg)
        return fields

    def finished(
        self, words: bytes, sections: list[bytes], version: str
    ) -> tuple[dict[str, int], list[tuple[int, bytes]]]:
        """Places of all structures, and all pieces of the file with their places."""
        places = self._places | {"items": self._at}
        tail, at = [words], self._at + len(words)
        starts = []
        for number, section in enumerate(sections):
            opening = b"".join(
                cstring(base64.b64encode(f"section {number}, {part}".encode()).decode()) for part in "ab"
            )
            starts.append(at)
            places |= {f"section {number}": at, f"section {number} items": at + len(opening)}
            tail.append(opening + section)
            at += len(opening) + len(section)
        end = cstring(version)
        places |= {"section offsets": at, "version": at + 32, "pointer": at + 32 + len(end), "end": at + 40 + len(end)}
        tail += [struct.pack("<4q", *starts), end, struct.pack("<q", at + 32)]
        return places, [*self._pieces, (self._at, b"".join(tail))]


def _slice_info(
    rgb: Rgb, corner: tuple[Fraction | int, Fraction | int], mpp: str, zoom: str, changes: Mapping[str, str | None]
) -> dict[str, str]:
    height, width = rgb.shape[:2]
    left, top = corner
    right, bottom = left + Fraction(width, _ROI_PX), top + Fraction(height, _ROI_PX)
    roi = {"ROILeft": left, "ROITop": top, "ROIRight": right, "ROIBottom": bottom}
    fields: dict[str, str | None] = {
        "MicrometersPerPixel": mpp,
        "ScanZoom": zoom,
        "SliceSize": f"{width}\u00d7{height}",
        **{key: f"{float(value):.9f}".rstrip("0").rstrip(".") for key, value in roi.items()},
        "LevelCount": "10",
    }
    return {key: value for key, value in {**fields, **changes}.items() if value is not None}


def _tiles(
    rgb: Rgb, levels: int, corner: tuple[Fraction | int, Fraction | int]
) -> Iterator[tuple[tuple[int, int, int], Rgb]]:
    """((level, x, y), pixels) of every tile that the slide touches, whose edge goes on outside of it."""
    left, top = (int(side * _ROI_PX) for side in corner)
    height, width = rgb.shape[:2]
    step = 1 << (levels - 1)
    fill = ((top % step, -(top + height) % step), (left % step, -(left + width) % step), (0, 0))
    canvas = np.pad(rgb, fill, mode="edge")
    for level in range(levels):
        from_x, from_y, side = (left // step * step) >> level, (top // step * step) >> level, _SIDE << level
        for y in range(top // side, math.ceil((top + height) / side)):
            for x in range(left // side, math.ceil((left + width) / side)):
                yield (level, x, y), _tile_of(canvas, x * _SIDE - from_x, y * _SIDE - from_y)
        canvas = halved(canvas) if level + 1 < levels else canvas


def _tile_of(canvas: Rgb, left: int, top: int) -> Rgb:
    """A tile of a canvas that may reach outside of it on any side, where the canvas' edge goes on."""
    part = canvas[max(top, 0) : top + _SIDE, max(left, 0) : left + _SIDE]
    before = max(-top, 0), max(-left, 0)
    fill = [(ahead, _SIDE - ahead - side) for ahead, side in zip(before, part.shape[:2], strict=True)]
    return np.pad(part, [*fill, (0, 0)], mode="edge")
