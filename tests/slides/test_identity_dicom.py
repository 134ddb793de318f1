import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
import wsidicom  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.slides.dicom import dicom_files
from sarcoscope.slides.identity.inspecting import inspect_identity
from sarcoscope.slides.identity.model import NewIdentity
from tests.slides.identity_checks import PSEUDONYM, assert_gone, assert_same_slide, copy_of

_NAME = "dicom_CMU-1-Small-Region"
_PLANTED = {
    "PatientName": "Doe^Jane^Planted",
    "PatientID": "PAT-0017",
    "PatientBirthDate": "19610203",
    "PatientAge": "063Y",
    "AccessionNumber": "ACC-4711",
    "StudyID": "STUDY-99",
    "StudyDate": "20240314",
    "SeriesDate": "20240315",
    "StudyDescription": "Resection left thigh",
    "SeriesDescription": "HE of Doe",
    "InstitutionName": "Clinic of Roes",
    "InstitutionAddress": "Roe Street 5",
    "StationName": "SCAN-STATION-7",
    "OperatorsName": "Roe^Operator",
    "ReferringPhysicianName": "Roe^Referring",
    "DeviceSerialNumber": "SN-8877665",
    "SoftwareVersions": "12.0.Roe",
    "ContainerIdentifier": "S24-0017-A-1",
    "ImageComments": "looks like Doe",
    "ProtocolName": "protocol of Roe",
    "BarcodeValue": "BC00998877",
    "LabelText": "Jane Doe S24",
}
_NESTED = ("SPECIMEN-0017", "thigh of Doe", "fixed by Roe", "Clinic namespace", "private of Roe", "optics of Roe")


def _volume(folder: Path) -> Path:
    return next(
        file for file in dicom_files(folder) if "VOLUME" in pydicom.dcmread(file, stop_before_pixels=True).ImageType
    )


def _planted(shared_slides: Path, folder: Path, change: Callable[[FileDataset], None] = lambda _: None) -> Path:
    """The real series with secrets in every instance, at the top and nested."""
    folder.mkdir()
    for file in dicom_files(shared_slides / _NAME):
        content = pydicom.dcmread(file)
        for keyword, value in _PLANTED.items():
            setattr(content, keyword, value)
        specimen = content.SpecimenDescriptionSequence[0]
        specimen.SpecimenIdentifier = "SPECIMEN-0017"
        specimen.SpecimenShortDescription = "thigh of Doe"
        step = Dataset()
        step.TextValue = "fixed by Roe"
        content.SpecimenDescriptionSequence[0].SpecimenPreparationSequence = Sequence([step])
        issuer = Dataset()
        issuer.LocalNamespaceEntityID = "Clinic namespace"
        content.IssuerOfTheContainerIdentifierSequence = Sequence([issuer])
        content.OpticalPathSequence[0].OpticalPathDescription = "optics of Roe"
        content.private_block(0x3021, "ROE CORP", create=True).add_new(1, "LO", "private of Roe")
        content.file_meta.SourceApplicationEntityTitle = "AE-OF-ROE"
        content.preamble = b"preamble of Roe".ljust(128, b"\0")
        change(content)
        content.save_as(folder / f"Doe-{file.name[-8:]}")
        with (folder / f"Doe-{file.name[-8:]}").open("ab") as out:
            out.write(b"\xfc\xff\xfc\xffOB\0\0\x0c\0\0\0trailing Roe")
    return folder


def _frames(file: Path) -> list[bytes]:
    content = pydicom.dcmread(file)
    return list(generate_frames(content.PixelData, number_of_frames=int(content.NumberOfFrames)))


def test_every_planted_secret_goes_and_frames_stay(shared_slides: Path, tmp_path: Path) -> None:
    source, copy = _planted(shared_slides, tmp_path / "source"), tmp_path / "copy"
    cleaned = copy_of(source, copy)
    uids = {one.value for one in cleaned.findings if one.where.endswith("UID")}
    assert len(uids) > 6
    assert_gone(
        copy, *_PLANTED.values(), *_NESTED, *uids, "Doe", "Roe", "ROE", "1.2.826.0.1.3680043.8.498.5", "20250131"
    )
    values = {one.value for one in cleaned.findings}
    assert {*_PLANTED.values(), *_NESTED, "AE-OF-ROE"} <= values
    assert_same_slide(source, copy)
    assert _frames(_volume(copy)) == _frames(_volume(source))


def test_label_and_overview_are_left_out(shared_slides: Path, tmp_path: Path) -> None:
    source, copy = shared_slides / _NAME, tmp_path / "copy"
    cleaned = copy_of(source, copy)
    images = sorted(one.kind for one in cleaned.findings if one.kind.endswith("image"))
    assert images == ["label image", "macro image"]
    flavours = sorted(pydicom.dcmread(file, stop_before_pixels=True).ImageType[2] for file in copy.iterdir())
    assert flavours == ["THUMBNAIL", "VOLUME"]
    for file in dicom_files(source):
        content = pydicom.dcmread(file)
        gone = content.ImageType[2] in {"LABEL", "OVERVIEW"}
        frame = next(iter(generate_frames(content.PixelData, number_of_frames=int(content.NumberOfFrames))))
        assert any(frame in one.read_bytes() for one in copy.iterdir()) != gone


def test_what_the_copy_says_of_itself(shared_slides: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy_of(_planted(shared_slides, tmp_path / "source"), copy)
    contents = [pydicom.dcmread(file, stop_before_pixels=True) for file in dicom_files(copy)]
    for file, content in zip(dicom_files(copy), contents, strict=True):
        assert content.PatientIdentityRemoved == "YES"
        assert content.DeidentificationMethod.startswith("sarcoscope deidentify")
        assert content.PatientID == content.PatientName == content.ContainerIdentifier == PSEUDONYM
        assert content.SpecimenDescriptionSequence[0].SpecimenIdentifier == PSEUDONYM
        assert content.StudyDate == content.AccessionNumber == content.PatientBirthDate == content.StudyID == ""
        assert content.file_meta.MediaStorageSOPInstanceUID == content.SOPInstanceUID
        assert file.name == f"{content.SOPInstanceUID}.dcm"
        assert pydicom.uid.UID(content.SOPInstanceUID).is_valid
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({content[keyword].value for content in contents}) == 1
    assert len({content.SOPInstanceUID for content in contents}) == 2


def test_other_readers_open_the_copy(shared_slides: Path, tmp_path: Path) -> None:
    source, copy = shared_slides / _NAME, tmp_path / "copy"
    copy_of(source, copy)
    with openslide.OpenSlide(_volume(copy)) as slide:
        assert set(slide.associated_images) == {"thumbnail"}
        assert slide.properties["openslide.mpp-x"] == "0.499"
    with wsidicom.WsiDicom.open(source) as old, wsidicom.WsiDicom.open(copy) as new:
        assert new.size == old.size
        np.testing.assert_array_equal(
            np.asarray(new.read_region((500, 500), 0, (300, 300))),
            np.asarray(old.read_region((500, 500), 0, (300, 300))),
        )


def test_one_file_stands_for_its_series(shared_slides: Path, tmp_path: Path) -> None:
    source = shared_slides / _NAME
    by_folder, by_file = tmp_path / "a", tmp_path / "b"
    copy_of(source, by_folder)
    identity = NewIdentity(PSEUDONYM, "0" * 64)
    inspect_identity(_volume(source)).write(by_file, identity)
    assert inspect_identity(source).is_at(by_file, identity)
    assert not inspect_identity(source).is_at(by_folder, identity)


def test_new_uids_depend_on_the_content_and_on_nothing_else(shared_slides: Path, tmp_path: Path) -> None:
    cleaned = inspect_identity(shared_slides / _NAME)
    names = []
    for name, digest in (("a", "0" * 64), ("b", "0" * 64), ("c", "1" * 64)):
        cleaned.write(tmp_path / name, NewIdentity(PSEUDONYM, digest))
        names.append({file.name for file in (tmp_path / name).iterdir()})
    assert names[0] == names[1]
    assert not names[0] & names[2]


def test_another_real_series(shared_slides: Path, tmp_path: Path) -> None:
    source, copy = tmp_path / "one.dcm", tmp_path / "copy"
    shutil.copyfile(shared_slides / "camelyon16_jpeg2000_tiled_full.dcm", source)
    cleaned = copy_of(source, copy)
    secrets = [
        "GenLast",
        "GO-1692287590758",
        "PN-1-692",
        "Example Hospital",
        "freckle",
        "tumor_102",
        "8199076028955445",
    ]
    assert_gone(copy, *secrets, "1.3.6.1.4.1.11129", "Arginase", "1634", "Camelyon")
    assert {"GenLast^Penelope", "GO-1692287590758-1-A-0_tumor_102.tif"} <= {one.value for one in cleaned.findings}
    assert _frames(next(copy.iterdir())) == _frames(source)


def test_a_file_too_many_or_changed_is_another_copy(shared_slides: Path, tmp_path: Path) -> None:
    cleaned, copy = inspect_identity(shared_slides / _NAME), tmp_path / "copy"
    identity = NewIdentity(PSEUDONYM, "0" * 64)
    cleaned.write(copy, identity)
    assert cleaned.is_at(copy, identity)
    (copy / "more").write_text("")
    assert not cleaned.is_at(copy, identity)
    (copy / "more").unlink()
    file = _volume(copy)
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    assert not cleaned.is_at(copy, identity)


def test_burned_in_text_is_refused(shared_slides: Path, tmp_path: Path) -> None:
    def burn(content: FileDataset) -> None:
        content.BurnedInAnnotation = "YES"

    with pytest.raises(SlideOpenError, match="text is burned into its pixels"):
        inspect_identity(_planted(shared_slides, tmp_path / "source", burn))


def test_no_slide_and_two_series_are_refused(shared_slides: Path, tmp_path: Path) -> None:
    with pytest.raises(SlideOpenError, match="without a whole-slide image"):
        inspect_identity(shared_slides / "pathml_small_dicom_TCGA-XK-AAJU.dcm")
    folder = tmp_path / "two"
    shutil.copytree(shared_slides / _NAME, folder)
    shutil.copyfile(shared_slides / "camelyon16_jpeg2000_tiled_full.dcm", folder / "another.dcm")
    with pytest.raises(SlideOpenError, match="more than one DICOM series"):
        inspect_identity(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(SlideOpenError, match="without DICOM"):
        inspect_identity(tmp_path / "none")


@settings(max_examples=30)
@given(data=st.data())
def test_damage_is_refused_or_copied_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, shared_slides: Path, data: st.DataObject
) -> None:
    content = bytearray((shared_slides / "camelyon16_jpeg2000_tiled_full.dcm").read_bytes()[:-1_000_000])
    content += b"\xfe\xff\xdd\xe0\0\0\0\0"
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(128, 6000))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "a.dcm").write_bytes(content)
    try:
        cleaned = inspect_identity(folder / "a.dcm")
        cleaned.write(folder / "copy", NewIdentity(PSEUDONYM, "0" * 64))
    except SlideError:
        return
    assert cleaned.is_at(folder / "copy", NewIdentity(PSEUDONYM, "0" * 64))


@pytest.mark.parametrize("share", [0.0002, 0.002, 0.01, 0.5, 0.999999])
def test_a_cut_series_is_refused(shared_slides: Path, tmp_path: Path, share: float) -> None:
    content = _volume(shared_slides / _NAME).read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: int(len(content) * share)])
    with pytest.raises((SlideOpenError, SlideReadError)):
        inspect_identity(tmp_path / "a.dcm")
