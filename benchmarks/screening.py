"""The screening page in a real browser: how soon it is there, and whether it stutters with 5,000 tiles.

Run by `make bench`; writes benchmarks/results.md. A phantom slide is painted and covered by overlapping tiles of 512 px
at 0.5 um/px, so that reading each costs what it does on a large slide. Headless Chromium without a GPU scrolls through
all of them, as fast as a reader drags the bar and as slowly as one looks; frames are intervals between
`requestAnimationFrame` calls.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from os import getloadavg
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from playwright.sync_api import Browser, Page, sync_playwright

from results import put_section, said
from sarcoscope.core.geometry import Size
from sarcoscope.formats.tile_index import COLUMNS, place_id, tile_id, write_index
from sarcoscope.phantom.cohort import write_slide
from sarcoscope.phantom.spec import PhantomSlide

SIDE_L0 = 1024
"""512 px at 0.5 um/px on a slide of 0.25 um/px."""
LONG_MS = 34.0
"""A frame that missed at least one of 60 a second."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

SCROLL = """async ([seconds]) => {
  const grid = document.getElementById('grid'), length = grid.scrollHeight - grid.clientHeight;
  grid.scrollTop = 0;
  await new Promise(done => setTimeout(done, 1000));
  const frames = [], start = performance.now();
  let before = start, most = 0;
  return await new Promise(done => requestAnimationFrame(function step(now) {
    frames.push(now - before);
    before = now;
    most = Math.max(most, document.querySelectorAll('#grid .cell').length);
    const share = (now - start) / (1000 * seconds);
    grid.scrollTop = length * Math.min(1, share);
    if (share < 1) requestAnimationFrame(step); else done([frames.slice(2), most, length]);
  }));
}"""
EMPTY_PAGE = """async ([seconds]) => {
  const frames = [], start = performance.now();
  let before = start;
  return await new Promise(done => requestAnimationFrame(function step(now) {
    frames.push(now - before);
    before = now;
    if (now - start < 1000 * seconds) requestAnimationFrame(step); else done([frames.slice(2), 0, 0]);
  }));
}"""


@dataclass(frozen=True)
class Frames:
    """Intervals between frames of one scroll, ms."""

    name: str
    ms: np.ndarray[Any, np.dtype[np.float64]]
    cells: int

    def line(self) -> str:
        """As a row of the table."""
        late, longest = np.mean(self.ms > LONG_MS), self.ms.max()
        middle, high = np.percentile(self.ms, [50, 99])
        cells = f"{self.cells}" if self.cells else "-"
        return f"| {self.name} | {len(self.ms)} | {middle:.1f} | {high:.1f} | {late:.2%} | {longest:.0f} | {cells} |"


def write_run(run: Path, tiles: int, side_l0: int) -> None:
    """A run folder with one phantom slide under a grid of overlapping tiles."""
    spec = PhantomSlide(slide_id="phantom-bench", label="DDLPS", size=Size(side_l0, side_l0), seed=1)
    path = run / "phantom-bench.svs"
    write_slide(spec, path)
    across = int(np.ceil(np.sqrt(tiles)))
    step = (side_l0 - SIDE_L0) // (across - 1)
    rng = np.random.default_rng(1)
    rows = [
        dict.fromkeys(COLUMNS)
        | {"slide": spec.slide_id, "tile": tile_id(r, c, 0.5), "place": place_id(r, c), "label": spec.label}
        | {"mpp": 0.5, "read_mpp": 0.5, "row": r, "column": c, "left_l0": c * step, "top_l0": r * step}
        | {"width_l0": SIDE_L0, "height_l0": SIDE_L0, "block": place_id(r, c), "tissue": 1.0}
        | {"nuclei": float(rng.uniform(0, 5000)), "sharpness": float(rng.uniform(50, 900)), "phash": 0}
        for r, c in (divmod(number, across) for number in range(tiles))
    ]
    record = {"kind": "slide", "path": str(path), "size_l0": [side_l0, side_l0], "mpp_given": None}
    write_index(run / "tiles" / "phantom-bench.parquet", pl.DataFrame(rows, schema=dict(COLUMNS)), record)


def first_grid(browser: Browser, address: str) -> tuple[Page, float]:
    """The page, and seconds from asking for it until every tile on the screen shows its picture."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    start = perf_counter()
    page.goto(address)
    page.wait_for_function(
        """() => { const grid = document.getElementById('grid').getBoundingClientRect();
        const cells = [...document.querySelectorAll('#grid .cell:not([hidden])')].filter(
            cell => cell.getBoundingClientRect().top < grid.bottom);
        return cells.length > 0 && cells.every(cell => cell.querySelector('img.there')); }"""
    )
    return page, perf_counter() - start


def scroll(page: Page, name: str, seconds: float, script: str = SCROLL) -> Frames:
    """Scroll through all tiles evenly in so many seconds."""
    ms, cells, _ = page.evaluate(script, [seconds])
    return Frames(name, np.array(ms), cells)


def decision_ms(page: Page) -> float:
    """Median time from the key to the line on the disk, as the page hears of it, ms."""
    script = """async () => {
      const box = document.getElementById('saved'), grid = document.getElementById('grid'), times = [];
      const press = (key) => grid.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
      for (let i = 0; i < 20; i += 1) {
        press('ArrowRight');
        const start = performance.now();
        press(' ');
        while (box.dataset.state !== 'saved') await new Promise(done => setTimeout(done, 1));
        times.push(performance.now() - start);
      }
      return times; }"""
    times: list[float] = page.evaluate(script)
    return float(np.median(times))


def measure(run: Path, tiles: int, start: float, process: "subprocess.Popen[str]") -> None:
    """Measure on a running page, print, write."""
    load = getloadavg()[0]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    ready = perf_counter() - start
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        empty = browser.new_page()
        idle = scroll(empty, "an empty page, nothing scrolled", 10, EMPTY_PAGE)
        page, seconds = first_grid(browser, address)
        found = [
            scroll(page, "whole list in 20 s, no picture read before", 20),
            scroll(page, "whole list in 60 s, some read before", 60),
            scroll(page, "whole list in 20 s again", 20),
            idle,
        ]
        decided = decision_ms(page)
        memory = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]
        browser.close()
    put_section(
        "Screening page with 5,000 tiles",
        [
            said("benchmarks/screening.py"),
            (
                f"{tiles:,} tiles of 512 px at 0.5 um/px on one synthetic phantom slide, 1440 x 900 px, headless "
                "Chromium without a GPU on the same cores as the server. "
                f"From the command to its address {ready:.1f} s; from asking for the page until every tile on the "
                f"screen shows its picture {seconds:.2f} s; from a key to the line on the disk and back "
                f"{decided:.0f} ms (median of 20); peak memory of the server {int(memory) / 1024:.0f} MiB. "
                f"Load average before: {load:.1f}."
            ),
            "",
            "| scrolled | frames | median ms | 99th percentile ms | over 34 ms | longest ms | cells in the document |",
            "|---|---|---|---|---|---|---|",
            *(one.line() for one in found),
        ],
    )
    assert (run / "screening.csv").exists()


def main() -> None:
    """Paint, start the command, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=5000)
    parser.add_argument("--side", type=int, default=16_384, help="side of the slide, level-0 px")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_run(run, options.tiles, options.side)
        start = perf_counter()
        command = [Path(sys.executable).with_name("sarcoscope"), "screen", str(run), "--port", "0", "--no-browser"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            measure(run, options.tiles, start, process)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
