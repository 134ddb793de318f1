"""diagnosis.json: what is said of one slide, on what grounds, and how it came about."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sarcoscope.core.diagnosis import Component, Diagnosis, Vote
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.slide import Scale, SlideInfo
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.formats.atomic import write_json
from sarcoscope.formats.bundle import Bundle

DIAGNOSIS_SCHEMA: Literal[1] = 1


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


class TileCounts(_Record):
    """planned == kept + the sum of dropped."""

    planned: int
    kept: int
    dropped: dict[str, int]


class DiagnosisRecord(_Record):
    """The file's content; field names are the JSON's keys."""

    kind: Literal["sarcoscope.diagnosis"] = "sarcoscope.diagnosis"
    schema_version: Literal[1] = DIAGNOSIS_SCHEMA
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
    tiles: TileCounts
    mpp: float
    """Microns per pixel of level 0."""
    mpp_source: str
    mpp_warnings: list[str]
    provenance: dict[str, Any]


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


def make_record(
    diagnosis: Diagnosis,
    tiles: Sequence[Tile],
    *,
    info: SlideInfo,
    scale: Scale,
    bundle: Bundle,
    provenance: dict[str, Any],
) -> DiagnosisRecord:
    """The file's content from the nouns."""
    refined = diagnosis.refined
    return DiagnosisRecord(
        synthetic=bundle.manifest.synthetic,
        notice=bundle.notice,
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
        raise ArtifactError(path, f"not a diagnosis of schema {DIAGNOSIS_SCHEMA}", "run diagnose again") from error
