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
from tests.slides.images import tissue, write_svs


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
