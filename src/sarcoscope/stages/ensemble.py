"""`ensemble make`: trained members, fused and calibrated on validation, as a bundle that `diagnose` takes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import WEIGHTED, fit_weights
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.bundle import Bundle, BundleManifest, HashedFile
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.stages.bundle_make import INTENDED_USE, NOT_FOR, classes_of, origin_of, refuse_taken, write_parts
from sarcoscope.stages.calibrate import Calibrated, calibrate, validation_tiles
from sarcoscope.stages.ensemble_members import Fusible, fusible
from sarcoscope.stages.ensemble_search import SearchAsk, search_ensembles
from sarcoscope.stages.predictions import SILENT, PassListener, patch_table, slide_tiles, train_features

__all__ = ["EnsembleAsk", "SearchAsk", "make_ensemble", "search_ensembles"]

REFERENCE_FILE: Final = "reference.npz"
"""Features of training tiles, within a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleAsk:
    """What an ensemble is made of."""

    run: Path
    """Whose validation tiles and slides it is fitted on."""
    members: tuple[Path, ...]
    """Folders of trained members; one alone is calibrated too."""
    out: Path
    """Folder of the bundle; must not be there yet."""
    name: str = ""
    """The folder's own where it is left out."""
    version: str = "1"
    mode: str = "shared"
    """shared: every member reads the same tile, as published. concentric: each its own scale around its centre."""
    rule: str = "mean"
    """mean, weighted, product or vote: `diagnosis.fusion`."""
    rules: SlideRules = field(default_factory=SlideRules)
    """Of the slide level."""
    class_names: Mapping[str, str] = field(default_factory=dict)
    """Of classes, in words, by code."""
    intended_use: str = INTENDED_USE
    not_for: str = NOT_FOR
    fold: str = ""
    """The repetition of the split that the members were trained in; may be left out where they tell."""
    anchor: float | None = None
    """um/px of the tiles around whose centres concentric members read; None: 0.5 where a member was validated at it,
    else the finest scale that one was."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """By name of a member, the um/px that it reads in mode concentric; needed where it was trained at several."""
    level: float = 0.9
    """Share of slides whose conformal set is to hold their class."""
    seed: int = 0
    """Of the choice of training tiles that slides are compared with."""
    workers: int = 2
    threads: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"level {self.level}", "give a share between 0 and 1, e.g. 0.9")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """Training tiles' features of one member, or why there are none."""

    member: str
    features: Features | None
    why_not: str = ""


def make_ensemble(ask: EnsembleAsk, listener: PassListener = SILENT) -> Bundle:
    """Fit weights and calibration on validation tiles and slides, write the bundle and open it.

    Test sets are not read. What cannot be fitted is left out, and why stands in the bundle. Raises InputError where
    members do not go together or with the run, ArtifactError.
    """
    refuse_taken(ask.out)
    members = fusible(
        ask.run,
        ask.members,
        mode=ask.mode,
        rule=ask.rule,
        fold=ask.fold,
        anchor=ask.anchor,
        scales=ask.scales,
        names=ask.class_names,
    )
    ask.rules.check(members.records[0].classes)
    draft = members.lent(ask.rules)
    table = patch_table(
        ask.run,
        draft,
        (Part.VALIDATION,),
        fold=members.fold,
        workers=ask.workers,
        threads=ask.threads,
        listener=listener,
    )
    weights = fit_weights(*validation_tiles(table, draft.codes)) if ask.rule == WEIGHTED else ()
    reference = _reference(ask, members, members.reads_tiles(weights), listener)
    slides, failed = slide_tiles(
        ask.run,
        draft,
        (Part.VALIDATION,),
        features_of=reference.member or None,
        fold=members.fold,
        workers=ask.workers,
        threads=ask.threads,
        listener=listener,
    )
    fitted = calibrate(
        members.lent(ask.rules, ask.rule, weights),
        table,
        slides,
        level=ask.level,
        reference=reference.features,
        distance_of=reference.member,
    )
    if reference.why_not:
        why = {**fitted.calibration.why_not, "distance": reference.why_not}
        fitted = replace(fitted, calibration=replace(fitted.calibration, why_not=why))
    return _written(ask, members, weights, fitted, sorted({*table.failures, *failed}))


def _reference(ask: EnsembleAsk, members: Fusible, name: str, listener: PassListener) -> _Reference:
    if not name:
        return _Reference(member="", features=None)
    try:
        found = train_features(
            ask.run,
            members.lent(ask.rules),
            name,
            fold=members.fold,
            seed=ask.seed,
            workers=ask.workers,
            threads=ask.threads,
            listener=listener,
        )
    except InputError as error:  # no training tile at the bundle's scale: all else can be fitted
        return _Reference(member=name, features=None, why_not=str(error))
    return _Reference(member=name, features=found)


def _written(
    ask: EnsembleAsk, members: Fusible, weights: tuple[float, ...], fitted: Calibrated, left_out: list[str]
) -> Bundle:
    files = {} if fitted.reference is None else {REFERENCE_FILE: _npz(fitted.reference)}
    listed = [HashedFile(path=path, sha256=hashlib.sha256(content).hexdigest()) for path, content in files.items()]
    manifest = BundleManifest(
        name=ask.name or ask.out.resolve().name,
        version=ask.version,
        synthetic=members.synthetic,
        intended_use=ask.intended_use,
        not_for=ask.not_for,
        classes=classes_of(members.records[0].classes, ask.class_names),
        members=members.members(),
        fusion=members.fusion(ask.rule, weights),
        tiling=members.tiling,
        rules=ask.rules,
        calibration=fitted.calibration,
        reference=next(iter(listed), None),
        provenance={
            **origin_of(members.records, "sarcoscope ensemble make"),
            "fitted": _fitted(ask, members, weights, fitted, left_out),
        },
    )
    return write_parts(ask.out, members.folders, manifest, files)


def _fitted(
    ask: EnsembleAsk, members: Fusible, weights: tuple[float, ...], fitted: Calibrated, left_out: list[str]
) -> dict[str, Any]:
    """What the numbers of the bundle rest on; slides by their ids."""
    return {
        "on": "validation tiles and slides alone; no test set was read",
        "fold": members.fold,
        "split_sha256": sha256_file(ask.run / SPLIT_FILE),
        "tiles": fitted.tiles,
        "slides": list(fitted.slides),
        "left_out": left_out,
        "weights": dict(zip(members.names, weights, strict=True)) if weights else {},
        "temperature": fitted.calibration.temperature,
        "reference_tiles": 0 if fitted.reference is None else len(fitted.reference),
        "seed": ask.seed,
    }


def _npz(features: Features) -> bytes:
    content = BytesIO()
    np.savez(content, features=features)
    return content.getvalue()
