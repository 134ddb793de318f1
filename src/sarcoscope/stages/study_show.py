"""A study's last steps, for people: maps of example slides, activation maps, the report."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Decision, Evaluation
from sarcoscope.core.study import StudyStage
from sarcoscope.formats.atomic import writing
from sarcoscope.formats.bundle import read_bundle
from sarcoscope.formats.evaluation import read_evaluation
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.reports.study_choice import ranked_by_validation
from sarcoscope.reports.study_page import StudyArtifacts, write_study_report
from sarcoscope.reports.wording import plural
from sarcoscope.stages.diagnose import DiagnoseConfig, diagnose
from sarcoscope.stages.ensemble_search import ENSEMBLES_FOLDER
from sarcoscope.stages.explain import ExplainAsk, explain
from sarcoscope.stages.jobs import jobs_from_manifest, safe_id, truths_from_manifest
from sarcoscope.stages.study_cohort import Study, preview_pictures
from sarcoscope.stages.study_inputs import BUNDLES, MEMBERS, bundles_reads, content, read_check, tiles_reads
from sarcoscope.stages.study_listen import DiagnoseHears, PassHears, StudyListener
from sarcoscope.stages.study_models import evaluated, evaluation_path, evaluation_reads, models_of, standing
from sarcoscope.stages.study_plan import Done, Step
from sarcoscope.stages.study_record import STAGES_FILE
from sarcoscope.stages.study_train import trainings

SLIDES: Final = "slides"
CAM: Final = "cam"
REPORT: Final = "report"
_EXPLAIN: Final = "explain"
_DIAGNOSE: Final = "diagnose"
_REPORT: Final = "report"


def show_steps(study: Study) -> list[Step]:
    """Maps, activation maps, report; those that are not asked for are left out."""
    config = study.config
    steps = []
    if config.examples.slides:
        steps.append(
            Step(
                name=_DIAGNOSE,
                stage=StudyStage.DIAGNOSE,
                after=("evaluate",),
                settings={f"examples.{key}": getattr(config.examples, key) for key in ("model", "slides")},
                reads=lambda: _diagnose_reads(study),
                does=lambda _before, hears: _diagnose(study, hears),
                size=lambda: float(len(example_slides(study))),
            )
        )
    if config.examples.cam_tiles:
        steps += [_explain_step(study, network.name) for network in config.networks]
    steps.append(
        Step(
            name=_REPORT,
            stage=StudyStage.REPORT,
            after=("evaluate",),
            beside=tuple(step.name for step in steps),
            settings={"title": config.title, "published": config.published},
            reads=lambda: _report_reads(study),
            does=lambda _before, _hears: _report(study),
            size=lambda: 1.0,
        )
    )
    return steps


def shown_model(study: Study, evaluation: Evaluation) -> str:
    """Whose maps are drawn: the one asked for, or of its members and in the tables; else the report's best one."""
    names = evaluated(study)
    asked = study.config.examples.model
    if asked:
        return standing(study)[asked]
    ranked = [one.name for one in ranked_by_validation(evaluation) if one.name in names]
    return ranked[0] if ranked else names[-1]


def example_slides(study: Study) -> list[str]:
    """Of each test set and class the first right ones by name, and of each set the first wrong and undetermined one.

    Which are right is the shown model's refined vote, or its plain one where it has no refined rule.
    """
    evaluation = read_evaluation(evaluation_path(study))
    model = shown_model(study, evaluation)
    own = [one for one in evaluation.decisions if one.model == model and one.part in {Part.TEST1, Part.TEST2}]
    chosen: list[str] = []
    for part in (Part.TEST1, Part.TEST2):
        of_part = sorted((one for one in own if one.part is part), key=lambda one: one.slide)
        for code in [one.code for one in evaluation.classes]:
            chosen += [one.slide for one in of_part if one.truth == code and _right(one)][
                : study.config.examples.slides
            ]
        chosen += [one.slide for one in of_part if _right(one) is False and one.undetermined is None][:1]
        chosen += [one.slide for one in of_part if one.undetermined is not None][:1]
    return list(dict.fromkeys(chosen))


def _right(one: Decision) -> bool | None:
    return one.right.get("refined", one.right.get("vote"))


def _diagnose_reads(study: Study) -> dict[str, str]:
    model = shown_model(study, read_evaluation(evaluation_path(study)))
    contents = read_check(study.out)["slides"]
    return {
        **bundles_reads(study.out, [model]),
        **{f"slide/{name}": contents.get(name, "") for name in example_slides(study)},
    }


def _diagnose(study: Study, hears: StudyListener) -> Done:
    """Maps and rings of the example slides; those of an earlier model or choice go."""
    out, wanted = study.out / SLIDES, example_slides(study)
    model = shown_model(study, read_evaluation(evaluation_path(study)))
    rows = [one for one in read_cohort(study.out) if one.slide in wanted]
    for folder in out.iterdir() if out.is_dir() else ():
        if folder.name not in {safe_id(name) for name in wanted}:
            _remove(folder)
    if not rows:
        return Done(notes=("no slide of a test set was decided, so none is drawn",), units=0.0)
    config = DiagnoseConfig(out=out, workers=study.workers, threads=study.threads)
    summary = diagnose(
        jobs_from_manifest(rows),
        read_bundle(study.out / BUNDLES / model),
        config,
        DiagnoseHears(hears),
        truths=truths_from_manifest(rows),
        title=study.config.title,
    )
    for slide in summary.failures:
        _remove(out / slide)  # what an earlier model said of it
    return Done(
        wrote={f"{SLIDES}/{record.slide}/diagnosis.json": "" for record in summary.records},
        notes=(f"{plural(len(summary.records), 'slide')} by {model}",),
        failures={slide: str(error) for slide, error in summary.failures.items()},
        units=float(len(rows)),
    )


def _remove(folder: Path) -> None:
    if folder.is_dir():
        with writing(folder):
            shutil.rmtree(folder)


def _explain_step(study: Study, network: str) -> Step:
    return Step(
        name=f"{_EXPLAIN} {network}",
        stage=StudyStage.EXPLAIN,
        after=tuple(f"bundle {model.name}" for model in models_of(study)),
        settings={"examples.cam_tiles": study.config.examples.cam_tiles},
        reads=lambda: {**tiles_reads(study.out), **bundles_reads(study.out, [explained(study, network)[0]])},
        does=lambda _before, hears: _explain(study, network, hears),
        like=_EXPLAIN,
        size=lambda: 1.0,
    )


def explained(study: Study, network: str) -> tuple[str, str]:
    """The bundle, and its member, by which a network is explained: its first alone at the base scale, else in a part.

    InputError where no bundle holds a member of it.
    """
    names = {name for one in trainings(study) if one.row.name == network for name in one.members}
    for model in models_of(study):
        manifest = read_bundle(study.out / BUNDLES / model.name).manifest
        for one in manifest.members:
            if one.name in names:
                return model.name, one.name
    raise InputError(f"no bundle holds a member of {network}", "add one to ensembles.multi, or train it at base_mpp")


def _explain(study: Study, network: str, hears: StudyListener) -> Done:
    bundle, member = explained(study, network)
    home = study.out / CAM / network
    _remove(home)
    summary = explain(
        ExplainAsk(
            run=study.out,
            bundle=study.out / BUNDLES / bundle,
            out=home,
            member=member,
            per_class=study.config.examples.cam_tiles,
            workers=study.workers,
            threads=study.threads,
        ),
        PassHears(hears, f"activation maps of {member}"),
    )
    return Done(
        wrote={summary.path.relative_to(study.out).as_posix(): ""},
        notes=(f"{plural(len(summary.record.tiles), 'tile')} of {member}",),
        failures=dict(summary.record.failures),
        units=1.0,
    )


def artifacts(study: Study) -> StudyArtifacts:
    """What the report is made from; of examples that are no longer asked for none."""
    out, examples = study.out, study.config.examples
    drawn = sorted((out / SLIDES).glob("*/diagnosis.json")) if examples.slides else []
    sheets = [out / CAM / network.name / "cam.json" for network in study.config.networks] if examples.cam_tiles else []
    names = [name for one in trainings(study) for name in one.members]
    curves = {name: out / MEMBERS / name / "curves.png" for name in names}
    return StudyArtifacts(
        out=out,
        title=study.config.title,
        evaluation=evaluation_path(study),
        searches=_there([out / ENSEMBLES_FOLDER / f"{study.config.ensembles.single}.json"]),
        cam=_there(sheets),
        curves={name: path for name, path in curves.items() if path.is_file()},
        slides={path.parent.name: path.parent for path in drawn},
        tiles_preview=tuple(preview_pictures(study)),
        stages=out / STAGES_FILE,
        published=study.config.published,
        run=out,
    )


def _there(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.is_file())


def _report_reads(study: Study) -> dict[str, str]:
    found = artifacts(study)
    reads = evaluation_reads(study)
    reads |= {f"ranking/{path.stem}": content(path) for path in found.searches}
    reads |= {f"maps/{path.parent.name}": content(path) for path in found.cam}
    reads |= {f"diagnosis/{name}": content(folder / "diagnosis.json") for name, folder in found.slides.items()}
    reads |= {f"curves/{name}": content(path) for name, path in found.curves.items()}
    reads |= {f"previews/{path.stem}": content(path) for path in found.tiles_preview}
    return reads


def _report(study: Study) -> Done:
    page = write_study_report(artifacts(study))
    files = [page, page.with_name("report.pdf")]
    return Done(
        wrote={path.relative_to(study.out).as_posix(): "" for path in files if path.is_file()},
        notes=(str(page),),
        units=1.0,
    )
