"""Hashes: near ones are all found, and a hash knows its mirror images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.hashes import FREQUENCIES, Hashes, near, near_plainly, transform, variants
from sarcoscope.core.errors import InputError

hashes = st.lists(st.integers(0, 2**64 - 1), max_size=20).map(lambda found: np.array(found, np.uint64))


def flipped(rng: np.random.Generator, base: Hashes, bits: int) -> Hashes:
    """The hashes with so many random bits of each turned."""
    masks = [sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for _ in base]
    return base ^ np.array(masks, np.uint64)


@given(hashes, hashes, st.integers(0, 63))
def test_near_finds_what_comparing_each_with_each_finds(one: Hashes, other: Hashes, distance: int) -> None:
    distance = min(distance, 14)  # the number of buckets grows with it
    found = [pair for a, b in near(one, other, distance) for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == near_plainly(one, other, distance)


@pytest.mark.parametrize("distance", [0, 1, 3, 4, 7, 8, 11])
def test_near_finds_planted_pairs_at_its_very_edge(distance: int) -> None:
    rng = np.random.default_rng(distance)
    index = rng.integers(0, 2**64, 500, dtype=np.uint64)
    queries = np.concatenate([flipped(rng, index[:200], distance), flipped(rng, index[200:400], distance + 1)])
    found = {pair for a, b in near(queries, index, distance) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    assert {(place, place) for place in range(200)} <= found
    assert found == near_plainly(queries, index, distance)


def test_equal_hashes_by_the_thousand_come_in_pieces() -> None:
    same = np.full(3000, 12345, np.uint64)
    pieces = [len(a) for a, _ in near(same, same, 0)]
    assert sum(pieces) == 9_000_000
    assert len(pieces) > 1


def test_a_distance_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(InputError, match="give 0 to 63"):
        list(near(np.zeros(1, np.uint64), np.zeros(1, np.uint64), 64))


def test_frequencies_can_swap_axes() -> None:
    assert len(set(FREQUENCIES)) == 64
    assert {(across, down) for down, across in FREQUENCIES} == set(FREQUENCIES)
    assert (0, 0) not in FREQUENCIES


@given(st.integers(0, 2**64 - 1))
def test_turning_twice_comes_back(value: int) -> None:
    one = np.array([value], np.uint64)
    found = variants(one)
    assert found.shape == (8, 1)
    assert found[0, 0] == value
    for variant in (1, 2, 3, 4, 7):  # mirrors, half turn, and both diagonals are their own inverse
        assert variants(found[variant])[variant, 0] == value
    assert variants(found[5])[6, 0] == value  # a quarter turn one way, then the other
    assert set(variants(found[6])[:, 0].tolist()) == set(found[:, 0].tolist())


def test_transform_gives_all_eight() -> None:
    gray = np.arange(9, dtype=np.float32).reshape(3, 3)
    found = {transform(gray, variant).tobytes() for variant in range(8)}
    turned = [np.rot90(one, turn) for one in (gray, gray.T) for turn in range(4)]
    assert found == {np.ascontiguousarray(one).tobytes() for one in turned}
