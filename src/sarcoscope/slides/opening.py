"""From a path to an open slide: the reader is chosen by content, and a refusal says in one line what to do."""

import os
import stat
from functools import partial
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.slides.dicom import dicom_files, first_below, is_dicom, slide_series, why_no_slide
from sarcoscope.slides.dicom_direct import open_dicom
from sarcoscope.slides.flat import TIFF, FlatImageReader, is_flat_image
from sarcoscope.slides.kfb import KfbReader, is_kfb
from sarcoscope.slides.mrxs import SLIDEDAT, check_slidedat
from sarcoscope.slides.openslide_reader import OpenSlideReader, detect_vendor
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.refusals import refuse_vsi, unknown
from sarcoscope.slides.scale import GivenScale
from sarcoscope.slides.tiff_check import check_tiff
from sarcoscope.slides.tiff_direct import with_direct_path
from sarcoscope.slides.trial import survives_openslide
from sarcoscope.slides.zyp import ZypReader, is_zyp, refuse_cut_zyp

_HEAD_BYTES: Final = 4096

_JPEG: Final = b"\xff\xd8\xff"
_WALKED: Final = frozenset({"aperio", "dicom", "generic-tiff"})
"""OpenSlide's families that need no trial opening: their directories are walked here first, and they were fuzzed."""
_SERIES_NAMED: Final = 3
_NO_DICOM_SLIDE: Final = ("a DICOM file that is no slide", "give a .dcm of a whole-slide series")


def open_slide(path: Path, *, mpp: Mpp | None = None, mpp_source: str = "--mpp", override: bool = False) -> SlideSource:
    """The slide at `path`: a file, a folder that holds one DICOM series, or the folder of an MRXS slide.

    The reader is chosen by content; only MRXS goes by name, being a preview and a folder of one name.

    `mpp` is the user's um/px of level 0, `mpp_source` what to call it in messages ('--mpp', 'manifest');
    `override` lets it win over a sound file that contradicts it. A scale that is missing or cannot be trusted
    does not keep a slide from opening: see `scale.require_scale`. Raises SlideOpenError in one line, and
    InputError for an `mpp` that is no positive number.
    """
    given = None if mpp is None else GivenScale(mpp=mpp, source=mpp_source, override=override)
    if _is_folder(path):
        return _open_folder(path, given)
    return _open_file(path, given)


def _open_file(path: Path, given: GivenScale | None) -> SlideSource:
    head = _head(path)
    if not head:
        raise SlideOpenError(path, "is empty (0 bytes)", "copy it from the scanner again")
    if is_kfb(head):
        return KfbReader(path, given=given)
    if is_zyp(path):
        return ZypReader(path, given=given)
    refuse_vsi(path, head)
    if (vendor := detect_vendor(path)) is not None:
        _look_first(path, vendor, head)
        if vendor == "dicom":
            return open_dicom(path, partial(_openslide, vendor=vendor, given=given))
        return with_direct_path(_openslide(path, vendor, given))
    if head.startswith(_JPEG):
        refuse_cut_zyp(path)
        _refuse_lone_mrxs(path)
    if is_flat_image(head):
        return FlatImageReader(path, given=given)
    if is_dicom(head):
        raise SlideOpenError(path, *(why_no_slide(path) or _NO_DICOM_SLIDE))
    raise unknown(path, head)


def _look_first(path: Path, vendor: str, head: bytes) -> None:
    """Raise SlideOpenError for what OpenSlide should not be given: it could crash, hang or fill the memory."""
    if vendor == "mirax":
        check_slidedat(path)
    if vendor not in _WALKED:
        survives_openslide(path)
    elif head.startswith(TIFF):
        check_tiff(path)


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


def _open_folder(folder: Path, given: GivenScale | None) -> SlideSource:
    """The one DICOM series of a folder, or the MRXS slide whose folder it is."""
    files = dicom_files(folder)
    if not files:
        return _open_file(_mrxs_of(folder), given)
    series = slide_series(files)
    if not series:
        raise SlideOpenError(folder, "holds DICOM files, but no whole-slide images", _NO_DICOM_SLIDE[1])
    if len(series) > 1:
        some = "; ".join(f"{uid or 'unnamed'}: {found[0].name}" for uid, found in list(series.items())[:_SERIES_NAMED])
        more = f"; and {len(series) - _SERIES_NAMED} more" if len(series) > _SERIES_NAMED else ""
        raise SlideOpenError(
            folder, f"holds more than one DICOM series ({some}{more})", "give one .dcm of each series, or a folder each"
        )
    (found,) = series.values()
    return open_dicom(found[0], partial(_openslide, vendor="dicom", given=given))


def _mrxs_of(folder: Path) -> Path:
    """The .mrxs file of an MRXS folder; raises SlideOpenError, with what to give instead."""
    named = folder if folder.name not in {"", ".."} else folder.resolve()
    if _holds_slidedat(folder):
        slide = named.with_name(f"{named.name}.mrxs")
        if not slide.is_file():
            raise SlideOpenError(
                folder, f"the folder of an MRXS slide without {slide.name}", f"copy it beside {folder}"
            )
        return slide
    if (below := first_below(folder)) is not None:
        raise SlideOpenError(folder, "holds DICOM only in folders below it", f"give one series' folder, e.g. {below}")
    raise SlideOpenError(folder, "is a folder without DICOM", f"give the slides in it, e.g. {folder}/*.svs")


def _holds_slidedat(folder: Path) -> bool:
    return os.path.isfile(folder / SLIDEDAT)  # noqa: PTH113 - Path.is_file raises where it may not look


def _refuse_lone_mrxs(path: Path) -> None:
    """Raise SlideOpenError for a JPEG that is the preview of an MRXS slide: it must not be taken for the slide."""
    folder = path.with_suffix("")
    slide = folder.with_name(f"{folder.name}.mrxs")
    if _holds_slidedat(folder) and not slide.exists():
        raise SlideOpenError(path, "an MRXS slide under another name", f"call it {slide.name}, which it goes by")
    if path.suffix.lower() == ".mrxs":
        problem = f"an MRXS slide without its folder {folder.name}"
        raise SlideOpenError(path, problem, f"copy the folder {folder.name} along with it")


def _openslide(path: Path, vendor: str, given: GivenScale | None) -> OpenSlideReader:
    try:
        return OpenSlideReader(path, given=given)
    except SlideOpenError as error:
        why = why_no_slide(path) if vendor == "dicom" else None
        if vendor == "zeiss":
            why = "a Zeiss CZI slide, damaged or of a kind that is not read", "convert it to SVS, or copy it again"
        if why is None:
            raise
        reason = error.problem.removeprefix(f"{shown(path)}: ")
        raise SlideOpenError(path, f"{why[0]} ({reason})", why[1]) from error
