"""KFB slides (KFBIO scanners): JPEG tiles read straight from the file; docs/formats/kfb.md says how that is known."""

import math
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Size
from sarcoscope.core.slide import Level, SlideInfo
from sarcoscope.slides.byte_spans import unlike_layout
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import JpegLevel
from sarcoscope.slides.kfb_layout import MAGIC, TILE_SIDE, KfbLayout, level_size, read_layout
from sarcoscope.slides.scale import GivenScale, ScaleClaim, scale_or_problem
from sarcoscope.slides.vendor_pyramid import VendorPyramid

_ASSOCIATED: Final = {"macro": "macro", "label": "label", "preview": "thumbnail"}


class KfbReader(VendorPyramid):
    """A `SlideSource` over one KFB file of version 1.6. Raises SlideOpenError, naming what is not as known."""

    def __init__(self, path: Path, *, given: GivenScale | None = None) -> None:
        data = FileBytes(path)
        try:
            layout = read_layout(data)
            levels = _jpeg_levels(data, layout)
            info = _info(layout, given)
        except SlideError:
            data.close()
            raise
        super().__init__(data, info, levels, {_ASSOCIATED[image.name]: image.jpeg for image in layout.images})


def is_kfb(head: bytes) -> bool:
    """Whether a file that begins so is one of KFBIO's, fluorescence (KFBF) included."""
    return head.startswith((MAGIC, b"KFBF")) or (head[2:4] == MAGIC[2:] and head[4:7] == b"KFB")


def _jpeg_levels(data: FileBytes, layout: KfbLayout) -> list[JpegLevel]:
    """The levels that have tiles; level 0 must be one of them."""
    found = layout.tiles.levels()
    if not found or found[0] != 0:
        power = layout.header.magnification
        raise unlike_layout(data, f"its tile index has no tile at the scan magnification of {power}x")
    levels = []
    for level in found:
        size = level_size(layout.header.size, level)
        columns, rows = -(-size.width // TILE_SIDE), -(-size.height // TILE_SIDE)
        table = layout.tiles.table(level, first_column=0, first_row=0, columns=columns, rows=rows)
        levels.append(JpegLevel(size=size, tile=Size(TILE_SIDE, TILE_SIDE), table=table, cut=True))
    return levels


def _info(layout: KfbLayout, given: GivenScale | None) -> SlideInfo:
    header = layout.header
    claim = ScaleClaim(
        mpp_x=header.mpp if math.isfinite(header.mpp) else math.nan,
        mpp_y=header.mpp if math.isfinite(header.mpp) else math.nan,
        power=header.magnification,
        source="file: KFB header",
    )
    scale, problem = scale_or_problem(claim, given)
    return SlideInfo(
        vendor="kfb",
        size=header.size,
        levels=tuple(
            Level(size=level_size(header.size, level), downsample=float(2**level)) for level in layout.tiles.levels()
        ),
        scale=scale,
        scale_problem=problem,
        objective_power=float(header.magnification),
        associated=tuple(sorted(_ASSOCIATED[image.name] for image in layout.images)),
        properties=_properties(layout),
    )


def _properties(layout: KfbLayout) -> dict[str, str]:
    header = layout.header
    shown = {
        "kfb.version": f"{header.version:.6g}",
        "kfb.tiles": str(header.tiles),
        "kfb.codec": header.codec,
        "kfb.scan_magnification": str(header.magnification),
        "kfb.scan_seconds": str(header.scan_seconds),
        "kfb.scan_time": str(header.scan_time),
        "kfb.mpp": f"{header.mpp:.6g}",
    }
    shown |= {f"kfb.extension[{number}]": text for number, (text, _) in enumerate(layout.texts)}
    places = zip((8, 36, 80, 84), header.unknown, strict=True)
    return shown | {f"kfb.unknown[{place}]": str(value) for place, value in places if value}
