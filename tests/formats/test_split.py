"""split.csv: written, edited by hand, read back with the line that is wrong."""

from pathlib import Path

import pytest

from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.split import add_to_record, read_repetitions, read_split, read_split_record, write_split
from sarcoscope.formats.tile_ids import read_tile_ids

SLIDES = [
    CohortSlide(slide="a", path=Path("a"), label="LMS", patient="P"),
    CohortSlide(slide="b", path=Path("b"), label="UPS", batch="2"),
]
CONFIG = {"config": {"ratios": [0.6, 0.2, 0.2], "seed": 4, "pooled": ["MPNST"]}}


def test_a_plain_split(tmp_path: Path) -> None:
    write_split(tmp_path, SLIDES, {"part": {"a": Part.TRAIN, "b": Part.TEST2}}, CONFIG)
    assert (tmp_path / "split.csv").read_text() == "slide,patient,label,batch,part\na,P,LMS,,train\nb,,UPS,2,test2\n"
    found = read_split(tmp_path)
    assert found.parts == {"a": Part.TRAIN, "b": Part.TEST2}
    assert (found.ratios, found.seed, found.pooled) == ((0.6, 0.2, 0.2), 4, ("MPNST",))
    add_to_record(tmp_path, "leakage", {"leaks": 0})
    assert read_split_record(tmp_path)["leakage"] == {"leaks": 0}
    assert read_split(tmp_path) == found


def test_repetitions_are_columns(tmp_path: Path) -> None:
    folds = {"fold1": {"a": Part.TEST, "b": Part.TRAIN}, "fold2": {"a": Part.TRAIN, "b": Part.TEST}}
    write_split(tmp_path, SLIDES, folds, CONFIG)
    assert read_repetitions(tmp_path) == folds
    assert read_split(tmp_path, "fold2").parts == folds["fold2"]
    with pytest.raises(ArtifactError, match="holds several repetitions; name one: fold1, fold2"):
        read_split(tmp_path)
    with pytest.raises(ArtifactError, match="no column 'fold3'; the repetitions are: fold1, fold2"):
        read_split(tmp_path, "fold3")


@pytest.mark.parametrize(
    "text",
    [
        "slide,part\na,train\nb,\n",
        "\ufeffslide;label;part\r\na;X;Train\r\nb;X;\r\n",
        "part,slide\n\n train , a \n,b\n",
        "slide,part,seen by\na,train,me\nb,,\n",
        "slide,notes,mine\na,good,train\nb,bad,\n",
    ],
)
def test_a_split_edited_by_hand(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.csv").write_bytes(text.encode())
    found = read_split(tmp_path)
    assert found.parts == {"a": Part.TRAIN}  # b is left out
    assert found.ratios == (0.7, 0.15, 0.15)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide,part\na,train\nb,tset\n", "line 3: 'tset' is no part; is test meant\\? parts are train, validation"),
        ("slide,part\na,train\n\na,test\n", "line 4: slide 'a' stands on line 2 too; keep one of them"),
        ("slide,part\n,train\n", "line 2: no slide"),
        ("name,part\na,train\n", "line 1: no column 'slide'"),
        ("slide,label\na,X\n", "line 1: no column of parts"),
        ("slide,part,part\na,train,test\n", "line 1: two columns of one name"),
        ("", "line 1: no column 'slide'"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(ArtifactError, match=words):
        read_split(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "other"}', '{"kind": "sarcoscope.split", "schema_version": 1}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.csv").write_text("slide,part\na,train\n")
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(ArtifactError, match="run sarcoscope cohort split again"):
        read_split(tmp_path)


def test_no_split_says_what_makes_one(tmp_path: Path) -> None:
    for read in (read_split, read_split_record):
        with pytest.raises(ArtifactError, match="run sarcoscope cohort split first"):
            read(tmp_path)
    (tmp_path / "split.csv").write_bytes(b"slide,part\n\xff,train\n")
    with pytest.raises(ArtifactError, match="give a CSV file in UTF-8"):
        read_split(tmp_path)


def test_ids_of_tiles(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_bytes("\ufefffile;slide;patient\r\n.\\A\\1.png;s1;p1\r\n2.png;s2;\r\n;;\r\n".encode())
    assert read_tile_ids(path) == {
        "A/1.png": {"slide": "s1", "patient": "p1", "batch": ""},
        "2.png": {"slide": "s2", "patient": "", "batch": ""},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"file,name\n", "no columns 'file' and 'slide' or 'patient'"),
        (b"file,slide\na,1\na,2\n", "line 3: a has other ids on an earlier line"),
        (b"\xff", "give a CSV file in UTF-8"),
    ],
)
def test_wrong_ids_of_tiles(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "ids.csv").write_bytes(text)
    with pytest.raises(ArtifactError, match=words):
        read_tile_ids(tmp_path / "ids.csv")
    with pytest.raises(ArtifactError, match="there is no such file"):
        read_tile_ids(tmp_path / "nix.csv")
