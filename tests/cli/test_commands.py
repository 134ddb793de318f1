"""The commands as a user runs them: real processes, real files, exit codes, stdout and stderr."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sarcoscope.formats.bundle import Bundle
from tests.bundles import color_bundle, reseal
from tests.slides_made import write_drawn

COMMAND = Path(sys.executable).with_name("sarcoscope")
MIXED = ["........", "DDDDDDDU", "DDDDDDDU", "DDDDDUUU", "DDDDDUUU", "WWWWb.UU"]


def run(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `sarcoscope ...` in an environment that does not depend on the caller's terminal."""
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [COMMAND, *map(str, words)], capture_output=True, text=True, check=False, env=environment, **options
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return color_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn(tmp_path_factory.mktemp("slides") / "mixed.svs", MIXED)


def one_line_error(done: "subprocess.CompletedProcess[str]") -> str:
    """The error line of a command that failed as it should."""
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_diagnose_prints_a_table_and_writes_the_report(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    done = run("diagnose", mixed, "--bundle", bundle.folder, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (row,) = [line.split() for line in done.stdout.splitlines() if line.startswith("mixed")]
    assert row[:9] == ["mixed", "DDLPS", "63.2", "%", "UPS", "26.3", "%", "same", "38/48"]
    assert "Research use only" in done.stderr
    assert (tmp_path / "run" / "index.html").is_file()
    assert (tmp_path / "run" / "mixed" / "report.html").is_file()


def test_diagnose_json_is_one_object_and_nothing_else(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    done = run("diagnose", mixed, "--bundle", bundle.folder, "--out", tmp_path / "run", "--json")
    value = json.loads(done.stdout)
    assert value["slides"][0]["label"] == "DDLPS"
    assert value["slides"][0]["refined"]["votes"]["DDLPS"] == 34
    assert value["failed"] == {}
    assert value["slides"][0] == json.loads((tmp_path / "run" / "mixed" / "diagnosis.json").read_text())


def test_some_bad_slides_are_exit_code_1_and_one_line_each(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    text, empty = tmp_path / "text.svs", tmp_path / "empty.svs"
    text.write_text("words")
    empty.touch()
    done = run("diagnose", text, mixed, empty, "--bundle", bundle.folder, "--out", tmp_path / "run", "--json")
    assert done.returncode == 1
    value = json.loads(done.stdout)
    assert [slide["slide"] for slide in value["slides"]] == ["mixed"]
    assert set(value["failed"]) == {"text", "empty"}
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2
    assert "Traceback" not in done.stderr
    page = (tmp_path / "run" / "index.html").read_text()
    assert "looks like text" in page


def test_only_bad_slides_are_exit_code_2(bundle: Bundle, tmp_path: Path) -> None:
    glass = write_drawn(tmp_path / "glass.svs", ["...."] * 4)
    done = run("diagnose", glass, "--bundle", bundle.folder, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "no tissue found" in one_line_error(done)


def test_debug_shows_the_traceback(bundle: Bundle, tmp_path: Path) -> None:
    text = tmp_path / "text.svs"
    text.write_text("words")
    done = run("diagnose", text, "--bundle", bundle.folder, "--out", tmp_path / "run", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    done = run("diagnose", text, "--bundle", "nix", "--debug", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert json.loads(done.stdout)["kind"] == "BundleError"


def test_a_name_shared_by_arguments_and_manifest_is_refused(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("slide,path\nmixed,other.svs\n")
    done = run("diagnose", mixed, "--manifest", tmp_path / "m.csv", "--bundle", bundle.folder, "--out", tmp_path / "r")
    assert done.returncode == 2
    assert "would both be called 'mixed'" in one_line_error(done)


def test_a_bundle_cannot_steer_the_terminal(tmp_path: Path) -> None:
    folder = color_bundle(tmp_path / "b").folder
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["name"] = "evil\x1b[2J"
    (folder / "bundle.json").write_text(json.dumps(manifest))
    reseal(folder)
    done = run("bundle", "show", folder)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "evil" in done.stdout


def test_a_path_that_cannot_be_looked_at_does_not_stop_the_others(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300) / "a.svs"
    done = run("diagnose", long, mixed, "--bundle", bundle.folder, "--out", tmp_path / "r", "--json")
    assert done.returncode == 1
    assert "cannot be found" in one_line_error(done)
    assert [slide["slide"] for slide in json.loads(done.stdout)["slides"]] == ["mixed"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["diagnose", "--bundle", "phantom"], "no slides given; give slide files"),
        (["diagnose", "a.svs"], "no bundle given; add --bundle"),
        (["diagnose", "a.svs", "--bundle", "nix"], "nix: there is no such bundle; give a bundle's folder"),
        (["diagnose", "a.svs", "--bundle", "phantom", "--batch", "0"], "batch=0; give at least 1"),
        (["diagnose", "--manifest", "nix.csv", "--bundle", "phantom"], "nix.csv: there is no such file"),
        (["info", "nix.svs"], "nix.svs: there is no such file"),
        (["info", "nix.svs", "--tile-mpp", "-1"], "tiles at -1.0 um/px; give a scale"),
        (["bundle", "show", "."], "not a bundle"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(words: list[str], told: str, tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert told in one_line_error(done)
    done = run(*words, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert told in json.loads(done.stdout)["error"]


def test_wrong_words_are_one_object_with_json_too(tmp_path: Path) -> None:
    for words in (["diagnose", "a.svs", "--bundel", "x"], ["diagnos"], ["info"], ["diagnose", "--batch", "many"]):
        done = run(*words, "--json", cwd=tmp_path)
        assert done.returncode == 2
        assert json.loads(done.stdout)["kind"] == "UsageError"
        assert "--help" in one_line_error(done)


def test_a_bundle_that_was_tampered_with_is_refused(mixed: Path, tmp_path: Path) -> None:
    folder = color_bundle(tmp_path / "b").folder
    with (folder / "members" / "m0" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    done = run("diagnose", mixed, "--bundle", folder, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "does not match the hash" in one_line_error(done)


def test_a_given_scale_must_agree_with_the_file_or_override_it(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    words = ["diagnose", mixed, "--bundle", bundle.folder, "--out", tmp_path / "run"]
    done = run(*words, "--mpp", "0.5")
    assert done.returncode == 2
    assert "--mpp says 0.5 um/px, but file: aperio.MPP says 0.25 um/px" in one_line_error(done)
    done = run(*words, "--mpp", "0.5", "--mpp-override", "--json")
    assert done.returncode == 0
    slide = json.loads(done.stdout)["slides"][0]
    assert (slide["mpp"], slide["mpp_source"]) == (0.5, "given: --mpp")
    assert slide["mpp_warnings"]
    assert "warning: mixed: --mpp says 0.5 um/px" in done.stderr
    assert slide["tiles"]["planned"] == 16 * 12  # cells of 64 px at 0.5 um/px are now 64 level-0 px


def test_a_manifest_gives_names_and_scales(bundle: Bundle, tmp_path: Path) -> None:
    write_drawn(tmp_path / "a.svs", MIXED)
    (tmp_path / "m.csv").write_text("slide,path,mpp\ncase 1,a.svs,0.25\n")
    done = run(
        "diagnose", "--manifest", tmp_path / "m.csv", "--bundle", bundle.folder, "--out", tmp_path / "r", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["slides"][0]["slide"] == "case 1"


def test_labels_in_a_manifest_are_scored(bundle: Bundle, tmp_path: Path) -> None:
    write_drawn(tmp_path / "a.svs", MIXED)
    (tmp_path / "m.csv").write_text("slide,path,label,components\none,a.svs,DDLPS,WDLPS\ntwo,nix.svs,LMS,\n")
    done = run("diagnose", "--manifest", tmp_path / "m.csv", "--bundle", bundle.folder, "--out", tmp_path / "r")
    assert done.returncode == 1
    page = (tmp_path / "r" / "index.html").read_text()
    assert "Against the truth" in page
    assert "0 of 1 slide" in page  # plain: the runner-up is UPS, so the component is missed
    assert "1 of 1 slide" in page  # refined: DDLPS and WDLPS


def test_a_class_that_the_bundle_does_not_know_is_told_before_any_work(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("slide,path,label,components\none,a.svs,DDLP,WDLPS\n")
    done = run("diagnose", "--manifest", tmp_path / "m.csv", "--bundle", bundle.folder, "--out", tmp_path / "r")
    assert done.returncode == 2
    assert "one: unknown class DDLP in the manifest; the bundle's classes are DDLPS, LMS" in one_line_error(done)
    assert not (tmp_path / "r").exists()


def limited(size: int) -> Callable[[], None]:
    """What a child process calls before it starts: no file may grow beyond so many bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [200, 1_000, 3_000, 10_000])
def test_a_full_disk_is_told_and_what_was_there_stays(bundle: Bundle, mixed: Path, tmp_path: Path, size: int) -> None:
    words = ["diagnose", mixed, "--bundle", bundle.folder, "--out", tmp_path / "r"]
    done = run(*words, preexec_fn=limited(size))
    assert done.returncode == 2
    assert "cannot be written (File too large); check the disk's space" in one_line_error(done)
    assert not list((tmp_path / "r").rglob("*.part*"))
    assert run(*words).returncode == 0


def test_painting_onto_a_full_disk_is_told_from_a_worker_process(tmp_path: Path) -> None:
    done = run("phantom", "cohort", tmp_path / "c", preexec_fn=limited(100_000), timeout=120)
    assert done.returncode == 2
    assert "cannot be written (File too large)" in one_line_error(done)
    assert list((tmp_path / "c").iterdir()) == []


def test_an_output_that_is_a_file_is_told_before_any_slide_is_read(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    done = run("diagnose", mixed, "--bundle", bundle.folder, "--out", tmp_path / "afile")
    assert done.returncode == 2
    assert "afile/run.json: cannot be written" in one_line_error(done)
    assert "mixed" not in done.stderr.replace(str(mixed), "").replace("cannot", "")


def test_info_says_what_would_be_tiled(mixed: Path) -> None:
    value = json.loads(run("info", mixed, "--json").stdout)
    assert (value["width"], value["height"]) == (1024, 768)
    assert (value["mpp"], value["mpp_source"], value["objective_power"]) == (0.25, "file: aperio.MPP", 40.0)
    assert value["tiling"]["problem"] is not None  # smaller than one tile of 512 px at 0.5 um/px
    told = run("info", mixed, "--tile-mpp", "0.25").stdout
    assert "0.25 um/px (file: aperio.MPP)" in told
    assert "2 of 2 cells of 512 px at 0.25 um/px" in told


def test_info_of_a_slide_without_a_scale_says_what_to_type(tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415

    Image.new("RGB", (900, 900), (210, 130, 180)).save(tmp_path / "a.png")
    done = run("info", tmp_path / "a.png")
    assert done.returncode == 0
    assert "give it with --mpp" in done.stdout
    assert "--mpp 0.5" in done.stdout
    assert json.loads(run("info", tmp_path / "a.png", "--mpp", "0.5", "--json").stdout)["tiling"]["planned"] == 1


def test_bundle_show() -> None:
    value = json.loads(run("bundle", "show", "phantom", "--json").stdout)
    assert [item["code"] for item in value["classes"]] == ["DDLPS", "LMS", "MPNST", "UPS", "WDLPS"]
    assert value["synthetic"] is True
    told = run("bundle", "show", "phantom").stdout
    for word in (
        "leiomyosarcoma",
        "0.5 um/px",
        "mean of probabilities",
        "UPS counts as DDLPS",
        "never seen a real tumour",
    ):
        assert word in told


def test_doctor_finds_this_machine_healthy() -> None:
    done = run("doctor", "--json")
    value = json.loads(done.stdout)
    assert done.returncode == 0
    assert value["healthy"] is True
    names = {check["name"] for check in value["checks"]}
    assert names >= {"Python", "onnxruntime", "OpenSlide library", "codecs", "processor", "GPU", "disk"}
    assert {"self-test: reading", "self-test: bundle phantom"} <= names


def test_help_is_quick_since_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, sarcoscope.cli.main\n"
        "heavy = {'torch', 'onnxruntime', 'cv2', 'polars', 'numpy', 'openslide', 'matplotlib', 'pydantic'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in ([], ["diagnose"], ["info"], ["doctor"], ["demo"], ["bundle"], ["phantom", "bundle"]):
        assert run(*words, "--help").returncode == 0


def test_training_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # as in an installation without it
        "from sarcoscope.cli.main import main\n"
        f"sys.argv = ['sarcoscope', 'phantom', 'bundle', {str(tmp_path / 'b')!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "training needs torch; in a checkout: pip install '.[train]'" in one_line_error(done)


def test_an_interrupt_keeps_what_is_finished(bundle: Bundle, tmp_path: Path) -> None:
    slides = [write_drawn(tmp_path / f"s{number}.svs", MIXED) for number in range(40)]
    out = tmp_path / "run"
    process = subprocess.Popen(
        [COMMAND, "diagnose", *slides, "--bundle", bundle.folder, "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not any(out.glob("*/report.html")):  # until the first slide is finished
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: what was finished is kept" in told
    assert "Traceback" not in told
    record = json.loads((out / "run.json").read_text())
    finished = record["done"]
    assert len(finished) < 40
    assert record["complete"] is False
    assert (out / "index.html").is_file()
    assert all((out / slide / "report.html").is_file() for slide in finished)
