"""The direct path beside bare decoding and beside OpenSlide: 512 px tiles from 256 px JPEG tiles, 1 and 2 threads.

Run by `make bench`; writes benchmarks/results.md. Bare decoding is libjpeg-turbo on streams that already lie in
memory, by the binding that the reader uses, and nothing else: no file, no index, no assembling. Every figure is the
median of several turns, taken in turn so that a busy machine slows all of them; a slide is opened anew for each turn.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import openslide
import simplejpeg
import tifffile
from PIL import Image

from results import put_section, said
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.phantom.cohort import demo_cohort, write_slide
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.tiff_direct import TiffJpegReader
from sarcoscope.tiling.plan import plan_tiles

OUT = Size(512, 512)
Way = tuple[Callable[[], AbstractContextManager[Any]], Callable[[Any, Box], object]]
"""How it is opened, outside the clock, and what is done for a box."""


@dataclass(frozen=True)
class Case:
    """A slide of one level and the boxes that are read from it."""

    path: Path
    boxes: list[Box]


def tissue_boxes(slide: SlideSource, mpp: float) -> list[Box]:
    """The tiles that a tissue map does not rule out: glass is never read, and would decode faster than tissue."""
    plan = plan_tiles(slide, TilingConfig(mpp=Mpp(mpp)))
    return [tile.box for tile in plan.candidates]


def over(threads: int, boxes: list[Box], work: Callable[[Box], object]) -> None:
    """Do the work for every box, from so many threads."""
    if threads == 1:
        for box in boxes:
            work(box)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, boxes):
            pass


def ours(slide: SlideSource, box: Box) -> object:
    """`SlideSource.read`: by the direct path, or by OpenSlide without its public interface's detour."""
    return slide.read(box, OUT)


def ours_then_opencv(slide: SlideSource, box: Box) -> object:
    """Full scale, then averaged down by OpenCV: what the scaled inverse DCT saves."""
    full = slide.read(box, Size(box.width, box.height))
    return cv2.resize(full, (OUT.width, OUT.height), interpolation=cv2.INTER_AREA)


def ours_then_pillow(slide: SlideSource, box: Box) -> object:
    """Full scale, then averaged down by Pillow, as most scripts do."""
    full = Image.fromarray(slide.read(box, Size(box.width, box.height)))
    return np.asarray(full.resize((OUT.width, OUT.height), Image.Resampling.BOX))


def plain(slide: openslide.OpenSlide, box: Box) -> object:
    """What a short script would do: openslide-python, Pillow, numpy."""
    region = slide.read_region((box.left, box.top), 0, (box.width, box.height)).convert("RGB")
    if region.size != (OUT.width, OUT.height):
        region = region.resize((OUT.width, OUT.height), Image.Resampling.BOX)
    return np.asarray(region)


def bare(shrink: int, streams: dict[Box, list[bytes]], box: Box) -> object:
    """libjpeg-turbo alone on the streams under a box."""
    side = 256 // shrink
    return [simplejpeg.decode_jpeg(jpeg, "RGB", min_height=side, min_width=side, min_factor=1) for jpeg in streams[box]]


def streams_under(case: Case) -> dict[Box, list[bytes]]:
    """The complete JPEG streams under each box."""
    found: dict[Box, list[bytes]] = {}
    with open_slide(case.path) as slide:
        assert isinstance(slide, TiffJpegReader)
        for box in case.boxes:
            tiles = [slide.jpeg(0, x // 256, y // 256) for x, y in corners(box)]
            found[box] = [tile[0] for tile in tiles if tile is not None]
    return found


def corners(box: Box) -> Iterator[tuple[int, int]]:
    """Top left corners of the file's tiles under a box."""
    for y in range(box.top, box.bottom, 256):
        for x in range(box.left, box.right, 256):
            yield x, y


def one_level(source: Path, target: Path) -> Path:
    """Level 0 of a slide alone, its tiles as they are: nothing coarser is stored that could be read instead."""
    with tifffile.TiffFile(source) as tiff, tifffile.TiffWriter(target) as writer:
        page = tiff.pages.first
        content = source.read_bytes()
        tiles = [content[at : at + n] for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        writer.write(
            iter(tiles),
            shape=page.shape,
            dtype=np.uint8,
            photometric="ycbcr",
            compression="jpeg",
            subsampling=(2, 2),
            tile=(256, 256),
            description=page.description,
            metadata=None,
        )
    return target


def measure(ways: dict[str, Way], boxes: list[Box], threads: int, turns: int) -> dict[str, list[float]]:
    """Tiles a second of each way in each turn."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, (opened, work) in ways.items():
            with opened() as slide:
                begin = perf_counter()
                over(threads, boxes, partial(work, slide))
                if turn:  # the first turn warms up
                    rates[name].append(len(boxes) / (perf_counter() - begin))
    return rates


def table(rates: dict[str, list[float]], against: str) -> list[str]:
    """A Markdown table with each way's ratio to one of them."""
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return [
        f"| what | tiles/s | beside {against} |",
        "|---|---|---|",
        *(
            f"| {name} | {middle[name]:.0f} ({min(values):.0f} - {max(values):.0f}) "
            f"| {middle[name] / middle[against]:.2f} x |"
            for name, values in rates.items()
        ),
    ]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spec = demo_cohort(np.random.default_rng(7))[0]
        painted = Path(folder) / "phantom.svs"
        write_slide(spec, painted)
        path = one_level(painted, Path(folder) / "one-level.svs")
        with open_slide(path) as slide:
            native, half = (Case(path, tissue_boxes(slide, mpp)) for mpp in (0.25, 0.5))
            size = slide.info.size
        about = (
            f"The tiles with tissue of a synthetic phantom slide of {size.width} x {size.height} px "
            f"({len(native.boxes)} at native scale, {len(half.boxes)} at half), 256 px JPEG tiles of quality 80, "
            f"one level. Median of {options.turns} turns, lowest and highest in brackets."
        )
        direct, twin, script = (
            partial(open_slide, path),
            partial(OpenSlideReader, path),
            partial(openslide.OpenSlide, path),
        )
        for threads in (1, 2):
            end = f", {threads} thread{'s' if threads > 1 else ''}"
            streams = partial(nullcontext, streams_under(native))
            ways: dict[str, Way] = {
                "bare decoding": (streams, partial(bare, 1)),
                "direct path": (direct, ours),
                "OpenSlide by our reader": (twin, ours),
                "plain openslide-python": (script, plain),
            }
            lines = table(measure(ways, native.boxes, threads, options.turns), "bare decoding")
            put_section(f"Direct path, native scale{end}", [said("benchmarks/direct.py"), about, "", *lines])
            streams = partial(nullcontext, streams_under(half))
            ways = {
                "bare decoding at 1/8 (what remains is entropy decoding)": (streams, partial(bare, 8)),
                "bare decoding at 1/2": (streams, partial(bare, 2)),
                "direct path (scaled inverse DCT)": (direct, ours),
                "direct path at full scale, then OpenCV INTER_AREA": (direct, ours_then_opencv),
                "direct path at full scale, then Pillow BOX": (direct, ours_then_pillow),
                "OpenSlide by our reader at full scale, then INTER_AREA": (twin, ours),
                "plain openslide-python at full scale, then Pillow BOX": (script, plain),
            }
            against = "direct path at full scale, then OpenCV INTER_AREA"
            lines = table(measure(ways, half.boxes, threads, options.turns), against)
            put_section(f"Direct path, half scale{end}", [said("benchmarks/direct.py"), about, "", *lines])


if __name__ == "__main__":
    main()
