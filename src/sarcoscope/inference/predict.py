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
    """Read, judge and predict `tiles`; memory is bounded by the batch and the reading window.

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
    shown = tuple(scales) or (None,) * len(members)
    read = reader if isinstance(reader, ScalesReader) else ScalesReader(reader, {})
    judged: list[Tile] = []
    pending: list[dict[float | None, Rgb]] = []
    parts: list[Probabilities] = []
    features: dict[int, list[Features]] = {place: [] for place in features_of}
    computing = 0.0
    started = perf_counter()

    def flush() -> None:
        nonlocal computing
        begin = perf_counter()
        stacked = {scale: np.stack([views[scale] for views in pending]) for scale in dict.fromkeys(shown)}
        found = []
        for place, (member, scale) in enumerate(zip(members, shown, strict=True)):
            if place in features:
                logits, maps = member.activations(stacked[scale])
                features[place].append(maps.mean(axis=(2, 3)))
            else:
                logits = member.logits(stacked[scale])
            found.append(softmax(logits))
        parts.append(np.stack(found))
        pending.clear()
        computing += perf_counter() - begin

    for tile, views in ahead(read.read, tiles, workers):
        judged.append(tile)
        if tile.kept:
            pending.append(views)
        if len(pending) == batch:
            flush()
        progress(1)
    if pending:
        flush()
    whole = np.concatenate(parts, axis=1) if parts else np.empty((len(members), 0, classes))
    pooled = {place: np.concatenate(some) if some else np.empty((0, 0), np.float32) for place, some in features.items()}
    return Prediction(tuple(judged), whole, pooled, perf_counter() - started - computing, computing)


MOST_COMPARED: Final = 64
"""Tiles a slide whose features are compared with training tiles."""


def evenly(count: int, most: int = MOST_COMPARED) -> npt.NDArray[np.intp]:
    """At most `most` of `count` places, evenly spread, ascending; all where there are no more."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.intp))
