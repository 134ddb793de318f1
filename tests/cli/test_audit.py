"""`sarcoscope audit` as a user runs it: real processes, the paper's own tables, exit codes, stdout and stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("sarcoscope")
HEAD = "model,variant,A_true,A_false,A_acc_printed,overall_true,overall_false,overall_acc_printed"
GOOD = f"{HEAD}\nm,refined,5,7,41.67,5,7,41.67\n"
BAD = GOOD.replace("5,7,41.67,5", "5,7,55.56,5")


def run(*words: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "60", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [COMMAND, "audit", *map(str, words)], capture_output=True, text=True, check=False, env=environment, cwd=cwd
    )


@pytest.fixture(scope="module")
def paper() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "paper"
    if not folder.is_dir():
        pytest.skip("shared/paper is absent: the paper's tables not audited")
    return folder


def test_the_papers_tables_have_exactly_the_five_misprints_of_the_protocol(paper: Path) -> None:
    done = run("table2_slides_test1.csv", "table3_slides_test2.csv", cwd=paper)
    assert done.returncode == 1
    test1, test2 = "table2_slides_test1.csv", "table3_slides_test2.csv"
    assert done.stdout.splitlines() == [
        f"{test1}: Ensemble original: overall_true/overall_false: printed 41/16, recomputed 43/14",
        f"{test2}: Ensemble original: DDLPS_acc_printed: printed 55.56, recomputed 41.67",
        f"{test2}: Ensemble refined: overall_true/overall_false: printed 30/12, recomputed 31/11",
        f"{test2}: Ensemble refined: overall_acc_printed: printed 73.81, recomputed 71.43",
        f"{test2}: MultiV1 refined: DDLPS_acc_printed: printed 58.33, recomputed 66.67",
    ]
    assert done.stderr.splitlines() == [
        f"{test1}: 8 rows, 48 cells recomputed, 1 of them wrong",
        f"{test2}: 8 rows, 48 cells recomputed, 4 of them wrong",
    ]


def test_the_papers_tables_as_json(paper: Path) -> None:
    done = run(*sorted(paper.glob("table*.csv")), "--json")
    value = json.loads(done.stdout)
    assert done.returncode == value["exit_code"] == 1
    assert [(Path(one["table"]).stem, one["rows"], one["checked"]) for one in value["tables"]] == [
        ("table1_patch_accuracy", 0, 0),
        ("table2_slides_test1", 8, 48),
        ("table3_slides_test2", 8, 48),
    ]
    assert {frozenset(one) for one in value["findings"]} == {
        frozenset(("table", "row", "cell", "printed", "recomputed"))
    }
    assert [one["row"] for one in value["findings"]] == [
        "Ensemble original",
        "Ensemble original",
        "Ensemble refined",
        "Ensemble refined",
        "MultiV1 refined",
    ]


def test_a_table_of_accuracies_alone_is_said_to_have_nothing_to_recompute(paper: Path) -> None:
    done = run("table1_patch_accuracy.csv", cwd=paper)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "table1_patch_accuracy.csv: no counts, so nothing to recompute\n"


def test_a_table_that_agrees_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(GOOD)
    done = run("t.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "t.csv: 1 row, 3 cells recomputed, none of them wrong\n"


def test_a_table_that_cannot_be_read_keeps_no_other_from_being_audited(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(BAD)
    (tmp_path / "wrong.csv").write_text("slide,path\ns,s.svs\n")
    done = run("wrong.csv", "bad.csv", "absent.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == "bad.csv: m refined: A_acc_printed: printed 55.56, recomputed 41.67\n"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert errors[0].startswith("error: wrong.csv: it is no table of slides or of accuracies; give columns model,")
    assert errors[1].startswith("error: absent.csv: there is no such file; ")
    value = json.loads(run("wrong.csv", "bad.csv", "--json", cwd=tmp_path).stdout)
    assert (value["exit_code"], len(value["findings"])) == (2, 1)
    assert [one["table"] for one in value["errors"]] == ["wrong.csv"]


def test_what_a_table_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(BAD.replace("\nm,", "\n\x1b[2Jm [bold],"))
    done = run("t.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "m [bold] refined" in done.stdout
    assert done.stdout.count("\n") == 1


def test_no_table_is_wrong_usage() -> None:
    assert run().returncode == 2
