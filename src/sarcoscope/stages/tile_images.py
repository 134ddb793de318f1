"""Tiles of an indexed slide as picture files, for people and other tools (paper, section 1.2.1: 512 px PNG)."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.geometry import Mpp
from sarcoscope.data.tile_pixels import Look, open_tiles
from sarcoscope.formats.atomic import as_json, remove, write_bytes, write_json
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.tile_index import place_id, read_index, read_record
from sarcoscope.slides.tile_encoder import SUFFIX, TileKind, encode_tile
from sarcoscope.stages.jobs import safe_id
from sarcoscope.stages.pool import Report
from sarcoscope.stages.tile_one import index_path
from sarcoscope.tiling.reading import ahead

FOLDER: Final = "images"
UNLABELLED: Final = "unlabelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesJob:
    """One slide whose kept tiles are written as pictures."""

    slide: CohortSlide
    run: Path
    kind: TileKind
    rejected: frozenset[str] = frozenset()
    """Tiles of it that readers rejected."""
    look: Look | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A slide's pictures, counted."""

    slide: str
    written: int
    skipped: bool
    """Whether an earlier run wrote them from the same index, decisions and target."""


def write_images(job: ImagesJob, report: Report) -> Pictures:
    """Write a picture for each kept tile that no reader rejected; those of an earlier run that go no more are removed.

    What is meant to be there is noted before the first picture is written and after the last, so that a run that is
    killed leaves none behind that the next one would not know. Raises SlideError, ArtifactError.
    """
    index = index_path(job.run, job.slide.slide)
    tiles = read_index(index).filter(pl.col("dropped").is_null() & ~pl.col("tile").is_in(sorted(job.rejected)))
    scales = read_record(index)["inputs"]["cut"]["mpp"]
    folders = {mpp: f"{mpp:g}um/" for mpp in scales} if len(scales) > 1 else {}
    files = [folders.get(row["mpp"], "") + picture_name(row, job.kind) for row in tiles.iter_rows(named=True)]
    inputs = _inputs(index, job)
    note = job.run / FOLDER / f".{safe_id(job.slide.slide)}.json"
    earlier = _noted(note)
    if earlier.get("complete") and earlier["inputs"] == inputs and _all_there(job.run, files):
        return Pictures(slide=job.slide.slide, written=len(files), skipped=True)
    write_json(note, {"inputs": inputs, "complete": False, "files": sorted({*files, *earlier.get("files", [])})})
    for stale in set(earlier.get("files", [])) - set(files):
        remove(job.run / FOLDER / stale)
    report(len(files), 0)
    _write(job, tiles, files, report)
    write_json(note, {"inputs": inputs, "complete": True, "files": files})
    return Pictures(slide=job.slide.slide, written=len(files), skipped=False)


def remove_images(run: Path, slide: str) -> None:
    """Take away the pictures of a slide that is no longer of the cohort. Raises ArtifactError."""
    note = run / FOLDER / f".{safe_id(slide)}.json"
    for file in _noted(note).get("files", []):
        remove(run / FOLDER / file)
    remove(note)


def slides_with_images(run: Path) -> list[str]:
    """File names of the slides that pictures were written of."""
    return [note.name[1 : -len(".json")] for note in (run / FOLDER).glob(".*.json") if ".part" not in note.name]


def check_names(slides: Iterable[CohortSlide]) -> None:
    """Raise InputError where the pictures of two slides would have one name: `s_1` and `s__1`."""
    seen: dict[str, str] = {}
    for one in slides:
        other = seen.setdefault(_word(one.slide).lower(), one.slide)
        if other != one.slide:
            raise InputError(f"pictures of {other} and of {one.slide} would have one name", "rename one of the slides")


def picture_name(row: Mapping[str, Any], kind: TileKind) -> str:
    """'WDLPS/WDLPS__slide-7__r3_c14__x7168_y1536__0.5um.png' of a row of the tile index.

    Class, slide, row and column in the grid of its scale, left and top in level-0 px, um/px.
    """
    code = _word(row["label"] or UNLABELLED)
    place = f"{place_id(row['row'], row['column'])}__x{row['left_l0']}_y{row['top_l0']}"
    return f"{code}/{code}__{_word(row['slide'])}__{place}__{row['mpp']:g}um{SUFFIX[kind]}"


def _word(text: str) -> str:
    """A name in which '__' ends nothing."""
    return re.sub("_{2,}", "_", safe_id(text)).strip("_") or "_"


def _write(job: ImagesJob, tiles: pl.DataFrame, files: Iterable[str], report: Report) -> None:
    with open_tiles(index_path(job.run, job.slide.slide), job.look) as read:

        def encoded(row: dict[str, Any]) -> bytes:
            return encode_tile(read(row), job.kind, Mpp(row["read_mpp"]))

        for file, content in zip(files, ahead(encoded, tiles.iter_rows(named=True), job.threads), strict=True):
            write_bytes(job.run / FOLDER / file, content)
            report(0, 1)


def _inputs(index: Path, job: ImagesJob) -> dict[str, Any]:
    inputs = {
        "index_sha256": sha256_file(index),
        "kind": job.kind,
        "rejected": sorted(job.rejected),
        "look": asdict(job.look) if job.look else None,
    }
    return dict(as_json(inputs))


def _noted(note: Path) -> dict[str, Any]:
    """What an earlier run noted; nothing where there is no note, or none that can be read."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        advice = f"remove the folder {note.parent} and run again"
        raise ArtifactError(note, f"cannot be read ({error})", advice) from error
    return found if isinstance(found, dict) else {}


def _all_there(run: Path, files: Iterable[str]) -> bool:
    return all((run / FOLDER / file).is_file() for file in files)
