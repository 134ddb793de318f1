"""Extraction by score: hand-worked choices, and what must hold of any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.cutting import ScoreConfig
from sarcoscope.core.errors import InputError
from sarcoscope.tiling.selection import densest

NUCLEI = np.array([500.0, 3000.0, 100.0, 3000.0, 2000.0, 1500.0])
CENTRES = np.array([[10, 10], [20, 20], [30, 30], [2500, 10], [2600, 20], [10, 2500]], float)


def chosen(config: ScoreConfig) -> list[int]:
    return np.flatnonzero(densest(NUCLEI, CENTRES, config)).tolist()


def test_the_top_of_a_slide_and_of_equals_the_first() -> None:
    assert chosen(ScoreConfig(top=1)) == [1]
    assert chosen(ScoreConfig(top=3)) == [1, 3, 4]
    assert chosen(ScoreConfig(top=99)) == [0, 1, 2, 3, 4, 5]


def test_every_tile_above_a_score() -> None:
    assert chosen(ScoreConfig(top=None, minimum_nuclei=1500)) == [1, 3, 4, 5]


def test_a_quota_per_region_keeps_a_hot_spot_from_taking_all() -> None:
    # regions of 2 mm: {0, 1, 2}, {3, 4}, {5}
    assert chosen(ScoreConfig(top=None, per_region=1, region_um=2000)) == [1, 3, 5]
    assert chosen(ScoreConfig(top=None, per_region=2, region_um=2000)) == [0, 1, 3, 4, 5]


def test_limits_apply_together_the_quota_before_the_top() -> None:
    assert chosen(ScoreConfig(top=2, per_region=1, region_um=2000)) == [1, 3]
    assert chosen(ScoreConfig(top=3, per_region=1, region_um=2000)) == [1, 3, 5]  # not 4, which is denser than 5
    assert chosen(ScoreConfig(top=9, per_region=1, region_um=2000, minimum_nuclei=1600)) == [1, 3]


def test_the_studys_300_is_the_limit_where_no_other_is_given() -> None:
    assert ScoreConfig().top == 300
    assert ScoreConfig(per_region=2).top is None
    assert ScoreConfig(minimum_nuclei=900.0, top=7).top == 7


def test_a_slide_without_a_good_tile_gives_none() -> None:
    none = densest(np.empty(0), np.empty((0, 2)), ScoreConfig(per_region=1))
    assert none.shape == (0,)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000), st.integers(0, 3000)), max_size=40),
    st.integers(1, 10),
    st.integers(1, 4),
)
def test_nothing_left_out_is_denser_than_what_is_taken_of_its_region(
    tiles: list[tuple[int, int, int]], top: int, per_region: int
) -> None:
    nuclei = np.array([tile[0] for tile in tiles], float)
    centres = np.array([tile[1:] for tile in tiles], float).reshape(-1, 2)
    taken = densest(nuclei, centres, ScoreConfig(top=None, per_region=per_region, region_um=1000))
    regions = [tuple(place) for place in (centres // 1000).astype(int).tolist()]
    for region in set(regions):
        inside = np.array([one == region for one in regions])
        assert (taken & inside).sum() == min(per_region, inside.sum())
        if (inside & ~taken).any():
            assert nuclei[inside & taken].min() >= nuclei[inside & ~taken].max()
    assert densest(nuclei, centres, ScoreConfig(top=top)).sum() == min(top, len(tiles))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"top": 0}, "score.top=0"),
        ({"per_region": 0}, "score.per_region=0"),
        ({"minimum_nuclei": float("inf")}, "minimum_nuclei=inf"),
        ({"region_um": float("inf")}, "region_um=inf"),
        ({"minimum_nuclei": -1.0}, "minimum_nuclei=-1"),
        ({"minimum_nuclei": float("nan")}, "minimum_nuclei=nan"),
        ({"region_um": 0.0}, "region_um=0"),
    ],
)
def test_limits_out_of_range_are_refused(values: dict[str, float | None], told: str) -> None:
    with pytest.raises(InputError, match=told):
        ScoreConfig(**values)  # type: ignore[arg-type]
