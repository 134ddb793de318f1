"""Which tiles are worth a look: the most confident right ones, the most confident wrong ones, the least certain."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

RIGHT: Final = "right"
WRONG: Final = "wrong"
UNCERTAIN: Final = "uncertain"
TOLD: Final = "told"
"""Most confident of those told as a class, where nobody knows the truth."""
KINDS: Final = (RIGHT, WRONG, UNCERTAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One tile for one sheet."""

    place: int
    """Of the tile among those given."""
    sheet: int
    """Class whose sheet it is for: the true one, or for `TOLD` the predicted one."""
    kind: str
    """`RIGHT`, `WRONG`, `UNCERTAIN` or `TOLD`."""
    shown: tuple[int, ...]
    """Classes whose maps are shown: the predicted one; of a wrong tile also the true one, of an uncertain one also the
    next probable."""


def pick(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], per_class: int) -> tuple[Pick, ...]:
    """Up to `per_class` tiles of each kind of each true class, classes and kinds in order, the foremost first.

    By (N, C) probabilities and (N,) true classes. Right and wrong ones with the largest probability come first,
    uncertain ones (right or wrong) with the smallest; equal ones by place.
    """
    told, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found: list[Pick] = []
    for label in range(probabilities.shape[1]):
        of_class = labels == label
        chosen = {
            RIGHT: _first(np.flatnonzero(of_class & (told == label)), -sure, per_class),
            WRONG: _first(np.flatnonzero(of_class & (told != label)), -sure, per_class),
            UNCERTAIN: _first(np.flatnonzero(of_class), sure, per_class),
        }
        for kind, places in chosen.items():
            found += [
                Pick(place=place, sheet=label, kind=kind, shown=_shown(kind, probabilities[place], label))
                for place in places
            ]
    return tuple(found)


def pick_told(probabilities: npt.NDArray[np.floating], per_class: int) -> tuple[Pick, ...]:
    """Up to `per_class` tiles told as each class by (N, C) probabilities, the most confident first."""
    told, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return tuple(
        Pick(place=place, sheet=label, kind=TOLD, shown=(label,))
        for label in range(probabilities.shape[1])
        for place in _first(np.flatnonzero(told == label), -sure, per_class)
    )


def _first(places: npt.NDArray[np.intp], key: npt.NDArray[np.floating], most: int) -> list[int]:
    """Those of the places with the smallest keys."""
    return [int(place) for place in places[np.argsort(key[places], kind="stable")][:most]]


def _shown(kind: str, probabilities: npt.NDArray[np.floating], label: int) -> tuple[int, ...]:
    order = [int(one) for one in np.argsort(-probabilities, kind="stable")]
    return {RIGHT: (order[0],), WRONG: (order[0], label), UNCERTAIN: (order[0], order[1])}[kind]
