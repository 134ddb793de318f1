"""Files that are either whole or not there."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sarcoscope.core.errors import ArtifactError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A disk that is full, or a folder that may not be written, is an ArtifactError about `path`."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise ArtifactError(path, problem, "check the disk's space and permissions, then run again") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the final name only if the block ends without an error.

    The temporary name keeps the suffix, since some writers choose the format by it. Raises ArtifactError as
    `writing` does.
    """
    temporary = _draft(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch(exist_ok=False)  # with the permissions that the user's umask leaves
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file that may not be there. Raises ArtifactError as `writing` does."""
    with writing(path):
        path.unlink(missing_ok=True)


def as_json(value: Any) -> Any:
    """The value as it comes back from a JSON file: tuples as lists."""
    return json.loads(json.dumps(value, allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically; with fewer system calls than `replacing`, since tiles come by the thousand."""
    temporary = _draft(path)
    with writing(path):
        try:
            try:
                file = temporary.open("xb")
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = temporary.open("xb")
            with file:
                file.write(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    """A name beside `path` that nobody else takes, with its suffix."""
    return path.with_name(f".{path.stem}-{uuid.uuid4().hex}.part{path.suffix}")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted as given, two spaces, no NaN (ValueError), newline at the end."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
