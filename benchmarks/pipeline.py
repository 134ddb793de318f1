"""Reading, filtering and predicting beside plain OpenSlide, on the same tiles in the same run.

Run by `make bench`; writes benchmarks/results.md. The peer is what a short script would do: openslide-python's
`read_region`, Pillow's conversion and resize, one thread. Every figure is the median of several turns, taken in
turn so that a busy machine slows all of them; every slide is read once before, so that all come from memory.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import openslide
from PIL import Image

from results import put_section, said
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.tile import Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.formats.bundle import find_bundle
from sarcoscope.inference.onnx import load_members
from sarcoscope.inference.predict import predict_tiles
from sarcoscope.phantom.cohort import demo_cohort, write_slide
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.plan import plan_tiles
from sarcoscope.tiling.reading import TileReader, read_ahead

SIDE = 512


@dataclass(frozen=True)
class Slide:
    """An open slide with its tiles, and the same file opened by the peer."""

    reader: TileReader
    plain: openslide.OpenSlide
    tiles: Sequence[Tile]


def peer(slide: Slide, *, best_level: bool = False) -> int:
    """What a short script would do: read level 0, or the level that suits, and resize."""
    for tile in slide.tiles:
        level = slide.plain.get_best_level_for_downsample(tile.box.width / SIDE * 1.01) if best_level else 0
        factor = slide.plain.level_downsamples[level]
        size = (round(tile.box.width / factor), round(tile.box.height / factor))
        region = slide.plain.read_region((tile.box.left, tile.box.top), level, size)
        image = region.convert("RGB")
        if image.size != (SIDE, SIDE):
            image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
        np.asarray(image)
    return len(slide.tiles)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=4, help="phantom slides to measure on")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    bundle = find_bundle("phantom")
    members = load_members(bundle)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        paths = []
        for spec in demo_cohort(np.random.default_rng(7))[: options.slides]:
            paths.append(Path(folder) / f"{spec.slide_id}.svs")
            write_slide(spec, paths[-1])
        for mpp, name in ((Mpp(0.5), "half scale"), (Mpp(0.25), "native scale")):
            config = replace(bundle.manifest.tiling, mpp=mpp)
            ways: dict[str, Callable[[Slide], int]] = {
                "plain openslide-python, read_region of level 0 and Pillow, 1 thread": peer,
                "the same from the level that suits": lambda slide: peer(slide, best_level=True),
                "read and filtered, 1 thread": lambda slide: len([slide.reader.read(tile) for tile in slide.tiles]),
                "read and filtered, 2 threads": lambda slide: sum(
                    1 for _ in read_ahead(slide.reader, slide.tiles, workers=2)
                ),
                "read, filtered and predicted (phantom bundle, batch 8)": lambda slide: len(
                    predict_tiles(slide.reader, slide.tiles, members, len(bundle.codes)).tiles
                ),
            }
            slides = [open_both(path, config, opened) for path in paths]
            tiles = sum(len(slide.tiles) for slide in slides)
            about = (
                f"{tiles} tiles of 512 px at {mpp} um/px from {len(slides)} synthetic phantom slides of 0.25 um/px "
                f"(256 px JPEG tiles). Median of {options.turns} turns, lowest and highest in brackets."
            )
            report(f"Reading, filtering and predicting, {name}", about, measure(ways, slides, options.turns))


def open_both(path: Path, config: TilingConfig, opened: ExitStack) -> Slide:
    """A slide by our reader and by the peer, and the tiles that its tissue map does not rule out."""
    source = opened.enter_context(open_slide(path))
    plain = opened.enter_context(openslide.OpenSlide(path))
    plan = plan_tiles(source, config)
    return Slide(TileReader(source, config, plan.glass), plain, plan.candidates)


def measure(ways: dict[str, Callable[[Slide], int]], slides: list[Slide], turns: int) -> dict[str, list[float]]:
    """Tiles a second of each way in each turn."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            begin = perf_counter()
            done = sum(way(slide) for slide in slides)
            if turn:  # the first turn warms up
                rates[name].append(done / (perf_counter() - begin))
    return rates


def report(title: str, about: str, rates: dict[str, list[float]]) -> None:
    """Print the table and write it to results.md."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    base = next(iter(medians.values()))
    rows = [
        f"| {name} | {medians[name]:.1f} ({min(values):.1f} - {max(values):.1f}) | {medians[name] / base:.2f} x |"
        for name, values in rates.items()
    ]
    head = ["| what | tiles/s | beside plain OpenSlide |", "|---|---|---|"]
    put_section(title, [said("benchmarks/pipeline.py"), about, "", *head, *rows])


if __name__ == "__main__":
    main()
