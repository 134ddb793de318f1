"""The page as a reader uses it: a real server process, a real browser, the file on the disk."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from playwright.sync_api import Page as Tab

from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.core.tile import Tile
from sarcoscope.formats.tiles import write_tiles as write_predictions
from sarcoscope.slides.tiff_writer import write_pyramid
from tests.screened import rejected_tiles
from tests.slides_made import write_drawn
from tests.viewer.process import Page, screening
from tests.viewer.runs import CELL, lines, tile_row, write_slide_run, write_tiles

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
HOSTILE = "x<img src=q onerror=document.title='owned'><script>document.title='owned'</script>\"'&amp;"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no Chromium found: the screening page was not opened in a browser")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found[0], args=FLAGS)
        yield started
        started.close()


@contextmanager
def opened(browser: Browser, page: Page, *, loud: bool = False) -> Iterator[Tab]:
    """The page in a window of its own; errors and requests to elsewhere fail the test."""
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda sent: None if sent.url.startswith(page.origin) else problems.append(sent.url))
    tab.goto(page.address)
    tab.wait_for_selector("#slides [aria-current]")
    yield tab
    tab.close()
    assert loud or problems == []


@contextmanager
def reading(browser: Browser, run: Path, *options: str, reader: str = "anna") -> Iterator[tuple[Tab, Page]]:
    with screening(run, "--reader", reader, *options) as page, opened(browser, page) as tab:
        yield tab, page


def order(tab: Tab) -> list[str]:
    """Tiles in the grid, as they stand on the screen."""
    script = """() => [...document.querySelectorAll('#grid .cell:not([hidden])')]
        .map(c => [c.getBoundingClientRect(), c.dataset.tile]).sort((a, b) => a[0].y - b[0].y || a[0].x - b[0].x)
        .map(([, tile]) => tile.replace('_0.5um', ''))"""
    found: list[str] = tab.evaluate(script)
    return found


def current(tab: Tab) -> str:
    tile = tab.locator("#grid .cell.current").get_attribute("data-tile")
    assert tile is not None
    return tile.replace("_0.5um", "")


def press(tab: Tab, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def saved(tab: Tab) -> None:
    expect(tab.locator("#saved")).to_have_text("All decisions saved")


def verdicts(run: Path) -> list[tuple[str, str]]:
    return [(line.split(",")[1].removesuffix("_0.5um"), line.split(",")[6]) for line in lines(run)]


def test_arrows_move_and_space_rejects_and_the_line_is_on_the_disk_before_the_next_key(
    browser: Browser, tmp_path: Path
) -> None:
    write_slide_run(tmp_path, "one", ["DDDDDDDDD", "LLLLLLLLL"])
    with reading(browser, tmp_path) as (tab, _):
        assert current(tab) == "r0_c0"
        columns = tab.evaluate(
            """() => { const cells = [...document.querySelectorAll('#grid .cell:not([hidden])')];
            const top = Math.min(...cells.map(c => c.getBoundingClientRect().y));
            return cells.filter(c => c.getBoundingClientRect().y === top).length }"""
        )
        press(tab, "ArrowRight", "ArrowRight", "ArrowLeft")
        assert current(tab) == "r0_c1"
        press(tab, "ArrowDown")
        assert current(tab) == order(tab)[1 + columns]
        press(tab, "ArrowUp", "Space")
        saved(tab)
        assert verdicts(tmp_path) == [("r0_c1", "reject")]
        expect(tab.locator(".cell.current")).to_have_class(re.compile("rejected"))
        press(tab, "Space")
        saved(tab)
        assert verdicts(tmp_path) == [("r0_c1", "reject"), ("r0_c1", "keep")]
        press(tab, "End")
        assert current(tab) == "r1_c8"
        press(tab, "ArrowRight", "ArrowDown")
        assert current(tab) == "r1_c8"
        press(tab, "Home", "ArrowLeft", "ArrowUp")
        assert current(tab) == "r0_c0"


def test_undo_takes_back_one_by_one_and_a_selection_at_once(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DDDDDDDD"])
    with reading(browser, tmp_path) as (tab, _):
        press(tab, "Space", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
        expect(tab.locator("#grid .cell.selected")).to_have_count(3)
        press(tab, "Space")
        expect(tab.locator("#grid .cell.rejected")).to_have_count(4)
        saved(tab)
        assert rejected_tiles(tmp_path / "screening.csv") == {("one", f"r0_c{n}_0.5um") for n in range(4)}
        press(tab, "u")
        expect(tab.locator("#grid .cell.rejected")).to_have_count(1)
        press(tab, "Control+z")
        expect(tab.locator("#grid .cell.rejected")).to_have_count(0)
        press(tab, "u")
        expect(tab.locator("#toast")).to_have_text("Nothing to undo.")
        assert rejected_tiles(tmp_path / "screening.csv") == frozenset()
        assert [verdict for _, verdict in verdicts(tmp_path)] == ["reject"] * 4 + ["withdrawn"] * 4


def test_every_order_is_right_both_ways_and_tiles_without_the_value_come_last(browser: Browser, tmp_path: Path) -> None:
    nuclei, sharpness, p = [300.0, 100.0, None, 200.0], [5.0, 7.0, 6.0, 8.0], [0.9, 0.2, 0.5, None]
    path = write_drawn(tmp_path / "one.tiff", ["DDDD"])
    rows = [tile_row("one", 0, c, nuclei=nuclei[c], sharpness=sharpness[c]) for c in range(4)]
    write_tiles(tmp_path, "one", rows, path=str(path), size_l0=[512, 128])
    tiles = [Tile(row=0, column=c, box=Box(c * CELL, 0, CELL, CELL), tissue=1.0) for c in range(3)]
    likely = np.array([[value, 1 - value] for value in p if value is not None])
    write_predictions(tmp_path / "out" / "one" / "tiles.parquet", "one", tiles, likely, ("DDLPS", "LMS"))
    with reading(browser, tmp_path, "--predictions", str(tmp_path / "out")) as (tab, _):

        def columns() -> str:
            return "".join(tile[-1] for tile in order(tab))

        assert columns() == "0123"
        for key, up, down in (
            ("2", "1302", "0312"),
            ("3", "0213", "3120"),
            ("4", "1203", "0213"),
            ("1", "0123", "3210"),
        ):
            press(tab, key)
            assert columns() == up, key
            press(tab, key)
            assert columns() == down, key


def test_the_order_by_disagreement_says_why_it_is_not_to_be_had(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DD"])
    with reading(browser, tmp_path) as (tab, _):
        button = tab.locator("[data-sort=disagreement]")
        expect(button).to_be_disabled()
        assert "start with --predictions FOLDER" in (button.get_attribute("title") or "")
        press(tab, "4")
        expect(tab.locator("#toast")).to_contain_text("--predictions FOLDER")


def test_filters_by_state_class_and_slide(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "a", ["DD.D"])
    write_slide_run(tmp_path, "b", ["LL"], label="LMS")
    with reading(browser, tmp_path) as (tab, _):
        assert order(tab) == ["r0_c0", "r0_c1", "r0_c3"]
        press(tab, "Space")
        for state, shown in (
            ("kept", ["r0_c1", "r0_c3"]),
            ("rejected", ["r0_c0"]),
            ("dropped", ["r0_c2"]),
            ("all", ["r0_c0", "r0_c1", "r0_c2", "r0_c3"]),
        ):
            tab.select_option("#state", state)
            assert order(tab) == shown, state
        expect(tab.locator(".cell.dropped .mark")).to_have_text("glass")
        press(tab, "End", "ArrowLeft", "Space")
        expect(tab.locator("#toast")).to_contain_text("quality has taken it out already")
        tab.select_option("#state", "kept")
        tab.select_option("#class", "LMS")
        expect(tab.locator("#slide-name")).to_have_text("b")
        expect(tab.locator("#slides .name")).to_have_text(["b"])
        assert order(tab) == ["r0_c0", "r0_c1"]
        tab.select_option("#class", "")
        expect(tab.locator("#slides .name")).to_have_text(["a", "b"])
        press(tab, "p")
        expect(tab.locator("#slide-name")).to_have_text("a")
        press(tab, "s")
        expect(tab.locator("#state")).to_have_value("rejected")
        tab.get_by_text("All slides together").click()
        expect(tab.locator("#progress")).to_contain_text("2 slides together")
        assert len(verdicts(tmp_path)) == 1


def test_reject_all_like_this_shows_them_first_and_is_undone_at_once(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DDDDWWWW", "WWDDDDDW"], nuclei=1000.0, sharpness=100.0)
    with reading(browser, tmp_path) as (tab, _):
        press(tab, "End", "a")
        expect(tab.locator("#alike-count")).to_have_text("7 tiles of 16 would be rejected.")
        expect(tab.locator("#alike-grid .cell.goes")).to_have_count(7)
        expect(tab.locator("#alike-grid .cell:not([hidden]):not(.goes)")).to_have_count(9)
        assert verdicts(tmp_path) == []
        press(tab, "Escape")
        expect(tab.locator("#alike")).to_be_hidden()
        assert verdicts(tmp_path) == []
        press(tab, "a")
        tab.locator("#alike-grid .cell[data-tile='r0_c5_0.5um']").click()
        expect(tab.locator("#alike-count")).to_have_text("6 tiles of 16 would be rejected.")
        press(tab, "Enter")
        expect(tab.locator("#grid .cell.rejected")).to_have_count(6)
        saved(tab)
        white = {"r0_c4", "r0_c6", "r0_c7", "r1_c0", "r1_c1", "r1_c7"}
        assert rejected_tiles(tmp_path / "screening.csv") == {("one", f"{tile}_0.5um") for tile in white}
        assert all(line.endswith(",like r1_c7_0.5um") for line in lines(tmp_path))
        press(tab, "u")
        expect(tab.locator("#grid .cell.rejected")).to_have_count(0)
        assert rejected_tiles(tmp_path / "screening.csv") == frozenset()


def test_decisions_survive_a_killed_server_and_the_page_says_when_it_cannot_save(
    browser: Browser, tmp_path: Path
) -> None:
    write_slide_run(tmp_path, "one", ["DDDD"])
    with screening(tmp_path, "--reader", "anna") as page, opened(browser, page, loud=True) as tab:
        press(tab, "Space", "ArrowRight", "Space")
        saved(tab)
        page.kill()
        press(tab, "ArrowRight", "Space")
        expect(tab.locator("#alert")).to_contain_text("Not saved: the server does not answer")
        expect(tab.locator("#saved")).to_have_text("Last decision not saved")
        expect(tab.locator("#grid .cell.rejected")).to_have_count(2)
    with reading(browser, tmp_path) as (tab, _):
        expect(tab.locator("#grid .cell.rejected")).to_have_count(2)
        assert rejected_tiles(tmp_path / "screening.csv") == {("one", "r0_c0_0.5um"), ("one", "r0_c1_0.5um")}


def test_after_a_lost_decision_the_page_shows_what_is_on_the_disk(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DDDD"])
    at_once = """keys => keys.forEach(key => document.activeElement.dispatchEvent(
        new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })))"""
    with screening(tmp_path, "--reader", "anna") as page, opened(browser, page, loud=True) as tab:
        press(tab, "Space")
        saved(tab)
        file = (tmp_path / "screening.csv").read_bytes()
        (tmp_path / "screening.csv").unlink()
        (tmp_path / "screening.csv").mkdir()
        tab.evaluate(at_once, [" ", " ", "ArrowRight", " ", "u"])  # none is answered before the last is asked for
        expect(tab.locator("#saved")).to_have_text("Last decision not saved")
        expect(tab.locator("#grid .cell.rejected")).to_have_count(1)
        (tmp_path / "screening.csv").rmdir()
        (tmp_path / "screening.csv").write_bytes(file)
        press(tab, "ArrowRight", "Space")
        saved(tab)
        expect(tab.locator("#grid .cell.rejected")).to_have_count(2)
        assert rejected_tiles(tmp_path / "screening.csv") == {("one", "r0_c0_0.5um"), ("one", "r0_c2_0.5um")}


def test_what_one_reader_saw_is_not_taken_for_what_another_did(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["D" * 20] * 10)
    tab = browser.new_page(viewport={"width": 1440, "height": 900})

    def seen() -> int:
        found = re.search(r"(\d+) of 200 tiles seen", tab.locator("#progress").inner_text())
        return int(found.group(1)) if found else 0

    with screening(tmp_path, "--reader", "anna") as page:
        tab.goto(page.address)
        expect(tab.locator("#progress")).to_contain_text(re.compile("[1-9][0-9]* of 200 tiles seen"))
        first = seen()
        press(tab, "End")
        expect(tab.locator("#progress")).not_to_contain_text(f" {first} of 200 tiles seen")
        tab.reload()
        expect(tab.locator("#progress")).not_to_contain_text(f" {first} of 200 tiles seen")
        port = page.port
    with screening(tmp_path, "--reader", "ben", "--port", str(port)) as page:
        tab.goto(page.address)  # the same tab, the same origin
        expect(tab.locator("#progress")).to_contain_text(f" {first} of 200 tiles seen")
        tab.close()


def test_two_readers_at_once_write_one_file_and_see_their_own_decisions(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DDDD"])
    with (
        reading(browser, tmp_path, reader="anna") as (anna, _),
        reading(browser, tmp_path, reader="ben") as (ben, _),
    ):
        press(anna, "Space")
        press(ben, "ArrowRight", "Space")
        saved(anna)
        saved(ben)
        press(anna, "End", "Space")
        saved(anna)
        for tab in (anna, ben):
            tab.reload()
            tab.wait_for_selector("#slides [aria-current]")
        expect(anna.locator("#grid .cell.rejected")).to_have_count(2)
        expect(ben.locator("#grid .cell.rejected")).to_have_count(1)
    assert sorted((line.split(",")[7], line.split(",")[1]) for line in lines(tmp_path)) == [
        ("anna", "r0_c0_0.5um"),
        ("anna", "r0_c3_0.5um"),
        ("ben", "r0_c1_0.5um"),
    ]


def test_finishing_a_slide_keeps_what_was_on_the_screen_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "a", ["D" * 20] * 12)
    write_slide_run(tmp_path, "b", ["LL"], label="LMS")
    with reading(browser, tmp_path) as (tab, _):
        expect(tab.locator("#progress")).to_contain_text(re.compile(r"Slide 1 of 2 · 2\d of 240 tiles seen"))
        press(tab, "Space", "f")
        expect(tab.locator("#slide-name")).to_have_text("b")
        words = tab.locator("#toast").inner_text()
        found = re.fullmatch(r"a: (\d+) seen and kept, 1 rejected\. (\d+) tiles never on the screen, .*", words)
        assert found
        said = verdicts(tmp_path)
        assert said[0] == ("r0_c0", "reject")
        assert {verdict for _, verdict in said[1:]} == {"keep"}
        assert len(said) == 1 + int(found[1]) == 240 - int(found[2])
        assert ("r0_c1", "keep") in said
        assert not any(tile.startswith("r11") for tile, _ in said)
        expect(tab.locator("#slides .state").first).to_contain_text("1 rejected")


def test_five_thousand_tiles_leave_the_document_small(browser: Browser, tmp_path: Path) -> None:
    side, tile = 2240, 32
    rng = np.random.default_rng(0)
    rgb = rng.integers(100, 255, (side, side, 3), np.uint8)
    path = tmp_path / "big.tiff"
    write_pyramid(path, [rgb], size=Size(side, side), mpp=Mpp(0.5), power=20.0, description="noise", quality=80)
    place = {"width_l0": tile, "height_l0": tile}
    cells = [(r, c) for r in range(70) for c in range(72)]
    rows = [tile_row("big", r, c, left_l0=min(c * tile, side - tile), top_l0=r * tile, **place) for r, c in cells]
    write_tiles(tmp_path, "big", rows, path=str(path), size_l0=[side, side])
    with reading(browser, tmp_path) as (tab, _):
        count = "() => document.querySelectorAll('*').length"
        at_first = tab.evaluate(count)
        expect(tab.locator("#state option[value=used]")).to_have_text("in use (5,040)")
        most = 0
        for share in np.linspace(0, 1, 25):
            tab.evaluate("s => { const g = document.getElementById('grid'); g.scrollTop = g.scrollHeight * s }", share)
            tab.wait_for_timeout(30)
            most = max(most, tab.evaluate(count))
            assert tab.locator("#grid .cell:not([hidden])").count() < 100
        assert most < at_first + 200
        press(tab, "End")
        assert current(tab) == "r69_c71"
        expect(tab.locator(".cell.current img.there")).to_have_count(1)
        tab.locator("#map").click(position={"x": 2, "y": 2})
        assert current(tab) == "r0_c0"
        expect(tab.locator(".cell.current")).to_be_in_viewport()


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    path = write_drawn(tmp_path / "one.tiff", ["DD"])
    rows = [tile_row(HOSTILE, 0, c, tile=f"{HOSTILE}{c}", label=HOSTILE) for c in range(2)]
    write_tiles(tmp_path, HOSTILE, rows, "hostile", path=str(path), size_l0=[256, 128])
    with reading(browser, tmp_path, reader=f"{HOSTILE},;\n=1+1") as (tab, _):
        expect(tab.locator("#slide-name")).to_have_text(HOSTILE)
        press(tab, "Space", "Enter", "Escape", "a")
        expect(tab.locator("#alike")).to_be_visible()
        press(tab, "Escape", "f")
        saved(tab)
        assert tab.title() == "Screening - sarcoscope"
        assert tab.locator("img[src=q]").count() == 0
    assert rejected_tiles(tmp_path / "screening.csv") == {(HOSTILE, f"{HOSTILE}0")}


def test_a_slide_that_cannot_be_opened_shows_its_error_and_the_others_go_on(browser: Browser, tmp_path: Path) -> None:
    write_tiles(tmp_path, "a-gone", [tile_row("a-gone", 0, 0)], path="gone/s.svs", size_l0=[128, 128])
    (tmp_path / "tiles" / "b-damaged.parquet").write_bytes(b"x")
    write_slide_run(tmp_path, "c-fine", ["DD"])
    with reading(browser, tmp_path) as (tab, _):
        expect(tab.locator("#nothing")).to_contain_text("gone/s.svs: there is no such file")
        press(tab, "n")
        expect(tab.locator("#nothing")).to_contain_text("not a readable parquet file")
        press(tab, "n")
        expect(tab.locator("#slide-name")).to_have_text("c-fine")
        assert order(tab) == ["r0_c0", "r0_c1"]
        press(tab, "Space")
        saved(tab)
        expect(tab.locator("#slides li.failed")).to_have_count(2)
        tab.get_by_text("All slides together").click()
        expect(tab.locator("#alert")).to_contain_text("2 slides of these cannot be read")
    assert verdicts(tmp_path) == [("r0_c0", "reject")]


def test_the_large_view_moves_and_rejects_too(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DLW"])
    with reading(browser, tmp_path) as (tab, _):
        press(tab, "Enter", "ArrowRight", "Space")
        expect(tab.locator("#zoom-mark")).to_have_text("rejected")
        expect(tab.locator("#zoom-facts")).to_contain_text("r0_c1_0.5um")
        saved(tab)
        assert verdicts(tmp_path) == [("r0_c1", "reject")]
        press(tab, "u")
        expect(tab.locator("#zoom-mark")).to_be_hidden()
        press(tab, "Escape", "?")
        expect(tab.locator("#help")).to_be_visible()
        press(tab, "Space", "Escape")
        expect(tab.locator("#zoom")).to_be_hidden()
        assert len(verdicts(tmp_path)) == 2


def test_phantoms_are_called_so_and_research_use_stands_on_the_page(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path / "p", "phantom-1", ["D"])
    write_slide_run(tmp_path / "r", "case-1", ["D"])
    for run, phantom in ((tmp_path / "p", True), (tmp_path / "r", False)):
        with reading(browser, run) as (tab, _):
            expect(tab.locator("#notice")).to_contain_text("Research use only")
            assert tab.get_by_text("Synthetic phantom slides").is_visible() == phantom


def test_read_only_shows_and_changes_nothing(browser: Browser, tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DD"])
    with reading(browser, tmp_path, "--read-only") as (tab, _):
        press(tab, "Space", "f", "u", "a")
        expect(tab.locator("#reader")).to_contain_text("nothing is saved")
        expect(tab.locator("#finish")).to_be_hidden()
    assert not (tmp_path / "screening.csv").exists()


def luminance(color: list[float]) -> float:
    linear = [v / 12.92 if (v := c / 255) <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_all_words_can_be_read(browser: Browser, tmp_path: Path) -> None:
    """Contrast of at least 4.5 of every text with what is behind it (WCAG 2.2, AA)."""
    write_slide_run(tmp_path, "phantom-1", ["DLW."])
    script = """() => {
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
      const rgba = (t) => (t.match(/[\\d.]+/g) || []).map(Number);
      while (walk.nextNode()) {
        const e = walk.currentNode.parentElement, words = walk.currentNode.textContent.trim();
        if (!words || !e.checkVisibility() || e.closest('option, script')) continue;
        let back = [255, 255, 255];
        for (let b = e; b; b = b.parentElement) {
          const c = rgba(getComputedStyle(b).backgroundColor);
          if (c.length === 3 || c[3] === 1) { back = c.slice(0, 3); break; }
        }
        found.push([words, rgba(getComputedStyle(e).color).slice(0, 3), back]);
      }
      return found; }"""
    with reading(browser, tmp_path) as (tab, _):
        tab.select_option("#state", "all")
        press(tab, "Space")
        seen: list[Any] = tab.evaluate(script)
        for key in ("?", "a"):
            press(tab, key)
            tab.wait_for_selector("dialog[open]")
            seen += tab.evaluate(script)
            press(tab, "Escape")
    assert len(seen) > 60
    for words, ink, back in seen:
        one, other = sorted([luminance(ink), luminance(back)])
        assert (other + 0.05) / (one + 0.05) >= 4.5, words


def test_tiles_of_several_scales_are_filtered_by_scale(browser: Browser, tmp_path: Path) -> None:
    path = write_drawn(tmp_path / "one.tiff", ["DD", "DD"])
    rows = [tile_row("one", r, c) for r in range(2) for c in range(2)]
    rows.append(tile_row("one", 0, 0, tile="r0_c0_1um", mpp=1.0, width_l0=256, height_l0=256))
    write_tiles(tmp_path, "one", rows, path=str(path), size_l0=[256, 256])
    with reading(browser, tmp_path) as (tab, _):
        assert order(tab) == ["r0_c0", "r0_c1", "r1_c0", "r1_c1", "r0_c0_1um"]
        tab.select_option("#scale", "1")
        assert order(tab) == ["r0_c0_1um"]
        press(tab, "Space")
        saved(tab)
    assert rejected_tiles(tmp_path / "screening.csv") == {("one", "r0_c0_1um")}
    assert pl.read_csv(tmp_path / "screening.csv")["mpp"].to_list() == [1.0]
