"""A study's steps from members to numbers: all combinations ranked, bundles made, everything evaluated."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.evaluation import SlideResult
from sarcoscope.core.study import MultiModel, StudyStage
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.atomic import writing
from sarcoscope.formats.evaluation import EVALUATION_FILE, read_search
from sarcoscope.formats.member import PREDICTIONS_FILE, read_predictions
from sarcoscope.formats.split import read_repetitions
from sarcoscope.metrics.subsets import rank_subsets
from sarcoscope.reports.wording import plural
from sarcoscope.stages.ensemble import EnsembleAsk, make_ensemble
from sarcoscope.stages.ensemble_search import ENSEMBLES_FOLDER, SearchAsk, search_ensembles
from sarcoscope.stages.evaluate import EvaluateAsk, evaluate
from sarcoscope.stages.study_cohort import Study
from sarcoscope.stages.study_config import flat
from sarcoscope.stages.study_inputs import (
    BUNDLES,
    MEMBERS,
    bundles_reads,
    check_bundle,
    cohort_reads,
    content,
    members_reads,
    tiles_reads,
)
from sarcoscope.stages.study_listen import PassHears, StudyListener
from sarcoscope.stages.study_plan import Done, Step
from sarcoscope.stages.study_record import StepRecord, made
from sarcoscope.stages.study_train import Training, step_name, trainings

EVALUATION: Final = "evaluation"
_SEARCH: Final = "search"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyModel:
    """A bundle of the study."""

    name: str
    mode: str = "shared"
    after: tuple[str, ...]
    """Steps that it waits for."""
    network: str = ""
    """Whose best members at `mpp` it is made of; empty where its members are known otherwise."""
    mpp: tuple[float, ...] = ()
    alone: str = ""
    """The one member that it is."""


def models_of(study: Study) -> list[StudyModel]:
    """Members alone, the best combination at the base scale, models of several scales in each mode."""
    ensembles, base = study.config.ensembles, study.config.base_mpp
    every = trainings(study)
    found = []
    if ensembles.alone == "all":
        at_base = [(one, name) for one in every if one.mpp == base for name in one.members]
        found = [StudyModel(name=name, after=(step_name(one),), alone=name) for one, name in at_base]
    if ensembles.alone == "best":
        for row in study.config.networks:
            of_row = tuple(step_name(one) for one in every if one.row.name == row.name and one.mpp == base)
            if of_row:
                found.append(StudyModel(name=row.name, after=of_row, network=row.name, mpp=(base,)))
    found.append(StudyModel(name=ensembles.single, after=(_SEARCH,)))
    for multi in ensembles.multi:
        after = tuple(step_name(one) for one in every if one.row.name == multi.network and one.mpp in multi.mpp)
        found += [_multi(multi, mode, after) for mode in ensembles.modes]
    return found


def _multi(multi: MultiModel, mode: str, after: tuple[str, ...]) -> StudyModel:
    name = multi.name if mode == "shared" else f"{multi.name}-{mode}"
    return StudyModel(name=name, mode=mode, after=after, network=multi.network, mpp=multi.mpp)


def members_of(study: Study, model: StudyModel) -> list[str]:
    """Names of the members that a model is made of, settled on validation tiles alone. ArtifactError."""
    if model.alone:
        return [model.alone]
    if model.network:
        return [_best(study, model.network, mpp) for mpp in model.mpp]
    return list(read_search(_search_path(study)).ranked[0].members)


def evaluated(study: Study) -> list[str]:
    """Names of the bundles in the tables: of two of the same members the later one alone. ArtifactError."""
    return [name for name, stands in standing(study).items() if name == stands]


def standing(study: Study) -> dict[str, str]:
    """By model the one in the tables that it is the same as, mostly itself. ArtifactError."""
    keys: dict[str, tuple[str, ...]] = {}
    last: dict[tuple[str, ...], str] = {}
    for model in models_of(study):
        members = members_of(study, model)
        key = tuple(members) if len(members) == 1 else (model.mode, *members)
        keys[model.name] = key
        last[key] = model.name
    return {name: last[key] for name, key in keys.items()}


def _best(study: Study, network: str, mpp: float) -> str:
    """The member of a network and scale that is best on validation tiles; of equal ones the first by name.

    Tiles of pooled slides, which trained it too, have no say. ArtifactError.
    """
    names = [name for one in trainings(study) if one.row.name == network and one.mpp == mpp for name in one.members]
    found = {name: _validated(study.out, name) for name in sorted(names)}
    tiles, _, classes = next(iter(found.values()))
    if len(names) == 1 or tiles.is_empty():
        return next(iter(found))
    ranked = rank_subsets(
        [(name,) for name in found],
        [probabilities for _, probabilities, _ in found.values()].__getitem__,
        np.array([classes.index(code) for code in tiles["label"]], np.intp),
        tiles["slide"].to_list(),
        classes,
        metric=study.config.ensembles.metric,
        draws=1,  # no interval is asked for
        rng=np.random.default_rng(0),
    )
    return ranked[0].members[0]


def _validated(run: Path, name: str) -> tuple[pl.DataFrame, Probabilities, tuple[str, ...]]:
    """A member's validation tiles, sorted, their probabilities, and the classes. ArtifactError."""
    tiles, probabilities, classes = read_predictions(run / MEMBERS / name / PREDICTIONS_FILE)
    parts = read_repetitions(run).values()
    pooled = {slide for by_slide in parts for slide, part in by_slide.items() if part is Part.POOLED}
    rows = tiles.with_row_index().filter(
        (pl.col("part") == str(Part.VALIDATION)) & ~pl.col("slide").is_in(sorted(pooled))
    )
    rows = rows.sort("slide", "tile")
    return rows, probabilities[rows["index"].to_numpy()], classes


def base_members(study: Study) -> list[str]:
    """Names of all members trained at the base scale."""
    return [name for one in _at_base(study) for name in one.members]


def _at_base(study: Study) -> list[Training]:
    return [one for one in trainings(study) if one.mpp == study.config.base_mpp]


def _search_path(study: Study) -> Path:
    return study.out / ENSEMBLES_FOLDER / f"{study.config.ensembles.single}.json"


def model_steps(study: Study) -> list[Step]:
    """The search, a step a bundle, the evaluation."""
    config, out = study.config, study.out
    models = models_of(study)
    ensembles = flat(config.ensembles, "ensembles")
    asked = ("single", "metric", "rule", "most")
    draws = {f"evaluation.{key}": value for key, value in flat(config.evaluation).items()}
    names = [model.name for model in models]
    shown = config.examples.model
    if shown and shown not in names:
        raise InputError(f"examples.model {shown!r} is no model of the study", f"there are: {', '.join(names)}")
    search = Step(
        name=_SEARCH,
        stage=StudyStage.SEARCH,
        after=tuple(step_name(one) for one in _at_base(study)),
        settings={**{f"ensembles.{key}": ensembles[f"ensembles.{key}"] for key in asked}, **draws},
        reads=lambda: {**tiles_reads(out), **members_reads(out, base_members(study))},
        does=lambda _before, hears: _search(study, hears),
        size=lambda: float(2 ** len(base_members(study)) - 1),
    )
    evaluation = Step(
        name="evaluate",
        stage=StudyStage.EVALUATE,
        after=tuple(f"bundle {name}" for name in names),
        settings=draws,
        reads=lambda: {**tiles_reads(out), **cohort_reads(out), **bundles_reads(out, evaluated(study))},
        does=lambda _before, hears: _evaluate(study, evaluated(study), hears),
        size=lambda: float((len(cohort_reads(out)) - 1) * len(names)),
    )
    return [search, *(_bundle_step(study, model) for model in models), evaluation]


def _bundle_step(study: Study, model: StudyModel) -> Step:
    config, out = study.config, study.out
    settings: dict[str, Any] = {**flat(config.rules, "rules"), **flat(config.class_names, "class_names")}
    settings |= {f"ensembles.{key}": getattr(config.ensembles, key) for key in ("rule", "level")}
    settings |= {"base_mpp": config.base_mpp}
    return Step(
        name=f"bundle {model.name}",
        stage=StudyStage.BUNDLE,
        after=model.after,
        settings=settings,
        reads=lambda: {**tiles_reads(out), **cohort_reads(out), **_members_in_order(study, model)},
        does=lambda before, hears: _bundle(study, model, before, hears),
        size=lambda: 1.0,
        like=f"bundle, {model.mode}, of {len(model.mpp) or 1} scales",
    )


def bundle_files(study: Study) -> dict[str, dict[str, list[str]]]:
    """By step what it makes below OUT, each with what may not stand there unless the step made it."""
    return {f"bundle {one.name}": {_bundle_file(one): [f"{BUNDLES}/{one.name}"]} for one in models_of(study)}


def _bundle_file(model: StudyModel) -> str:
    return f"{BUNDLES}/{model.name}/bundle.json"


def _members_in_order(study: Study, model: StudyModel) -> dict[str, str]:
    """The graphs of a model's members, and which place each has."""
    names = members_of(study, model)
    order = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {**members_reads(study.out, names), "members": order}


def _search(study: Study, hears: StudyListener) -> Done:
    ensembles, draws = study.config.ensembles, study.config.evaluation
    names = base_members(study)
    found = search_ensembles(
        SearchAsk(
            run=study.out,
            members=tuple(study.out / MEMBERS / name for name in names),
            name=ensembles.single,
            rule=ensembles.rule,
            metric=ensembles.metric,
            most=ensembles.most,
            draws=draws.draws,
            seed=draws.seed,
            workers=study.workers,
            threads=study.threads,
        ),
        PassHears(hears, "reading validation slides"),
    )
    best = found.ranked[0]
    lucky = found.level_with_best
    return Done(
        wrote={_search_path(study).relative_to(study.out).as_posix(): ""},
        notes=(
            f"best of {plural(len(found.ranked), 'combination')}: {' + '.join(best.members)}",
            f"{lucky} of them, the best among them, cannot be told apart on {plural(found.tiles, 'validation tile')}",
        ),
        units=float(len(found.ranked)),
    )


def _bundle(study: Study, model: StudyModel, before: StepRecord | None, hears: StudyListener) -> Done:
    """Fuse and calibrate. A bundle that the study made before goes; ArtifactError for one that it did not make."""
    config = study.config
    home = study.out / BUNDLES / model.name
    if home.exists():
        if not made(before, _bundle_file(model)):
            raise ArtifactError(home, "was not made by this study", "move it away to have it made anew")
        with writing(home):
            shutil.rmtree(home)
    names = members_of(study, model)
    bundle = make_ensemble(
        EnsembleAsk(
            run=study.out,
            members=tuple(study.out / MEMBERS / name for name in names),
            out=home,
            name=model.name,
            mode=model.mode,
            rule=config.ensembles.rule,
            rules=config.rules,
            class_names=config.class_names,
            anchor=config.base_mpp if model.mode == "concentric" else None,
            level=config.ensembles.level,
            workers=study.workers,
            threads=study.threads,
        ),
        PassHears(hears, f"calibrating {model.name}"),
    )
    missing = dict(bundle.manifest.calibration.why_not)
    notes = (" + ".join(names), *(f"no {what}: {why}" for what, why in missing.items()))
    return Done(wrote={_bundle_file(model): ""}, notes=notes, units=1.0)


def _evaluate(study: Study, names: list[str], hears: StudyListener) -> Done:
    for name in names:
        check_bundle(study.out, name)
    draws = study.config.evaluation
    summary = evaluate(
        EvaluateAsk(
            run=study.out,
            bundles=tuple(study.out / BUNDLES / name for name in names),
            out=study.out / EVALUATION,
            draws=draws.draws,
            seed=draws.seed,
            workers=study.workers,
            threads=study.threads,
            name=study.config.title,
        ),
        PassHears(hears, "evaluating slides"),
    )
    found = summary.evaluation
    slides = len({one.slide for one in found.decisions})
    return Done(
        wrote={f"{EVALUATION}/{EVALUATION_FILE}": ""},
        notes=(f"{plural(len(found.models), 'model')} on {plural(slides, 'slide')}", *_right(found.slide)),
        failures=dict(found.failures),
        units=float((len(cohort_reads(study.out)) - 1) * len(names)),
    )


def _right(slide_results: Sequence[SlideResult]) -> list[str]:
    """How many slides of the test sets each model has right by the plain vote, in words."""
    by_part: dict[Part, list[str]] = {Part.TEST1: [], Part.TEST2: []}
    for one in slide_results:
        if one.part in by_part and one.way == "vote":
            by_part[one.part].append(f"{one.model} {one.overall.right}/{one.overall.n}")
    return [f"{part}, slides right by vote: {', '.join(words)}" for part, words in by_part.items() if words]


def evaluation_path(study: Study) -> Path:
    """evaluation.json of the study."""
    return study.out / EVALUATION / EVALUATION_FILE


def evaluation_reads(study: Study) -> dict[str, str]:
    """The numbers."""
    return {"evaluation": content(evaluation_path(study))}
