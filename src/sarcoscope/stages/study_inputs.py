"""What a study's steps read, each file by a hash of its content: a step is done again only where that changed."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sarcoscope.core.errors import ArtifactError, shown
from sarcoscope.formats.bundle import read_bundle
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.manifest import read_rows
from sarcoscope.formats.member import MEMBER_FILE, MemberRecord, read_member
from sarcoscope.formats.screening import SCREENING_NAME
from sarcoscope.formats.split import SPLIT_FILE, read_split

CHECK_FILE: Final = "check.json"
MANIFEST_FILE: Final = "manifest.csv"
MEMBERS: Final = "members"
BUNDLES: Final = "bundles"
_NONE: Final = "none"
_AGAIN: Final = "remove it, and run the study again"


def content(path: Path) -> str:
    """SHA-256 of a file, computed once while its length and time stay. ArtifactError where it cannot be read."""
    try:
        found = path.stat()
        return _hashed(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", "run the study again") from error


@lru_cache(maxsize=65_536)
def _hashed(path: Path, _size: int, _changed: int) -> str:
    return sha256_file(path)


def manifest_reads(manifest: Path) -> dict[str, str]:
    """The manifest, and of each slide that it lists how long its files are and when they were changed."""
    slides = read_rows(manifest).slides  # first: it says best what is wrong with a manifest
    found = {"manifest": content(manifest)}
    for slide in slides:
        key = f"slide/{shown(slide.slide)}"
        found[key] = hashlib.sha256("\n".join([found.get(key, ""), *_stamps(slide.path)]).encode()).hexdigest()
    return found


def _stamps(path: Path) -> list[str]:
    """Length and time of a file, or of the files of a folder; of one that cannot be looked at its name alone.

    Of an MRXS slide, whose px lie in the folder of its name, both.
    """
    files: Iterable[Path] = [path]
    home = path.with_suffix("") if path.suffix.lower() == ".mrxs" else path
    try:
        if home.is_dir():
            inner = sorted(one for one in home.iterdir() if one.is_file())
            files = inner if home == path else [path, *inner]
        stats = [(one, os.stat(one)) for one in files]  # noqa: PTH116 - names that are no UTF-8 are told later
    except OSError:
        return [shown(path)]
    return [f"{shown(one)} {found.st_size} {found.st_mtime_ns}" for one, found in stats]


def read_check(out: Path) -> dict[str, Any]:
    """OUT/check.json: `slides` (hash of content by id), `problems`, `area_px`. ArtifactError."""
    path = out / CHECK_FILE
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(path, f"cannot be read ({error})", _AGAIN) from error
    if not isinstance(found, dict) or not {"slides", "area_px"} <= found.keys():
        raise ArtifactError(path, "damaged (it holds no slides)", _AGAIN)
    return found


def cohort_reads(out: Path) -> dict[str, str]:
    """The usable slides as the manifest has them, and their contents."""
    slides: Mapping[str, str] = read_check(out)["slides"]
    return {"manifest": content(out / MANIFEST_FILE), **{f"slide/{one}": value for one, value in slides.items()}}


def split_reads(out: Path) -> dict[str, str]:
    """split.csv, which may be edited by hand, and what pooled slides' tiles are dealt out by."""
    split = read_split(out)
    dealt = json.dumps([split.ratios, split.seed, split.pooled])
    pooled = {"dealing of pooled tiles": hashlib.sha256(dealt.encode()).hexdigest()} if split.pooled else {}
    return {"split": content(out / SPLIT_FILE), **pooled}


def tiles_reads(out: Path) -> dict[str, str]:
    """The split, the index of each slide, and what readers decided."""
    indexes = sorted((out / "tiles").glob("*.parquet"))
    return {**split_reads(out), **{f"tiles/{one.stem}": content(one) for one in indexes}, **screening_reads(out)}


def screening_reads(out: Path) -> dict[str, str]:
    """screening.csv, where there is one."""
    path = out / SCREENING_NAME
    return {"screening decisions": content(path) if path.exists() else _NONE}


def members_reads(out: Path, names: Iterable[str]) -> dict[str, str]:
    """The graphs of members."""
    return {f"member/{name}": member(out, name).files.model.sha256 for name in names}


def member(out: Path, name: str) -> MemberRecord:
    """A trained member. ArtifactError."""
    path = out / MEMBERS / name / MEMBER_FILE
    content(path)
    return _member(path.parent, path.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _member(folder: Path, _changed: int) -> MemberRecord:
    return read_member(folder)


def bundles_reads(out: Path, names: Iterable[str]) -> dict[str, str]:
    """Bundles by their hash."""
    return {f"bundle/{name}": content(out / BUNDLES / name / "bundle.json") for name in names}


def check_bundle(out: Path, name: str) -> None:
    """Raise BundleError where a file of it is not what it was."""
    read_bundle(out / BUNDLES / name)
