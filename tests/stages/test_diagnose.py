"""The diagnose stage on real files with a real graph: what it writes, skips, survives and refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from typing_extensions import override

from sarcoscope.core.errors import ArtifactError, BundleError, InputError, SlideError
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.diagnoses import DiagnosisRecord, read_diagnosis
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.manifest import read_manifest
from sarcoscope.formats.tiles import read_tiles
from sarcoscope.stages.diagnose import DiagnoseConfig, diagnose
from sarcoscope.stages.jobs import Silence, SlideJob, jobs_from_manifest, jobs_from_paths, safe_id
from tests.bundles import color_bundle, reseal
from tests.slides_made import write_drawn

# 8 x 6 cells: 24 DDLPS, 10 UPS, 4 WDLPS, a glass border of 8, 1 blurred, 1 glass inside.
MIXED = ["........", "DDDDDDDU", "DDDDDDDU", "DDDDDUUU", "DDDDDUUU", "WWWWb.UU"]
OUTPUTS = {"diagnosis.json", "tiles.parquet", "tiles.geojson", "thumbnail.jpg", "map.png", "pie.png", "report.html"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return color_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn(tmp_path_factory.mktemp("slides") / "mixed.svs", MIXED)


@pytest.fixture(scope="module")
def run(bundle: Bundle, mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DiagnosisRecord]:
    out = tmp_path_factory.mktemp("run")
    summary = diagnose(jobs_from_paths([mixed]), bundle, DiagnoseConfig(out=out))
    assert not summary.failures
    return out / "mixed", summary.records[0]


def test_the_drawn_slide_is_counted_as_drawn(run: tuple[Path, DiagnosisRecord]) -> None:
    _, record = run
    assert record.votes == {"DDLPS": 24, "LMS": 0, "MPNST": 0, "UPS": 10, "WDLPS": 4}
    assert record.label == "DDLPS"
    assert record.second == "UPS"
    assert record.margin == pytest.approx(14 / 38)
    assert record.tiles.planned == 48
    assert record.tiles.kept == 38
    assert record.tiles.dropped["blurred"] == 1
    assert record.tiles.dropped["blank"] + record.tiles.dropped["little_tissue"] == 9
    assert record.refined.votes["DDLPS"] == 34
    assert record.refined.applied
    assert not record.refined.changed
    assert record.components[0].present  # after refinement the two most frequent are DDLPS and WDLPS
    assert (record.mpp, record.mpp_source) == (0.25, "file: aperio.MPP")


def test_every_promised_file_is_there_and_agrees(run: tuple[Path, DiagnosisRecord], mixed: Path) -> None:
    folder, record = run
    assert {path.name for path in folder.iterdir()} == OUTPUTS | {"evidence"}
    assert read_diagnosis(folder / "diagnosis.json") == record
    tiles, probabilities, classes = read_tiles(folder / "tiles.parquet")
    assert len(tiles) == record.tiles.planned
    assert probabilities.shape == (38, 5)
    assert np.bincount(probabilities.argmax(axis=1), minlength=5).tolist() == list(record.votes.values())
    assert classes == tuple(record.votes)
    features = json.loads((folder / "tiles.geojson").read_text())["features"]
    assert len(features) == 38
    listed = json.loads((folder / "evidence" / "evidence.json").read_text())
    assert {item["code"] for item in listed} == {"DDLPS", "UPS", "WDLPS"}
    assert all((folder / "evidence" / item["file"]).is_file() for item in listed)
    assert record.provenance["slide_file"]["sha256"] == sha256_file(mixed)
    assert set(record.provenance["timings"]) >= {"plan", "predict", "total"}
    manifest = json.loads((folder.parent / "run.json").read_text())
    assert manifest["done"] == ["mixed"]
    assert manifest["failed"] == {}


def test_the_json_has_what_the_documentation_promises(run: tuple[Path, DiagnosisRecord]) -> None:
    value = json.loads((run[0] / "diagnosis.json").read_text())
    assert set(value) >= {
        "schema_version", "slide", "label", "undetermined", "votes", "refined", "second", "margin",
        "mean_probability", "tiles", "mpp", "mpp_source", "provenance",
    }  # fmt: skip
    assert set(value["refined"]) >= {"label", "votes", "changed", "reason"}
    assert set(value["tiles"]) == {"planned", "kept", "dropped"}
    assert set(value["provenance"]) >= {"bundle", "slide_file", "inputs", "libraries", "timings", "started"}


class Heard(Silence):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.skipped: list[str] = []
        self.read = 0

    @override
    def tiles_done(self, count: int) -> None:
        self.read += count

    @override
    def slide_finished(self, record: DiagnosisRecord, *, skipped: bool) -> None:
        if skipped:
            self.skipped.append(record.slide)


def test_a_finished_slide_is_skipped_until_something_changes(bundle: Bundle, tmp_path: Path) -> None:
    path = write_drawn(tmp_path / "a.svs", MIXED)
    jobs = jobs_from_paths([path])

    def again(**changes: object) -> Heard:
        heard = Heard()
        diagnose(jobs, bundle, DiagnoseConfig(out=tmp_path / "run", **changes), heard)  # type: ignore[arg-type]
        return heard

    assert again().skipped == []
    first = again()
    assert first.skipped == ["a"]
    assert first.read == 0
    assert again(force=True).skipped == []
    assert again(minimum_tiles=5).skipped == []  # another rule: diagnosed again
    assert again(minimum_tiles=5).skipped == ["a"]
    (tmp_path / "run" / "a" / "map.png").unlink()
    assert again(minimum_tiles=5).skipped == []  # something is missing
    os.utime(path, ns=(1, 1))
    assert again(minimum_tiles=5).skipped == []  # the slide was replaced
    (tmp_path / "run" / "a" / "tiles.parquet").write_bytes(b"cut off")
    assert again(minimum_tiles=5).skipped == []  # damaged
    (tmp_path / "run" / "a" / "diagnosis.json").write_text("{")
    assert again(minimum_tiles=5).skipped == []  # damaged


def test_a_bad_slide_does_not_stop_the_others(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.svs"
    text.write_text("I am no slide")
    truncated = tmp_path / "truncated.svs"
    truncated.write_bytes(mixed.read_bytes()[: mixed.stat().st_size // 3])
    coarse = write_drawn(tmp_path / "coarse.svs", MIXED, mpp=1.0, power=10)
    glass = write_drawn(tmp_path / "glass.svs", ["...."] * 4)
    missing = tmp_path / "missing.svs"
    config = DiagnoseConfig(out=tmp_path / "run")
    summary = diagnose(jobs_from_paths([text, truncated, mixed, coarse, glass, missing]), bundle, config)
    assert [record.slide for record in summary.records] == ["mixed"]
    assert summary.exit_code == 1
    told = {slide: str(error) for slide, error in summary.failures.items()}
    assert set(told) == {"text", "truncated", "coarse", "glass", "missing"}
    assert "looks like text" in told["text"]
    assert "coarser than the 0.5 um/px" in told["coarse"]
    assert "no tissue found" in told["glass"]
    assert "no such file" in told["missing"]
    for slide, message in told.items():
        assert str(tmp_path / f"{slide}.svs") in message
        assert "\n" not in message
        assert "; " in message  # what to do about it
    assert json.loads((tmp_path / "run" / "run.json").read_text())["failed"] == told
    assert not (tmp_path / "run" / "text").exists()


def test_nothing_but_bad_slides_is_exit_code_2(bundle: Bundle, tmp_path: Path) -> None:
    summary = diagnose(jobs_from_paths([tmp_path / "nix.svs"]), bundle, DiagnoseConfig(out=tmp_path / "run"))
    assert summary.exit_code == 2
    assert isinstance(summary.failures["nix"], SlideError)


def test_few_tiles_are_undetermined_and_reported_all_the_same(bundle: Bundle, tmp_path: Path) -> None:
    path = write_drawn(tmp_path / "small.svs", ["DDL", "DDL", "..."])
    summary = diagnose(jobs_from_paths([path]), bundle, DiagnoseConfig(out=tmp_path / "run"))
    record = summary.records[0]
    assert summary.exit_code == 0
    assert record.label is None
    assert record.undetermined == "6 tiles kept, at least 20 needed"
    assert record.votes["DDLPS"] == 4
    assert {path.name for path in (tmp_path / "run" / "small").iterdir()} >= OUTPUTS


def test_two_runs_give_the_same_probabilities(
    bundle: Bundle, mixed: Path, run: tuple[Path, DiagnosisRecord], tmp_path: Path
) -> None:
    diagnose(jobs_from_paths([mixed]), bundle, DiagnoseConfig(out=tmp_path, batch=3, workers=1, threads=1))
    one, other = (pl.read_parquet(folder / "tiles.parquet") for folder in (run[0], tmp_path / "mixed"))
    assert one.drop([name for name in one.columns if name.startswith("p_")]).equals(
        other.drop([name for name in other.columns if name.startswith("p_")])
    )
    np.testing.assert_allclose(
        one.select(pl.col("^p_.*$")).to_numpy(), other.select(pl.col("^p_.*$")).to_numpy(), atol=1e-5
    )


def test_an_output_that_cannot_be_written_is_told(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        diagnose(jobs_from_paths([mixed]), bundle, DiagnoseConfig(out=tmp_path / "file"))


def test_a_broken_member_is_told_before_any_slide(tmp_path: Path, mixed: Path) -> None:
    broken = color_bundle(tmp_path / "b")
    (broken.folder / "members" / "m0" / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError):
        diagnose(jobs_from_paths([mixed]), broken, DiagnoseConfig(out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


KILLED = """
import os, pathlib, signal, sys
from sarcoscope.formats.bundle import read_bundle
from sarcoscope.stages.diagnose import DiagnoseConfig, diagnose
from sarcoscope.stages.jobs import Silence, jobs_from_paths

class Killer(Silence):
    def tiles_done(self, count):
        self.left = getattr(self, "left", int(sys.argv[4])) - 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

paths = [pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])]
diagnose(jobs_from_paths(paths), read_bundle(pathlib.Path(sys.argv[1])), DiagnoseConfig(out=pathlib.Path(sys.argv[5])),
         Killer())
"""


def test_a_killed_run_goes_on_where_it_stopped(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    second = write_drawn(tmp_path / "second.svs", ["LLLLLL"] * 5)
    arguments = [str(bundle.folder), str(mixed), str(second), "50", str(tmp_path / "run")]  # dies in the second slide
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "mixed" / "report.html").is_file()
    assert not (tmp_path / "run" / "second" / "diagnosis.json").exists()
    heard = Heard()
    summary = diagnose(jobs_from_paths([mixed, second]), bundle, DiagnoseConfig(out=tmp_path / "run"), heard)
    assert heard.skipped == ["mixed"]
    assert [record.label for record in summary.records] == ["DDLPS", "LMS"]


def test_jobs_have_names_that_can_be_folders(tmp_path: Path) -> None:
    assert safe_id("a/../b c") == "a_.._b c"
    assert safe_id("..x..") == "x"
    assert safe_id("run.json") == "run.json-slide"
    assert safe_id("NUL") == "NUL-slide"
    assert safe_id("x" * 119 + ". y") == "x" * 119
    assert len(safe_id("\u8089" * 100).encode()) <= 120
    with pytest.raises(InputError, match="no letters"):
        safe_id("...")
    one, other = tmp_path / "p1" / "s.svs", tmp_path / "p2" / "s.svs"
    again = tmp_path / "p1" / ".." / "p2" / "s.svs"
    assert [job.slide for job in jobs_from_paths([one, other, one, again])] == ["p1-s", "p2-s"]


def test_equal_names_get_folder_and_ending(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "s.svs", tmp_path / "y" / "s.svs", tmp_path / "z" / "s.svs", tmp_path / "z" / "s.ndpi"]
    assert [job.slide for job in jobs_from_paths(paths)] == ["x-s", "y-s", "z-s-svs", "z-s-ndpi"]
    assert [job.slide for job in jobs_from_paths(paths[:1])] == ["s"]


def test_the_files_of_one_dicom_series_are_one_slide(shared_slides: Path) -> None:
    files = sorted((shared_slides / "dicom_CMU-1-Small-Region").glob("*.dcm"))
    assert len(files) > 1
    jobs = jobs_from_paths([*files, shared_slides / "CMU-1-Small-Region.svs"])
    assert [job.path for job in jobs] == [files[0], shared_slides / "CMU-1-Small-Region.svs"]


def test_two_slides_of_one_name_are_refused_before_any_work(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    jobs = [SlideJob(slide="one", path=mixed), SlideJob(slide="One", path=tmp_path / "other.svs")]
    with pytest.raises(InputError, match=r"mixed\.svs and .*other\.svs would both be called 'One'"):
        diagnose(jobs, bundle, DiagnoseConfig(out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_another_slides_result_is_not_replaced_unless_told_to(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    other = write_drawn(tmp_path / "elsewhere" / "mixed.svs", ["LLLLLL"] * 5)
    out = tmp_path / "run"
    diagnose(jobs_from_paths([mixed]), bundle, DiagnoseConfig(out=out))
    summary = diagnose(jobs_from_paths([other]), bundle, DiagnoseConfig(out=out))
    assert "holds the diagnosis of another slide" in str(summary.failures["mixed"])
    assert read_diagnosis(out / "mixed" / "diagnosis.json").label == "DDLPS"
    assert (out / "mixed" / "evidence" / "WDLPS-1.jpg").is_file()
    copied = tmp_path / "copied" / "mixed.svs"
    copied.parent.mkdir()
    shutil.copyfile(mixed, copied)  # the same slide, of another time and place
    assert not diagnose(jobs_from_paths([copied]), bundle, DiagnoseConfig(out=out)).failures
    summary = diagnose(jobs_from_paths([other]), bundle, DiagnoseConfig(out=out, force=True))
    assert summary.records[0].label == "LMS"
    assert {path.name for path in (out / "mixed" / "evidence").glob("*.jpg")} == {"LMS-1.jpg", "LMS-2.jpg", "LMS-3.jpg"}


def test_the_page_lists_what_earlier_runs_finished(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    second = write_drawn(tmp_path / "second.svs", ["LLLLLL"] * 5)
    for path in (mixed, second):
        diagnose(jobs_from_paths([path]), bundle, DiagnoseConfig(out=tmp_path / "run"))
    page = (tmp_path / "run" / "index.html").read_text()
    assert "mixed/report.html" in page
    assert page.index("second/report.html") < page.index("mixed/report.html")  # this run's slides come first


def test_results_never_lie_among_a_slides_own_files(bundle: Bundle, shared_slides: Path, tmp_path: Path) -> None:
    series = tmp_path / "series"
    shutil.copytree(shared_slides / "dicom_CMU-1-Small-Region", series)
    before = sorted(series.iterdir())
    summary = diagnose(jobs_from_paths([series]), bundle, DiagnoseConfig(out=tmp_path))
    assert "give another --out" in str(summary.failures["series"])
    assert sorted(series.iterdir()) == before


def test_a_file_name_that_is_no_text_comes_through(bundle: Bundle, tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff.svs"))
    write_drawn(tmp_path / "plain.svs", MIXED).rename(strange)
    summary = diagnose(jobs_from_paths([strange]), bundle, DiagnoseConfig(out=tmp_path / "run"))
    assert summary.records[0].provenance["slide_file"]["path"].endswith("x\N{REPLACEMENT CHARACTER}.svs")
    strange.write_bytes(b"damaged")
    summary = diagnose(jobs_from_paths([strange]), bundle, DiagnoseConfig(out=tmp_path / "run", force=True))
    str(summary.failures[jobs_from_paths([strange])[0].slide]).encode("utf-8")


def test_a_network_that_returns_nonsense_is_a_slides_error_and_the_page_is_written(mixed: Path, tmp_path: Path) -> None:
    made = color_bundle(tmp_path / "b")
    path = made.folder / "members" / "m0" / "model.onnx"
    model = onnx.load(path)
    (bias,) = [item for item in model.graph.initializer if item.name == "bias"]
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(5, np.nan, np.float32), "bias"))
    onnx.save(model, path)
    second = write_drawn(tmp_path / "glass.svs", ["...."] * 4)
    summary = diagnose(jobs_from_paths([mixed, second]), reseal(made.folder), DiagnoseConfig(out=tmp_path / "run"))
    assert "rows that are not probabilities" in str(summary.failures["mixed"])
    assert "no tissue" in str(summary.failures["glass"])
    assert "not probabilities" in (tmp_path / "run" / "index.html").read_text()


def test_an_override_that_is_withdrawn_is_not_skipped(bundle: Bundle, mixed: Path, tmp_path: Path) -> None:
    job = SlideJob(slide="m", path=mixed, mpp=Mpp(0.3), mpp_override=True)
    config = DiagnoseConfig(out=tmp_path, minimum_tiles=1)
    assert diagnose([job], bundle, config).records[0].mpp == 0.3
    summary = diagnose([replace(job, mpp_override=False)], bundle, config)
    assert "--mpp-override" in str(summary.failures["m"])


def test_a_manifest_names_slides_and_gives_scales(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("slide,path,mpp\none,a.svs,0.5\ntwo,b.svs,\n")
    jobs = jobs_from_manifest(read_manifest(tmp_path / "m.csv"), Mpp(0.4))
    assert jobs[0] == SlideJob(slide="one", path=tmp_path / "a.svs", mpp=Mpp(0.5), mpp_source="manifest")
    assert jobs[1].mpp == 0.4


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"workers": 0}, {"evidence": -1}, {"thumbnail_px": 1}])
def test_a_config_out_of_range_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="give at least"):
        DiagnoseConfig(out=tmp_path, **wrong)  # type: ignore[arg-type]
