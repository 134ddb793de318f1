"""What the names of ready-made tiles say of them: rules over paths below the cohort's folder, as text with '/'."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from sarcoscope.core.errors import InputError

OWN_NAME: Final = re.compile(
    r"(?P<label>.+?)__(?P<slide>.+?)__r(?P<row>-?\d+)_c(?P<column>-?\d+)"
    r"__x(?P<left>-?\d+)_y(?P<top>-?\d+)__(?P<mpp>\d+(?:\.\d+)?(?:e-?\d+)?)um\.\w+"
)
"""Pictures that `sarcoscope tile --images` writes: LABEL__SLIDE__rROW_cCOL__xLEFT_yTOP__MPPum.png."""
_PARTS: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_SOME: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TileName:
    """What is known of one file before it is opened."""

    file: str
    label: str
    slide: str | None = None
    """None where nothing says: then the tile is a slide of its own."""
    patient: str | None = None
    batch: str | None = None
    row: int | None = None
    column: int | None = None
    left_l0: int | None = None
    top_l0: int | None = None
    mpp: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Where slide and patient ids come from; the table goes first, and must then have every file."""

    table: Mapping[str, Mapping[str, str]] | None = None
    """By file, below the folder or bare name: 'slide', 'patient', 'batch'."""
    slide_regex: str = ""
    """Looked for in the file's name: its groups `slide` and `patient`, or its first group, or all that it matches."""
    patient_regex: str = ""
    batch: str | None = None


def label_of(file: str) -> str:
    """The class of a file: the first folder below the cohort's."""
    return file.split("/", 1)[0]


def check_folders(labels: Iterable[str]) -> None:
    """InputError where the folders are those of a split or of scales, and the classes lie below them."""
    names = {label.lower() for label in labels}
    if names and names <= _PARTS:
        advice = "give one of them, or put the folders of each class together"
        raise InputError(f"folders {', '.join(sorted(names))} are parts of a split, not classes", advice)
    if names and all(re.fullmatch(r"\d+(\.\d+)?um", name) for name in names):
        raise InputError(f"folders {', '.join(sorted(names))} are scales, not classes", "give one of them")


def tile_names(files: Sequence[str], ids: Ids) -> list[TileName]:
    """What is known of each file, in their order. Our own pictures need no expression.

    Raises InputError with examples where a table or an expression says nothing of some of them.
    """
    slides, patients = compiled("--slide-regex", ids.slide_regex), compiled("--patient-regex", ids.patient_regex)
    own = ids.table is None and slides is None and _are_own(files)
    if ids.table is not None:
        _check_bare(files, ids.table)
    found = [_own(file, ids.batch) if own else _named(file, ids, slides) for file in files]
    if patients is not None:
        found = [one and _with_patient(one, patients) for one in found]
    if missing := [file for file, one in zip(files, found, strict=True) if one is None]:
        raise InputError(
            f"{len(missing)} of {len(files)} files get no id, e.g. {', '.join(missing[:_SOME])}",
            "mend the table or the expression, or move these files away",
        )
    return [one for one in found if one is not None]


def _are_own(files: Sequence[str]) -> bool:
    """Whether they are pictures of `tile --images`. InputError where some are, and others would cost all their ids."""
    strange = [file for file in files if not OWN_NAME.fullmatch(_base(file))]
    if strange and len(strange) < len(files):
        raise InputError(
            f"{len(strange)} of {len(files)} files are not named as pictures of sarcoscope tile, as the others are, "
            f"e.g. {', '.join(strange[:_SOME])}",
            "move them away, or say with --slide-regex or --ids what the slides are",
        )
    return not strange


def _check_bare(files: Iterable[str], table: Mapping[str, object]) -> None:
    """InputError where one bare name of the table is the name of several files."""
    counts = Counter(_base(file) for file in files if file not in table and _base(file) in table)
    if twice := [name for name, count in counts.items() if count > 1]:
        problem = f"{twice[0]} of the table is the name of {counts[twice[0]]} files"
        raise InputError(problem, "give paths below the folder, e.g. CLASS/NAME")


def slide_of_its_own(file: str, longest: int = 80) -> str:
    """What the slide of a tile without slide is called: by its path, cut with a hash of it where it is long."""
    name = file.replace("/", "_")
    if len(name.encode()) <= longest:
        return name
    return f"{name.encode()[:longest].decode(errors='ignore')}-{blake2b(file.encode(), digest_size=6).hexdigest()}"


def _base(file: str) -> str:
    return file.rsplit("/", 1)[-1]


def compiled(option: str, expression: str) -> re.Pattern[str] | None:
    """The expression of an option; None where it is empty. InputError where it is none."""
    if not expression:
        return None
    try:
        return re.compile(expression)
    except re.error as error:
        raise InputError(f"{option} {expression!r} is no regular expression ({error})", "e.g. '^([^_]+)_'") from error


def found_in(match: re.Match[str] | None, name: str) -> str | None:
    """The group of that name, or the first one, or all that matched; None where nothing did, or it is empty."""
    if match is None:
        return None
    named = match.groupdict()
    return (named[name] if name in named else match.group(1) if match.re.groups else match.group()) or None


def _own(file: str, batch: str | None) -> TileName:
    match = OWN_NAME.fullmatch(_base(file))
    assert match is not None
    row, column, left, top = (int(match[name]) for name in ("row", "column", "left", "top"))
    return TileName(
        file=file,
        label=label_of(file),
        slide=match["slide"],
        batch=batch,
        row=row,
        column=column,
        left_l0=left,
        top_l0=top,
        mpp=float(match["mpp"]),
    )


def _named(file: str, ids: Ids, slides: re.Pattern[str] | None) -> TileName | None:
    """By the table, by the expression, or by neither; None where one is given and says nothing of the file."""
    plain = TileName(file=file, label=label_of(file), batch=ids.batch)
    if ids.table is not None:
        row = ids.table.get(file) or ids.table.get(_base(file))
        if row is None:
            return None
        plain = replace(
            plain,
            slide=row.get("slide") or None,
            patient=row.get("patient") or None,
            batch=row.get("batch") or ids.batch,
        )
        if slides is None and not plain.slide and not plain.patient:
            return None
    if slides is None or plain.slide:
        return plain
    match = slides.search(_base(file))
    slide = found_in(match, "slide")
    if match is None or slide is None:
        return None
    return replace(plain, slide=slide, patient=plain.patient or match.groupdict().get("patient"))


def _with_patient(one: TileName, patients: re.Pattern[str]) -> TileName | None:
    match = patients.search(_base(one.file))
    patient = one.patient or found_in(match, "patient")
    return None if patient is None else replace(one, patient=patient)
