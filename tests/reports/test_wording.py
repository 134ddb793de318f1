from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.formats.diagnoses import read_diagnosis
from sarcoscope.reports.colors import INK, WHITE, ink_on, luminance, parse_color, tile_alpha
from sarcoscope.reports.drawing import fit, font, wrap
from sarcoscope.reports.wording import headline, length, nice_length, percent, plural, refined_headline, seconds
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
