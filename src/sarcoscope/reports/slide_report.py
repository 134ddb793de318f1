"""report.html, map.png and pie.png of one diagnosed slide."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from sarcoscope.core.geometry import Size
from sarcoscope.core.tile import Tile
from sarcoscope.formats.atomic import write_bytes, write_text
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.reports.artifacts import SlideArtifacts, read_artifacts
from sarcoscope.reports.colors import parse_color
from sarcoscope.reports.drawing import png
from sarcoscope.reports.maps import WIDE_FROM, classification_map, slide_size
from sarcoscope.reports.overlay import draw_overlay, draw_scale_bar
from sarcoscope.reports.pages import data_uri, render
from sarcoscope.reports.pies import draw_rings, pie
from sarcoscope.reports.trace import trace
from sarcoscope.reports.wording import (
    DROPPED_WORDS,
    headline,
    length,
    likeness_words,
    nice_length,
    not_said,
    other_labels,
    out_of_cohort,
    refined_headline,
    set_headline,
    set_tests,
)


def flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested provenance as (dotted name, text) rows, in its order."""
    if isinstance(value, Mapping) and value:
        return [row for key, item in value.items() for row in flatten(item, f"{name}.{key}" if name else str(key))]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        if not any(isinstance(item, Mapping | list) for item in value):
            return [(name, ", ".join(str(item) for item in value))]
        return [row for index, item in enumerate(value) for row in flatten(item, f"{name}[{index}]")]
    return [(name, "\N{EN DASH}" if value in (None, "", [], {}) else str(value))]


def total_seconds(record: DiagnosisRecord) -> float | None:
    """Time spent on the slide: `provenance['timings']['total']`, or the sum of its steps, s; None where unsaid."""
    timings = record.provenance.get("timings")
    if not isinstance(timings, Mapping):
        return None
    steps = {str(name): value for name, value in timings.items() if isinstance(value, int | float)}
    return float(steps.get("total", sum(steps.values()))) if steps else None


def _layers(artifacts: SlideArtifacts) -> dict[str, str]:
    """Tissue, tiles and scale bar as images of one size, so that they lie on each other at any zoom."""
    record = artifacts.record
    source = Size(artifacts.thumbnail.shape[1], artifacts.thumbnail.shape[0])
    size = slide_size(source)
    tissue = artifacts.thumbnail_jpeg
    if size != source:
        resized = Image.fromarray(artifacts.thumbnail).resize((size.width, size.height), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        resized.save(buffer, "JPEG", quality=88)
        tissue = buffer.getvalue()
    colors = [parse_color(item.color) for item in record.classes]
    tiles = draw_overlay(Size(*record.size), size, artifacts.tiles, artifacts.probabilities, colors)
    width_um = record.size[0] * record.mpp
    bar_um = nice_length(width_um / 4)
    bar = draw_scale_bar(size, max(1, round(bar_um / width_um * size.width)))
    return {
        "tissue": data_uri(tissue, "jpeg"),
        "tiles": data_uri(png(Image.fromarray(tiles)), "png"),
        "scale_bar": data_uri(png(Image.fromarray(bar)), "png"),
        "bar_text": length(bar_um),
    }


def _tile_um(tiles: Sequence[Tile], mpp: float) -> float | None:
    return tiles[0].box.width * mpp if tiles else None


def _page(artifacts: SlideArtifacts) -> str:
    record = artifacts.record
    evidence = [
        (code, [(item.entry, data_uri(item.jpeg, "jpeg")) for item in items])
        for code, items in groupby(artifacts.evidence, key=lambda item: item.entry.code)
    ]
    return render(
        "slide.html",
        script="slide.js",
        record=record,
        names={item.code: item.name for item in record.classes},
        colors={item.code: item.color for item in record.classes},
        headline=headline(record),
        refined=refined_headline(record),
        set_headline=set_headline(record),
        set_tests=set_tests(record),
        out_of_cohort=out_of_cohort(record),
        likeness_words=likeness_words(record),
        not_said=not_said(record),
        other_labels=other_labels(record),
        trace=trace(record),
        **_layers(artifacts),
        broad=record.size[0] > WIDE_FROM * record.size[1],
        rings=data_uri(png(draw_rings(record)), "png"),
        ring_count=2 if record.refined.applied else 1,
        evidence=evidence,
        dropped_words=DROPPED_WORDS,
        size_mm=[side * record.mpp / 1000 for side in record.size],
        tile_um=_tile_um(artifacts.tiles, record.mpp),
        provenance=flatten(record.provenance),
        total_seconds=total_seconds(record),
    )


def write_slide_report(folder: Path) -> Path:
    """Write map.png, pie.png and report.html beside a slide's artefacts; returns the report's path.

    Each file is written atomically, the report last. Raises ArtifactError where an artefact is
    missing, damaged or does not fit the others.
    """
    artifacts = read_artifacts(folder)
    picture = classification_map(artifacts.thumbnail, artifacts.record, artifacts.tiles, artifacts.probabilities)
    write_bytes(folder / "map.png", picture)
    write_bytes(folder / "pie.png", pie(artifacts.record))
    report = folder / "report.html"
    write_text(report, _page(artifacts))
    return report
