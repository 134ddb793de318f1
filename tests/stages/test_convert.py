"""`sarcoscope convert`: real files, real processes, some of them killed."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from typing_extensions import override

from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError
from sarcoscope.core.geometry import Box, Mpp
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.convert import ConvertSummary, Silence, convert, out_kind, plan_jobs
from sarcoscope.stages.convert_one import ConvertConfig, Converted, ConvertJob
from sarcoscope.stages.outputs import check_space, drafting, fingerprint, remove_drafts
from sarcoscope.testing.kfb_writer import write_kfb
from sarcoscope.testing.mrxs_writer import write_mrxs
from tests.slides.images import tissue, write_svs

COMMAND = Path(sys.executable).with_name("sarcoscope")


class Heard(Silence):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.planned = self.tiles = 0
        self.finished: list[str] = []
        self.failed: list[str] = []

    @override
    def tiles_planned(self, count: int) -> None:
        self.planned += count

    @override
    def tiles_done(self, count: int) -> None:
        self.tiles += count

    @override
    def slide_finished(self, done: Converted) -> None:
        self.finished.append(done.job.name)

    @override
    def slide_failed(self, job: ConvertJob, error: SarcoscopeError) -> None:
        self.failed.append(job.name)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """700 x 500 px at 0.499 um/px: 88 + 24 + 6 tiles of 64 px."""
    return write_svs(tmp_path / "case 7.svs", tissue(700, 500))


def run(
    paths: list[Path], out: Path, heard: Heard | None = None, mpp: float | None = None, **options: Any
) -> ConvertSummary:
    config = ConvertConfig(out=out, **options)
    return convert(plan_jobs(paths, config, None if mpp is None else Mpp(mpp)), config, heard)


def only_error(summary: ConvertSummary) -> str:
    assert not summary.done
    (error,) = summary.failures.values()
    return str(error)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def slow_slide(path: Path) -> Path:
    """3072 x 2048 px in one level of 64 px tiles: 1536 to copy, then two levels to make."""
    return write_svs(path, np.tile(tissue(256, 256), (8, 12, 1)), levels=1)


def command(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    arguments = [str(COMMAND), "convert", *map(str, words)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment, **options)


def test_one_slide_to_one_file(slide: Path, tmp_path: Path) -> None:
    heard = Heard()
    summary = run([slide], tmp_path / "out.tif", heard)
    assert summary.exit_code == 0
    (done,) = summary.done
    assert done.tiles is not None
    assert (done.levels, done.tiles.copied, done.skipped) == (3, 118, False)
    assert (done.bytes_in, done.bytes_out) == (slide.stat().st_size, (tmp_path / "out.tif").stat().st_size)
    assert (heard.planned, heard.tiles, heard.finished) == (118, 118, ["out"])
    assert files_in(tmp_path) == ["case 7.svs", "out.tif"]


def test_several_slides_to_a_folder_by_name(slide: Path, tmp_path: Path) -> None:
    twin = tmp_path / "other" / "case 7.svs"
    twin.parent.mkdir()
    write_svs(twin, tissue(300, 200, seed=1))
    third = write_svs(tmp_path / "b.svs", tissue(100, 80))
    heard = Heard()
    summary = run([slide, twin, third, slide], tmp_path / "out", heard, workers=2)
    assert summary.exit_code == 0
    assert files_in(tmp_path / "out") == ["b.tif", "other-case 7.tif", f"{tmp_path.name}-case 7.tif"]
    assert sorted(heard.finished) == ["b", "other-case 7", f"{tmp_path.name}-case 7"]
    assert heard.tiles == heard.planned == 118 + (20 + 6 + 2) + (4 + 1 + 1)


def test_processes_write_what_one_writes(slide: Path, tmp_path: Path) -> None:
    other = write_svs(tmp_path / "b.svs", tissue(300, 200))
    run([slide, other], tmp_path / "one")
    run([slide, other], tmp_path / "two", workers=2)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    for name in files_in(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_suffix_of_out_says_whether_it_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    assert out_kind(tmp_path / "folder.tif") is None
    found = {name: out_kind(tmp_path / name) for name in ("a.TIF", "a.tiff", "a.svs", "a.png", "a.jpeg", "a", "a.b")}
    assert found == {
        "a.TIF": "tiff", "a.tiff": "tiff", "a.svs": "tiff", "a.png": "png", "a.jpeg": "jpeg", "a": None, "a.b": None
    }  # fmt: skip


def test_an_out_that_does_not_fit_is_refused(slide: Path, tmp_path: Path) -> None:
    other = write_svs(tmp_path / "b.svs", tissue(100, 80))
    with pytest.raises(InputError, match=r"2 slides cannot all be .*out\.tif; give a folder"):
        plan_jobs([slide, other], ConvertConfig(out=tmp_path / "out.tif"))
    with pytest.raises(InputError, match=r"out\.tif is no name for png"):
        plan_jobs([slide], ConvertConfig(out=tmp_path / "out.tif", to="png"))
    (tmp_path / "notes.csv").touch()
    with pytest.raises(InputError, match=r"notes\.csv is a file that no slide is written to; give a folder, or \.tif"):
        plan_jobs([slide], ConvertConfig(out=tmp_path / "notes.csv"))
    with pytest.raises(InputError, match="no slides given"):
        plan_jobs([], ConvertConfig(out=tmp_path / "out"))
    with pytest.raises(InputError, match="named already"):
        plan_jobs([slide], ConvertConfig(out=tmp_path / "out.tif", key_file=tmp_path / "keys.csv"))
    same = [tmp_path / "x" / "y" / "s.svs", tmp_path / "z" / "y" / "s.svs"]
    with pytest.raises(InputError, match=r"2 slides would be written to .*y-s-svs\.tif"):
        plan_jobs(same, ConvertConfig(out=tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "workers"),
        ({"to": "bmp"}, "give one of tiff, dicom, png, jpeg"),
        ({"region": Box(0, 0, 1, 1)}, "flat pictures"),
        ({"out_mpp": Mpp(1)}, "flat pictures"),
        ({"out_mpp": Mpp(float("nan")), "to": "png"}, "nan um/px; give a positive number"),
        ({"out_mpp": Mpp(float("inf")), "to": "png"}, "inf um/px; give a positive number"),
        ({"to": "dicom", "keep_associated": True}, "TIFF only"),
        ({"quality": 0}, "quality"),
        ({"tile": 100}, "multiple of 16"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ConvertConfig(out=tmp_path, **options)


def test_a_second_run_skips_what_is_done_and_force_does_it_again(slide: Path, tmp_path: Path) -> None:
    run([slide], tmp_path / "out")
    made = tmp_path / "out" / "case 7.tif"
    before = made.stat()
    os.utime(slide)  # a copy with another time is the same slide
    again = run([slide], tmp_path / "out")
    assert [done.skipped for done in again.done] == [True]
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    forced = run([slide], tmp_path / "out", force=True)
    assert [done.skipped for done in forced.done] == [False]
    assert made.stat().st_ino != before.st_ino


def test_what_was_made_otherwise_or_by_others_is_not_replaced_unless_told_to(slide: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    run([slide], target)
    ours = target.read_bytes()
    assert "made from another slide or with other options" in only_error(run([slide], target, quality=50))
    write_svs(slide, tissue(700, 500, seed=3))
    assert "made from another slide or with other options" in only_error(run([slide], target))
    assert target.read_bytes() == ours
    write_svs(target, tissue(100, 100))
    theirs = target.read_bytes()
    assert "was not written by this command; give another OUT, or --force" in only_error(run([slide], target))
    assert target.read_bytes() == theirs
    assert run([slide], target, force=True).exit_code == 0
    with open_slide(target) as found:
        assert found.info.size.width == 700


def test_half_an_output_does_not_count_as_done(slide: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    run([slide], target)
    target.write_bytes(target.read_bytes()[:-50_000])
    assert "was not written by this command" in only_error(run([slide], target))
    assert run([slide], target, force=True).exit_code == 0


def test_a_source_is_never_replaced(slide: Path, tmp_path: Path) -> None:
    before = slide.read_bytes()
    linked = tmp_path / "linked.tif"
    linked.symlink_to(slide)
    hard = tmp_path / "hard.tif"
    hard.hardlink_to(slide)
    for target in (slide, linked, hard):
        assert "is the slide itself" in only_error(run([slide], target, force=True))
    assert slide.read_bytes() == before


def test_a_folder_that_holds_the_slide_or_what_others_wrote_is_never_replaced(tmp_path: Path) -> None:
    slide = write_mrxs(tmp_path / "case.mrxs", tissue(300, 200))
    for folder in "ab":
        (tmp_path / folder).mkdir()
    named_alike = write_svs(tmp_path / "a" / "a.svs", tissue(100, 80))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for source in (slide, named_alike):
        assert "is the folder that the slide lies in" in only_error(run([source], tmp_path, to="dicom", force=True))
    other = write_svs(tmp_path / "b" / "case.svs", tissue(100, 80))
    assert "that this command did not write" in only_error(run([other], tmp_path, to="dicom", force=True))
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_what_another_run_is_writing_is_not_taken_for_the_leavings_of_a_killed_one(tmp_path: Path) -> None:
    target = tmp_path / "out" / "a [1].b.tif"
    draft = target.with_name(f".a [1].b-{'0' * 32}.part.tif")
    with drafting(target):
        draft.write_bytes(b"half")
        remove_drafts([target])
        assert draft.exists()
    remove_drafts([target.with_name("a.tif"), target.with_name("b.tif")])
    assert draft.exists()
    remove_drafts([target])
    assert not draft.exists()


def test_a_slide_that_fails_is_named_and_the_others_go_on(slide: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_bytes(slide.read_bytes()[:20_000])
    for workers in (1, 2):
        heard = Heard()
        summary = run([bad, slide], tmp_path / f"out{workers}", heard, workers=workers)
        assert summary.exit_code == 1
        assert list(summary.failures) == [bad]
        assert (heard.finished, heard.failed) == (["case 7"], ["bad"])
        assert files_in(tmp_path / f"out{workers}") == ["case 7.tif"]
    assert run([bad], tmp_path / "out").exit_code == 2


def test_a_slide_that_fails_halfway_leaves_nothing(slide: Path, tmp_path: Path) -> None:
    with tifffile.TiffFile(slide) as tiff:
        last = tiff.pages[2]
        assert isinstance(last, tifffile.TiffPage)
        at, length = last.dataoffsets[-1], last.databytecounts[-1]
    content = bytearray(slide.read_bytes())
    content[at : at + length] = bytes(length)
    slide.write_bytes(content)
    (tmp_path / "out").mkdir()
    assert "case 7.svs" in only_error(run([slide], tmp_path / "out"))
    assert files_in(tmp_path / "out") == []
    assert "case 7.svs" in only_error(run([slide], tmp_path / "out", to="dicom"))
    assert files_in(tmp_path / "out") == []


def test_without_a_scale_nothing_is_written(tmp_path: Path) -> None:
    Image.fromarray(tissue(300, 200)).save(tmp_path / "a.png")
    assert "no scale in the file and none given" in only_error(run([tmp_path / "a.png"], tmp_path / "out.tif"))
    assert files_in(tmp_path) == ["a.png"]
    assert run([tmp_path / "a.png"], tmp_path / "out.tif", mpp=0.5).exit_code == 0
    with openslide.OpenSlide(tmp_path / "out.tif") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        assert "openslide.objective-power" not in slide.properties


def test_a_disk_without_room_is_refused_beforehand(slide: Path, tmp_path: Path) -> None:
    error = only_error(run([slide], tmp_path / "out.tif", spare_bytes=10**18))
    assert "needs about 6" in error  # 64 MiB of margin and what the slide takes
    assert "MiB of disk, 0 MiB is free; make room" in error
    assert files_in(tmp_path) == ["case 7.svs"]
    with pytest.raises(ArtifactError, match=r"needs about 953674316406250\.0 GiB of disk"):
        check_space(tmp_path / "not yet" / "there" / "a.tif", 2**30 * 953674316406250)
    check_space(tmp_path / "not yet" / "there" / "a.tif", 1)


def test_a_full_disk_is_one_line_and_leaves_nothing(slide: Path, tmp_path: Path) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    (tmp_path / "out").mkdir()
    for to in ("tiff", "dicom", "png"):
        done = command(slide, tmp_path / "out", "--to", to, preexec_fn=small)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "cannot be written (File too large); check the disk's space" in line
        assert files_in(tmp_path / "out") == []


KILLED = """
import os, pathlib, signal, sys
from multiprocessing import active_children
from sarcoscope.stages.convert import Silence, convert, plan_jobs
from sarcoscope.stages.convert_one import ConvertConfig

class Killer(Silence):
    def tiles_done(self, count):
        self.seen = getattr(self, "seen", 0) + count
        if self.seen >= 100:
            print(*[child.pid for child in active_children()], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    to, workers, out, *paths = sys.argv[1:]
    config = ConvertConfig(out=pathlib.Path(out), to=to, workers=int(workers))
    convert(plan_jobs([pathlib.Path(path) for path in paths], config), config, Killer())
"""


@pytest.mark.parametrize(("to", "workers"), [("tiff", 1), ("dicom", 1), ("tiff", 2)])
def test_a_killed_run_leaves_nothing_half_and_the_next_one_finishes(tmp_path: Path, to: str, workers: int) -> None:
    big = [slow_slide(tmp_path / f"{name}.svs") for name in "ab"]
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    arguments = [sys.executable, *map(str, (script, to, workers, tmp_path / "out", *big))]
    killed = subprocess.run(arguments, check=False, stdout=subprocess.PIPE, text=True)
    assert killed.returncode == -signal.SIGKILL
    for pid in killed.stdout.split():
        wait_until_gone(int(pid))
    left = names_in(tmp_path / "out")
    if workers == 1:
        assert len(left) == 1
        assert left[0].startswith(".a-")  # the draft
    summary = run(big, tmp_path / "out", to=to)
    assert summary.exit_code == 0
    assert names_in(tmp_path / "out") == (["a", "b"] if to == "dicom" else ["a.tif", "b.tif"])
    for path in (tmp_path / "out").iterdir():
        with open_slide(path) as slide:
            assert (slide.info.size.width, len(slide.info.levels)) == (3072, 3)


def wait_until_gone(pid: int) -> None:
    """Until a process of another parent has ended; it may stay as a zombie where nobody reaps it."""
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)


def test_an_interrupted_run_stops_its_workers_and_leaves_nothing(tmp_path: Path) -> None:
    class Impatient(Heard):
        @override
        def tiles_done(self, count: int) -> None:
            raise KeyboardInterrupt

    big = [slow_slide(tmp_path / f"{name}.svs") for name in "ab"]
    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(big, tmp_path / "out", Impatient(), workers=workers)
        assert not active_children()
        assert not [name for name in names_in(tmp_path / "out") if name.startswith(".")]


def test_a_worker_that_is_killed_does_not_take_the_others_along(tmp_path: Path) -> None:
    class Saboteur(Heard):
        killed = 0

        @override
        def tiles_planned(self, count: int) -> None:
            children = active_children()
            if not self.killed and children:
                self.killed = children[0].pid or 0
                os.kill(self.killed, signal.SIGKILL)

    big = [slow_slide(tmp_path / f"{name}.svs") for name in "ab"]
    heard = Saboteur()
    assert run(big, tmp_path / "out", heard, workers=2).exit_code == 0
    assert heard.killed
    assert sorted(heard.finished) == ["a", "b"]
    assert names_in(tmp_path / "out") == ["a.tif", "b.tif"]


def test_a_slide_whose_worker_is_always_killed_is_told_of(slide: Path, tmp_path: Path) -> None:
    over = threading.Event()

    def kill_all() -> None:
        while not over.wait(0.01):
            for child in active_children():
                with suppress(ProcessLookupError):  # it may be over already
                    child.kill()

    other = write_svs(tmp_path / "b.svs", tissue(300, 200))
    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        summary = run([slide, other], tmp_path / "out", workers=2)
    finally:
        over.set()
        killer.join()
    assert summary.exit_code == 2
    for path, error in summary.failures.items():
        assert str(error).startswith(f"{path}: the process that converted it was ended from outside")


def test_with_a_key_file_names_are_pseudonyms(slide: Path, tmp_path: Path) -> None:
    other = write_svs(tmp_path / "other.svs", tissue(100, 80))
    keys, out = tmp_path / "keys.csv", tmp_path / "out"
    run([slide], out, key_file=keys)
    run([slide, other], out, key_file=keys)
    names = files_in(out)
    assert len(names) == 2
    text = keys.read_text(encoding="utf-8")
    for name in names:
        assert name.removesuffix(".tif") in text
        assert "case" not in name
        assert b"case 7" not in (out / name).read_bytes()
    with pytest.raises(InputError, match="lies inside"):
        plan_jobs([slide], ConvertConfig(out=out, key_file=out / "keys.csv"))


def test_a_picture_of_a_region_with_its_resolution(slide: Path, tmp_path: Path) -> None:
    assert run([slide], tmp_path / "a.png", to="png", region=Box(100, 50, 300, 200)).exit_code == 0
    with Image.open(tmp_path / "a.png") as image, open_slide(slide) as source:
        want = source.read_level(0, Box(100, 50, 300, 200))  # type: ignore[attr-defined]
        np.testing.assert_array_equal(np.asarray(image), want)
        assert image.info["dpi"][0] == pytest.approx(25_400 / 0.499, rel=1e-5)
    assert run([slide], tmp_path / "a.jpg", to="jpeg", out_mpp=Mpp(0.998)).exit_code == 0
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.size == (350, 250)
        assert (image.info["jfif_unit"], image.info["jfif_density"]) == (2, (10020, 10020))  # px a centimetre
    assert [done.skipped for done in run([slide], tmp_path / "a.jpg", to="jpeg", out_mpp=Mpp(0.998)).done] == [True]
    again = run([slide], tmp_path / "a.png", to="png", region=Box(0, 0, 300, 200))
    assert "with other options" in only_error(again)


def test_pictures_that_cannot_be_are_refused(slide: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    outside = run([slide], target, to="png", region=Box(600, 0, 200, 100))
    assert "the region 600,0,200,100 reaches outside its 700x500 px" in only_error(outside)
    assert "has 0.499 um/px, so no 0.25" in only_error(run([slide], target, to="png", out_mpp=Mpp(0.25)))
    write_kfb(tmp_path / "big.kfb", np.full((10_100, 10_000, 3), 240, np.uint8), levels=1)
    big = only_error(run([tmp_path / "big.kfb"], target, to="png"))
    assert "a picture of 10000x10100 px, at most 100000000 px in all; give a smaller --region" in big
    assert not target.exists()


def test_dicom_is_a_folder_that_is_skipped_and_replaced_like_a_file(slide: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "case 7"
    assert run([slide], tmp_path / "out", to="dicom").exit_code == 0
    assert files_in(target) == ["level-0.dcm", "level-1.dcm", "level-2.dcm"]
    assert [done.skipped for done in run([slide], tmp_path / "out", to="dicom").done] == [True]
    assert run([slide], tmp_path / "out", to="dicom", force=True).done[0].skipped is False
    (target / "level-0.dcm").write_bytes(b"theirs")
    (target / "level-1.dcm").unlink()
    (target / "level-2.dcm").unlink()
    assert "was not written by this command" in only_error(run([slide], tmp_path / "out", to="dicom"))
    assert run([slide], tmp_path / "out", to="dicom", force=True).exit_code == 0
    assert files_in(tmp_path / "out") == ["case 7", *(f"case 7/level-{i}.dcm" for i in range(3))]
    with open_slide(target) as again, open_slide(slide) as source:
        assert again.info.scale is not None
        assert again.info.scale.mpp == pytest.approx(0.499)
        assert again.info.objective_power == source.info.objective_power == 20


def test_a_dicom_folder_becomes_a_tiff(slide: Path, tmp_path: Path) -> None:
    run([slide], tmp_path / "d", to="dicom")
    assert run([tmp_path / "d" / "case 7"], tmp_path / "back").exit_code == 0
    with openslide.OpenSlide(tmp_path / "back" / "case 7.tif") as back, openslide.OpenSlide(slide) as source:
        assert back.level_dimensions == source.level_dimensions[: back.level_count]
        assert float(back.properties["openslide.mpp-x"]) == pytest.approx(0.499)


def test_a_fingerprint_follows_content_and_not_name(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(9_000_000)
    for name, bytes_ in (("a", content), ("b", content), ("c", content[:-1]), ("d", b"x" + content[1:]), ("e", b"")):
        (tmp_path / name).write_bytes(bytes_)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    assert len({fingerprint(tmp_path / name) for name in "acde"}) == 4


def test_the_command_says_what_became_of_the_tiles(slide: Path, tmp_path: Path) -> None:
    done = command(slide, tmp_path / "out.tif")
    assert done.returncode == 0, done.stderr
    assert "out.tif: 3 levels; tiles: 118 copied bit by bit; " in done.stdout
    assert "output names repeat the slides' names; --key-file" in done.stderr
    again = command(slide, tmp_path / "out.tif")
    assert "done by an earlier run from the same slide" in again.stdout


def test_the_command_in_json_is_one_object(slide: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide", encoding="utf-8")
    done = command(slide, bad, tmp_path / "out", "--key-file", tmp_path / "keys.csv", "--json", "--workers", 1)
    assert done.returncode == 1
    value = json.loads(done.stdout)
    assert value["exit_code"] == 1
    assert value["names_kept"] is False
    assert list(value["failed"]) == [str(bad)]
    (record,) = value["converted"]
    assert record["source"] == str(slide)
    assert record["tiles"] == {"copied": 118, "trimmed": 0, "absent": 0, "recompressed": 0, "made": 0}
    assert Path(record["output"]).is_file()


def test_the_command_takes_the_kind_from_the_suffix(slide: Path, tmp_path: Path) -> None:
    assert command(slide, tmp_path / "a.png", "--region", "0,0,64,32").returncode == 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (64, 32)
    wrong = command(slide, tmp_path / "b.png", "--region", "0,0,64")
    assert wrong.returncode == 2
    assert "region '0,0,64' is not LEFT,TOP,WIDTH,HEIGHT" in wrong.stderr
    assert "is no name for dicom" in command(slide, tmp_path / "b.tif", "--to", "dicom").stderr
    assert command(slide).returncode == 2


def test_the_command_keeps_label_and_macro_only_if_asked(tmp_path: Path) -> None:
    write_kfb(tmp_path / "a.kfb", tissue(600, 400), label=tissue(50, 40, 1), macro=tissue(120, 40, 2))
    assert command(tmp_path / "a.kfb", tmp_path / "with.tif", "--keep-associated").returncode == 0
    assert command(tmp_path / "a.kfb", tmp_path / "without.tif").returncode == 0
    with openslide.OpenSlide(tmp_path / "with.tif") as slide:
        assert {"label", "macro"} <= set(slide.associated_images)
    with openslide.OpenSlide(tmp_path / "without.tif") as slide:
        assert set(slide.associated_images) == {"thumbnail"}
