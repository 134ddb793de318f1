"""Colours of classes on the page."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SarcoscopeError
from sarcoscope.formats.bundle import read_bundle, shipped_bundles
from sarcoscope.formats.diagnoses import read_diagnosis

_OTHERS: Final = ("#56b4e9", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#7f6a00", "#5b636c")
"""Okabe and Ito 2008, told apart by colour-blind readers; dealt out in turn where nothing says a class's colour."""


def class_colors(codes: Iterable[str], predictions: Path | None = None) -> dict[str, str]:
    """A colour '#rrggbb' for each class: the predictions' own, else the shipped bundle's, else one of a fixed row."""
    known = {**_bundle_colors(), **(_prediction_colors(predictions) if predictions else {})}
    left = [color for color in _OTHERS if color not in known.values()] or list(_OTHERS)
    unknown = sorted({code for code in codes if code not in known})
    spare = _OTHERS if len(unknown) > len(left) else left
    return {code: known[code] if code in known else spare[unknown.index(code) % len(spare)] for code in sorted(codes)}


def _bundle_colors() -> Mapping[str, str]:
    return {one.code: one.color for one in read_bundle(shipped_bundles()["phantom"]).manifest.classes}


def _prediction_colors(folder: Path) -> Mapping[str, str]:
    for file in sorted(folder.glob("*/diagnosis.json")):
        try:
            return {one.code: one.color for one in read_diagnosis(file).classes}
        except SarcoscopeError:
            continue
    return {}
