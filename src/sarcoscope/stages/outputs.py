"""Where outputs go: room on the disk, drafts that become whole outputs or nothing, what a source is known by."""

import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import ArtifactError, InputError, SlideReadError, shown
from sarcoscope.formats.alone import alone_at_once
from sarcoscope.formats.atomic import writing
from sarcoscope.slides.file_bytes import FileBytes

_DRAFT: Final = re.compile(r"\.(.+)-[0-9a-f]{32}\.part(.*)", re.DOTALL)
"""The name of a draft, here and in `formats.atomic`: stem and suffix of its output."""
_SAMPLE_BYTES: Final = 64 * 1024
_SAMPLES: Final = 64


def check_space(target: Path, need: int, spare: int = 0) -> None:
    """ArtifactError where the disk that `target` goes to has no room for `need` bytes beside `spare`."""
    folder = target.absolute().parent
    while not os.path.exists(folder):  # noqa: PTH110 - Path.exists raises where it may not look
        folder = folder.parent
    with writing(target):
        free = shutil.disk_usage(folder).free
    if need + spare > free:
        problem = f"needs about {_mib(need)} of disk, {_mib(max(0, free - spare))} is free"
        raise ArtifactError(target, problem, "make room, or give an OUT on another disk")


def remove_drafts(targets: Iterable[Path]) -> None:
    """Remove what a killed run left of these outputs; nothing where another run is writing into their folder."""
    for folder, inside in groupby(sorted(targets), key=lambda target: target.parent):
        names = {(one.stem, one.suffix) for one in inside}
        with writing(folder), _opened(folder) as opened:
            if not folder.is_dir() or not _alone(opened):
                continue
            for entry in list(folder.iterdir()):
                draft = _DRAFT.fullmatch(entry.name)
                if draft is None or draft.groups() not in names:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)


def remove_all_drafts(folder: Path) -> None:
    """Remove what killed runs left in a folder and below, where no other run can be writing (`only_run`)."""
    with writing(folder):
        for entry in folder.rglob(".*.part*"):
            if _DRAFT.fullmatch(entry.name) and entry.is_file():
                entry.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A drive that fails is this slide's error, not the run's."""
    try:
        yield
    except OSError as error:
        raise SlideReadError(path, f"cannot be read ({error.strerror})", "check the drive, copy it again") from error


def only_run(folder: Path) -> AbstractContextManager[None]:
    """Hold a run folder; InputError where another run holds it. The system lets go of it with the process.

    By a lock on a file in it, .run.lock, which network drives keep, too.
    """
    busy = InputError(f"another run is at work in {shown(folder)}", "wait for it, or give another --out")
    return alone_at_once(folder / "run", busy)


@contextmanager
def drafting(target: Path) -> Iterator[None]:
    """While a draft of `target` is written, no other run takes it for one that a killed run left."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _opened(target.parent) as opened:
        _share(opened)
        yield


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A folder that can be locked, None where there is no such thing; the system lets go of it with the process."""
    try:
        opened = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    except OSError:
        opened = None  # a folder that may not be listed, or is none, which its reader or writer tells
    try:
        yield opened
    finally:
        if opened is not None:
            os.close(opened)


if sys.platform == "win32":

    def _alone(opened: int | None) -> bool:  # noqa: ARG001 - folders cannot be locked there
        """Whether no draft is being written, as far as the file system can tell."""
        return True

    def _share(opened: int | None) -> None:
        """Say that a draft is being written."""
else:
    import fcntl

    def _alone(opened: int | None) -> bool:
        """Whether no draft is being written, as far as the file system can tell."""
        try:
            if opened is not None:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a network drive without locks
            return True
        return True

    def _share(opened: int | None) -> None:
        """Say that a draft is being written."""
        with suppress(OSError):  # a network drive without locks
            if opened is not None:
                fcntl.flock(opened, fcntl.LOCK_SH)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `formats.atomic.replacing`, for a folder: an empty draft that takes the final name at the end."""
    draft, old = (path.with_name(f".{path.stem}-{uuid.uuid4().hex}.part{path.suffix}") for _ in range(2))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.mkdir()
            yield draft
            if os.path.lexists(path):
                path.rename(old)
            draft.rename(path)
        finally:
            for folder in (draft, old):
                if folder.is_dir() and not folder.is_symlink():
                    shutil.rmtree(folder)
                else:
                    folder.unlink(missing_ok=True)


def to_disk(file: Path) -> None:
    """Wait until a finished draft is on the disk, so that the name never outlives a power cut without it."""
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())


def fingerprint(file: Path) -> str:
    """A hash over the length of a file and 64 samples of 64 KiB, its beginning and end among them.

    Raises SlideOpenError and SlideReadError.
    """
    digest = hashlib.sha256()
    with closing(FileBytes(file)) as data:
        digest.update(data.size.to_bytes(8, "big"))
        last = max(0, data.size - _SAMPLE_BYTES)
        for place in sorted({last * i // (_SAMPLES - 1) for i in range(_SAMPLES)}):
            digest.update(data.read(place, min(_SAMPLE_BYTES, data.size)))
    return digest.hexdigest()


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
