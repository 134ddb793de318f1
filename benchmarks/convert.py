"""`sarcoscope convert` beside `vips tiffsave`, from the same slide in the same run, both as commands.

A phantom is painted once and repeated to the side asked for. Every time is that of the whole command, its start
included; sources are read once before, so that all come from memory. Where `vips` is absent only ours is measured.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from results import put_section, said
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.phantom.cohort import demo_cohort
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.slides.tiff_pages import About, PageForm, write_pages
from sarcoscope.slides.tiff_writer import HalvingChain, write_pyramid
from sarcoscope.testing.kfb_writer import write_kfb

COMMAND = Path(sys.executable).with_name("sarcoscope")
PAINTED = 2048
MPP = Mpp(0.25)


@dataclass(frozen=True)
class Way:
    """One way to convert one source."""

    name: str
    source: Path
    arguments: Callable[[Path], list[object]]
    """The command, for an output."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_480, help="px of the slide, a multiple of 2048")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the slides are written, about 2 GB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ways = prepare(Path(folder), options.side // PAINTED)
        times = measure(ways, Path(folder), options.turns)
        report(ways, times, options.side)


def prepare(folder: Path, repeats: int) -> list[Way]:
    """Write the sources and name the ways."""
    spec = replace(demo_cohort(np.random.default_rng(7))[0], size=Size(PAINTED, PAINTED))
    painted = np.concatenate(list(PhantomPainter(spec).bands()))
    size = Size(PAINTED * repeats, PAINTED * repeats)
    whole, single, kfb = folder / "whole.svs", folder / "single.svs", folder / "whole.kfb"
    write_pyramid(whole, bands(painted, repeats), size=size, mpp=MPP, power=40.0, quality=80)
    write_single(single, painted, repeats)
    write_kfb(kfb, np.tile(painted, (repeats, repeats, 1)), levels=5, quality=80)
    ways = [
        Way("SVS with all levels: `sarcoscope convert`", whole, lambda out: ours(whole, out)),
        Way("SVS of level 0 only: `sarcoscope convert`", single, lambda out: ours(single, out)),
        Way("KFB with 5 levels: `sarcoscope convert`", kfb, lambda out: ours(kfb, out)),
    ]
    if shutil.which("vips"):
        ways.insert(1, Way("the same slide: `vips tiffsave`", whole, lambda out: vips(whole, out)))
        ways.insert(3, Way("the same slide: `vips tiffsave`", single, lambda out: vips(single, out)))
    return ways


def ours(source: Path, out: Path) -> list[object]:
    """Our command."""
    return [COMMAND, "convert", source, out, "--workers", 1]


def vips(source: Path, out: Path) -> list[object]:
    """The command of libvips; without [rgb] it would write the alpha that OpenSlide's pixels have."""
    how = ["--tile", "--pyramid", "--compression", "jpeg", "--bigtiff", "--tile-width", 256, "--tile-height", 256]
    return ["vips", "tiffsave", f"{source}[rgb]", out, *how]


def bands(painted: Rgb, repeats: int) -> Iterator[Rgb]:
    """The painted square repeated across and down, in bands."""
    for _ in range(repeats):
        for top in range(0, PAINTED, 256):
            yield np.tile(painted[top : top + 256], (1, repeats, 1))


def write_single(path: Path, painted: Rgb, repeats: int) -> None:
    """The same slide without its coarser levels."""
    size = Size(PAINTED * repeats, PAINTED * repeats)
    about = About(size=size, mpp=MPP, power=40.0)
    with ExitStack() as stack:
        chain = HalvingChain([size], PageForm(Size(256, 256)), 80, path.parent, stack)
        write_pages(path, chain.pages(bands(painted, repeats)), about, bigtiff=True)


def measure(ways: list[Way], folder: Path, turns: int) -> list[list[float]]:
    """Seconds of each way in each turn."""
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(turns + 1):
        for way, seconds in zip(ways, times, strict=True):
            way.source.read_bytes()
            out = folder / "out.tif"
            begin = perf_counter()
            subprocess.run([str(one) for one in way.arguments(out)], check=True, capture_output=True)
            if turn:  # the first turn warms up
                seconds.append(perf_counter() - begin)
            out.unlink()
    return times


def report(ways: list[Way], times: list[list[float]], side: int) -> None:
    """Print the table and write it to results.md."""
    peers = {
        way.source: statistics.median(seconds) for way, seconds in zip(ways, times, strict=True) if "vips" in way.name
    }
    rows = []
    for way, seconds in zip(ways, times, strict=True):
        median, size = statistics.median(seconds), way.source.stat().st_size
        beside = f"{peers[way.source] / median:.1f} x" if way.source in peers else "-"
        took = f"{median:.1f} ({min(seconds):.1f} - {max(seconds):.1f})"
        rates = f"{size / 1e6 / median:.0f} | {side * side / 1e6 / median:.0f}"
        rows.append(f"| {way.name} | {size / 1e6:.0f} | {took} | {rates} | {beside} |")
    about = (
        f"A phantom of {side} x {side} px at 0.25 um/px in JPEG tiles of 256 px. Whole commands, start included; "
        f"median of {len(times[0])} turns, lowest and highest in brackets; libvips as `vips tiffsave IN[rgb] OUT "
        "--tile --pyramid --compression jpeg --bigtiff --tile-width 256 --tile-height 256`, which reads SVS "
        "by OpenSlide and uses every core. Of the slide of one level the others are made from pixels."
    )
    head = ["| what | MB of source | seconds | MB/s | Mpx/s | beside vips |", "|---|---|---|---|---|---|"]
    put_section("Converting", [said("benchmarks/convert.py"), about, "", *head, *rows])


if __name__ == "__main__":
    main()
