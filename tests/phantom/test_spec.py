from typing import Any

import pytest

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Size
from sarcoscope.phantom.spec import PhantomSlide


@pytest.mark.parametrize(
    "wrong",
    [
        {"slide_id": "patient-1"},
        {"slide_id": "phantom-../x"},
        {"label": "GIST"},
        {"batch": 3},
        {"seed": -1},
        {"size": Size(1000, 4000)},
        {"artefacts": frozenset({"fold", "coffee"})},
        {"component": "WDLPS", "component_share": 0.3},
        {"label": "DDLPS", "component": "LMS", "component_share": 0.3},
        {"label": "DDLPS", "component": "WDLPS"},
        {"label": "DDLPS", "component": "WDLPS", "component_share": 1.0},
        {"label": "DDLPS", "component_share": 0.3},
    ],
)
def test_a_slide_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"slide_id": "phantom-1", "label": "LMS"}
    PhantomSlide(**right)
    with pytest.raises(InputError, match="want"):
        PhantomSlide(**(right | wrong))
