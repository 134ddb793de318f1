"""A study's artefacts on disk, and its report, made once for all tests that look at it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sarcoscope.core.evaluation import Evaluation
from sarcoscope.formats.bundle import BundleClass
from sarcoscope.formats.cam import CamRecord, CamSheet, write_cam
from sarcoscope.formats.evaluation import write_evaluation, write_search
from sarcoscope.reports.study_page import StudyArtifacts
from tests.reports.builder import CLASSES, make_slide
from tests.reports.evaluation_made import MODELS, ask, make_evaluation, make_search, write_stages


@dataclass(frozen=True, kw_only=True)
class Made:
    """A written report and what it was made from."""

    study: StudyArtifacts
    evaluation: Evaluation
    page: Path


def study_of(folder: Path, evaluation: Evaluation, **changes: Any) -> StudyArtifacts:
    """Artefacts of which only the evaluation is there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_evaluation(folder / "evaluation.json", evaluation)
    values: dict[str, Any] = {
        "out": folder,
        "title": "A study of phantoms",
        "evaluation": folder / "evaluation.json",
    } | changes
    return StudyArtifacts(**values)


def full_study(folder: Path) -> tuple[StudyArtifacts, Evaluation]:
    """Artefacts of every kind that need no run."""
    evaluation = make_evaluation(ask(models=(*MODELS[:1], *MODELS[3:4], MODELS[5])))
    folder.mkdir(parents=True, exist_ok=True)
    write_search(folder / "search.json", make_search(12))
    picture = folder / "picture.png"
    Image.fromarray(np.full((60, 90, 3), (205, 140, 185), np.uint8)).save(picture)
    study = study_of(
        folder,
        evaluation,
        searches=(folder / "search.json",),
        cam=(_cam(folder / "cam"),),
        curves={"b7-1": picture},
        slides={"test1-001": make_slide(folder, "test1-001", evidence=False)},
        tiles_preview=(picture,),
        stages=write_stages(folder / "stages.json"),
        published=True,
    )
    return study, evaluation


def _cam(folder: Path) -> Path:
    folder.mkdir()
    Image.fromarray(np.full((80, 120, 3), (40, 120, 140), np.uint8)).save(folder / "UPS-right.png")
    classes = [BundleClass(code=code, name=name, color=color) for code, (name, color) in CLASSES.items()]
    record = CamRecord(
        synthetic=True, notice="Phantoms.", bundle="EfficientNetB7", bundle_sha256="e" * 64, part="test", fold="",
        classes=classes, members=["b7-1"], combined="", tiles=[], missing=[], failures={}, provenance={},
        sheets=[CamSheet(file="UPS-right.png", code="UPS", kind="right", tiles=[])],
    )  # fmt: skip
    write_cam(folder / "cam.json", record, {})
    return folder / "cam.json"
