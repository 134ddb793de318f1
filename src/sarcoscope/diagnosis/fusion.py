"""Decision-level fusion: several members' probabilities of the same tiles become one (paper, section 1.3)."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError

Probabilities = npt.NDArray[np.floating]
"""(..., C) of class probabilities, each row summing to 1."""

_FLOOR: Final = 1e-12
"""Least probability whose logarithm is taken."""
_ROUNDS: Final = 10_000
_STILL: Final = 1e-10
"""Change of a weight below which fitting ends."""


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


def fuse_weighted(members: Probabilities, weights: Sequence[float]) -> Probabilities:
    """(M, N, C) to the mean (N, C) weighted by M weights, which sum to 1."""
    result: Probabilities = np.tensordot(np.asarray(weights, np.float64), np.asarray(members, np.float64), axes=1)
    return result


def fuse_product(members: Probabilities) -> Probabilities:
    """(M, N, C) to their product, brought back to sum 1 (N, C): right where members err independently (Kittler 1998).

    A member that is wholly sure of being wrong cannot veto: probabilities below 1e-12 count as that.
    """
    return softmax(np.log(np.maximum(np.asarray(members, np.float64), _FLOOR)).sum(axis=0))


def fuse_vote(members: Probabilities) -> Probabilities:
    """(M, N, C) to the share of members whose most probable class it is (N, C).

    A single member is itself. Of equally many votes the class with the larger mean probability wins: it gets a share
    more that is too small to overrule a vote, so that every row still sums to 1.
    """
    values = np.asarray(members, np.float64)
    count, classes = values.shape[0], values.shape[2]
    if count == 1:
        alone: Probabilities = values[0]
        return alone
    votes = np.eye(classes)[values.argmax(axis=2)].mean(axis=0)  # (N, C)
    sway = 0.5 / (count + 1)  # less than a vote, whatever the means are
    result: Probabilities = (1 - sway) * votes + sway * values.mean(axis=0)
    return result


FUSIONS: Final[dict[str, Callable[[Probabilities], Probabilities]]] = {
    "mean": fuse_mean,
    "product": fuse_product,
    "vote": fuse_vote,
}
"""Fusion rules by the name that a bundle declares, but for `weighted`, which needs weights."""
WEIGHTED: Final = "weighted"
RULES: Final = (*FUSIONS, WEIGHTED)


def fuse(members: Probabilities, rule: str = "mean", weights: Sequence[float] = ()) -> Probabilities:
    """Fuse (M, N, C) to (N, C) by a rule's name. InputError for an unknown name or another shape."""
    if np.ndim(members) != 3 or not len(members):
        raise InputError(f"fusion of an array of shape {np.shape(members)}", "give (members, tiles, classes)")
    check_fusion(rule, weights, len(members))
    return fuse_weighted(members, weights) if rule == WEIGHTED else FUSIONS[rule](members)


def check_fusion(rule: str, weights: Sequence[float], members: int) -> None:
    """Raise InputError for an unknown rule, and for weights that are not one a member, none below 0, of sum 1."""
    if rule not in RULES:
        raise InputError(f"unknown fusion {rule!r}", f"known: {', '.join(RULES)}")
    if rule != WEIGHTED:
        if weights:
            raise InputError(f"weights beside fusion {rule!r}", "drop them, or give weighted")
        return
    if len(weights) != members:
        raise InputError(f"{len(weights)} weights for {members} members", "give one each")
    if not (min(weights) >= 0 and abs(sum(weights) - 1) <= 1e-6):  # so that NaN is refused too
        raise InputError(f"weights {', '.join(f'{one:g}' for one in weights)}", "give shares that sum to 1")


def fit_weights(members: Probabilities, labels: npt.NDArray[np.integer]) -> tuple[float, ...]:
    """Weights (M) of `fuse_weighted` with the least log loss of (N,) labels, given (M, N, C) probabilities.

    The loss is convex in the weights; it is brought down by expectation maximisation (Dempster 1977, for the weights of
    a mixture with fixed parts), which never raises it, in the long steps of Varadhan 2008, which are taken only where
    they do not raise it either. Members that are equal get equal weights.
    Raises InputError where there is no tile.
    """
    if not len(labels):
        raise InputError("no tile to fit weights on", "give validation tiles, or another fusion than weighted")
    true = np.maximum(np.asarray(members, np.float64)[:, np.arange(len(labels)), labels], _FLOOR)  # (M, N)
    weights = np.full(len(true), 1 / len(true))
    for _ in range(_ROUNDS):
        once, _ = _maximised(weights, true)
        twice, loss = _maximised(once, true)
        if float(np.abs(once - weights).max()) < _STILL:
            break
        weights = _leap(weights, once, twice)
        if weights.min() < 0 or _maximised(weights, true)[1] > loss:
            weights = twice
    weights = np.where(weights < 1e-9, 0.0, weights)
    return tuple(float(one) for one in weights / weights.sum())


def _maximised(weights: Probabilities, true: Probabilities) -> tuple[Probabilities, float]:
    """(M,) weights after a step of expectation maximisation, and the loss before it, given (M, N) probabilities."""
    mixed = weights @ true  # (N,)
    after: Probabilities = weights * (true @ (1 / mixed)) / len(mixed)
    return after, float(-np.log(mixed).mean())


def _leap(weights: Probabilities, once: Probabilities, twice: Probabilities) -> Probabilities:
    """Where two steps lead to if they go on as they began; of sum 1 as they are, perhaps below 0."""
    first, turn = once - weights, twice - 2 * once + weights
    length = float(np.linalg.norm(first)) / max(float(np.linalg.norm(turn)), _FLOOR)
    return weights + 2 * max(1.0, length) * first + max(1.0, length) ** 2 * turn
