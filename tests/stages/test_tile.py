"""A cohort to tiles: what is written, what is done again and what is not, and what is left when it is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import polars as pl
import pytest
from typing_extensions import override

from sarcoscope.cli.tile_run import table
from sarcoscope.core.cutting import Method, ScoreConfig
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.tile_index import empty_index, read_cohort_tiles, read_index, read_record, write_index
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.cohort_split import SplitAsk, split_run
from sarcoscope.stages.tile import Silence, TileConfig, TileSummary, tile
from tests.slides_made import write_drawn
from tests.stages.test_convert import wait_until_gone
from tests.stages.tile_cohorts import CUT, drawn_cohort, nuclei_slide, write_manifest


class Heard(Silence):
    def __init__(self) -> None:
        self.words: list[str] = []

    @override
    def told(self, words: str) -> None:
        self.words.append(words)


def cut(manifest: Path, out: Path, listener: Silence | None = None, **values: Any) -> TileSummary:
    asked: dict[str, Any] = {"out": out, "cut": CUT, "workers": 1} | values
    config = TileConfig(**asked)
    return tile(manifest, config, listener)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, but the record of the last run with its times, and lock files; of a PNG its px.

    ISA-L promises the same px, not the same bytes for it.
    """
    return {
        str(path.relative_to(folder)): imagecodecs.png_decode(content).tobytes() if path.suffix == ".png" else content
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "tiles.json" and not path.name.endswith(".lock")
        for content in [path.read_bytes()]
    }


def kept(frame: pl.DataFrame) -> set[tuple[int, int]]:
    return {(row["row"], row["column"]) for row in frame.filter(pl.col("dropped").is_null()).iter_rows(named=True)}


def test_each_slide_gets_an_index_of_all_its_tiles(tmp_path: Path) -> None:
    summary = cut(drawn_cohort(tmp_path), tmp_path / "run")
    assert summary.exit_code == 0
    frame = read_index(tmp_path / "run" / "tiles" / "d1.parquet")
    assert frame.height == 16
    assert kept(frame) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}
    by_place = {(row["row"], row["column"]): row for row in frame.iter_rows(named=True)}
    assert by_place[1, 2]["dropped"] == "blurred"
    assert by_place[2, 3]["dropped"] == "blank"
    one = by_place[1, 1]
    assert (one["slide"], one["tile"], one["label"], one["mpp"]) == ("d1", "r1_c1_0.5um", "DDLPS", 0.5)
    assert (one["left_l0"], one["top_l0"], one["width_l0"], one["height_l0"]) == (128, 128, 128, 128)
    assert one["sharpness"] > 50
    assert one["phash"] is not None
    assert by_place[2, 3]["sharpness"] is None
    record = read_record(tmp_path / "run" / "tiles" / "d1.parquet")
    assert record["path"] == str(tmp_path / "d1.svs")
    assert (record["size_l0"], record["mpp"], record["kind"]) == ([512, 512], 0.25, "slide")
    assert summary.indexed["d1"].kept == {"0.5": 5}
    assert read_cohort_tiles(tmp_path / "run")["slide"].n_unique() == 3
    assert [one.slide for one in read_cohort(tmp_path / "run")] == ["d1", "l1", "u1"]
    run = json.loads((tmp_path / "run" / "tiles.json").read_text())
    assert run["complete"] is True
    assert run["slides"]["u1"]["kept"] == {"0.5": 10}


def test_what_is_done_is_skipped_until_its_inputs_change(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out)
    before = contents(out)
    again = cut(manifest, out)
    assert all(one.skipped for one in again.indexed.values())
    assert contents(out) == before
    assert not any(one.skipped for one in cut(manifest, out, force=True).indexed.values())
    assert contents(out) == before

    def redone(**values: Any) -> set[str]:
        return {slide for slide, one in cut(manifest, out, **values).indexed.items() if not one.skipped}

    assert redone(cut=replace(CUT, minimum_tissue=0.5)) == {"d1", "l1", "u1"}
    assert redone() == {"d1", "l1", "u1"}
    assert redone(cut=replace(CUT, methods={"UPS": Method.SCORE})) == {"u1"}
    assert redone() == {"u1"}
    write_drawn(tmp_path / "l1.svs", ["LLLL", "LLLL", "....", "...."])
    assert redone() == {"l1"}
    manifest.write_text(manifest.read_text().replace("l1.svs,LMS", "l1.svs,UPS"))
    assert redone() == {"l1"}
    assert set(read_index(out / "tiles" / "l1.parquet")["label"]) == {"UPS"}
    (out / "tiles" / "d1.parquet").write_bytes(b"PAR1 not")
    assert redone() == {"d1"}


def test_threads_and_processes_make_no_difference(tmp_path: Path) -> None:
    manifest = drawn_cohort(tmp_path, 2)
    for workers in (1, 2, 3):
        assert cut(manifest, tmp_path / f"run{workers}", workers=workers, images="png").exit_code == 0
    assert contents(tmp_path / "run1") == contents(tmp_path / "run2") == contents(tmp_path / "run3")
    one = write_manifest(tmp_path, [{"slide": "u1", "path": "u1.svs", "label": "UPS"}])
    cut(one, tmp_path / "alone", workers=4)  # threads of this process
    name = "tiles/u1.parquet"
    assert contents(tmp_path / "alone")[name] == contents(tmp_path / "run1")[name]


def test_a_slide_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    drawn_cohort(tmp_path)
    (tmp_path / "bad.svs").write_bytes((tmp_path / "d1.svs").read_bytes()[:3000])
    write_drawn(tmp_path / "glass.svs", ["....", "...."])
    write_drawn(tmp_path / "coarse.svs", ["DDDD", "DDDD"], mpp=1.0, power=None)
    rows = [
        {"slide": name, "path": f"{name}.svs", "label": "DDLPS"} for name in ("bad", "d1", "glass", "coarse", "none")
    ]
    heard = Heard()
    summary = cut(write_manifest(tmp_path, rows), tmp_path / "run", heard, workers=2)
    assert summary.exit_code == 1
    assert set(summary.indexed) == {"d1"}
    assert set(summary.failures) == {"bad", "glass", "coarse", "none"}
    assert "no tissue found" in summary.failures["glass"]
    assert "coarser than the 0.5 um/px asked for" in summary.failures["coarse"]
    for name in summary.failures:
        (line,) = [words for words in heard.words if f"{name}.svs" in words or f"{name}: " in words]
        assert "\n" not in line
        assert not (tmp_path / "run" / "tiles" / f"{name}.parquet").exists()
    assert json.loads((tmp_path / "run" / "tiles.json").read_text())["failed"].keys() == summary.failures.keys()


def test_a_slide_that_begins_to_fail_leaves_no_old_index(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out)
    write_drawn(tmp_path / "d1.svs", ["....", "...."])
    summary = cut(manifest, out)
    assert set(summary.failures) == {"d1"}
    assert not (out / "tiles" / "d1.parquet").exists()


def test_a_cohort_that_cannot_be_trusted_is_not_cut(tmp_path: Path) -> None:
    drawn_cohort(tmp_path)
    rows = [
        {"slide": "d1", "path": "d1.svs", "label": "DDLPS", "patient": "p"},
        {"slide": "l1", "path": "l1.svs", "label": "LMS", "patient": "p"},
    ]
    summary = cut(write_manifest(tmp_path, rows), tmp_path / "run")
    assert summary.report.stops
    assert summary.exit_code == 2
    assert not (tmp_path / "run").exists()
    assert cut(tmp_path / "manifest.csv", tmp_path / "run", mixed_patients=True).exit_code == 0


def test_slides_that_leave_the_manifest_take_their_tiles_along(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out, images="png")
    assert list((out / "images").glob("LMS/*"))
    manifest.write_text("".join(line for line in manifest.read_text().splitlines(True) if not line.startswith("l1")))
    heard = Heard()
    cut(manifest, out, heard, images="png")
    assert any("l1: no longer in the manifest" in words for words in heard.words)
    assert [path.name for path in sorted((out / "tiles").iterdir())] == ["d1.parquet", "u1.parquet"]
    assert not list((out / "images").glob("LMS/*"))
    assert list((out / "images").glob("UPS/*"))


def test_pictures_hold_the_slides_px_and_say_where_they_are_from(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    for kind, decode in (("png", imagecodecs.png_decode), ("jxl", imagecodecs.jpegxl_decode)):
        cut(manifest, out, images=kind)
        files = sorted(path for path in (out / "images").rglob("*") if path.suffix == f".{kind}")
        assert len(files) == 5 + 6 + 10
        assert f"DDLPS__d1__r1_c0__x0_y128__0.5um.{kind}" in {path.name for path in files}
        assert {path.parent.name for path in files} == {"DDLPS", "LMS", "UPS"}
        with open_slide(tmp_path / "d1.svs") as source:
            expected = source.read(Box(0, 128, 128, 128), Size(64, 64))
        found = decode((out / "images" / "DDLPS" / f"DDLPS__d1__r1_c0__x0_y128__0.5um.{kind}").read_bytes())
        np.testing.assert_array_equal(found, expected)
    assert not list((out / "images").rglob("*.png"))  # those of the kind before are gone


def test_pictures_of_several_scales_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    cut(drawn_cohort(tmp_path), tmp_path / "run", cut=replace(CUT, mpp=(Mpp(1.0), Mpp(0.5))), images="jpeg")
    folders = {str(path.parent.relative_to(tmp_path / "run" / "images")) for path in tmp_path.rglob("*.jpg")}
    assert folders == {f"{mpp}um/{label}" for mpp in ("1", "0.5") for label in ("DDLPS", "LMS", "UPS")}


def test_what_readers_rejected_is_no_picture(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out, images="png")
    index = (out / "tiles" / "d1.parquet").read_bytes()
    (out / "screening.csv").write_text("slide,tile,decision\nd1,r0_c1_0.5um,reject\nl1,r0_c1_0.5um,keep\n")
    summary = cut(manifest, out, images="png")
    assert {slide: (one.written, one.skipped) for slide, one in summary.pictures.items()} == {
        "d1": (4, False),
        "l1": (6, True),
        "u1": (10, True),
    }
    assert not list((out / "images").rglob("DDLPS__d1__r0_c1__*"))
    assert (out / "tiles" / "d1.parquet").read_bytes() == index
    (out / "screening.csv").unlink()
    cut(manifest, out, images="png")
    assert list((out / "images").rglob("DDLPS__d1__r0_c1__*"))


def test_decisions_about_what_lay_elsewhere_do_not_count(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out)
    lines = ["d1,r0_c1_0.5um,128,0,reject", "d1,r1_c0_0.5um,0,100,reject", "d1,r9_c9_0.5um,,,reject"]
    (out / "screening.csv").write_text("\n".join(["slide,tile,left_l0,top_l0,decision", *lines]))
    heard = Heard()
    assert cut(manifest, out, heard, images="png").pictures["d1"].written == 4
    (line,) = [words for words in heard.words if "screening.csv" in words]
    assert "2 decisions are about tiles that are gone or lie elsewhere since" in line


def test_a_picture_that_somebody_removed_is_written_again(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out, images="png")
    before = contents(out)
    next((out / "images" / "UPS").iterdir()).unlink()
    cut(manifest, out, images="png")
    assert contents(out) == before


def test_by_score_the_densest_tiles_of_the_classes_asked_for(tmp_path: Path) -> None:
    for name in ("w", "d"):
        nuclei_slide(tmp_path / f"{name}.svs", [[2, 40, 9, -1], [20, 0, 60, -1]])
    rows = [{"slide": n, "path": f"{n}.svs", "label": label} for n, label in (("w", "WDLPS"), ("d", "DDLPS"))]
    with (tmp_path / "d.svs").open("ab") as file:
        file.write(b"another slide")  # else it would be the same one twice
    by_score = replace(CUT, tile_px=256, methods={"WDLPS": Method.SCORE}, score=ScoreConfig(top=3))
    cut(write_manifest(tmp_path, rows), tmp_path / "run", cut=by_score)
    frames = {name: read_index(tmp_path / "run" / "tiles" / f"{name}.parquet") for name in "wd"}
    assert kept(frames["w"]) == {(0, 1), (1, 0), (1, 2)}
    assert kept(frames["d"]) == {(row, column) for row in range(2) for column in range(3)}
    assert set(frames["w"]["dropped"].drop_nulls()) == {"little_tissue", "not_selected"}
    per_mm2 = {(r["row"], r["column"]): r["nuclei"] for r in frames["w"].iter_rows(named=True)}
    area = (512 * 0.25 / 1000) ** 2
    assert per_mm2[1, 2] * area == pytest.approx(60, rel=0.15)
    assert per_mm2[0, 1] * area == pytest.approx(40, rel=0.15)
    assert per_mm2[1, 1] * area <= 1


def test_without_a_split_nothing_is_evened_out(tmp_path: Path) -> None:
    manifest = drawn_cohort(tmp_path)
    with pytest.raises(ArtifactError, match="run sarcoscope cohort split first"):
        cut(manifest, tmp_path / "run", images="png", normalise="even")
    with pytest.raises(InputError, match="unknown way of evening out 'magic'"):
        cut(manifest, tmp_path / "run", images="png", normalise="magic")


def test_slides_are_evened_out_towards_the_training_slides_alone(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out, images="png")
    plain = contents(out / "images")
    parts = {"d1": "test", "l1": "train", "u1": "validation"}
    (out / "split.csv").write_text("slide,part\n" + "".join(f"{slide},{part}\n" for slide, part in parts.items()))
    cut(manifest, out, images="png", normalise="even")
    target = json.loads((out / "appearance.json").read_text())
    assert target["record"]["slides"] == ["l1"]
    evened = contents(out / "images")
    assert evened.keys() == plain.keys()

    def brightness(found: dict[str, bytes], label: str) -> float:
        return float(
            np.mean([np.frombuffer(px, np.uint8).mean() for name, px in found.items() if f"{label}__" in name])
        )

    assert abs(brightness(evened, "LMS") - brightness(plain, "LMS")) < 1
    before = abs(brightness(plain, "UPS") - brightness(plain, "LMS"))
    assert abs(brightness(evened, "UPS") - brightness(evened, "LMS")) < before / 4
    (out / "split.csv").write_text("slide,part\n" + "".join(f"{slide},test\n" for slide in parts))
    with pytest.raises(InputError, match="no training slide"):
        cut(manifest, out, images="png", normalise="even")


def test_one_run_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"

    class Second(Silence):
        told_of = ""

        @override
        def begins(self, work: str, slides: int) -> None:
            if work == "indexing":
                with pytest.raises(InputError, match="another run is at work") as caught:
                    cut(manifest, out)
                self.told_of = str(caught.value)

    second = Second()
    assert cut(manifest, out, second).exit_code == 0
    assert second.told_of


KILLED = """
import os, pathlib, signal, sys
from multiprocessing import active_children
from sarcoscope.stages.tile import Silence, TileConfig, tile
from tests.stages.tile_cohorts import CUT

class Killer(Silence):
    left = int(sys.argv[3])
    def event(self):
        self.left -= 1
        if self.left < 0:
            print(*[child.pid for child in active_children()], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    def advanced(self, planned, done):
        self.event()
    def slide_over(self, done=1):
        self.event()

if __name__ == "__main__":
    manifest, out, _, workers = sys.argv[1:]
    config = TileConfig(out=pathlib.Path(out), cut=CUT, images="png", workers=int(workers))
    tile(pathlib.Path(manifest), config, Killer())
"""


@pytest.mark.parametrize(("events", "workers"), [(0, 1), (3, 1), (9, 1), (27, 1), (40, 1), (2, 2), (5, 2), (9, 2)])
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path, events: int, workers: int) -> None:
    manifest = drawn_cohort(tmp_path)
    cut(manifest, tmp_path / "whole", images="png")
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    arguments = [sys.executable, *map(str, (script, manifest, tmp_path / "run", events, workers))]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run(arguments, check=False, stdout=subprocess.PIPE, text=True, env=environment)
    assert killed.returncode == -signal.SIGKILL
    for pid in killed.stdout.split():
        wait_until_gone(int(pid))
    assert contents(tmp_path / "run") != contents(tmp_path / "whole")
    assert cut(manifest, tmp_path / "run", images="png").exit_code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_worker_that_is_lost_is_replaced(tmp_path: Path) -> None:
    manifest = drawn_cohort(tmp_path, 2)

    class Saboteur(Silence):
        killed = 0

        @override
        def advanced(self, planned: int, done: int) -> None:
            children = active_children()
            if not self.killed and children:
                self.killed = children[0].pid or 0
                os.kill(self.killed, signal.SIGKILL)

    saboteur = Saboteur()
    summary = cut(manifest, tmp_path / "run", saboteur, workers=2, images="png")
    assert saboteur.killed
    assert summary.exit_code == 0
    cut(manifest, tmp_path / "whole", images="png")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_slide_that_always_loses_its_worker_is_named(tmp_path: Path) -> None:
    manifest, over = drawn_cohort(tmp_path), threading.Event()

    def kill_all() -> None:
        while not over.wait(0.01):
            for child in active_children():
                with suppress(ProcessLookupError):  # it may be over already
                    child.kill()

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        summary = cut(manifest, tmp_path / "run", workers=2)
    finally:
        over.set()
        killer.join()
    assert summary.exit_code == 2
    assert set(summary.failures) == {"d1", "l1", "u1"}
    assert "d1.svs: the processes that worked on it were ended from outside" in summary.failures["d1"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    manifest = drawn_cohort(tmp_path)
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2_500, 2_500)); "
        "from sarcoscope.cli.main import main; main()"
    )
    words = ["tile", str(manifest), "--out", str(tmp_path / "run"), "--tile-px", "64", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written (File too large); check the disk's space" in done.stderr
    assert not list((tmp_path / "run").rglob(".*part*"))


def test_a_split_made_before_is_searched_for_leaks_once_there_are_tiles(tmp_path: Path) -> None:
    counts = [[12, 25, 40], [9, 33, 18]]
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):  # c holds the tiles of a, with glass below
        nuclei_slide(tmp_path / f"{name}.svs", [*counts, [-1] * 3] if name == "c" else counts, seed=seed)
    listed = [{"slide": name, "path": f"{name}.svs", "label": "DDLPS"} for name in "abc"]
    manifest, out = write_manifest(tmp_path, listed), tmp_path / "run"
    out.mkdir()
    (out / "split.csv").write_text("slide,part\na,train\nb,train\nc,test\n")
    summary = cut(manifest, out, cut=replace(CUT, tile_px=256))
    assert summary.exit_code == 1
    assert summary.leakage is not None
    pairs = {(leak.slide, leak.tile, leak.other_slide, leak.other_tile) for leak in summary.leakage.leaks}
    places = [f"r{row}_c{column}_0.5um" for row in range(2) for column in range(3)]
    assert pairs == {("a", place, "c", place) for place in places}
    assert len((out / "leakage.csv").read_text().splitlines()) == 1 + len(places)
    (out / "split.csv").write_text("slide,part\na,train\nb,test\nc,train\n")
    summary = cut(manifest, out, cut=replace(CUT, tile_px=256))
    assert summary.exit_code == 0
    assert summary.leakage is not None
    assert summary.leakage.tiles > 0


def test_a_cohort_of_ready_made_tiles_is_not_cut_over(tmp_path: Path) -> None:
    out = tmp_path / "run"
    write_index(out / "tiles" / "tiles-0.parquet", empty_index(), {"kind": "tiles"})
    with pytest.raises(InputError, match="holds a cohort of ready-made tiles; give another --out"):
        cut(drawn_cohort(tmp_path), out)
    assert (out / "tiles" / "tiles-0.parquet").is_file()


def test_a_lost_worker_does_not_make_the_waiting_slides_wait_for_each_other(tmp_path: Path) -> None:
    manifest = drawn_cohort(tmp_path, 3)

    class Saboteur(Silence):
        killed = 0
        most = 0

        @override
        def slide_over(self, done: int = 1) -> None:
            children = active_children()
            if self.killed:
                self.most = max(self.most, len(children))
            elif children:
                self.killed = children[0].pid or 0
                os.kill(self.killed, signal.SIGKILL)

    saboteur = Saboteur()
    assert cut(manifest, tmp_path / "run", saboteur, workers=2).exit_code == 0
    assert saboteur.killed
    assert saboteur.most == 2


def test_a_slide_that_is_listed_but_not_there_now_keeps_what_it_has(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out, images="png", preview=True)
    before = {name for name in contents(out) if "l1" in name or "LMS" in name}
    (tmp_path / "l1.svs").rename(tmp_path / "elsewhere.svs")
    heard = Heard()
    assert cut(manifest, out, heard, images="png").exit_code == 1
    assert before <= set(contents(out))
    assert not any("no longer" in words for words in heard.words)


def test_a_slide_that_fails_or_leaves_takes_pictures_and_previews_along(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    cut(manifest, out, images="png", preview=True)
    write_drawn(tmp_path / "d1.svs", ["....", "...."])
    cut(manifest, out, images="png")
    left = {name for name in contents(out) if "d1" in name.lower() and not name.startswith(("cohort", "preview/class"))}
    assert left == set()
    (out / "tiles" / "l1.parquet").write_bytes(b"damaged")
    manifest.write_text("".join(line for line in manifest.read_text().splitlines(True) if not line.startswith("l1")))
    cut(manifest, out, images="png")
    assert not [name for name in contents(out) if "l1" in name]


def test_slides_whose_pictures_would_have_one_name_are_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("s_1", "s__1")):
        write_drawn(tmp_path / f"{name}.svs", ["DDDD", "DDDD"], seed=number)
    rows = [{"slide": name, "path": f"{name}.svs", "label": "DDLPS"} for name in ("s_1", "s__1")]
    manifest = write_manifest(tmp_path, rows)
    assert cut(manifest, tmp_path / "run").exit_code == 0
    with pytest.raises(InputError, match="pictures of s_1 and of s__1 would have one name"):
        cut(manifest, tmp_path / "run", images="png")


def test_relative_paths_and_a_way_round_are_the_same_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    drawn_cohort(tmp_path)
    monkeypatch.chdir(tmp_path)
    cut(Path("manifest.csv"), Path("run"))
    monkeypatch.chdir(tmp_path / "sub")
    assert all(one.skipped for one in cut(Path("../manifest.csv"), Path("../run")).indexed.values())


def test_every_slide_of_a_run_over_scales_has_its_pictures_in_their_folders(tmp_path: Path) -> None:
    write_drawn(tmp_path / "wide.svs", ["DDDD", "DDDD", "DDDD", "DDDD"])
    write_drawn(tmp_path / "flat.svs", ["DDDD"], seed=1)  # lower than a tile of 1 um/px
    rows = [{"slide": name, "path": f"{name}.svs", "label": "DDLPS"} for name in ("wide", "flat")]
    scales = replace(CUT, mpp=(Mpp(1.0), Mpp(0.5)))
    cut(write_manifest(tmp_path, rows), tmp_path / "run", cut=scales, images="png")
    folders = {path.parent.relative_to(tmp_path / "run" / "images") for path in (tmp_path / "run").rglob("*.png")}
    assert folders == {Path("1um/DDLPS"), Path("0.5um/DDLPS")}


@pytest.mark.skipif(sys.platform != "linux", reason="file names there are text")
def test_a_file_name_that_is_no_text_is_a_problem_of_its_slide(tmp_path: Path) -> None:
    drawn_cohort(tmp_path)
    (tmp_path / "l1.svs").rename(os.fsdecode(os.fsencode(tmp_path) + b"/l\xff1.svs"))
    rows = [{"slide": "", "path": "*.svs", "label": "DDLPS"}]
    summary = cut(write_manifest(tmp_path, rows), tmp_path / "run")
    assert summary.exit_code == 1
    assert set(summary.indexed) == {"d1", "u1"}
    assert any("no text in UTF-8; rename the file" in why for why in summary.failures.values())


def test_pooled_classes_are_marked(tmp_path: Path) -> None:
    manifest, out = drawn_cohort(tmp_path), tmp_path / "run"
    split_run(SplitAsk(source=manifest, out=out, pooled=("LMS",), test1={}))
    summary = cut(manifest, out, preview=True)
    assert summary.pooled == {"l1"}
    rows = list(table(summary).columns[0].cells)
    assert [str(cell) for cell in rows] == ["DDLPS", "LMS (pooled)", "UPS"]
    plain = cut(manifest, tmp_path / "plain", preview=True)
    assert plain.pooled == frozenset()
    sheets = [folder / "preview" / "class-LMS_0.5um.png" for folder in (out, tmp_path / "plain")]
    assert sheets[0].read_bytes() != sheets[1].read_bytes()
