"""A slide as DICOM: VL Whole Slide Microscopy Images, TILED_FULL, JPEG baseline, one file a level.

wsidicom writes the attributes and the files. Its `WsiDicom.save` is not used: it makes missing levels from level 0
decoded as a whole, in the system's temporary folder, where ours come from the coarsest stored level, a band at a
time, beside the output. Nothing of the source's metadata goes along; identifiers are derived from `About.origin`,
so that the same conversion gives the same identifiers.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, JPEGBaseline8Bit
from upath import UPath
from wsidicom.codec import LossyCompressionIsoStandard  # type: ignore[import-untyped]
from wsidicom.file.io import OffsetTableType, WsiDicomWriter  # type: ignore[import-untyped]
from wsidicom.geometry import PointMm, SizeMm  # type: ignore[import-untyped]
from wsidicom.geometry import Size as DicomSize
from wsidicom.instance import WsiDataset  # type: ignore[import-untyped]
from wsidicom.metadata import (  # type: ignore[import-untyped]
    Equipment,
    Image,
    ImageCoordinateSystem,
    ImageType,
    Label,
    LossyCompression,
    Objectives,
    OpticalPath,
    Patient,
    Pyramid,
    Series,
    Slide,
    SlideSample,
    Study,
    WsiMetadata,
)
from wsidicom.metadata.schema.dicom import WsiMetadataDicomSchema  # type: ignore[import-untyped]

from sarcoscope.slides.dicom import dicom_files
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.rewrap import PlannedPages, Progress, PyramidOptions, TileCounts
from sarcoscope.slides.tiff_pages import About, Page, PageForm

_COMMENT: Final = "written by sarcoscope; origin "
_ROOM_FOR_RATIO: Final = 1_234_567.89
"""Stands for the compression ratio until it is known: ten characters that stand nowhere else in a header."""
_RATIO_CHARS: Final = 10
_HEADER_BYTES: Final = 1_000_000
_CORNER: Final = ImageCoordinateSystem(origin=PointMm(0, 0), rotation=0)
"""Where the image lies on the glass is not known; DICOM wants a place."""


def write_dicom(
    folder: Path, source: SlideSource, about: About, options: PyramidOptions, progress: Progress
) -> TileCounts:
    """Write the slide into an empty folder. Raises SlideReadError, and OSError where the disk is full."""
    with ExitStack() as stack:
        pages = PlannedPages(source, replace(options, self_contained=True), progress, folder, stack)
        for index, page in enumerate(pages):
            _write_level(folder / f"level-{index}.dcm", page, about, index)
        return pages.counts


def dicom_origin(folder: Path) -> str | None:
    """`About.origin` of a folder that was written here; None for everything else."""
    if not folder.is_dir():
        return None
    for path in dicom_files(folder):
        try:
            said = str(
                pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["ImageComments"]).get("ImageComments", "")
            )
        except (InvalidDicomError, OSError, ValueError, TypeError, LookupError, AttributeError):
            return None  # whatever it is, it is none of ours
        return said.removeprefix(_COMMENT) if said.startswith(_COMMENT) else None
    return None


@dataclass(frozen=True, slots=True)
class _LevelFacts:
    """What `WsiDataset.create_instance_dataset` asks of an image about to be written."""

    page: Page
    about: About

    bits = 8
    focal_planes = (0.0,)
    optical_paths = ("0",)
    imaged_size = None
    image_coordinate_system = _CORNER

    @property
    def image_size(self) -> DicomSize:
        return DicomSize(self.page.size.width, self.page.size.height)

    @property
    def tile_size(self) -> DicomSize:
        return DicomSize(self.page.form.tile.width, self.page.form.tile.height)

    @property
    def tiled_size(self) -> DicomSize:
        return self.image_size.ceil_div(self.tile_size)

    @property
    def pixel_spacing(self) -> SizeMm:
        full, size = self.about.size, self.page.size
        mm = self.about.mpp / 1000
        return SizeMm(mm * full.width / size.width, mm * full.height / size.height)

    @property
    def samples_per_pixel(self) -> int:
        return 1 if self.page.form.gray else 3

    @property
    def photometric_interpretation(self) -> str:
        return _photometric(self.page.form)

    @property
    def lossy_compression(self) -> list[LossyCompression]:
        return [LossyCompression(LossyCompressionIsoStandard.JPEG_LOSSY, _ROOM_FOR_RATIO)]


def _photometric(form: PageForm) -> str:
    if form.gray:
        return "MONOCHROME2"
    return "RGB" if form.rgb else "YBR_FULL_422"


def _write_level(path: Path, page: Page, about: About, index: int) -> None:
    photometric = _photometric(page.form)
    described = WsiMetadataDicomSchema().dump(_metadata(about), ImageType.VOLUME, photometric != "MONOCHROME2")
    facts: Any = _LevelFacts(page, about)
    whole = WsiDataset.create_instance_dataset(described, ImageType.VOLUME, facts, index)
    instance = whole.as_instance(instance_uid=_uid(about, f"level {index}"), instance_number=index + 1)
    with WsiDicomWriter.open_instance(UPath(path), JPEGBaseline8Bit, OffsetTableType.BASIC, instance) as writer:
        lengths = _Lengths()
        writer.write_tiles(lengths.seen(page.tiles))
        writer.finalize(instance)
    raw = facts.tiled_size.area * facts.tile_size.area * facts.samples_per_pixel
    _put_ratio(path, raw / lengths.total)


@dataclass(slots=True)
class _Lengths:
    """Adds up the bytes of the tiles that go by."""

    total: int = 0

    def seen(self, tiles: Iterable[bytes]) -> Iterator[bytes]:
        for tile in tiles:
            self.total += len(tile)
            yield tile


def _put_ratio(path: Path, ratio: float) -> None:
    """State the compression ratio, padded: wsidicom leaves the rest of a longer number behind a shorter one."""
    with path.open("r+b") as file:
        at = file.read(_HEADER_BYTES).index(f"{_ROOM_FOR_RATIO:.2f}".encode())
        file.seek(at)
        file.write(f"{ratio:.2f}".ljust(_RATIO_CHARS).encode())


def _metadata(about: About) -> WsiMetadata:
    """Nobody's slide, made by this software: only identifiers, objective, colours and scale."""
    path = OpticalPath(
        identifier="0",
        objective=Objectives(objective_power=about.power),
        icc_profile=about.icc_profile,
    )
    sample = SlideSample(identifier="anonymous", uid=_uid(about, "sample"))
    return WsiMetadata(
        study=Study(uid=_uid(about, "study")),
        series=Series(uid=_uid(about, "series"), number=1),
        patient=Patient(),
        equipment=Equipment(manufacturer="sarcoscope", model_name="sarcoscope", software_versions=["sarcoscope"]),
        slide=Slide(identifier="anonymous", samples=[sample]),
        pyramid=Pyramid(
            image=Image(image_coordinate_system=_CORNER),
            optical_paths=[path],
            uid=_uid(about, "pyramid"),
            comments=_COMMENT + about.origin,
        ),
        label=Label(contains_phi=False),
        frame_of_reference_uid=_uid(about, "frame of reference"),
        dimension_organization_uids=[_uid(about, "dimensions")],
    )


def _uid(about: About, role: str) -> UID:
    """An identifier under 2.25, DICOM's root for numbers without a registry."""
    digest = hashlib.sha256(f"{about.origin} {role}".encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")
