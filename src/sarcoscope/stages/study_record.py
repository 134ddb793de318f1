"""OUT/stages.json: what each stage of a study was asked, what it read and wrote, how long it took, with what."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.study import StudyStage
from sarcoscope.formats.atomic import write_json

STAGES_FILE: Final = "stages.json"
STAGES_SCHEMA: Final = 1
_KIND: Final = "sarcoscope.study"
_AGAIN: Final = "move it and bundles/ away: the study then looks at everything again, and finds finished what is"


class StepState(StrEnum):
    """How far a step is."""

    RUNNING = "running"
    """Or ended by force while it did."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a study, as it was done last."""

    name: str
    stage: StudyStage
    state: StepState
    settings: Mapping[str, Any]
    """All of the config that what it left depends on, by key; until it is done, those of what stood there before."""
    reads: Mapping[str, str]
    """All files that it depends on, by 'kind/subject': a hash of the content, or how often it was changed."""
    wrote: Mapping[str, str] = field(default_factory=dict)
    """What it left below OUT: SHA-256 by path; empty for a folder, or a file that others change too.

    Until it is done also what it may have begun, where nothing stood before.
    """
    notes: tuple[str, ...] = ()
    """What came of it, in words."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """What did not come through, and why."""
    like: str = ""
    """Steps of equal kind take as long for each unit."""
    units: float | None = None
    """How much was done; None where it was not counted."""
    seconds: float | None = None
    """Of the last run alone, where earlier ones were interrupted."""
    cpu_seconds: float | None = None
    """Of all threads of this process and of processes that it started and that have ended."""
    started: str = ""
    """UTC."""
    version: str = ""
    """Of sarcoscope."""
    git_commit: str | None = None
    libraries: Mapping[str, str | None] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """Content of stages.json."""

    title: str = ""
    synthetic: bool = False
    """Whether its slides are phantoms."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """study.yaml, whole, as the last run read it."""
    stages: tuple[StepRecord, ...] = ()
    """In the order of the study."""
    gone: tuple[StepRecord, ...] = ()
    """Of steps that the study no longer has: one that comes back knows its own files by them."""

    def of(self, name: str) -> StepRecord | None:
        """The record of a step; None where it never began."""
        return next((one for one in (*self.stages, *self.gone) if one.name == name), None)


def made(before: StepRecord | None, path: str) -> bool:
    """Whether a step's own earlier runs made, or began, what stands at a path below OUT; `before` is its record."""
    return before is not None and path in before.wrote


def write_study_record(out: Path, record: StudyRecord) -> None:
    """Write atomically. Raises ArtifactError."""
    values = TypeAdapter(StudyRecord).dump_python(record, mode="json")
    about = {"kind": _KIND, "schema_version": STAGES_SCHEMA, "research_use_only": True}
    write_json(out / STAGES_FILE, about | values)


def read_study_record(out: Path) -> StudyRecord:
    """An empty one where there is none yet. ArtifactError where it is damaged or of another schema."""
    path = out / STAGES_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return StudyRecord()
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    except ValueError as error:
        raise ArtifactError(path, f"damaged ({error})", _AGAIN) from error
    if not isinstance(values, dict) or (values.get("kind"), values.get("schema_version")) != (_KIND, STAGES_SCHEMA):
        raise ArtifactError(path, f"not of kind {_KIND}, schema {STAGES_SCHEMA}", _AGAIN)
    own = {key: one for key, one in values.items() if key not in {"kind", "schema_version", "research_use_only"}}
    try:
        return TypeAdapter(StudyRecord).validate_python(own)
    except ValidationError as error:
        raise ArtifactError(path, f"damaged ({str(error).splitlines()[0]})", _AGAIN) from error
