"""Which slides are painted by this software: what is learnt or measured on them is of no meaning to anybody."""

from pathlib import Path

from sarcoscope.formats.manifest import read_cohort
from sarcoscope.phantom.cohort import NOTE
from sarcoscope.slides.port import SlideSource


def is_phantom(run: Path) -> bool:
    """Whether any of the run's slides is painted by this software, so that what is trained on it is of no meaning."""
    return any(NOTE in slide.notes or slide.slide.startswith("phantom-") for slide in read_cohort(run))


def is_painted(source: SlideSource) -> bool:
    """Whether a slide is painted by this software, as its file says."""
    return any(NOTE in value for value in source.info.properties.values()) or source.path.name.startswith("phantom-")
