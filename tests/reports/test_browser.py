"""The report as a real browser shows it: from disk, offline."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pypdfium2
import pytest
from PIL import Image

from sarcoscope.reports.artifacts import read_artifacts
from sarcoscope.reports.colors import INK, parse_color
from sarcoscope.reports.slide_report import write_slide_report
from sarcoscope.reports.wording import nice_length
from tests.reports.builder import CLASSES, FAR, calibration, make_slide

HOSTILE = "<script>document.title='owned'</script><img src='https://example.invalid/x.png' onerror='document.title=2'>"


@pytest.fixture(scope="module")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium found: the report was not opened in a browser")


def open_page(chromium: str, page: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = "--disable-background-networking --disable-component-update --disable-sync --disable-quic --no-first-run"
    return subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            *quiet.split(),
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}",
            *arguments,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_all_pictures_show_without_an_error(chromium: str, changed: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    done = open_page(chromium, changed / "report.html", tmp_path, "--window-size=1280,3200", f"--screenshot={shot}")
    assert "CONSOLE" not in done.stderr
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    record = read_artifacts(changed).record
    for code, (_, color) in CLASSES.items():
        exact = (pixels == parse_color(color)).all(axis=2).sum()
        assert exact > 5000 if record.votes[code] else exact < 1500  # the ring's slice; swatches and a bar are small
    mixed = np.abs(pixels[600:1250, :800] - np.array([210, 150, 40])).sum(axis=2) < 90
    assert mixed.sum() > 8000  # WDLPS tiles over grey tissue
    assert (np.abs(pixels - np.array([205, 140, 185])).sum(axis=2) < 30).sum() > 20_000  # evidence tiles


def test_the_script_runs_hostile_names_do_not_and_nothing_is_requested(chromium: str, tmp_path: Path) -> None:
    folder = make_slide(tmp_path, HOSTILE, folder_name="slide")
    log = tmp_path / "net.json"
    done = open_page(chromium, write_slide_report(folder), tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "CONSOLE" not in done.stderr
    assert re.search(r'id="tiles"[^>]*style="opacity: 1;"', done.stdout)
    assert re.search(r'<label class="slider">', done.stdout)
    assert "<title>&lt;script&gt;" in done.stdout
    assert "example.invalid" not in json.dumps(json.loads(log.read_text(encoding="utf-8"))["events"])


def test_an_unguarded_page_would_be_noticed(chromium: str, tmp_path: Path) -> None:
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text(f"<title>x</title>{HOSTILE}<script>console.error('loud')</script>", encoding="utf-8")
    done = open_page(chromium, page, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "CONSOLE" in done.stderr
    assert "<title>x</title>" not in done.stdout
    assert "example.invalid" in json.dumps(json.loads(log.read_text(encoding="utf-8"))["events"])


def longest_run(flags: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


@pytest.mark.parametrize(("shape", "longest"), [((8, 60), 1700), ((60, 12), 700)])
def test_the_scale_bar_is_true_to_the_picture_as_shown(
    chromium: str, tmp_path: Path, shape: tuple[int, int], longest: int
) -> None:
    folder = make_slide(tmp_path, shape=shape, tiles=[], thumbnail_longest=longest)
    shot = tmp_path / "shot.png"
    open_page(chromium, write_slide_report(folder), tmp_path, "--window-size=1280,1500", f"--screenshot={shot}")
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    glass = np.asarray((np.abs(pixels - 240) <= 3).all(axis=2) & (np.ptp(pixels, axis=2) == 0))
    top = int(np.flatnonzero(glass.sum(axis=1) > 20)[0])
    left, shown = int(np.flatnonzero(glass[top])[0]), longest_run(glass[top])
    height = longest_run(glass[top:, left + 1])
    dark = np.asarray((np.abs(pixels - INK) <= 3).all(axis=2))[top : top + height, left : left + shown]
    bar = max(longest_run(row) for row in dark)
    record = read_artifacts(folder).record
    width_um = record.size[0] * record.mpp
    assert bar / shown == pytest.approx(nice_length(width_um / 4) / width_um, abs=2.5 / shown)


def test_what_cannot_be_separated_is_seen_without_scrolling_and_printed_on_the_first_page(
    chromium: str, tmp_path: Path
) -> None:
    folder = make_slide(tmp_path, evidence=False, fitted=calibration(0.76), likeness=FAR)
    page, shot, printed = write_slide_report(folder), tmp_path / "shot.png", tmp_path / "page.pdf"
    done = open_page(chromium, page, tmp_path, "--window-size=1280,800", f"--screenshot={shot}")
    assert "CONSOLE" not in done.stderr
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    warned = (pixels[150:] == parse_color("#fff6e3")).all(axis=2)  # below the notice at the head of the page
    assert warned.sum() > 20_000
    flag_ends = 150 + int(np.flatnonzero(warned.any(axis=1))[-1])
    for code in ("UPS", "DDLPS"):
        swatch = (pixels[flag_ends:600] == parse_color(CLASSES[code][1])).all(axis=2)
        assert 100 < swatch.sum() < 1000  # one small square each, under the flag
    open_page(chromium, page, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    with pypdfium2.PdfDocument(printed) as document:
        pages = [" ".join(one.get_textpage().get_text_bounded().split()) for one in document]
    words = "Phantom labels UPS or DDLPS: cannot be separated at 90%. MDM2/CDK4 FISH would decide (WHO 2020)."
    assert words in pages[0]
    assert "Out of cohort: this slide looks unlike those that the bundle was made from" in pages[0]
    assert any("UPS leads DDLPS by 32.9 points" in one for one in pages)
    assert all("Not a clinical result." in one for one in pages)
