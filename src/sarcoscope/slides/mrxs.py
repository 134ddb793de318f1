"""Whether the numbers in an MRXS slide's Slidedat.ini can be meant, looked at before OpenSlide takes them as they are.

OpenSlide 4.0.1 does not come back from an overlap that is no number, reads past its table of camera positions where
photos are not whole, and sizes memory by what the file states.
"""

import math
import re
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError

SLIDEDAT: Final = "Slidedat.ini"
_BYTES_MAX: Final = 1 << 20
"""OpenSlide's own limit on the file."""
_POSITIONS_MAX: Final = 20_000_000
_RANGES: Final = {
    "IMAGENUMBER_X": (1, 65_535),
    "IMAGENUMBER_Y": (1, 65_535),
    "CameraImageDivisionsPerSide": (1, 64),
    "HIER_0_COUNT": (1, 32),
    "FILE_COUNT": (1, 100_000),
    "OVERLAP_X": (0, 16_384),
    "OVERLAP_Y": (0, 16_384),
    "DIGITIZER_WIDTH": (1, 16_384),
    "DIGITIZER_HEIGHT": (1, 16_384),
    "IMAGE_CONCAT_FACTOR": (0, 16),
}
"""By key the least and the largest number that a scanner could mean."""
_LINE: Final = re.compile(rf"^({'|'.join(_RANGES)})[ \t]*=[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)


def check_slidedat(slide: Path) -> None:
    """Raise SlideOpenError where the Slidedat.ini of the .mrxs file `slide` states numbers that cannot be meant."""
    try:
        with (slide.with_suffix("") / SLIDEDAT).open("rb") as file:
            text = file.read(_BYTES_MAX).decode("utf-8", "replace")
    except OSError as error:
        problem = f"its {SLIDEDAT} cannot be read: {error.strerror or error}"
        raise SlideOpenError(slide, problem, "copy its folder from the scanner again") from error
    said: dict[str, float] = {}
    for key, value in _LINE.findall(text):
        least, largest = _RANGES[key]
        said[key] = _number(value)
        if not least <= said[key] <= largest:
            raise _unmeant(slide, f"{key}={value[:40]}, want {least}..{largest}")
    across, down = said.get("IMAGENUMBER_X", 1), said.get("IMAGENUMBER_Y", 1)
    if across * down > _POSITIONS_MAX:
        raise _unmeant(slide, f"{across:.0f} x {down:.0f} images, more than any slide has")
    divisions = said.get("CameraImageDivisionsPerSide", 1)
    if across % divisions or down % divisions:
        raise _unmeant(slide, f"{across:.0f} x {down:.0f} images in photos of {divisions:.0f} x {divisions:.0f}")


def _unmeant(slide: Path, what: str) -> SlideOpenError:
    return SlideOpenError(slide, f"its {SLIDEDAT} says {what}", "copy its folder from the scanner again")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
