"""histolab's GridTiler or ScoreTiler over given tiles of a slide; run by tile.py in histolab's own environment.

Reads {"slide", "boxes", "level", "out", "tiler"} from standard input, writes {"version", "tiles", "seconds",
"processor"}. Where its tiles lie is told to the tiler, so that it reads the same as ours; its mask of the slide is left
out, which spares it time. Everything else is histolab's: reading, the tissue check of each tile, the score, PNG files.
"""

import json
import logging
import sys
from collections.abc import Iterator
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any

from histolab.scorer import NucleiScorer
from histolab.slide import Slide
from histolab.tiler import GridTiler, ScoreTiler
from histolab.types import CoordinatePair


class Told:
    """A tiler whose grid is given."""

    boxes: list[list[int]]

    def _grid_coordinates_generator(self, *_args: Any, **_kwargs: Any) -> Iterator[CoordinatePair]:
        for left, top, width, height in self.boxes:
            yield CoordinatePair(left, top, left + width, top + height)


class ToldGridTiler(Told, GridTiler):
    """Grid."""


class ToldScoreTiler(Told, ScoreTiler):
    """Score."""


def main() -> None:
    """Tile, timed from the opened slide on."""
    asked = json.load(sys.stdin)
    slide = Slide(asked["slide"], asked["out"])
    settings = {"tile_size": (512, 512), "level": asked["level"], "check_tissue": True, "tissue_percent": 50.0}
    if asked["tiler"] == "grid":
        tiler: Any = ToldGridTiler(**settings)
    else:
        tiler = ToldScoreTiler(NucleiScorer(), n_tiles=len(asked["boxes"]), **settings)
    tiler.boxes = asked["boxes"]
    logging.disable(logging.CRITICAL)
    begin, used = perf_counter(), process_time()
    tiler.extract(slide)
    seconds, processor = perf_counter() - begin, process_time() - used
    json.dump(
        {"version": version("histolab"), "tiles": len(asked["boxes"]), "seconds": seconds, "processor": processor},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
