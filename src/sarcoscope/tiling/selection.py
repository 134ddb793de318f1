"""Extraction by score: which good tiles of a slide are the densest in nuclei (paper, section 1.2.1)."""

import numpy as np
import numpy.typing as npt

from sarcoscope.core.cutting import ScoreConfig


def densest(
    nuclei: npt.NDArray[np.float64], centres_um: npt.NDArray[np.float64], config: ScoreConfig
) -> npt.NDArray[np.bool_]:
    """Which of N tiles of one slide and scale are taken.

    Args:
        nuclei: (N,) nuclei per mm2.
        centres_um: (N, 2) x and y of the tiles' centres from the slide's origin, um.
        config: its limits; the least density first, then the quota per region, then the top of the slide.

    Returns:
        (N,) bool. Of equally dense tiles the one given first is taken.
    """
    ranked = np.argsort(-nuclei, kind="stable")
    if config.minimum_nuclei is not None:
        ranked = ranked[nuclei[ranked] >= config.minimum_nuclei]
    if config.per_region is not None:
        regions = np.floor(centres_um[ranked] / config.region_um).astype(np.int64)
        ranked = ranked[_place_in_group(regions) < config.per_region]
    if config.top is not None:
        ranked = ranked[: config.top]
    taken = np.zeros(len(nuclei), bool)
    taken[ranked] = True
    return taken


def _place_in_group(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """(N,) how many earlier rows of (N, 2) are the same."""
    if not len(groups):
        return np.empty(0, np.intp)
    _, member = np.unique(groups, axis=0, return_inverse=True)
    order = np.argsort(member, kind="stable")
    starts = np.flatnonzero(np.diff(member[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(order)))
    places = np.empty(len(order), np.intp)
    places[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return places
