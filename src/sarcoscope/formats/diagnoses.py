"""diagnosis.json: what is said of one slide, on what grounds, and how it came about."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sarcoscope.core.diagnosis import ClassSet, Component, Diagnosis, Vote
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.slide import Scale, SlideInfo
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.diagnosis.rules import AncillaryTest
from sarcoscope.formats.atomic import write_json
from sarcoscope.formats.bundle import Bundle

PAINTED: Final = "The slide is a synthetic phantom: of no clinical meaning."
DIAGNOSIS_SCHEMA: Literal[2] = 2
_SINCE_2: Final[dict[str, Any]] = {"other_ways": {}, "set": None, "likeness": None, "why_not": {}}
"""Keys that a file of schema 1 lacks, and what they say then: nothing."""

NO_CALIBRATION: Final = "the bundle carries no calibration"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassRecord(_Record):
    """A class as the bundle declares it, so that a report needs no bundle."""

    code: str
    name: str
    color: str
    """'#rrggbb'."""


class RefinedRecord(_Record):
    """The refined rule's outcome."""

    label: str | None
    votes: dict[str, int]
    second: str | None
    margin: float | None
    applied: bool
    changed: bool
    reason: str


class ComponentRecord(_Record):
    """One component rule's outcome."""

    main: str
    component: str
    present: bool
    share: float
    reason: str


class AncillaryRecord(_Record):
    """What would separate classes of a set: a text for people."""

    test: str
    source: str
    """Where this is said."""
    between: list[str]
    """The classes of the set that it separates, two or more."""


class SetRecord(_Record):
    """The classes that cannot be told apart at a level."""

    classes: list[str]
    """The most probable first; empty where none fits."""
    level: float
    """Share of slides whose set is to hold their class, 0..1."""
    reason: str
    tests: list[AncillaryRecord]


class LikenessRecord(_Record):
    """Whether the slide looks like those that the bundle was made from."""

    distance: float
    """Mean distance of its tiles to training tiles in the last feature layer, 0..2."""
    p: float
    """(1 + validation slides at least as far) / (1 + validation slides)."""
    slides: int
    """Validation slides it is compared with."""
    far: bool
    """Flagged as out of cohort."""
    reason: str


class TileCounts(_Record):
    """planned == kept + the sum of dropped."""

    planned: int
    kept: int
    dropped: dict[str, int]


class DiagnosisRecord(_Record):
    """The file's content; field names are the JSON's keys."""

    kind: Literal["sarcoscope.diagnosis"] = "sarcoscope.diagnosis"
    schema_version: Literal[1, 2] = DIAGNOSIS_SCHEMA
    research_use_only: Literal[True] = True
    synthetic: bool
    """Whether the bundle was trained on phantoms: then its labels mean nothing on a real slide."""
    notice: str
    """What the bundle's result is and is not; shown on every page."""
    slide: str
    size: tuple[int, int]
    """Width and height, level-0 px."""
    classes: list[ClassRecord]
    unscored: list[str]
    """Classes that the bundle knows at tile level only."""
    label: str | None
    undetermined: str | None
    votes: dict[str, int]
    second: str | None
    margin: float | None
    refined: RefinedRecord
    components: list[ComponentRecord]
    mean_probability: dict[str, float | None]
    other_ways: dict[str, str | None]
    """Labels by `mean` probability and by `regression` on vote shares; None where undetermined."""
    set: SetRecord | None
    likeness: LikenessRecord | None
    why_not: dict[str, str]
    """Why `set` or `likeness` is missing, by name; empty in a file of schema 1, which has neither."""
    tiles: TileCounts
    mpp: float
    """Microns per pixel of level 0."""
    mpp_source: str
    mpp_warnings: list[str]
    provenance: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, value: Any) -> Any:
        """People keep last year's runs: a file of schema 1 is read, and says nothing of what it did not know."""
        return {**_SINCE_2, **value} if isinstance(value, dict) and value.get("schema_version") == 1 else value


def count_tiles(tiles: Sequence[Tile]) -> TileCounts:
    """Count tiles by fate; every reason is listed, also those that dropped none."""
    dropped = Counter(tile.dropped for tile in tiles if tile.dropped)
    return TileCounts(
        planned=len(tiles),
        kept=sum(tile.kept for tile in tiles),
        dropped={str(reason): dropped[reason] for reason in DropReason},
    )


def _component(found: Component) -> ComponentRecord:
    return ComponentRecord(
        main=found.main,
        component=found.component,
        present=found.present,
        share=found.share,
        reason=found.reason,
    )


def _set(found: ClassSet, ancillary: Sequence[AncillaryTest]) -> SetRecord:
    """With the classes of the set that each of its tests separates."""
    tests = []
    for one in ancillary:
        between = [code for code in one.between if code in found.classes]
        if (one.test, one.source) in found.tests and len(between) > 1:
            tests.append(AncillaryRecord(test=one.test, source=one.source, between=between))
    return SetRecord(classes=list(found.classes), level=found.level, reason=found.reason, tests=tests)


def _why_not(diagnosis: Diagnosis, bundle: Bundle) -> dict[str, str]:
    """Why there is no set or no likeness: the bundle cannot tell, or the slide has too few tiles."""
    calibration, told = bundle.manifest.calibration, {}
    if diagnosis.set is None:
        lacking = calibration.why_not.get("conformal", NO_CALIBRATION)
        told["set"] = lacking if calibration.conformal is None else str(diagnosis.undetermined)
    if diagnosis.likeness is None:
        lacking = calibration.why_not.get("distance", NO_CALIBRATION)
        told["likeness"] = lacking if calibration.distance is None else "no tile kept"
    return told


def make_record(
    diagnosis: Diagnosis,
    tiles: Sequence[Tile],
    *,
    info: SlideInfo,
    scale: Scale,
    bundle: Bundle,
    provenance: dict[str, Any],
    painted: bool = False,
) -> DiagnosisRecord:
    """The file's content from the nouns; `painted` where the slide itself is a phantom."""
    refined, likeness = diagnosis.refined, diagnosis.likeness
    return DiagnosisRecord(
        synthetic=bundle.manifest.synthetic or painted,
        notice=f"{PAINTED} {bundle.notice}" if painted and not bundle.manifest.synthetic else bundle.notice,
        slide=diagnosis.slide,
        size=(info.size.width, info.size.height),
        classes=[ClassRecord(code=item.code, name=item.name, color=item.color) for item in bundle.manifest.classes],
        unscored=list(bundle.manifest.rules.unscored),
        label=diagnosis.label,
        undetermined=diagnosis.undetermined,
        votes=dict(diagnosis.vote.counts),
        second=diagnosis.vote.second,
        margin=diagnosis.vote.margin,
        refined=RefinedRecord(
            label=refined.label,
            votes=dict(refined.vote.counts),
            second=refined.vote.second,
            margin=refined.vote.margin,
            applied=refined.applied,
            changed=refined.changed,
            reason=refined.reason,
        ),
        components=[_component(found) for found in diagnosis.components],
        mean_probability=dict(diagnosis.mean_probability),
        other_ways=dict(diagnosis.other_ways),
        set=_set(diagnosis.set, bundle.manifest.rules.ancillary) if diagnosis.set else None,
        likeness=LikenessRecord(**asdict(likeness)) if likeness else None,
        why_not=_why_not(diagnosis, bundle),
        tiles=count_tiles(tiles),
        mpp=scale.mpp,
        mpp_source=scale.source,
        mpp_warnings=list(scale.warnings),
        provenance=provenance,
    )


def final_vote(record: DiagnosisRecord) -> Vote:
    """The refined vote of a record, as the rules take it; its label is None where undetermined."""
    return Vote(
        counts=record.refined.votes,
        label=record.refined.label,
        second=record.refined.second,
        margin=record.refined.margin,
    )


def write_diagnosis(path: Path, record: DiagnosisRecord) -> None:
    """Write atomically."""
    write_json(path, record.model_dump(mode="json"))


def read_diagnosis(path: Path) -> DiagnosisRecord:
    """Read and check. ArtifactError where it is missing, damaged or of another schema."""
    try:
        return DiagnosisRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", "run diagnose again") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(path, f"not a diagnosis of schema 1 or {DIAGNOSIS_SCHEMA}", "run diagnose again") from error
