"""From a path to what identifies in it: the format is known by content, and others are refused by name."""

import stat
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError
from sarcoscope.slides.dicom import is_dicom
from sarcoscope.slides.identity.dicom import inspect_dicom
from sarcoscope.slides.identity.kfb import inspect_kfb
from sarcoscope.slides.identity.model import CONVERT, Cleaned
from sarcoscope.slides.identity.tiff import inspect_tiff, is_tiff
from sarcoscope.slides.identity.zyp import inspect_zyp
from sarcoscope.slides.kfb import is_kfb
from sarcoscope.slides.zyp import is_zyp

_HEAD: Final = 4096


def inspect_identity(path: Path) -> Cleaned:
    """What identifies in a slide, and its copy without; the slide itself is only read.

    Raises SlideOpenError for formats that cannot be cleaned, SlideReadError for damaged files.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return inspect_dicom(path)
        if not stat.S_ISREG(mode):
            raise SlideOpenError(path, "is neither a file nor a folder", "give a slide file")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError as error:
        raise SlideOpenError(path, "there is no such file", "check the spelling and the folder") from error
    except (OSError, ValueError) as error:
        raise SlideOpenError(path, f"cannot be read ({error})", "check the drive and the permissions") from error
    if not head:
        raise SlideOpenError(path, "is empty (0 bytes)", "copy it from the scanner again")
    if is_dicom(head):
        return inspect_dicom(path)
    if is_tiff(head):
        return inspect_tiff(path)
    if is_kfb(head):
        return inspect_kfb(path)
    if is_zyp(path):
        return inspect_zyp(path)
    kind = path.suffix.lower().lstrip(".").upper() or "this file"
    raise SlideOpenError(path, f"{kind} cannot be de-identified in place", CONVERT)
