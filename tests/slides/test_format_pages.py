"""Every format has its page, every page says what a reader of it needs, and the index leads to all of them."""

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "formats"
INDEX = PAGES / "README.md"
NAMED = (
    *("Aperio", "BIF", "CZI", "DICOM", "JPEG", "KFB", "MRXS", "NDPI", "PNG", "Philips TIFF", "SCN", "Sakura", "TIFF"),
    *("Trestle", "VMS", "ZYP"),
)


def rows() -> list[list[str]]:
    """The cells of the index' table, without its head."""
    table = [line for line in INDEX.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_every_format_of_the_index_has_its_page() -> None:
    for format_name, *_ in rows():
        pages = re.findall(r"\]\(([^)]+)\)", format_name)
        assert len(pages) == 1, format_name
        assert (PAGES / pages[0]).is_file(), pages[0]


def test_every_page_stands_in_the_index() -> None:
    linked = {page for format_name, *_ in rows() for page in re.findall(r"\]\(([^)]+)\)", format_name)}
    assert {page.name for page in PAGES.glob("*.md")} == linked | {INDEX.name}


def test_every_row_says_where_pixels_come_from_and_what_it_was_tried_on() -> None:
    for row in rows():
        assert len(row) == 4
        assert all(row), row[0]


@pytest.mark.parametrize("name", NAMED)
def test_every_format_that_is_read_is_named(name: str) -> None:
    assert any(name in row[0] for row in rows())


@pytest.mark.parametrize("page", sorted(page.name for page in PAGES.glob("*.md") if page != INDEX))
def test_a_page_says_how_the_format_is_known_what_is_refused_and_what_is_identifying(page: str) -> None:
    text = (PAGES / page).read_text(encoding="utf-8").lower()
    for word in ("known", "read", "refused", "identifying", "tried"):
        assert word in text, word
