"""What must not stand in two parts of a split: patients, files, contents, and tiles that show the same place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.cohort.hashes import NO_STRUCTURE, VARIANTS, Hashes, Places, near, transform, variants
from sarcoscope.core.cohort import CohortSlide, Part

DISTANCE: Final = 7
"""Bits in which the hashes of two versions of one tile differ at most; 0 to 4 nearly always."""
ALIKE: Final = 0.8
"""Likeness from which two tiles are the same place."""
PAIRS_MAX: Final = 200_000
"""Pairs with near hashes that are looked at, at most: of more, those that are nearest."""

_MEAN_PX: Final = 9

Gray = npt.NDArray[np.float32]
Signature = tuple[str, ...]
"""The parts of a tile in each repetition, '' for none."""


class LeakKind(StrEnum):
    """What stands in two parts."""

    PATIENT = "patient"
    FILE = "file"
    """One file under two names."""
    CONTENT = "content"
    """Two files of equal content."""
    TILE = "tile"
    """Two tiles that show the same place, whatever was done to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Two slides or tiles that ought not to be in different parts."""

    repetition: str
    kind: LeakKind
    part: str
    slide: str
    other_part: str
    other_slide: str
    tile: str = ""
    other_tile: str = ""
    detail: str = ""
    distance: int | None = None
    """Bits in which their hashes differ, of 64."""
    likeness: float | None = None
    """-1..1; None where their pixels could not be looked at again."""


def clash(one: str, other: str) -> bool:
    """Whether two parts, '' for none, must share nothing. The two test sets may share a patient: neither trains."""
    return bool(one and other) and one != other and {one, other} != {Part.TEST1, Part.TEST2}


def shared(
    slides: Sequence[CohortSlide],
    keys: Mapping[str, str],
    parts: Mapping[str, Part],
    kind: LeakKind,
    repetition: str,
) -> list[Leak]:
    """Slides of one key (a patient, a file, a content; by slide) in parts that clash; one leak a key and pair of parts.

    Two pooled slides clash too, unless by their patient: their tiles go to every part.
    """
    first: dict[tuple[str, Part], CohortSlide] = {}
    found: dict[tuple[str, frozenset[Part]], Leak] = {}
    for one in slides:
        key, part = keys.get(one.slide), parts.get(one.slide)
        if not key or part is None:
            continue
        for other_part in Part:
            other = first.get((key, other_part))
            pooled = part is other_part is Part.POOLED and kind is not LeakKind.PATIENT
            if other is not None and (pooled or clash(part, other_part)):
                leak = Leak(
                    repetition=repetition,
                    kind=kind,
                    part=other_part,
                    slide=other.slide,
                    other_part=part,
                    other_slide=one.slide,
                    detail=key if kind is LeakKind.PATIENT else "",
                )
                found.setdefault((key, frozenset({part, other_part})), leak)
        first.setdefault((key, part), one)
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPairs:
    """Tiles with near hashes, in parts that clash in some repetition."""

    one: Places
    other: Places
    """Places in the arrays that were given."""
    distance: npt.NDArray[np.int64]
    within: int
    """Bits within which these are all; -1 where even the equal ones are too many, and some are left out."""


class _Nearest:
    """Pairs by their distance, at most so many: where there are more, the widest distance goes as a whole."""

    def __init__(self, within: int, most: int) -> None:
        self.within, self._most = within, most
        self._found: dict[tuple[int, int], int] = {}

    def add(self, pairs: Iterable[tuple[int, int, int]]) -> None:
        for one, other, bits in pairs:
            if bits <= self.within:
                key = (min(one, other), max(one, other))
                self._found[key] = min(bits, self._found.get(key, bits))
                while len(self._found) > self._most and self.within >= 0:
                    self._narrow()

    def _narrow(self) -> None:
        self.within -= 1
        if self.within >= 0:
            self._found = {key: bits for key, bits in self._found.items() if bits <= self.within}

    def all(self) -> NearPairs:
        rows = np.array([(*pair, bits) for pair, bits in sorted(self._found.items())], np.int64).reshape(-1, 3)
        return NearPairs(one=rows[:, 0], other=rows[:, 1], distance=rows[:, 2], within=self.within)


def near_pairs(
    hashes: Hashes,
    codes: Places,
    signatures: Sequence[Signature],
    distance: int = DISTANCE,
    *,
    most: int = PAIRS_MAX,
) -> NearPairs:
    """Pairs of tiles whose hashes, turned or mirrored, differ in at most `distance` bits; each pair once.

    `codes` say which of the signatures each tile has; only tiles of signatures that clash are compared. Tiles without
    structure are not. Chance meetings grow with the square of the tiles: beyond `most` pairs the distance is
    narrowed, to what `NearPairs.within` says.
    """
    usable = np.flatnonzero(hashes != np.uint64(NO_STRUCTURE))
    places = {code: usable[codes[usable] == code] for code in range(len(signatures))}
    order = sorted(places, key=lambda code: (-len(places[code]), code))
    found = _Nearest(distance, most)
    for number, code in enumerate(order):
        against = [other for other in order[:number] if _clash(signatures[code], signatures[other])]
        index = np.concatenate([places[other] for other in against]) if against else usable[:0]
        if not len(index) or not len(places[code]):
            continue
        for turned in variants(hashes[places[code]]):
            for query, other in near(turned, hashes[index], found.within):
                bits = np.bitwise_count(turned[query] ^ hashes[index[other]])
                pairs = places[code][query].tolist(), index[other].tolist(), bits.tolist()
                found.add(zip(*pairs, strict=True))
                if found.within < 0:
                    return found.all()
    return found.all()


def likeness(one: Gray, other: Gray) -> float:
    """How far two small gray pictures (side, side) show the same, the best of all turns and mirror images; -1..1.

    The correlation of their detail, what differs from the mean of 9 x 9 px around: a slow change of brightness over
    the field, which is all that nearly empty tiles have in common, does not count.
    """
    fine, others = _detail(one), _detail(other)
    return max(_correlation(transform(fine, variant), others) for variant in range(VARIANTS))


def _clash(one: Signature, other: Signature) -> bool:
    return any(clash(a, b) for a, b in zip(one, other, strict=True))


def _detail(gray: Gray) -> Gray:
    half = _MEAN_PX // 2
    padded = np.pad(gray.astype(np.float64), (half + 1, half), mode="reflect").cumsum(axis=0).cumsum(axis=1)
    side = _MEAN_PX
    total = padded[side:, side:] - padded[:-side, side:] - padded[side:, :-side] + padded[:-side, :-side]
    return np.asarray(gray - total / side**2, np.float32)


def _correlation(one: Gray, other: Gray) -> float:
    a, b = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
