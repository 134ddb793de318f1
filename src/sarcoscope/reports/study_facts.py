"""What a study's report is drawn from, read once; what is not there is left out and named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.cohort.screening import consensus, current, rejected, standing
from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.evaluation import Evaluation, Search
from sarcoscope.formats.cam import CamRecord, read_cam
from sarcoscope.formats.evaluation import read_evaluation, read_search
from sarcoscope.formats.manifest import COHORT_FILE, read_cohort
from sarcoscope.formats.member import MEMBER_FILE, MemberRecord, read_member
from sarcoscope.formats.screening import SCREENING_NAME, read_decisions
from sarcoscope.formats.split import RECORD_FILE, SPLIT_FILE, read_split, read_split_record
from sarcoscope.formats.tile_index import read_index, read_record
from sarcoscope.reports.artifacts import SlideArtifacts, read_artifacts
from sarcoscope.reports.study_artifacts import StudyArtifacts

_AGAIN: Final = "run the study again"


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCount:
    """Tiles of one class at one scale."""

    label: str
    mpp: float
    slides: int
    kept: int
    """Neither dropped nor rejected."""
    dropped: int
    rejected: int = 0
    """Not dropped, but taken out by readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """The content of the artefacts."""

    study: StudyArtifacts
    evaluation: Evaluation
    searches: tuple[Search, ...] = ()
    cam: tuple[tuple[Path, CamRecord], ...] = ()
    """Each with its folder."""
    slides: tuple[CohortSlide, ...] = ()
    """Of the cohort; empty where no run is given."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """By slide."""
    split: Mapping[str, Any] = field(default_factory=dict)
    """split.json; empty where there is none."""
    tiles: tuple[TileCount, ...] = ()
    looked_at: int = 0
    """Tiles that a reader decided about; 0 where nobody screened them."""
    cutting: Mapping[str, Any] = field(default_factory=dict)
    """What one slide's tiles were made from; empty where there are none."""
    members: tuple[MemberRecord, ...] = ()
    examples: tuple[tuple[str, SlideArtifacts], ...] = ()
    stages: Mapping[str, Any] = field(default_factory=dict)
    """stages.json as it is."""

    @property
    def synthetic(self) -> bool:
        """Whether anything here is of phantoms."""
        others = [one.synthetic for one in self.searches] + [one.synthetic for one in self.members]
        return self.evaluation.synthetic or any(others) or any(record.synthetic for _, record in self.cam)

    def color(self, code: str) -> str:
        """'#rrggbb' of a class; grey for what is none."""
        return next((one.color for one in self.evaluation.classes if one.code == code), "#5b636c")


def read_facts(study: StudyArtifacts) -> StudyFacts:
    """Read all files. ArtifactError names the one that is missing, damaged or of another schema."""
    run = study.run
    tiles, looked_at = _tile_counts(run) if run else ((), 0)
    has_cohort = run is not None and (run / COHORT_FILE).is_file()
    return StudyFacts(
        study=study,
        evaluation=read_evaluation(study.evaluation),
        searches=tuple(read_search(path) for path in study.searches),
        cam=tuple((path.parent, read_cam(path)) for path in study.cam),
        slides=tuple(read_cohort(run)) if run and has_cohort else (),
        parts=read_split(run, study.fold).parts if run and (run / SPLIT_FILE).is_file() else {},
        split=read_split_record(run) if run and (run / RECORD_FILE).is_file() else {},
        tiles=tiles,
        looked_at=looked_at,
        cutting=_cutting(run) if run else {},
        members=_members(run) if run else (),
        examples=tuple((slide, read_artifacts(folder)) for slide, folder in study.slides.items()),
        stages=_read_mapping(study.stages) if study.stages else {},
    )


def read_picture(path: Path) -> bytes:
    """A PNG's or JPEG's bytes. ArtifactError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", _AGAIN) from error


def _read_mapping(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", _AGAIN) from error
    except ValueError as error:
        raise ArtifactError(path, f"damaged ({error})", _AGAIN) from error
    if not isinstance(found, dict):
        raise ArtifactError(path, "holds no mapping", _AGAIN)
    return found


def _index_files(run: Path) -> list[Path]:
    return sorted((run / "tiles").glob("*.parquet"))


def _tile_counts(run: Path) -> tuple[tuple[TileCount, ...], int]:
    """Tiles by class and scale, and how many of all a reader decided about."""
    files = _index_files(run)
    if not files:
        return (), 0
    named = ("slide", "tile", "label", "mpp", "left_l0", "top_l0", "dropped")
    tiles = pl.concat([read_index(file).select(named) for file in files])
    places = {(slide, tile): (x, y) for slide, tile, x, y in tiles.select("slide", "tile", *named[4:6]).iter_rows()}
    decisions = current(read_decisions(run / SCREENING_NAME), places)
    out = sorted(rejected(decisions))
    keys = {"slide": [slide for slide, _ in out], "tile": [tile for _, tile in out]}
    listed = pl.DataFrame(keys, schema={"slide": pl.String, "tile": pl.String}).with_columns(out=pl.lit(True))
    kept = pl.col("dropped").is_null()
    rows = (
        tiles.join(listed, on=["slide", "tile"], how="left")
        .with_columns(pl.col("out").fill_null(False))
        .filter(pl.col("label").is_not_null() & pl.col("mpp").is_not_null())
        .with_columns(mpp=pl.col("mpp").round(6))
        .group_by("label", "mpp")
        .agg(
            slides=pl.col("slide").n_unique(),
            kept=(kept & ~pl.col("out")).sum(),
            dropped=(~kept).sum(),
            rejected=(kept & pl.col("out")).sum(),
        )
        .sort("label", "mpp")
        .iter_rows(named=True)
    )
    return tuple(TileCount(**row) for row in rows), len(consensus(standing(decisions)))


def _cutting(run: Path) -> Mapping[str, Any]:
    files = _index_files(run)
    return read_record(files[0]) if files else {}


def _members(run: Path) -> tuple[MemberRecord, ...]:
    return tuple(read_member(path.parent) for path in sorted((run / "members").glob(f"*/{MEMBER_FILE}")))
