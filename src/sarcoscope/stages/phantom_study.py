"""The phantom study: a painted cohort, and the study.yaml that runs the whole paper on it. Of no clinical meaning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from sarcoscope.core.cutting import CutConfig, Method, ScoreConfig
from sarcoscope.core.geometry import Mpp, Size
from sarcoscope.core.study import (
    EnsembleSection,
    EvaluateSection,
    ExamplesSection,
    MultiModel,
    RecipeSection,
    SplitSection,
    StudyNetwork,
)
from sarcoscope.core.training import (
    NO_WEIGHTS,
    BalanceConfig,
    LengthConfig,
    NetworkConfig,
    OptimiserConfig,
    UnfreezeConfig,
)
from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.formats.manifest import read_manifest, write_manifest
from sarcoscope.phantom.spec import ARTEFACTS, CLASSES, PhantomSlide
from sarcoscope.stages.demo import paint
from sarcoscope.stages.study_config import CONFIG_FILE, StudyConfig, paper_study, write_study_config

SEED: Final = 20_260_611
"""Seeds the slides; none of them is among those that the shipped bundle was trained on."""
_SCALES: Final = (1.0, 0.5, 0.25)
_COMPACT: Final = "compact"
_SHARED_BY_TWO: Final = 5
"""Of so many slides of a class and batch, in order, the first two are of one patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomStudySize:
    """How large a phantom study is."""

    first: tuple[int, ...]
    """Slides of batch 1 of each class, in the order of `phantom.spec.CLASSES`."""
    second: tuple[int, ...]
    """The same of batch 2, which is test set 2."""
    test1: int
    """Slides of each class but the pooled one that are test set 1."""
    side_l0: int
    """Of each slide, level-0 px."""
    tile_px: int
    """Of each tile; smaller than the paper's, so that small slides hold enough of them at 1 um/px."""
    minimum_tiles: int
    """Of a slide that is decided."""
    length: LengthConfig
    seeds: tuple[int, ...]
    """Of the second network."""
    draws: int
    """Of the bootstrap."""
    others: tuple[str, ...] = ()
    """Further networks of timm, at the base scale."""


FULL: Final = PhantomStudySize(
    first=(14, 11, 3, 11, 11),
    second=(4, 3, 0, 3, 3),
    test1=3,
    side_l0=8192,
    tile_px=256,
    minimum_tiles=20,
    length=LengthConfig(epochs=4, epoch_tiles=960, batch=24),
    seeds=(0, 1),
    draws=1000,
    others=("mobilenetv3_small_050",),
)
TINY: Final = PhantomStudySize(
    first=(6, 5, 2, 5, 5),
    second=(1, 1, 0, 1, 1),
    test1=1,
    side_l0=3072,
    tile_px=128,
    minimum_tiles=10,
    length=LengthConfig(epochs=2, epoch_tiles=240, batch=24),
    seeds=(0,),
    draws=200,
)


def make_phantom_study(
    out: Path,
    size: PhantomStudySize = FULL,
    *,
    workers: int = 2,
    painting: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Paint the cohort, unless it is there, and write OUT/manifest.csv and OUT/study.yaml, whose path is returned.

    A study.yaml that is there stays: it may have been edited. Raises ArtifactError.
    """
    folder = out / "painted"
    rows = read_manifest(paint(phantom_slides(size), folder, workers, painting))
    patients = patients_of([(one.slide, one.label or "", one.batch or "") for one in rows])
    named = [replace(one, path=Path(folder.name) / one.path.name, patient=patients[one.slide]) for one in rows]
    write_manifest(out / "manifest.csv", named)
    path = out / CONFIG_FILE
    if not path.exists():
        write_study_config(path, phantom_study(size))
    return path


def phantom_slides(size: PhantomStudySize) -> list[PhantomSlide]:
    """The cohort: both batches, every second DDLPS slide with a WDLPS component, a quarter of all with an artefact."""
    rng = np.random.default_rng(SEED)
    slides = []
    for batch, counts in ((1, size.first), (2, size.second)):
        for label, count in zip(CLASSES, counts, strict=True):
            for number in range(count):
                mixed = label == "DDLPS" and number % 2 == 1
                dirty = rng.random() < 0.25
                slides.append(
                    PhantomSlide(
                        slide_id=f"phantom-study-b{batch}-{label.lower()}-{number + 1:02d}",
                        label=label,
                        component="WDLPS" if mixed else None,
                        component_share=float(rng.uniform(0.25, 0.42)) if mixed else 0.0,
                        batch=batch,
                        size=Size(size.side_l0, size.side_l0),
                        seed=int(rng.integers(2**31)),
                        artefacts=frozenset([str(rng.choice(sorted(ARTEFACTS)))] if dirty else []),
                    )
                )
    return slides


def patients_of(slides: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    """Patient by slide; within a class and batch two of every five slides are of one patient."""
    found: dict[str, str] = {}
    seen: dict[tuple[str, str], int] = {}
    for slide, label, batch in slides:
        place = seen.get((label, batch), 0)
        seen[label, batch] = place + 1
        group, within = divmod(place, _SHARED_BY_TWO)
        number = (_SHARED_BY_TWO - 1) * group + max(1, within)
        found[slide] = f"phantom-patient-{label.lower()}-{batch}-{number:02d}"
    return found


def phantom_study(size: PhantomStudySize = FULL) -> StudyConfig:
    """The paper's study with small networks and small tiles, on phantoms."""
    paper = paper_study()
    test1 = {code: size.test1 for code in CLASSES if code not in PAPER_RULES.unscored}
    return StudyConfig(
        title="Phantom study: synthetic slides, of no clinical meaning",
        classes=paper.classes,
        class_names=paper.class_names,
        tiles=CutConfig(
            mpp=tuple(Mpp(one) for one in _SCALES),
            tile_px=size.tile_px,
            methods={"WDLPS": Method.SCORE},
            score=ScoreConfig(top=300),
        ),
        split=SplitSection(ratios=(0.5, 0.3, 0.2), test1=test1, pooled=PAPER_RULES.unscored),
        networks=(
            StudyNetwork(
                name=_COMPACT,
                network=NetworkConfig(name="compact", weights=NO_WEIGHTS),
                mpp=_SCALES,
            ),
            StudyNetwork(
                name="compact-dropout",
                network=NetworkConfig(name="compact", weights=NO_WEIGHTS, dropout=0.4),
                seeds=size.seeds,
            ),
            *(StudyNetwork(name=one, network=NetworkConfig(name=one, weights=NO_WEIGHTS)) for one in size.others),
        ),
        recipe=RecipeSection(
            metric="tile_balanced_accuracy",
            balance=BalanceConfig(by="even"),
            unfreeze=UnfreezeConfig(gradual=False, decay=1.0),  # from random weights nothing is worth freezing
            optimiser=OptimiserConfig(learning_rate=2e-3, backbone=1.0, weight_decay=0.02, warm_up=0.1),
            length=size.length,
            device="cpu",
            trackers=(),
        ),
        ensembles=EnsembleSection(
            multi=(
                MultiModel(name="MultiV1", network=_COMPACT, mpp=(1.0, 0.5)),
                MultiModel(name="MultiV2", network=_COMPACT, mpp=_SCALES),
            )
        ),
        evaluation=EvaluateSection(draws=size.draws),
        examples=ExamplesSection(slides=1, cam_tiles=3),
        rules=replace(PAPER_RULES, minimum_tiles=size.minimum_tiles),
        published=True,
    )
