"""Files on which OpenSlide 4.0.1 ends the process: found by the fuzzer, kept here by what is wrong with them."""

import struct
from pathlib import Path

import pytest
import tifffile

from sarcoscope.core.errors import SlideOpenError
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tiff_check import check_tiff
from sarcoscope.slides.trial import survives_openslide
from sarcoscope.testing.mrxs_writer import write_mrxs
from tests.slides.images import APERIO, tissue, write_svs


def with_tag(path: Path, name: str, value: int) -> Path:
    """Change a number in the first directory, in place."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags[name]
        tiff.filehandle.seek(tag.valueoffset)
        tiff.filehandle.write(struct.pack(tiff.byteorder + ("H" if tag.dtype == 3 else "I"), value))
    return path


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TileWidth", 0, "in tiles of 0x64 px"),
        ("TileLength", 2**31, "in tiles of 64x2147483648 px"),
        ("ImageWidth", 0, "states 0x200 px"),
        ("ImageLength", 100_000, "lists 20 tiles of 7815"),
        ("TileWidth", 16, "lists 20 tiles of 76"),
    ],
)
def test_a_directory_that_contradicts_itself_is_refused(tmp_path: Path, name: str, value: int, words: str) -> None:
    path = with_tag(write_svs(tmp_path / "a.svs", tissue(300, 200), levels=1), name, value)
    with pytest.raises(SlideOpenError, match=words):
        open_slide(path)


def test_directories_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", tissue(300, 200), levels=2)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        assert isinstance(page, tifffile.TiffPage)
        last = page.offset + 2 + 12 * len(page.tags)
    content = bytearray(path.read_bytes())
    content[last : last + 4] = content[4:8]
    path.write_bytes(content)
    with pytest.raises(SlideOpenError, match="circle"):
        check_tiff(path)


def tiff_of(directories: list[list[tuple[int, int, int, bytes]]]) -> bytes:
    """A classic TIFF of directories one behind the other; an entry is tag, data type, count and four bytes of value."""
    content = b"II*\0" + struct.pack("<I", 8)
    for number, entries in enumerate(directories, 1):
        content += struct.pack("<H", len(entries))
        content += b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
        content += struct.pack("<I", len(content) + 4 if number < len(directories) else 0)
    return content


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1.5])
@pytest.mark.parametrize("tag", [256, 322, 277])
def test_sides_that_are_no_whole_numbers_are_refused(tmp_path: Path, tag: int, number: float) -> None:
    path = tmp_path / "a.tif"
    sides = {256: 64.0, 257: 64.0, 322: 64.0, 323: 64.0, 277: 3.0} | {tag: number}
    path.write_bytes(tiff_of([[(one, 11, 1, struct.pack("<f", side)) for one, side in sorted(sides.items())]]))
    with pytest.raises(SlideOpenError, match=r"directory 0 (states|lists 0 tiles)"):
        check_tiff(path)


def test_a_tiled_directory_without_a_side_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of([[(tag, 4, 1, struct.pack("<I", 64)) for tag in (256, 257, 322)]]))
    with pytest.raises(SlideOpenError, match="in tiles of 64x0 px"):
        check_tiff(tmp_path / "a.tif")


def test_directories_very_deep_in_one_another_are_refused(tmp_path: Path) -> None:
    """Each has but one tag, SubIFDs, which points to the next: 18 bytes a directory."""
    path, count = tmp_path / "a.tif", 5000
    places = [8 + 18 * (number + 1) for number in range(count)]
    each = b"".join(struct.pack("<HHHIII", 1, 330, 4, 1, place, 0) for place in places)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + each + bytes(6))
    with pytest.raises(SlideOpenError, match="16 deep"):
        check_tiff(path)


def test_directories_that_lie_over_one_another_cannot_fill_the_memory(tmp_path: Path) -> None:
    """300 directories of 4,096 tags each in 120 kB, every one 12 bytes behind the one before."""
    count, tags = 300, 4096
    start, stop = 65_536, 65_536 + 12 * (count + tags) + 12
    content = bytearray(b"II*\0" + struct.pack("<I", start)).ljust(start, b"\0")
    content += (struct.pack("<H", tags) + struct.pack("<HHI", 0xF000, 1, 1) + bytes(2)) * ((stop - start) // 12)
    for number in range(count):
        following = start + 12 * (number + 1) if number + 1 < count else 0
        struct.pack_into("<I", content, start + 12 * number + 2 + 12 * tags, following)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(SlideOpenError, match="states more than 1000000 tags"):
        check_tiff(tmp_path / "a.tif")


def test_an_aperio_level_of_more_tiles_than_the_one_before_is_refused(tmp_path: Path) -> None:
    """OpenSlide 4.0.1 divides by the rounded ratio of the two grids, 0 here, where a tile is absent."""
    path, rgb = tmp_path / "a.svs", tissue(1000, 700)
    about = APERIO.format(width=1000, height=700, tile=256, power=20, mpp=0.5)
    with tifffile.TiffWriter(path) as tiff:
        for level, tile in ((rgb, 256), (rgb[::2, ::2], 16)):
            tiff.write(
                level, tile=(tile, tile), compression="jpeg", photometric="rgb", description=about, metadata=None
            )
    check_tiff(path)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        lengths = tiff.pages.first.tags["TileByteCounts"]
        lengths.overwrite([0, *lengths.value[1:]])
    with pytest.raises(SlideOpenError, match="directory 1 has 32x22 tiles, behind a level of 4x3 tiles"):
        open_slide(path)


def test_a_sound_slide_passes(tmp_path: Path, shared_slides: Path) -> None:
    check_tiff(write_svs(tmp_path / "a.svs", tissue(300, 200)))
    for name in ("CMU-1-Small-Region.svs", "openslide-python_boxes.tiff", "test3-DAPI-2-387.ndpi"):
        check_tiff(shared_slides / name)


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    """5 x 4 images in photos of 5 x 5: OpenSlide reads behind the end of its table of positions."""
    path = write_mrxs(tmp_path / "a.mrxs", tissue(300, 200))
    slidedat = tmp_path / "a" / "Slidedat.ini"
    said = slidedat.read_text(encoding="utf-8")
    assert "CameraImageDivisionsPerSide=1" in said
    slidedat.write_text(said.replace("DivisionsPerSide=1", "DivisionsPerSide=5"), encoding="utf-8")
    return path


def test_a_crash_of_openslide_costs_one_slide_only(crashing: Path) -> None:
    with pytest.raises(SlideOpenError, match=r"a\.mrxs: OpenSlide crashes on it"):
        survives_openslide(crashing)


def test_a_trial_leaves_plain_errors_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(b"no slide")
    survives_openslide(path)


def test_a_sound_slide_survives_its_trial(tmp_path: Path) -> None:
    survives_openslide(write_mrxs(tmp_path / "a.mrxs", tissue(300, 200)))
