"""`sarcoscope cohort` as a user runs it: real processes, exit codes, stdout and stderr."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cohorts_made import tissue, write_tile, write_tiles
from tests.slides_made import write_drawn

COMMAND = Path(sys.executable).with_name("sarcoscope")


def run(*words: object, columns: int = 100, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [COMMAND, "cohort", *map(str, words)], capture_output=True, text=True, check=False, env=environment, cwd=cwd
    )


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder of two classes, two slides each."""
    for number, name in enumerate(("LMS/a", "LMS/b", "UPS/c", "UPS/d")):
        write_drawn(tmp_path / "slides" / f"{name}.svs", [["DU", "UW", "WL", "LD"][number]] * 2)
    return tmp_path / "slides"


def test_from_a_folder_of_slides_to_a_split(slides: Path, tmp_path: Path) -> None:
    done = run("scan", slides, "--out", "m.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["4 slides: 4 aperio", "0 other files were passed over"]
    done = run("check", tmp_path / "m.csv", "--classes", "LMS,UPS")
    assert (done.returncode, done.stdout) == (0, "4 of 4 slides can be used: 2 LMS, 2 UPS\n")
    done = run("split", tmp_path / "m.csv", "--out", tmp_path / "run", "--test1", "LMS=1")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[:4]] == [
        ["slides"],
        ["class", "train", "validation", "test1"],
        ["LMS", "1", "-", "1"],
        ["UPS", "1", "1", "-"],
    ]
    assert "warning: LMS has no slide to validate on" in done.stderr
    assert "warning: UPS has no slide to test on" in done.stderr
    assert (tmp_path / "run" / "split.csv").read_text().count("\n") == 5


def test_a_draft_is_not_overwritten(slides: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("mine")
    done = run("scan", slides, "--out", tmp_path / "m.csv")
    assert done.returncode == 2
    assert "m.csv: is there already; choose another --out, or replace it with --force" in done.stderr
    assert (tmp_path / "m.csv").read_text() == "mine"
    done = run("scan", slides, "--out", tmp_path / "m.csv", "--force", "--json")
    value = json.loads(done.stdout)
    assert (value["slides"], value["labelled"], value["vendors"]) == (4, 4, {"aperio": 4})


@pytest.fixture
def wrong(slides: Path, tmp_path: Path) -> Path:
    """A manifest with problems of every severity."""
    path = tmp_path / "m.csv"
    rows = [
        "slide,path,label,patient,batsh",
        f"a,{slides}/LMS/a.svs,LMS,P,",
        f"a,{slides}/LMS/b.svs,LMS,,",
        f"c,{slides}/UPS/c.svs,UPSS,,",
        "d,a rather long name of a slide that is not where the manifest says it is.svs,UPS,,",
        "e\x1b[2Jvil,nix.svs,UPS,,",
    ]
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("columns", [80, 120])
def test_all_problems_are_in_one_report(wrong: Path, columns: int) -> None:
    done = run("check", wrong, "--classes", "LMS,UPS", columns=columns)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert "1 x the whole cohort is wrong before these are settled" in lines
    assert "3 x these slides cannot be used" in lines
    assert "2 x worth a look" in lines
    assert lines[-1] == "1 of 5 slides can be used: 1 LMS"
    for word in ("'UPSS'", "'UPS'", "meant?"):
        assert word in done.stdout


def test_check_json_is_one_object(wrong: Path, tmp_path: Path) -> None:
    done = run("check", wrong, "--classes", "LMS,UPS", "--json")
    value = json.loads(done.stdout)
    assert done.returncode == value["exit_code"] == 1
    assert value["stops"] is True
    assert [(one["row"], one["kind"], one["severity"]) for one in value["problems"]] == [
        (0, "some_patients", "warning"),
        (1, "unknown_column", "warning"),
        (3, "duplicate_slide", "cohort"),
        (4, "unknown_class", "slide"),
        (5, "missing_file", "slide"),
        (6, "missing_file", "slide"),
    ]
    (tmp_path / "gone.csv").write_text("slide,path,label\na,nix.svs,LMS\n")
    assert run("check", tmp_path / "gone.csv").returncode == 2
    done = run("check", tmp_path / "nix.csv", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["kind"] == "ArtifactError"


def test_from_tiles_to_a_split_that_leaks(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=6)
    (folder / "B" / "broken.png").write_text("words")
    (folder / "B" / "notes.txt").write_text("words")
    done = run("from-tiles", folder, "--out", tmp_path / "run", "--mpp", 0.5)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "12 tiles at 0.5 um/px of 12 slides, no patient ids",
        "classes: 6 A, 6 B",
        "sizes: 12 96x96",
        "no slide ids for 12 tiles: tiles of one slide may part",
    ]
    assert "error: B/broken.png: not a slide: it looks like text" in done.stderr
    assert "warning: no tile: B/notes.txt" in done.stderr
    done = run("split", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "no slide ids: tiles of one slide may part" in done.stdout
    assert "no leakage: nothing that belongs together stands in two parts" in done.stdout

    (folder / "B" / "broken.png").unlink()
    write_tile(folder / "A" / "copy.jpg", tissue(0))
    done = run("from-tiles", folder, "--out", tmp_path / "run", "--mpp", 0.5)
    assert done.returncode == 2
    assert "split.csv: is of other slides, patients, labels or batches than these tiles; move it away" in done.stderr
    assert run("from-tiles", folder, "--out", tmp_path / "run", "--mpp", 0.5, "--force").returncode == 0
    assert run("split", tmp_path / "run", "--seed", 1).returncode in {0, 1}
    path = tmp_path / "run" / "split.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("A_copy", "A_sA0_0"))]
    path.write_text("\n".join([*lines, "A_copy.jpg,,A,,train", "A_sA0_0.png,,A,,test", ""]))
    done = run("leakage", tmp_path / "run")
    assert done.returncode == 1
    assert "error: LEAKAGE, 1 pairs in two parts: 1 by tile" in done.stderr
    assert "A/copy.jpg" in done.stdout
    assert "A/sA0_0.png" in done.stdout
    value = json.loads(run("leakage", tmp_path / "run", "--json").stdout)
    (leak,) = value["leaks"]
    assert {leak["tile"], leak["other_tile"]} == {"A/copy.jpg", "A/sA0_0.png"}
    assert value["exit_code"] == 1


def test_split_json_says_how_it_was_dealt(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=6)
    run("from-tiles", folder, "--out", tmp_path / "run", "--mpp", 0.5, "--no-nuclei", "--slide-regex", "^(s..)_")
    done = run("split", tmp_path / "run", "--folds", 3, "--pooled", "B", "--json")
    value = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert list(value["counts"]) == ["fold1", "fold2", "fold3"]
    assert value["config"]["pooled"] == ["B"]
    assert value["leakage"]["pooled_tiles"] == 6
    assert any("optimistic" in warning for warning in value["warnings"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ratios", "a,b"), "ratios 'a,b' are no numbers; e.g. --ratios 0.7,0.15,0.15"),
        (("--ratios", "0.5,0.5"), "give train, validation, test"),
        (("--test1", "LMS=x"), "--test1 'LMS=x' is neither a share nor counts"),
        (("--test1", "2"), "give a share below 1"),
        (
            ("--test1", "NIX=2"),
            "no slide is of class 'NIX'; leave it out of the numbers of test set 1; the classes are LMS, UPS",
        ),
        (("--test2", "b9"), "no slide is of batch 'b9'"),
        (("--folds", "2"), "give at least 3"),
        (("--pooled", "NIX"), "no slide is of class 'NIX'"),
    ],
)
def test_wrong_usage_is_one_line(slides: Path, tmp_path: Path, words: tuple[str, str], said: str) -> None:
    (tmp_path / "m.csv").write_text(f"slide,path,label\na,{slides}/LMS/a.svs,LMS\nb,{slides}/UPS/c.svs,UPS\n")
    done = run("split", tmp_path / "m.csv", "--out", tmp_path / "run", *words)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said in line
    assert not (tmp_path / "run").exists()


def test_test_set_2_can_be_none(tmp_path: Path) -> None:
    rows = [f"s{row},s{row}.svs,LMS,b{row % 2}" for row in range(12)]
    (tmp_path / "m.csv").write_text("\n".join(["slide,path,label,batch", *rows]))
    done = run("split", tmp_path / "m.csv", "--out", tmp_path / "run", "--test2", "none", "--test1", "0")
    assert done.returncode == 0, done.stderr
    assert "test2" not in done.stdout
    done = run("split", tmp_path / "m.csv", "--out", tmp_path / "other")
    assert "test set 2 is batch b1, the second of two" in done.stdout


def test_help_names_every_command() -> None:
    done = run("--help")
    for name in ("scan", "check", "from-tiles", "split", "leakage"):
        assert name in done.stdout
        assert run(name, "--help").returncode == 0


def reads_below(pid: int, folder: Path) -> bool:
    """Whether a process has a file of a folder open."""
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):  # closed meanwhile
            if str(link.readlink()).startswith(f"{folder}/"):
                return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what a process reads")
def test_interrupted_from_tiles_has_changed_nothing_and_says_so(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", per_class=20)
    for number in range(600):
        shutil.copy(folder / "A" / "sA0_0.png", folder / "A" / f"more{number}.png")
    words = ["cohort", "from-tiles", str(folder), "--out", str(tmp_path / "run"), "--mpp", "0.5"]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    with subprocess.Popen([COMMAND, *words], stderr=subprocess.PIPE, text=True, env=environment) as process:
        while not reads_below(process.pid, folder):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted: nothing was finished; run the same command again" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
