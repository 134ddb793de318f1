"""What `convert --to dicom` writes, opened by OpenSlide, wsidicom and us."""

from dataclasses import asdict
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
from pydicom.encaps import generate_frames
from wsidicom import WsiDicom  # type: ignore[import-untyped]

from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.slides.dicom_writer import dicom_origin, write_dicom
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.rewrap import PyramidOptions, TileCounts, icc_profile
from sarcoscope.slides.tiff_pages import About
from tests.slides.images import tissue
from tests.slides.test_rewrap import ABSENT, Stored, abbreviated, halved, off, stored_level


def convert(source: SlideSource, folder: Path, *, power: float | None = 40.0) -> TileCounts:
    folder.mkdir()
    heard: list[int] = []
    about = About(
        size=source.info.size, mpp=0.25, power=power, origin="0123456789abcdef", icc_profile=icc_profile(source)
    )
    counts = write_dicom(folder, source, about, PyramidOptions(), heard.append)
    assert sum(heard) == sum(asdict(counts).values())
    return counts


def level(path: Path, index: int) -> Rgb:
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), index, slide.level_dimensions[index]).convert("RGB"))


def whole(source: SlideSource) -> Rgb:
    size = source.info.size
    return source.read(Box(0, 0, size.width, size.height), size)


@pytest.mark.parametrize(("sampling", "colors"), [("444", "YCBCR"), ("422", "YCBCR"), ("420", "YCBCR"), ("444", "RGB")])
def test_tiles_are_copied_and_every_reader_sees_the_same_slide(tmp_path: Path, sampling: str, colors: str) -> None:
    rgb = tissue(1500, 1100)
    levels = [stored_level(image, sampling=sampling, colors=colors) for image in (rgb, halved(rgb, 4))]
    with Stored(tmp_path / "a.bin", levels) as source:
        assert convert(source, tmp_path / "d") == TileCounts(copied=24 * 18 + 6 * 5)
        want = whole(source)
    files = sorted((tmp_path / "d").iterdir())
    assert [file.name for file in files] == ["level-0.dcm", "level-1.dcm"]
    for file, (_, tiles) in zip(files, levels, strict=True):
        dataset = pydicom.dcmread(file)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
        assert [frame[: len(tile)] for frame, tile in zip(frames, tiles, strict=True)] == tiles
    np.testing.assert_array_equal(level(files[0], 0), want)
    with openslide.OpenSlide(files[0]) as slide:
        assert slide.properties["openslide.vendor"] == "dicom"
        assert slide.level_dimensions == ((1500, 1100), (375, 275))
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert float(slide.properties["openslide.objective-power"]) == 40
    with WsiDicom.open(tmp_path / "d") as slide:
        assert [(one.size.width, one.size.height) for one in slide.levels] == [(1500, 1100), (375, 275)]
        assert slide.mpp.width == 0.25
        assert off(np.asarray(slide.read_region((0, 0), 0, (1500, 1100))), want) < 1
    with open_slide(tmp_path / "d") as again:
        assert again.info.scale is not None
        assert again.info.scale.mpp == 0.25
        assert again.info.objective_power == 40
        assert [one.size for one in again.info.levels] == [Size(1500, 1100), Size(375, 275)]
        np.testing.assert_array_equal(whole(again), want)


def test_shared_tables_are_put_into_each_tile(tmp_path: Path) -> None:
    stored, tiles = abbreviated(*stored_level(tissue(300, 200), cut=True))
    tiles[6] = ABSENT
    with Stored(tmp_path / "a.bin", [(stored, tiles)]) as source:
        assert convert(source, tmp_path / "d") == TileCounts(copied=11, absent=1, recompressed=8)
        want = whole(source)
    shown = level(tmp_path / "d" / "level-0.dcm", 0)
    np.testing.assert_array_equal(shown[:64, :256], want[:64, :256])
    assert (shown[64:128, 64:128] == 255).all()
    assert off(shown, want) < 2


def test_gray_tiles_become_colour(tmp_path: Path) -> None:
    gray = tissue(128, 64)[..., 0]
    tiles = [
        bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(half), level=95)) for half in (gray[:, :64], gray[:, 64:])
    ]
    with Stored(tmp_path / "a.bin", [(stored_level(tissue(128, 64))[0], tiles)]) as source:
        assert convert(source, tmp_path / "d") == TileCounts(made=1)
    assert off(level(tmp_path / "d" / "level-0.dcm", 0), np.repeat(gray[..., None], 3, axis=2)) < 4


def test_missing_levels_are_made(tmp_path: Path) -> None:
    rgb = tissue(2500, 1300)
    with MemorySlide(rgb) as source:
        assert convert(source, tmp_path / "d", power=None) == TileCounts(made=10 * 6 + 5 * 3 + 3 * 2)
    for index, by in enumerate((1, 2, 4)):
        assert off(level(tmp_path / "d" / "level-0.dcm", index), halved(rgb, by)) < 8
    with open_slide(tmp_path / "d") as again:
        assert again.info.objective_power is None


def test_what_it_says_is_nobodys(tmp_path: Path) -> None:
    with MemorySlide(tissue(300, 200)) as source:
        convert(source, tmp_path / "d")
        convert(source, tmp_path / "e")
    dataset, same = (pydicom.dcmread(tmp_path / name / "level-0.dcm") for name in "de")
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"  # JPEG baseline
    assert dataset.DimensionOrganizationType == "TILED_FULL"
    assert dataset.Manufacturer == "sarcoscope"
    assert dataset.BurnedInAnnotation == "NO"
    assert dataset.SpecimenLabelInImage == "NO"
    for name in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyID"):
        assert not dataset[name].value, name
    assert dataset.SeriesInstanceUID.startswith("2.25.")
    assert dataset.SOPInstanceUID == same.SOPInstanceUID  # made from the same: the same identifiers
    size = sum(len(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
    raw = 2 * 256 * 256 * 3
    assert float(dataset.LossyImageCompressionRatio) == pytest.approx(raw / size, rel=0.01)


def test_the_origin_is_found_again(tmp_path: Path, shared_slides: Path) -> None:
    with MemorySlide(tissue(300, 200)) as source:
        convert(source, tmp_path / "d")
    assert dicom_origin(tmp_path / "d") == "0123456789abcdef"
    assert dicom_origin(tmp_path) is None
    assert dicom_origin(tmp_path / "d" / "level-0.dcm") is None
    assert dicom_origin(shared_slides / "dicom_CMU-1-Small-Region") is None


def test_an_icc_profile_goes_along(tmp_path: Path, shared_slides: Path) -> None:
    path = shared_slides / "openslide-python_boxes.tiff"
    with open_slide(path, mpp=Mpp(0.5), override=True) as source:
        profile = icc_profile(source)
        convert(source, tmp_path / "d")
    assert profile is not None
    with openslide.OpenSlide(tmp_path / "d" / "level-0.dcm") as slide:
        assert slide.color_profile is not None
        assert slide.color_profile.tobytes() == profile


def test_a_real_svs_keeps_its_pixels_and_loses_its_words(tmp_path: Path, shared_slides: Path) -> None:
    path = shared_slides / "CMU-1-Small-Region.svs"
    with open_slide(path) as source:
        assert convert(source, tmp_path / "d").copied == 10 * 13
    np.testing.assert_array_equal(level(tmp_path / "d" / "level-0.dcm", 0), level(path, 0))
    for file in (tmp_path / "d").iterdir():
        for word in (b"CPAPERIOCS", b"12/29/09", b"CMU-1", b"b414003d"):
            assert word not in file.read_bytes()
