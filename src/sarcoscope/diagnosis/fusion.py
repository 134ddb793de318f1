"""Decision-level fusion: several members' probabilities of the same tiles become one (paper, section 1.3)."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError

Probabilities = npt.NDArray[np.floating]
"""(..., C) of class probabilities, each row summing to 1."""


def softmax(logits: Probabilities) -> Probabilities:
    """Probabilities over the last axis, computed in float64 without overflow."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    result: Probabilities = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def fuse_mean(members: Probabilities) -> Probabilities:
    """(M, N, C) probabilities of M members to their mean (N, C).

    The paper fuses at the decision level (section 1.3) and is silent on how; the mean is our choice.
    """
    result: Probabilities = np.asarray(members, np.float64).mean(axis=0)
    return result


FUSIONS: dict[str, Callable[[Probabilities], Probabilities]] = {"mean": fuse_mean}
"""Fusion rules by the name a bundle declares."""


def fuse(members: Probabilities, rule: str = "mean") -> Probabilities:
    """Fuse (M, N, C) to (N, C) by a rule's name. InputError for an unknown name or another shape."""
    if np.ndim(members) != 3 or not len(members):
        raise InputError(f"fusion of an array of shape {np.shape(members)}", "give (members, tiles, classes)")
    if rule not in FUSIONS:
        raise InputError(f"unknown fusion {rule!r}", f"known: {', '.join(sorted(FUSIONS))}")
    return FUSIONS[rule](members)
