"""What every de-identified copy is held to, whatever its format."""

import hashlib
from pathlib import Path

import numpy as np
import openslide

from sarcoscope.core.geometry import Box
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.identity.inspecting import inspect_identity
from sarcoscope.slides.identity.model import Cleaned, NewIdentity, content_digest
from sarcoscope.slides.opening import open_slide

PSEUDONYM = "slide-0123456789ab"


def copy_of(source: Path, target: Path) -> Cleaned:
    """Write the copy; the source stays as it is, the copy is clean, and is known as this source's copy."""
    cleaned = inspect_identity(source)
    before = digests(source)
    identity = NewIdentity(PSEUDONYM, content_digest(cleaned.files))
    cleaned.write(target, identity)
    assert digests(source) == before
    assert cleaned.is_at(target, identity)
    assert inspect_identity(target).findings == ()
    return cleaned


def digests(path: Path) -> dict[str, str]:
    """Of each file of a slide."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def all_bytes(path: Path) -> bytes:
    """Everything a copy is made of, its files' names included."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return b"".join(file.name.encode() + b"\n" + file.read_bytes() for file in files)


def assert_gone(path: Path, *secrets: str | bytes) -> None:
    """None of these stands in the copy, in ASCII or in UTF-16."""
    content = all_bytes(path)
    for secret in secrets:
        coded = [secret] if isinstance(secret, bytes) else [secret.encode(), secret.encode("utf-16-le")]
        for one in coded:
            assert one
            assert one not in content, secret


def assert_same_slide(source: Path, copy: Path) -> None:
    """Levels, scale, power and every pixel of every level are the same for our reader."""
    with open_slide(source) as old, open_slide(copy) as new:
        assert new.info.levels == old.info.levels
        assert new.info.scale == old.info.scale
        assert new.info.objective_power == old.info.objective_power
        assert isinstance(old, PyramidSource)
        assert isinstance(new, PyramidSource)
        for level, each in enumerate(old.info.levels):
            whole = Box(0, 0, each.size.width, each.size.height)
            np.testing.assert_array_equal(new.read_level(level, whole), old.read_level(level, whole))


def assert_same_for_openslide(source: Path, copy: Path) -> None:
    """The same for OpenSlide, whose vendor and scale properties stay, too."""
    with openslide.OpenSlide(source) as old, openslide.OpenSlide(copy) as new:
        assert new.level_dimensions == old.level_dimensions
        for name in ("openslide.vendor", "openslide.mpp-x", "openslide.mpp-y", "openslide.objective-power"):
            assert new.properties.get(name) == old.properties.get(name)
        for level, size in enumerate(old.level_dimensions):
            np.testing.assert_array_equal(
                np.asarray(new.read_region((0, 0), level, size)), np.asarray(old.read_region((0, 0), level, size))
            )
