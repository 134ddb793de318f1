"""`sarcoscope tile` beside histolab, TIAToolbox and bare decoding: one slide, the same tiles, one run; and its memory.

Run by `make bench`; writes benchmarks/results.md. A phantom of 4096 px a side is painted once and repeated to the side
asked for. Ours is timed from the manifest to the finished index (and pictures), checking, hashing and planning
included, interpreter and imports left out; the peers from the opened slide on. What says one core is pinned to one; two
cores share either the tiles of one slide, by threads, or two such slides, by processes, their starting included.
Every figure is the median of several turns, taken in turn so that a busy machine slows all of them; what runs on one
core is compared by processor time, which others' work hardly changes, the rest by the clock.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import cv2
import numpy as np
import polars as pl
import simplejpeg

from results import put_section, said
from sarcoscope.core.cutting import CutConfig
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.formats.tile_index import read_index
from sarcoscope.phantom.cohort import demo_cohort
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tiff_direct import TiffJpegReader
from sarcoscope.slides.tiff_writer import write_pyramid
from sarcoscope.slides.tile_encoder import TileKind
from sarcoscope.stages.tile import TileConfig, tile
from sarcoscope.stages.tile_one import index_path

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("sarcoscope")
HISTOLAB = HERE.parent / ".venv-histolab" / "bin" / "python"
TIATOOLBOX = HERE.parent / ".venv-tiatoolbox" / "bin" / "python"
PAINTED = 4096
MPP = Mpp(0.25)
SCALES = ((Mpp(0.5), 1), (Mpp(0.25), 0))
"""um/px, and the level of the slide that holds it."""
SLIDE = "phantom-repeated"
SIDES = (20_480, 61_440, 81_920)
"""px of the slides that memory is measured on; the last has an overview as large as any slide's."""
HISTOLAB_BAR, TIATOOLBOX_BAR = 30, 3


@dataclass(frozen=True)
class Task:
    """One slide at one scale, and the tiles that `sarcoscope tile` keeps of it."""

    manifest: Path
    slide: Path
    work: Path
    """For whatever is written."""
    mpp: Mpp
    level: int
    kept: pl.DataFrame
    cells: list[list[int]]
    """Rows of the grid: 1 for a kept cell, 0 for another."""

    @property
    def boxes(self) -> list[list[int]]:
        """Left, top, width, height, level-0 px."""
        return [list(row) for row in self.kept.select("left_l0", "top_l0", "width_l0", "height_l0").iter_rows()]


@dataclass(frozen=True)
class Rate:
    """Tiles a second."""

    clock: float
    processor: float | None = None
    """By processor time; None for what runs on more than one core."""


Way = Callable[[], Rate]
"""One turn."""


def main() -> None:
    """Measure, print, write; say what is absent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="*", default=SIDES, help="px of those for memory, multiples of 4096")
    parser.add_argument("--side", type=int, default=40_960, help="px of the slide for 0.5 um/px, half for 0.25")
    parser.add_argument("--turns", type=int, default=3, help="0 measures no speed")
    parser.add_argument("--most", type=int, default=100, help="tiles that histolab, being slow, is given")
    parser.add_argument("--folder", type=Path, help="where the slides are written, about 3 GB")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        manifests = {side: painted(folder / f"memory-{side}", side) for side in options.sides}
        if manifests:
            report_memory({side: memory(manifest, folder) for side, manifest in manifests.items()})
        if not options.turns:
            return
        for mpp, level in SCALES:
            side = round(options.side * mpp / MPP / 2)  # about as many tiles at each scale
            task = prepared(painted(folder / str(side), side), folder, mpp, level)
            ways = ours(task) | peers(task, options.most)
            report_speed(task, measure(ways, options.turns), side, options.most)


def painted(folder: Path, side: int) -> Path:
    """A slide of a phantom that is repeated, and a manifest that lists it."""
    folder.mkdir()
    spec = replace(demo_cohort(np.random.default_rng(7))[1], size=Size(PAINTED, PAINTED), artefacts=frozenset())
    block = np.concatenate(list(PhantomPainter(spec).bands()))
    repeats = side // PAINTED
    write_pyramid(
        folder / f"{SLIDE}.svs",
        bands(block, repeats),
        size=Size(PAINTED * repeats, PAINTED * repeats),
        mpp=MPP,
        power=40.0,
        description="synthetic phantom, repeated",
    )
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("slide", "path", "label"), (SLIDE, f"{SLIDE}.svs", spec.label)])
    return folder / "manifest.csv"


def doubled(manifest: Path) -> Path:
    """A manifest of the same slide and of its copy, which has a byte more: the same file twice is refused."""
    both = manifest.with_name("both.csv")
    copy = manifest.with_name(f"{SLIDE}-copy.svs")
    if not both.exists():
        shutil.copyfile(manifest.with_name(f"{SLIDE}.svs"), copy)
        with copy.open("ab") as file:
            file.write(b"\0")
        heading, row = manifest.read_text(encoding="utf-8").splitlines()
        both.write_text("\n".join([heading, row, row.replace(SLIDE, f"{SLIDE}-copy")]), encoding="utf-8")
    return both


def bands(block: Rgb, repeats: int) -> Iterator[Rgb]:
    """The block, side by side and again and again, from top to bottom."""
    for _ in range(repeats):
        for top in range(0, PAINTED, 256):
            yield np.tile(block[top : top + 256], (1, repeats, 1))


def cut(
    manifest: Path, out: Path, mpp: Mpp, *, workers: int = 1, images: TileKind | None = None, nuclei: bool = True
) -> None:
    """The stage behind `sarcoscope tile`, in this process."""
    config = TileConfig(out=out, cut=CutConfig(mpp=(mpp,), nuclei=nuclei), workers=workers, images=images)
    summary = tile(manifest, config)
    if summary.exit_code:
        raise SystemExit(f"tile: {summary.failures or summary.report.problems}")


def prepared(manifest: Path, folder: Path, mpp: Mpp, level: int) -> Task:
    """Index once, to know which tiles are kept."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        cut(manifest, Path(out), mpp)
        index = read_index(index_path(Path(out), SLIDE))
    rows, columns = (int(index[name].max()) + 1 for name in ("row", "column"))  # type: ignore[arg-type]
    cells = np.zeros((rows, columns), np.int64)
    kept = index.filter(pl.col("dropped").is_null())
    cells[kept["row"].to_numpy(), kept["column"].to_numpy()] = 1
    return Task(manifest, manifest.parent / f"{SLIDE}.svs", folder, mpp, level, kept, cells.tolist())


def ours(task: Task) -> dict[str, Way]:
    """Bare decoding, then the index alone and with pictures."""
    ways: dict[str, Way] = {"bare decoding by libjpeg-turbo, 1 core": partial(bare, task, streams(task))}
    kinds: dict[str, TileKind | None] = {"index only": None, "index and PNG": "png", "index and JPEG XL": "jxl"}
    for name, images in kinds.items():
        ways[f"ours, {name}, 1 core"] = partial(of_ours, task, 1, images)
    ways["ours, index without nuclei, 1 core"] = partial(of_ours, task, 1, None, nuclei=False)
    for name, images in kinds.items():
        ways[f"ours, {name}, 2 cores on the slide"] = partial(of_ours, task, 2, images)
    for name, images in kinds.items():
        ways[f"ours, {name}, 2 cores on two slides"] = partial(of_command, task, images)
    return ways


def of_ours(task: Task, workers: int, images: TileKind | None, *, nuclei: bool = True) -> Rate:
    """`sarcoscope tile` on one slide."""
    with tempfile.TemporaryDirectory(dir=task.work) as out, cores(workers):
        begin, used = perf_counter(), process_time()
        cut(task.manifest, Path(out), task.mpp, workers=workers, images=images, nuclei=nuclei)
        clock, processor = perf_counter() - begin, process_time() - used
    return Rate(task.kept.height / clock, task.kept.height / processor if workers == 1 else None)


def of_command(task: Task, images: TileKind | None) -> Rate:
    """The command on two slides, a process each, from its start to its end."""
    words = [COMMAND, "tile", doubled(task.manifest), "--mpp", f"{task.mpp:g}", "--workers", "2"]
    with tempfile.TemporaryDirectory(dir=task.work) as out, cores(2):
        begin = perf_counter()
        asked = [*words, "--out", out, *(["--images", images] if images else [])]
        subprocess.run(asked, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        clock = perf_counter() - begin
    return Rate(2 * task.kept.height / clock)


def streams(task: Task) -> list[bytes]:
    """The JPEG streams under the kept tiles, of the level that holds the scale."""
    found = []
    with open_slide(task.slide) as slide:
        assert isinstance(slide, TiffJpegReader)
        for left, top, width, height in task.boxes:
            scale = 256 * 2**task.level
            for y in range(top // scale, -(-(top + height) // scale)):
                for x in range(left // scale, -(-(left + width) // scale)):
                    jpeg = slide.jpeg(task.level, x, y)
                    assert jpeg is not None
                    found.append(jpeg[0])
    return found


def bare(task: Task, jpegs: Sequence[bytes]) -> Rate:
    """Decoding what lies in memory, and nothing else."""
    with cores(1):
        begin, used = perf_counter(), process_time()
        for jpeg in jpegs:
            simplejpeg.decode_jpeg(jpeg, "RGB")
        clock, processor = perf_counter() - begin, process_time() - used
    return Rate(task.kept.height / clock, task.kept.height / processor)


def peers(task: Task, most: int) -> dict[str, Way]:
    """Those whose environment is there."""
    ways: dict[str, Way] = {}
    if TIATOOLBOX.exists():
        asked = {"slide": str(task.slide), "kept": task.cells, "mpp": task.mpp}
        ways["TIAToolbox SlidingWindowPatchExtractor, no pictures, 1 core"] = partial(
            of_peer, task, TIATOOLBOX, "tiatoolbox_tiles.py", asked
        )
    if HISTOLAB.exists():
        boxes = task.boxes[:: max(1, task.kept.height // most)][:most]
        asked = {"slide": str(task.slide), "boxes": boxes, "level": task.level}
        for tiler in ("grid", "score"):
            name = f"histolab {tiler.capitalize()}Tiler, PNG, 1 core"
            ways[name] = partial(of_peer, task, HISTOLAB, "histolab_tiles.py", asked | {"tiler": tiler})
    return ways


def of_peer(task: Task, python: Path, script: str, asked: dict[str, Any]) -> Rate:
    """As the peer's own process timed itself."""
    with tempfile.TemporaryDirectory(dir=task.work) as out, cores(1):
        words = [python, "-W", "ignore", HERE / "peers" / script]
        run = subprocess.run(
            words, input=json.dumps(asked | {"out": out}), text=True, stdout=subprocess.PIPE, check=True
        )
    answer = json.loads(run.stdout)
    wanted = len(asked["boxes"]) if "boxes" in asked else task.kept.height
    if answer["tiles"] != wanted:
        raise SystemExit(f"{script} took {answer['tiles']} tiles, not {wanted}")
    return Rate(wanted / answer["seconds"], wanted / answer["processor"])


@contextmanager
def cores(count: int) -> Iterator[None]:
    """This process, and what it starts, on so many cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(ways: dict[str, Way], turns: int) -> dict[str, list[Rate]]:
    """Each way in each turn."""
    rates: dict[str, list[Rate]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            rates[name].append(way())
    return rates


def report_speed(task: Task, rates: dict[str, list[Rate]], side: int, most: int) -> None:
    """Print the table and write it down."""
    middle = {name: median(values) for name, values in rates.items()}
    grid = next((middle[name] for name in rates if "GridTiler" in name), None)
    windows = next((middle[name] for name in rates if "TIAToolbox" in name), None)
    rows = [
        f"| {name} | {one.clock:.1f} | {'-' if one.processor is None else f'{one.processor:.1f}'} "
        f"| {against(one, grid)} | {against(one, windows)} |"
        for name, one in middle.items()
    ]
    about = (
        f"{task.kept.height} kept tiles of 512 px at {task.mpp:g} um/px of a synthetic phantom slide of {side:,} px a "
        f"side (a block of {PAINTED} px repeated; 0.25 um/px, 256 px JPEG tiles, levels halved). Medians of "
        f"{len(next(iter(rates.values())))} turns. histolab is given {most} of the tiles, evenly chosen. The index "
        "holds tissue, ink, folds, sharpness, focus, nuclei and a perceptual hash of each tile; histolab checks the "
        "tissue of each, and its score looks for nuclei; TIAToolbox only reads. Compared by processor time on one "
        f"core, by the clock on two. Bars: {HISTOLAB_BAR} x histolab's grid with PNG, {TIATOOLBOX_BAR} x TIAToolbox "
        "without pictures."
    )
    absent = [
        f"{name} is not measured: .venv-{name} is absent (`make .venv-{name}/installed` builds it)."
        for name, python in (("histolab", HISTOLAB), ("tiatoolbox", TIATOOLBOX))
        if not python.exists()
    ]
    head = [
        "| what | tiles/s | tiles a second of processor time | beside histolab's grid | beside TIAToolbox |",
        "|---|---|---|---|---|",
    ]
    put_section(f"Tiles at {task.mpp:g} um/px", [said("benchmarks/tile.py"), about, *absent, "", *head, *rows])


def median(rates: Sequence[Rate]) -> Rate:
    """Of the turns of one way."""
    processor = [one.processor for one in rates if one.processor is not None]
    return Rate(statistics.median(one.clock for one in rates), statistics.median(processor) if processor else None)


def against(one: Rate, other: Rate | None) -> str:
    """How many times as fast."""
    if other is None:
        return "-"
    if one.processor is None or other.processor is None:
        return f"{one.clock / other.clock:.1f} x"
    return f"{one.processor / other.processor:.1f} x"


def memory(manifest: Path, folder: Path) -> tuple[int, float]:
    """Kept tiles, and most memory of the command at any time, MB; 0 where the system does not tell."""
    most = 0.0
    with tempfile.TemporaryDirectory(dir=folder) as out:
        words = [COMMAND, "tile", manifest, "--out", out, "--workers", "1"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            most = max(most, resident(process.pid))
            sleep(0.01)
        if process.returncode:
            raise SystemExit(f"tile ended with {process.returncode}")
        index = read_index(index_path(Path(out), SLIDE))
    return index["dropped"].null_count(), most


def resident(process: int) -> float:
    """Most memory that a process ever had, MB; 0 where that is not told, or no longer."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def report_memory(found: dict[int, tuple[int, float]]) -> None:
    """Print the table and write it down."""
    about = (
        "Most memory of `sarcoscope tile --workers 1` at 0.5 um/px, index only, on slides of one block repeated. What "
        "grows is the overview on which tissue is found, 4 um/px and at most 4096 px a side: from 65,536 px of "
        "0.25 um/px on it is the same for every slide."
    )
    head = ["| px a side | kept tiles | MB |", "|---|---|---|"]
    rows = [f"| {side:,} | {kept:,} | {most:.0f} |" for side, (kept, most) in found.items()]
    put_section("Memory of tile", [said("benchmarks/tile.py"), about, "", *head, *rows])


if __name__ == "__main__":
    main()
