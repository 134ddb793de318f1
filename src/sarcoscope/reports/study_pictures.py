"""Pictures of slides and tiles in a study's report: made small enough to be sent."""

from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.evaluation import Decision
from sarcoscope.diagnosis.voting import NO_RULE
from sarcoscope.formats.cam import CamRecord
from sarcoscope.reports.artifacts import SlideArtifacts
from sarcoscope.reports.maps import draw_map
from sarcoscope.reports.pies import draw_pie
from sarcoscope.reports.study_blocks import Figure
from sarcoscope.reports.study_choice import own_models
from sarcoscope.reports.study_facts import StudyFacts, read_picture
from sarcoscope.reports.study_words import listed
from sarcoscope.reports.wording import count_and_share, headline

_WIDEST: Final = 1300
_TALLEST: Final = 1800
_QUALITY: Final = 84
MOST_PREVIEWS: Final = 12
MOST_SHEETS: Final = 30
"""Sheets in the report; all lie beside cam.json."""
_KINDS: Final = {
    "right": "told right, the most confident",
    "wrong": "told wrong, the most confident",
    "uncertain": "the least certain",
    "told": "told so, the most confident",
}


def as_jpeg(image: Image.Image) -> bytes:
    """JPEG, at most 1300 px wide and 1800 px high."""
    small = image.convert("RGB")
    small.thumbnail((_WIDEST, _TALLEST), Image.Resampling.LANCZOS)
    content = BytesIO()
    small.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()


def read_as_jpeg(path: Path) -> bytes:
    """A picture on disk as `as_jpeg` makes it. ArtifactError where it cannot be read."""
    try:
        with Image.open(BytesIO(read_picture(path))) as image:
            return as_jpeg(image)
    except (OSError, Image.DecompressionBombError) as error:
        raise ArtifactError(path, "not a picture that decodes", "run the study again") from error


def map_figures(facts: StudyFacts) -> tuple[Figure, ...]:
    """Figure 6: classification maps of the example slides."""
    return tuple(
        Figure(
            name=f"figure6_{place}.jpg",
            content=_map(one),
            alt=f"Classification map of slide {slide}: {headline(one.record)}",
            caption=f"{slide}. {_verdict(facts, slide, one)}",
        )
        for place, (slide, one) in enumerate(facts.examples, start=1)
    )  # fmt: skip


def _map(one: SlideArtifacts) -> bytes:
    drawn, _ = draw_map(one.thumbnail, one.record, one.tiles, one.probabilities)
    return as_jpeg(Image.fromarray(drawn))


def pie_figures(facts: StudyFacts) -> tuple[Figure, ...]:
    """Figure 7: what the tiles of the example slides are told to be."""
    return tuple(
        Figure(
            name=f"figure7_{place}.jpg",
            content=as_jpeg(draw_pie(one.record)),
            alt=f"Rings of tile labels of slide {slide}: "
            + ", ".join(f"{item.code} {count_and_share(one.record.votes, item.code)}" for item in one.record.classes),
            caption=f"{slide}. {_verdict(facts, slide, one)}",
            share=0.62,
        )
        for place, (slide, one) in enumerate(facts.examples, start=1)
    )


def _verdict(facts: StudyFacts, slide: str, one: SlideArtifacts) -> str:
    """Truth beside what was said; whether that is right, where the same model was evaluated."""
    said = headline(one.record)
    mine = [found for found in facts.evaluation.decisions if found.slide == slide]
    if not mine:
        return f"{said}."
    bundle = one.record.provenance.get("bundle")
    name = bundle.get("name") if isinstance(bundle, dict) else None
    known: Decision | None = next((found for found in mine if found.model == name), None)
    truth = f"{mine[0].truth} with {listed(mine[0].components)}" if mine[0].components else mine[0].truth
    ruled = one.record.refined.reason != NO_RULE and (known is None or "refined" in known.labels)
    final = one.record.refined.label if ruled else one.record.label
    right = None if known is None else known.right.get("refined", known.right.get("vote"))
    outcome = "" if final is None or right is None else " (right)" if right else " (wrong)"
    if not ruled:
        return f"Truth: {truth}. {said}{outcome}."
    return f"Truth: {truth}. {said}. After the refined rule: {final or 'undetermined'}{outcome}."


def cam_figures(facts: StudyFacts) -> tuple[Figure, ...]:
    """Figure 8: sheets of class activation maps."""
    sheets = [(folder, record, sheet) for folder, record in facts.cam for sheet in record.sheets][:MOST_SHEETS]
    return tuple(
        Figure(
            name=f"figure8_{place}.jpg",
            content=read_as_jpeg(folder / sheet.file),
            alt=f"Class activation maps of {len(sheet.tiles)} tiles of {sheet.code}, {_KINDS[sheet.kind]}",
            caption=f"{sheet.code}, {_KINDS[sheet.kind]}. {_whose(record)}",
        )
        for place, (folder, record, sheet) in enumerate(sheets, start=1)
    )


def _whose(record: CamRecord) -> str:
    where = f", {record.part} tiles" if record.part else ""
    return f"{record.bundle} ({', '.join(record.members)}){where}."


def curve_figures(facts: StudyFacts) -> tuple[Figure, ...]:
    """Training curves of each member."""
    return tuple(
        Figure(
            name=f"curves_{place}.png",
            content=read_picture(path),
            alt=f"Training curves of {name}: loss, validation and learning rate by epoch",
            caption=name,
        )
        for place, (name, path) in enumerate(facts.study.curves.items(), start=1)
    )


def chosen_previews(facts: StudyFacts) -> tuple[Path, ...]:
    """Of all previews those at the scale that the first model reads: a sheet a class, then a slide a class."""
    model = own_models(facts.evaluation)[0]
    at_scale = [path for path in facts.study.tiles_preview if path.stem.endswith(f"_{model.read_mpp[0]:g}um")]
    paths = at_scale or list(facts.study.tiles_preview)
    sheets = [path for path in paths if path.stem.startswith("class-")]
    slides: dict[str, Path] = {}
    labels = {one.slide: one.label or "" for one in facts.slides}
    for path in paths:
        if path not in sheets:
            slides.setdefault(labels.get(path.stem.rpartition("_")[0], path.stem), path)
    return (*sheets, *slides.values())[:MOST_PREVIEWS]


def preview_figures(facts: StudyFacts) -> tuple[Figure, ...]:
    """Figure 2: what was cut from example slides."""
    return tuple(
        Figure(name=f"figure2_{place}.jpg", content=read_as_jpeg(path), alt=f"Tiles cut from a slide ({path.stem})",
               caption=path.stem)
        for place, path in enumerate(chosen_previews(facts), start=1)
    )  # fmt: skip
