"""Small MRXS (MIRAX) slides for the tests, written from the layout that OpenSlide's reader expects.

A slide is `NAME.mrxs` (a JPEG preview) beside the folder `NAME/`: Slidedat.ini (sizes, scale, names), Index.dat
(where each image lies) and Data0000.dat (the images). Index.dat, all numbers int32 little endian:

    '01.02', the slide's id, pointer to the table of levels, pointer to the table of records
    table: one pointer a level, or a record; each points to (0, pointer to its first page)
    page of a level: count, pointer to the next page or 0, then count x (image, offset, length, data file)
    page of a record: 1, 0, 0, 0, offset, length, data file

Written here: one camera position a tile, no overlaps, images numbered row by row of level 0, an image of level n
covering 2^n x 2^n of them under the number of its first. Positions where the slide is white hold no image, as
where a scanner saw no tissue.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from sarcoscope.core.geometry import Rgb

_VERSION: Final = "01.02"
_SLIDE_ID: Final = "5A7C05C09E5A7C05C09E5A7C05C09E00"
_LEVEL: Final = "LAYER_0_LEVEL_{}_SECTION"
_PAGE: Final = 50
"""Images listed in one page of the index at most."""
_RECORDS: Final[Mapping[str, tuple[str, str]]] = {
    "label": ("ScanDataLayer_SlideBarcode", "BARCODE_IMAGE_TYPE"),
    "macro": ("ScanDataLayer_SlideThumbnail", "THUMBNAIL_IMAGE_TYPE"),
    "thumbnail": ("ScanDataLayer_SlidePreview", "PREVIEW_IMAGE_TYPE"),
}
"""By name of the associated image: what the format calls it, and the key of its compression."""

Compression = Literal["JPEG", "PNG"]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a blob lies in the data file, and for an image its number among the images of level 0."""

    offset: int
    length: int
    image: int = 0


@dataclass(slots=True)
class _Data:
    """The data file being filled."""

    blob: bytearray = field(default_factory=lambda: bytearray(_VERSION.encode() + _SLIDE_ID.encode()))

    def add(self, payload: bytes, image: int = 0) -> _Place:
        place = _Place(len(self.blob), len(payload), image)
        self.blob += payload
        return place


def write_mrxs(
    path: Path,
    rgb: Rgb,
    *,
    mpp: float = 0.25,
    power: int = 40,
    tile: int = 64,
    levels: int = 3,
    compression: Compression = "JPEG",
    associated: Mapping[str, Rgb] | None = None,
) -> Path:
    """Write (H, W, 3) uint8 as `path` (which ends in .mrxs) and its folder; the slide is padded white to whole tiles.

    `associated` may hold 'label', 'macro' and 'thumbnail'. Every level halves the one before.
    """
    columns, rows = -(-rgb.shape[1] // tile), -(-rgb.shape[0] // tile)
    data = _Data()
    places: list[list[_Place]] = [[] for _ in range(levels)]
    plane = rgb
    for level in range(levels):
        for row, column, piece in _pieces(plane, tile):
            image = (row * columns + column) * 2**level
            places[level].append(data.add(_encoded(piece, compression), image))
        plane = _halved(plane)
    pictures = dict(associated or {})
    records = [data.add(_encoded(picture, "JPEG")) for picture in pictures.values()]
    folder = path.with_suffix("")
    folder.mkdir()
    groups: dict[str, dict[str, object]] = {
        "GENERAL": {
            "SLIDE_VERSION": _VERSION,
            "SLIDE_ID": _SLIDE_ID,
            "IMAGENUMBER_X": columns,
            "IMAGENUMBER_Y": rows,
            "OBJECTIVE_MAGNIFICATION": power,
            "CameraImageDivisionsPerSide": 1,
        },
        "DATAFILE": {"FILE_COUNT": 1, "FILE_0": "Data0000.dat"},
        **_hierarchy(levels, list(pictures)),
    }
    for level in range(levels):
        groups[_LEVEL.format(level)] = _level_group(level, mpp, tile, compression)
    (folder / "Slidedat.ini").write_text(_ini(groups), encoding="utf-8")
    (folder / "Index.dat").write_bytes(_index(places, records))
    (folder / "Data0000.dat").write_bytes(data.blob)
    path.write_bytes(_encoded(plane, "JPEG"))
    return path


def _pieces(plane: Rgb, tile: int) -> Iterator[tuple[int, int, Rgb]]:
    """Row, column and pixels of the tiles of a level that are not white throughout, each filled up with white."""
    for row, top in enumerate(range(0, plane.shape[0], tile)):
        for column, left in enumerate(range(0, plane.shape[1], tile)):
            piece = plane[top : top + tile, left : left + tile]
            if (piece == 255).all():
                continue
            whole = np.full((tile, tile, 3), 255, np.uint8)
            whole[: piece.shape[0], : piece.shape[1]] = piece
            yield row, column, whole


def _halved(plane: Rgb) -> Rgb:
    padded = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2), (0, 0)), constant_values=255)
    half = (padded.shape[1] // 2, padded.shape[0] // 2)
    return np.asarray(cv2.resize(padded, half, interpolation=cv2.INTER_AREA), np.uint8)


def _encoded(picture: Rgb, compression: Compression) -> bytes:
    suffix, options = (".png", []) if compression == "PNG" else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95])
    done, payload = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done, "a picture of 8-bit RGB can always be encoded"
    return payload.tobytes()


def _index(levels: Sequence[Sequence[_Place]], records: Sequence[_Place]) -> bytes:
    head = _VERSION.encode() + _SLIDE_ID.encode()
    level_table = len(head) + 8
    record_table = level_table + 4 * len(levels)
    at = record_table + 4 * len(records)
    pointers, pages = [], []
    for entry in [*(_level_pages(places) for places in levels), *(_record_page(place) for place in records)]:
        pointers.append(at)
        body = struct.pack("<2i", 0, at + 8) + b"".join(_linked(entry, at + 8))
        pages.append(body)
        at += len(body)
    return head + struct.pack(f"<{2 + len(pointers)}i", level_table, record_table, *pointers) + b"".join(pages)


def _level_pages(places: Sequence[_Place]) -> list[list[int]]:
    """The numbers of each page; the pointer to the next one, second in each, is still 0."""
    pages = []
    for start in range(0, max(1, len(places)), _PAGE):
        part = places[start : start + _PAGE]
        pages.append([len(part), 0, *(n for place in part for n in (place.image, place.offset, place.length, 0))])
    return pages


def _record_page(place: _Place) -> list[list[int]]:
    return [[1, 0, 0, 0, place.offset, place.length, 0]]


def _linked(pages: Sequence[list[int]], at: int) -> list[bytes]:
    """Pages that lie one behind the other from `at`, each pointing to the next."""
    packed = []
    for number, page in enumerate(pages, start=1):
        at += 4 * len(page)
        page[1] = at if number < len(pages) else 0
        packed.append(struct.pack(f"<{len(page)}i", *page))
    return packed


def _hierarchy(levels: int, pictures: Sequence[str]) -> dict[str, dict[str, object]]:
    """The group that names levels and records, and the groups of the records."""
    main: dict[str, object] = {
        "HIER_COUNT": 1,
        "NONHIER_COUNT": 1 if pictures else 0,
        "INDEXFILE": "Index.dat",
        "HIER_0_NAME": "Slide zoom level",
        "HIER_0_COUNT": levels,
        **{f"HIER_0_VAL_{level}_SECTION": _LEVEL.format(level) for level in range(levels)},
    }
    groups = {"HIERARCHICAL": main}
    if pictures:
        main |= {"NONHIER_0_NAME": "Scan data layer", "NONHIER_0_COUNT": len(pictures)}
    for number, name in enumerate(pictures):
        value, key = _RECORDS[name]
        section = f"NONHIERLAYER_0_LEVEL_{number}_SECTION"
        main |= {f"NONHIER_0_VAL_{number}": value, f"NONHIER_0_VAL_{number}_SECTION": section}
        groups[section] = {key: "JPEG"}
    return groups


def _level_group(level: int, mpp: float, tile: int, compression: Compression) -> dict[str, object]:
    return {
        "OVERLAP_X": 0,
        "OVERLAP_Y": 0,
        "MICROMETER_PER_PIXEL_X": mpp * 2**level,
        "MICROMETER_PER_PIXEL_Y": mpp * 2**level,
        "IMAGE_FORMAT": compression,
        "IMAGE_FILL_COLOR_BGR": 0xFFFFFF,
        "DIGITIZER_WIDTH": tile,
        "DIGITIZER_HEIGHT": tile,
        "IMAGE_CONCAT_FACTOR": 1 if level else 0,
    }


def _ini(groups: Mapping[str, Mapping[str, object]]) -> str:
    return "".join(
        f"[{group}]\r\n" + "".join(f"{key}={value}\r\n" for key, value in keys.items()) + "\r\n"
        for group, keys in groups.items()
    )
