"""Copies of slides without what says whose they are, each checked again before it gets its name."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError, SlideReadError, shown
from sarcoscope.formats.atomic import writing
from sarcoscope.formats.key_file import KeyFile
from sarcoscope.slides.dicom import one_a_series
from sarcoscope.slides.identity.inspecting import inspect_identity
from sarcoscope.slides.identity.model import Cleaned, Finding, NewIdentity, content_digest
from sarcoscope.stages.outputs import check_space, drafting, remove_drafts, to_disk

_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidentifyConfig:
    """What the user asks for."""

    out: Path
    """A folder, or the name of the copy of a single file."""
    key_file: Path | None = None
    """Where random pseudonyms are kept; without one a copy is called by a hash of its source's content."""
    keep_names: bool = False
    """Whether copies are called as their sources are."""

    def __post_init__(self) -> None:
        if self.keep_names and self.key_file is not None:
            raise InputError("--keep-names and --key-file contradict one another", "give one of them")
        if self.key_file is not None:
            KeyFile(self.key_file).check_apart(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentified:
    """A slide that has its copy."""

    source: Path
    target: Path
    removed: tuple[Finding, ...]
    skipped: bool
    """Whether an earlier run had written the very same copy."""


@dataclass(slots=True)
class DeidentifySummary:
    """How a run went."""

    done: list[Deidentified] = field(default_factory=list)
    failed: dict[Path, SarcoscopeError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 2 all failed."""
        return 0 if not self.failed else 1 if self.done else 2


@dataclass(slots=True)
class CheckSummary:
    """What slides hold."""

    found: dict[Path, tuple[Finding, ...]] = field(default_factory=dict)
    failed: dict[Path, SarcoscopeError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 nothing found, 1 something found, 2 a slide could not be checked."""
        return 2 if self.failed else int(any(self.found.values()))


class DeidentifyListener(Protocol):
    """Is told how a run goes."""

    def slide_started(self, path: Path, number: int, total: int) -> None:
        """Slide `number` of `total`, counted from 1, is looked at."""
        ...

    def slide_failed(self, path: Path, error: SarcoscopeError) -> None:
        """It has no copy, and why."""
        ...


def check(paths: Sequence[Path], listener: DeidentifyListener) -> CheckSummary:
    """What identifies in each slide; nothing is written."""
    summary = CheckSummary()
    for number, path in enumerate(paths, start=1):
        listener.slide_started(path, number, len(paths))
        try:
            summary.found[path] = inspect_identity(path).findings
        except SarcoscopeError as error:
            summary.failed[path] = error
            listener.slide_failed(path, error)
    return summary


def deidentify(paths: Sequence[Path], config: DeidentifyConfig, listener: DeidentifyListener) -> DeidentifySummary:
    """A copy of each slide. One that fails is named and leaves nothing behind; the others go on.

    Raises ArtifactError where the disk has not the room for all of them.
    """
    unique = one_a_series(dict.fromkeys(paths))
    need = sum(_bytes_of(path) for path in unique) - _bytes_of(config.out)
    check_space(config.out if _is_name(config.out, unique) else config.out / "slides", max(0, need))
    names = _known_as(unique)
    keys = None if config.key_file is None else KeyFile(config.key_file)
    summary = DeidentifySummary()
    for number, path in enumerate(unique, start=1):
        listener.slide_started(path, number, len(unique))
        try:
            summary.done.append(_deidentify_one(path, unique, config, keys, names[path]))
        except SarcoscopeError as error:
            summary.failed[path] = error
            listener.slide_failed(path, error)
    return summary


def _deidentify_one(
    path: Path, paths: Sequence[Path], config: DeidentifyConfig, keys: KeyFile | None, known_as: str
) -> Deidentified:
    cleaned = inspect_identity(path)
    digest = content_digest(cleaned.files)
    pseudonym = f"slide-{digest[:_DIGITS]}" if keys is None else keys.pseudonym(known_as)
    identity = NewIdentity(pseudonym, digest)
    target = _target(cleaned, paths, config, identity)
    with writing(target):
        there = os.path.lexists(target)
    if there:
        if not cleaned.is_at(target, identity):
            problem = f"is there already and is not the copy of {shown(path)}"
            raise ArtifactError(target, problem, "move it away, or choose another folder")
        return Deidentified(source=path, target=target, removed=cleaned.findings, skipped=True)
    check_space(target, cleaned.size)
    _write(cleaned, target, identity)
    return Deidentified(source=path, target=target, removed=cleaned.findings, skipped=False)


def _target(cleaned: Cleaned, paths: Sequence[Path], config: DeidentifyConfig, identity: NewIdentity) -> Path:
    if not cleaned.folder and _is_name(config.out, paths):
        return config.out
    if config.keep_names:
        return config.out / (
            cleaned.path.absolute().name if cleaned.folder == cleaned.path.is_dir() else cleaned.path.stem
        )
    return config.out / f"{identity.pseudonym}{cleaned.suffix}"


def _is_name(out: Path, paths: Sequence[Path]) -> bool:
    """Whether `out` is the name of a single file's copy: it ends as the file does, and is no folder."""
    is_folder = os.path.isdir(out)  # noqa: PTH112 - Path.is_dir raises where it may not look
    return len(paths) == 1 and out.suffix != "" and out.suffix.lower() == paths[0].suffix.lower() and not is_folder


def _write(cleaned: Cleaned, target: Path, identity: NewIdentity) -> None:
    """Write a draft beside the target, look at it again, and give it its name if nothing is found any more."""
    remove_drafts([target])
    draft = target.with_name(f".{target.stem}-{uuid.uuid4().hex}.part{target.suffix}")
    with writing(target), drafting(target):
        try:
            cleaned.write(draft, identity)
            for file in draft.iterdir() if cleaned.folder else [draft]:
                to_disk(file)
            if left := inspect_identity(draft).findings:
                what = f"{left[0].kind} in {left[0].where}"
                raise SlideReadError(cleaned.path, f"its copy would still hold {what}", "report this; nothing was kept")
            draft.rename(target)
        finally:
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink(missing_ok=True)


def _known_as(paths: Sequence[Path]) -> dict[Path, str]:
    """What each slide is called in the key file: its name, its folder's in front where two are called alike."""
    counts = Counter(path.absolute().name for path in paths)
    return {
        path: path.absolute().name if counts[path.absolute().name] == 1 else "/".join(path.resolve().parts[-2:])
        for path in paths
    }


def _bytes_of(path: Path) -> int:
    """The bytes of a file, or of the files in a folder; 0 for what is not there, which is told later."""
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:
        return 0
