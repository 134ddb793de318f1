"""The check on a finished split: nothing that belongs together stands in two of its parts."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from sarcoscope.cohort.hashes import NO_STRUCTURE, Places
from sarcoscope.cohort.leakage import ALIKE, DISTANCE, Leak, LeakKind, clash, likeness, near_pairs, shared
from sarcoscope.cohort.splits import Split, group_key
from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import SlideError
from sarcoscope.formats.atomic import write_text
from sarcoscope.formats.hashing import sha256_file, sha256_files
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.split import RECORD_FILE, SPLIT_FILE, add_to_record, read_repetitions, read_split
from sarcoscope.formats.tile_index import read_cohort_tiles
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.cohort_check import sample_of
from sarcoscope.stages.tile_pixels import small_grays
from sarcoscope.stages.tile_sets import with_parts, with_rejected

LEAKAGE_FILE: Final = "leakage.csv"
_NEEDED: Final = (
    "slide", "tile", "label", "block", "file", "phash", "dropped", "left_l0", "top_l0", "width_l0", "height_l0",
)  # fmt: skip
_KINDS: Final = {kind: number for number, kind in enumerate(LeakKind)}
_PAIRS_AT_A_TIME: Final = 5_000

Say = Callable[[str], None]
"""Is told what is being looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageReport:
    """What was compared, and what stands in two parts."""

    leaks: tuple[Leak, ...]
    slides: int
    tiles: int
    """Tiles whose hashes were compared."""
    without_structure: int = 0
    """Tiles that have nothing to be known by: not compared."""
    without_hash: int = 0
    """Tiles of an index without hashes: not compared."""
    unread: int = 0
    """Slides whose file could not be read for its content."""
    pooled_tiles: int = 0
    """Tiles of pooled slides, which part by design."""
    strangers: tuple[str, ...] = ()
    """Slides of the split that the cohort does not have: unreadable ones, or slips of a hand."""
    without_part: int = 0
    """Slides of the cohort that the split leaves out, in all repetitions."""
    within: int | None = None
    """Bits of their hashes within which tiles were looked at; -1 where so many are equal that some were left out."""

    @property
    def complete(self) -> bool:
        """Whether the list of tiles was not cut short."""
        return self.within is None or self.within >= 0

    @property
    def narrowed(self) -> bool:
        """Whether so many tiles are alike that nearer hashes than usual were asked for."""
        return self.within is not None and self.within < DISTANCE

    @property
    def whole(self) -> bool:
        """Whether all that is there was compared, as far as it has something to be known by."""
        return not (self.unread or self.without_hash or self.strangers or self.narrowed)

    @property
    def exit_code(self) -> int:
        """0 where nothing is shared, 1 where something is, 2 where nothing could be compared."""
        if self.leaks or not self.complete:
            return 1
        return 2 if self.slides and self.unread == self.slides and not self.tiles else 0


def check_leakage(run: Path, *, workers: int = 2, say: Say = lambda _what: None) -> LeakageReport:
    """Compare the parts of all repetitions of RUN/split.csv; writes RUN/leakage.csv, and the result into split.json.

    Patients, files and contents of slides always; tiles where there are any: kept ones that no reader rejected.
    Raises ArtifactError.
    """
    slides = read_cohort(run)
    repetitions = read_repetitions(run)
    tiles = _tiles(run)
    made = set() if tiles is None else set(tiles.filter(pl.col("file").is_not_null())["slide"])
    say("comparing patients and slides")
    files, contents, unread = _contents([one for one in slides if one.slide not in made], workers)
    patients = {one.slide: one.patient for one in slides if one.patient}
    leaks: list[Leak] = []
    for name, parts in repetitions.items():
        leaks += shared(slides, patients, parts, LeakKind.PATIENT, name)
        leaks += shared(slides, files, parts, LeakKind.FILE, name)
        leaks += shared(slides, contents, parts, LeakKind.CONTENT, name)
    known = {one.slide for one in slides}
    used = {slide for parts in repetitions.values() for slide in parts}
    report = LeakageReport(
        leaks=tuple(leaks),
        slides=len(slides),
        tiles=0,
        unread=unread,
        strangers=tuple(sorted(used - known)),
        without_part=len(known - used),
    )
    if tiles is not None:
        report = _with_tiles(
            report, tiles, slides, {name: read_split(run, name) for name in repetitions}, workers=workers, say=say
        )
    _write(run, report)
    return report


def _tiles(run: Path) -> pl.DataFrame | None:
    if not any((run / "tiles").glob("*.parquet")):
        return None
    return with_rejected(read_cohort_tiles(run).select(*_NEEDED), run)


def _with_tiles(
    report: LeakageReport,
    tiles: pl.DataFrame,
    slides: Sequence[CohortSlide],
    splits: Mapping[str, Split],
    *,
    workers: int,
    say: Say,
) -> LeakageReport:
    parted = [with_parts(tiles, split) for split in splits.values()]
    columns = {f"part{number}": one["part"].fill_null("") for number, one in enumerate(parted)}
    pooled = pl.any_horizontal(*(one["pooled"] for one in parted))
    table = tiles.with_columns(pooled=pooled, **columns).filter(pl.col("dropped").is_null() & ~pl.col("rejected"))
    without_hash = table["phash"].null_count()
    table = table.filter(pl.col("phash").is_not_null())
    plain = int((table["phash"] == NO_STRUCTURE).sum())
    say(f"comparing {len(table) - plain} tiles")
    signatures = table.select(*columns).unique(maintain_order=True)
    coded = table.join(signatures.with_row_index("code"), on=list(columns), how="left", maintain_order="left")
    codes = coded["code"].to_numpy().astype(np.int64)
    pairs = near_pairs(table["phash"].to_numpy(), codes, list(signatures.iter_rows()))
    say(f"looking again at {len(pairs.one)} pairs with near hashes")
    by_id = {one.slide: one for one in slides}
    leaks = list(report.leaks)
    for start in range(0, len(pairs.one), _PAIRS_AT_A_TIME):
        part = slice(start, start + _PAIRS_AT_A_TIME)
        ones, others = table[pairs.one[part]], table[pairs.other[part]]
        leaks += _tile_leaks(ones, others, pairs.distance[part], by_id, names=list(splits), workers=workers)
    return replace(
        report,
        leaks=tuple(sorted(leaks, key=lambda one: (_KINDS[one.kind], -(one.likeness or 0)))),
        tiles=len(table) - plain,
        without_structure=plain,
        without_hash=without_hash,
        pooled_tiles=int(table["pooled"].sum()),
        within=pairs.within,
    )


def _tile_leaks(
    ones: pl.DataFrame,
    others: pl.DataFrame,
    distances: Places,
    slides: Mapping[str, CohortSlide],
    *,
    names: Sequence[str],
    workers: int,
) -> Iterator[Leak]:
    """Pairs of rows whose pixels are alike, or cannot be looked at again, by repetition where their parts clash."""
    grays = small_grays(pl.concat([ones, others]).unique(["slide", "tile"]), slides, workers)
    rows = zip(ones.iter_rows(named=True), others.iter_rows(named=True), distances.tolist(), strict=True)
    for one, other, distance in rows:
        if one["pooled"] and other["pooled"] and _whose(one, slides) == _whose(other, slides):
            continue
        gray, other_gray = (grays.get((row["slide"], row["tile"])) for row in (one, other))
        like = None if gray is None or other_gray is None else likeness(gray, other_gray)
        if like is not None and like < ALIKE:
            continue
        for number, name in enumerate(names):
            part, other_part = one[f"part{number}"], other[f"part{number}"]
            if clash(part, other_part):
                yield Leak(
                    repetition=name,
                    kind=LeakKind.TILE,
                    part=part,
                    slide=one["slide"],
                    tile=one["tile"],
                    other_part=other_part,
                    other_slide=other["slide"],
                    other_tile=other["tile"],
                    detail="" if like is not None else "could not be looked at again",
                    distance=distance,
                    likeness=like,
                )


def _whose(row: Mapping[str, Any], slides: Mapping[str, CohortSlide]) -> tuple[str, str]:
    slide = slides.get(row["slide"])
    return ("slide", row["slide"]) if slide is None else group_key(slide)


def _contents(slides: Sequence[CohortSlide], workers: int) -> tuple[dict[str, str], dict[str, str], int]:
    """By slide its file as the system knows it, and its content; and how many could not be read.

    Samples of the content first; where they are equal, a hash over all of it.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        files = {one.slide: os.path.realpath(one.path) for one in slides}
        found = list(pool.map(_sampled, slides))
        counts = Counter(sample for sample, _ in found if sample)
        contents = {}
        unread = sum(not sample for sample, _ in found)
        for one, (sample, parts) in zip(slides, found, strict=True):
            if counts[sample] > 1:
                try:
                    contents[one.slide] = sha256_files(parts)
                except OSError:  # told with the others that could not be read
                    unread += 1
    return files, contents, unread


def _sampled(slide: CohortSlide) -> tuple[str, tuple[Path, ...]]:
    try:
        with open_slide(slide.path, mpp=slide.mpp, mpp_source="manifest", override=True) as source:
            return sample_of(source.files), source.files
    except SlideError:
        return "", ()


def _write(run: Path, report: LeakageReport) -> None:
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Leak)]
    rows.writerow(names)
    for leak in report.leaks:
        values = [getattr(leak, name) for name in names]
        rows.writerow(
            [
                "" if value is None else round(value, 4) if name == "likeness" else value
                for name, value in zip(names, values, strict=True)
            ]
        )
    write_text(run / LEAKAGE_FILE, text.getvalue())
    if (run / RECORD_FILE).is_file():
        counts = Counter(str(leak.kind) for leak in report.leaks)
        about = {one.name: getattr(report, one.name) for one in fields(report) if one.name != "leaks"}
        add_to_record(run, "leakage", {"split_sha256": sha256_file(run / SPLIT_FILE), "leaks": dict(counts), **about})
