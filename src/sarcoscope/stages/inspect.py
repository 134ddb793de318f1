"""What is known of a slide before it is diagnosed, and what would be tiled."""

from collections import Counter
from pathlib import Path
from typing import Any

from sarcoscope.core.errors import ScaleError, TissueError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.stages.jobs import slide_name
from sarcoscope.tiling.plan import plan_tiles


def inspect_slide(
    path: Path, tiling: TilingConfig, mpp: Mpp | None = None, *, mpp_override: bool = False
) -> dict[str, Any]:
    """Metadata and tile plan as JSON values. A slide that cannot be tiled says why under `tiling.problem`.

    Raises SlideOpenError and SlideReadError.
    """
    with open_slide(path, mpp=mpp, override=mpp_override) as source:
        info = source.info
        return {
            "slide": slide_name(path),
            "path": shown(path),
            "vendor": info.vendor,
            "width": info.size.width,
            "height": info.size.height,
            "levels": [
                {"width": level.size.width, "height": level.size.height, "downsample": level.downsample}
                for level in info.levels
            ],
            "mpp": info.scale.mpp if info.scale else None,
            "mpp_source": info.scale.source if info.scale else None,
            "mpp_warnings": list(info.scale.warnings) if info.scale else [],
            "mpp_problem": info.scale_problem,
            "objective_power": info.objective_power,
            "associated_images": list(info.associated),
            "icc_profile": info.icc_profile,
            "files": len(source.files),
            "tiling": _tiling(source, tiling),
        }


def _tiling(source: SlideSource, tiling: TilingConfig) -> dict[str, Any]:
    asked = {"mpp": tiling.mpp, "tile_px": tiling.tile_px}
    try:
        plan = plan_tiles(source, tiling)
    except (ScaleError, TissueError) as error:
        return asked | {"problem": str(error)}
    dropped = Counter(str(tile.dropped) for tile in plan.tiles if tile.dropped)
    return asked | {
        "problem": None,
        "read_at_mpp": plan.mpp,
        "planned": len(plan.tiles),
        "to_read": len(plan.candidates),
        "dropped": dict(dropped),
    }
