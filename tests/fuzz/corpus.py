"""Small sound slides of every format, with the places in them where their structures begin: what the fuzzer damages."""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import tifffile
from PIL import Image, PngImagePlugin

from sarcoscope.core.geometry import Mpp, Size
from sarcoscope.slides.dicom_writer import write_dicom
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.rewrap import PyramidOptions
from sarcoscope.slides.tiff_pages import About
from sarcoscope.slides.tiff_writer import write_pyramid
from sarcoscope.testing.kfb_writer import write_kfb
from sarcoscope.testing.mrxs_writer import write_mrxs
from sarcoscope.testing.zyp_writer import write_zyp
from tests.slides.images import APERIO, tissue, write_svs


@dataclass(frozen=True)
class Seed:
    """A sound slide to be damaged."""

    name: str
    path: Path
    """What is opened: a file, or a folder."""
    target: Path
    """The file that is damaged: `path` itself, or one of the files it stands for."""
    places: tuple[int, ...]
    """Offsets where structures begin: headers, records, tag values, sections."""


def _tiff_places(path: Path) -> tuple[int, ...]:
    places = {0, 4, 8, 16}
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            assert isinstance(page, tifffile.TiffPage)
            places.add(page.offset)
            for tag in page.tags:
                places |= {tag.offset, tag.offset + 2, tag.offset + 4, tag.valueoffset}
            places |= {
                *page.dataoffsets[:4],
                *(o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)),
            }
    return tuple(sorted(places))


def _png_places(path: Path) -> tuple[int, ...]:
    content, at, places = path.read_bytes(), 8, {0, 8}
    while at + 8 <= len(content):
        places |= {at, at + 4, at + 8}
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return tuple(sorted(places))


def _jpeg_places(path: Path) -> tuple[int, ...]:
    content = path.read_bytes()
    return tuple(at for at in range(len(content) - 1) if content[at] == 0xFF and content[at + 1])


def _svs(folder: Path) -> Seed:
    path = write_svs(folder / "a.svs", tissue(300, 200), levels=2)
    with tifffile.TiffWriter(path, append=True) as tiff:
        for name, subfile in (("label 20x10", 1), ("macro 40x20", 9)):
            tiff.write(
                tissue(40, 20), description=f"Aperio\r\n{name}", subfiletype=subfile, rowsperstrip=20, metadata=None
            )
    return Seed("svs", path, path, _tiff_places(path))


def _jp2k(folder: Path) -> Seed:
    path = folder / "jp2k.svs"
    description = APERIO.format(width=300, height=200, tile=64, power=20, mpp=0.5)
    tifffile.imwrite(
        path,
        tissue(300, 200),
        tile=(64, 64),
        compression=33005,
        photometric="rgb",
        description=description,
        metadata=None,
    )
    return Seed("jpeg 2000 svs", path, path, _tiff_places(path))


def _tiled(folder: Path) -> Seed:
    path = folder / "tiled.tif"
    tifffile.imwrite(path, tissue(300, 200), tile=(64, 64), compression="jpeg", photometric="rgb", bigtiff=True)
    return Seed("tiled bigtiff", path, path, _tiff_places(path))


def _pyramid(folder: Path) -> Seed:
    path = folder / "ours.tif"
    write_pyramid(path, [tissue(1100, 300)], size=Size(1100, 300), mpp=Mpp(0.5), power=20.0, tile=64)
    return Seed("our pyramid", path, path, _tiff_places(path))


def _flat_tiff(compression: str) -> Callable[[Path], Seed]:
    def make(folder: Path) -> Seed:
        path = folder / f"{compression}.tif"
        tifffile.imwrite(
            path, tissue(200, 150), compression=compression, photometric="rgb", resolution=(20_000, 20_000)
        )
        return Seed(f"flat tiff {compression}", path, path, _tiff_places(path))

    return make


def _png(folder: Path) -> Seed:
    path = folder / "a.png"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 200, zip=True)
    Image.fromarray(tissue(200, 150)).save(path, pnginfo=text)
    return Seed("png", path, path, _png_places(path))


def _jpeg(folder: Path) -> Seed:
    path = folder / "a.jpg"
    Image.fromarray(tissue(200, 150)).save(path, quality=85)
    return Seed("jpeg", path, path, _jpeg_places(path))


def _kfb(folder: Path) -> Seed:
    pictures: dict[str, Any] = {"macro": tissue(40, 20), "label": tissue(20, 20), "preview": tissue(30, 20)}
    made = write_kfb(folder / "a.kfb", tissue(600, 400), missing={(0, 1, 0)}, **pictures)
    records = [at for name, at in made.places.items() if name != "end"]
    fields = [at + step for at in records for step in range(0, 96, 4)]
    index = made.places["index"]
    return Seed("kfb", made.path, made.path, _inside(made.path, [*fields, *range(index, index + 4 * 64, 4)]))


def _zyp(version: str) -> Callable[[Path], Seed]:
    def make(folder: Path) -> Seed:
        pictures: dict[str, Any] = {"macro": tissue(40, 20), "barcode": tissue(20, 20), "preview": tissue(30, 20)}
        made = write_zyp(folder / "a.zyp", tissue(600, 400), version=version, corner=(3, 5), **pictures)
        content = made.path.read_bytes()
        strings = [found.start() for found in re.finditer(b"\xff\xfe\xff", content)]
        end = len(content)
        return Seed(f"zyp {version}", made.path, made.path, _inside(made.path, [*strings, *range(end - 60, end, 4)]))

    return make


def _mrxs(file: str) -> Callable[[Path], Seed]:
    def make(folder: Path) -> Seed:
        path = write_mrxs(folder / "a.mrxs", tissue(300, 200), associated={"label": tissue(20, 20)})
        target = folder / "a" / file
        size = target.stat().st_size
        return Seed(f"mrxs {file}", path, target, tuple(range(0, size, 20)))

    return make


def _dicom(folder: Path) -> Seed:
    path, series = write_svs(folder / "a.svs", tissue(300, 200), levels=1), folder / "series"
    series.mkdir()
    with open_slide(path) as slide:
        write_dicom(series, slide, About(size=slide.info.size, mpp=0.5, power=20.0), PyramidOptions(), lambda _: None)
    path.unlink()
    target = max(series.iterdir(), key=lambda file: file.stat().st_size)
    return Seed("dicom", series, target, _dicom_places(target))


def _dicom_by_openslide(folder: Path) -> Seed:
    """The same with its frames uncompressed, which OpenSlide reads."""
    made = _dicom(folder)
    dataset = pydicom.dcmread(made.target)
    dataset.decompress()
    dataset.PhotometricInterpretation = "RGB"
    dataset.save_as(made.target)
    return Seed("dicom, uncompressed", made.path, made.target, _dicom_places(made.target))


def _dicom_places(path: Path) -> tuple[int, ...]:
    tags = re.finditer(rb"[\x02\x08\x20\x28\x40\x48\xe0]\x00..[A-Z]{2}", path.read_bytes(), re.DOTALL)
    pixels = path.read_bytes().find(b"\xe0\x7f\x10\x00O")
    return _inside(path, [128, 132, *(found.start() for found in tags), *range(pixels, pixels + 64, 4)])


def _inside(path: Path, places: list[int]) -> tuple[int, ...]:
    return tuple(sorted({at for at in places if 0 <= at < path.stat().st_size}))


MAKERS: dict[str, Callable[[Path], Seed]] = {
    "svs": _svs,
    "jpeg 2000 svs": _jp2k,
    "tiled bigtiff": _tiled,
    "our pyramid": _pyramid,
    "flat tiff zlib": _flat_tiff("zlib"),
    "flat tiff lzw": _flat_tiff("lzw"),
    "flat tiff none": _flat_tiff("none"),
    "png": _png,
    "jpeg": _jpeg,
    "dicom": _dicom,
    "dicom, uncompressed": _dicom_by_openslide,
    "kfb": _kfb,
    "zyp 1.10": _zyp("1.10"),
    "zyp 2.01": _zyp("2.01"),
    "mrxs Slidedat.ini": _mrxs("Slidedat.ini"),
    "mrxs Index.dat": _mrxs("Index.dat"),
}


def png_bomb(path: Path) -> Path:
    """A PNG of 60 kB that unpacks to 10,000 x 10,000 px, just as many as are read flat."""
    side = 10_000
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    chunks = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    body = b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def random_bytes(rng: np.random.Generator, count: int) -> bytes:
    """So many random bytes."""
    return rng.integers(0, 256, count, np.uint8).tobytes()
