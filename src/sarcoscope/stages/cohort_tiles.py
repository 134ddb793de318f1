"""A cohort of ready-made tiles, one folder per class: measured like tiles of slides, and indexed the same way."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.cohort.tile_names import Ids, TileName, check_folders, label_of, slide_of_its_own, tile_names
from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import ArtifactError, InputError, SlideError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.atomic import remove, writing
from sarcoscope.formats.manifest import COHORT_FILE, read_cohort, write_cohort
from sarcoscope.formats.split import RECORD_FILE, SPLIT_FILE
from sarcoscope.formats.tile_ids import read_tile_ids
from sarcoscope.formats.tile_index import COLUMNS, place_id, read_record, write_index
from sarcoscope.slides.tile_files import TILE_SUFFIXES, read_tile_file
from sarcoscope.stages.folders import Walk
from sarcoscope.stages.jobs import safe_id
from sarcoscope.tiling.nuclei import COARSEST_UM, FINEST_UM, nuclear_density
from sarcoscope.tiling.phash import phash
from sarcoscope.tiling.quality import measure
from sarcoscope.tiling.reading import ahead, judged_view

READY_MADE: Final = "ready-made tiles"
"""`kind` in the record of such an index; `folder` is where the column `file` counts from."""
SMALLEST_PX: Final = 16
_LITTER: Final = frozenset({"thumbs.db", "desktop.ini"})
_SHARD: Final = "ready-made"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesConfig:
    """What is asked for."""

    folder: Path
    """One folder per class below it."""
    out: Path
    mpp: Mpp | None = None
    """um/px of all tiles; None where their names say it."""
    slide_regex: str = ""
    patient_regex: str = ""
    ids: Path | None = None
    batch: str | None = None
    nuclei: bool = True
    """Whether to measure nuclear density, where tiles are fine enough for it."""
    workers: int = 2
    force: bool = False
    """Whether another cohort in `out` may be replaced."""
    most_files: int = 2_000
    """More slides than this are not written as a file each."""
    rows_a_file: int = 50_000
    """Of the files that they are written as instead."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"{self.workers} threads", "give at least 1")
        if self.mpp is not None and not 0.05 <= self.mpp <= 32:
            raise InputError(f"tiles at {self.mpp} um/px", "give a scale between 0.05 and 32 um/px")


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesSummary:
    """What became of a folder of tiles."""

    tiles: int
    slides: int
    patients: int
    mpp: Mpp
    per_class: dict[str, int]
    sizes: dict[str, int]
    """Tiles by size, '224x224', most frequent first."""
    without_slide: int
    """Tiles that are slides of their own, because nothing says whose they are."""
    mixed_slides: int
    """Slides with tiles of several classes."""
    failed: dict[str, str]
    """By file why it could not be read."""
    strays: tuple[str, ...]
    """Files that are no tiles, or lie in no class's folder."""
    empty: tuple[str, ...]
    """Classes whose folder holds no tile."""

    @property
    def exit_code(self) -> int:
        """0 where every tile was read, 1 where some were not."""
        return int(bool(self.failed))


@dataclass(slots=True)
class Found:
    """What a folder holds."""

    tiles: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)


def cohort_from_tiles(config: TilesConfig, progress: Progress = lambda _done, _total: None) -> TilesSummary:
    """Write OUT/cohort.csv and OUT/tiles/*.parquet. A tile that cannot be read is named, and the others go on.

    Raises InputError for a folder without tiles or without classes, ArtifactError where OUT holds something else.
    """
    found = find_tiles(config.folder, config.out)
    _check_found(config.folder, found)
    table = None if config.ids is None else read_tile_ids(config.ids)
    ids = Ids(table=table, slide_regex=config.slide_regex, patient_regex=config.patient_regex, batch=config.batch)
    names = tile_names(found.tiles, ids)
    mpp = _scale(config.mpp, names)
    ids_of = _slide_ids(names)
    split_stays = _check_out(config, _slides(names, ids_of, config.folder.resolve()))
    index, failed = _index(config, names, ids_of, mpp, progress)
    if index.is_empty():
        file, problem = next(iter(failed.items()))
        raise InputError(f"not one of {len(failed)} tiles can be read, e.g. {file}: {problem}", "give other tiles")
    slides = _slides([one for one in names if one.file not in failed], ids_of, config.folder.resolve())
    _write(config, index, slides, mpp, split_stays=split_stays)
    labels = dict(index["label"].value_counts(sort=True).iter_rows())
    sizes = index.select(size=pl.format("{}x{}", "width_l0", "height_l0"))["size"].value_counts(sort=True)
    return TilesSummary(
        tiles=len(index),
        slides=len(slides),
        patients=len({one.patient for one in slides if one.patient}),
        mpp=mpp,
        per_class=dict(sorted(labels.items())),
        sizes=dict(sizes.iter_rows()),
        without_slide=sum(one.slide is None and one.file not in failed for one in names),
        mixed_slides=sum(one.label is None for one in slides),
        failed=failed,
        strays=tuple(found.strays),
        empty=tuple(sorted(found.labels - set(map(label_of, found.tiles)))),
    )


def find_tiles(folder: Path, without: Path | None = None) -> Found:
    """The tiles below the class folders, sorted, as paths below `folder` with '/'; hidden files are passed over."""
    found = Found()
    walk = Walk(folder, without)
    for parent, folders, files in walk:
        below = parent.relative_to(folder)
        if below == Path():
            found.labels = set(folders)
        for file in files:
            path = (below / file).as_posix()
            if file.lower() in _LITTER:
                continue
            is_tile = Path(file).suffix.lower() in TILE_SUFFIXES and below != Path() and shown(path) == path
            (found.tiles if is_tile else found.strays).append(shown(path))
    found.tiles.sort()
    found.strays = sorted(found.strays) + [f"{one} (may not be listed)" for one in walk.denied]
    return found


def _check_found(folder: Path, found: Found) -> None:
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where it may not look
        raise InputError(f"{shown(folder)} is no folder", "give the folder that holds a folder per class")
    if not found.tiles:
        known = ", ".join(sorted(TILE_SUFFIXES))
        raise InputError(f"{shown(folder)} holds no tiles in folders of classes", f"want FOLDER/CLASS/*, {known}")
    check_folders(label_of(file) for file in found.tiles)


def _scale(given: Mpp | None, names: Sequence[TileName]) -> Mpp:
    """um/px of all tiles. InputError where nothing says it, or what says it disagrees."""
    said = {one.mpp for one in names if one.mpp is not None}
    if len(said) > 1:
        raise InputError(f"the tiles' names say {_some(f'{one:g}' for one in said)} um/px", "give one scale at a time")
    own = min(said, default=None)
    if own is not None and given is not None and abs(own - given) > 0.01 * given:
        raise InputError(f"--mpp says {given:g} um/px, the tiles' names {own:g}", "drop --mpp, or give other tiles")
    if given is None and own is None:
        raise InputError("no scale: nothing in the tiles says it", "give --mpp, e.g. --mpp 0.5")
    return Mpp(own) if given is None and own is not None else Mpp(given or 0)


def _check_out(config: TilesConfig, slides: Sequence[CohortSlide]) -> bool:
    """Whether a split in OUT is of these slides and stays.

    ArtifactError where OUT holds another cohort, or the split of other slides, patients, labels or batches, perhaps
    edited by hand, and nobody said that they may go.
    """
    files = sorted((config.out / "tiles").glob("*.parquet"))
    folders = {read_record(file).get("folder") for file in files[:1]}
    if not files and not (config.out / COHORT_FILE).exists():
        return False
    if not config.force and folders != {str(config.folder.resolve())}:
        advice = "choose another --out, or replace it with --force"
        raise ArtifactError(config.out, "holds a cohort that was not made from this folder", advice)
    same = _known_of(slides) == _known_there(config.out, force=config.force)
    if not same and not config.force and (config.out / SPLIT_FILE).exists():
        problem = "is of other slides, patients, labels or batches than these tiles"
        raise ArtifactError(
            config.out / SPLIT_FILE, problem, "move it away, or remove it with --force, and split again"
        )
    return same


def _known_of(slides: Iterable[CohortSlide]) -> set[tuple[str | None, ...]]:
    """What a split goes by."""
    return {(one.slide, one.patient, one.label, one.batch) for one in slides}


def _known_there(out: Path, *, force: bool) -> set[tuple[str | None, ...]]:
    """The same of the cohort in OUT; a damaged one is no cohort where it may be replaced. Raises ArtifactError."""
    try:
        return _known_of(read_cohort(out))
    except ArtifactError:
        if not force and (out / SPLIT_FILE).exists():
            raise
        return set()


def _measured(one: TileName, *, folder: Path, mpp: Mpp, nuclei: bool) -> dict[str, Any] | SlideError:
    """A row of the index, but for its slide; or why there is none."""
    path = folder / one.file
    try:
        rgb = read_tile_file(path)
        if min(rgb.shape[:2]) < SMALLEST_PX:
            problem = f"{rgb.shape[1]}x{rgb.shape[0]} px, want at least {SMALLEST_PX} a side"
            raise SlideError(path, problem)  # noqa: TRY301
    except SlideError as error:
        return error
    view, view_mpp = judged_view(rgb, mpp)
    quality = measure(view)
    seen = FINEST_UM <= view_mpp <= COARSEST_UM
    placed = one.row is not None and one.column is not None
    place = place_id(one.row or 0, one.column or 0) if placed else one.file
    return {
        "tile": one.file,
        "place": place,
        "label": one.label,
        "mpp": mpp,
        "read_mpp": mpp,
        "row": one.row,
        "column": one.column,
        "left_l0": one.left_l0,
        "top_l0": one.top_l0,
        "width_l0": rgb.shape[1],
        "height_l0": rgb.shape[0],
        "block": place,
        "file": one.file,
        "tissue": quality.stained,
        "unfocused": quality.unfocused,
        "sharpness": quality.sharpness,
        "nuclei": nuclear_density(view, view_mpp) if nuclei and seen else None,
        "phash": phash(view),
    }


def _slide_ids(names: Sequence[TileName]) -> dict[str, str]:
    """By file what its slide is called: fit for a file's name, and never the same for two slides.

    Raises InputError where two given ids would become one name.
    """
    known: dict[str, str] = {}
    for one in names:
        if one.slide is not None and known.setdefault(safe_id(one.slide).lower(), one.slide) != one.slide:
            both = f"{known[safe_id(one.slide).lower()]!r} and {one.slide!r}"
            raise InputError(f"slides {both} would be one file", "give them ids that differ in letters or digits")
    ids = {}
    for one in names:
        name = safe_id(one.slide or slide_of_its_own(one.file))
        if one.slide is None:
            if known.setdefault(name.lower(), one.file) != one.file:
                name = safe_id(slide_of_its_own(one.file, 0))
            known[name.lower()] = one.file
        ids[one.file] = name
    return ids


def _index(
    config: TilesConfig, names: Sequence[TileName], ids: Mapping[str, str], mpp: Mpp, progress: Progress
) -> tuple[pl.DataFrame, dict[str, str]]:
    """A row a tile that can be read; by file why the others cannot."""
    work = partial(_measured, folder=config.folder, mpp=mpp, nuclei=config.nuclei)
    frames, rows, failed = [pl.DataFrame(schema=dict(COLUMNS))], [], {}
    for number, (one, row) in enumerate(zip(names, ahead(work, names, config.workers), strict=True), start=1):
        if isinstance(row, SlideError):
            failed[one.file] = row.problem.removeprefix(f"{shown(config.folder / one.file)}: ")
        else:
            rows.append(row | {"slide": ids[one.file]})
        if len(rows) == config.rows_a_file:
            frames.append(pl.DataFrame(rows, schema=dict(COLUMNS)))
            rows = []
        progress(number, len(names))
    return pl.concat([*frames, pl.DataFrame(rows, schema=dict(COLUMNS))]), failed


def _slides(names: Iterable[TileName], ids: Mapping[str, str], folder: Path) -> list[CohortSlide]:
    """The slides that the tiles are of, sorted; one whose tiles have several labels has none of its own.

    Raises InputError where tiles of one slide are of two patients or batches.
    """
    tiles: dict[str, list[TileName]] = defaultdict(list)
    for one in names:
        tiles[ids[one.file]].append(one)
    slides = []
    for slide, alike in sorted(tiles.items()):
        patients, batches, labels = ({getattr(one, name) for one in alike} for name in ("patient", "batch", "label"))
        for what, values in (("patients", patients), ("batches", batches)):
            if len(values) > 1:
                words = _some(str(value or "none") for value in values)
                raise InputError(f"tiles of slide {slide!r} are of {what} {words}", "mend the ids")
        (patient,), (batch,) = patients, batches
        label = min(labels) if len(labels) == 1 else None
        slides.append(CohortSlide(slide=slide, path=folder, label=label, patient=patient, batch=batch))
    return slides


def _write(
    config: TilesConfig, index: pl.DataFrame, slides: Sequence[CohortSlide], mpp: Mpp, *, split_stays: bool
) -> None:
    """The index, a file a slide where slides are few and known, and the cohort last; what was there goes first."""
    folder = config.out / "tiles"
    with writing(folder):
        for stale in [*folder.glob("*.parquet"), config.out / COHORT_FILE]:
            remove(stale)
        for name in () if split_stays else (SPLIT_FILE, RECORD_FILE):
            remove(config.out / name)
    record = {"kind": READY_MADE, "folder": str(config.folder.resolve()), "mpp": mpp, "nuclei": config.nuclei}
    if len(slides) <= min(config.most_files, len(index) - 1):
        for (slide,), tiles in index.group_by("slide", maintain_order=True):
            write_index(folder / f"{slide}.parquet", tiles, record)
    else:
        for number, start in enumerate(range(0, len(index), config.rows_a_file), start=1):
            write_index(folder / f"{_SHARD}-{number}.parquet", index[start : start + config.rows_a_file], record)
    write_cohort(config.out, slides)


def _some(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)[:5])
