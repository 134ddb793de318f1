"""What a file of decisions comes to."""

from pathlib import Path

from sarcoscope.cohort.screening import Rule, rejected
from sarcoscope.core.screening import TileKey
from sarcoscope.formats.screening import read_decisions


def rejected_tiles(path: Path, rule: Rule = Rule.ANY) -> frozenset[TileKey]:
    """(slide, tile) of every tile that its readers took out, wherever it lies now."""
    return rejected(read_decisions(path), rule)
