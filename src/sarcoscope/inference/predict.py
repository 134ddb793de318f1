"""Tiles of one slide through the members of a bundle, reading overlapped with computing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from sarcoscope.core.geometry import Rgb
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.fusion import Probabilities, softmax
from sarcoscope.inference.port import Network
from sarcoscope.tiling.reading import TileReader, read_ahead

Progress = Callable[[int], None]
"""Called with the number of tiles that were just finished."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the members say of a slide's tiles."""

    tiles: tuple[Tile, ...]
    """The tiles that were given, judged by their pixels: some are dropped now."""
    probabilities: Probabilities
    """(M, kept, C): softmax of each of M members for each kept tile, in the order of `tiles`."""
    waiting_s: float
    """Seconds in which computing waited for reading."""
    computing_s: float
    """Seconds spent in the members."""


def predict_tiles(
    reader: TileReader,
    tiles: Sequence[Tile],
    members: Sequence[Network],
    classes: int,
    *,
    batch: int = 8,
    workers: int = 2,
    progress: Progress = lambda _count: None,
) -> Prediction:
    """Read, judge and predict `tiles`; memory is bounded by the batch and the reading window.

    Every kept tile goes through every member (fusion mode `shared`; paper, section 1.3). Raises
    SlideReadError where the slide cannot be read and BundleError where a member does not fit.
    """
    judged: list[Tile] = []
    pending: list[Rgb] = []
    parts: list[Probabilities] = []
    computing = 0.0
    started = perf_counter()

    def flush() -> None:
        nonlocal computing
        begin = perf_counter()
        stacked = np.stack(pending)
        parts.append(np.stack([softmax(member.logits(stacked)) for member in members]))
        pending.clear()
        computing += perf_counter() - begin

    for tile, rgb in read_ahead(reader, tiles, workers):
        judged.append(tile)
        if tile.kept:
            pending.append(rgb)
        if len(pending) == batch:
            flush()
        progress(1)
    if pending:
        flush()
    whole = np.concatenate(parts, axis=1) if parts else np.empty((len(members), 0, classes))
    return Prediction(tuple(judged), whole, perf_counter() - started - computing, computing)
