"""Content hashes for provenance."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal; flat memory. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(paths: Iterable[Path]) -> str:
    """One hash over several files' contents, independent of their order and of where they lie.

    A single file's hash is its plain SHA-256, so that it can be checked with any tool.
    """
    digests = sorted(sha256_file(path) for path in paths)
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
