"""Drafting a manifest from what lies in a folder."""

from pathlib import Path

import pytest
from PIL import Image

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.manifest import read_manifest
from sarcoscope.stages.cohort_scan import draft_labels, scan, write_draft
from tests.slides_made import write_drawn

DRAWN = ["DU", "UD"]


def test_slides_one_folder_a_class(tmp_path: Path) -> None:
    for name in ("batch1/LMS/TCGA-AB-1234-01Z.svs", "batch1/UPS/b.svs", "batch2/LMS/c.tif", "batch2/UPS/d.svs"):
        write_drawn(tmp_path / "slides" / name, DRAWN)
    (tmp_path / "slides" / "batch2" / "UPS" / "broken.ndpi").write_text("words")
    (tmp_path / "slides" / "notes.txt").write_text("words")
    (tmp_path / "slides" / ".hidden.svs").write_text("words")
    Image.new("RGB", (99, 99)).save(tmp_path / "slides" / "batch1" / "UPS" / "label.png")
    found = scan(tmp_path / "slides", batch_regex=r"(batch\d)/")
    assert [(one.slide, one.label, one.patient, one.batch) for one in found.slides] == [
        ("TCGA-AB-1234-01Z", "LMS", "TCGA-AB-1234", "batch1"),
        ("b", "UPS", None, "batch1"),
        ("c", "LMS", None, "batch2"),
        ("broken", "UPS", None, "batch2"),
        ("d", "UPS", None, "batch2"),
    ]
    assert found.slides[0].notes == "aperio, 0.25 um/px"
    assert found.slides[3].notes == "unreadable: not a slide: it looks like text"
    assert all(one.mpp is None for one in found.slides)
    assert (found.unreadable, found.passed_over, found.pictures, found.vendors) == (1, 2, 1, {"aperio": 4})
    assert len(scan(tmp_path / "slides", pictures=True).slides) == 6


def test_a_draft_reads_back_and_is_never_overwritten(tmp_path: Path) -> None:
    write_drawn(tmp_path / "slides" / "a.svs", DRAWN)
    elsewhere = tmp_path / "other" / "manifest.csv"
    found = scan(tmp_path / "slides")
    write_draft(found, tmp_path / "manifest.csv")
    write_draft(found, elsewhere)
    assert "a,,slides/a.svs,," in (tmp_path / "manifest.csv").read_text()
    for path in (tmp_path / "manifest.csv", elsewhere):
        assert read_manifest(path)[0].path.resolve() == (tmp_path / "slides" / "a.svs").resolve()
    (tmp_path / "manifest.csv").write_text("filled in by hand")
    with pytest.raises(ArtifactError, match="is there already; choose another --out"):
        write_draft(found, tmp_path / "manifest.csv")
    assert (tmp_path / "manifest.csv").read_text() == "filled in by hand"
    write_draft(found, tmp_path / "manifest.csv", force=True)
    assert read_manifest(tmp_path / "manifest.csv")[0].slide == "a"


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_drawn(tmp_path / "elsewhere" / "a.svs", DRAWN)
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "slides" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "slides" / "loop").symlink_to(tmp_path / "slides")
    assert [one.slide for one in scan(tmp_path / "slides").slides] == ["a"]


def test_patients_by_an_expression(tmp_path: Path) -> None:
    write_drawn(tmp_path / "P007-2.svs", DRAWN)
    assert scan(tmp_path, patient_regex=r"P(\d+)").slides[0].patient == "007"
    with pytest.raises(InputError, match="--patient-regex '\\(' is no regular expression"):
        scan(tmp_path, patient_regex="(")


def test_a_folder_without_slides(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(InputError, match=r"holds no slides \(1 other files\)"):
        scan(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        scan(tmp_path / "nix")


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        ([("A",), ("A",), ("B",), ("B",)], ["A", "A", "B", "B"]),
        ([("A",), ("A",), ("B",)], [None] * 3),  # more than half as many folders as slides
        ([("x", "A"), ("y", "A"), ("x", "B"), ("y", "B")], ["A", "A", "B", "B"]),
        ([("A", "u1"), ("A", "u2"), ("B", "u3"), ("B", "u4")], ["A", "A", "B", "B"]),  # a folder a slide below
        ([(c, f"{c}{p}") for c in "AB" for p in (1, 1, 2, 2)], ["A"] * 4 + ["B"] * 4),  # a folder a patient below
        ([("u1",), ("u2",), ("u3",), ("u4",)], [None] * 4),
        ([(), ("A",), ("A",), ("B",)], [None] * 4),
        ([("A",)] * 4, [None] * 4),
        ([], []),
    ],
)
def test_labels_where_folders_look_like_classes(folders: list[tuple[str, ...]], labels: list[str | None]) -> None:
    assert draft_labels(folders) == labels


def test_real_slides(shared_slides: Path) -> None:
    found = scan(shared_slides)
    by_name = {one.slide: one for one in found.slides}
    assert by_name["dicom_CMU-1-Small-Region"].path == shared_slides / "dicom_CMU-1-Small-Region"  # a series once
    assert by_name["pathml_small_dicom_TCGA-XK-AAJU"].patient == "TCGA-XK-AAJU"
    assert by_name["pathml_small_vectra"].notes.startswith("unreadable: a multispectral")
    assert by_name["cytomine_HE_flat_862x896"].notes == "flat, no scale: fill in mpp"
    assert found.vendors == {"aperio": 2, "dicom": 2, "flat": 1, "generic-tiff": 1, "hamamatsu": 1}
