"""Small KFB slides for the tests, written from the facts in docs/formats/kfb.md."""

import math
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import simplejpeg

from sarcoscope.core.geometry import Rgb

_SIDE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a writer put where."""

    path: Path
    places: dict[str, int]
    """Where each structure begins, bytes, in the order of the file; 'end' is the size of the file."""
    tiles: dict[tuple[int, int, int], bytes] = field(repr=False)
    """By level, column, row of the level's tile grid in the file: the JPEG as written."""
    images: dict[str, bytes] = field(repr=False)
    """By name of the associated image: its JPEG."""


def jpeg_of(rgb: Rgb, quality: int = 90, sampling: str = "420") -> bytes:
    """A baseline JPEG."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality, "RGB", sampling))


def halved(rgb: Rgb) -> Rgb:
    """Means of 2x2 px, sides rounded down."""
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    even = rgb[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def write_kfb(
    path: Path,
    rgb: Rgb,
    *,
    levels: int = 3,
    magnification: int = 40,
    mpp: float = 0.25,
    version: float = 1.6,
    missing: Collection[tuple[int, int, int]] = (),
    macro: Rgb | None = None,
    label: Rgb | None = None,
    preview: Rgb | None = None,
    serial: str = "KF-PRO-SN-0042",
    extension_bytes: int = 80,
    scan_time: int = 1_600_000_000,
    cut: bool = True,
    quality: int = 90,
    sampling: str = "420",
    hole: int = 0,
) -> Written:
    """Write an (H, W, 3) picture as a KFB file.

    `missing` are tiles to leave out, as (level, column, row); with `cut`, tiles at the right and bottom edge are as
    small as what is left of the level, else 256 px filled up with white. `hole` is how many bytes of nothing stand
    before the tiles, which a file system that knows sparse files does not store.
    """
    images = {
        name: (picture, jpeg_of(picture))
        for name, picture in (("macro", macro), ("label", label), ("preview", preview))
        if picture is not None
    }
    places = {"header": 0, "extension": 96}
    at = 96 + extension_bytes
    for name in ("macro", "label"):
        if name in images:
            places |= {f"{name} record": at, f"{name} JPEG": at + 52}
            at += 52 + len(images[name][1])
    places["tiles"] = at + hole
    records, tiles = _tiles(rgb, levels, missing, cut=cut, quality=quality, sampling=sampling)
    places["index"] = places["tiles"] + sum(map(len, tiles.values()))
    places["end"] = places["index"] + 64 * len(records)
    if "preview" in images:
        places |= {"preview record": places["end"], "preview JPEG": places["end"] + 52}
        places["end"] = places.pop("end") + 52 + len(images["preview"][1])
    with path.open("wb") as file:
        file.write(_header(places, rgb, len(records), version=version, power=magnification, mpp=mpp, time=scan_time))
        file.write(_extension(serial, extension_bytes))
        for name in ("macro", "label"):
            if name in images:
                file.write(_image(*images[name], kind=3 if name == "label" else 2))
        file.seek(places["tiles"])
        file.writelines(tiles.values())
        offset = places["tiles"] - places["index"]
        for (x, y, width, height, level), jpeg in zip(records, tiles.values(), strict=True):
            power = magnification / 2**level
            file.write(tile_record((x, y, width, height), power, length=len(jpeg), offset=offset))
            offset += len(jpeg)
        if "preview" in images:
            file.write(_image(*images["preview"], kind=2))
    return Written(path=path, places=places, tiles=tiles, images={name: jpeg for name, (_, jpeg) in images.items()})


def tile_record(box: tuple[int, int, int, int], power: float, *, length: int, offset: int) -> bytes:
    """64 bytes of the index: (x, y, width, height) in px of the level, `offset` from the start of the index."""
    body = struct.pack("<IIIIfIIIq16x", *box, power, 0, 0, length, offset)
    return b"\xf1\x04\xee\xee" + body + b"\xff\x04\xee\xee"


def _tiles(
    rgb: Rgb,
    levels: int,
    missing: Collection[tuple[int, int, int]],
    *,
    cut: bool,
    quality: int,
    sampling: str,
) -> tuple[list[tuple[int, int, int, int, int]], dict[tuple[int, int, int], bytes]]:
    records, tiles = [], {}
    for level in range(levels):
        for row in range(math.ceil(rgb.shape[0] / _SIDE)):
            for column in range(math.ceil(rgb.shape[1] / _SIDE)):
                if (level, column, row) in missing:
                    continue
                x, y = column * _SIDE, row * _SIDE
                part = rgb[y : y + _SIDE, x : x + _SIDE]
                if not cut:
                    fill = ((0, _SIDE - part.shape[0]), (0, _SIDE - part.shape[1]), (0, 0))
                    part = np.pad(part, fill, constant_values=255)
                records.append((x, y, part.shape[1], part.shape[0], level))
                tiles[level, column, row] = jpeg_of(part, quality, sampling)
        rgb = halved(rgb) if min(rgb.shape[:2]) > 1 else rgb
    return records, tiles


def _header(
    places: dict[str, int], rgb: Rgb, tiles: int, *, version: float, power: int, mpp: float, time: int
) -> bytes:
    words = struct.pack("<IfIIII", 0, version, tiles, rgb.shape[0], rgb.shape[1], power)
    words += b"JPEG" + struct.pack("<IIq", 0, 60, time)
    words += struct.pack("<II", places.get("macro record", 0), places.get("label record", 0))
    words += struct.pack("<QQ", places.get("preview record", 0), places["index"])
    words += struct.pack("<fIII", mpp, 0, 0, _SIDE)
    return b"\xf1\x01\xee\xeeKFB\0" + words + b"\xff\x01\xee\xee"


def _extension(serial: str, length: int) -> bytes:
    """Where in it the serial number stands is this writer's choice; a reader has to find it anywhere."""
    return (serial.encode("ascii").ljust(48, b"\0") + b"1.7.0.52").ljust(length, b"\0")[:length]


def _image(picture: Rgb, jpeg: bytes, *, kind: int) -> bytes:
    height, width = picture.shape[:2]
    words = struct.pack("<IIIIII20x", 0, height, width, 3, len(jpeg), 52)
    return bytes((0xF1, kind, 0xEE, 0xEE)) + words + bytes((0xFF, kind, 0xEE, 0xEE)) + jpeg
