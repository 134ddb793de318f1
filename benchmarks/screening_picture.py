"""docs/images/screening.jpg: `sarcoscope screen` on synthetic phantom slides, some tiles rejected, one stood on."""

import shutil
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from sarcoscope.core.geometry import Size
from sarcoscope.phantom.cohort import demo_cohort, write_cohort

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "screening.jpg"
COMMAND = Path(sys.executable).with_name("sarcoscope")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SLIDES = 4


def work(page: Page) -> None:
    """What a reader does: a look at one slide, the tiles with the fewest nuclei out, on to the next place."""
    page.keyboard.press("2")
    page.keyboard.press("a")
    page.wait_for_selector("#alike[open]")
    page.wait_for_timeout(1000)
    page.keyboard.press("Enter")
    for key in ("1", *["ArrowDown"] * 2, *["ArrowRight"] * 2, "Shift+ArrowRight", "Shift+ArrowRight", "Space"):
        page.keyboard.press(key)
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(8000)  # pictures, and the message gone


def main() -> None:
    """Paint, cut, open the page, keep what it shows."""
    specs = demo_cohort(np.random.default_rng(1), Size(16_384, 16_384))[:SLIDES]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        run = Path(folder) / "cohort"
        manifest = write_cohort(specs, Path(folder), workers=2)
        subprocess.run([COMMAND, "tile", str(manifest), "--out", str(run), "--tile-px", "256"], check=True)
        words = [COMMAND, "screen", str(run), "--port", "0", "--reader", "a reader", "--no-browser"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(process.stdout.readline().strip())
            page.wait_for_selector("#grid img.there")
            work(page)
            image = Image.open(BytesIO(page.screenshot())).convert("RGB")
            browser.close()
        finally:
            process.terminate()
            process.wait()
    image.save(PICTURE, "JPEG", quality=88, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
