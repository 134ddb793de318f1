"""Published tables as people write them."""

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.published import read_published
from sarcoscope.metrics.audit import Printed, PrintedRow, audited

HEAD = "model,variant,A_true,A_false,A_acc_printed,overall_true,overall_false,overall_acc_printed"


def table(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        ([HEAD, "m,refined,5,7,41.67,5,7,41.67"], "utf-8"),
        ([HEAD, "m,refined,5,7,41.67 %,5,7,41.67%"], "utf-8-sig"),
        ([HEAD.replace(",", ";"), "m;refined;5;7;41,67;5;7;41,67 %"], "utf-8-sig"),
        (["sep=;", HEAD.replace(",", ";"), 'm;refined;5;7;"41,67";5;7;"41,67"'], "utf-8"),
        ([HEAD.replace(",", "\t"), "m\trefined\t5\t7\t41,67\t5\t7\t41.67"], "utf-8"),
        ([HEAD, 'm,refined,5,7,"41,67",5.0,7.,"41,67"'], "utf-8"),
        ([HEAD.upper(), " m , refined , 5 , 7 , 41.67 , 5 , 7 , 41.67 "], "utf-8"),
    ],
)
def test_one_table_in_many_hands(tmp_path: Path, lines: list[str], encoding: str) -> None:
    cell = Printed(right=5, wrong=7, accuracy=Decimal("41.67"))
    assert read_published(table(tmp_path / "t.csv", *lines, encoding=encoding)) == (
        PrintedRow(name="m refined", classes={"A": cell}, overall=cell),
    )


def test_missing_cells_are_missing_and_columns_may_be(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "model,A_true,A_false,A_acc_printed,B_acc_printed", "m,,-,n/a,50", ",3,0,100,")
    nothing = Printed(right=None, wrong=None, accuracy=None)
    assert read_published(path) == (
        PrintedRow(
            name="m",
            classes={"A": nothing, "B": Printed(right=None, wrong=None, accuracy=Decimal(50))},
            overall=None,
        ),
        PrintedRow(
            name="line 3", classes={"A": Printed(right=3, wrong=0, accuracy=Decimal(100)), "B": nothing}, overall=None
        ),
    )


@pytest.mark.parametrize(
    "lines",
    [
        ["class,one,two", "A,47.15,84.62", "overall,68.21,-"],
        ["class;one", "A;47,15 %"],
        ["model,variant,A_acc_printed", "m,original,50"],
    ],
)
def test_a_table_of_accuracies_alone_has_nothing_to_recompute(tmp_path: Path, lines: list[str]) -> None:
    assert read_published(table(tmp_path / "t.csv", *lines)) == ()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([""], "it holds no table; give columns model,variant,CLASS_true"),
        ([HEAD], "it holds no table"),
        ([HEAD, "m,refined,5,-7,41.67,5,7,41.67"], "line 2: A_false '-7' is no count; give whole numbers from 0"),
        ([HEAD, "m,refined,5.5,7,41.67,5,7,41.67"], "line 2: A_true '5.5' is no count"),
        ([HEAD, "m,refined,5,7,good,5,7,41.67"], "line 2: A_acc_printed 'good' is no percentage"),
        ([HEAD, "m,refined,5,7,41,67,5,7,41,67"], "line 2 has 10 cells, its heading 8; where numbers have decimal"),
        ([HEAD, "m,refined,5,7"], "line 2 has 4 cells, its heading 8"),
        ([HEAD + ",A_TRUE", "m,refined,5,7,41.67,5,7,41.67,5"], "column 'a_true' stands twice"),
        (["A_true,A_false,A_acc_printed", "5,7,41.67"], "it has no column model"),
        (["slide,path,label", "s,s.svs,LMS"], "it is no table of slides or of accuracies"),
        (["class,name", "LMS,leiomyosarcoma"], "line 2: name 'leiomyosarcoma' is no percentage"),
        (["class", "LMS"], "it is no table of slides or of accuracies"),
        ([HEAD, f"m,refined,{'9' * 5000},7,41.67,5,7,41.67"], "is no count"),
    ],
)
def test_what_is_no_such_table_is_told_in_one_line(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(ArtifactError) as told:
        read_published(table(tmp_path / "t.csv", *lines))
    assert str(told.value).startswith(str(tmp_path / "t.csv"))
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@given(st.lists(st.text(alphabet="model,variantABC_true_false_acc_printed0123456789.%;\t\n\r\"'- \x00", max_size=200)))
def test_whatever_a_file_holds_is_a_table_or_told(lines: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = table(Path(folder) / "t.csv", HEAD, *lines)
        try:
            audited(read_published(path))
        except ArtifactError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - either is right


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00model")
    for path, words in ((tmp_path / "t.csv", "UTF-8"), (tmp_path / "absent.csv", "no such file"), (tmp_path, "read")):
        with pytest.raises(ArtifactError, match=words):
            read_published(path)
