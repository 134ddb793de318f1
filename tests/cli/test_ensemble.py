"""`sarcoscope ensemble` on the command line, in processes of its own."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sarcoscope.cli.main import app
from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.formats.bundle import find_bundle
from tests.cli.test_commands import run
from tests.members_made import made_member
from tests.stages.test_ensemble_search import even, odd, validation_run, with_members


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two members that make up for each other."""
    home = validation_run(tmp_path_factory.mktemp("ranked"))
    with_members(home, a=even, b=odd)
    return home


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two members of the paper's classes whose graphs can be asked."""
    home = validation_run(tmp_path_factory.mktemp("coloured"))
    for name in ("one", "other"):
        made_member(home, name, blind_to=("LMS",) if name == "other" else ())
    return home


def test_a_search_says_what_is_luck_and_what_comes_next(ranked: Path) -> None:
    done = run("ensemble", "search", ranked, "--draws", 100, "--name", "s")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "synthetic phantom slides: of no clinical meaning" in done.stdout
    assert "3 combinations on 96 validation tiles of 24 slides; 95 % intervals draw 24 slides anew" in lines
    assert "a + b is better than every other by more than the draws of these slides explain" in lines
    assert any("a + b" in line and "1.000" in line for line in lines)
    assert any("0.500 (0.500 to 0.500)" in line and line.rstrip().endswith("no") for line in lines), done.stdout
    (after,) = [line.removeprefix("next: ") for line in lines if line.startswith("next: ")]
    words = shlex.split(after)
    assert words[:5] == ["sarcoscope", "ensemble", "make", str(ranked / "members" / "a"), str(ranked / "members" / "b")]
    assert lines[-1].endswith("no test set was read. Research use only, not a medical device.")
    assert {path.name for path in (ranked / "ensembles").iterdir()} == {"s.json", "s.csv"}


def test_a_search_of_a_single_combination_compares_nothing(ranked: Path) -> None:
    done = run("ensemble", "search", ranked, ranked / "members" / "a", "--draws", 20, "--name", "alone")
    assert done.returncode == 0, done.stderr
    assert "a is the only combination: there is none to compare it with" in done.stdout.splitlines()
    for file in (ranked / "ensembles").glob("alone.*"):
        file.unlink()


def test_a_search_for_programs(ranked: Path) -> None:
    done = run("ensemble", "search", ranked, "--draws", 100, "--rule", "vote", "--metric", "tile_accuracy", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rule"], found["metric"], found["part"], found["exit_code"]) == (
        "vote",
        "tile_accuracy",
        "validation",
        0,
    )
    assert found["ranked"][0]["members"] == ["a", "b"]  # a tie of votes goes to the surer member, who is right
    assert found["smallest_level"] == ["a", "b"]
    assert Path(found["file"]).is_file()
    assert "synthetic" in found["notice"]


def test_the_papers_rules_become_those_of_a_bundle(coloured: Path, tmp_path: Path) -> None:
    printed = run("ensemble", "rules")
    assert printed.returncode == 0
    (tmp_path / "rules.yaml").write_text(printed.stdout)
    assert "# Share of kept tiles from which on a class counts as seen" in printed.stdout
    members = [coloured / "members" / name for name in ("one", "other")]
    done = run(
        "ensemble", "make", *members, "--out", tmp_path / "b", "--rules", tmp_path / "rules.yaml", "--rule", "product",
        "--class-name", "UPS=undifferentiated", "--not-for", "Not for use.",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = find_bundle(str(tmp_path / "b")).manifest
    assert manifest.rules == PAPER_RULES
    assert manifest.fusion.rule == "product"
    assert {one.code: one.name for one in manifest.classes}["UPS"] == "undifferentiated"
    lines = done.stdout.splitlines()
    assert lines[0] == "fused: one, other, by product, all on validation"
    assert (
        "no regression: validation slides: none; two classes are needed, and two slides of each that has any" in lines
    )
    assert f"bundle: {tmp_path / 'b'}; next: sarcoscope diagnose SLIDES --bundle {tmp_path / 'b'}" in lines
    assert "Not for use." in lines[-1]


def test_a_slide_that_cannot_be_read_is_named_and_the_others_go_on(coloured: Path, tmp_path: Path) -> None:
    shutil.copytree(coloured.parent / "tiles", tmp_path / "kept")
    home = validation_run(tmp_path)
    made_member(home, "m")
    (tmp_path / "tiles" / "UPS" / "u3_2.png").write_bytes(b"no picture")
    done = run("ensemble", "make", home / "members" / "m", "--out", tmp_path / "b", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert list(found["failures"]) == found["fitted"]["left_out"] == ["u3"]
    assert found["exit_code"] == 1
    assert find_bundle(str(tmp_path / "b")).sha256 == found["sha256"]
    assert found["members"] == ["m"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["search", "RUN", "--metric", "kappa"], "unknown metric 'kappa' of tiles; give one of tile_balanced"),
        (["search", "nix"], "no trained member in nix"),
        (["search", "RUN", "--top", "0"], "--top"),
        (["make", "RUN/members/one", "--out", "b", "--rules", "nix.yaml"], "nix.yaml: there is no such file"),
        (["make", "RUN/members/one", "--out", "b", "--class-name", "UPS"], "--class-name UPS; give CODE=WORDS"),
        (["make", "RUN/members/one", "--out", "b", "--scale", "one=x"], "--scale one=x; give MEMBER=UM_PER_PX"),
        (["make", "RUN/members/one", "--out", "RUN"], "is there already; give another --out"),
        (["make", "nix", "--out", "b"], "nix lies in no run folder; give --run"),
        (["make", "RUN/members/one", "--out", "b", "--mode", "concentric", "--anchor", "0.01"], "0.01 um/px"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    coloured: Path, tmp_path: Path, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["ensemble", *(word.replace("RUN", str(coloured)) for word in words)])
    assert done.exit_code == 2
    assert told in done.output.replace("\n", " ")
    assert not (tmp_path / "b").exists()
