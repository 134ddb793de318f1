"""appearance.json of a cohort: what its slides are brought to, by which method, and from which slides it was chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sarcoscope.core.appearance import METHODS, Appearance
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.atomic import write_json

TARGET_FILE: Final = "appearance.json"
"""Its name in a run folder."""
TARGET_SCHEMA: Final = 1
_AGAIN: Final = "choose the target again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a cohort is evened out to."""

    method: str
    """One of `core.appearance.METHODS`."""
    appearance: Appearance
    record: Mapping[str, Any]
    """JSON values: the slides it was chosen from and the hash of the split that made them training slides."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["sarcoscope.appearance"] = "sarcoscope.appearance"
    schema_version: Literal[1] = TARGET_SCHEMA
    method: str = Field(pattern=f"^({'|'.join(METHODS)})$")
    target: Appearance
    record: dict[str, Any]


def as_appearance(values: Mapping[str, Any]) -> Appearance:
    """An appearance from what a JSON file holds of it. ValueError or InputError where that is none."""
    return TypeAdapter(Appearance).validate_python(dict(values))


def write_target(path: Path, method: str, target: Appearance, record: Mapping[str, Any]) -> None:
    """Write atomically; `record` holds JSON values. Raises ArtifactError where it cannot be written."""
    write_json(path, _File(method=method, target=target, record=dict(record)).model_dump(mode="json"))


def read_target(path: Path) -> Target:
    """Read and check. ArtifactError where the file is missing, damaged or of another schema."""
    try:
        found = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", _AGAIN) from error
    except (ValidationError, InputError) as error:
        raise ArtifactError(path, f"not a target appearance of schema {TARGET_SCHEMA}", _AGAIN) from error
    return Target(method=found.method, appearance=found.target, record=found.record)
