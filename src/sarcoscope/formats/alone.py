"""One process or thread at a time at a file that several change."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sarcoscope.core.errors import SarcoscopeError
from sarcoscope.formats.atomic import writing


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file beside `path`, once it is free; the system lets go of it when a process ends, however it ends.

    Raises ArtifactError where the lock file cannot be written.
    """
    with _lock_file(path) as file:
        with writing(path):
            _lock(file)
        yield


@contextmanager
def alone_at_once(path: Path, busy: SarcoscopeError) -> Iterator[None]:
    """As `alone`, but where another process holds it, raises `busy` instead of waiting."""
    with _lock_file(path) as file:
        if not _lock_at_once(file):
            raise busy
        yield


def _lock_file(path: Path) -> IO[bytes]:
    real = Path(os.path.realpath(path))
    lock = real.with_name(f".{real.name}.lock")
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("a+b")


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)

    def _lock_at_once(file: IO[bytes]) -> bool:
        """Lock a file that is open for writing until it is closed; False where another process holds it."""
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _lock_at_once(file: IO[bytes]) -> bool:
        """Lock a file that is open for writing until it is closed; False where another process holds it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a drive without locks
            return True
        return True
