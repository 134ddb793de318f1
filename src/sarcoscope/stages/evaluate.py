"""Bundles on the parts of a run: tiles, whole slides, each decision with its grounds, bundles against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import polars as pl

from sarcoscope.cohort.splits import Split
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, shown
from sarcoscope.core.evaluation import (
    WAYS,
    ClassWords,
    Coverage,
    Decision,
    Evaluation,
    ModelWords,
    PatchResult,
    SlideResult,
    Sweep,
)
from sarcoscope.diagnosis.calibration import Calibration, tempered
from sarcoscope.diagnosis.fusion import fuse
from sarcoscope.diagnosis.verdict import diagnose_tiles, likeness_of
from sarcoscope.formats.bundle import Bundle, find_bundle
from sarcoscope.formats.evaluation import EVALUATION_FILE, write_evaluation
from sarcoscope.formats.evaluation_tables import write_tables
from sarcoscope.formats.split import read_split
from sarcoscope.metrics.patch import patch_result
from sarcoscope.stages.calibrate import calibrate
from sarcoscope.stages.evaluate_origin import check_unseen, is_trained_on_validation, other_splits
from sarcoscope.stages.evaluate_slides import (
    SweptSlide,
    comparisons,
    coverage_of,
    decision_of,
    slide_results,
    sweep_of,
    ways_of,
)
from sarcoscope.stages.evaluate_words import Counting, data_words, provenance
from sarcoscope.stages.evaluated_models import Model, Models, models_of
from sarcoscope.stages.phantom_mark import is_phantom
from sarcoscope.stages.predictions import (
    SILENT,
    PassListener,
    PatchTable,
    SlideTiles,
    patch_table,
    slide_tiles,
    units_of,
)

EVALUATION_FOLDER: Final = "evaluation"
PARTS: Final = (Part.VALIDATION, Part.TEST, Part.TEST1, Part.TEST2)
SYNTHETIC: Final = "Synthetic: painted slides, or a bundle trained on them; nothing here is of any clinical meaning. "
RESEARCH: Final = "Research use only, not a medical device."
_CALIBRATED: Final = ("temperature", "regression", "conformal", "distance")
_LEVEL: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateAsk:
    """What is evaluated, and on what."""

    run: Path
    """Run folder with cohort.csv, split.csv and tiles."""
    bundles: tuple[Path | str, ...]
    """Folders of bundles, or names of shipped ones."""
    parts: tuple[Part, ...] = ()
    """All that the split has of validation, test, test1 and test2 where left out."""
    fold: str = ""
    """The repetition of the split, where there are several."""
    out: Path | None = None
    """Folder of evaluation.json; RUN/evaluation where left out."""
    draws: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    """Of the bootstrap."""
    workers: int = 2
    """Threads that read tiles."""
    threads: int = 0
    """Threads that compute; 0 takes every core."""
    name: str = ""
    """Title; the run folder's name where left out."""

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("seed", 0), ("workers", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}", f"give at least {least}")
        if not self.bundles:
            raise InputError("no bundle given", "give folders of bundles, or the name of a shipped one")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSummary:
    """How an evaluation ended."""

    evaluation: Evaluation
    path: Path
    """evaluation.json."""
    reused: int
    """Slides of which nothing had to be predicted, counted once a bundle and level."""
    predicted: int
    """The others."""

    @property
    def exit_code(self) -> int:
        """0 where every slide was evaluated, 1 where some failed, 2 where all did."""
        if not (self.evaluation.decisions or self.evaluation.patch):
            return 2
        return 1 if self.evaluation.failures else 0


def evaluate(ask: EvaluateAsk, listener: PassListener = SILENT) -> EvaluateSummary:
    """Evaluate, and write OUT/evaluation.json and OUT/tables/*.csv.

    Raises InputError, also where slides asked for are known to have trained a member, ArtifactError, BundleError; a
    slide that cannot be read is named and the others go on.
    """
    started, begin = datetime.now(UTC), perf_counter()
    if not ask.run.is_dir():
        raise InputError(f"no run folder {shown(ask.run)}", "give --run")
    bundles = [find_bundle(str(one)) for one in ask.bundles]
    models = models_of(bundles)
    split = read_split(ask.run, ask.fold)
    out = ask.out or ask.run / EVALUATION_FOLDER
    hears = Counting(listener)
    scope = Scope.of(ask, split, bundles)
    check_unseen(ask.run, ask.fold, bundles, scope.patch)
    found = Found()
    for bundle in bundles:
        _Whole(ask, scope, bundle, hears).measure(models.of(bundle), found)
    evaluation = _evaluation(ask, scope, models, found)
    timings = {"started": started.isoformat(timespec="seconds"), "seconds": round(perf_counter() - begin, 1)}
    counts = {"reused": hears.reused, "predicted": hears.predicted}
    evaluation = replace(evaluation, provenance={**evaluation.provenance, "timings": timings, "slides": counts})
    write_evaluation(out / EVALUATION_FILE, evaluation)
    write_tables(out / "tables", evaluation)
    return EvaluateSummary(
        evaluation=evaluation, path=out / EVALUATION_FILE, reused=hears.reused, predicted=hears.predicted
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is measured on."""

    patch: tuple[Part, ...]
    """Parts whose tiles are."""
    slide: tuple[Part, ...]
    """Parts whose whole slides are."""
    tiles: bool
    """Whether the run has tiles at all."""
    validation: bool
    """Whether the split has validation slides, on which parts of bundles are calibrated."""
    pooled: tuple[str, ...]
    unscored: tuple[str, ...]
    """Classes that any of the bundles leaves unscored: none of them is scored on those slides."""

    @classmethod
    def of(cls, ask: EvaluateAsk, split: Split, bundles: Sequence[Bundle]) -> "Scope":
        """InputError where a part is asked for that the split does not have, or that is none to be evaluated on."""
        there = {*split.parts.values(), *((Part.VALIDATION, Part.TEST) if split.pooled else ())}
        for part in ask.parts:
            if part not in PARTS or part not in there:
                known = ", ".join(one for one in PARTS if one in there) or "none"
                raise InputError(f"nothing to evaluate on in part {part}", f"parts of this split that can be: {known}")
        parts = [one for one in PARTS if one in (ask.parts or there) and one in there]
        if not parts:
            raise InputError("the split has no part to evaluate on", f"it takes one of {', '.join(PARTS)}")
        unscored = {code for one in bundles for code in one.manifest.rules.unscored}
        return cls(
            patch=tuple(one for one in parts if one in (Part.VALIDATION, Part.TEST)),
            slide=tuple(one for one in parts if one in split.parts.values()),
            tiles=any((ask.run / "tiles").glob("*.parquet")),
            validation=Part.VALIDATION in split.parts.values(),
            pooled=split.pooled,
            unscored=tuple(code for code in bundles[0].codes if code in unscored),
        )


@dataclass(slots=True)
class Found:
    """What was measured so far."""

    words: list[ModelWords] = field(default_factory=list)
    patch: list[PatchResult] = field(default_factory=list)
    slide: list[SlideResult] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    """By slide and bundle."""

    def failed(self, bundle: str, problems: Mapping[str, str]) -> None:
        """Note which slides a bundle could not be measured on, and why."""
        for slide, problem in problems.items():
            self.failures.setdefault(slide, {}).setdefault(bundle, problem)


@dataclass(frozen=True, slots=True)
class _Whole:
    """One bundle, from whose members' predictions all models of it are measured."""

    ask: EvaluateAsk
    scope: Scope
    bundle: Bundle
    hears: PassListener

    def measure(self, models: Sequence[Model], found: Found) -> None:
        """Add what is measured of models of this bundle."""
        alone = len(models) == 1
        patch = self._patch(alone=alone, found=found)
        slides = self._slides(alone=alone, found=found)
        for model in models:
            mine = _members_of(model, patch)
            own = {
                name: replace(one, probabilities=one.probabilities[list(model.members)]) for name, one in slides.items()
            }
            calibration = self._calibration(model, mine, own)
            found.words.append(model.words(calibration))
            if mine is not None:
                found.patch += self._patch_results(model, mine, calibration)
            self._slide_results(model, own, calibration, found)

    def _patch(self, *, alone: bool, found: Found) -> PatchTable | None:
        """Tiles of the parts asked for, and of validation where parts of the bundle are calibrated."""
        parts = self.scope.patch if alone else tuple(dict.fromkeys((Part.VALIDATION, *self.scope.patch)))
        if not parts or not self.scope.tiles:
            return None
        table = patch_table(
            self.ask.run,
            self.bundle,
            parts,
            fold=self.ask.fold,
            workers=self.ask.workers,
            threads=self.ask.threads,
            listener=self.hears,
        )
        found.failed(self.bundle.manifest.name, table.failures)
        return table

    def _slides(self, *, alone: bool, found: Found) -> dict[str, SlideTiles]:
        """Slides of the parts asked for, and of validation where parts of the bundle are calibrated."""
        more = (Part.VALIDATION,) if self.scope.validation and not alone else ()
        distance = self.bundle.manifest.calibration.distance
        slides, failures = slide_tiles(
            self.ask.run,
            self.bundle,
            tuple(dict.fromkeys((*self.scope.slide, *more))),
            features_of=None if distance is None else distance.member,
            fold=self.ask.fold,
            workers=self.ask.workers,
            threads=self.ask.threads,
            listener=self.hears,
        )
        found.failed(self.bundle.manifest.name, failures)
        return slides

    def _calibration(self, model: Model, patch: PatchTable | None, slides: Mapping[str, SlideTiles]) -> Calibration:
        """A bundle's own; that of a part of it is fitted on the same validation tiles and slides."""
        carried = self.bundle.manifest.calibration
        if not model.of:
            nothing = carried == Calibration()
            return (
                replace(carried, why_not=dict.fromkeys(_CALIBRATED, "the bundle carries none")) if nothing else carried
            )
        if is_trained_on_validation(self.bundle):
            return Calibration(why_not=dict.fromkeys(_CALIBRATED, "validation tiles trained a member of the bundle"))
        level = carried.conformal.level if carried.conformal else _LEVEL
        fitted = calibrate(model.bundle, patch, slides, level=level).calibration
        return replace(fitted, why_not={**fitted.why_not, "distance": "not measured for a part of a bundle"})

    def _patch_results(self, model: Model, table: PatchTable, calibration: Calibration) -> list[PatchResult]:
        fusion, codes = model.bundle.manifest.fusion, model.bundle.codes
        fused = fuse(table.probabilities, fusion.rule, fusion.weights)
        results = []
        for part in self.scope.patch:
            rows = (table.tiles["part"] == str(part)).to_numpy()
            tiles = table.tiles.filter(pl.Series(rows))
            if tiles.is_empty():
                continue
            results.append(
                patch_result(
                    model.name,
                    part,
                    np.array([codes.index(label) for label in tiles["label"]]),
                    fused[rows],
                    units_of(tiles),
                    classes=codes,
                    slides=tiles["slide"].to_numpy(),
                    patients=tiles["patient"].drop_nulls().n_unique(),
                    pooled=sorted(tiles.filter("pooled")["label"].unique()),
                    temperature=calibration.temperature,
                    draws=self.ask.draws,
                    rng=np.random.default_rng(self.ask.seed),  # the same draws for every model on the same tiles
                )
            )
        return results

    def _slide_results(
        self, model: Model, slides: Mapping[str, SlideTiles], calibration: Calibration, found: Found
    ) -> None:
        manifest, codes = model.bundle.manifest, model.bundle.codes
        ways, reference = ways_of(manifest.rules, calibration), model.bundle.reference()
        scored = [code for code in codes if code not in manifest.rules.unscored]
        told: dict[Part, list[Decision]] = {part: [] for part in self.scope.slide}
        swept: list[SweptSlide] = []
        for name, one in slides.items():
            fused = fuse(one.probabilities, manifest.fusion.rule, manifest.fusion.weights)
            values = tempered(fused, calibration.temperature).astype(np.float32)  # as a diagnosis has them
            like = None
            if calibration.distance and reference is not None and one.features is not None:
                like = likeness_of(one.features, reference, calibration.distance)
            try:
                diagnosis = diagnose_tiles(name, values, codes, manifest.rules, calibration, likeness=like)
            except InputError as error:  # what the networks said of this slide; others may fare better
                found.failed(manifest.name, {name: str(error)})
                continue
            if one.part is Part.VALIDATION and one.slide.label not in self.scope.unscored:
                swept.append(SweptSlide(one.slide, values))
            if one.part in told:
                unscored = self.scope.unscored
                told[one.part].append(
                    decision_of(
                        model.name, one.part, one.slide, diagnosis, ways=ways, rules=manifest.rules, unscored=unscored
                    )
                )
        for decisions in told.values():
            found.decisions += decisions
            found.slide += slide_results(decisions, codes)
            if calibration.conformal and (mine := coverage_of(decisions, scored, calibration.conformal.level)):
                found.coverage.append(mine)
        if Part.VALIDATION in self.scope.slide and (sweep := sweep_of(model.name, swept, codes, manifest.rules)):
            found.sweeps.append(sweep)


def _members_of(model: Model, table: PatchTable | None) -> PatchTable | None:
    return None if table is None else replace(table, probabilities=table.probabilities[list(model.members)])


def _evaluation(ask: EvaluateAsk, scope: Scope, models: Models, found: Found) -> Evaluation:
    bundles = list(dict.fromkeys(model.whole.manifest.name for model in models.every))
    wholes = [model.whole for model in models.every if not model.of]
    synthetic = any(one.manifest.synthetic for one in wholes) or is_phantom(ask.run)
    order = {code: at for at, code in enumerate(WAYS)}
    return Evaluation(
        name=ask.name or ask.run.resolve().name,
        synthetic=synthetic,
        notice=(SYNTHETIC if synthetic else "") + RESEARCH,
        data=data_words(ask.run, ask.fold, scope.slide, found.decisions, found.patch) + other_splits(ask.run, wholes),
        classes=tuple(ClassWords(code=one.code, name=one.name, color=one.color) for one in wholes[0].manifest.classes),
        pooled=tuple(code for code in wholes[0].codes if code in scope.pooled),
        unscored=scope.unscored,
        draws=ask.draws,
        seed=ask.seed,
        models=tuple(found.words),
        patch=tuple(found.patch),
        slide=tuple(sorted(found.slide, key=lambda one: order[one.way])),
        decisions=tuple(found.decisions),
        comparisons=tuple(comparisons(found.decisions, models.pairs, draws=ask.draws, seed=ask.seed)),
        coverage=tuple(found.coverage),
        sweeps=tuple(found.sweeps),
        failures={slide: _in_words(problems, bundles) for slide, problems in found.failures.items()},
        provenance=provenance(ask.run, ask.fold, wholes, scope.slide),
    )


def _in_words(problems: Mapping[str, str], bundles: Sequence[str]) -> str:
    """Why a slide failed: once where it is the same for all bundles."""
    if len(set(problems.values())) == 1 and len(problems) == len(bundles):
        return next(iter(problems.values()))
    return "; ".join(f"{bundle}: {problem}" for bundle, problem in problems.items())
