"""Where outputs go: room on the disk, drafts that become whole outputs or nothing, what a source is known by."""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.atomic import writing
from sarcoscope.slides.file_bytes import FileBytes

_SAMPLE_BYTES: Final = 64 * 1024
_SAMPLES: Final = 64


def check_space(target: Path, need: int, spare: int = 0) -> None:
    """ArtifactError where the disk that `target` goes to has no room for `need` bytes beside `spare`."""
    folder = target.absolute().parent
    while not folder.exists():
        folder = folder.parent
    with writing(target):
        free = shutil.disk_usage(folder).free
    if need + spare > free:
        problem = f"needs about {_mib(need)} of disk, {_mib(max(0, free - spare))} is free"
        raise ArtifactError(target, problem, "make room, or give an OUT on another disk")


def remove_drafts(target: Path) -> None:
    """Remove what a killed run left of this output."""
    pattern = re.compile(rf"\.{re.escape(target.stem)}-[0-9a-f]{{32}}\.part{re.escape(target.suffix)}")
    if not target.parent.is_dir():
        return
    with writing(target):
        for entry in list(target.parent.iterdir()):
            if not pattern.fullmatch(entry.name):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)


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
