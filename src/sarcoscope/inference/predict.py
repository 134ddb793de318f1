"""Tiles of one slide through the members of a bundle, reading overlapped with computing."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Rgb
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import Probabilities, softmax
from sarcoscope.inference.port import Network
from sarcoscope.tiling.reading import ScalesReader, TileReader, ahead

Progress = Callable[[int], None]
"""Called with the number of tiles that were just finished."""
Views = dict[float | None, Rgb]
"""(tile_px, tile_px, 3) of a tile by the scale that it is shown at, um/px; its own under None."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the members say of a slide's tiles."""

    tiles: tuple[Tile, ...]
    """The tiles that were given, judged by their pixels: some are dropped now."""
    probabilities: Probabilities
    """(M, kept, C): softmax of each of M members for each kept tile, in the order of `tiles`."""
    features: dict[int, Features]
    """By place of the member, (kept, F) float32: its last feature maps averaged; for those that were asked for."""
    waiting_s: float
    """Seconds in which computing waited for reading."""
    computing_s: float
    """Seconds spent in the members."""


def predict_tiles(
    reader: TileReader | ScalesReader,
    tiles: Sequence[Tile],
    members: Sequence[Network],
    classes: int,
    *,
    scales: Sequence[float | None] = (),
    features_of: Collection[int] = (),
    batch: int = 8,
    workers: int = 2,
    progress: Progress = lambda _count: None,
) -> Prediction:
    """Read, judge and predict `tiles`; px are bounded by the batch and the reading window.

    Args:
        reader: of the slide; a `ScalesReader` where members read further scales.
        tiles: to be read.
        members: every kept tile goes through each of them (fusion mode `shared`; paper, section 1.3).
        classes: of their outputs.
        scales: by member, the um/px of what it is shown instead of the tile (fusion mode `concentric`); None is the
            tile itself, as is leaving it out.
        features_of: places of the members whose features are wanted.
        batch: tiles per pass.
        workers: threads that read.
        progress: told of each tile.

    Raises SlideReadError where the slide cannot be read and BundleError where a member does not fit.
    """
    passes = _Passes(members, tuple(scales) or (None,) * len(members), features_of)
    read = reader if isinstance(reader, ScalesReader) else ScalesReader(reader, {})
    judged: list[Tile] = []
    pending: list[Views] = []
    computing, started = 0.0, perf_counter()
    for tile, views in ahead(read.read, tiles, workers):
        judged.append(tile)
        if tile.kept:
            pending.append(views)
        if len(pending) == batch:
            computing += passes.run(pending)
            pending.clear()
        progress(1)
    if pending:
        computing += passes.run(pending)
    waiting = perf_counter() - started - computing
    return Prediction(tuple(judged), passes.probabilities(classes), passes.features(), waiting, computing)


class _Passes:
    """Batches through all members, one after the other, and what came of them."""

    def __init__(
        self, members: Sequence[Network], scales: Sequence[float | None], features_of: Collection[int]
    ) -> None:
        self._members = list(zip(members, scales, strict=True))
        self._parts: list[Probabilities] = []
        self._features: dict[int, list[Features]] = {place: [] for place in features_of}

    def run(self, views: Sequence[Views]) -> float:
        """One batch; seconds that it took. Raises BundleError."""
        begin = perf_counter()
        stacked = {scale: np.stack([one[scale] for one in views]) for scale in {scale for _, scale in self._members}}
        found = []
        for place, (member, scale) in enumerate(self._members):
            if place in self._features:
                logits, maps = member.activations(stacked[scale])
                self._features[place].append(maps.mean(axis=(2, 3)))
            else:
                logits = member.logits(stacked[scale])
            found.append(softmax(logits))
        self._parts.append(np.stack(found))
        return perf_counter() - begin

    def probabilities(self, classes: int) -> Probabilities:
        """(M, kept, C)."""
        empty = np.empty((len(self._members), 0, classes))
        return np.concatenate(self._parts, axis=1) if self._parts else empty

    def features(self) -> dict[int, Features]:
        """(kept, F) by place of the member; (0, 0) where no tile was kept."""
        empty = np.empty((0, 0), np.float32)
        return {place: np.concatenate(some) if some else empty for place, some in self._features.items()}


MOST_COMPARED: Final = 64
"""Tiles a slide whose features are compared with training tiles."""


def evenly(count: int, most: int = MOST_COMPARED) -> npt.NDArray[np.intp]:
    """At most `most` of `count` places, evenly spread, ascending; all where there are no more."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.intp))
