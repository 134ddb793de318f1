"""Colours of classes on the page."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sarcoscope.core.errors import SarcoscopeError
from sarcoscope.formats.bundle import read_bundle, shipped_bundles
from sarcoscope.formats.diagnoses import read_diagnosis
from sarcoscope.reports.colors import spare_colors


def class_colors(codes: Iterable[str], predictions: Path | None = None) -> dict[str, str]:
    """A colour '#rrggbb' for each class: the predictions' own, else the shipped bundle's, else one of the palette."""
    known = {**_bundle_colors(), **(_prediction_colors(predictions) if predictions else {})}
    unknown = sorted({code for code in codes if code not in known})
    spare = dict(zip(unknown, spare_colors(len(unknown), set(known.values())), strict=True))
    return {code: known.get(code) or spare[code] for code in sorted(codes)}


def _bundle_colors() -> Mapping[str, str]:
    return {one.code: one.color for one in read_bundle(shipped_bundles()["phantom"]).manifest.classes}


def _prediction_colors(folder: Path) -> Mapping[str, str]:
    for file in sorted(folder.glob("*/diagnosis.json")):
        try:
            return {one.code: one.color for one in read_diagnosis(file).classes}
        except SarcoscopeError:
            continue
    return {}
