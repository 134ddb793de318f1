"""index.html over the slides of one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import numpy as np
from PIL import Image

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Size
from sarcoscope.core.truth import Truth
from sarcoscope.formats.atomic import write_text
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.reports.artifacts import SlideArtifacts, read_artifacts
from sarcoscope.reports.colors import parse_color
from sarcoscope.reports.maps import faded
from sarcoscope.reports.overlay import blend, draw_overlay
from sarcoscope.reports.pages import data_uri, render
from sarcoscope.reports.scores import Scored, confusions, coverage, scorable, score_slide, summarise
from sarcoscope.reports.slide_report import total_seconds

_SMALL_PX = 264
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One diagnosed slide in the table."""

    slide: str
    record: DiagnosisRecord
    link: str
    """To its report, relative to index.html, quoted."""
    picture: str
    """Small map as a data URI."""
    seconds: float | None
    scored: Scored | None
    """None where the truth is not known."""

    @property
    def colors(self) -> dict[str, str]:
        """'#rrggbb' per class code."""
        return {item.code: item.color for item in self.record.classes}


def small_map(artifacts: SlideArtifacts) -> bytes:
    """The slide with its tiles as a JPEG whose longest side is 264 px."""
    height, width = artifacts.thumbnail.shape[:2]
    factor = _SMALL_PX / max(width, height)
    size = Size(max(1, round(width * factor)), max(1, round(height * factor)))
    overview = Image.fromarray(artifacts.thumbnail).resize((size.width, size.height), Image.Resampling.LANCZOS)
    colors = [parse_color(item.color) for item in artifacts.record.classes]
    kept = [tile for tile in artifacts.tiles if tile.kept]
    overlay = draw_overlay(Size(*artifacts.record.size), size, kept, artifacts.probabilities, colors)
    buffer = BytesIO()
    Image.fromarray(blend(faded(np.asarray(overview)), overlay)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _row(out: Path, slide: str, truth: Truth | None) -> IndexRow:
    artifacts = read_artifacts(out / slide)
    return IndexRow(
        slide=slide,
        record=artifacts.record,
        link=f"{quote(slide, safe='')}/report.html",
        picture=data_uri(small_map(artifacts), "jpeg"),
        seconds=total_seconds(artifacts.record),
        scored=score_slide(artifacts.record, truth) if truth and truth.label not in artifacts.record.unscored else None,
    )


def write_index(
    out: Path,
    slides: Sequence[str],
    *,
    title: str,
    truths: Mapping[str, Truth] | None = None,
    failures: Mapping[str, str] = _NONE,
) -> Path:
    """Write OUT/index.html over diagnosed slides and return its path.

    Args:
        out: holds one folder of artefacts a slide, OUT/SLIDE_ID, each with its report.html.
        slides: ids of the diagnosed slides, in the order of the table.
        title: of the page.
        truths: by slide id, where they are known; accuracies count the diagnosed slides among them
            whose class the bundle scores at slide level.
        failures: one line by id of each slide that could not be diagnosed.

    Raises ArtifactError where a slide's artefact is missing or damaged.
    """
    known = truths or {}
    rows = [_row(out, slide, known.get(slide)) for slide in slides]
    scored = [row.scored for row in rows if row.scored]
    records = {row.slide: row.record for row in rows}
    counted = scorable(records, known)
    plain, refined = confusions(records, counted)
    path = out / "index.html"
    page = render(
        "index.html",
        title=title,
        rows=rows,
        failures=failures,
        notices=list(dict.fromkeys(row.record.notice for row in rows)) or ["Research use only, not a medical device."],
        undetermined=sum(row.record.label is None for row in rows),
        has_truths=bool(scored),
        plain_score=summarise([item.plain for item in scored]),
        refined_score=summarise([item.refined for item in scored]),
        failed_known=sum(slide in known for slide in failures),
        unscored_known=sum(slide in known for slide in records) - len(counted),
        coverages=coverage(records, counted),
        sure=any(record.set or record.likeness for record in records.values()),
        far=sum(bool(record.likeness and record.likeness.far) for record in records.values()),
        matrices=[("Plain vote", plain), ("Refined rule", refined)],
        total=sum(row.seconds for row in rows if row.seconds is not None),
    )
    write_text(path, page)
    return path


def finished_slides(out: Path) -> list[str]:
    """Ids of the slides whose folders in OUT are whole, sorted."""
    found = []
    for report in sorted(out.glob("*/report.html")):
        try:
            read_artifacts(report.parent)
        except ArtifactError:  # half finished or of another version: not ours to list
            continue
        found.append(report.parent.name)
    return found
