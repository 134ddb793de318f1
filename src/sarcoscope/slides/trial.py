"""Opened in a process of its own first: a file that makes a C library crash must not take the whole run with it.

For the formats whose structure only OpenSlide knows. TIFF is checked by `tiff_check` instead, which costs nothing.
Fuzzing found a Slidedat.ini of one wrong digit on which OpenSlide 4.0.1 ends the process.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError

_SECONDS_MAX: Final = 120.0
"""Opening and reading one px a level takes a fraction of a second, and longer from a sleeping network drive."""

_TRIAL: Final = """
import sys
from ctypes import c_uint32
from openslide import lowlevel
try:
    slide = lowlevel.open(sys.argv[1])
    for level in range(lowlevel.get_level_count(slide)):
        lowlevel._read_region(slide, (c_uint32 * 4)(), 0, 0, level, 2, 2)
except lowlevel.OpenSlideError:
    sys.exit(1)
"""


def survives_openslide(path: Path) -> None:
    """Raise SlideOpenError where OpenSlide crashes or hangs on the file; its plain errors are the reader's to tell."""
    command = [sys.executable, "-P", "-c", _TRIAL, str(path)]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=_SECONDS_MAX, check=False)  # noqa: S603 - our own
    except subprocess.TimeoutExpired as error:
        problem = f"OpenSlide did not open it within {_SECONDS_MAX:.0f} s"
        raise SlideOpenError(path, problem, "check the drive, or copy it from the scanner again") from error
    if tried.returncode not in {0, 1}:
        raise SlideOpenError(
            path, f"OpenSlide crashes on it ({tried.returncode})", "it is damaged: copy it from the scanner again"
        )
