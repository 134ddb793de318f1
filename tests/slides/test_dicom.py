import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEGBaseline8Bit, generate_uid
from simplejpeg import encode_jpeg
from typing_extensions import override

from sarcoscope.core.errors import SlideOpenError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.slides.dicom import _SERIES_UID, _SOP_CLASS, _value, series_files, slide_series
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.testing.slides import SlideSourceContract
from tests.slides.images import tissue

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
CT = "1.2.840.10008.5.1.4.1.1.2"
ICC = b"\0\0\0\x80lcms" + bytes(120)


def write_instance(
    path: Path,
    *,
    series: str = "1.2.3",
    flavor: str = "VOLUME",
    icc: bytes | None = None,
    sop_class: str = WHOLE_SLIDE,
) -> Path:
    """A DICOM whole-slide instance of 130 x 70 px in tiles of 64, as small as OpenSlide takes it."""
    rgb, tile = tissue(130, 70), 64
    columns, rows = -(-130 // tile), -(-70 // tile)
    canvas = np.pad(rgb, ((0, rows * tile - 70), (0, columns * tile - 130), (0, 0)), mode="edge")
    frames = [
        encode_jpeg(np.ascontiguousarray(canvas[y : y + tile, x : x + tile]), quality=95, colorsubsampling="444")
        for y in range(0, rows * tile, tile)
        for x in range(0, columns * tile, tile)
    ]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.ImageType = ["DERIVED", "PRIMARY", flavor, "NONE"]
    referenced = Dataset()
    referenced.SeriesInstanceUID = "9.9.9"
    ds.ReferencedSeriesSequence = Sequence([referenced])
    ds["ReferencedSeriesSequence"].is_undefined_length = True
    referenced.is_undefined_length_sequence_item = True
    ds.Modality = "SM"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2", series
    ds.DimensionOrganizationType = "TILED_FULL"
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.Rows, ds.Columns = tile, tile
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = 130, 70
    measures, shared, optical = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = ["0.0005", "0.0005"]
    shared.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    optical.OpticalPathIdentifier = "0"
    if icc is not None:
        optical.ICCProfile = icc
    ds.OpticalPathSequence = Sequence([optical])
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SlideOpenError) as caught:
        open_slide(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.advice
    return str(caught.value)


class TestDicom(SlideSourceContract):
    tmp: Path

    @pytest.fixture(autouse=True)
    def _use_tmp(self, tmp_path: Path) -> None:
        self.tmp = tmp_path

    @override
    def open_slide(self) -> SlideSource:
        return open_slide(write_instance(self.tmp / "a.dcm").parent)


def test_a_folder_opens_by_content_whatever_its_files_are_called(tmp_path: Path) -> None:
    write_instance(tmp_path / "IM000001")
    write_instance(tmp_path / "IM000002.svs", flavor="LABEL")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "notes.txt").write_text("of 1.2.3")
    with open_slide(tmp_path) as slide:
        assert slide.info.vendor == "dicom"
        assert slide.info.size == Size(130, 70)
        assert slide.info.associated == ("label",)
        assert require_scale(slide).mpp == 0.5
        assert [file.name for file in slide.files] == ["IM000001", "IM000002.svs"]
        assert np.abs(slide.read(Box(0, 0, 130, 70), Size(130, 70)).astype(int) - tissue(130, 70)).mean() < 3


def test_a_series_is_known_by_its_own_number_not_by_one_it_refers_to(tmp_path: Path) -> None:
    one = write_instance(tmp_path / "a.dcm", series="1.2.3")
    two = write_instance(tmp_path / "b.dcm", series="9.9.9")  # to which both refer
    assert slide_series((one, two)) == {"1.2.3": (one,), "9.9.9": (two,)}
    assert series_files(two, "9.9.9") == (two,)
    with open_slide(two) as slide:
        assert slide.files == (two,)


def test_several_series_are_refused_by_name(tmp_path: Path) -> None:
    for number in range(5):
        write_instance(tmp_path / f"{number}.dcm", series=f"1.2.{number}")
    text = refusal(tmp_path)
    assert "holds more than one DICOM series (1.2.0: 0.dcm; 1.2.1: 1.dcm; 1.2.2: 2.dcm; and 2 more)" in text
    with open_slide(tmp_path / "3.dcm") as slide:
        assert slide.files == (tmp_path / "3.dcm",)


def test_other_dicom_beside_the_slide_is_left_out(tmp_path: Path) -> None:
    write_instance(tmp_path / "a.dcm", series="7.7", sop_class=CT)
    write_instance(tmp_path / "b.dcm")
    with open_slide(tmp_path) as slide:
        assert slide.files == (tmp_path / "b.dcm",)


def test_a_folder_of_other_dicom(tmp_path: Path) -> None:
    write_instance(tmp_path / "a.dcm", sop_class=CT)
    assert "holds DICOM files, but no whole-slide images" in refusal(tmp_path)
    assert "a DICOM file that is no slide; give a .dcm of a whole-slide series" in refusal(tmp_path / "a.dcm")


def test_a_series_in_a_folder_below_is_named_not_opened(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    below = tmp_path / "study" / "series"
    below.mkdir(parents=True)
    write_instance(below / "a.dcm")
    assert f"holds DICOM only in folders below it; give one series' folder, e.g. {below}" in refusal(tmp_path)


@pytest.mark.parametrize("flavor", ["LABEL", "OVERVIEW", "THUMBNAIL"])
def test_a_label_alone_is_no_slide(tmp_path: Path, flavor: str) -> None:
    path = write_instance(tmp_path / "a.dcm", flavor=flavor)
    words = f"the {flavor.lower()} of a DICOM slide without the slide"
    for place in (path, tmp_path):
        with pytest.raises(SlideOpenError, match=words) as caught:
            open_slide(place)
        assert "copy the VOLUME files of its series beside it" in str(caught.value)


def test_a_label_beside_its_slide_opens_the_slide(tmp_path: Path) -> None:
    write_instance(tmp_path / "a.dcm")
    with open_slide(write_instance(tmp_path / "b.dcm", flavor="LABEL")) as slide:
        assert slide.info.size == Size(130, 70)
        assert len(slide.info.levels) == 1


def test_without_image_type(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "a.dcm")
    ds = pydicom.dcmread(path)
    del ds.ImageType
    ds.save_as(path)
    assert "a DICOM slide without ImageType (OpenSlide: " in refusal(path)


@pytest.mark.parametrize("icc", [None, ICC])
def test_an_icc_profile_is_reported(tmp_path: Path, icc: bytes | None) -> None:
    with open_slide(write_instance(tmp_path / "a.dcm", icc=icc)) as slide:
        assert slide.info.icc_profile == (icc is not None)


@pytest.mark.parametrize("length", [133, 200, 300, 500, 700])
def test_a_head_cut_short_is_refused_in_words(tmp_path: Path, length: int) -> None:
    path = write_instance(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:length])
    refusal(path)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_value_or_none(data: bytes) -> None:
    for tag in (_SOP_CLASS, _SERIES_UID):
        assert isinstance(_value(bytes(128) + b"DICM" + data, tag), str | None)


def test_a_value_inside_a_sequence_is_not_the_data_sets() -> None:
    inside = b"\x20\0\x0e\0UI\x04\x009.9\0"
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inside + b"\xfe\xff\x0d\xe0\0\0\0\0"
    sequence = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    head = bytes(128) + b"DICM" + sequence
    assert _value(head + bytes(12), _SERIES_UID) is None
    assert _value(head + inside.replace(b"9.9", b"1.2"), _SERIES_UID) == "1.2"


# Real files, where they lie beside the checkout.


def test_a_real_file_without_image_type(shared_slides: Path) -> None:
    text = refusal(shared_slides / "pathml_small_dicom_TCGA-XK-AAJU.dcm")
    assert "a DICOM slide without ImageType (OpenSlide: Couldn't get image flavor)" in text


def test_a_real_label_alone(shared_slides: Path, tmp_path: Path) -> None:
    smallest = min((shared_slides / "dicom_CMU-1-Small-Region").iterdir(), key=lambda file: file.stat().st_size)
    shutil.copy(smallest, tmp_path / "a.dcm")
    assert "the label of a DICOM slide without the slide (OpenSlide: " in refusal(tmp_path / "a.dcm")


def test_a_real_folder_without_endings(shared_slides: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted((shared_slides / "dicom_CMU-1-Small-Region").iterdir())):
        shutil.copy(file, tmp_path / f"IM{number}")
    with open_slide(tmp_path) as slide:
        assert slide.info.size == Size(2220, 2967)
        assert slide.info.associated == ("label", "macro", "thumbnail")
        assert len(slide.files) == 4
