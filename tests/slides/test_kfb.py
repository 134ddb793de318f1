import struct
from pathlib import Path

import kfbslide  # type: ignore[import-untyped]
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.slides.byte_spans import Span
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import TileTable
from sarcoscope.slides.kfb import KfbReader, is_kfb
from sarcoscope.slides.kfb_layout import SCAN_TIME, KfbLayout, read_layout
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.testing.kfb_writer import Written, jpeg_of, tile_record, write_kfb
from sarcoscope.testing.slides import SlideSourceContract
from tests.slides.images import tissue

PICTURE = tissue(700, 530)
MISSING = {(0, 1, 1), (1, 0, 0)}


def full(path: Path, rgb: Rgb | None = None, missing: set[tuple[int, int, int]] | None = None) -> Written:
    """A slide with everything that a KFB can have."""
    return write_kfb(
        path,
        PICTURE if rgb is None else rgb,
        missing=missing or set(),
        macro=tissue(90, 40, seed=1),
        label=tissue(31, 33, seed=2),
        preview=tissue(70, 53, seed=3),
    )


def layout_of(path: Path) -> KfbLayout:
    data = FileBytes(path)
    try:
        return read_layout(data)
    finally:
        data.close()


def patch(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def refusal(path: Path) -> str:
    with pytest.raises(SlideOpenError) as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


class _InTmp(SlideSourceContract):
    tmp: Path

    @pytest.fixture(autouse=True)
    def _use_tmp(self, tmp_path: Path) -> None:
        self.tmp = tmp_path


class TestKfb(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        return KfbReader(full(self.tmp / "a.kfb").path)


class TestKfbWithoutCutTilesOrImages(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        return open_slide(write_kfb(self.tmp / "a.kfb", tissue(611, 402), cut=False, levels=1).path)


class TestKfbWithMissingTiles(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        gone = {(0, column, row) for column in range(2) for row in range(2)} | {(1, 0, 0)}  # the same on both levels
        return KfbReader(write_kfb(self.tmp / "a.kfb", PICTURE, levels=2, missing=gone).path)


def test_a_header_written_by_hand(tmp_path: Path) -> None:
    """300 x 200 px at 20x of 0.5 um: a tile of 256 x 200 px, one of 44 x 200; no images; offsets counted by hand."""
    left, right = (jpeg_of(tissue(width, 200, seed=width)) for width in (256, 44))
    index = 96 + 76 + len(left) + len(right)
    header = bytes.fromhex("f101eeee4b464200 00000000 cdcccc3f 02000000 c8000000 2c010000 14000000 4a504700 00000000")
    header += bytes.fromhex("3c000000 efbeadde00000000 00000000 00000000 0000000000000000") + index.to_bytes(
        8, "little"
    )
    header += bytes.fromhex("0000003f 00000000 00000000 00010000 ff01eeee")
    assert len(header) == 96
    records = bytes.fromhex("f104eeee 00000000 00000000 00010000 c8000000 0000a041 0000000000000000")
    records += struct.pack("<Iq", len(left), -len(left) - len(right)) + bytes(16) + bytes.fromhex("ff04eeee")
    records += bytes.fromhex("f104eeee 00010000 00000000 2c000000 c8000000 0000a041 0000000000000000")
    records += struct.pack("<Iq", len(right), -len(right)) + bytes(16) + bytes.fromhex("ff04eeee")
    path = tmp_path / "hand.kfb"
    path.write_bytes(header + b"SN77".ljust(76, b"\0") + left + right + records)
    with KfbReader(path) as slide:
        info = slide.info
        pixels = slide.read(Box(0, 0, 300, 200), Size(300, 200))
        assert slide.payload(0, 1, 0) == right
    assert (info.vendor, info.size, len(info.levels), info.associated) == ("kfb", Size(300, 200), 1, ())
    assert info.scale is not None
    assert (info.scale.mpp, info.scale.source, info.objective_power) == (0.5, "file: KFB header", 20.0)
    assert info.properties["kfb.scan_time"] == str(0xDEADBEEF)
    assert info.properties["kfb.scan_seconds"] == "60"
    assert info.properties["kfb.extension[0]"] == "SN77"
    np.testing.assert_array_equal(pixels, np.hstack([simplejpeg.decode_jpeg(jpeg) for jpeg in (left, right)]))
    assert layout_of(path).extension == Span(96, 76)


def test_tiles_are_the_bytes_and_pixels_that_were_written(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb", missing=MISSING)
    with KfbReader(written.path) as slide:
        for (level, column, row), jpeg in written.tiles.items():
            assert slide.payload(level, column, row) == jpeg
            want = simplejpeg.decode_jpeg(jpeg)
            box = Box(column * 256, row * 256, want.shape[1], want.shape[0])
            np.testing.assert_array_equal(slide.read_level(level, box), want)
        for level, column, row in MISSING:
            assert slide.payload(level, column, row) is None
            assert (slide.read_level(level, Box(column * 256, row * 256, 90, 9)) == 255).all()


def test_levels_are_halved_and_rounded_down(tmp_path: Path) -> None:
    with KfbReader(write_kfb(tmp_path / "a.kfb", tissue(701, 531), levels=4).path) as slide:
        found = [(level.size, level.downsample) for level in slide.info.levels]
    assert found == [(Size(701, 531), 1), (Size(350, 265), 2), (Size(175, 132), 4), (Size(87, 66), 8)]


def test_a_level_without_any_tile_is_left_out(tmp_path: Path) -> None:
    gone = {(1, column, row) for column in range(2) for row in range(2)}
    with KfbReader(write_kfb(tmp_path / "a.kfb", PICTURE, missing=gone).path) as slide:
        assert [level.downsample for level in slide.info.levels] == [1, 4]


def test_associated_images(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb")
    with KfbReader(written.path) as slide:
        assert slide.info.associated == ("label", "macro", "thumbnail")
        for name, stored in (("label", "label"), ("macro", "macro"), ("thumbnail", "preview")):
            np.testing.assert_array_equal(slide.associated(name), simplejpeg.decode_jpeg(written.images[stored]))


def test_a_damaged_label_spoils_nothing_else(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb")
    patch(written.path, written.places["label JPEG"], b"nothing")
    with KfbReader(written.path) as slide:
        with pytest.raises(SlideReadError, match=r"label image at byte .* begins with 6e 6f 74 68"):
            slide.associated("label")
        slide.read(Box(0, 0, 64, 64), Size(64, 64))


def check_against_kfbslide(path: Path) -> None:
    """Sizes, scale, images and every pixel; where kfbslide is transparent we are white. It lists no preview."""
    with KfbReader(path) as ours, kfbslide.OpenSlide(str(path)) as theirs:
        sizes = [(level.size.width, level.size.height) for level in ours.info.levels]
        assert list(theirs.level_dimensions) == sizes
        assert [level.downsample for level in ours.info.levels] == list(theirs.level_downsamples)
        assert ours.info.scale is not None
        assert float(theirs.properties["openslide.mpp-x"]) == ours.info.scale.mpp
        assert float(theirs.properties["openslide.objective-power"]) == ours.info.objective_power
        for name, image in theirs.associated_images.items():
            np.testing.assert_array_equal(ours.associated(name), np.asarray(image)[..., :3])
        for level, (width, height) in enumerate(sizes):
            rgba = np.asarray(theirs.read_region((0, 0), level, (width, height)))
            want = np.where(rgba[..., 3:] == 255, rgba[..., :3], 255)
            np.testing.assert_array_equal(ours.read_level(level, Box(0, 0, width, height)), want)


def test_kfbslide_reads_the_same(tmp_path: Path) -> None:
    check_against_kfbslide(full(tmp_path / "a.kfb", missing=MISSING).path)


def test_kfbslide_reads_the_same_of_real_tissue(shared_slides: Path, tmp_path: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as svs:
        rgb = svs.read(Box(300, 500, 1300, 900), Size(1300, 900))
    written = full(tmp_path / "a.kfb", rgb)
    check_against_kfbslide(written.path)
    with KfbReader(written.path) as slide:
        read = slide.read(Box(0, 0, 1300, 900), Size(1300, 900))
    assert np.abs(read.astype(float) - rgb).mean() < 4  # JPEG again, quality 90


def test_offsets_beyond_4_gib(tmp_path: Path) -> None:
    plain = full(tmp_path / "plain.kfb", missing=MISSING)
    far = write_kfb(tmp_path / "far.kfb", PICTURE, missing=MISSING, preview=tissue(70, 53, seed=3), hole=2**33)
    assert far.places["index"] > 2**33
    with KfbReader(plain.path) as near, KfbReader(far.path) as slide:
        box = Box(0, 0, 700, 530)
        np.testing.assert_array_equal(slide.read_level(0, box), near.read_level(0, box))
        np.testing.assert_array_equal(slide.associated("thumbnail"), near.associated("thumbnail"))


def test_what_a_file_is_decides_not_its_name(tmp_path: Path) -> None:
    path = full(tmp_path / "a.svs").path
    assert is_kfb(path.read_bytes()[:16])
    with open_slide(path) as slide:
        assert isinstance(slide, KfbReader)
    (tmp_path / "b.kfb").write_bytes(b"\0\1\2\3" * 1000)
    assert "named like KFB, but its content is not" in refusal(tmp_path / "b.kfb")


def test_a_huge_slide_of_one_tile_is_read_at_once(tmp_path: Path) -> None:
    """2**22 tiles' room in a file of a few kB: what is not there must cost nothing."""
    written = write_kfb(tmp_path / "a.kfb", np.zeros((256, 256, 3), np.uint8), levels=1)
    patch(written.path, 20, struct.pack("<II", 2048 * 256, 2048 * 256))
    with KfbReader(written.path) as slide:
        pixels = slide.read(Box(0, 0, 256 * 256, 256 * 256), Size(256, 256))
    assert (pixels[0, 0] == 0).all()
    pixels[0, 0] = 255
    assert (pixels == 255).all()


def test_a_given_scale_settles_one_that_cannot_be(tmp_path: Path) -> None:
    for number, mpp in enumerate((0.0, float("nan"), float("inf"), -0.25, 7.0)):
        path = write_kfb(tmp_path / f"{number}.kfb", tissue(300, 200), mpp=mpp, levels=1).path
        with open_slide(path) as slide:
            assert slide.info.scale is None
            assert "KFB header says" in (slide.info.scale_problem or "")
        with open_slide(path, mpp=Mpp(0.25)) as slide:
            assert slide.info.scale is not None
            assert slide.info.scale.mpp == 0.25


def test_the_layout_says_where_identifying_content_lies(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb")
    layout, stored = layout_of(written.path), written.path.read_bytes()

    def bytes_at(span: Span) -> bytes:
        return stored[span.start : span.stop]

    assert layout.extension == Span(96, 80)
    assert [(text, bytes_at(span)) for text, span in layout.texts] == [
        ("KF-PRO-SN-0042", b"KF-PRO-SN-0042"),
        ("1.7.0.52", b"1.7.0.52"),
    ]
    assert bytes_at(SCAN_TIME) == struct.pack("<q", 1_600_000_000)
    for name in ("macro", "label", "preview"):
        image = layout.image(name)
        assert image is not None
        assert bytes_at(image.jpeg) == written.images[name]
        assert image.record == Span(written.places[f"{name} record"], 52)
    assert layout.index == Span(written.places["index"], 64 * len(written.tiles))
    assert layout.image("other") is None


@pytest.mark.parametrize("length", [0, 76, 80, 300])
def test_an_extension_of_any_length(tmp_path: Path, length: int) -> None:
    written = write_kfb(tmp_path / "a.kfb", tissue(300, 200), macro=tissue(20, 20), extension_bytes=length, levels=1)
    assert layout_of(written.path).extension == Span(96, length)


U32_MAX = b"\xff" * 4

HEADERS: dict[str, tuple[int, bytes, str]] = {
    "fluorescence": (4, b"KFBF", "KFBF file (fluorescence)"),
    "fluorescence at once": (0, b"KFBF", "KFBF file (fluorescence)"),
    "another kind": (4, b"KFBX", "marks f1 01 ee ee, b'KFBX' and ff 01 ee ee"),
    "no end mark": (92, bytes(4), "and 00 00 00 00 at bytes 0, 4 and 92"),
    "version": (12, struct.pack("<f", 2.5), "version 2.5: only 1.6 is known"),
    "version that is no number": (12, struct.pack("<f", float("nan")), "version nan"),
    "no tiles": (16, bytes(4), "states 0 tiles"),
    "2**31 tiles": (16, struct.pack("<I", 2**31), "states 2147483648 tiles"),
    "more tiles than bytes": (
        16,
        struct.pack("<I", 9_000_000),
        "tile index of a KFB file is said to be 576000000 bytes",
    ),
    "one tile less": (16, struct.pack("<I", 13), "13 tile records from byte"),
    "no height": (20, bytes(4), "states 700x0 px"),
    "absurd width": (24, U32_MAX, "states 4294967295x530 px"),
    "absurd area": (20, struct.pack("<II", 2**22, 2**22), "states 4194304x4194304 px"),
    "no magnification": (28, bytes(4), "scan magnification of 0"),
    "absurd magnification": (28, U32_MAX, "scan magnification of 4294967295"),
    "other magnification": (28, struct.pack("<I", 30), "magnification of 40 in a scan of 30x"),
    "codec": (32, b"JP2\0", "compressed as b'JP2\\x00'"),
    "macro beyond the file": (52, U32_MAX, "the record of its macro image is said to be 52 bytes at 4294967295"),
    "macro in the header": (52, struct.pack("<I", 60), "record of its macro image at byte 60 has the marks"),
    "label where the macro is": (56, struct.pack("<I", 176), "label image at byte 176 has the marks f1 02 ee ee"),
    "preview elsewhere": (60, struct.pack("<Q", 176), "but the preview follows at 176"),
    "index beyond the file": (
        68,
        struct.pack("<Q", 2**63 + 5),
        "tile index of a KFB file is said to be 896 bytes at 92",
    ),
    "tile side": (88, struct.pack("<I", 512), "tiles of 512 px: only 256 is known"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_unlike_the_known_is_refused_by_name(tmp_path: Path, what: str) -> None:
    at, content, said = HEADERS[what]
    written = full(tmp_path / "a.kfb")
    assert len(written.tiles) == 9 + 4 + 1
    patch(written.path, at, content)
    message = refusal(written.path)
    assert said in message
    assert "please report this line" in message


RECORDS: dict[str, tuple[int, bytes, str]] = {
    "start mark": (0, bytes(4), "macro image at byte 176 has the marks 00 00 00 00"),
    "end mark": (48, b"\xff\x03\xee\xee", "marks f1 02 ee ee and ff 03 ee ee"),
    "no width": (12, bytes(4), "states 0x40 px"),
    "length": (20, U32_MAX, "its macro image is said to be 4294967295 bytes at 228"),
    "offset": (24, U32_MAX, "its macro image is said to be"),
    "offset into the record": (24, struct.pack("<I", 8), "its JPEG follows after 8 bytes"),
    "over the label": (20, struct.pack("<I", 1500), "its label at byte"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_an_image_record_unlike_the_known_is_refused_by_name(tmp_path: Path, what: str) -> None:
    at, content, said = RECORDS[what]
    written = full(tmp_path / "a.kfb")
    patch(written.path, written.places["macro record"] + at, content)
    assert said in refusal(written.path)


def test_an_image_of_no_bytes_is_none(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb")
    patch(written.path, written.places["macro record"] + 20, bytes(4))
    with KfbReader(written.path) as slide:
        assert slide.info.associated == ("label", "thumbnail")


TILES: dict[str, tuple[int, bytes, str]] = {
    "start mark": (0, bytes(4), "has the marks 00000000 and eeee04ff"),
    "end mark": (60, bytes(4), "has the marks eeee04f1 and 00000000"),
    "off the grid": (4, struct.pack("<I", 300), "lies at 300, 0 px of its level of magnification 40"),
    "right of the slide": (4, struct.pack("<I", 768), "which is right of that level or off the grid"),
    "below the slide": (8, struct.pack("<I", 2**31), "lies at 0, 2147483648 px"),
    "no width": (12, bytes(4), "states 0x256 px"),
    "cut inside the slide": (
        12,
        struct.pack("<I", 188),
        "at 0, 0 px of its level of magnification 40 states 188x256 px",
    ),
    "absurd height": (16, U32_MAX, "states 256x4294967295 px"),
    "magnification that is no number": (20, struct.pack("<f", float("nan")), "states a magnification of nan"),
    "endless magnification": (20, struct.pack("<f", float("inf")), "states a magnification of inf"),
    "no magnification": (20, bytes(4), "states a magnification of 0"),
    "negative magnification": (20, struct.pack("<f", -40.0), "states a magnification of -40"),
    "magnification between levels": (20, struct.pack("<f", 30.0), "states a magnification of 30"),
    "magnification above the scan": (20, struct.pack("<f", 80.0), "states a magnification of 80"),
    "magnification of no px": (20, struct.pack("<f", 40 / 2**12), "none of its levels"),
    "length": (32, U32_MAX, "says 4294967295 bytes"),
    "offset before the file": (36, struct.pack("<q", -(2**63)), "bytes at -9223372036854775808 from byte"),
    "offset behind the file": (36, struct.pack("<q", 2**63 - 1), "bytes at 9223372036854775807 from byte"),
}


@pytest.mark.parametrize("what", TILES)
def test_a_tile_record_unlike_the_known_is_refused_by_name(tmp_path: Path, what: str) -> None:
    at, content, said = TILES[what]
    written = full(tmp_path / "a.kfb")
    patch(written.path, written.places["index"] + at, content)
    message = refusal(written.path)
    assert said in message
    assert "its tile record 0 " in message


@pytest.mark.parametrize("over", ["header", "macro", "label", "preview", "tile index"])
def test_a_tile_over_something_else_is_refused(tmp_path: Path, over: str) -> None:
    written = full(tmp_path / "a.kfb")
    at = written.places[over.removeprefix("tile ") if over in {"header", "tile index"} else f"{over} JPEG"]
    patch(written.path, written.places["index"] + 32, struct.pack("<Iq", 10, at - written.places["index"]))
    assert f"lies over the {over}" in refusal(written.path)


def test_a_tile_at_two_places_is_refused_and_twice_at_one_is_not(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb")
    index, stored = written.places["index"], written.path.read_bytes()
    patch(written.path, index + 64, stored[index : index + 64])
    with KfbReader(written.path) as slide:
        assert slide.payload(0, 1, 0) is None
    patch(written.path, index + 64 + 36, stored[index + 64 + 36 : index + 64 + 44])
    assert "two places for tile 0, 0 (column, row) of level 0" in refusal(written.path)


def test_a_tile_of_no_bytes_is_a_missing_one(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb")
    patch(written.path, written.places["index"] + 32, bytes(4))
    with KfbReader(written.path) as slide:
        assert (slide.read_level(0, Box(0, 0, 256, 256)) == 255).all()


def test_a_slide_without_its_finest_level_is_refused(tmp_path: Path) -> None:
    gone = {(0, column, row) for column in range(3) for row in range(3)}
    written = write_kfb(tmp_path / "a.kfb", PICTURE, missing=gone)
    assert "no tile at the scan magnification of 40x" in refusal(written.path)


def test_a_tile_that_decodes_to_another_size_is_named(tmp_path: Path) -> None:
    rgb = tissue(256, 256)
    small = jpeg_of(rgb[:64, :64])
    written = write_kfb(tmp_path / "a.kfb", rgb, levels=1)
    index, start = written.places["index"], written.places["tiles"]
    patch(written.path, start, small)
    patch(written.path, index, tile_record((0, 0, 256, 256), 40, length=len(small), offset=start - index))
    with (
        KfbReader(written.path) as slide,
        pytest.raises(SlideReadError, match=r"tile 0, 0 .* of level 0 is 64x64 px, want 256x256"),
    ):
        slide.read(Box(0, 0, 64, 64), Size(64, 64))


def test_cut_short_anywhere_it_is_refused(tmp_path: Path) -> None:
    written = full(tmp_path / "a.kfb")
    stored = written.path.read_bytes()
    boundaries = set(written.places.values()) - {0, len(stored)}
    for at in sorted({cut for place in boundaries for cut in (place - 1, place, place + 1)} - {len(stored)}):
        if 4 <= at < len(stored):
            written.path.write_bytes(stored[:at])
            refusal(written.path)


@given(
    held=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=20),
    part=st.tuples(st.integers(0, 6), st.integers(1, 7), st.integers(0, 4), st.integers(1, 5)),
)
def test_the_tiles_of_a_part_of_the_grid(held: set[tuple[int, int]], part: tuple[int, int, int, int]) -> None:
    cells = np.array([row * 7 + column for column, row in held], np.int64)
    table = TileTable(7, 5, cells, np.arange(len(cells)), np.ones(len(cells), np.int64))
    columns, rows = range(part[0], min(part[0] + part[1], 7)), range(part[2], min(part[2] + part[3], 5))
    want = [(column, row) for row in rows for column in columns if table.find(column, row) is not None]
    assert list(table.present(columns, rows)) == want


@given(st.data())
def test_any_damage_is_an_error_of_ours_or_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    written = full(folder / "a.kfb", PICTURE[:260, :300])
    stored = bytearray(written.path.read_bytes())
    structures = [*range(96), *range(written.places["index"], len(stored)), *range(176, 228)]
    for _ in range(data.draw(st.integers(1, 4))):
        stored[data.draw(st.sampled_from(structures))] = data.draw(st.integers(0, 255))
    written.path.write_bytes(stored)
    try:
        with KfbReader(written.path) as slide:
            slide.read(Box(0, 0, 300, 260), Size(30, 26))
            for name in slide.info.associated:
                slide.associated(name)
    except SlideError as error:
        assert "\n" not in str(error)  # noqa: PT017 - no error at all is as good
