"""What a study did not make it leaves alone, however often it is run; what it made it knows again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sarcoscope.core.errors import TrainingError
from sarcoscope.core.study import ExamplesSection, StudyNetwork, StudyStage
from sarcoscope.stages.study import run_steps
from sarcoscope.stages.study_cohort import Study
from sarcoscope.stages.study_config import paper_study
from sarcoscope.stages.study_listen import StudyListener
from sarcoscope.stages.study_models import model_steps
from sarcoscope.stages.study_plan import Done, Step, stand
from sarcoscope.stages.study_record import StepRecord, StepState, made, read_study_record
from sarcoscope.stages.study_show import artifacts, show_steps
from sarcoscope.stages.study_train import is_ours, trainings
from sarcoscope.stages.tile_preview import FOLDER as PREVIEW

BUNDLE = "bundles/Ensemble/bundle.json"
MEMBER = "members/net-20x/member.json"


def study_of(out: Path, trials: int = 0) -> Study:
    row = StudyNetwork(name="net", mpp=(0.5,), trials=trials, keep=2 if trials else 1)
    paper = paper_study()
    ensembles = replace(paper.ensembles, multi=())
    return Study(config=replace(paper, out=str(out), networks=(row,), ensembles=ensembles))


def put(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def a_step(name: str, does: Callable[[StepRecord | None], Done], setting: int = 1) -> Step:
    def doing(before: StepRecord | None, _hears: StudyListener) -> Done:
        return does(before)

    return Step(name=name, stage=StudyStage.TRAIN, settings={"k": setting}, does=doing)


def test_a_bundle_that_the_study_did_not_make_stays_at_the_second_run_too(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study")
    foreign = put(study.out / BUNDLE)
    found = next(one for one in model_steps(study) if one.name == "bundle Ensemble")
    steps = [replace(found, after=(), reads=dict)]
    for _ in range(3):
        summary = run_steps(study, steps, steps)
        assert "was not made by this study; move it away" in summary.failed["bundle Ensemble"]
        assert foreign.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("stands", [False, True])
def test_what_a_failed_step_began_is_its_own_and_what_stood_there_is_not(tmp_path: Path, *, stands: bool) -> None:
    study = study_of(tmp_path / "study")
    if stands:
        put(study.out / MEMBER)
    ours: list[bool] = []

    def fails(before: StepRecord | None) -> Done:
        ours.append(is_ours(study, trainings(study)[0], before))
        put(study.out / MEMBER).with_name("checkpoint.pt").touch()
        raise TrainingError("the loss is no number", "lower the rate")

    for setting in (1, 2, 3):
        steps = [a_step("train net-20x", fails, setting)]
        run_steps(study, steps, steps)
    assert ours == [not stands] * 3


def test_a_failed_step_is_recorded_with_what_stands_there(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study")
    steps = [a_step("a", lambda _before: Done(wrote={"a.txt": "1"}))]
    run_steps(study, steps, steps)

    def fails(_before: StepRecord | None) -> Done:
        raise TrainingError("broken", "mend it")

    steps = [a_step("a", fails, 2)]
    run_steps(study, steps, steps)
    record = read_study_record(study.out).of("a")
    assert record is not None
    assert (record.state, record.settings, record.wrote) == (StepState.FAILED, {"k": 1}, {"a.txt": "1"})
    steps = [a_step("a", lambda _before: Done(), 2)]
    run_steps(study, steps, steps)
    record = read_study_record(study.out).of("a")
    assert record is not None
    assert (record.state, record.settings, record.wrote) == (StepState.DONE, {"k": 2}, {})


def test_a_search_is_the_study_s_own_where_all_its_members_are(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", trials=3)
    one = trainings(study)[0]
    first, second = (f"members/net-20x-{place}/member.json" for place in (1, 2))
    record = StepRecord(
        name="tune net-20x", stage=StudyStage.TRAIN, state=StepState.DONE, settings={}, reads={}, wrote={first: ""}
    )
    assert is_ours(study, one, None)  # nothing is there
    put(study.out / "tuning" / "net-20x.db")
    assert not is_ours(study, one, None)
    put(study.out / first)
    assert is_ours(study, one, record)
    put(study.out / second)
    assert not is_ours(study, one, record)


def test_a_step_that_left_the_study_knows_its_files_when_it_comes_back(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study")

    def makes(_before: StepRecord | None) -> Done:
        put(study.out / BUNDLE)
        return Done(wrote={BUNDLE: ""})

    both = [a_step("bundle Ensemble", makes), a_step("b", lambda _before: Done())]
    run_steps(study, both, both)
    run_steps(study, [a_step("b", lambda _before: Done(), 2)], [a_step("b", lambda _before: Done(), 2)])
    record = read_study_record(study.out)
    assert [[one.name for one in part] for part in (record.stages, record.gone)] == [["b"], ["bundle Ensemble"]]
    assert run_steps(study, both, both).skipped == ["bundle Ensemble"]
    known: list[bool] = []
    run_steps(study, both[1:], [a_step("b", lambda _before: Done(), 3)])

    def again(before: StepRecord | None) -> Done:
        known.append(made(before, BUNDLE))
        return Done(wrote={BUNDLE: ""})

    both = [a_step("bundle Ensemble", again, 2), both[1]]
    run_steps(study, both, both)
    assert known == [True]
    record = read_study_record(study.out)
    assert ([one.name for one in record.stages], record.gone) == (["bundle Ensemble", "b"], ())


def test_a_renamed_model_of_one_scale_is_searched_again(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study")
    renamed = Study(config=replace(study.config, ensembles=replace(study.config.ensembles, single="Other")))
    before, now = (replace(model_steps(one)[0], reads=dict) for one in (study, renamed))
    record = StepRecord(name="search", stage=now.stage, state=StepState.DONE, settings=dict(before.settings), reads={})
    assert stand(now, record, study.out).why == ("config ensembles.single Ensemble -> Other",)


def test_a_report_reads_all_that_it_shows_and_shows_no_example_that_is_not_asked_for(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study")
    out = study.out
    put(out / "evaluation" / "evaluation.json")
    put(out / "slides" / "s" / "diagnosis.json")
    put(out / "cam" / "net" / "cam.json")
    put(out / "members" / "net-20x" / "curves.png")
    put(out / PREVIEW / "class-LMS_0.5um.png")
    put(out / "cohort.csv", "slide,path,label\ns,s.svs,LMS\n")
    shown = {"diagnosis/s", "maps/net", "curves/net-20x", "previews/class-LMS_0.5um"}
    assert set(show_steps(study)[-1].reads()) == {"evaluation", *shown}
    none = Study(config=replace(study.config, examples=ExamplesSection(slides=0, cam_tiles=0, previews=False)))
    assert set(show_steps(none)[-1].reads()) == {"evaluation", "curves/net-20x"}
    assert (artifacts(none).slides, artifacts(none).cam, artifacts(none).tiles_preview) == ({}, (), ())
