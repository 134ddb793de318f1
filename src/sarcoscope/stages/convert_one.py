"""One slide into one output: whether it is done already, whether there is room for it, and whole or not at all."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final, Literal

from sarcoscope.core.errors import ArtifactError, InputError, ScaleError, shown
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.core.slide import SlideInfo
from sarcoscope.formats.atomic import replacing, writing
from sarcoscope.slides.flat import FLAT_PX_MAX
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.picture_writer import picture_origin, write_picture_file
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.rewrap import (
    PyramidOptions,
    TileCounts,
    icc_profile,
    plan_levels,
    tiles_of,
    write_rewrapped,
)
from sarcoscope.slides.scale import require_scale
from sarcoscope.slides.tiff_pages import About, origin_of
from sarcoscope.stages.outputs import check_space, drafting, fingerprint, replacing_folder, to_disk
from sarcoscope.stages.pool import Report

Kind = Literal["tiff", "dicom", "png", "jpeg"]
KINDS: Final[tuple[Kind, ...]] = ("tiff", "dicom", "png", "jpeg")
SUFFIX: Final[dict[Kind, str]] = {"tiff": ".tif", "dicom": "", "png": ".png", "jpeg": ".jpg"}

_ORIGIN_SCHEMA: Final = 1
"""Goes up when the same source and options would give another file, so that older outputs are told apart."""
_MARGIN_BYTES: Final = 64 * 1024 * 1024
_OUR_NAME: Final = re.compile(r"level-\d+\.dcm")
_OTHER_OUT: Final = "give another OUT, or --force to replace it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertConfig:
    """How slides are converted."""

    out: Path
    """A folder, or the file to write where there is one slide and the name has a slide's suffix."""
    to: Kind = "tiff"
    quality: int = 90
    """JPEG quality of what has to be compressed; copied tiles keep theirs."""
    tile: int = 256
    """Side of the tiles of what is compressed anew as a whole, px."""
    keep_associated: bool = False
    """Whether label, macro and thumbnail go along."""
    region: Box | None = None
    """Level-0 px; the part that a picture shows, None for the whole slide."""
    out_mpp: Mpp | None = None
    """um/px of a picture, None for the slide's own."""
    key_file: Path | None = None
    """CSV of names and pseudonyms; outputs are named by pseudonyms."""
    force: bool = False
    """Replace what is there under the output's name."""
    workers: int = 1
    """Processes, each with a slide of its own."""
    spare_bytes: int = 0
    """What must stay free on the output's disk, beside what the output needs."""

    def __post_init__(self) -> None:
        self.pyramid()  # refuses what is out of range
        if self.workers < 1:
            raise InputError(f"workers={self.workers}", "give at least 1")
        if self.to not in KINDS:
            raise InputError(f"cannot convert to {self.to!r}", f"give one of {', '.join(KINDS)}")
        if self.to in {"tiff", "dicom"} and (self.region or self.out_mpp):
            raise InputError("a region or scale is for flat pictures", "add --to png or --to jpeg")
        if self.out_mpp is not None and not 0 < self.out_mpp < float("inf"):
            raise InputError(f"a picture of {self.out_mpp:g} um/px", "give a positive number")
        if self.to != "tiff" and self.keep_associated:
            raise InputError("label and macro are kept in TIFF only", "leave out --keep-associated or --to")

    def pyramid(self) -> PyramidOptions:
        """The part of it that the pyramid writers take."""
        return PyramidOptions(
            quality=self.quality,
            tile=self.tile,
            keep_associated=self.keep_associated,
            self_contained=self.to == "dicom",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertJob:
    """One slide and where it goes."""

    name: str
    """What it is called in messages: the output's name without its suffix."""
    path: Path
    target: Path
    mpp: Mpp | None = None
    mpp_override: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """An output that is there."""

    job: ConvertJob
    skipped: bool
    """Whether an earlier run made it from the same slide with the same options."""
    levels: int = 0
    tiles: TileCounts | None = None
    """What became of the tiles; None for a picture and a skipped output."""
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    """What is odd about the slide's scale."""


def convert_one(job: ConvertJob, config: ConvertConfig, report: Report) -> Converted:
    """Convert a slide, unless an earlier run did. Raises SarcoscopeError; then nothing stands under the final name."""
    begin = perf_counter()
    with open_slide(job.path, mpp=job.mpp, override=job.mpp_override) as source:
        scale = require_scale(source)
        about = About(size=source.info.size, mpp=scale.mpp, power=_sound_power(source.info))
        origin = _origin(source, about, config)
        _refuse_source(job, source.files)
        if config.force and config.to == "dicom":
            _refuse_strange_folder(job.target)
        if not config.force and found_origin(job.target, config.to, origin):
            return Converted(job=job, skipped=True, warnings=scale.warnings)
        about = replace(about, origin=origin, icc_profile=icc_profile(source))
        bytes_in = sum(file.stat().st_size for file in source.files)
        check_space(job.target, _need_bytes(source, about, config, bytes_in), config.spare_bytes)
        with drafting(job.target):
            levels, counts = _WRITERS[config.to](job, source, about, config, report)
    return Converted(
        job=job,
        skipped=False,
        levels=levels,
        tiles=counts,
        bytes_in=bytes_in,
        bytes_out=_size(job.target),
        seconds=perf_counter() - begin,
        warnings=scale.warnings,
    )


def found_origin(target: Path, kind: Kind, origin: str) -> bool:
    """Whether the output is there, of this origin; ArtifactError where something else is there."""
    if not os.path.lexists(target):
        return False
    found = _ORIGINS[kind](target)
    if found == origin:
        return True
    what = "was made from another slide or with other options" if found else "was not written by this command"
    raise ArtifactError(target, f"is there already and {what}", _OTHER_OUT)


def _write_tiff(
    job: ConvertJob, source: SlideSource, about: About, config: ConvertConfig, report: Report
) -> tuple[int, TileCounts | None]:
    planned = plan_levels(source, config.pyramid())
    report(tiles_of(planned), 0)
    with replacing(job.target) as draft:
        counts = write_rewrapped(draft, source, about, config.pyramid(), partial(report, 0))
        to_disk(draft)
    return len(planned), counts


def _write_dicom(
    job: ConvertJob, source: SlideSource, about: About, config: ConvertConfig, report: Report
) -> tuple[int, TileCounts | None]:
    from sarcoscope.slides.dicom_writer import write_dicom  # noqa: PLC0415 - wsidicom takes a second to load

    planned = plan_levels(source, config.pyramid())
    report(tiles_of(planned), 0)
    with replacing_folder(job.target) as draft:
        counts = write_dicom(draft, source, about, config.pyramid(), partial(report, 0))
        for file in draft.iterdir():
            to_disk(file)
    return len(planned), counts


def _write_flat(
    job: ConvertJob, source: SlideSource, about: About, config: ConvertConfig, report: Report
) -> tuple[int, TileCounts | None]:
    box, out, mpp = _picture(source, about, config)
    report(1, 0)
    rgb = source.read(box, out)
    with replacing(job.target) as draft:
        write_picture_file(
            draft,
            rgb,
            "png" if config.to == "png" else "jpeg",
            mpp=mpp,
            quality=config.quality,
            origin=about.origin,
            icc_profile=about.icc_profile,
        )
        to_disk(draft)
    report(0, 1)
    return 1, None


_WRITERS: Final = {"tiff": _write_tiff, "dicom": _write_dicom, "png": _write_flat, "jpeg": _write_flat}


def _dicom_origin(target: Path) -> str | None:
    from sarcoscope.slides.dicom_writer import dicom_origin  # noqa: PLC0415 - wsidicom takes a second to load

    return dicom_origin(target)


_ORIGINS: Final[dict[Kind, Callable[[Path], str | None]]] = {
    "tiff": origin_of,
    "dicom": _dicom_origin,
    "png": picture_origin,
    "jpeg": picture_origin,
}


def _picture(source: SlideSource, about: About, config: ConvertConfig) -> tuple[Box, Size, Mpp]:
    """What part of the slide a picture shows, its size and um/px."""
    size = source.info.size
    box = config.region or Box(0, 0, size.width, size.height)
    if min(box.left, box.top) < 0 or box.right > size.width or box.bottom > size.height:
        where = f"{box.left},{box.top},{box.width},{box.height}"
        raise InputError(f"{shown(source.path)}: the region {where} reaches outside its {size.width}x{size.height} px")
    mpp = config.out_mpp or Mpp(about.mpp)
    if mpp < about.mpp:
        raise ScaleError(source.path, f"has {about.mpp:g} um/px, so no {mpp:g}", "ask for a coarser picture")
    shrink = mpp / about.mpp
    out = Size(max(1, round(box.width / shrink)), max(1, round(box.height / shrink)))
    if out.width * out.height > FLAT_PX_MAX:
        problem = f"{shown(source.path)}: a picture of {out.width}x{out.height} px, at most {FLAT_PX_MAX} px in all"
        raise InputError(problem, "give a smaller --region or a coarser --out-mpp, or convert to tiff")
    return box, out, mpp


def _sound_power(info: SlideInfo) -> float | None:
    """The objective power, where it is a number that a lens can have."""
    power = info.objective_power
    return power if power is not None and 0 < power < float("inf") else None


def _need_bytes(source: SlideSource, about: About, config: ConvertConfig, bytes_in: int) -> int:
    """Bytes that the output may take: the source's where tiles are copied, by px for what is made, 1 KiB a tile."""
    if config.to in {"png", "jpeg"}:
        out = _picture(source, about, config)[1]
        return 3 * out.width * out.height
    planned = plan_levels(source, config.pyramid())
    copied = bytes_in if any(one.stored is not None for one in planned) else 0
    made_px = sum(one.level.size.width * one.level.size.height for one in planned if one.stored is None)
    made = int(made_px * (0.5 if config.quality <= 90 else 1.5))
    return copied + made + 1024 * tiles_of(planned) + _MARGIN_BYTES


def _refuse_source(job: ConvertJob, files: Sequence[Path]) -> None:
    with writing(job.target):
        there = job.target.exists()
        same = there and any(job.target.samefile(file) for file in (job.path, *files))
        around = there and any(job.target.resolve() in file.resolve().parents for file in (job.path, *files))
    if same or around:
        what = "is the slide itself" if same else "is the folder that the slide lies in"
        raise ArtifactError(job.target, what, "give another OUT: a source is never replaced")


def _refuse_strange_folder(target: Path) -> None:
    """Even `force` removes no folder that another software or a person filled: it may hold anything."""
    with writing(target):
        strange = target.is_dir() and any(not _OUR_NAME.fullmatch(entry.name) for entry in target.iterdir())
    if strange:
        problem = "is a folder that this command did not write"
        raise ArtifactError(target, problem, "give another OUT, or move it away: --force replaces none of those")


def _origin(source: SlideSource, about: About, config: ConvertConfig) -> str:
    """What an output is made of, in 32 hex digits, from content and options; no name and no date is in it."""
    options = asdict(config)
    for name in ("out", "key_file", "force", "workers", "spare_bytes"):
        del options[name]
    stated = [_ORIGIN_SCHEMA, options, about.mpp, about.power, sorted(fingerprint(file) for file in source.files)]
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:32]


def _size(target: Path) -> int:
    files = target.iterdir() if target.is_dir() else [target]
    return sum(file.stat().st_size for file in files)
