"""What clashes, and what is near and alike."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.hashes import VARIANTS, transform, variants
from sarcoscope.cohort.leakage import ALIKE, Gray, LeakKind, clash, likeness, near_pairs, shared
from sarcoscope.core.cohort import CohortSlide, Part

parts = st.sampled_from(["", *Part])


def slide(name: str, patient: str | None = None) -> CohortSlide:
    return CohortSlide(slide=name, path=Path(name), label="A", patient=patient)


@given(parts, parts)
def test_parts_clash_but_for_the_two_test_sets_and_none(one: str, other: str) -> None:
    assert clash(one, other) == clash(other, one)
    if one == other or not one or not other or {one, other} == {Part.TEST1, Part.TEST2}:
        assert not clash(one, other)
    else:
        assert clash(one, other)


def test_a_patient_in_two_parts_is_told_once_a_pair_of_parts() -> None:
    slides = [slide(name, "P") for name in "abcd"] + [slide("e", "Q"), slide("f", "Q")]
    keys = {one.slide: one.patient or "" for one in slides}
    given_parts = dict(
        zip("abcdef", [Part.TRAIN, Part.TEST, Part.TRAIN, Part.TEST, Part.TEST1, Part.TEST2], strict=True)
    )
    (leak,) = shared(slides, keys, given_parts, LeakKind.PATIENT, "part")
    assert (leak.slide, leak.part, leak.other_slide, leak.other_part, leak.detail) == ("a", "train", "b", "test", "P")


def test_pooled_slides_clash_by_their_content_but_not_by_their_patient() -> None:
    slides = [slide("a", "P"), slide("b", "P")]
    pooled = {"a": Part.POOLED, "b": Part.POOLED}
    keys = {"a": "x", "b": "x"}
    assert shared(slides, keys, pooled, LeakKind.PATIENT, "part") == []
    assert len(shared(slides, keys, pooled, LeakKind.CONTENT, "part")) == 1
    assert len(shared(slides, keys, {"a": Part.POOLED, "b": Part.TEST}, LeakKind.PATIENT, "part")) == 1


def test_slides_without_a_part_or_a_key_share_nothing() -> None:
    slides = [slide("a"), slide("b"), slide("c")]
    assert shared(slides, {"a": "x", "b": "x"}, {"a": Part.TRAIN}, LeakKind.FILE, "part") == []
    assert shared(slides, {"b": "", "c": ""}, {"b": Part.TRAIN, "c": Part.TEST}, LeakKind.FILE, "part") == []


def test_near_pairs_are_those_of_parts_that_clash_whichever_way_they_are_turned() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(1, 2**64, 400, dtype=np.uint64)
    codes = np.arange(400) % 4
    signatures = [("train", "test"), ("train", "train"), ("test1", ""), ("test2", "")]
    wanted = set()
    for place, variant in zip(range(0, 160, 4), [*range(VARIANTS)] * 5, strict=True):
        hashes[place + 1] = variants(hashes[place : place + 1])[variant, 0] ^ np.uint64(0b10101)  # codes 0 and 1: clash
        wanted.add((place, place + 1))
    hashes[201] = hashes[205]  # one code
    hashes[202] = hashes[203]  # the two test sets
    hashes[300], hashes[301] = 0, 0  # no structure
    found = near_pairs(hashes, codes, signatures)
    assert set(zip(found.one.tolist(), found.other.tolist(), strict=True)) == wanted
    assert found.distance.tolist() == [3] * len(wanted)
    assert found.within == 7


def test_where_many_meet_by_chance_the_nearest_are_kept_and_all_of_them() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(1, 2**64, 60, dtype=np.uint64)
    masks = np.array([(1 << bits) - 1 for bits in range(6)], np.uint64)  # copies that differ in 0 to 5 bits
    hashes = np.concatenate([base, *(base[10 * bits : 10 * bits + 10] ^ masks[bits] for bits in range(6))])
    codes = np.array([0] * 60 + [1] * 60)
    signatures = [("train",), ("test",)]
    assert len(near_pairs(hashes, codes, signatures).one) == 60
    found = near_pairs(hashes, codes, signatures, most=35)
    assert found.within == 2
    assert sorted(found.distance.tolist()) == [0] * 10 + [1] * 10 + [2] * 10
    assert near_pairs(hashes, codes, signatures, most=9).within == -1


def test_nothing_to_compare() -> None:
    found = near_pairs(np.zeros(0, np.uint64), np.zeros(0, np.int64), [])
    assert len(found.one) == 0


def picture(seed: int, side: int = 32) -> Gray:
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.normal(0, 1, (5, 5)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(150 + 20 * coarse + rng.normal(0, 8, (side, side)), np.float32)


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_a_turned_copy_with_other_brightness_is_alike(variant: int) -> None:
    one = picture(0)
    noise = np.random.default_rng(1).normal(0, 2, one.shape).astype(np.float32)
    assert likeness(one, transform(one, variant) * np.float32(1.1) + 9 + noise) > 0.95


def test_different_pictures_are_not_alike_and_plain_ones_neither() -> None:
    assert likeness(picture(0), picture(1)) < ALIKE / 2
    plain = np.full((32, 32), 240, np.float32)
    assert likeness(plain, plain) == 0


def test_nearly_empty_tiles_lit_from_one_side_are_not_alike() -> None:
    """Their coarse structure, which is all that a hash sees, is the same."""
    slope = np.linspace(0, 12, 32, dtype=np.float32)[None, :] + np.zeros((32, 1), np.float32)
    noise = [np.random.default_rng(seed).normal(0, 0.4, (32, 32)).astype(np.float32) for seed in (0, 1)]
    one, other = 235 - slope + noise[0], 235 - slope + noise[1]
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98
    assert likeness(one, other) < ALIKE / 2
