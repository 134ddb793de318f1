"""Config files for people: YAML, read into the frozen dataclass of a stage, every mistake named with its key."""

import ast
import difflib
import inspect
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from sarcoscope.core.cutting import parse_mpp
from sarcoscope.core.errors import ArtifactError, InputError

Config = TypeVar("Config")
_WORDS: Final = {
    "tuple_type": "input should be a list, e.g. [0]",
    "dataclass_type": "input should be a section of `key: value`",
    "dict_type": "input should be a section of `key: value`",
}
"""What pydantic says in words of Python."""
_SCALES: Final = frozenset({"mpp", "anchor"})
"""Keys of scales, beside those that end in `_mpp`."""
_MAGNIFICATION: Final = re.compile(r"\d+(\.\d+)?x")


def read_config(path: Path, kind: type[Config], *, example: str = "--print-config") -> Config:
    """The config in a YAML file; what it leaves out keeps its default. `example` is what prints or writes a sound one.

    Raises ArtifactError where the file cannot be read, has an unknown key, or a value of the wrong type or range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ArtifactError(path, "there is no such file", "check the spelling and the folder") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArtifactError(path, f"no YAML that can be read ({error})", f"compare it with {example}") from error
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise ArtifactError(path, "no list of `key: value`", f"compare it with {example}")
    if unknown := _unknown_key(values, kind):
        raise ArtifactError(path, *unknown)
    if strange := _not_finite(values):
        raise ArtifactError(path, f"{strange} is no finite number", f"compare it with {example}")
    try:
        return TypeAdapter(kind).validate_python(_with_scales(values))
    except InputError as error:
        raise ArtifactError(path, error.problem, error.advice) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {_WORDS.get(first['type'], first['msg'].lower())}, got {first['input']!r}"
        raise ArtifactError(path, problem, f"compare it with {example}") from error


def _with_scales(value: Any, key: str = "") -> Any:
    """The values with magnifications in um/px where a scale is asked for: `mpp: [20x]` is 0.5."""
    if isinstance(value, Mapping):
        return {name: _with_scales(one, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_scales(one, key) for one in value]
    is_scale = key in _SCALES or key.endswith("_mpp")
    return parse_mpp(value) if is_scale and isinstance(value, str) and _MAGNIFICATION.fullmatch(value) else value


def _unknown_key(values: Mapping[Any, Any], kind: Any, inside: str = "") -> tuple[str, str] | None:
    """Problem and advice for the first key that the dataclass does not have; None where there is none."""
    known = {field.name: field.type for field in fields(kind)}
    for key, value in values.items():
        if key not in known:
            meant = _near(str(key), known)
            return f"unknown key {inside}{key}", f"did you mean {meant}?" if meant else f"known: {', '.join(known)}"
        section = _section(known[key])
        for place, one in _sections(value) if section else ():
            if deeper := _unknown_key(one, section, f"{inside}{key}.{place}"):
                return deeper
    return None


def _section(kind: Any) -> type | None:
    """The dataclass of a field that is one, perhaps one, or a list of such; None for other fields."""
    candidates = (kind, *get_args(kind))
    return next((one for one in candidates if isinstance(one, type) and is_dataclass(one)), None)


def _sections(value: Any) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """What stands in a section, or in each of a list of them, counted from 0, with what that adds to the key."""
    if isinstance(value, Mapping):
        yield "", value
    elif isinstance(value, list):
        yield from ((f"{number}.", one) for number, one in enumerate(value) if isinstance(one, Mapping))


def _near(key: str, known: Mapping[str, Any]) -> str:
    """A key like it, here or in one of the sections; empty where there is none."""
    here = difflib.get_close_matches(key, known, 1)
    sections = {name: section for name, kind in known.items() if (section := _section(kind))}
    inner = {one.name: f"{name}.{one.name}" for name, section in sections.items() for one in fields(section)}
    return next(iter([*here, *(inner[near] for near in difflib.get_close_matches(key, inner, 1))]), "")


def _not_finite(value: Any, inside: str = "") -> str:
    """The key below which a number is infinite or none; empty where all are numbers."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else inside
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found = (_not_finite(one, f"{inside}.{key}" if inside else str(key)) for key, one in items)
    return next(filter(None, found), "")


def config_text(config: Any) -> str:
    """A config as YAML with what each key means, read back by `read_config` as it was."""
    return _lines(config)


def _lines(config: Any, *, explained: bool = True) -> str:
    meanings = _meanings(type(config)) if explained else {}
    text = ""
    for field in fields(config):
        value = getattr(config, field.name)
        comment = textwrap.fill(" ".join(meanings.get(field.name, "").split()), 100, break_on_hyphens=False)
        if comment:
            text += textwrap.indent(comment, "# ") + "\n"
        if is_dataclass(value):
            text += f"{field.name}:\n" + textwrap.indent(_lines(value, explained=explained), "  ")
        elif isinstance(value, tuple) and value and all(is_dataclass(one) for one in value):
            text += f"{field.name}:\n" + "".join(_item(one, explained=explained and one is value[0]) for one in value)
        else:
            dumped = yaml.safe_dump(_plain(value), default_flow_style=True, sort_keys=False, width=10_000)
            text += f"{field.name}: {dumped.splitlines()[0]}\n"  # behind it a scalar has a line of dots
    return text


def _item(config: Any, *, explained: bool) -> str:
    """One of a list of sections; what its keys mean is said of the first one alone."""
    lines = textwrap.indent(_lines(config, explained=explained), "    ").splitlines()
    first = next(place for place, line in enumerate(lines) if not line.lstrip().startswith("#"))
    above = [line.removeprefix("  ") for line in lines[:first]]
    lines = [*above, "  - " + lines[first].removeprefix("    "), *lines[first + 1 :]]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _meanings(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass and of those that it extends, from their source."""
    said: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if is_dataclass(one):
            said |= _own_meanings(one)
    return said


def _own_meanings(kind: type) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    said = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            said[statement.target.id] = str(following.value.value)
    return said
