"""One tree of errors; every message names its subject and what to do about it.

SarcoscopeError
    InputError            an argument or a config value is wrong
    TrainingError         a training that cannot go on: loss is no number, memory is short, a class is missing
    MissingExtraError     a part is needed that this installation lacks
    SlideError            one slide: the batch goes on without it
        SlideOpenError    it is not a slide that can be opened
        SlideReadError    it opened, but its pixels cannot be read
        ScaleError        its microns per pixel are unknown, implausible or too coarse
        TissueError       it holds no brightfield tissue that could be tiled
    ArtifactError         a file of ours is missing, damaged or of another schema
        BundleError       a bundle that cannot be trusted
"""

import os
from pathlib import Path
from typing import Self

from typing_extensions import override


def shown(path: Path | str) -> str:
    """A path as text that any encoding can carry: bytes of a file name that are no UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


class SarcoscopeError(Exception):
    """Base of all errors that are reported in one line, without a traceback."""

    def __init__(self, problem: str, advice: str = "") -> None:
        self.problem = problem
        self.advice = advice
        super().__init__(f"{problem}; {advice}" if advice else problem)

    @override
    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        """Survive the way out of a worker process; Exception would pass the joined message back to `__init__`."""
        return type(self), (self.problem, self.advice)


class InputError(SarcoscopeError):
    """An argument, a config value or a noun built from them is out of range."""


class MissingExtraError(SarcoscopeError):
    """A command needs a part that this installation does not have."""


class TrainingError(SarcoscopeError):
    """A training cannot begin or go on as it was asked for."""


class _PathError(SarcoscopeError):
    """An error about one file or folder, which its message names first."""

    def __init__(self, path: Path | str, problem: str, advice: str = "") -> None:
        self.path = Path(path)
        self._said = " ".join(problem.split())
        super().__init__(f"{shown(path)}: {self._said}", advice)

    @override
    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        return type(self), (str(self.path), self._said, self.advice)


class SlideError(_PathError):
    """Something is wrong with one slide; the others of the batch are unaffected."""


class SlideOpenError(SlideError):
    """Not a slide that any reader opens: missing, truncated, of another kind, not permitted."""


class SlideReadError(SlideError):
    """The slide opened, but its pixels cannot be read."""


class ScaleError(SlideError):
    """Microns per pixel unknown, implausible, contradictory, or too coarse for what was asked."""


class TissueError(SlideError):
    """No brightfield tissue that could be tiled: empty, dark background, smaller than a tile."""


class ArtifactError(_PathError):
    """A file this software wrote is missing, damaged or of a schema it does not read."""


class BundleError(ArtifactError):
    """A bundle that is incomplete, inconsistent, or whose files do not match their hashes."""
