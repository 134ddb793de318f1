"""A study on painted slides by real commands: once through, again, changed, killed, without torch."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from sarcoscope.core.errors import TrainingError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.study import EnsembleSection, ExamplesSection, MultiModel, StudyStage
from sarcoscope.core.training import LengthConfig
from sarcoscope.formats.evaluation import read_evaluation, read_search
from sarcoscope.formats.manifest import read_cohort, write_cohort
from sarcoscope.formats.member import read_member
from sarcoscope.stages.phantom_study import (
    FULL,
    TINY,
    PhantomStudySize,
    make_phantom_study,
    patients_of,
    phantom_slides,
    phantom_study,
)
from sarcoscope.stages.study import StudyAsk, plan_study, run_steps, run_study
from sarcoscope.stages.study_cohort import Study
from sarcoscope.stages.study_config import StudyConfig, paper_study, read_study_config, write_study_config
from sarcoscope.stages.study_listen import Silence, StudyListener
from sarcoscope.stages.study_plan import Done, Standing, Step
from sarcoscope.stages.study_record import StepRecord, read_study_record
from sarcoscope.stages.study_show import show_steps, shown_model

MICRO = PhantomStudySize(
    first=(5, 5, 2, 5, 5),
    second=(1, 1, 0, 1, 1),
    test1=1,
    side_l0=2048,
    tile_px=128,
    minimum_tiles=4,
    length=LengthConfig(epochs=1, epoch_tiles=48, batch=16),
    seeds=(0,),
    draws=50,
)
BROKEN = "phantom-study-broken"


def micro_config() -> StudyConfig:
    """Two scales of one network: enough for a fused model in both modes."""
    config = phantom_study(MICRO)
    row = replace(config.networks[0], mpp=(1.0, 0.5))
    return replace(
        config,
        tiles=replace(config.tiles, mpp=(Mpp(1.0), Mpp(0.5))),
        networks=(row,),
        ensembles=EnsembleSection(multi=(MultiModel(name="MultiV1", network=row.name, mpp=(1.0, 0.5)),)),
        examples=ExamplesSection(slides=1, cam_tiles=1, previews=False),
    )


def command(config: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "sarcoscope", "study", "run", str(config), *more]


def run(config: Path, *more: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(config, *more), capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )


def told(done: subprocess.CompletedProcess[str]) -> Any:
    """What it printed as JSON."""
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def numbers(out: Path) -> Any:
    """An evaluation without what differs by time and place."""
    evaluation = read_evaluation(out / "study" / "evaluation" / "evaluation.json")
    models = tuple(replace(model, bundle_sha256="") for model in evaluation.models)  # when a bundle was made is in it
    return replace(evaluation, models=models, provenance={})


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A painted cohort with its study.yaml, nothing done yet; one slide of the manifest is no slide."""
    out = tmp_path_factory.mktemp("study")
    write_study_config(out / "study.yaml", micro_config())
    make_phantom_study(out, MICRO)
    (out / "painted" / "broken.svs").write_bytes(b"II*\x00" + bytes(100))
    manifest = out / "manifest.csv"
    with manifest.open("a", encoding="utf-8") as rows:
        rows.write(f"{BROKEN},p,painted/broken.svs,LMS,batch1,,0.25,\n")
    return out


@pytest.fixture(scope="session")
def finished(painted: Path) -> tuple[Path, Any]:
    """The study done, with what the command printed."""
    done = run(painted / "study.yaml", "--json", "--workers", "2")
    assert done.returncode == 1, done.stderr  # for the slide that is none
    return painted, told(done)


def copied(finished: tuple[Path, Any], tmp_path: Path) -> Path:
    """The finished study in another folder, whose slides stay where they are."""
    out = tmp_path / "moved"
    shutil.copytree(finished[0] / "study", out / "study")
    shutil.copy(finished[0] / "study.yaml", out / "study.yaml")
    text = (finished[0] / "manifest.csv").read_text(encoding="utf-8")
    (out / "manifest.csv").write_text(text.replace("painted/", f"{finished[0]}/painted/"), encoding="utf-8")
    config = read_study_config(out / "study.yaml")
    run_study(StudyAsk(config=config, until=StudyStage.SCREENING))
    return out


def test_a_study_goes_from_a_manifest_to_a_report_and_names_what_it_went_without(finished: tuple[Path, Any]) -> None:
    out, printed = finished
    assert printed["failed"] == {}
    assert list(printed["failures"]) == ["check"]
    assert list(printed["failures"]["check"]) == [BROKEN]
    study = out / "study"
    assert (study / "report" / "index.html").is_file()
    assert (study / "report" / "report.pdf").read_bytes().startswith(b"%PDF")
    record = read_study_record(study)
    assert record.synthetic
    assert {one.stage for one in record.stages} == set(StudyStage)
    assert all(one.state == "done" and one.seconds is not None for one in record.stages)
    evaluation = read_evaluation(study / "evaluation" / "evaluation.json")
    assert evaluation.synthetic
    models = {model.name: model for model in evaluation.models}
    assert {"Ensemble", "MultiV1", "MultiV1-concentric"} <= set(models)
    assert models["Ensemble"].members == ("compact-20x",)  # the only one at 20x, so not in the tables twice
    assert {str(one.part) for one in evaluation.decisions} >= {"validation", "test1", "test2"}


def test_a_finished_study_has_nothing_to_do(finished: tuple[Path, Any]) -> None:
    out, printed = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "study").rglob("*") if path.is_file()}
    again = run(out / "study.yaml", "--json")
    assert told(again)["done"] == []
    assert told(again)["skipped"] == printed["done"]
    assert told(again)["report"] == printed["report"] == str(out / "study" / "report" / "index.html")
    early = run(out / "study.yaml", "--until", "split")
    assert early.stderr.splitlines()[-1].startswith("Synthetic: painted slides")
    assert told(run(out / "study.yaml", "--until", "split", "--json"))["report"] is None  # it may be stale
    assert again.returncode == 1  # the slide that is none is still none
    assert {path: path.stat().st_mtime_ns for path in (out / "study").rglob("*") if path.is_file()} == before
    assert run(out / "study.yaml", "--dry-run").stdout.splitlines()[-1] == "nothing to do"


def test_maps_of_a_model_that_goes_by_another_name_in_tables_are_of_that(
    finished: tuple[Path, Any],
) -> None:
    config = read_study_config(finished[0] / "study.yaml")
    asked = replace(config, examples=replace(config.examples, model="compact-20x"))
    evaluation = read_evaluation(Path(config.out) / "evaluation" / "evaluation.json")
    assert shown_model(Study(config=asked), evaluation) == "Ensemble"


def test_a_changed_rule_makes_bundles_stale_and_nothing_before_them(finished: tuple[Path, Any]) -> None:
    config = read_study_config(finished[0] / "study.yaml")
    assert config.rules.refine is not None
    rules = replace(config.rules, refine=replace(config.rules.refine, fraction=0.1))
    planned, _ = plan_study(StudyAsk(config=replace(config, rules=rules)))
    by_name = {one.step.name: one for one in planned}
    assert by_name["bundle Ensemble"].standing is Standing.STALE
    assert by_name["bundle Ensemble"].why == ("config rules.refine.fraction 0.05 -> 0.1",)
    assert by_name["evaluate"].standing is Standing.DEPENDS
    assert {by_name[name].standing for name in ("tiles", "train compact-20x", "search")} == {Standing.DONE}


def test_another_order_of_scales_is_another_model(finished: tuple[Path, Any]) -> None:
    config = read_study_config(finished[0] / "study.yaml")
    multi = replace(config.ensembles.multi[0], mpp=(0.5, 1.0))
    turned = replace(config, ensembles=replace(config.ensembles, multi=(multi,)))
    planned = {one.step.name: one for one in plan_study(StudyAsk(config=turned))[0]}
    assert planned["bundle MultiV1"].why == ("members changed",)
    assert planned["bundle Ensemble"].standing is Standing.DONE


def test_a_slide_that_cannot_be_diagnosed_again_shows_no_old_map(finished: tuple[Path, Any], tmp_path: Path) -> None:
    out = copied(finished, tmp_path) / "study"
    study = Study(config=read_study_config(out.parent / "study.yaml"))
    slide = min((out / "slides").glob("*/diagnosis.json")).parent
    (tmp_path / "broken.svs").write_bytes(b"II*\x00" + bytes(100))
    rows = [one if one.slide != slide.name else replace(one, path=tmp_path / "broken.svs") for one in read_cohort(out)]
    write_cohort(out, rows)
    done = next(one for one in show_steps(study) if one.name == "diagnose").does(None, Silence())
    assert list(done.failures) == [slide.name]
    assert not slide.exists()
    assert len(list((out / "slides").glob("*/diagnosis.json"))) == len(done.wrote) > 0


def test_a_split_that_was_edited_by_hand_is_told_and_kept(finished: tuple[Path, Any], tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    config = read_study_config(out / "study.yaml")
    split = out / "study" / "split.csv"
    rows = split.read_text(encoding="utf-8").splitlines()
    moved = next(place for place, row in enumerate(rows) if row.endswith(",test1"))
    rows[moved] = rows[moved].removesuffix("test1") + "train"
    split.write_text("\n".join(rows) + "\n", encoding="utf-8")
    planned = {one.step.name: one for one in plan_study(StudyAsk(config=config))[0]}
    assert planned["split"].standing is Standing.DONE
    assert planned["leakage"].why == ("split changed",)
    other = replace(config, split=replace(config.split, seed=1))
    for _ in range(2):  # the refusal lasts
        summary = run_study(StudyAsk(config=other, until=StudyStage.SPLIT))
        assert "was edited" in summary.failed["split"]
        assert "move it away" in summary.failed["split"]
        assert split.read_text(encoding="utf-8").splitlines() == rows
    assert run_study(StudyAsk(config=config, until=StudyStage.SPLIT)).failed == {}


def test_a_split_that_was_edited_by_hand_stands_for_the_slides_that_it_has(
    finished: tuple[Path, Any], tmp_path: Path
) -> None:
    out = copied(finished, tmp_path)
    config = read_study_config(out / "study.yaml")
    split, manifest = out / "study" / "split.csv", out / "manifest.csv"
    edited = split.read_text(encoding="utf-8").replace(",test1", ",train", 1)
    split.write_text(edited, encoding="utf-8")
    lines = [line for line in manifest.read_text(encoding="utf-8").splitlines() if "b2-ups" not in line]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    summary = run_study(StudyAsk(config=config, until=StudyStage.SPLIT))
    assert (summary.failed, summary.done) == ({}, ["check", "split"])
    assert split.read_text(encoding="utf-8") == edited
    some = [row for row in edited.splitlines() if "b2-lms" not in row]
    split.write_text("\n".join(some) + "\n", encoding="utf-8")
    fewer = [line for line in lines if "b2-wdlps" not in line]
    manifest.write_text("\n".join(fewer) + "\n", encoding="utf-8")
    summary = run_study(StudyAsk(config=config, until=StudyStage.SPLIT))
    assert "was edited by hand and has no part for phantom-study-b2-lms-01" in summary.failed["split"]


def test_a_slide_that_leaves_the_manifest_goes_and_the_others_stay(finished: tuple[Path, Any], tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    config = read_study_config(out / "study.yaml")
    manifest = out / "manifest.csv"
    lines = manifest.read_text(encoding="utf-8").splitlines()
    gone = next(line for line in lines if "b2-ups" in line)
    manifest.write_text("\n".join(line for line in lines if line != gone) + "\n", encoding="utf-8")
    slide = gone.split(",")[0]
    kept = out / "study" / "tiles" / "phantom-study-b2-lms-01.parquet"
    before = kept.stat().st_mtime_ns
    planned = {one.step.name: one for one in plan_study(StudyAsk(config=config))[0]}
    assert planned["check"].why == ("manifest changed", f"slide {slide} gone")
    summary = run_study(StudyAsk(config=config, until=StudyStage.TILE))
    assert summary.failed == {}
    assert not (out / "study" / "tiles" / f"{slide}.parquet").exists()
    assert kept.stat().st_mtime_ns == before


def test_from_finished_members_a_study_needs_no_torch(finished: tuple[Path, Any], tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    for name in ("bundles", "evaluation", "predictions", "cam", "ensembles"):
        shutil.rmtree(out / "study" / name)
    without = "import sys; sys.modules['torch'] = None; from sarcoscope.cli.main import main; main()"
    asked = ["study", "run", str(out / "study.yaml"), "--json", "--until", "explain"]
    done = subprocess.run([sys.executable, "-c", without, *asked], capture_output=True, text=True, check=False)
    assert told(done)["failed"] == {}, done.stderr
    assert "train compact-20x" in told(done)["skipped"]
    assert numbers(out) == numbers(finished[0])


def test_without_torch_and_without_members_it_is_one_line(painted: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    config = replace(read_study_config(painted / "study.yaml"), out=str(out / "study"))
    write_study_config(out / "study.yaml", config)
    without = "import sys; sys.modules['torch'] = None; from sarcoscope.cli.main import main; main()"
    asked = ["study", "run", str(out / "study.yaml"), "--until", "train"]
    done = subprocess.run([sys.executable, "-c", without, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: training needs torch; in a checkout: pip install '.[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def ended(config: Path, when: Callable[[], bool], by: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
    """Run it until `when`, then end it with the processes that it started; its exit code, and what it said."""
    process = subprocess.Popen(
        command(config), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not when():
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be ended"
    os.killpg(process.pid, by)
    _, said = process.communicate()
    return process.returncode, said


def test_a_study_that_is_killed_again_and_again_comes_to_the_same_numbers(
    finished: tuple[Path, Any], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    config = replace(
        read_study_config(finished[0] / "study.yaml"),
        out=str(out / "study"),
        examples=ExamplesSection(slides=0, cam_tiles=0),
    )
    write_study_config(out / "study.yaml", config)
    study = out / "study"
    code, said = ended(out / "study.yaml", lambda: len(list((study / "tiles").glob("*.parquet"))) > 2, signal.SIGINT)
    assert code == 130
    assert said.splitlines()[-1] == "interrupted: what was finished is kept; run the same command again to go on"
    assert "Traceback" not in said
    indexed = {path.name: path.stat().st_mtime_ns for path in (study / "tiles").glob("*.parquet")}
    longer = replace(config.recipe, length=replace(MICRO.length, epochs=9))
    write_study_config(out / "study.yaml", replace(config, recipe=longer), force=True)
    code, _ = ended(out / "study.yaml", (study / "members" / "compact-10x" / "checkpoint.pt").exists)
    assert code == -signal.SIGKILL
    write_study_config(out / "study.yaml", config, force=True)  # what is half trained is of another recipe now
    assert {name: (study / "tiles" / name).stat().st_mtime_ns for name in indexed} == indexed
    code, _ = ended(out / "study.yaml", (study / "predictions").exists)
    assert code == -signal.SIGKILL
    done = run(out / "study.yaml", "--json", "--until", "evaluate")
    assert told(done)["failed"] == {}, done.stderr
    assert numbers(out) == numbers(finished[0])


class Heard(Silence):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @override
    def step_began(self, name: str, why: Sequence[str], number: int, total: int) -> None:
        self.lines.append(f"{name}: {'; '.join(why)}")

    @override
    def step_skipped(self, name: str, number: int, total: int) -> None:
        self.lines.append(f"{name}: skipped")

    @override
    def step_failed(self, name: str, problem: str) -> None:
        self.lines.append(f"{name}: {problem}")


def written(
    out: Path, name: str, *after: str, text: str = "x", fails: bool = False, beside: tuple[str, ...] = ()
) -> Step:
    """A step that writes a file with what it read, or fails."""

    def does(_before: StepRecord | None, _hears: StudyListener) -> Done:
        if fails:
            raise TrainingError(f"{name} is broken", "mend it")
        (out / f"{name}.txt").write_text(text, encoding="utf-8")
        return Done(wrote={f"{name}.txt": ""}, failures={"s": "no slide"} if name == "a" else {})

    def reads() -> dict[str, str]:
        files = [out / f"{one}.txt" for one in (*after, *beside)]
        return {path.stem: path.read_text(encoding="utf-8") for path in files if path.exists()}

    stage = StudyStage.CHECK if name == "a" else StudyStage.TRAIN
    return Step(name=name, stage=stage, after=after, beside=beside, settings={"text": text}, reads=reads, does=does)


def test_a_step_that_fails_stops_only_what_cannot_do_without_it(tmp_path: Path) -> None:
    out = tmp_path / "study"
    study = Study(config=replace(micro_config(), out=str(out)))

    def steps(*, broken: bool, text: str = "x") -> list[Step]:
        return [
            written(out, "a", text=text),
            written(out, "b", "a", fails=broken),
            written(out, "c", "b"),
            written(out, "d", "a", beside=("b",)),
        ]

    heard = Heard()
    summary = run_steps(study, steps(broken=True), steps(broken=True), heard)
    assert heard.lines == [
        "a: ",
        "b: ",
        "b: b is broken; mend it",
        "c: cannot begin: b did not come through",
        "d: ",
    ]
    assert (summary.done, summary.exit_code) == (["a", "d"], 1)
    assert summary.failures == {"a": {"s": "no slide"}}
    heard = Heard()
    summary = run_steps(study, steps(broken=False), steps(broken=False), heard)
    assert heard.lines == ["a: skipped", "b: failed before", "c: ", "d: b new"]
    assert (summary.failed, summary.exit_code) == ({}, 1)  # for the slide of the step that was skipped
    heard = Heard()
    run_steps(study, steps(broken=False, text="y"), steps(broken=False, text="y"), heard)
    assert heard.lines == [
        "a: config text x -> y",
        "b: a changed",
        "c: skipped",
        "d: a changed",
    ]  # b came out as it was


def test_a_run_that_ends_early_forgets_no_later_step(tmp_path: Path) -> None:
    out = tmp_path / "study"
    study = Study(config=replace(micro_config(), out=str(out)))
    every = [written(out, "a"), written(out, "b", "a")]
    run_steps(study, every, every)
    changed = [written(out, "a", text="y"), every[1]]
    run_steps(study, changed, changed[:1])
    assert [one.name for one in read_study_record(out).stages] == ["a", "b"]
    alone = [written(out, "a", text="z")]
    run_steps(study, alone, alone)  # a study that has no step b any more
    assert [one.name for one in read_study_record(out).stages] == ["a"]


def test_two_runs_at_once_are_refused(finished: tuple[Path, Any]) -> None:
    lock = finished[0] / "study" / ".study.lock"
    with lock.open("a+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run(finished[0] / "study.yaml")
    assert done.returncode == 2
    assert "another run is at work on" in done.stderr


def test_the_paper_s_settings_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    write_study_config(path, paper_study())
    read = read_study_config(path)
    assert read == replace(paper_study(), manifest=str(tmp_path / "manifest.csv"), out=str(tmp_path / "study"))


def test_the_phantom_cohort_has_two_batches_and_patients_of_two_slides() -> None:
    for size, count in ((FULL, sum(FULL.first + FULL.second)), (TINY, sum(TINY.first + TINY.second))):
        slides = phantom_slides(size)
        assert len({one.slide_id for one in slides}) == len(slides) == count
        assert {one.batch for one in slides} == {1, 2}
        patients = patients_of([(one.slide_id, one.label, str(one.batch)) for one in slides])
        assert 0 < len(set(patients.values())) < len(slides)
        of_patient: dict[str, set[tuple[str, int]]] = {}
        for one in slides:
            of_patient.setdefault(patients[one.slide_id], set()).add((one.label, one.batch))
        assert all(len(found) == 1 for found in of_patient.values())
    five = patients_of([(f"s{number}", "LMS", "batch1") for number in range(7)])
    assert [name[-2:] for name in five.values()] == ["01", "01", "02", "03", "04", "05", "05"]


def test_the_best_trials_of_a_search_become_members_that_are_fused(finished: tuple[Path, Any], tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    base = read_study_config(out / "study.yaml")
    row = replace(base.networks[0], name="searched", mpp=(0.5,), trials=2, keep=2)
    config = replace(base, networks=(row,), ensembles=EnsembleSection(alone="all"))
    summary = run_study(StudyAsk(config=config, until=StudyStage.BUNDLE))
    assert summary.failed == {}
    names = {"searched-20x-1", "searched-20x-2"}
    assert names <= {folder.name for folder in (out / "study" / "members").iterdir()}
    assert {one.members for one in read_search(out / "study" / "ensembles" / "Ensemble.json").ranked} == {
        ("searched-20x-1",), ("searched-20x-2",), ("searched-20x-1", "searched-20x-2"),
    }  # fmt: skip
    assert all(one.standing is Standing.DONE for one in plan_study(StudyAsk(config=config, until=StudyStage.BUNDLE))[0])

    narrower = replace(config, search=replace(config.search, dropout=(0.1, 0.1)))
    planned = {one.step.name: one for one in plan_study(StudyAsk(config=narrower))[0]}
    assert planned["tune searched-20x"].why == ("config search.dropout [0.0, 0.5] -> [0.1, 0.1]",)
    summary = run_study(StudyAsk(config=narrower, until=StudyStage.TRAIN))
    assert (summary.failed, "tune searched-20x" in summary.done) == ({}, True)
    assert read_member(out / "study" / "members" / "searched-20x-1").config.network.dropout == 0.1

    trials = sorted(path.name for path in (out / "study" / "tuning" / "searched-20x").glob("trial-*"))
    (out / "study" / "members" / "searched-20x-1" / "member.json").write_text("{", encoding="utf-8")
    more = replace(narrower, networks=(replace(row, trials=3),))
    summary = run_study(StudyAsk(config=more, until=StudyStage.TRAIN))
    assert "member.json" in summary.failed["tune searched-20x"]  # which costs no trial
    assert sorted(path.name for path in (out / "study" / "tuning" / "searched-20x").glob("trial-*")) == trials
