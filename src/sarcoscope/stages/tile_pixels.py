"""The pixels behind rows of a tile index, of slides and of ready-made tiles alike, as small gray pictures."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import cv2
import numpy as np
import polars as pl

from sarcoscope.cohort.leakage import Gray
from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tile_files import read_tile_file

GRAY_PX: Final = 32
"""Side of a small picture."""


def small_grays(rows: pl.DataFrame, slides: Mapping[str, CohortSlide], workers: int = 2) -> dict[tuple[str, str], Gray]:
    """(GRAY_PX, GRAY_PX) gray values 0..255 by (slide, tile). Tiles that cannot be read are left out."""
    by_slide = [(str(slide), list(alike.iter_rows(named=True))) for (slide,), alike in rows.group_by("slide")]
    found: dict[tuple[str, str], Gray] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        for some in pool.map(lambda one: list(_of_slide(slides.get(one[0]), one[1])), by_slide):
            found.update(some)
    return found


def _of_slide(slide: CohortSlide | None, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[tuple[str, str], Gray]]:
    if slide is None:
        return
    files = [row for row in rows if row["file"] is not None]
    boxes = [row for row in rows if row["file"] is None]
    for row in files:
        with suppress(SlideError):
            yield (row["slide"], row["tile"]), gray_of(read_tile_file(slide.path / row["file"]))
    if not boxes:
        return
    with suppress(SlideError), open_slide(slide.path, mpp=slide.mpp, mpp_source="manifest", override=True) as source:
        for row in boxes:
            box = Box(row["left_l0"], row["top_l0"], row["width_l0"], row["height_l0"])
            yield (row["slide"], row["tile"]), gray_of(source.read(box, Size(GRAY_PX, GRAY_PX)))


def gray_of(rgb: Rgb) -> Gray:
    """(GRAY_PX, GRAY_PX) of a tile of any size."""
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.resize(gray, (GRAY_PX, GRAY_PX), interpolation=cv2.INTER_AREA), np.float32)
