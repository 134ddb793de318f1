"""Splitting a cohort: from a manifest or a run folder to RUN/split.csv, counted, and checked for leakage."""

import codecs
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

import sarcoscope
from sarcoscope.cohort.checks import check
from sarcoscope.cohort.dealing import RATIOS, Ratios
from sarcoscope.cohort.splits import Split, SplitConfig, batches_of, group_key, other_batches, split_cohort
from sarcoscope.core.cohort import CohortSlide, Part, Problem, Severity
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.manifest import COHORT_FILE, read_cohort, write_cohort
from sarcoscope.formats.split import SPLIT_FILE, split_text, write_split
from sarcoscope.formats.tile_index import read_cohort_tiles
from sarcoscope.stages.cohort_check import check_cohort
from sarcoscope.stages.cohort_leakage import LeakageReport, Say, check_leakage
from sarcoscope.stages.tile_sets import usable, with_parts, with_rejected

TEST1_SHARE: Final = 0.3
"""Of each class's patients, where nobody says and the cohort is one of slides."""

Counts = dict[str, dict[str, dict[str, int]]]
"""By class and part: 'slides', 'patients', and where there are tiles 'tiles'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAsk:
    """What the user asks for; None leaves it to the cohort."""

    source: Path
    """A manifest, or a run folder, which is split in place."""
    out: Path | None = None
    ratios: Ratios = RATIOS
    seed: int = 0
    test1: float | Mapping[str, int] | None = None
    test2: tuple[str, ...] | None = None
    pooled: tuple[str, ...] = ()
    folds: int = 0
    leave_out_batch: bool = False
    mixed_patients: bool = False
    workers: int = 2
    force: bool = False
    """Whether a split that was edited or asked for otherwise may be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResult:
    """What became of it."""

    run: Path
    config: SplitConfig
    counts: dict[str, Counts]
    """By repetition."""
    notes: tuple[str, ...]
    """What was decided because nobody said."""
    warnings: tuple[str, ...]
    leakage: LeakageReport | None
    """None where there are no tiles to compare."""

    @property
    def exit_code(self) -> int:
        """0, or 1 where something stands in two parts."""
        return 0 if self.leakage is None else self.leakage.exit_code


@dataclass(slots=True)
class _Cohort:
    slides: list[CohortSlide]
    run: Path
    manifest: Path
    tiles: pl.DataFrame | None = None
    labels: dict[str, set[str]] = field(default_factory=dict)
    """Of slides whose tiles have labels of their own."""
    ready_made: bool = False


def split_run(ask: SplitAsk, say: Say = lambda _what: None) -> SplitResult:
    """Write RUN/cohort.csv, RUN/split.csv and RUN/split.json, and check for leakage where there are tiles.

    Raises InputError for what cannot be split so, ArtifactError where an edited split would be lost.
    """
    cohort = _cohort(ask)
    config, notes = _settled(ask, cohort)
    dealt = split_cohort(cohort.slides, config, cohort.labels)
    text = split_text(cohort.slides, dealt.repetitions)
    _check_replaced(cohort.run / SPLIT_FILE, text, force=ask.force)
    if ask.source != cohort.run:
        write_cohort(cohort.run, cohort.slides)
    counts = {name: _counted(cohort, parts, config) for name, parts in dealt.repetitions.items()}
    warnings = [*dealt.warnings, *_missing(counts), *_pooled(config)]
    record = {
        "version": sarcoscope.__version__,
        "manifest_sha256": sha256_file(cohort.manifest),
        "config": asdict(config),
        "notes": notes,
        "warnings": warnings,
        "counts": counts,
    }
    write_split(cohort.run, cohort.slides, dealt.repetitions, record)
    return SplitResult(
        run=cohort.run,
        config=config,
        counts=counts,
        notes=tuple(notes),
        warnings=tuple(warnings),
        leakage=None if cohort.tiles is None else check_leakage(cohort.run, workers=ask.workers, say=say),
    )


def _cohort(ask: SplitAsk) -> _Cohort:
    if ask.source.is_dir():
        if ask.out is not None and ask.out.resolve() != ask.source.resolve():
            raise InputError("a run folder is split in place", "drop --out, or give a manifest")
        found = _Cohort(read_cohort(ask.source), ask.source, ask.source / COHORT_FILE)
    else:
        if ask.out is None:
            raise InputError("no run folder to write to", "give --out RUN")
        if ask.source.resolve() == (ask.out / COHORT_FILE).resolve():
            raise InputError(f"{ask.source} is the run folder's own", f"give the folder, {ask.out}, or your manifest")
        found = _Cohort(_checked(ask), ask.out, ask.source)
        _check_same(ask.out, found.slides, force=ask.force)
    if any((found.run / "tiles").glob("*.parquet")):
        found.tiles = with_rejected(read_cohort_tiles(found.run), found.run)
        found.ready_made = bool(found.tiles["file"].is_not_null().any())
        open_ones = {one.slide for one in found.slides if one.label is None}
        labels = found.tiles.filter(pl.col("slide").is_in(open_ones) & pl.col("label").is_not_null())
        for slide, label in labels.select("slide", "label").unique().iter_rows():
            found.labels.setdefault(slide, set()).add(label)
    if not found.ready_made:  # whose labels are of tiles, and a patient's may be of many
        _refuse(check(found.slides, [None] * len(found.slides), mixed_patients=ask.mixed_patients), found.manifest)
    return found


def _checked(ask: SplitAsk) -> list[CohortSlide]:
    """The slides of a manifest that has no problem which can be seen without opening them."""
    report = check_cohort(ask.source, mixed_patients=ask.mixed_patients, look=False)
    _refuse(report.problems, ask.source)
    return list(report.slides)


def _refuse(problems: Iterable[Problem], manifest: Path) -> None:
    """ArtifactError for the first that is more than a warning."""
    bad = [one for one in problems if one.severity is not Severity.WARNING]
    if bad:
        first, more = bad[0], f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        advice = f"sarcoscope cohort check {manifest} shows all"
        raise ArtifactError(manifest, f"row {first.row}: {first.problem}{more}", first.advice or advice)


def _check_same(run: Path, slides: Sequence[CohortSlide], *, force: bool) -> None:
    """ArtifactError where the run folder is of other slides."""
    if force or not (run / COHORT_FILE).exists():
        return
    there = {one.slide for one in read_cohort(run)}
    if there != {one.slide for one in slides}:
        advice = "choose another --out, split the folder itself, or replace it with --force"
        raise ArtifactError(run, "holds a cohort of other slides", advice)


def _check_replaced(path: Path, text: str, *, force: bool) -> None:
    """ArtifactError where another split is there, perhaps edited by hand."""
    if force or not path.exists():
        return
    try:
        there = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", "move it away") from error
    if there != text.encode():
        raise ArtifactError(path, "is another split", "replace it with --force, or move it away")


def _settled(ask: SplitAsk, cohort: _Cohort) -> tuple[SplitConfig, list[str]]:
    """What is done where the user left it open, and how that is told."""
    notes = []
    test2 = ask.test2
    batches = batches_of(cohort.slides)
    if test2 is None:
        test2 = () if ask.leave_out_batch else other_batches(cohort.slides)
        if test2:
            notes.append(f"test set 2 is batch {test2[0]}, the second of two (--test2 names another, or none)")
        elif len(batches) > 2 and not ask.leave_out_batch:
            notes.append(f"no test set 2: there are {len(batches)} batches (name them with --test2)")
    test1 = ask.test1
    if test1 is None:
        plain = not (cohort.ready_made or ask.folds or ask.leave_out_batch)
        test1 = TEST1_SHARE if plain else 0.0
        if plain:
            notes.append(f"test set 1 is {TEST1_SHARE:.0%} of each class's patients (--test1 says otherwise)")
    if not cohort.ready_made and not any(one.patient for one in cohort.slides):
        notes.append("no patient ids: each slide counts as a patient")
    if cohort.ready_made and not any(one.patient for one in cohort.slides):
        if all(count == 1 for count in _tiles_a_slide(cohort)):
            notes.append("no slide ids: tiles of one slide may part")
        else:
            notes.append("no patient ids: slides of one patient may part")
    config = SplitConfig(
        ratios=ask.ratios,
        seed=ask.seed,
        test1=test1,
        test2=test2,
        pooled=ask.pooled,
        folds=ask.folds,
        leave_out_batch=ask.leave_out_batch,
    )
    return config, notes


def _tiles_a_slide(cohort: _Cohort) -> list[int]:
    return [] if cohort.tiles is None else cohort.tiles.group_by("slide").len()["len"].to_list()


def _counted(cohort: _Cohort, parts: Mapping[str, Part], config: SplitConfig) -> Counts:
    """Slides and patients by class and part, and tiles where there are any; a slide counts with each of its labels."""
    counts: Counts = {}
    whose: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for one in cohort.slides:
        part = str(parts[one.slide])
        for label in cohort.labels.get(one.slide, {one.label or ""}):
            cell = counts.setdefault(label, {}).setdefault(part, {"slides": 0, "patients": 0})
            cell["slides"] += 1
            whose.setdefault((label, part), set()).add(group_key(one))
            cell["patients"] = len(whose[label, part])
    if cohort.tiles is not None:
        split = Split(parts=parts, ratios=config.ratios, seed=config.seed, pooled=config.pooled)
        tiles = usable(with_parts(cohort.tiles, split))
        for label, part, count in tiles.group_by("label", "part").len().iter_rows():
            cell = counts.setdefault(label or "", {}).setdefault(part, {"slides": 0, "patients": 0})
            cell["tiles"] = count
    return {label: counts[label] for label in sorted(counts)}


def _missing(counts: Mapping[str, Counts]) -> list[str]:
    """Classes that have nothing to train on, nothing to validate on or nothing to test on."""
    warnings = []
    tests = {Part.TEST, Part.TEST1, Part.TEST2}
    for name, by_class in counts.items():
        where = f" in {name}" if len(counts) > 1 else ""
        for label, cells in by_class.items():
            if Part.POOLED in cells:
                continue
            missing = [str(part) for part in (Part.TRAIN, Part.VALIDATION) if part not in cells]
            missing += [] if tests & set(cells) else [str(Part.TEST)]
            if missing:
                warnings.append(f"{label} has no slide to {' or '.join(_VERBS[one] for one in missing)} on{where}")
    return warnings


_VERBS: Final = {"train": "train", "validation": "validate", "test": "test"}


def _pooled(config: SplitConfig) -> list[str]:
    return [
        f"{label} is pooled: its tiles are dealt out whatever slide they are of, so what is said of it is optimistic"
        for label in config.pooled
    ]
