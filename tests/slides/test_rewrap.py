"""What `convert` writes: bit-identical tiles, and a pyramid that every reader opens."""

import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from typing_extensions import override

from sarcoscope.core.errors import InputError, SlideReadError
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.core.slide import Scale, SlideInfo
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import JpegLevel, JpegPyramid, TileTable
from sarcoscope.slides.jpeg_slots import head, leaves_slots_free, moved, without_words
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.resample import level_of
from sarcoscope.slides.rewrap import PyramidOptions, TileCounts, icc_profile, plan_levels, tiles_of, write_rewrapped
from sarcoscope.slides.tiff_pages import About, origin_of
from sarcoscope.testing.kfb_writer import write_kfb
from sarcoscope.testing.zyp_writer import write_zyp
from tests.slides.images import APERIO, tissue, write_svs

ABSENT = b""


class Stored(JpegPyramid):
    """A slide whose levels are lists of compressed tiles, row by row, in one file."""

    def __init__(self, path: Path, levels: list[tuple[JpegLevel, list[bytes]]]) -> None:
        path.write_bytes(b"".join(tile for _, tiles in levels for tile in tiles))
        sizes = [level.size for level, _ in levels]
        info = SlideInfo(
            vendor="stored",
            size=sizes[0],
            levels=tuple(level_of(sizes[0], size) for size in sizes),
            scale=Scale(mpp=Mpp(0.25), source="test"),
            objective_power=40.0,
        )
        jpeg_levels, offset = [], 0
        for level, tiles in levels:
            table = _table(level, tiles, offset)
            jpeg_levels.append(JpegLevel(level.size, level.tile, table, level.tables, level.rgb, level.cut))
            offset += sum(map(len, tiles))
        super().__init__(path, (path,), info, FileBytes(path), jpeg_levels)

    @override
    def _fetch_absent(self, level: int, column: int, row: int) -> Rgb:
        tile = self._jpeg_level(level).tile
        return np.full((tile.height, tile.width, 3), 255, np.uint8)


def _table(level: JpegLevel, tiles: list[bytes], offset: int) -> TileTable:
    lengths = np.array([len(tile) for tile in tiles], np.int64)
    offsets = offset + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    columns, rows = -(-level.size.width // level.tile.width), -(-level.size.height // level.tile.height)
    return TileTable(columns, rows, np.arange(len(tiles)), offsets, lengths)


def stored_level(
    rgb: Rgb, *, tile: int = 64, sampling: str = "420", colors: str = "YCBCR", cut: bool = False, quality: int = 95
) -> tuple[JpegLevel, list[bytes]]:
    """A level of complete JPEG tiles; edge tiles are padded with gray, or as large as what is left where `cut`."""
    height, width = rgb.shape[:2]
    tiles = []
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            piece = np.ascontiguousarray(rgb[top : top + tile, left : left + tile])
            if not cut:
                missing = ((0, tile - piece.shape[0]), (0, tile - piece.shape[1]), (0, 0))
                piece = np.pad(piece, missing, constant_values=128)
            encoded = imagecodecs.jpeg8_encode(piece, level=quality, subsampling=sampling, outcolorspace=colors)
            tiles.append(bytes(encoded))
    table = TileTable(1, 1, *(np.zeros(0, np.int64) for _ in range(3)))
    return JpegLevel(Size(width, height), Size(tile, tile), table, cut=cut), tiles


def abbreviated(level: JpegLevel, tiles: list[bytes]) -> tuple[JpegLevel, list[bytes]]:
    """The same level with the tables of its tiles taken out of them, as TIFF's JPEGTables wants it."""
    tables, bare = b"", []
    for tile in tiles:
        kept, tables, at = b"", b"", 2
        while tile[at + 1] != 0xDA:
            end = at + 2 + int.from_bytes(tile[at + 2 : at + 4], "big")
            if tile[at + 1] in {0xC4, 0xDB}:
                tables += tile[at:end]
            else:
                kept += tile[at:end]
            at = end
        bare.append(tile[:2] + kept + tile[at:])
    return JpegLevel(level.size, level.tile, level.table, b"\xff\xd8" + tables + b"\xff\xd9", cut=level.cut), bare


def halved(rgb: Rgb, by: int = 2) -> Rgb:
    height, width = rgb.shape[0] // by, rgb.shape[1] // by
    return np.asarray(cv2.resize(rgb[: height * by, : width * by], (width, height), interpolation=cv2.INTER_AREA))


def smooth(width: int, height: int) -> Rgb:
    """Tissue in which even a px of a coarse level is of one colour."""
    return np.asarray(cv2.resize(tissue(width // 8 + 1, height // 8 + 1), (width, height)), np.uint8)


def convert(source: SlideSource, out: Path, options: PyramidOptions | None = None) -> TileCounts:
    assert source.info.scale is not None
    about = About(
        size=source.info.size,
        mpp=source.info.scale.mpp,
        power=source.info.objective_power,
        icc_profile=icc_profile(source),
        origin="0123",
    )
    heard: list[int] = []
    chosen = options or PyramidOptions()
    counts = write_rewrapped(out, source, about, chosen, heard.append)
    assert sum(heard) == tiles_of(plan_levels(source, chosen))
    assert sum(heard) == sum(asdict(counts).values())
    return counts


def payloads(path: Path, page: int) -> list[bytes]:
    with tifffile.TiffFile(path) as tiff:
        found = tiff.series[0].levels[page].keyframe
        data = path.read_bytes()
        pairs = zip(found.dataoffsets, found.databytecounts, strict=True)
        return [data[offset : offset + count] for offset, count in pairs]


def openslide_level(path: Path, level: int) -> Rgb:
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))


def off(one: Rgb, other: Rgb) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def vips(*arguments: object) -> str:
    if shutil.which("vips") is None:
        pytest.skip("the program `vips` is absent: libvips not tested")
    done = subprocess.run(["vips", *map(str, arguments)], check=True, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(("sampling", "colors"), [("444", "YCBCR"), ("422", "YCBCR"), ("420", "YCBCR"), ("444", "RGB")])
def test_every_stored_level_is_copied_bit_by_bit(tmp_path: Path, sampling: str, colors: str) -> None:
    rgb = tissue(1500, 1100)
    levels = [stored_level(image, sampling=sampling, colors=colors) for image in (rgb, halved(rgb, 2), halved(rgb, 4))]
    with Stored(tmp_path / "a.bin", levels) as source:
        counts = convert(source, tmp_path / "a.tif")
        assert counts == TileCounts(copied=24 * 18 + 12 * 9 + 6 * 5)
    for index, (_, tiles) in enumerate(levels):
        assert payloads(tmp_path / "a.tif", index) == tiles
    assert off(openslide_level(tmp_path / "a.tif", 0), rgb) < 3
    with open_slide(tmp_path / "a.tif") as again:
        assert isinstance(again, JpegPyramid)
        assert again.payload(1, 3, 2) == levels[1][1][2 * 12 + 3]


def test_gray_tiles_are_copied_too(tmp_path: Path) -> None:
    gray = tissue(200, 130)[..., 0]
    padded = np.pad(gray, ((0, 62), (0, 56)))
    tiles = [
        bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(padded[top : top + 64, left : left + 64]), level=95))
        for top in range(0, 192, 64)
        for left in range(0, 256, 64)
    ]
    level = stored_level(tissue(200, 130))[0]
    tiles[5] = ABSENT
    with Stored(tmp_path / "a.bin", [(level, tiles)]) as source:
        assert convert(source, tmp_path / "a.tif") == TileCounts(copied=11, absent=1)
    assert payloads(tmp_path / "a.tif", 0)[:5] == tiles[:5]
    shown = openslide_level(tmp_path / "a.tif", 0)
    assert off(shown[:64, :200, 0], gray[:64, :200]) < 3
    assert (shown[64:128, 64:128] == 255).all()


def test_the_levels_between_and_behind_the_stored_ones_are_made(tmp_path: Path) -> None:
    rgb = smooth(4800, 2400)
    levels = [stored_level(rgb, tile=256), stored_level(halved(rgb, 8), tile=256)]
    with Stored(tmp_path / "a.bin", levels) as source:
        planned = plan_levels(source, PyramidOptions())
        assert [one.level.downsample for one in planned] == [1, 2, 8]
        assert [one.stored for one in planned] == [0, None, 1]
        counts = convert(source, tmp_path / "a.tif")
    assert counts == TileCounts(copied=19 * 10 + 3 * 2, made=10 * 5)
    for level, by in ((0, 1), (1, 2), (2, 8)):
        assert off(openslide_level(tmp_path / "a.tif", level), halved(rgb, by)) < 2


@pytest.mark.parametrize(("width", "height"), [(2051, 4103), (1025, 1), (4097, 300)])
def test_a_source_of_one_level_gets_the_others(tmp_path: Path, width: int, height: int) -> None:
    rgb = smooth(width, height)
    with Stored(tmp_path / "a.bin", [stored_level(rgb, tile=240)]) as source:
        counts = convert(source, tmp_path / "a.tif")
        assert counts.copied == -(-width // 240) * -(-height // 240)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert max(slide.level_dimensions[-1]) <= 1024
        for level, (across, down) in enumerate(slide.level_dimensions):
            assert across in (max(1, width >> level), -(-width // 2**level))
            assert down in (max(1, height >> level), -(-height // 2**level))
            if min(across, down) > 1:
                want = cv2.resize(rgb, (across, down), interpolation=cv2.INTER_AREA)
                assert off(openslide_level(tmp_path / "a.tif", level), np.asarray(want)) < 3


def test_what_cannot_stand_in_a_tiff_is_compressed_again_and_counted(tmp_path: Path) -> None:
    rgb = tissue(300, 200)
    level, tiles = stored_level(rgb, cut=True)  # 5 x 4 tiles; 300 = 4 * 64 + 44 and 200 = 3 * 64 + 8
    tiles[6], tiles[7] = ABSENT, stored_level(rgb[64:128, 128:192], sampling="444")[1][0]
    with Stored(tmp_path / "a.bin", [(level, tiles)]) as source:
        assert convert(source, tmp_path / "a.tif") == TileCounts(copied=10, absent=1, recompressed=9)
        want = source.read(Box(0, 0, 300, 200), Size(300, 200))
    found = payloads(tmp_path / "a.tif", 0)
    assert [i for i, tile in enumerate(found) if tile == tiles[i]] == [0, 1, 2, 3, 5, 8, 10, 11, 12, 13]
    shown = openslide_level(tmp_path / "a.tif", 0)
    assert (shown[64:128, 64:128] == 255).all()
    assert off(shown, want) < 2
    last = tifffile.imread(tmp_path / "a.tif", key=0)
    assert off(last, want) < 2


def test_odd_tiles_among_abbreviated_ones_spoil_no_others(tmp_path: Path) -> None:
    rgb = tissue(512, 384)
    level, complete = stored_level(rgb, quality=60)
    level, tiles = abbreviated(level, complete)
    tiles[9] = ABSENT
    tiles[11] = stored_level(rgb[64:128, 192:256], sampling="444", quality=60)[1][0]
    with Stored(tmp_path / "a.bin", [(level, tiles)]) as source:
        assert convert(source, tmp_path / "a.tif") == TileCounts(copied=46, absent=1, recompressed=1)
        want = source.read(Box(0, 0, 512, 384), Size(512, 384))
    found = payloads(tmp_path / "a.tif", 0)
    assert [i for i, tile in enumerate(found) if tile != tiles[i]] == [9, 11]
    vips("copy", tmp_path / "a.tif", tmp_path / "v.png")
    for shown in (
        openslide_level(tmp_path / "a.tif", 0),
        tifffile.imread(tmp_path / "a.tif", key=0),
        cv2.cvtColor(np.asarray(cv2.imread(str(tmp_path / "v.png"))), cv2.COLOR_BGR2RGB),
    ):
        assert (np.asarray(shown)[64:128, 64:128] == 255).all()
        assert off(np.asarray(shown, np.uint8), want) < 1.5


def test_tables_that_leave_no_slot_free_are_not_shared() -> None:
    assert leaves_slots_free(b"\xff\xd8\xff\xdb\x00\x43\x01" + bytes(64) + b"\xff\xd9")
    assert not leaves_slots_free(b"\xff\xd8\xff\xdb\x00\x43\x02" + bytes(64) + b"\xff\xd9")
    two = b"\x00" + bytes(16) + b"\x13" + bytes([1, *[0] * 15]) + b"\x05"  # DC table 0, then AC table 3
    assert not leaves_slots_free(b"\xff\xd8\xff\xc4" + (len(two) + 2).to_bytes(2, "big") + two + b"\xff\xd9")


@pytest.mark.parametrize("sampling", ["444", "420"])
def test_moved_tables_decode_to_the_same_pixels(sampling: str) -> None:
    jpeg = bytes(imagecodecs.jpeg8_encode(tissue(64, 48), level=80, subsampling=sampling))
    assert moved(jpeg) != jpeg
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(moved(jpeg)), imagecodecs.jpeg8_decode(jpeg))


def test_words_inside_tiles_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    rgb = tissue(128, 64)
    level, tiles = stored_level(rgb)
    said = b"\xff\xfe\x00\x0escanner 4711" + b"\xff\xe1\x00\x0cExif\0\0abcd"
    noisy = tiles[0][:20] + said + tiles[0][20:]
    assert noisy[:20] == b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + noisy[11:20]
    assert without_words(noisy) == tiles[0]
    assert without_words(tiles[0]) == tiles[0]
    assert head(noisy)[-14:] == head(tiles[0])[-14:]
    with Stored(tmp_path / "a.bin", [(level, [noisy, tiles[1]])]) as source:
        assert convert(source, tmp_path / "a.tif") == TileCounts(copied=1, trimmed=1)
    assert payloads(tmp_path / "a.tif", 0) == tiles


def test_words_in_shared_tables_and_behind_tiles_are_dropped(tmp_path: Path) -> None:
    level, tiles = abbreviated(*stored_level(tissue(128, 64)))
    said = b"\xff\xfe\x00\x0escanner 4711"
    wordy = replace(level, tables=level.tables[:2] + said + level.tables[2:])
    padding = b"\0\0"
    with Stored(tmp_path / "a.bin", [(wordy, [tiles[0] + b"by Doe", tiles[1] + padding])]) as source:
        assert convert(source, tmp_path / "a.tif") == TileCounts(copied=1, trimmed=1)
        want = source.read(Box(0, 0, 128, 64), Size(128, 64))
    assert payloads(tmp_path / "a.tif", 0) == [tiles[0], tiles[1] + padding]
    content = (tmp_path / "a.tif").read_bytes()
    assert b"4711" not in content
    assert b"Doe" not in content
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif", key=0), want)


def test_a_damaged_tile_fails_by_name(tmp_path: Path) -> None:
    level, tiles = stored_level(tissue(192, 64))
    tiles[1] = tiles[1][:2] + b"\0" * 30
    with (
        Stored(tmp_path / "a.bin", [(level, tiles)]) as source,
        pytest.raises(SlideReadError, match=r"a\.bin: tile 1, 0"),
    ):
        convert(source, tmp_path / "a.tif")


@pytest.mark.parametrize("tile", [40, 200, 250])
def test_tiles_that_a_tiff_cannot_have_are_decoded(tmp_path: Path, tile: int) -> None:
    rgb = tissue(700, 500)
    with Stored(tmp_path / "a.bin", [stored_level(rgb, tile=tile)]) as source:
        assert convert(source, tmp_path / "a.tif") == TileCounts(made=3 * 2)
    assert off(openslide_level(tmp_path / "a.tif", 0), rgb) < 4


@pytest.mark.parametrize("options", [{"quality": 0}, {"quality": 101}, {"tile": 100}, {"tile": 0}, {"tile": 8192}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="want"):
        PyramidOptions(**options)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Re-wrapped from an SVS of three levels: 2200 x 1400 px at 0.499 um/px, 20x."""
    with open_slide(write_svs(tmp_path / "in.svs", tissue(2200, 1400))) as source:
        convert(source, tmp_path / "out.tif")
    return tmp_path / "out.tif"


def test_openslide_opens_it_with_levels_scale_and_power(made: Path) -> None:
    with openslide.OpenSlide(made) as slide:
        assert slide.level_dimensions == ((2200, 1400), (1100, 700), (550, 350))
        assert float(slide.properties["openslide.mpp-x"]) == 0.499
        assert float(slide.properties["openslide.mpp-y"]) == 0.499
        assert float(slide.properties["openslide.objective-power"]) == 20
        assert set(slide.associated_images) == {"thumbnail"}
    for level in range(3):
        np.testing.assert_array_equal(openslide_level(made, level), openslide_level(made.with_name("in.svs"), level))


def test_tifffile_opens_it_with_levels_scale_and_power(made: Path) -> None:
    with tifffile.TiffFile(made) as tiff:
        assert tiff.is_bigtiff
        assert [level.shape for level in tiff.series[0].levels] == [(1400, 2200, 3), (700, 1100, 3), (350, 550, 3)]
        description = tiff.pages.first.description
        assert "|AppMag = 20|" in description
        assert "|MPP = 0.499|" in description
        per_cm, one = tiff.pages.first.tags["XResolution"].value
        assert 10_000 * one / per_cm == pytest.approx(0.499)
        assert tiff.pages.first.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
        assert off(tiff.series[0].levels[2].asarray(), openslide_level(made, 2)) < 1


def test_tifffile_sees_every_level_where_steps_differ(tmp_path: Path) -> None:
    """Stored at 1 and 4, as scanners do; halved from there on."""
    rgb = tissue(6000, 300)
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as tiff:
        for image in (rgb, np.ascontiguousarray(rgb[::4, ::4])):
            description = APERIO.format(width=6000, height=300, tile=64, power=20, mpp=0.5)
            tiff.write(
                image, tile=(64, 64), compression="jpeg", photometric="rgb", description=description, metadata=None
            )
    with open_slide(path) as source:
        convert(source, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert [level.shape[1::-1] for level in tiff.series[0].levels] == [(6000, 300), (1500, 75), (750, 37)]


@pytest.mark.parametrize("size", [Size(2220, 1600), Size(1400, 900), Size(2304, 1000)])
def test_tifffile_takes_the_thumbnail_for_no_level(tmp_path: Path, size: Size) -> None:
    """Of the first the coarsest level, 555 px, is a thumbnail's size; of the others 768 px or a level is a half."""
    with open_slide(write_svs(tmp_path / "a.svs", tissue(size.width, size.height), levels=1)) as source:
        convert(source, tmp_path / "a.tif")
        sizes = [one.level.size for one in plan_levels(source, PyramidOptions())]
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert [level.shape[1::-1] for level in tiff.series[0].levels] == [(one.width, one.height) for one in sizes]
        assert all(level.keyframe.is_tiled for level in tiff.series[0].levels)


def test_libvips_opens_it_with_levels_scale_and_power(made: Path) -> None:
    fields = vips("header", "-a", made) if shutil.which("vipsheader") is None else _vipsheader(made)
    assert "width: 2200" in fields
    assert "openslide.objective-power: 20" in fields
    assert "openslide.mpp-x: 0.499" in fields
    for level, size in enumerate(("2200x1400", "1100x700", "550x350")):
        vips("openslideload", made, made.with_name(f"{level}.png"), "--level", level)
        assert size.replace("x", " ").split() == [str(one) for one in _png_size(made.with_name(f"{level}.png"))]
    page_of_level_1 = 2  # behind the thumbnail
    vips("tiffload", made, made.with_name("t.png"), "--page", page_of_level_1)
    assert _png_size(made.with_name("t.png")) == (1100, 700)


def _vipsheader(path: Path) -> str:
    return subprocess.run(["vipsheader", "-a", path], check=True, capture_output=True, text=True).stdout


def _png_size(path: Path) -> tuple[int, int]:
    height, width = np.asarray(cv2.imread(str(path))).shape[:2]
    return width, height


def test_we_open_it_with_levels_scale_power_and_tiles(made: Path) -> None:
    with open_slide(made) as slide, open_slide(made.with_name("in.svs")) as source:
        assert isinstance(slide, JpegPyramid)
        assert isinstance(source, JpegPyramid)
        assert slide.info.levels == source.info.levels
        assert slide.info.scale is not None
        assert slide.info.scale.mpp == 0.499
        assert slide.info.objective_power == 20
        assert None not in slide.jpeg_levels
        assert slide.payload(2, 1, 1) == source.payload(2, 1, 1)


def test_nothing_of_the_source_is_told(made: Path) -> None:
    source = made.with_name("in.svs").read_bytes()
    assert b"Aperio Image Library" in source
    assert b"Aperio Image Library" not in made.read_bytes()


def test_the_origin_is_found_again_in_a_whole_file_only(made: Path) -> None:
    assert origin_of(made) == "0123"
    assert origin_of(made.with_name("in.svs")) is None
    assert origin_of(made.with_name("nowhere.tif")) is None
    content = made.read_bytes()
    made.write_bytes(content[: len(content) // 2])
    assert origin_of(made) is None


def test_a_slide_of_plain_pixels_is_compressed(tmp_path: Path) -> None:
    rgb = tissue(2500, 1300)
    with MemorySlide(rgb, power=40.0) as source:
        assert convert(source, tmp_path / "a.tif") == TileCounts(made=10 * 6 + 5 * 3 + 3 * 2)
    assert off(openslide_level(tmp_path / "a.tif", 0), rgb) < 4


def test_associated_images_come_along_if_asked(tmp_path: Path) -> None:
    pictures = {"label": tissue(60, 50, 1), "macro": tissue(120, 50, 2), "thumbnail": tissue(70, 40, 3)}
    with MemorySlide(tissue(700, 400), associated=pictures) as source:
        convert(source, tmp_path / "with.tif", PyramidOptions(keep_associated=True))
        convert(source, tmp_path / "without.tif")
    with openslide.OpenSlide(tmp_path / "with.tif") as slide:
        assert set(slide.associated_images) == set(pictures)
        for name, picture in pictures.items():
            np.testing.assert_array_equal(np.asarray(slide.associated_images[name].convert("RGB")), picture)
    with openslide.OpenSlide(tmp_path / "without.tif") as slide:
        assert set(slide.associated_images) == {"thumbnail"}


def test_an_icc_profile_goes_along(tmp_path: Path, shared_slides: Path) -> None:
    with open_slide(shared_slides / "openslide-python_boxes.tiff", mpp=Mpp(0.5), override=True) as source:
        profile = icc_profile(source)
        assert profile is not None
        assert len(profile) == 588
        convert(source, tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as again:
        assert icc_profile(again) == profile
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.color_profile is not None
        assert slide.color_profile.tobytes() == profile


def test_a_real_svs_is_copied_bit_by_bit(tmp_path: Path, shared_slides: Path) -> None:
    path = shared_slides / "CMU-1-Small-Region.svs"
    with open_slide(path) as source:
        counts = convert(source, tmp_path / "a.tif")
        assert counts.copied == 10 * 13
        assert counts.recompressed == counts.absent == 0
    assert payloads(tmp_path / "a.tif", 0) == payloads(path, 0)
    np.testing.assert_array_equal(openslide_level(tmp_path / "a.tif", 0), openslide_level(path, 0))
    for word in (b"CPAPERIOCS", b"12/29/09", b"CMU-1", b"b414003d"):
        assert word in path.read_bytes()
        assert word not in (tmp_path / "a.tif").read_bytes()


@pytest.mark.parametrize("cut", [True, False])
def test_kfb_tiles_are_copied_bit_by_bit(tmp_path: Path, cut: bool) -> None:
    picture = smooth(1300, 900)
    written = write_kfb(tmp_path / "a.kfb", picture, levels=3, missing=[(0, 1, 1)], label=tissue(50, 40), cut=cut)
    with open_slide(tmp_path / "a.kfb") as source:
        counts = convert(source, tmp_path / "a.tif")
        want = source.read(Box(0, 0, 1300, 900), Size(1300, 900))
    edges = (6 + 4 - 1) + (3 + 2 - 1) + (2 + 1 - 1) if cut else 0  # of 6x4, 3x2 and 2x1 tiles
    assert counts == TileCounts(copied=24 + 6 + 2 - 1 - edges, absent=1, recompressed=edges)
    for level, (columns, rows) in enumerate(((6, 4), (3, 2), (2, 1))):
        found = payloads(tmp_path / "a.tif", level)
        assert len(found) == columns * rows
        for place, tile in enumerate(found):
            row, column = divmod(place, columns)
            edge = cut and (column == columns - 1 or row == rows - 1)
            if not edge and (level, column, row) != (0, 1, 1):
                assert tile == written.tiles[level, column, row]
    assert off(openslide_level(tmp_path / "a.tif", 0), want) < 1
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert float(slide.properties["openslide.objective-power"]) == 40
        assert set(slide.associated_images) == {"thumbnail"}
    assert b"KF-PRO-SN-0042" in (tmp_path / "a.kfb").read_bytes()
    assert b"KF-PRO-SN-0042" not in (tmp_path / "a.tif").read_bytes()


def test_zyp_tiles_are_copied_and_a_shifted_grid_is_not(tmp_path: Path) -> None:
    picture = smooth(1500, 1100)
    written = write_zyp(tmp_path / "a.zyp", picture, levels=3, corner=(3, 5))
    with open_slide(tmp_path / "a.zyp") as source:
        assert isinstance(source, JpegPyramid)
        shifted = [bool(one and (one.origin_x or one.origin_y)) for one in source.jpeg_levels]
        convert(source, tmp_path / "a.tif")
        planned = plan_levels(source, PyramidOptions())
        kept = [one.stored for one in planned if one.stored is not None]
        assert kept == [level for level in range(3) if not shifted[level]]
        assert kept[0] == 0
        want = source.read(Box(0, 0, 1500, 1100), Size(1500, 1100))
    copied = set(payloads(tmp_path / "a.tif", 0))
    assert copied == {jpeg for (level, *_), jpeg in written.tiles.items() if level == 0}
    assert off(openslide_level(tmp_path / "a.tif", 0), want) < 1
