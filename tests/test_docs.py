"""What is public is documented."""

import re
from pathlib import Path

import numpy as np
import polars as pl

from sarcoscope.core.tile import DropReason
from sarcoscope.formats.diagnoses import DiagnosisRecord, RefinedRecord, TileCounts
from sarcoscope.formats.tile_index import COLUMNS
from sarcoscope.formats.tiles import write_tiles

REPO = Path(__file__).parents[1]


def named(path: str) -> set[str]:
    """Every word set as code on a page."""
    return set(re.findall(r"`([^`\n]+)`", (REPO / path).read_text(encoding="utf-8")))


def test_every_key_and_column_of_our_files_is_documented(tmp_path: Path) -> None:
    write_tiles(tmp_path / "t.parquet", "s", [], np.empty((0, 1)), ("CODE",))
    columns = set(pl.read_parquet(tmp_path / "t.parquet").columns)
    keys = set(DiagnosisRecord.model_fields) | set(RefinedRecord.model_fields) | set(TileCounts.model_fields)
    assert columns | keys | set(COLUMNS) | {str(reason) for reason in DropReason} <= named("docs/files.md")


def test_links_between_our_pages_lead_somewhere() -> None:
    for page in [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), (page.name, target)


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")])
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets
