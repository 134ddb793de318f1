"""What a bundle's members say of a run's tiles and of its whole slides, computed once and kept in RUN/predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.bundle import Bundle


class PassListener(Protocol):
    """Is told how a pass over slides goes."""

    def slide_started(self, slide: str, number: int, total: int) -> None:
        """Slide `number` of `total`, counted from 1, is looked at."""
        ...

    def tiles_planned(self, count: int) -> None:
        """So many tiles of it will be read; not called where all that is wanted is there already."""
        ...

    def tiles_done(self, count: int) -> None:
        """So many more tiles of it are finished."""
        ...

    def slide_finished(self, slide: str, *, reused: bool) -> None:
        """All is there; `reused` where nothing had to be predicted."""
        ...

    def slide_failed(self, slide: str, problem: str) -> None:
        """It goes without, and why."""
        ...


class Silent:
    """A listener that says nothing."""

    def slide_started(self, slide: str, number: int, total: int) -> None:
        """Ignore."""

    def tiles_planned(self, count: int) -> None:
        """Ignore."""

    def tiles_done(self, count: int) -> None:
        """Ignore."""

    def slide_finished(self, slide: str, *, reused: bool) -> None:
        """Ignore."""

    def slide_failed(self, slide: str, problem: str) -> None:
        """Ignore."""


SILENT: Final = Silent()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTable:
    """Tiles of a run's parts with each member's probabilities."""

    tiles: pl.DataFrame
    """(N) rows by slide and tile: slide, tile, label, part, pooled, patient (null where it is not known), left_l0,
    top_l0, width_l0, height_l0; every label is one of the bundle's classes."""
    probabilities: Probabilities
    """(M, N, C) float64, by member of the bundle in its order."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """By slide, why none of its tiles is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideTiles:
    """One whole slide's kept grid tiles with each member's probabilities."""

    slide: CohortSlide
    part: Part
    tiles: tuple[Tile, ...]
    """K kept ones, perhaps none."""
    probabilities: Probabilities
    """(M, K, C) float64."""
    features: Features | None
    """(S, F) float32 of `inference.predict.evenly` chosen kept tiles, of the member asked for; None where none was."""


def patch_table(
    run: Path,
    bundle: Bundle,
    parts: Sequence[Part],
    *,
    fold: str = "",
    workers: int = 2,
    threads: int = 0,
    listener: PassListener = SILENT,
) -> PatchTable:
    """Kept, unrejected tiles of these parts at the bundle's scale whose label is one of its classes.

    A slide that cannot be read is named in `failures`; the others go on. Raises InputError where ready-made tiles are
    to be read at further scales, ArtifactError, BundleError.
    """
    raise NotImplementedError


def slide_tiles(
    run: Path,
    bundle: Bundle,
    parts: Sequence[Part],
    *,
    features_of: str | None = None,
    fold: str = "",
    workers: int = 2,
    threads: int = 0,
    listener: PassListener = SILENT,
) -> tuple[dict[str, SlideTiles], dict[str, str]]:
    """By slide, in the cohort's order, the tiles of its whole grid; and by slide that has none, why.

    `features_of` is the name of the member whose features are wanted. Slides without a label are among them.
    Raises InputError, ArtifactError, BundleError.
    """
    raise NotImplementedError


def train_features(
    run: Path,
    bundle: Bundle,
    member: str,
    *,
    most: int = 1000,
    fold: str = "",
    seed: int = 0,
    workers: int = 2,
    threads: int = 0,
    listener: PassListener = SILENT,
) -> Features:
    """(R, F) float32 last feature maps, averaged, of at most `most` training tiles as the member is shown them.

    Raises InputError where there is no training tile, or the bundle has no such member; ArtifactError, BundleError.
    """
    raise NotImplementedError
