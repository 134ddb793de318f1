"""manifest.csv as people write it: other separators, byte order marks, patterns, slips; and all that is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.cohort import CohortSlide, Severity
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.manifest import read_cohort, read_manifest, read_rows, write_cohort


def manifest(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "manifest.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_all_columns(tmp_path: Path) -> None:
    text = "slide,patient,path,label,batch,components,mpp,notes\na,P1,x.svs,DDLPS,1,WDLPS; LMS,0.25,two pieces\n"
    assert read_manifest(manifest(tmp_path, text)) == [
        CohortSlide(
            slide="a",
            patient="P1",
            path=tmp_path / "x.svs",
            label="DDLPS",
            batch="1",
            components=("WDLPS", "LMS"),
            mpp=Mpp(0.25),
            notes="two pieces",
            row=2,
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        b'\xef\xbb\xbfslide;path;label;components;mpp\r\na;x.svs;LMS;"A;B";0,25\r\n',
        b"sep=;\r\nslide;path;label;components;mpp\r\na;x.svs;LMS;A,B;0,25\r\n",
        b"slide\tpath\tlabel\tcomponents\tmpp\na\tx.svs\tLMS\tA;B\t0.25\n",
        b'"slide","path","label","components","mpp"\r\n"a","x.svs","LMS","A;B","0,25"\r\n',
        b" Slide , PATH ,Label,components,mpp\n\n a , x.svs , LMS , A ;B, .25\n\n",
    ],
)
def test_a_table_program_s_dialects_say_the_same(tmp_path: Path, text: bytes) -> None:
    read = read_rows(manifest(tmp_path, text))
    (one,) = read.slides
    assert (one.slide, one.path, one.label) == ("a", tmp_path / "x.svs", "LMS")
    assert (one.components, one.mpp) == (("A", "B"), 0.25)
    assert read.problems == ()


def test_row_numbers_are_lines_of_the_file(tmp_path: Path) -> None:
    text = 'sep=,\nslide,path,notes\n\na,x.svs,"two\nlines"\nb,,\n'
    read = read_rows(manifest(tmp_path, text))
    assert [one.row for one in read.slides] == [5]
    assert [(one.row, one.kind) for one in read.problems] == [(6, "no_path")]


def test_every_problem_of_every_row_in_one_reading(tmp_path: Path) -> None:
    text = "slide,path,mpp\na,,half\nb,y.svs,-1\nc,z.svs,0,5\nd,nix*.svs,\ne,v.svs,inf\n"
    read = read_rows(manifest(tmp_path, text))
    assert [(one.row, one.slide, one.kind) for one in read.problems] == [
        (2, "a", "bad_mpp"),
        (2, "a", "no_path"),
        (3, "b", "bad_mpp"),
        (4, "c", "extra_cells"),
        (4, "c", "bad_mpp"),
        (5, "d", "no_match"),
        (6, "e", "bad_mpp"),
    ]
    assert [one.slide for one in read.slides] == ["b", "c", "e"]
    assert "an mpp of 0,5" in read.problems[3].advice


def test_columns_that_look_like_slips_are_told_and_others_kept_quiet_about(tmp_path: Path) -> None:
    read = read_rows(manifest(tmp_path, "slide,path,lable,age,label2\na,x,LMS,7,\n"))
    assert [(one.severity, one.problem, one.advice) for one in read.problems] == [
        (Severity.WARNING, "column 'lable' means nothing here", "is 'label' meant?"),
        (Severity.WARNING, "column 'label2' means nothing here", "is 'label' meant?"),
    ]
    assert read_manifest(manifest(tmp_path, "slide,path,label,label2\na,x,LMS,\n"))[0].label == "LMS"
    assert read_rows(manifest(tmp_path, "slide,path,label,label2\na,x,LMS,\n")).problems == ()


def test_a_column_twice_is_a_problem_of_the_file(tmp_path: Path) -> None:
    read = read_rows(manifest(tmp_path, "path,label,label\nx,A,B\n"))
    assert [(one.row, one.kind, one.severity) for one in read.problems] == [(1, "duplicate_column", Severity.COHORT)]
    with pytest.raises(ArtifactError, match="column 'label' stands there 2 times; keep one"):
        read_manifest(manifest(tmp_path, "path,label,label\nx,A,B\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no column 'path'"),
        (b"pth,label\nx,A\n", "no column 'path' in the first line; is 'pth' the column 'path'?"),
        (b"path\n\n", "lists no slides"),
        (b"path\n\xff\xfe\n", "give a CSV file in UTF-8 .Excel: Save as, 'CSV UTF-8'."),
    ],
)
def test_what_is_no_manifest_at_all(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        read_rows(manifest(tmp_path, text))


def test_no_manifest_and_a_folder_are_our_own_errors(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no such file"):
        read_rows(tmp_path / "nix.csv")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_rows(tmp_path)


def test_patterns_are_slides_each_named_by_their_files(tmp_path: Path) -> None:
    for name in ("b/1.svs", "a/1.svs", "a/2.svs", "[x].svs", "a/deep/3.svs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = "path,label,mpp\n*/*.svs,LMS,0.5\n[x].svs,UPS,\na/**/3.svs,UPS,\n" + f"{tmp_path}/a/[12].svs,LMS,\n"
    found = read_manifest(manifest(tmp_path, text))
    assert [(one.slide, str(one.path.relative_to(tmp_path)), one.label, one.row) for one in found] == [
        ("a-1", "a/1.svs", "LMS", 2),
        ("2", "a/2.svs", "LMS", 2),
        ("b-1", "b/1.svs", "LMS", 2),
        ("[x]", "[x].svs", "UPS", 3),
        ("3", "a/deep/3.svs", "UPS", 4),
        ("1", "a/1.svs", "LMS", 5),
        ("2", "a/2.svs", "LMS", 5),
    ]
    assert [one.mpp for one in found][:4] == [0.5, 0.5, 0.5, None]


def test_a_pattern_that_matches_nothing_stops_a_strict_reader(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"row 2: no file matches 'x/\*\.svs'; check the spelling"):
        read_manifest(manifest(tmp_path, "path\nx/*.svs\n"))


def test_a_slide_that_is_a_folder_goes_by_all_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "series.1").mkdir()
    assert read_manifest(manifest(tmp_path, "path\nseries.1\n"))[0].slide == "series.1"


word = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), blacklist_characters=";,"), max_size=6
)
slides = st.lists(
    st.builds(
        CohortSlide,
        slide=word.filter(bool),
        path=st.sampled_from([Path("/data/a b.svs"), Path("/data/[x]*.svs"), Path('/data/"q",;.svs')]),
        label=st.none() | word.filter(bool),
        patient=st.none() | word.filter(bool),
        batch=st.none() | word.filter(bool),
        components=st.lists(word.filter(bool), max_size=2).map(tuple),
        mpp=st.none() | st.floats(0.01, 99).map(Mpp),
        notes=word,
    ),
    min_size=1,
    max_size=5,
)


@given(slides)
def test_a_cohort_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, given_slides: list[CohortSlide]
) -> None:
    run = tmp_path_factory.mktemp("run")
    write_cohort(run, given_slides)
    found = read_cohort(run)
    assert [(one.slide, one.path, one.label, one.patient, one.batch) for one in found] == [
        (one.slide, one.path, one.label, one.patient, one.batch) for one in given_slides
    ]
    assert [(one.components, one.mpp, one.notes) for one in found] == [
        (one.components, one.mpp, one.notes) for one in given_slides
    ]


def test_a_run_folder_without_a_cohort(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="give a folder that sarcoscope tile, cohort split or cohort from-tiles"):
        read_cohort(tmp_path)


def test_paths_are_written_absolute_and_links_keep_their_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.svs").touch()
    (tmp_path / "link.svs").symlink_to(tmp_path / "real" / "a.svs")
    path = tmp_path / "real" / ".." / "link.svs"
    write_cohort(tmp_path, [CohortSlide(slide="a", path=path, label="A")])
    assert read_cohort(tmp_path)[0].path == tmp_path.resolve() / "link.svs"
