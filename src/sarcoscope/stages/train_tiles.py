"""The tiles that one member is trained, validated and tested on: chosen, checked and counted before anything starts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, TrainingError, shown
from sarcoscope.core.names import CODE
from sarcoscope.core.training import TrainConfig
from sarcoscope.data.balance import factors_of, shares
from sarcoscope.data.indexed_tiles import IndexedTiles
from sarcoscope.data.tile_pixels import Look
from sarcoscope.formats.split import read_repetitions
from sarcoscope.reports.wording import plural
from sarcoscope.stages.tile_sets import tile_table, usable
from sarcoscope.stages.tile_target import look_of

USED: Final = (Part.TRAIN, Part.VALIDATION, Part.TEST)

Counts = dict[str, dict[str, int]]
"""Tiles by part and class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTiles:
    """What a member is trained on."""

    fold: str
    """Name of the repetition; empty where the split has only one."""
    classes: tuple[str, ...]
    mpp: tuple[float, ...]
    validation_mpp: float
    tables: Mapping[Part, pl.DataFrame]
    """The rows of each part that is used, perhaps none."""
    look: Look | None
    look_slides: tuple[str, ...]
    """The slides that its target is the middle of."""
    multipliers: Mapping[str, int]
    """By class; empty where classes are not balanced by multipliers."""
    shares: tuple[float, ...]
    """Of each class among the tiles drawn."""
    notes: tuple[str, ...]
    """What the user should know about it."""

    @property
    def counts(self) -> Counts:
        """Tiles by part and class, zeros included."""
        found = {}
        for part, table in self.tables.items():
            by_class = dict(table["label"].value_counts().iter_rows())
            found[str(part)] = {code: by_class.get(code, 0) for code in self.classes}
        return found

    def opened(self, config: TrainConfig, parts: Sequence[Part] = USED) -> dict[Part, IndexedTiles]:
        """The tiles of those parts that have any; of other parts no px is ever read."""
        found: dict[Part, IndexedTiles] = {}
        side_px, cache_mb = config.side_px, float(config.cache_mb)
        for part in parts:
            if not (table := self.tables[part]).is_empty():
                found[part] = IndexedTiles(
                    Path(config.run), table, self.classes, look=self.look, side_px=side_px, cache_mb=cache_mb
                )
                side_px = found[part].side_px  # that of training tiles, which come first, is that of all
                cache_mb -= found[part].cached_mb
        return found


def folds_of(run: Path, asked: Sequence[str]) -> tuple[str, ...]:
    """The repetitions to train in: those asked for, or all. Raises InputError for unknown ones, ArtifactError."""
    if not run.is_dir():
        raise InputError(f"no run folder {shown(run)}", "give --run, or `run` in a config")
    known = tuple(read_repetitions(run))
    if unknown := [one for one in asked if one not in known]:
        raise InputError(f"no repetition {unknown[0]!r} in the split", f"there are: {', '.join(known)}")
    if len(known) == 1:
        return ("",)
    return tuple(asked) or known


def choose_tiles(run: Path, fold: str, config: TrainConfig) -> TrainTiles:
    """Raises InputError, TrainingError and ArtifactError, each saying what to do."""
    every = tile_table(run, fold)
    table = usable(every).sort("slide", "tile", "mpp")
    mpp, validation_mpp = _scales(table, config)
    train_scale = pl.any_horizontal(pl.lit(value=False), *((pl.col("mpp") - one).abs() < 1e-6 for one in mpp))
    other_scale = (pl.col("mpp") - validation_mpp).abs() < 1e-6
    learnt_from = (Part.TRAIN, Part.VALIDATION) if config.train_on_validation else (Part.TRAIN,)
    tables = {
        part: table.filter((pl.col("part") == str(part)) & (train_scale if part in learnt_from else other_scale))
        for part in USED
    }
    if config.train_on_validation:
        tables[Part.TRAIN] = pl.concat([tables[Part.TRAIN], tables[Part.VALIDATION]])
        tables[Part.VALIDATION] = tables[Part.VALIDATION].clear()
    classes = config.classes or tuple(sorted(tables[Part.TRAIN]["label"].drop_nulls().unique()))
    notes = _check_classes(tables, classes, named=bool(config.classes))
    tables = {part: rows.filter(pl.col("label").is_in(classes)) for part, rows in tables.items()}
    notes += _without_part(every, table)
    if tables[Part.VALIDATION].is_empty() and not config.train_on_validation:
        notes.append("no validation tile: nothing is chosen by them, the last epoch is kept")
    if pooled := sorted(table.filter("pooled")["label"].drop_nulls().unique()):
        words = "tiles of pooled classes were dealt out one by one, their figures are optimistic"
        notes.append(f"{words}: {', '.join(pooled)}")
    counts = {code: tables[Part.TRAIN].filter(pl.col("label") == code).height for code in classes}
    by_class = shares(counts, config.balance)
    look, look_slides = _look(run, tables[Part.TRAIN], config)
    by_factor = config.balance.by == "multipliers"
    return TrainTiles(
        fold=fold,
        classes=classes,
        mpp=mpp,
        validation_mpp=validation_mpp,
        tables=tables,
        look=look,
        look_slides=tuple(look_slides),
        multipliers=factors_of(counts, config.balance) if by_factor else {},
        shares=tuple(by_class[code] for code in classes),
        notes=tuple(notes),
    )


def _scales(table: pl.DataFrame, config: TrainConfig) -> tuple[tuple[float, ...], float]:
    there = sorted(table["mpp"].unique())
    if not there:
        raise TrainingError("no tile that is kept and has a part", "look at split.csv and at what was dropped")
    mpp = config.mpp or tuple(there)
    if not config.mpp and len(there) > 1:
        problem = f"the run has tiles at {', '.join(f'{one:g}' for one in there)} um/px"
        raise InputError(problem, "say which to train on, e.g. mpp: [0.5]")
    validation_mpp = mpp[0] if config.validation_mpp is None else config.validation_mpp
    for wanted in (*mpp, validation_mpp):
        if all(abs(wanted - one) >= 1e-6 for one in there):
            known = ", ".join(f"{one:g}" for one in there)
            raise InputError(f"no tiles at {wanted:g} um/px", f"the run has tiles at {known} um/px")
    return mpp, validation_mpp


def _check_classes(tables: Mapping[Part, pl.DataFrame], classes: Sequence[str], *, named: bool) -> list[str]:
    """What to say about classes. TrainingError where the network could not learn what it is asked, InputError."""
    train = set(tables[Part.TRAIN]["label"].drop_nulls())
    if tables[Part.TRAIN].is_empty():
        raise TrainingError("no training tile", "look at split.csv, and at what was dropped or rejected")
    if lacking := [code for code in classes if code not in train]:
        raise TrainingError(
            f"class {lacking[0]} has no training tile", "add slides of it, or leave it out of `classes`"
        )
    if strange_names := [code for code in classes if not re.fullmatch(CODE, code)]:
        problem = f"class {strange_names[0]!r}, which no file of a member can name"
        raise InputError(problem, "call it by letters, digits, '_', '+' and '-'")
    if len(classes) < 2:
        raise TrainingError(f"only class {', '.join(classes)} has training tiles", "a network tells two classes apart")
    notes = []
    for part in (Part.VALIDATION, Part.TEST):
        labels = set(tables[part]["label"].drop_nulls())
        if (strange := sorted(labels - train)) and not named:
            problem = f"class {strange[0]} has {part} tiles but no training tile"
            raise TrainingError(problem, f"split again, or leave it out: classes: [{', '.join(classes)}]")
        if labels and (missing := [code for code in classes if code not in labels]):
            notes.append(f"no {part} tile of {', '.join(missing)}: figures on {part} say nothing of it")
    every = pl.concat([table.select("label") for table in tables.values()])
    if open_ones := every["label"].null_count():
        notes.append(f"{open_ones:,} tiles without a label are left out")
    if out := sorted(set(every["label"].drop_nulls()) - set(classes)):
        notes.append(f"tiles of classes that are not asked for are left out: {', '.join(out)}")
    return notes


def _without_part(every: pl.DataFrame, table: pl.DataFrame) -> list[str]:
    """A line about slides whose tiles are left out since split.csv gives them no part, and the classes lost by it."""
    left_out = usable(every.with_columns(part=pl.col("part").fill_null(""))).filter(pl.col("part") == "")
    if left_out.is_empty():
        return []
    slides = left_out["slide"].unique().sort().to_list()
    words = f"{plural(len(slides), 'slide')} with tiles but no part in split.csv left out: {', '.join(slides[:3])}"
    lost = sorted(set(left_out["label"].drop_nulls()) - set(table["label"].drop_nulls()))
    more = ", ..." if len(slides) > 3 else ""
    return [f"{words}{more}" + (f"; all of class {', '.join(lost)}" if lost else "")]


def _look(run: Path, train: pl.DataFrame, config: TrainConfig) -> tuple[Look | None, list[str]]:
    """What tiles are brought to: the middle of this repetition's training slides, of which pooled ones are none."""
    if config.normalise == "none":
        return None, []
    if train["file"].is_not_null().any():
        raise InputError(f"{shown(run)} holds ready-made tiles, which are not evened out", "set normalise: none")
    return look_of(run, sorted(train.filter(~pl.col("pooled"))["slide"].unique()), config.normalise)
