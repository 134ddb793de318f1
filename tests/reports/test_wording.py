from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.tile import DropReason
from sarcoscope.formats.diagnoses import read_diagnosis
from sarcoscope.reports.colors import DROP_COLORS, INK, WHITE, Color, ink_on, luminance, parse_color, tile_alpha
from sarcoscope.reports.drawing import fit, font, wrap
from sarcoscope.reports.wording import (
    DROPPED_WORDS,
    headline,
    length,
    nice_length,
    percent,
    plural,
    refined_headline,
    seconds,
)
from tests.reports.builder import CLASSES


@pytest.mark.parametrize("text", ["red", "#12345", "#1234567", '#123456"', "#12345g", ""])
def test_only_hexadecimal_colours_are_colours(text: str) -> None:
    with pytest.raises(InputError, match="rrggbb"):
        parse_color(text)


def test_text_on_class_colours_is_readable() -> None:
    for _, text in CLASSES.values():
        color = parse_color(text)
        light, dark = sorted((luminance(color), luminance(ink_on(color))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3.9
    assert ink_on(WHITE) == INK
    assert ink_on(INK) == WHITE


def as_seen(color: Color, lacking: str) -> npt.NDArray[np.float64]:
    """CIELAB of a colour as somebody sees it who lacks a cone. Vienot 1999."""
    rgb = np.array(color) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    sight = {
        "none": np.eye(3),
        "red": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
        "green": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    }
    seen = np.clip(np.linalg.inv(cones) @ sight[lacking] @ cones @ linear, 0, 1)
    display = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(display.astype(np.float32)[None, None], cv2.COLOR_RGB2LAB)
    return np.asarray(lab, np.float64).reshape(3)


@pytest.mark.parametrize("lacking", ["none", "red", "green"])
def test_reasons_for_dropping_have_colours_that_everybody_tells_apart(lacking: str) -> None:
    assert set(DROP_COLORS) == set(DropReason)
    seen = [as_seen(color, lacking) for color in DROP_COLORS.values()]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 20  # 2.3 can just be seen


def test_every_reason_for_dropping_has_words_of_its_own() -> None:
    assert set(DROPPED_WORDS) == {str(reason) for reason in DropReason}
    assert len(set(DROPPED_WORDS.values())) == len(DropReason)


def test_opacity_grows_from_chance_to_certainty() -> None:
    assert tile_alpha(0.2, 5) == pytest.approx(0.40)
    assert tile_alpha(0.6, 5) == pytest.approx(0.60)
    assert tile_alpha(1.0, 5) == pytest.approx(0.80)


@pytest.mark.parametrize(
    ("available", "nice", "words"),
    [(999, 500, "500 µm"), (1000, 1000, "1 mm"), (4999, 2000, "2 mm"), (5000, 5000, "5 mm"), (0.3, 0.2, "0.2 µm")],
)
def test_scale_bars_are_1_2_or_5(available: float, nice: float, words: str) -> None:
    assert nice_length(available) == pytest.approx(nice)
    assert length(nice_length(available)) == words


@given(st.floats(0.01, 1e7))
def test_scale_bars_fit_and_are_not_needlessly_short(available: float) -> None:
    assert available / 2.5001 <= nice_length(available) <= available * 1.0001


def test_numbers_in_words() -> None:
    assert (percent(0.6123), percent(0), percent(None)) == ("61.2%", "0.0%", "\N{EN DASH}")
    assert (plural(1, "tile"), plural(0, "tile"), plural(1234, "tile")) == ("1 tile", "0 tiles", "1,234 tiles")
    assert [seconds(value) for value in (0.04, 9.94, 38.4, 125, 3600)] == [
        "0.0 s",
        "9.9 s",
        "38 s",
        "2 min 05 s",
        "60 min 00 s",
    ]


def test_headlines(ups: Path, changed: Path, empty: Path) -> None:
    plain, refined, none = (read_diagnosis(folder / "diagnosis.json") for folder in (ups, changed, empty))
    assert headline(plain.model_copy(update={"synthetic": False})) == "UPS by 61.1% of 234 tiles; runner-up DDLPS 28.2%"
    assert headline(plain) == "Phantom label UPS by 61.1% of 234 tiles; runner-up DDLPS 28.2%"
    assert refined_headline(plain) == "Stays UPS"
    assert refined_headline(refined).startswith("Changed to DDLPS by 70.1% of 234 tiles; runner-up WDLPS")
    assert headline(none) == "Undetermined: 0 tiles kept, at least 20 needed"
    assert refined_headline(none) == "Undetermined"


@given(st.text(max_size=80), st.integers(30, 300))
def test_fitted_text_is_no_wider_than_its_room(text: str, width: int) -> None:
    face = font(16)
    assert face.getlength(fit(text, face, width)) <= width
    assert all(face.getlength(line) <= width for line in wrap(text, face, width))


def test_wrapping_loses_no_word() -> None:
    text = "Research use only, not a medical device."
    assert " ".join(wrap(text, font(16), 120)) == text
    assert len(wrap(text, font(16), 120)) > 1
