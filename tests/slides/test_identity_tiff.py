import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.identity.inspecting import inspect_identity
from sarcoscope.slides.identity.model import NewIdentity
from sarcoscope.slides.tiff_layout import NDPI_FLAG, TiffFile
from sarcoscope.slides.tiff_writer import write_pyramid
from tests.slides.identity_checks import assert_gone, assert_same_for_openslide, assert_same_slide, copy_of
from tests.slides.images import tissue, write_svs

_HEAD = "Aperio Image Library v12.0.15 \r\n300x200 [0,0 300x200] (64x64) JPEG/RGB Q=95"
_SECRETS = {
    "Filename": "S24-0017-DOE",
    "Title": "Doe Jane 1961",
    "Date": "03/14/24",
    "Time": "14:15:16",
    "Time Zone": "GMT+0130",
    "User": "jroe-4711",
    "ScanScope ID": "SS7654321",
    "Barcode": "BC00998877",
    "ImageID": "20240314",
    "DSR ID": "resc3-dsr2",
    "Parmset": "Roe settings",
    "Something New": "never seen",
}
_HARMLESS = {"AppMag": "20", "MPP": "0.4990", "Left": "25.69", "Top": "23.4", "OriginalWidth": "300"}


def _described(head: str, pairs: dict[str, str]) -> str:
    return "|".join([head, *(f"{key} = {value}" for key, value in pairs.items())])


def _full_svs(path: Path, *, bigtiff: bool = False, byteorder: Any = "<") -> dict[str, bytes]:
    """An Aperio slide with a secret in every place; returns the pixel bytes of label and macro."""
    rgb = tissue(300, 200)
    thumbnail, label, macro = cv2.resize(rgb, (75, 50)), tissue(60, 70, 5), tissue(160, 60, 6)
    half = cv2.resize(rgb, (150, 100))
    text = _described(_HEAD, {**_SECRETS, **_HARMLESS})
    extra: list[Any] = [
        (315, 2, 0, "Artist Miller", True),
        (316, 2, 0, "HOST-PATHO-3", True),
        (269, 2, 0, "C:\\scans\\S24-0017.svs", True),
        (33432, 2, 0, "Copyright Clinic", True),
        (700, 1, 15, b"<x>XMP Doe</x>\0", True),
        (34377, 7, 12, b"8BIM Doe Ph.", True),
        (55555, 2, 0, "private doe tag", True),
    ]
    jpeg: Any = {"compression": "jpeg", "compressionargs": {"level": 95}, "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as tiff:
        tiff.write(
            rgb,
            tile=(64, 64),
            description=text,
            datetime="2024:03:14 14:15:16",
            extratags=extra,
            software="Sw Doe",
            **jpeg,
        )
        small = _described("Aperio Image Library v12.0.15 \r\n300x200 -> 75x50 - ", _SECRETS)
        tiff.write(thumbnail, rowsperstrip=16, description=small, software=False, **jpeg)
        level = _described(
            "Aperio Image Library v12.0.15 \r\n300x200 [0,0 300x200] (64x64) -> 150x100 JPEG/RGB Q=95", _SECRETS
        )
        tiff.write(half, tile=(64, 64), description=level, software=False, **jpeg)
        for name, picture, kind in (("label", label, 1), ("macro", macro, 9)):
            words = f"Aperio Image Library v12.0.15 \r\n{name} {picture.shape[1]}x{picture.shape[0]}"
            tiff.write(picture, rowsperstrip=16, subfiletype=kind, description=words, software=False, **jpeg)
    with path.open("ab") as file:
        file.write(b"behind everything: Doe Jane again")
    with tifffile.TiffFile(path) as tiff:
        content = path.read_bytes()
        return {
            name: b"".join(
                content[at : at + length] for at, length in zip(page.dataoffsets, page.databytecounts, strict=True)
            )
            for name, page in (("label", tiff.pages[3]), ("macro", tiff.pages[4]))
        }


@pytest.mark.parametrize(("bigtiff", "byteorder"), [(False, "<"), (False, ">"), (True, "<"), (True, ">")])
def test_aperio_loses_every_secret_and_no_pixel(tmp_path: Path, bigtiff: bool, byteorder: str) -> None:
    source, copy = tmp_path / "a.svs", tmp_path / "b.svs"
    pixels = _full_svs(source, bigtiff=bigtiff, byteorder=byteorder)
    cleaned = copy_of(source, copy)
    assert copy.stat().st_size == source.stat().st_size
    assert_gone(
        copy,
        *_SECRETS.values(),
        *("Artist Miller", "HOST-PATHO", "S24-0017", "Copyright", "XMP", "8BIM", "private", "2024:03", "Sw Doe"),
        *("label", "macro", "behind", "Doe"),
        *(piece for each in pixels.values() for piece in (each[-64:], each[each.index(b"\xff\xda") + 20 :][:64])),
    )
    kinds = [one.kind for one in cleaned.findings]
    assert kinds.count("label image") == 1
    assert kinds.count("macro image") == 1
    assert kinds.count("unread bytes") == 1
    found = {one.value for one in cleaned.findings}
    assert {*_SECRETS.values(), "Artist Miller", "HOST-PATHO-3", "private doe tag", "Sw Doe"} <= found
    with tifffile.TiffFile(source) as old, tifffile.TiffFile(copy) as new:
        assert new.byteorder == byteorder
        for before, after in zip(old.pages[:3], new.pages, strict=True):
            np.testing.assert_array_equal(after.asarray(), before.asarray())
    if bigtiff or byteorder == "<":  # OpenSlide does not take the source of the fourth kind for a slide either
        assert_same_for_openslide(source, copy)
        assert_same_slide(source, copy)


def test_aperio_is_still_aperio_for_others(tmp_path: Path) -> None:
    source, copy = tmp_path / "a.svs", tmp_path / "b.svs"
    _full_svs(source)
    copy_of(source, copy)
    with openslide.OpenSlide(copy) as slide:
        assert set(slide.associated_images) == {"thumbnail"}
        kept = {key: value for key, value in slide.properties.items() if key.startswith("aperio.")}
        assert kept == {f"aperio.{key}": value for key, value in _HARMLESS.items()}
        with openslide.OpenSlide(source) as old:
            np.testing.assert_array_equal(
                np.asarray(slide.associated_images["thumbnail"]), np.asarray(old.associated_images["thumbnail"])
            )
    with tifffile.TiffFile(copy) as tiff:
        assert tiff.is_svs
        assert len(tiff.pages) == 3
        assert [series.name for series in tiff.series] == ["Baseline", "Thumbnail"]
        assert tiff.pages.first.description.rstrip() == _described(_HEAD, _HARMLESS)


def test_a_real_aperio_slide(shared_slides: Path, tmp_path: Path) -> None:
    source, copy = shared_slides / "CMU-1-Small-Region.svs", tmp_path / "b.svs"
    cleaned = copy_of(source, copy)
    assert {(one.kind, one.value) for one in cleaned.findings} == {
        ("label image", ""),
        ("macro image", ""),
        ("serial number", "CPAPERIOCS"),
        ("file name", "CMU-1"),
        ("date or time", "12/29/09"),
        ("date or time", "09:59:15"),
        ("person", "b414003d-95c6-48b0-9369-8010ed517ba7"),
        ("free text", "USM Filter"),
        ("identifier", "1004486"),
        ("other field", "-0.000424"),
        ("other field", "0.019265"),
        ("other field", "-0.000313"),
    }
    assert_gone(copy, *(one.value for one in cleaned.findings if one.value))
    with tifffile.TiffFile(source) as tiff:
        for page in (tiff.pages[2], tiff.pages[3]):
            for at, length in zip(page.dataoffsets, page.databytecounts, strict=True):
                assert not copy.read_bytes()[at : at + length].strip(b"\0")
    assert_same_for_openslide(source, copy)
    assert_same_slide(source, copy)


def test_a_real_ndpi_slide(shared_slides: Path, tmp_path: Path) -> None:
    source, copy = shared_slides / "test3-DAPI-2-387.ndpi", tmp_path / "b.ndpi"
    cleaned = copy_of(source, copy)
    values = {one.value for one in cleaned.findings}
    assert {"950291", "950410", "2017:02:07 13:06:43", "2011/05/23", "2017/01/27", "DAPI 2 (387)"} <= values
    assert [one.kind for one in cleaned.findings if one.kind.endswith("image")] == ["macro image", "other image"]
    assert_gone(copy, "950291", "950410", "2017", "2011/", "DAPI", "S/N", "roi.", "Shading", "AHEX", "YRNP")
    assert_same_for_openslide(source, copy)
    assert_same_slide(source, copy)
    with tifffile.TiffFile(source) as old, tifffile.TiffFile(copy) as new:
        assert new.is_ndpi
        assert len(new.pages) == len(old.pages) - 2 == 4
        content, was = copy.read_bytes(), source.read_bytes()
        for index, page in enumerate(old.pages):
            at, end = page.dataoffsets[0], page.dataoffsets[0] + page.databytecounts[0]
            assert content[at:end] == (was[at:end] if index < 4 else bytes(end - at))


@pytest.mark.parametrize(
    "name", ["openslide-python_small.svs", "openslide-python_boxes.tiff", "cytomine_HE_flat_862x896.tiff"]
)
def test_other_real_tiffs(shared_slides: Path, tmp_path: Path, name: str) -> None:
    cleaned = copy_of(shared_slides / name, tmp_path / name)
    assert bool(cleaned.findings) == name.endswith(".svs")
    assert_gone(tmp_path / name, "CMU-1", "CPAPERIOCS")


def test_a_label_by_its_xml_goes(shared_slides: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b.qptiff"
    copy_of(shared_slides / "pathml_small_vectra.qptiff", copy)
    assert_gone(copy, "RTM61_1", "WIN-518AEG3GFG2", "688b0669", "4E37D078595BEF06", "2020")
    with tifffile.TiffFile(copy) as tiff:
        assert len(tiff.pages) == 4


def test_our_own_pyramid_has_nothing_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "ours.tiff"
    write_pyramid(path, [tissue(1500, 1100)], size=Size(1500, 1100), mpp=Mpp(0.25), power=40.0)
    cleaned = copy_of(path, tmp_path / "copy.tiff")
    assert cleaned.findings == ()
    assert (tmp_path / "copy.tiff").read_bytes() == path.read_bytes()


def test_text_behind_the_end_of_a_description_goes(tmp_path: Path) -> None:
    source, copy = tmp_path / "a.svs", tmp_path / "b.svs"
    write_svs(source, tissue(200, 150))
    content = source.read_bytes()
    source.write_bytes(content.replace(b"MPP = 0.4990\0", b"MPP\0= Doe123\0"))
    cleaned = copy_of(source, copy)
    assert any(one.value == "= Doe123" for one in cleaned.findings)
    assert_gone(copy, "Doe123")


def _tiff(path: Path, *pictures: Rgb, **more: Any) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for picture in pictures:
            tiff.write(picture, photometric="rgb", tile=(64, 64), metadata=None, **more)


def test_of_a_generic_tiff_only_pictures_of_the_slide_s_shape_stay(tmp_path: Path) -> None:
    source, copy = tmp_path / "a.tif", tmp_path / "b.tif"
    rgb, half, other = tissue(320, 200), tissue(160, 100, 1), tissue(100, 160, 2)
    _tiff(source, rgb, other, half)
    kinds = [one.kind for one in copy_of(source, copy).findings]
    assert kinds == ["other image"]
    with tifffile.TiffFile(copy) as tiff:
        np.testing.assert_array_equal(tiff.pages[0].asarray(), rgb)
        np.testing.assert_array_equal(tiff.pages[1].asarray(), half)
        assert len(tiff.pages) == 2
    assert_gone(copy, other[0].tobytes()[:32])


@pytest.mark.parametrize("word", ["label", "Macro image", "slide_overview", "<ImageType>Label</ImageType>", "BARCODE"])
def test_of_a_generic_tiff_named_pictures_go(tmp_path: Path, word: str) -> None:
    source, copy = tmp_path / "a.tif", tmp_path / "b.tif"
    rgb, half = tissue(320, 200), tissue(160, 100, 1)
    with tifffile.TiffWriter(source) as tiff:
        tiff.write(rgb, photometric="rgb", metadata=None)
        tiff.write(half, photometric="rgb", metadata=None, description=word)
    copy_of(source, copy)
    assert_gone(copy, word, half.tobytes()[1000:1032])


def test_a_label_among_sub_ifds_goes_and_levels_stay(tmp_path: Path) -> None:
    for count in (1, 2, 3):
        source, copy = tmp_path / f"a{count}.tif", tmp_path / f"b{count}.tif"
        rgb, label = tissue(320, 200), tissue(160, 100, 3)
        levels = [tissue(160, 100, 1), tissue(80, 50, 2)][: count - 1]
        with tifffile.TiffWriter(source) as tiff:
            tiff.write(rgb, photometric="rgb", metadata=None, subifds=count)
            for level in levels:
                tiff.write(level, photometric="rgb", metadata=None, subfiletype=1)
            tiff.write(label, photometric="rgb", metadata=None, description="label of Doe")
        assert {one.kind for one in copy_of(source, copy).findings} == {"label image"}
        assert_gone(copy, "Doe", label.tobytes()[1000:1032])
        with tifffile.TiffFile(copy) as tiff:
            found = tiff.pages.first.pages
            assert [page.asarray().tolist() for page in found or []] == [level.tolist() for level in levels]


def _with_comment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return jpeg[:2] + bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]


@pytest.mark.parametrize(
    ("marker", "content"), [(0xFE, b"scanned for Doe"), (0xE1, b"Exif\0\0 Doe Camera"), (0xE0, b"Doe")]
)
def test_comments_inside_tiles_go_and_pixels_stay(tmp_path: Path, marker: int, content: bytes) -> None:
    source, copy = tmp_path / "a.tif", tmp_path / "b.tif"
    rgb = tissue(128, 64)
    jpegs = [simplejpeg.encode_jpeg(np.ascontiguousarray(rgb[:, at : at + 64]), 90, "RGB", "444") for at in (0, 64)]

    def tiles() -> Iterator[bytes]:
        for jpeg in jpegs:
            yield _with_comment(jpeg, marker, content)

    with tifffile.TiffWriter(source) as tiff:
        shape: Any = {"shape": rgb.shape, "dtype": np.uint8, "tile": (64, 64), "metadata": None}
        tiff.write(tiles(), photometric="ycbcr", compression="jpeg", subsampling=(1, 1), **shape)
    copy_of(source, copy)
    assert_gone(copy, "Doe")
    with tifffile.TiffFile(source) as old, tifffile.TiffFile(copy) as new:
        np.testing.assert_array_equal(new.pages.first.asarray(), old.pages.first.asarray())


@pytest.mark.parametrize(
    ("words", "family"),
    [
        ({"description": '<?xml version="1.0"?><OME></OME>'}, "OME"),
        ({"description": '<?xml version="1.0"?><scn xmlns="x"></scn>'}, "Leica SCN"),
        ({"software": "Philips DP v1.0"}, "Philips"),
        ({"software": "MedScan"}, "Trestle"),
        ({"extratags": [(700, 1, 12, b"<iScan x=1/>", True)]}, "Ventana"),
    ],
)
def test_families_whose_text_their_readers_need_are_refused(tmp_path: Path, words: dict[str, Any], family: str) -> None:
    path = tmp_path / "a.tif"
    _tiff(path, tissue(128, 64), **words)
    with pytest.raises(SlideOpenError, match=rf"a\.tif: {family}.*sarcoscope convert"):
        inspect_identity(path)


def test_a_label_that_shares_bytes_with_the_slide_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(tissue(64, 64), photometric="rgb", metadata=None)
        tiff.write(tissue(64, 64, 1), photometric="rgb", metadata=None, description="label")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as written:
        (slide,), (label,) = written.pages[0].dataoffsets, written.pages[1].dataoffsets
        at = content.index(label.to_bytes(4, "little"), written.pages[1].offset)
    content[at : at + 4] = slide.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SlideReadError, match="shares bytes with the slide"):
        inspect_identity(path)


def test_a_tiff_that_is_a_label_is_refused(tmp_path: Path) -> None:
    _tiff(tmp_path / "a.tif", tissue(64, 64), description="Label image")
    with pytest.raises(SlideOpenError, match="calls itself a label"):
        inspect_identity(tmp_path / "a.tif")


def test_text_in_the_place_of_a_number_or_a_profile_goes(tmp_path: Path) -> None:
    source, copy = tmp_path / "a.tif", tmp_path / "b.tif"
    extra: list[Any] = [(283, 2, 0, "17 Doe Street", True), (34675, 7, 50, b"no profile but Doe".ljust(50), True)]
    with tifffile.TiffWriter(source) as tiff:
        tiff.write(
            tissue(64, 64), photometric="rgb", metadata=None, software=False, resolution=None, extratags=extra[1:]
        )
        tiff.write(tissue(64, 64), photometric="rgb", metadata=None, software=False, extratags=[(318, *extra[0][1:])])
    copy_of(source, copy)
    assert_gone(copy, "Doe")


def test_ndpi_offsets_beyond_4_gib_are_followed(tmp_path: Path) -> None:
    """A sparse NDPI with its directory, a value and its strip behind 4 GiB, and their high halves behind the tags."""
    path, far = tmp_path / "a.ndpi", 5 * 2**32 + 16
    value, strip = b"950291\0\0\0\0", far + 4096
    tags = [(273, 4, 1, strip), (279, 4, 1, 100), (NDPI_FLAG, 3, 1, 1), (65442, 2, 10, far + 1024)]
    rows = b"".join(struct.pack("<HHII", tag, kind, count, at & 0xFFFFFFFF) for tag, kind, count, at in tags)
    high = b"".join(struct.pack("<I", at >> 32) for *_, at in tags)
    with path.open("wb") as file:
        file.write(b"II\x2a\0" + struct.pack("<Q", far))
        file.seek(far)
        file.write(struct.pack("<H", len(tags)) + rows + struct.pack("<Q", 0) + high)
        file.seek(far + 1024)
        file.write(value)
        file.truncate(strip + 100)
    data = FileBytes(path)
    try:
        tiff = TiffFile(data)
        assert tiff.ndpi
        (page,) = tiff.pages
        assert tiff.text(page, 65442) == "950291"
        offsets = tiff.integers(page, 273)
        assert offsets is not None
        assert offsets.tolist() == [strip]
        assert page.end == far + 2 + 12 * 4 + 8 + 4 * 4
        assert tiff.packed(page.entries, 0) == data.read(far, page.end - far)
    finally:
        data.close()


def test_directories_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    _tiff(path, tissue(64, 64), tissue(64, 64))
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        first, second = (page.offset for page in tiff.pages)
    at = second + 2 + 12 * int.from_bytes(content[second : second + 2], "little")
    content[at : at + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SlideReadError, match="circle"):
        inspect_identity(path)


@pytest.fixture(scope="module")
def small_svs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "a.svs"
    _full_svs(path)
    return path.read_bytes()


@given(data=st.data())
def test_damage_is_refused_or_copied_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, small_svs: bytes, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged", numbered=True)
    content = bytearray(small_svs)
    with tifffile.TiffFile(io.BytesIO(small_svs)) as tiff:
        places = [at for page in tiff.pages for at in range(page.offset, page.offset + 240)]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(places) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    source, copy = folder / "a.tif", folder / "b.tif"
    source.write_bytes(content[:cut])
    try:
        cleaned = inspect_identity(source)
    except SlideError:
        return
    cleaned.write(copy, NewIdentity("x", "y"))
    assert copy.stat().st_size == cut
