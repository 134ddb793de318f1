"""What is found, and what is written over it: one inspection gives both, so nothing is listed but left."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from sarcoscope.core.errors import SlideOpenError, SlideReadError

Kind = Literal[
    "label image",
    "macro image",
    "other image",
    "serial number",
    "barcode",
    "date or time",
    "file name",
    "person",
    "identifier",
    "free text",
    "other field",
    "unread bytes",
]
"""What a piece of identifying content is. 'other field': not known to be harmless, so it goes."""

CONVERT: Final = "use `sarcoscope convert`, which writes a new file that holds none of it"

_BLOCK: Final = 1 << 20
_ZEROS: Final = bytes(_BLOCK)


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of content that may tell whose slide it is, or where and when it was scanned."""

    kind: Kind
    where: str
    """The place in words, e.g. 'ImageDescription: Filename'."""
    value: str = ""
    """The text found; empty for images."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes that stand at an offset of the copy instead of the source's."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + len(self.data)


def zeros(start: int, end: int) -> Iterator[Patch]:
    """Patches that blank the bytes from `start` to `end`; however many, they share one block of memory."""
    for at in range(start, end, _BLOCK):
        yield Patch(at, _ZEROS if end - at >= _BLOCK else _ZEROS[: end - at])


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """What stands in a copy where the source says whose slide it is."""

    pseudonym: str
    digest: str
    """`content_digest` of the source: nobody can compute it who has not got the source itself."""


class Cleaned(Protocol):
    """A slide that was inspected, and its copy without what was found."""

    @property
    def path(self) -> Path:
        """The source, as it was given."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the source, sorted."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What identifies; empty for a slide that is clean."""
        ...

    @property
    def folder(self) -> bool:
        """Whether the copy is a folder (DICOM) and not a file."""
        ...

    @property
    def suffix(self) -> str:
        """How the copy's name ends, '' for a folder; one of few, since what stands behind a dot may be a name."""
        ...

    @property
    def size(self) -> int:
        """Bytes that the copy needs, at most."""
        ...

    def write(self, draft: Path, identity: NewIdentity) -> None:
        """Write the copy as `draft`, which is not there yet. Raises SlideReadError; OSError for the draft."""
        ...

    def is_at(self, target: Path, identity: NewIdentity) -> bool:
        """Whether `target` is this copy, byte for byte."""
        ...


def content_digest(files: Iterable[Path]) -> str:
    """SHA-256 (hex) over the contents of files, in the order of their own hashes: names and order do not matter."""
    each: list[bytes] = []
    for path in files:
        try:
            with path.open("rb") as file:
                each.append(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise SlideReadError(path, f"cannot be read: {error.strerror or error}", "check the drive") from error
    return each[0].hex() if len(each) == 1 else hashlib.sha256(b"".join(sorted(each))).hexdigest()


@dataclass(frozen=True, slots=True)
class PatchedFile:
    """A `Cleaned` slide of one file, of the same length and with the same pixels as its source."""

    path: Path
    findings: tuple[Finding, ...]
    patches: tuple[Patch, ...]
    size: int
    suffix: str

    @property
    def files(self) -> tuple[Path, ...]:
        """As the protocol says."""
        return (self.path,)

    @property
    def folder(self) -> bool:
        """As the protocol says."""
        return False

    def write(self, draft: Path, identity: NewIdentity) -> None:  # noqa: ARG002 - a file of this kind names nobody
        """As the protocol says. What is blanked never reaches the disk."""
        with draft.open("xb") as out:
            for block in self._blocks():
                out.write(block)

    def is_at(self, target: Path, identity: NewIdentity) -> bool:  # noqa: ARG002
        """As the protocol says."""
        if not target.is_file() or target.stat().st_size != self.size:
            return False
        with target.open("rb") as there:
            return all(block == there.read(len(block)) for block in self._blocks())

    def _blocks(self) -> Iterator[bytes]:
        return patched(blocks(self.path, 0, self.size), self.patches)


def blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from `start` to `end`, a block at a time. Raises SlideReadError where it ends before."""
    try:
        with path.open("rb") as source:
            source.seek(start)
            for at in range(start, end, _BLOCK):
                block = source.read(min(_BLOCK, end - at))
                if len(block) < min(_BLOCK, end - at):
                    raise SlideReadError(path, f"ends at byte {at + len(block)} now", "it was changed: run again")
                yield block
    except OSError as error:
        raise SlideReadError(path, f"cannot be read: {error.strerror or error}", "check the drive") from error


def patched(source: Iterable[bytes], patches: Iterable[Patch]) -> Iterator[bytes]:
    """The blocks of a file with the patches in place; of two that overlap, the later given wins."""
    waiting = sorted(enumerate(patches), key=lambda pair: (pair[1].offset, pair[0]))
    start = first = 0
    for block in source:
        end = start + len(block)
        while first < len(waiting) and waiting[first][1].end <= start:
            first += 1
        here = []
        for pair in waiting[first:]:
            if pair[1].offset >= end:
                break
            here.append(pair)
        yield _over(block, start, [patch for _, patch in sorted(here, key=lambda pair: pair[0])]) if here else block
        start = end


def _over(block: bytes, start: int, patches: list[Patch]) -> bytes:
    changed = bytearray(block)
    for patch in patches:
        left, right = max(patch.offset, start), min(patch.end, start + len(block))
        if left < right:
            changed[left - start : right - start] = patch.data[left - patch.offset : right - patch.offset]
    return bytes(changed)


def refused(path: Path, what: str) -> SlideOpenError:
    """The error for a slide that cannot be cleaned in place."""
    return SlideOpenError(path, f"{what} cannot be de-identified in place", CONVERT)
