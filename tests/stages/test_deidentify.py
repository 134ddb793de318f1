import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tifffile
from typer.testing import CliRunner

from sarcoscope.cli.main import app
from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError
from sarcoscope.formats.key_file import KeyFile
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.deidentify import DeidentifyConfig, DeidentifySummary, check, deidentify
from sarcoscope.stages.outputs import check_space
from sarcoscope.testing.kfb_writer import write_kfb
from tests.slides.images import tissue

_CASE = "S24-0017-DOE"
_BYTES = 10**18


class _Heard:
    def __init__(self) -> None:
        self.started: list[tuple[str, int, int]] = []
        self.failed: list[str] = []

    def slide_started(self, path: Path, number: int, total: int) -> None:
        self.started.append((path.name, number, total))

    def slide_failed(self, path: Path, error: SarcoscopeError) -> None:  # noqa: ARG002
        self.failed.append(path.name)


def _svs(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    words = f"Aperio Image Library v12\r\n120x90 (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5|Filename = {_CASE}"
    tifffile.imwrite(
        path,
        tissue(120, 90, seed),
        tile=(64, 64),
        compression="jpeg",
        photometric="rgb",
        description=words,
        metadata=None,
    )
    return path


def _run(paths: list[Path], out: Path, key_file: Path | None = None, *, keep_names: bool = False) -> DeidentifySummary:
    return deidentify(paths, DeidentifyConfig(out=out, key_file=key_file, keep_names=keep_names), _Heard())


def test_copies_are_called_by_their_content(tmp_path: Path) -> None:
    source, out = _svs(tmp_path / f"{_CASE}.svs"), tmp_path / "out"
    summary = _run([source], out)
    name = f"slide-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.svs"
    assert [file.name for file in out.iterdir()] == [name]
    assert summary.exit_code == 0
    assert [(one.source, one.target, one.skipped) for one in summary.done] == [(source, out / name, False)]
    assert _CASE.encode() not in (out / name).read_bytes()
    with open_slide(out / name) as slide:
        assert slide.info.scale is not None
        assert (slide.info.scale.mpp, slide.info.objective_power) == (0.5, 20)


def test_a_name_s_end_says_nothing_either(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _run([_svs(tmp_path / "slide.DoeJane")], out)
    assert [file.suffix for file in out.iterdir()] == [".tif"]


def test_a_second_run_finds_its_copies_and_leaves_them(tmp_path: Path) -> None:
    sources, out = [_svs(tmp_path / f"{seed}.svs", seed) for seed in (1, 2)], tmp_path / "out"
    _run(sources[:1], out)
    before = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    summary = _run(sources, out)
    assert [one.skipped for one in summary.done] == [True, False]
    assert all(file.stat().st_mtime_ns == time_ns for file, time_ns in before.items())


def test_a_copy_that_was_changed_is_neither_taken_nor_overwritten(tmp_path: Path) -> None:
    source, out = _svs(tmp_path / "a.svs"), tmp_path / "out"
    target = _run([source], out).done[0].target
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)
    summary = _run([source], out)
    assert summary.exit_code == 2
    assert isinstance(summary.failed[source], ArtifactError)
    assert "is there already and is not the copy" in str(summary.failed[source])
    assert target.read_bytes() == bytes(content)


@pytest.mark.parametrize("out", ["a.txt", "a.txt/deeper", "n" * 300])
def test_an_out_that_cannot_be_written_is_told(tmp_path: Path, out: str) -> None:
    (tmp_path / "a.txt").write_text("theirs")
    source = _svs(tmp_path / "a.svs")
    summary = _run([source], tmp_path / out)
    assert "cannot be written" in str(summary.failed[source])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svs", "a.txt"]


def test_a_killed_run_s_draft_goes_with_the_next_run(tmp_path: Path) -> None:
    source, out = _svs(tmp_path / "a.svs"), tmp_path / "out"
    target = _run([source], tmp_path / "elsewhere").done[0].target
    out.mkdir()
    (out / f".{target.stem}-{'0' * 32}.part.svs").write_bytes(b"half")
    _run([source], out)
    assert [file.name for file in out.iterdir()] == [target.name]


def test_a_copy_that_is_not_clean_is_not_kept(tmp_path: Path, shared_slides: Path) -> None:
    """A damaged NDPI whose flag is text: it goes as text, and without it the copy would be another format."""
    source, out = tmp_path / "a.ndpi", tmp_path / "out"
    content = (shared_slides / "test3-DAPI-2-387.ndpi").read_bytes()
    flag, as_text = (struct.pack("<HHI", 65420, kind, 1) for kind in (3, 2))
    source.write_bytes(content.replace(flag, as_text))
    summary = _run([source], out)
    assert "its copy would still hold other field" in str(summary.failed[source])
    assert list(out.iterdir()) == []


def test_a_key_file_gives_stable_random_names(tmp_path: Path) -> None:
    sources = [_svs(tmp_path / f"case{seed}" / f"{seed}.svs", seed) for seed in (1, 2)]
    key_file = tmp_path / "keys.csv"
    first = [one.target.stem for one in _run(sources, tmp_path / "out", key_file).done]
    again = [one.target.stem for one in _run(sources, tmp_path / "again", key_file).done]
    assert first == again == [KeyFile(key_file).pseudonym("1.svs"), KeyFile(key_file).pseudonym("2.svs")]
    assert all(hashlib.sha256(one.read_bytes()).hexdigest()[:12] not in " ".join(first) for one in sources)


def test_two_slides_of_one_name_get_two_pseudonyms(tmp_path: Path) -> None:
    sources = [_svs(tmp_path / folder / "slide.svs", seed) for seed, folder in enumerate(("a", "b"))]
    assert len({one.target for one in _run(sources, tmp_path / "out", tmp_path / "keys.csv").done}) == 2
    later = _svs(tmp_path / "c" / "slide.svs", 7)
    other = _svs(tmp_path / "d" / "slide.svs", 8)
    assert _run([later], tmp_path / "out2", tmp_path / "keys.csv").exit_code == 0
    summary = _run([other], tmp_path / "out2", tmp_path / "keys.csv")
    assert "is not the copy" in str(summary.failed[other])


def test_a_key_file_among_the_copies_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source, out = _svs(tmp_path / "a.svs"), tmp_path / "out"
    with pytest.raises(InputError, match="keep it apart"):
        _run([source], out, out / "keys.csv")
    with pytest.raises(InputError, match="contradict"):
        _run([source], out, tmp_path / "keys.csv", keep_names=True)
    assert not out.exists()


def test_names_are_kept_where_asked(tmp_path: Path, shared_slides: Path) -> None:
    source, out = _svs(tmp_path / "Mine.SVS"), tmp_path / "out"
    summary = _run([source, shared_slides / "dicom_CMU-1-Small-Region"], out, keep_names=True)
    assert summary.exit_code == 0
    assert sorted(file.name for file in out.iterdir()) == ["Mine.SVS", "dicom_CMU-1-Small-Region"]
    content = b"".join(file.read_bytes() for file in (out / "dicom_CMU-1-Small-Region").iterdir())
    assert b"CMU-1" not in content


def test_the_source_s_own_folder_keeps_the_source(tmp_path: Path) -> None:
    source = _svs(tmp_path / "a.svs")
    before = source.read_bytes()
    assert _run([source], tmp_path, keep_names=True).exit_code == 2
    assert source.read_bytes() == before
    assert _run([source], source).exit_code == 2
    assert source.read_bytes() == before


def test_a_single_file_may_be_named(tmp_path: Path) -> None:
    source, target = _svs(tmp_path / "a.svs"), tmp_path / "deep" / "mine.svs"
    assert _run([source], target).done[0].target == target
    assert target.is_file()
    assert [file.name for file in target.parent.iterdir()] == ["mine.svs"]


def test_a_bad_slide_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    good, bad, gone, out = _svs(tmp_path / "good.svs"), tmp_path / "bad.svs", tmp_path / "gone.svs", tmp_path / "out"
    bad.write_bytes(good.read_bytes()[:900])
    heard = _Heard()
    summary = deidentify([bad, gone, good], DeidentifyConfig(out=out), heard)
    assert summary.exit_code == 1
    assert set(summary.failed) == {bad, gone}
    assert all(path.name in str(error) for path, error in summary.failed.items())
    assert heard.failed == ["bad.svs", "gone.svs"]
    assert heard.started == [("bad.svs", 1, 3), ("gone.svs", 2, 3), ("good.svs", 3, 3)]
    assert len(list(out.iterdir())) == 1


def test_formats_side_by_side(tmp_path: Path, shared_slides: Path) -> None:
    kfb = write_kfb(tmp_path / "a.kfb", tissue(300, 280), label=tissue(90, 90)).path
    sources = [kfb, _svs(tmp_path / "a.svs"), shared_slides / "dicom_CMU-1-Small-Region"]
    out = tmp_path / "out"
    assert _run(sources, out).exit_code == 0
    assert sorted(one.suffix for one in out.iterdir()) == ["", ".kfb", ".svs"]
    assert check(sources, _Heard()).exit_code == 1
    clean = check(sorted(out.iterdir()), _Heard())
    assert clean.exit_code == 0
    assert all(found == () for found in clean.found.values())
    assert check([*sources, tmp_path / "gone"], _Heard()).exit_code == 2


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "there", 1)
    with pytest.raises(ArtifactError, match=r"not there: needs about .* of disk, .* is free; make room"):
        check_space(tmp_path / "not there", _BYTES)
    huge, out = _svs(tmp_path / "huge.svs"), tmp_path / "out"
    with huge.open("r+b") as file:
        file.truncate(min(_BYTES, 2 * shutil.disk_usage(tmp_path).total))
    with pytest.raises(ArtifactError, match="of disk"):
        _run([_svs(tmp_path / "small.svs"), huge], out)
    assert not out.exists()


def _command(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["deidentify", *map(str, words)])
    return result.exit_code, result.stdout


def test_the_command_lists_and_removes(tmp_path: Path) -> None:
    source, out = _svs(tmp_path / "a.svs"), tmp_path / "out"
    code, told = _command("--check", source)
    assert code == 1
    assert f"file name      ImageDescription: Filename: {_CASE}" in told
    assert not out.exists()
    code, told = _command(source, out)
    assert code == 0
    assert "removed: 1 file name" in told
    assert _CASE not in told
    code, told = _command("--check", *out.iterdir())
    assert (code, told.endswith("nothing identifying found\n")) == (0, True)


def test_the_command_in_json(tmp_path: Path) -> None:
    source, out = _svs(tmp_path / "a.svs"), tmp_path / "out"
    code, told = _command(source, tmp_path / "gone.svs", out, "--json")
    assert code == 1
    found = json.loads(told)
    assert found["exit_code"] == 1
    assert found["slides"][0]["removed"] == {"file name": 1}
    assert list(found["failed"]) == [str(tmp_path / "gone.svs")]
    assert _CASE not in told
    code, told = _command("--check", source, "--json")
    assert code == 1
    assert json.loads(told)["slides"][0]["found"] == [
        {"kind": "file name", "where": "ImageDescription: Filename", "value": _CASE}
    ]


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    source = _svs(tmp_path / "a.svs")
    assert _command(source)[0] == 2
    assert _command("--check", source, "--keep-names")[0] == 2
    assert _command(source, tmp_path / "out", "--key-file", tmp_path / "out" / "k.csv")[0] == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="interrupted by a POSIX signal")
def test_an_interrupted_run_leaves_nothing_half_done(tmp_path: Path) -> None:
    out, source = tmp_path / "out", _svs(tmp_path / "a.svs")
    with source.open("r+b") as file:
        file.truncate(600_000_000)  # sparse: quick to make, slow to copy
    code = "from sarcoscope.cli.main import main; main()"
    run = subprocess.Popen([sys.executable, "-c", code, "deidentify", str(source), str(out)], stderr=subprocess.DEVNULL)
    while run.poll() is None and not list(out.glob(".*.part*")):
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGINT)
    assert run.wait() == 130
    assert list(out.iterdir()) == []
