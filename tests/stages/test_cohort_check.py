"""A cohort is checked as a whole: real files, all problems at once."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.cohort import Severity
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.stages.cohort_check import CohortReport, check_cohort
from sarcoscope.stages.outputs import fingerprint
from tests.slides_made import write_drawn

DRAWN = ["DU", "UD"]


def manifest(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text)
    return path


def kinds(report: CohortReport) -> list[tuple[int, str, str]]:
    return [(one.row, one.slide, one.kind) for one in report.problems]


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    write_drawn(tmp_path / "a.svs", DRAWN)
    write_drawn(tmp_path / "b.svs", ["DW", "WD"], mpp=0.5, power=20.0)
    shutil.copy(tmp_path / "a.svs", tmp_path / "copy.svs")
    (tmp_path / "text.svs").write_text("words")
    return tmp_path


def test_every_problem_of_every_row(slides: Path) -> None:
    text = (
        "slide,path,label,patient,mpp\n"
        "a,a.svs,DDLPS,P,\n"
        "again,copy.svs,DDLPS,P,\n"
        "gone,gone.svs,UPS,Q,\n"
        "text,text.svs,UPS,Q,\n"
        "b,b.svs,WDLSP,R,0.25\n"
        "A,b.svs,,R,x\n"
    )
    report = check_cohort(manifest(slides, text), classes=["DDLPS", "UPS", "WDLPS"])
    assert kinds(report) == [
        (3, "again", "duplicate_content"),
        (4, "gone", "missing_file"),
        (5, "text", "unreadable"),
        (6, "b", "mpp_refused"),
        (6, "b", "unknown_class"),
        (7, "A", "bad_mpp"),
        (7, "A", "duplicate_content"),
        (7, "A", "duplicate_slide"),
        (7, "A", "no_label"),
    ]
    assert report.stops
    assert [one.slide for one in report.usable] == ["a"]
    assert report.exit_code == 1
    advice = {one.kind: one.advice for one in report.problems}
    assert advice["unknown_class"].startswith("is 'WDLPS' meant?")
    assert advice["mpp_refused"].startswith("drop the given number")


def test_a_sound_cohort(slides: Path) -> None:
    told: list[tuple[int, int]] = []
    report = check_cohort(
        manifest(slides, "slide,path,label\na,a.svs,DDLPS\nb,b.svs,UPS\n"),
        progress=lambda done, total: told.append((done, total)),
    )
    assert report.problems == ()
    assert (report.stops, report.exit_code, len(report.usable)) == (False, 0, 2)
    assert told == [(1, 2), (2, 2)]
    (one, _) = report.facts
    assert one is not None
    assert (one.vendor, one.mpp, one.width) == ("aperio", 0.25, 256)


def test_equal_samples_of_different_contents_are_not_one_slide(tmp_path: Path) -> None:
    """Between the samples of a long file one byte differs."""
    path = write_drawn(tmp_path / "a.svs", DRAWN)
    content = path.read_bytes() + bytes(64 * 64 * 1024 * 4)
    path.write_bytes(content)
    other = bytearray(content)
    other[len(content) // 2] = 1
    (tmp_path / "b.svs").write_bytes(other)
    assert fingerprint(path) == fingerprint(tmp_path / "b.svs")
    report = check_cohort(manifest(tmp_path, "slide,path,label\na,a.svs,X\nb,b.svs,X\n"))
    assert report.problems == ()


def test_patterns_are_checked_slide_by_slide(slides: Path) -> None:
    report = check_cohort(manifest(slides, "path,label\n[abt]*.svs,DDLPS\n"))
    assert kinds(report) == [(1, "", "no_slide_column"), (2, "text", "unreadable")]
    assert [one.slide for one in report.usable] == ["a", "b"]


def test_a_scale_out_of_line_is_told(tmp_path: Path) -> None:
    for number, mpp in enumerate((0.25, 0.25, 0.251, 0.249, 0.5)):
        write_drawn(tmp_path / f"s{number}.svs", [f"D{'DUWLM'[number]}"], mpp=mpp, power=None)
    report = check_cohort(
        manifest(tmp_path, "path,slide,label,batch\n" + "".join(f"s{n}.svs,s{n},A,1\n" for n in range(5)))
    )
    ((_, slide, kind),) = kinds(report)
    assert (slide, kind, report.exit_code) == ("s4", "scale_outlier", 0)
    assert report.problems[0].problem == "0.5 um/px, but the median of batch '1' is 0.25 um/px"
    assert len(report.usable) == 5


def test_a_missing_column_is_said_once(slides: Path) -> None:
    report = check_cohort(manifest(slides, "slide,path,lable\na,a.svs,X\nb,b.svs,Y\n"))
    assert kinds(report) == [(1, "", "unknown_column"), (1, "", "no_label")]
    assert report.stops


def test_nothing_that_could_be_checked(tmp_path: Path) -> None:
    report = check_cohort(manifest(tmp_path, "slide,path,label\na,a.svs,X\nb,,Y\n"))
    assert report.exit_code == 2
    assert report.usable == ()
    with pytest.raises(ArtifactError, match="no column 'path'"):
        check_cohort(manifest(tmp_path, "slide\na\n"))
    with pytest.raises(InputError, match="0 threads"):
        check_cohort(manifest(tmp_path, "path\na\n"), workers=0)


def test_ids_become_fit_for_file_names(slides: Path) -> None:
    report = check_cohort(manifest(slides, "slide,path,label\na/1:x,a.svs,X\n...,b.svs,X\n"), look=False)
    assert report.slides[0].slide == "a_1_x"
    assert kinds(report) == [(3, "...", "bad_name")]


def test_without_looking_no_slide_is_opened(tmp_path: Path) -> None:
    report = check_cohort(manifest(tmp_path, "slide,path,label\na,nix.svs,X\n"), look=False)
    assert (report.problems, report.exit_code) == ((), 0)


def test_real_slides(shared_slides: Path, tmp_path: Path) -> None:
    text = (
        "slide,path,label\n"
        f"one,{shared_slides}/CMU-1-Small-Region.svs,A\n"
        f"series,{shared_slides}/dicom_CMU-1-Small-Region/*.dcm,A\n"
        f"folder,{shared_slides}/dicom_CMU-1-Small-Region,A\n"
        f"flat,{shared_slides}/cytomine_HE_flat_862x896.tiff,A\n"
        f"coarse,{shared_slides}/openslide-python_boxes.tiff,A\n"
        f"spectral,{shared_slides}/pathml_small_vectra.qptiff,A\n"
    )
    report = check_cohort(manifest(tmp_path, text))
    assert [(one.row, one.kind, one.severity) for one in report.problems] == [
        (4, "duplicate_content", Severity.COHORT),
        (5, "no_scale", Severity.SLIDE),
        (6, "no_scale", Severity.SLIDE),
        (7, "unreadable", Severity.SLIDE),
    ]
    assert [one.slide for one in report.slides][:3] == ["one", "series", "folder"]


cells = st.sampled_from(
    ["", "a", "x*.svs", "[", "**", "..", "\0", '"', "\r", "0,5", "nan", "1e999", "ä" * 300]
) | st.text(max_size=4)
headings = st.sampled_from(
    ["slide,path,label", "path;label;mpp", "sep=;\npath;label", "slide,path,mpp,components,batch"]
)


@settings(max_examples=200)
@given(headings, st.lists(st.lists(cells, max_size=6), max_size=4), st.sampled_from(",;\t"))
def test_any_text_is_read_or_refused_in_our_own_words(
    tmp_path_factory: pytest.TempPathFactory, heading: str, rows: list[list[str]], separator: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    text = "\n".join([heading, *(separator.join(row) for row in rows)])
    (folder / "manifest.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ArtifactError):
        report = check_cohort(folder / "manifest.csv")
        assert len(report.facts) == len(report.slides)
        assert {one.slide for one in report.usable} <= {one.slide for one in report.slides}
