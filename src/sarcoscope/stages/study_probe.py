"""How long a study's work takes here, measured on a small part of it; for `--dry-run --probe`."""

from pathlib import Path
from time import perf_counter
from typing import Final

from sarcoscope.core.cutting import CutConfig
from sarcoscope.formats.manifest import read_manifest
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.cutting import plan_cut
from sarcoscope.tiling.nuclei import COARSEST_UM
from sarcoscope.tiling.reading import TileReader, read_ahead

_TILES: Final = 12
"""Of each scale that are read."""


def tile_seconds(manifest: Path, cut: CutConfig, workers: int) -> float:
    """Seconds for each level-0 px, by cutting part of the slide in the cohort's middle. SlideError, ArtifactError."""
    slides = read_manifest(manifest)
    slide = slides[len(slides) // 2]
    method = cut.method_for(slide.label)
    begin = perf_counter()
    with open_slide(slide.path, mpp=slide.mpp, mpp_source="manifest") as source:
        plan = plan_cut(source, cut, method)
        seconds = perf_counter() - begin
        for mpp in cut.mpp:
            wanted = [one for one in plan.tiles if one.mpp == mpp and one.tile.kept]
            some = wanted[:: max(1, len(wanted) // _TILES)][:_TILES]
            if some:
                tiling = cut.tiling(some[0].read_mpp, method)
                nuclei = cut.nuclei and tiling.mpp <= COARSEST_UM
                reader = TileReader(source, tiling, plan.tissue.glass, nuclei=nuclei, hashed=True)
                begin = perf_counter()
                read = len(list(read_ahead(reader, [one.tile for one in some], 1)))
                seconds += (perf_counter() - begin) * len(wanted) / read
        size = source.info.size
    return seconds / (size.width * size.height) / workers
