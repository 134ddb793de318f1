"""The command `screen`: what it prints, and how it is left."""

import json
import subprocess
from pathlib import Path

from sarcoscope.core.screening import Decision, Verdict
from sarcoscope.formats.screening import append_decisions
from tests.viewer.process import COMMAND


def screen(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)


def write(path: Path, reader: str, words: str) -> str:
    verdicts = {"r": Verdict.REJECT, "k": Verdict.KEEP}
    append_decisions(
        path, [Decision(slide="s", tile=f"{n}", verdict=verdicts[w], reader=reader) for n, w in enumerate(words)]
    )
    return str(path)


def test_merge_tells_each_reader_and_the_kappa(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.csv", "anna", "rrrrrkkkkk"), write(tmp_path / "b.csv", "ben", "rrrrkrrkkk")
    done = screen("merge", one, other, "--out", str(tmp_path / "m.csv"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "anna: 10 tiles decided, 5 rejected",
        "ben: 10 tiles decided, 6 rejected",
        "anna and ben: 10 tiles decided by both, 70.0 % the same, kappa 0.40 (95 % interval -0.16 to 0.96)",
        "by the rule any: 7 of 10 tiles rejected, 3 disputed",
    ]
    found = json.loads(screen("merge", one, other, "--out", str(tmp_path / "n.csv"), "--rule", "all", "--json").stdout)
    assert (found["rule"], found["rejected"], found["pairs"][0]["agreement"]["n"]) == ("all", 4, 10)


def test_merge_says_where_kappa_is_undefined(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.csv", "anna", "kkk"), write(tmp_path / "b.csv", "ben", "kkk")
    done = screen("merge", one, other, "--out", str(tmp_path / "m.csv"))
    assert "100.0 % the same, kappa undefined: both readers said keep of every tile" in done.stdout
    alone = screen("merge", one, "--out", str(tmp_path / "n.csv"))
    assert "one reader only: no kappa" in alone.stdout


def test_wrong_usage_is_one_line_and_code_2(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("slide,tile,decision\ns,t,perhaps\n", encoding="utf-8")
    one = write(tmp_path / "a.csv", "anna", "k")
    for words, said in (
        ([str(tmp_path), "--no-browser"], "holds no tiles"),
        (["open", str(tmp_path), "--no-browser", "--predictions", str(tmp_path / "none")], "there is no such folder"),
        (["merge", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "m.csv")], "line 2: decision 'perhaps'"),
        (["merge", one, "--out", str(tmp_path / "m.csv"), "--rule", "most"], "give one of any, all, first"),
    ):
        done = screen(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "m.csv").exists()


def test_help_names_both_commands() -> None:
    done = screen("--help")
    assert done.returncode == 0
    assert "open" in done.stdout
    assert "merge" in done.stdout
