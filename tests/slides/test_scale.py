import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError, ScaleError
from sarcoscope.core.geometry import Mpp, Rgb
from sarcoscope.core.slide import Scale
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.openslide_reader import scale_claim
from sarcoscope.slides.scale import GivenScale, ScaleClaim, ScaleProblem, require_scale, resolve_scale
from tests.slides.images import tissue

MPP_TAG = "file: aperio.MPP"


def claim(x: float | None, y: float | None = None, power: float | None = None) -> ScaleClaim:
    return ScaleClaim(mpp_x=x, mpp_y=x if y is None else y, power=power, source=MPP_TAG)


def user(mpp: float, *, override: bool = False, source: str = "--mpp") -> GivenScale:
    return GivenScale(mpp=Mpp(mpp), override=override, source=source)


def problem(found: Scale | ScaleProblem | None) -> str:
    assert isinstance(found, ScaleProblem)
    return str(found)


@pytest.mark.parametrize(("mpp", "power"), [(0.499, 20), (0.228, 40), (0.25, 40), (1.0, 10), (0.5, None), (0.37, 20)])
def test_a_sound_file_is_believed(mpp: float, power: float | None) -> None:
    assert resolve_scale(claim(mpp, power=power)) == Scale(mpp=Mpp(mpp), source=MPP_TAG)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (claim(28.969), "28.97 um/px"),
        (claim(352.7778), "352.8 um/px (72 dpi"),
        (claim(264.58), "96 dpi"),
        (claim(math.inf), "says inf um/px, not within"),
        (claim(0.0), "0 um/px"),
        (claim(-0.5), "-0.5 um/px"),
        (claim(0.09), "0.09 um/px"),
        (claim(2.01), "2.01 um/px"),
        (claim(math.nan), "no number"),
        (claim(math.inf), "inf um/px"),
        (claim(0.5, 0.506), "more than 1 % apart"),
        (claim(0.25, power=20), "20x is usually about 0.5 um/px"),
        (claim(0.5, power=40), "40x is usually about 0.25 um/px"),
    ],
)
def test_a_file_that_cannot_be_believed_is_a_problem_that_says_what_to_type(file: ScaleClaim, words: str) -> None:
    text = problem(resolve_scale(file))
    assert words in text
    assert "--mpp 0.5" in text
    assert MPP_TAG in text


def test_two_places_in_one_file_that_disagree_are_a_problem() -> None:
    file = ScaleClaim(mpp_x=0.5, mpp_y=0.5, source=MPP_TAG, others=(("TIFF XResolution", 0.25),))
    assert "TIFF XResolution says 0.25 um/px" in problem(resolve_scale(file))


def test_a_print_resolution_beside_a_sound_scale_is_not_meant_as_scale() -> None:
    file = ScaleClaim(mpp_x=0.5, mpp_y=0.5, source=MPP_TAG, others=(("TIFF XResolution", 352.8),))
    assert resolve_scale(file) == Scale(mpp=Mpp(0.5), source=MPP_TAG)


def test_axes_less_than_a_percent_apart_are_averaged() -> None:
    found = resolve_scale(claim(0.500, 0.504))
    assert isinstance(found, Scale)
    assert found.mpp == pytest.approx(0.502)
    assert found.warnings == ()


def test_one_axis_alone_is_used_with_a_warning() -> None:
    found = resolve_scale(ScaleClaim(mpp_x=0.5, source=MPP_TAG))
    assert isinstance(found, Scale)
    assert "one axis only" in found.warnings[0]


def test_nothing_said_is_nothing_found() -> None:
    assert resolve_scale(ScaleClaim()) is None
    assert resolve_scale(ScaleClaim(power=20)) is None


def test_a_given_number_fills_what_the_file_leaves_open() -> None:
    assert resolve_scale(ScaleClaim(), user(0.5, source="manifest")) == Scale(mpp=Mpp(0.5), source="given: manifest")


def test_a_given_number_settles_what_the_file_gets_wrong_and_the_fault_stays_on_record() -> None:
    found = resolve_scale(claim(28.969), user(0.5))
    assert isinstance(found, Scale)
    assert found.mpp == 0.5
    assert "28.97 um/px" in found.warnings[0]


def test_a_given_number_within_a_percent_leaves_the_files() -> None:
    assert resolve_scale(claim(0.499), user(0.5)) == Scale(mpp=Mpp(0.499), source=MPP_TAG)


def test_a_given_number_against_a_sound_file_is_refused_naming_both() -> None:
    text = problem(resolve_scale(claim(0.499), user(0.25)))
    assert "--mpp says 0.25 um/px" in text
    assert "0.499 um/px" in text
    assert "--mpp-override" in text


def test_an_override_wins_and_says_over_what() -> None:
    found = resolve_scale(claim(0.499), user(0.25, override=True))
    assert isinstance(found, Scale)
    assert found.mpp == 0.25
    assert found.source == "given: --mpp"
    assert "0.499 um/px" in found.warnings[0]


def test_an_implausible_given_number_needs_the_override() -> None:
    assert "50 um/px" in problem(resolve_scale(ScaleClaim(), user(50)))
    found = resolve_scale(ScaleClaim(), user(50, override=True))
    assert isinstance(found, Scale)
    assert found.warnings


def test_a_given_number_against_the_power_is_taken_with_a_warning() -> None:
    found = resolve_scale(ScaleClaim(power=40), user(0.5))
    assert isinstance(found, Scale)
    assert "40x is usually about 0.25" in found.warnings[0]


@pytest.mark.parametrize("mpp", [0.0, -1.0, math.nan, math.inf])
def test_a_given_number_that_is_none_is_an_input_error(mpp: float) -> None:
    with pytest.raises(InputError, match="--mpp"):
        user(mpp)


ANY_NUMBER = st.none() | st.floats() | st.floats(0.05, 3)
CLAIMS = st.builds(ScaleClaim, mpp_x=ANY_NUMBER, mpp_y=ANY_NUMBER, power=ANY_NUMBER | st.just(20.0))
GIVENS = st.builds(GivenScale, mpp=st.floats(0.01, 500).map(Mpp), override=st.booleans())


@settings(derandomize=True)
@given(CLAIMS)
def test_a_scale_out_of_a_file_is_always_plausible(file: ScaleClaim) -> None:
    found = resolve_scale(file)
    if isinstance(found, Scale):
        assert 0.1 <= found.mpp <= 2
        assert found.mpp <= max(side for side in (file.mpp_x, file.mpp_y) if side is not None)


@settings(derandomize=True)
@given(CLAIMS, GIVENS)
def test_with_a_number_given_the_answer_is_that_number_or_the_files_or_a_problem(
    file: ScaleClaim, number: GivenScale
) -> None:
    found = resolve_scale(file, number)
    assert found is not None
    alone = resolve_scale(file)
    if isinstance(found, Scale) and found.mpp != number.mpp:
        assert found == alone
        assert abs(found.mpp - number.mpp) <= 0.01 * max(found.mpp, number.mpp)
    if isinstance(found, Scale) and isinstance(alone, ScaleProblem):
        assert found.warnings
    if number.override:
        assert isinstance(found, Scale)


@settings(derandomize=True)
@given(CLAIMS, st.none() | GIVENS)
def test_every_problem_is_one_line_with_advice(file: ScaleClaim, number: GivenScale | None) -> None:
    found = resolve_scale(file, number)
    if isinstance(found, ScaleProblem):
        assert found.advice
        assert "\n" not in str(found)


def memory(scale: Scale | None, power: float | None = None) -> MemorySlide:
    rgb: Rgb = tissue(16, 16)
    return MemorySlide(rgb, scale=scale, power=power)


def test_a_slide_with_a_scale_yields_it() -> None:
    scale = Scale(mpp=Mpp(0.3), source="test")
    assert require_scale(memory(scale)) == scale


def test_a_slide_without_a_scale_says_what_to_type() -> None:
    with pytest.raises(ScaleError, match=r"memory: no scale .*--mpp 0\.5 or a column mpp in the manifest$"):
        require_scale(memory(None))


def test_the_power_is_a_hint_and_never_a_scale() -> None:
    with pytest.raises(ScaleError, match=r"20x is usually about 0\.5 um/px, check with the scanner"):
        require_scale(memory(None, power=20))


def test_openslide_properties_name_their_place() -> None:
    properties = {"aperio.MPP": "0.25", "openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25"}
    assert scale_claim("aperio", properties).source == "file: aperio.MPP"
    properties = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25"}
    assert scale_claim("unheard-of", properties).source == "file: openslide.mpp-x"


def test_a_value_that_openslide_cannot_parse_is_a_problem_and_not_silence() -> None:
    assert "aperio.MPP says no number" in problem(resolve_scale(scale_claim("aperio", {"aperio.MPP": "O.25"})))
