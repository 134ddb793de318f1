"""From slides to tiles to a reader to pictures without what was rejected, by the commands."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.slides_made import write_drawn
from tests.viewer.process import COMMAND, screening
from tests.viewer.test_server import Asking


def sarcoscope(*words: object) -> None:
    done = subprocess.run([COMMAND[0], *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tile_honours_what_a_reader_rejected(tmp_path: Path) -> None:
    write_drawn(tmp_path / "one.tiff", ["DDDD", "LLLL"])
    (tmp_path / "manifest.csv").write_text("slide,path,label\none,one.tiff,DDLPS\n", encoding="utf-8")
    run = tmp_path / "run"
    sarcoscope("tile", tmp_path / "manifest.csv", "--out", run, "--tile-px", 64, "--minimum-tissue", 0.1)
    with screening(run, "--reader", "anna") as page:
        ask = Asking(page)
        (slide,) = ask.get("/api/sheets?numbers=0")
        used = [row for row, dropped in enumerate(slide["columns"]["dropped"]) if dropped is None]
        assert len(used) >= 4
        assert all(ask.rgb(f"/api/sheets/0/tiles/{row}/small.jpg").shape == (128, 128, 3) for row in used)
        ask.post("/api/decisions", {"tiles": [[0, used[0]]], "verdict": "reject"})
    sarcoscope(
        "tile", tmp_path / "manifest.csv", "--out", run, "--tile-px", 64, "--minimum-tissue", 0.1, "--images", "png"
    )
    assert len(list((run / "images").rglob("*.png"))) == len(used) - 1


@pytest.mark.parametrize(
    "name", ["CMU-1-Small-Region.svs", "dicom_CMU-1-Small-Region", "cytomine_HE_flat_862x896.tiff"]
)
def test_real_slides_are_shown(tmp_path: Path, shared_slides: Path, name: str) -> None:
    path = shared_slides / name
    if not path.exists():
        pytest.skip(f"shared/data/slides/{name} is absent: not screened")
    (tmp_path / "manifest.csv").write_text(f"slide,path,label,mpp\nreal,{path},LMS,0.499\n", encoding="utf-8")
    run = tmp_path / "run"
    sarcoscope("tile", tmp_path / "manifest.csv", "--out", run, "--tile-px", 128, "--minimum-tissue", 0.1)
    with screening(run) as page:
        ask = Asking(page)
        (slide,) = ask.get("/api/sheets?numbers=0")
        assert slide["error"] is None
        used = [row for row, dropped in enumerate(slide["columns"]["dropped"]) if dropped is None]
        assert len(used) >= 4, json.dumps(slide["columns"]["dropped"])
        shown = [ask.rgb(f"/api/sheets/0/tiles/{row}/large.jpg") for row in used[:4]]
        assert all(one.std() > 10 for one in shown)
        height, width = ask.rgb("/api/sheets/0/overview.jpg").shape[:2]
        assert width / height == pytest.approx(slide["size"][0] / slide["size"][1], rel=0.01)
        assert ask.get(f"/api/sheets/0/like/{used[0]}")["rows"][0] == used[0]
