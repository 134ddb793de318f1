from collections.abc import Mapping
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.formats.diagnoses import read_diagnosis
from sarcoscope.reports.colors import EMPTY, parse_color
from sarcoscope.reports.pies import draw_pie, draw_rings, slice_angles
from tests.reports.builder import CLASSES

SIDE, TITLE, GAP = 420, 52, 72


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 500)))
def test_slices_go_once_around_in_proportion(votes: Mapping[str, int]) -> None:
    angles, total = slice_angles(votes), sum(votes.values())
    assert set(angles) == {code for code, count in votes.items() if count}
    end = -90.0
    for code, (start, stop) in angles.items():
        assert start == pytest.approx(end)
        assert stop - start == pytest.approx(360 * votes[code] / total)
        end = stop
    assert end == pytest.approx(270 if angles else -90)


def colors_of(image: np.ndarray, left: int, votes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    found = {}
    for code, (start, stop) in slice_angles(votes).items():
        angle, radius = radians((start + stop) / 2), SIDE * 0.485
        column, row = left + SIDE / 2 + radius * cos(angle), TITLE + SIDE / 2 + radius * sin(angle)
        found[code] = tuple(int(value) for value in image[int(row), int(column)])
    return found


def test_slices_carry_the_class_colours(ups: Path) -> None:
    record = read_diagnosis(ups / "diagnosis.json")
    image = np.asarray(draw_rings(record))
    assert image.shape == (TITLE + SIDE, SIDE, 3)
    found = colors_of(image, 0, record.votes)
    assert found == {code: parse_color(CLASSES[code][1]) for code, count in record.votes.items() if count}


def test_refined_votes_stand_beside_where_the_rule_was_applied(changed: Path) -> None:
    record = read_diagnosis(changed / "diagnosis.json")
    assert record.refined.applied
    image = np.asarray(draw_rings(record))
    assert image.shape == (TITLE + SIDE, 2 * SIDE + GAP, 3)
    found = colors_of(image, SIDE + GAP, record.refined.votes)
    assert set(found) == {"DDLPS", "WDLPS"}
    assert found == {code: parse_color(CLASSES[code][1]) for code in found}


def test_without_tiles_the_ring_is_empty(empty: Path) -> None:
    record = read_diagnosis(empty / "diagnosis.json")
    image = np.asarray(draw_rings(record))
    assert tuple(image[TITLE + SIDE // 2, 30]) == EMPTY
    assert draw_pie(record).width > SIDE


def test_every_class_has_its_colour_in_the_legend(changed: Path) -> None:
    record = read_diagnosis(changed / "diagnosis.json")
    image = np.asarray(draw_pie(record))[:, 2 * SIDE + 2 * GAP + 56 :]
    for item in record.classes:
        assert (image == parse_color(item.color)).all(axis=2).sum() >= 36 * 36
