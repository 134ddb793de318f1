"""From a path to an open slide: the reader is chosen by content, and a refusal says in one line what to do."""

import stat
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError
from sarcoscope.core.geometry import Mpp
from sarcoscope.slides.dicom import dicom_files, is_dicom
from sarcoscope.slides.flat import FlatImageReader, is_flat_image
from sarcoscope.slides.openslide_reader import OpenSlideReader, detect_vendor
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import GivenScale
from sarcoscope.slides.tiff_direct import with_direct_path

_HEAD_BYTES: Final = 4096

_NOT_YET: Final = {
    ".isyntax": "Philips iSyntax",
    ".kfb": "KFB",
    ".sdpc": "SDPC",
    ".vsi": "Olympus VSI",
    ".zyp": "ZYP",
}
"""Scanner formats that users bring and no reader here opens."""


def open_slide(path: Path, *, mpp: Mpp | None = None, mpp_source: str = "--mpp", override: bool = False) -> SlideSource:
    """The slide at `path`: a file, or a folder that holds one DICOM series.

    `mpp` is the user's um/px of level 0, `mpp_source` what to call it in messages ('--mpp', 'manifest');
    `override` lets it win over a sound file that contradicts it. A scale that is missing or cannot be trusted
    does not keep a slide from opening: see `scale.require_scale`. Raises SlideOpenError in one line, and
    InputError for an `mpp` that is no positive number.
    """
    given = None if mpp is None else GivenScale(mpp=mpp, source=mpp_source, override=override)
    if _is_folder(path):
        return _open_series(path, given)
    head = _head(path)
    if not head:
        raise SlideOpenError(path, "is empty (0 bytes)", "copy it from the scanner again")
    if path.suffix.lower() in _NOT_YET:
        name = _NOT_YET[path.suffix.lower()]
        raise SlideOpenError(
            path, f"{name} is not readable in this version", "convert it to SVS or TIFF with the vendor's viewer"
        )
    if detect_vendor(path) is not None:
        return with_direct_path(OpenSlideReader(path, given=given))
    if path.suffix.lower() == ".mrxs":
        advice = f"copy the folder {path.stem} along with it"
        raise SlideOpenError(path, f"an MRXS slide without its folder {path.stem}", advice)
    if is_flat_image(head):
        return FlatImageReader(path, given=given)
    raise _unknown(path, head)


def _is_folder(path: Path) -> bool:
    """Whether it is a folder; raises SlideOpenError where it is neither folder nor file, or cannot be looked at."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise SlideOpenError(path, "there is no such file", "check the spelling and the folder") from error
    except PermissionError as error:
        raise SlideOpenError(path, "may not be looked at", "ask for permission to read its folder") from error
    except (OSError, ValueError) as error:
        raise SlideOpenError(path, f"cannot be found: {error}", "check the spelling and the drive") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise SlideOpenError(path, "is neither a file nor a folder", "give a slide file")
    return stat.S_ISDIR(mode)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except PermissionError as error:
        raise SlideOpenError(path, "may not be read", "ask for permission to read it") from error
    except OSError as error:
        raise SlideOpenError(path, f"cannot be read: {error.strerror}", "check the drive, copy it again") from error


def _open_series(folder: Path, given: GivenScale | None) -> SlideSource:
    """The one DICOM series of a folder."""
    files = dicom_files(folder)
    if not files:
        raise SlideOpenError(folder, "is a folder without DICOM", f"give the slides in it, e.g. {folder}/*.svs")
    reader = OpenSlideReader(files[0], given=given)
    if others := set(files) - set(reader.files):
        reader.close()
        raise SlideOpenError(
            folder,
            f"holds more than one DICOM series, e.g. {min(others).name}",
            "give one .dcm of each series, or the slides in it",
        )
    return reader


def _unknown(path: Path, head: bytes) -> SlideOpenError:
    if _looks_like_text(head):
        return SlideOpenError(path, "not a slide: it looks like text", "give the slide file itself")
    if is_dicom(head):
        return SlideOpenError(path, "a DICOM file that is no slide", "give a .dcm of a whole-slide series")
    return SlideOpenError(path, "not a slide that any reader knows", "convert it to SVS or pyramidal TIFF")


def _looks_like_text(head: bytes) -> bool:
    """Whether a file that begins so was written as text: UTF-8 or Latin-1 without control characters."""
    controls = set(range(32)) - set(b"\t\n\r\f\x1b")
    return not controls & set(head)
