"""evaluation.json and ensembles/NAME.json: numbers of an evaluation, from which tables and pages are drawn."""

import json
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.evaluation import Evaluation, Search
from sarcoscope.formats.atomic import write_json

EVALUATION_FILE: Final = "evaluation.json"
EVALUATION_SCHEMA: Final = 1
SEARCH_SCHEMA: Final = 1
_Noun = TypeVar("_Noun", Evaluation, Search)


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write atomically. Raises ArtifactError."""
    _write(path, evaluation, "sarcoscope.evaluation", EVALUATION_SCHEMA)


def read_evaluation(path: Path) -> Evaluation:
    """ArtifactError where the file is missing, damaged or of another schema."""
    return _read(path, Evaluation, "sarcoscope.evaluation", EVALUATION_SCHEMA, "run sarcoscope evaluate again")


def write_search(path: Path, search: Search) -> None:
    """Write atomically. Raises ArtifactError."""
    _write(path, search, "sarcoscope.ensemble-search", SEARCH_SCHEMA)


def read_search(path: Path) -> Search:
    """ArtifactError where the file is missing, damaged or of another schema."""
    return _read(path, Search, "sarcoscope.ensemble-search", SEARCH_SCHEMA, "run sarcoscope ensemble search again")


def _write(path: Path, noun: Any, kind: str, schema: int) -> None:
    values = TypeAdapter(type(noun)).dump_python(noun, mode="json")
    write_json(path, {"kind": kind, "schema_version": schema, "research_use_only": True, **values})


def _read(path: Path, noun: type[_Noun], kind: str, schema: int, again: str) -> _Noun:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", again) from error
    except ValueError as error:
        raise ArtifactError(path, f"damaged ({error})", again) from error
    if not isinstance(values, dict) or (values.get("kind"), values.get("schema_version")) != (kind, schema):
        raise ArtifactError(path, f"not of kind {kind}, schema {schema}", again)
    own = {key: value for key, value in values.items() if key not in {"kind", "schema_version", "research_use_only"}}
    try:
        return TypeAdapter(noun).validate_python(own)
    except (ValidationError, InputError) as error:
        raise ArtifactError(path, f"damaged ({str(error).splitlines()[0]})", again) from error
