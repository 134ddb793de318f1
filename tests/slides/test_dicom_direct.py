"""DICOM's frames read directly are OpenSlide's, and nothing that ends its process is given to it."""

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from typing_extensions import override

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.slides.dicom_direct import DicomJpegReader, open_dicom
from sarcoscope.slides.dicom_frames import check_frames, check_image, frame_starts, read_image
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.port import SlideSource
from sarcoscope.testing.slides import SlideSourceContract
from sarcoscope.testing.strategies import boxes_around
from tests.slides.images import tissue
from tests.slides.test_dicom import write_instance
from tests.slides.test_dicom_writer import convert
from tests.slides.test_rewrap import Stored, halved, stored_level

SIZE = Size(700, 420)
REAL, REAL_JPEG2000 = "dicom_CMU-1-Small-Region", "camelyon16_jpeg2000_tiled_full.dcm"


def direct(path: Path) -> DicomJpegReader:
    slide = open_slide(path)
    assert isinstance(slide, DicomJpegReader)
    return slide


def write_series(folder: Path, *, sampling: str = "444", colors: str = "YCBCR") -> Path:
    rgb = tissue(SIZE.width, SIZE.height)
    levels = [stored_level(image, sampling=sampling, colors=colors) for image in (rgb, halved(rgb, 4))]
    with Stored(folder / "a.bin", levels) as source:
        convert(source, folder / "series")
    return folder / "series"


def whole(size: Size) -> Box:
    return Box(0, 0, size.width, size.height)


class TestDirectDicom(SlideSourceContract):
    @pytest.fixture(autouse=True)
    def _use_tmp(self, tmp_path: Path) -> None:
        self.tmp = tmp_path

    @override
    def open_slide(self) -> SlideSource:
        folder = self.tmp / "series"
        return direct(folder if folder.exists() else write_series(self.tmp))


class TestDirectRealDicom(SlideSourceContract):
    @pytest.fixture(autouse=True)
    def _use_slides(self, shared_slides: Path) -> None:
        self.slides = shared_slides

    @override
    def open_slide(self) -> SlideSource:
        return direct(self.slides / REAL)


@pytest.fixture(scope="module", params=[("444", "YCBCR"), ("422", "YCBCR"), ("420", "YCBCR"), ("444", "RGB")])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DicomJpegReader, OpenSlideReader]]:
    folder = write_series(tmp_path_factory.mktemp("dicom"), sampling=request.param[0], colors=request.param[1])
    with direct(folder) as ours, OpenSlideReader(folder / "level-0.dcm") as twin:
        yield ours, twin


def test_it_says_what_openslide_says(pair: tuple[DicomJpegReader, OpenSlideReader]) -> None:
    ours, twin = pair
    assert (ours.info, ours.files, ours.path) == (twin.info, twin.files, twin.path)
    assert all(ours.jpeg_levels)


@given(box=boxes_around(SIZE))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_native_pixels_are_openslides(pair: tuple[DicomJpegReader, OpenSlideReader], box: Box) -> None:
    ours, twin = pair
    out = Size(box.width, box.height)
    np.testing.assert_array_equal(ours.read(box, out), twin.read(box, out))


def test_every_level_is_openslides(pair: tuple[DicomJpegReader, OpenSlideReader]) -> None:
    ours, twin = pair
    assert len(ours.info.levels) == 2
    for index, level in enumerate(ours.info.levels):
        box = whole(level.size)
        np.testing.assert_array_equal(ours.read_level(index, box), twin.read_level(index, box))


def test_a_real_series_is_openslides(shared_slides: Path) -> None:
    with direct(shared_slides / REAL) as ours, OpenSlideReader(ours.path) as twin:
        assert (ours.info, ours.files) == (twin.info, twin.files)
        box = whole(twin.info.size)
        np.testing.assert_array_equal(ours.read_level(0, box), twin.read_level(0, box))
        assert twin.info.associated == ("label", "macro", "thumbnail")
        for name in twin.info.associated:
            np.testing.assert_array_equal(ours.associated(name), twin.associated(name))
        assert ours.icc_profile() == twin.icc_profile()


@given(x=st.integers(0, 30), y=st.integers(0, 20), side=st.integers(2, 20), shrink=st.sampled_from([2, 4, 8]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shrunk_pixels_are_nearly_the_average(
    pair: tuple[DicomJpegReader, OpenSlideReader], x: int, y: int, side: int, shrink: int
) -> None:
    ours, twin = pair
    box, out = Box(x * shrink, y * shrink, side * shrink, side * shrink), Size(side, side)
    difference = np.abs(ours.read(box, out).astype(int) - twin.read(box, out))
    first = ours.jpeg(0, 0, 0)
    assert first is not None
    mean, most = (8, 48) if first[1].sampling[0] == (2, 1) else (4, 16)  # as for TIFF: see test_direct.py
    assert difference.mean() <= mean
    assert difference.max() <= most


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_a_real_series_shrunk_is_nearly_the_average(shared_slides: Path, shrink: int) -> None:
    with direct(shared_slides / REAL) as ours, OpenSlideReader(ours.path) as twin:
        box, out = Box(0, 0, 1920, 1920), Size(1920 // shrink, 1920 // shrink)
        difference = ours.read(box, out).astype(int) - twin.read(box, out)
        first = ours.jpeg(0, 0, 0)
    assert first is not None
    # Its chroma is stored at half size (4:2:0), and a decoder asked for half the size has nothing to shrink there; the
    # SVS it was made from is 4:4:4 and differs less.
    assert first[1].sampling == ((2, 2), (1, 1), (1, 1))
    assert np.abs(difference).mean() <= 1.0
    assert np.mean(np.abs(difference) > 8) <= 0.02
    assert abs(difference.mean()) <= 0.2  # no shift of colour


def test_payloads_are_the_files_frames(shared_slides: Path) -> None:
    with direct(shared_slides / REAL) as slide:
        largest = max(slide.files, key=lambda file: file.stat().st_size)
        dataset = pydicom.dcmread(largest)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
        assert len(frames) == 10 * 13
        for index, frame in enumerate(frames):
            assert slide.payload(0, index % 10, index // 10) == frame


# Tables of frames.


def rewritten(path: Path, change: Callable[[Dataset], None]) -> Path:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def frames_of(dataset: Dataset) -> list[bytes]:
    return list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames)))


def extended(dataset: Dataset) -> None:
    pixels, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(frames_of(dataset))
    dataset.PixelData = pixels


def without_table(dataset: Dataset) -> None:
    dataset.PixelData = encapsulate(frames_of(dataset), has_bot=False)


@pytest.mark.parametrize("change", [extended, without_table])
def test_every_kind_of_table_leads_to_the_frames(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    path = write_instance(tmp_path / "a.dcm")
    with direct(path) as slide:
        want = slide.read_level(0, Box(0, 0, 130, 70))
        payloads = [slide.payload(0, column, row) for row in range(2) for column in range(3)]
    rewritten(path, change)
    with direct(path) as slide, OpenSlideReader(path) as twin:
        assert [slide.payload(0, column, row) for row in range(2) for column in range(3)] == payloads
        np.testing.assert_array_equal(slide.read_level(0, Box(0, 0, 130, 70)), want)
        np.testing.assert_array_equal(twin.read_level(0, Box(0, 0, 130, 70)), want)


def test_a_sequence_of_unstated_length_is_stepped_over(tmp_path: Path) -> None:
    def nest(dataset: Dataset) -> None:
        inner, outer = Dataset(), Dataset()
        inner.SeriesInstanceUID, inner.NumberOfFrames = "6.6", 66
        outer.RelatedSeriesSequence = Sequence([inner])
        for item, holder in ((inner, outer["RelatedSeriesSequence"]), (outer, None)):
            item.is_undefined_length_sequence_item = True
            if holder is not None:
                holder.is_undefined_length = True
        dataset.ReferencedImageNavigationSequence = Sequence([outer])
        dataset["ReferencedImageNavigationSequence"].is_undefined_length = True

    data = FileBytes(rewritten(write_instance(tmp_path / "a.dcm"), nest))
    image = read_image(data)
    assert (image.series, image.frames, image.kind, image.width, image.columns) == ("1.2.3", 6, "VOLUME", 130, 64)
    assert (image.photometric, image.samples, image.bits) == ("YBR_FULL_422", 3, 8)
    content = (tmp_path / "a.dcm").read_bytes()
    starts = frame_starts(data, image)
    assert len(starts) == 6
    for start in starts:
        assert content[start : start + 4] == b"\xfe\xff\x00\xe0"
        assert content[start + 8 : start + 10] == b"\xff\xd8"
    data.close()


# What is left to OpenSlide.


def concatenated(dataset: Dataset) -> None:
    dataset.InConcatenationNumber, dataset.ConcatenationFrameOffsetNumber = 1, 0


def two_paths(dataset: Dataset) -> None:
    dataset.NumberOfOpticalPaths = 2


def other_colours(dataset: Dataset) -> None:
    dataset.PhotometricInterpretation = "RGB"


def groups(dataset: Dataset) -> None:
    """Frames that each say where they belong, the other way round."""
    found = []
    for index in range(6):
        position, group = Dataset(), Dataset()
        position.ColumnPositionInTotalImagePixelMatrix = index % 3 * 64 + 1
        position.RowPositionInTotalImagePixelMatrix = (1 - index // 3) * 64 + 1
        group.PlanePositionSlideSequence = Sequence([position])
        found.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(found)


def sparse(dataset: Dataset) -> None:
    groups(dataset)
    dataset.DimensionOrganizationType = "TILED_SPARSE"


def uncompressed(dataset: Dataset) -> None:
    rgb = tissue(192, 128)
    tiles = [rgb[y : y + 64, x : x + 64].tobytes() for y in (0, 64) for x in (0, 64, 128)]
    dataset.PixelData, dataset.PhotometricInterpretation = b"".join(tiles), "RGB"
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


@pytest.mark.parametrize("change", [concatenated, two_paths, other_colours, groups, sparse, uncompressed])
def test_what_is_not_plainly_direct_is_read_by_openslide(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), change)
    with open_slide(path) as slide:
        assert type(slide) is OpenSlideReader
        assert slide.read(Box(0, 0, 130, 70), Size(130, 70)).shape == (70, 130, 3)


def test_no_kind_of_tiling_is_a_full_one(tmp_path: Path) -> None:
    def without_kind(dataset: Dataset) -> None:
        del dataset.DimensionOrganizationType

    path = rewritten(write_instance(tmp_path / "a.dcm"), without_kind)
    with direct(path) as slide, OpenSlideReader(path) as twin:
        np.testing.assert_array_equal(slide.read_level(0, Box(0, 0, 130, 70)), twin.read_level(0, Box(0, 0, 130, 70)))


def test_sparse_frames_lie_where_they_say(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "a.dcm")
    with open_slide(path) as slide:
        full = slide.read(Box(0, 0, 128, 64), Size(128, 64))
    rewritten(path, sparse)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 64, 128, 6), Size(128, 6)), full[:6])


def test_a_level_that_two_files_hold_is_read_by_openslide(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "a.dcm")
    shutil.copy(path, tmp_path / "b.dcm")
    with open_slide(path) as slide:
        assert type(slide) is OpenSlideReader


def test_a_real_jpeg_2000_file_is_read_by_openslide(shared_slides: Path) -> None:
    path = shared_slides / REAL_JPEG2000
    with open_slide(path) as slide, OpenSlideReader(path) as twin:
        assert type(slide) is OpenSlideReader
        box = whole(twin.info.size)
        out = Size(box.width, box.height)
        np.testing.assert_array_equal(slide.read(box, out), twin.read(box, out))


# What is refused. Where a guard fails, OpenSlide ends the process: such a test is run in another one.

_READ_ALL = """
import sys
from pathlib import Path
from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.slides.opening import open_slide
for path in sys.argv[1:]:
    try:
        with open_slide(Path(path)) as slide:
            size = slide.info.size
            slide.read(Box(0, 0, size.width, size.height), size)
            for name in slide.info.associated:
                slide.associated(name)
            print("read", flush=True)
    except SlideError as error:
        print(type(error).__name__, error, flush=True)
"""


def read_elsewhere(*paths: Path) -> list[str]:
    """What came of reading each file as a whole, in a process of its own: 'read', or our error's class and words."""
    command = [sys.executable, "-c", _READ_ALL, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended with {done.returncode} after {done.stdout!r}: {done.stderr}"
    return done.stdout.splitlines()


def table_of(content: bytes) -> tuple[int, int, int]:
    """Where the basic offset table begins, how many frames it lists, and where the first frame's item is."""
    at = content.rindex(b"\xe0\x7f\x10\x00") + 20
    (length,) = struct.unpack_from("<I", content, at - 4)
    return at, length // 4, at + length


def with_entry(content: bytes, index: int, value: int) -> bytes:
    at, _, _ = table_of(content)
    return content[: at + 4 * index] + struct.pack("<I", value) + content[at + 4 * index + 4 :]


def damaged_tables(content: bytes) -> dict[str, bytes]:
    """By name the same file with one frame lost in one way."""
    at, count, first = table_of(content)
    offsets = struct.unpack_from(f"<{count}I", content, at)
    item, behind = first + offsets[3], len(content) - first
    return {
        "behind the end": with_entry(content, 3, behind + 1000),
        "far behind the end": with_entry(content, 3, 0x7FFF_FFFF),
        "as far as can be": with_entry(content, 3, 0xFFFF_FFFF),
        "at the end": with_entry(content, 3, behind),
        "4 bytes before the end": with_entry(content, 3, behind - 4),
        "one byte changed": with_entry(content, 3, offsets[3] ^ 0xFF0000),
        "inside a frame": with_entry(content, 3, offsets[3] + 10),
        "no item": content[:item] + bytes(4) + content[item + 4 :],
        "too long": content[: item + 4] + struct.pack("<I", len(content)) + content[item + 8 :],
        "too short": content[: item + 4] + struct.pack("<I", 100) + content[item + 8 :],
        "of unstated length": content[: item + 4] + b"\xff\xff\xff\xff" + content[item + 8 :],
    }


def test_a_lost_frame_is_refused_where_it_is_read(tmp_path: Path) -> None:
    content = write_instance(tmp_path / "a.dcm").read_bytes()
    paths = []
    for number, changed in enumerate(damaged_tables(content).values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths.append(folder / "a.dcm")
        paths[-1].write_bytes(changed)
        with open_slide(paths[-1]) as slide:
            assert isinstance(slide, DicomJpegReader)
            np.testing.assert_array_equal(slide.read(Box(0, 0, 64, 64), Size(64, 64)).shape, (64, 64, 3))
    for path, words in zip(paths, read_elsewhere(*paths), strict=True):
        assert words.startswith(f"SlideReadError {path}: ")


@pytest.mark.parametrize("change", [other_colours, concatenated, sparse])
def test_a_lost_frame_that_openslide_would_read_is_refused_at_opening(
    tmp_path: Path, change: Callable[[Dataset], None]
) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), change)
    for name, changed in damaged_tables(path.read_bytes()).items():
        path.write_bytes(changed)
        with pytest.raises(SlideOpenError, match=r"a\.dcm: ") as caught:
            open_slide(path)
        assert caught.value.advice, name


def test_a_real_jpeg_2000_file_without_its_end_is_refused_at_opening(shared_slides: Path, tmp_path: Path) -> None:
    content = (shared_slides / REAL_JPEG2000).read_bytes()
    for length in (len(content) - 9, len(content) - 1000, len(content) // 2):
        (tmp_path / "a.dcm").write_bytes(content[:length])
        with pytest.raises(SlideOpenError, match=r"a\.dcm: "):
            open_slide(tmp_path / "a.dcm")


@pytest.mark.parametrize("flavor", ["LABEL", "OVERVIEW", "THUMBNAIL"])
def test_a_lost_label_is_refused_at_opening(tmp_path: Path, flavor: str) -> None:
    write_instance(tmp_path / "a.dcm")
    label = write_instance(tmp_path / "b.dcm", flavor=flavor)
    label.write_bytes(with_entry(label.read_bytes(), 0, 10**6))
    for path in (tmp_path, tmp_path / "a.dcm"):
        with pytest.raises(SlideOpenError, match=r"b\.dcm: "):
            open_slide(path)


def test_another_series_in_the_folder_may_be_damaged(tmp_path: Path) -> None:
    write_instance(tmp_path / "a.dcm", series="1.2.3")
    other = write_instance(tmp_path / "b.dcm", series="1.2.4", flavor="LABEL")
    other.write_bytes(with_entry(other.read_bytes(), 0, 10**6))
    with open_slide(tmp_path / "a.dcm") as slide:
        assert slide.files == (tmp_path / "a.dcm",)


@pytest.mark.parametrize("kind", ["TILED_SPARSE", "3D"])
def test_sparse_frames_that_do_not_say_where_they_belong_are_refused(tmp_path: Path, kind: str) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), stated("DimensionOrganizationType", kind))
    with pytest.raises(SlideOpenError, match=f"is {kind} and does not say where its frames belong"):
        open_slide(path)


def test_sparse_frames_whose_positions_openslide_would_miss_are_refused(tmp_path: Path) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), sparse)
    content = path.read_bytes()
    first = content.index(b"\x00\x52\x29\x92SQ") + 12  # the item of the shared groups, which now overlaps what follows
    assert content[first : first + 4] == b"\xfe\xff\x00\xe0"
    path.write_bytes(content[: first + 4] + b"\xff" + content[first + 5 :])
    (words,) = read_elsewhere(path)
    assert words.startswith(f"SlideOpenError {path}: OpenSlide crashes on it")


def test_extended_entries_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), extended)
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x01\x00OV") + 12 + 8 * 3
    for value in (-1, -(2**63), 2**63 - 1, len(content), 4):
        path.write_bytes(content[:at] + struct.pack("<q", value) + content[at + 8 :])
        with direct(path) as slide:
            assert slide.read_level(0, Box(64, 0, 64, 64)).shape == (64, 64, 3)
            with pytest.raises(SlideReadError, match=r"a\.dcm: "):
                slide.read_level(0, Box(0, 64, 64, 6))


@pytest.mark.parametrize("has_table", [True, False])
def test_frames_in_pieces_are_refused(tmp_path: Path, has_table: bool) -> None:
    def in_pieces(dataset: Dataset) -> None:
        dataset.PixelData = encapsulate(frames_of(dataset), fragments_per_frame=2, has_bot=has_table)

    path = rewritten(write_instance(tmp_path / "a.dcm"), in_pieces)
    with pytest.raises(SlideOpenError, match="export the series with each frame in one piece"):
        open_slide(path)


def test_another_coding_is_refused_by_name(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_instance(tmp_path / "a.dcm"))
    uncompressed(dataset)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=True, little_endian=True)
    with pytest.raises(SlideOpenError, match=r"has transfer syntax 1\.2\.840\.10008\.1\.2, which is not read"):
        open_slide(tmp_path / "a.dcm")


def stated(name: str, value: Any) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        setattr(dataset, name, value)

    return change


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NumberOfFrames", 5, "lists 6 frames of 5"),
        ("NumberOfFrames", 7, "lists 6 frames of 7"),
        ("NumberOfFrames", 2**31 - 1, "states 2147483647 frames"),
        ("NumberOfFrames", -6, "states 0 frames"),
        ("TotalPixelMatrixColumns", 2**32 - 1, "states 4294967295x70 px in frames of 64x64 px"),
        ("Rows", 0, "states 130x70 px in frames of 64x0 px"),
        ("TotalPixelMatrixRows", 0, "states 130x0 px in frames of 64x64 px"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, name: str, value: int, words: str) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), stated(name, value))
    with pytest.raises(SlideOpenError, match=words):
        open_slide(path)


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), stated("Rows", 65))
    with direct(path) as slide, pytest.raises(SlideReadError, match="is 64x64 px, want 64x65"):
        slide.read(Box(0, 0, 64, 64), Size(64, 64))


def test_uncompressed_frames_that_the_file_does_not_hold_are_refused(tmp_path: Path) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), uncompressed)
    rgb = tissue(192, 128)[:70, :130]
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 130, 70), Size(130, 70)), rgb)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SlideOpenError, match="6 frames, 73728 bytes, and holds 73727"):
        open_slide(path)


def test_a_series_of_two_numbers_is_its_own_file(tmp_path: Path) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), stated("SeriesInstanceUID", ["1.2", "3"]))
    for given_path in (path, tmp_path):
        with direct(given_path) as slide:
            assert slide.files == (path,)
            assert slide.read(Box(0, 0, 130, 70), Size(130, 70)).shape == (70, 130, 3)


@given(index=st.integers(0, 5), value=st.one_of(st.integers(0, 20_000), st.integers(0, 2**32 - 1)))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_gives_pixels_or_our_error(instance: bytes, tmp_path: Path, index: int, value: int) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(with_entry(instance, index, value))
    data = FileBytes(path)
    try:
        image = read_image(data)
        check_frames(data, image)
    except SlideError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 - both ways out are right
    else:
        assert with_entry(instance, index, value) == instance or value in struct.unpack_from(
            "<6I", instance, table_of(instance)[0]
        )
    finally:
        data.close()


@given(at=st.integers(0, 1500), byte=st.integers(0, 255))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_head_is_read_or_refused(instance: bytes, tmp_path: Path, at: int, byte: int) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(instance[:at] + bytes([byte]) + instance[at + 1 :])
    data = FileBytes(path)
    try:
        image = read_image(data)
        check_image(data, image)
        check_frames(data, image)
    except SlideOpenError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 - both ways out are right
    finally:
        data.close()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_instance(tmp_path_factory.mktemp("instance") / "a.dcm").read_bytes()


def test_a_refused_series_is_closed(tmp_path: Path) -> None:
    path = rewritten(write_instance(tmp_path / "a.dcm"), stated("NumberOfFrames", 5))
    opened: list[OpenSlideReader] = []

    def by_openslide(path: Path) -> OpenSlideReader:
        opened.append(OpenSlideReader(path))
        return opened[0]

    with pytest.raises(SlideOpenError):
        open_dicom(path, by_openslide)
    with pytest.raises(SlideReadError, match="closed"):
        opened[0].read(Box(0, 0, 8, 8), Size(8, 8))
