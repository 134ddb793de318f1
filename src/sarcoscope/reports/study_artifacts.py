"""What the report of a study is made from: files that its stages left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyArtifacts:
    """Files of one study. Only `evaluation` must be there; the report says of all others what is missing."""

    out: Path
    """The study's folder; the report goes to OUT/report."""
    title: str
    evaluation: Path
    """evaluation.json."""
    searches: tuple[Path, ...] = ()
    """ensembles/NAME.json of the run."""
    cam: tuple[Path, ...] = ()
    """cam.json of each model; its sheets lie beside it."""
    curves: Mapping[str, Path] = field(default_factory=dict)
    """Member to the PNG of its training curves."""
    slides: Mapping[str, Path] = field(default_factory=dict)
    """Example slide to the folder of its diagnosis, for figures 6 and 7."""
    tiles_preview: tuple[Path, ...] = ()
    """PNGs of what was cut from example slides (figure 2)."""
    stages: Path | None = None
    """stages.json: what each stage ran on, how long it took, with which versions."""
    published: bool = False
    """Whether the paper's printed slide counts are shown beside the sweep (the classes are the paper's)."""
    run: Path | None = None
    """The run's folder: cohort.csv, split.csv, tiles/ and members/ fill the cohort's table and the networks' one."""
    fold: str = ""
    """Of the split, where it has several."""
