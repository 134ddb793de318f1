"""`sarcoscope tile` as a user runs it."""

import json
import os
import signal
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml

from sarcoscope.cli.tile_run import cut_config
from sarcoscope.core.cutting import CutConfig, Method, ScoreConfig
from sarcoscope.core.errors import InputError
from sarcoscope.formats.config import read_config
from sarcoscope.formats.tile_index import read_cohort_tiles
from tests.cli.test_commands import COMMAND, one_line_error, run
from tests.slides_made import write_drawn
from tests.stages.tile_cohorts import drawn_cohort, write_manifest

SMALL = ("--tile-px", 64, "--minimum-tissue", 0.4, "--workers", 1)
NOTHING: dict[str, object] = {}


def test_a_row_a_class_with_what_was_kept_and_why_not(tmp_path: Path) -> None:
    done = run("tile", drawn_cohort(tmp_path), "--out", tmp_path / "run", *SMALL)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("DDLPS")]
    assert "5 (5 - 5 a slide)" in row
    assert "1 blurred" in row
    assert read_cohort_tiles(tmp_path / "run").filter(pl.col("dropped").is_null()).height == 21
    again = run("tile", tmp_path / "manifest.csv", "--out", tmp_path / "run", *SMALL)
    assert "3 slides done by an earlier run" in again.stderr


def test_json_is_one_object(tmp_path: Path) -> None:
    drawn_cohort(tmp_path)
    (tmp_path / "bad.svs").write_text("words")
    rows = [{"slide": name, "path": f"{name}.svs", "label": "DDLPS"} for name in ("d1", "bad")]
    words = ("--images", "jxl", "--preview", "--json", *SMALL)
    done = run("tile", write_manifest(tmp_path, rows), "--out", tmp_path / "run", *words)
    assert done.returncode == 1
    value = json.loads(done.stdout)
    assert value["slides"]["d1"]["kept"] == {"0.5": 5}
    assert value["pictures"] == {"d1": 5}
    assert set(value["failed"]) == {"bad"}
    assert value["problems"][0]["row"] == 3
    assert value["exit_code"] == 1
    assert {path.name for path in (tmp_path / "run" / "preview").iterdir()} == {"d1_0.5um.png", "class-DDLPS_0.5um.png"}


def test_what_would_make_the_cohort_wrong_stops_it_before_any_work(tmp_path: Path) -> None:
    drawn_cohort(tmp_path)
    rows = [{"slide": f"s{number}", "path": "d1.svs", "label": "DDLPS"} for number in range(2)]
    done = run("tile", write_manifest(tmp_path, rows), "--out", tmp_path / "run", *SMALL)
    assert done.returncode == 2
    assert "row 3" in done.stderr
    assert "nothing was cut: settle these first" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_slide_of_an_unknown_class_is_left_out_and_named(tmp_path: Path) -> None:
    done = run("tile", drawn_cohort(tmp_path), "--out", tmp_path / "run", "--classes", "DDLPS,LMS,UPSS", *SMALL)
    assert done.returncode == 1
    assert "row 4" in done.stderr
    assert "UPSS" in done.stderr
    assert {path.stem for path in (tmp_path / "run" / "tiles").iterdir()} == {"d1", "l1"}


def test_a_slide_without_a_tile_is_told_of(tmp_path: Path) -> None:
    write_drawn(tmp_path / "a.svs", ["bbbb", "bbbb", "bbbb"])
    manifest = write_manifest(tmp_path, [{"slide": "a", "path": "a.svs", "label": "UPS"}])
    done = run("tile", manifest, "--out", tmp_path / "run", *SMALL)
    assert done.returncode == 0
    assert "warning: a: not one tile is kept: 12 blurred" in done.stderr


def test_the_config_that_is_printed_is_read_back(tmp_path: Path) -> None:
    printed = run("tile", "--print-config", "--mpp", "20x", "--mpp", 1, "--score-class", "WDLPS", "--per-region", 4)
    assert printed.returncode == 0, printed.stderr
    assert yaml.safe_load(printed.stdout)["mpp"] == [0.5, 1.0]
    (tmp_path / "tile.yaml").write_text(printed.stdout)
    config = read_config(tmp_path / "tile.yaml", CutConfig)
    assert config.method_for("WDLPS") is Method.SCORE
    assert config.score == ScoreConfig(top=None, per_region=4)
    (tmp_path / "small.yaml").write_text("tile_px: 64\nminimum_tissue: 0.4\n")
    done = run("tile", drawn_cohort(tmp_path), "--out", tmp_path / "run", "--config", tmp_path / "small.yaml", "--json")
    assert json.loads(done.stdout)["slides"]["d1"]["kept"] == {"0.5": 5}


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tile.yaml"
    file.write_text("overlap: 0.5\nscore: {top: 7}\nmethods: {WDLPS: score}\n")
    config = cut_config(file, {"overlap": 0.25}, {"minimum_nuclei": 900.0}, ["UPS"])
    assert config.overlap == 0.25
    assert config.score == ScoreConfig(top=7, minimum_nuclei=900.0)
    assert config.methods == {"WDLPS": Method.SCORE, "UPS": Method.SCORE}
    assert cut_config(None, NOTHING, {"minimum_nuclei": 900.0}, []).score.top is None
    assert cut_config(None, NOTHING, NOTHING, []) == CutConfig()
    file.write_text("tile_px: 256\n")
    assert cut_config(file, NOTHING, {"minimum_nuclei": 900.0}, []).score == ScoreConfig(minimum_nuclei=900.0)
    file.write_text("methods: {WDLPS: score}\n")
    assert cut_config(file, {"method": "grid"}, NOTHING, []).methods == {}
    assert cut_config(file, {"method": "grid"}, NOTHING, ["UPS"]).methods == {"UPS": Method.SCORE}
    with pytest.raises(InputError, match="layout 'spiral'"):
        cut_config(None, {"layout": "spiral"}, NOTHING, [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no manifest given"),
        (("no.csv",), "no.csv: there is no such file"),
        (("m.csv", "--mpp", "fast"), "scale 'fast'"),
        (("m.csv", "--overlap", 1), "overlap=1"),
        (("m.csv", "--method", "dots"), "method 'dots'; give grid or score"),
        (("m.csv", "--images", "bmp"), "pictures of kind 'bmp'; give one of png, jpeg, jxl"),
        (("m.csv", "--normalise", "magic"), "unknown way of evening out 'magic'"),
        (("m.csv", "--normalise", "even"), "there are no pictures to even out; add --images"),
        (("m.csv", "--config", "no.yaml"), "no.yaml: there is no such file"),
        (("m.csv", "--workers", -1), "workers=-1"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path: Path, words: tuple[object, ...], told: str) -> None:
    done = run("tile", *words, "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2
    assert told in one_line_error(done)
    assert not (tmp_path / "run").exists()


def test_interrupted_it_keeps_what_is_done(tmp_path: Path) -> None:
    for number in range(6):
        write_drawn(tmp_path / f"s{number}.svs", ["D" * 24] * 24, seed=number)
    rows = [{"slide": f"s{number}", "path": f"s{number}.svs", "label": "DDLPS"} for number in range(6)]
    words = ["tile", write_manifest(tmp_path, rows), "--out", tmp_path / "run", "--tile-px", 64, "--workers", 1]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen([COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True, env=environment) as process:
        while not list((tmp_path / "run").glob("tiles/*.parquet")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted: what was finished is kept" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "run").rglob(".*part*"))
    assert json.loads((tmp_path / "run" / "tiles.json").read_text())["complete"] is False
    assert run(*words).returncode == 0
    assert len(list((tmp_path / "run" / "tiles").iterdir())) == 6
