"""`sarcoscope cohort`: from a folder of slides, or of tiles, to a split that can be trusted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sarcoscope.cli.console import Debug, Json, err, errors_told, print_json, progress_bars, say, tell
from sarcoscope.core.errors import InputError, shown

if TYPE_CHECKING:
    from sarcoscope.stages.cohort_check import CohortReport
    from sarcoscope.stages.cohort_leakage import LeakageReport
    from sarcoscope.stages.cohort_split import SplitResult
    from sarcoscope.stages.cohort_tiles import TilesSummary

app = typer.Typer(
    name="cohort",
    help="From a folder of slides, or of ready-made tiles, to a checked and split cohort.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Workers = Annotated[int, typer.Option(min=1, help="Threads that read.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
MixedPatients = Annotated[
    bool, typer.Option("--mixed-patients", help="A patient may have tumours of several classes: warn only.")
]
_MOST = 12
_NOTHING = "nothing was finished; run the same command again"


@app.command("scan")
def scan(
    folder: Annotated[Path, typer.Argument(help="Folder that the slides lie in, at any depth.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Manifest to write.")] = Path("manifest.csv"),
    patient_regex: Annotated[
        str, typer.Option(help="What of a slide's path is the patient; by default a TCGA barcode's.")
    ] = "",
    batch_regex: Annotated[str, typer.Option(help="What of a slide's path is the batch.")] = "",
    pictures: Annotated[bool, typer.Option("--pictures", help="PNG and JPEG files are slides, too.")] = False,
    workers: Workers = 2,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draft a manifest of the slides in a folder, for you to check and complete.

    Slides are known by their content. Labels are drafted where slides lie one folder per class.
    """
    with errors_told(as_json=as_json, debug=debug, interrupted=_NOTHING):
        from sarcoscope.stages import cohort_scan

        cohort_scan.check_free(out, force=force)
        with _bar("files") as progress:
            found = cohort_scan.scan(
                folder,
                patient_regex=patient_regex,
                batch_regex=batch_regex,
                pictures=pictures,
                workers=workers,
                progress=progress,
            )
        cohort_scan.write_draft(found, out, force=force)
    labelled = sum(one.label is not None for one in found.slides)
    if as_json:
        values = {name: value for name, value in asdict(found).items() if name != "slides"}
        print_json({"manifest": shown(out), "slides": len(found.slides), "labelled": labelled, **values})
        return
    say(f"{len(found.slides)} slides: {_counted(found.vendors)}")
    if found.unreadable:
        say(f"{found.unreadable} of them cannot be opened: the column notes says why")
    if found.without_scale:
        say(f"{found.without_scale} of them have no scale: fill in the column mpp")
    if labelled < len(found.slides):
        say(f"{len(found.slides) - labelled} have no label: fill in the column label")
    _listed("warning: may not be listed", dict.fromkeys(found.denied, ""))
    pictures_words = f", {found.pictures} of them PNG or JPEG (--pictures takes them)" if found.pictures else ""
    say(f"{found.passed_over} other files were passed over{pictures_words}")
    tell(f"draft: {shown(out)}; next: sarcoscope cohort check {shown(out)}")


@app.command("check")
def check(
    manifest: Annotated[Path, typer.Argument(help="manifest.csv.")],
    classes: Annotated[str, typer.Option(help="Class codes, separated by commas; others are problems.")] = "",
    mixed_patients: MixedPatients = False,
    workers: Workers = 2,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check a manifest and every slide in it: all problems of all rows in one report.

    Exit code 0: nothing but warnings; 1: problems; 2: nothing could be checked.
    """
    with errors_told(as_json=as_json, debug=debug, interrupted=_NOTHING):
        from sarcoscope.stages.cohort_check import check_cohort

        with _bar("slides") as progress:
            report = check_cohort(
                manifest,
                classes=_words(classes),
                workers=workers,
                mixed_patients=mixed_patients,
                progress=progress,
            )
    if as_json:
        print_json(_check_json(report))
    else:
        from sarcoscope.cli.cohort_tables import problem_tables

        problem_tables(report)
    raise typer.Exit(report.exit_code)


@app.command("from-tiles")
def from_tiles(
    folder: Annotated[Path, typer.Argument(help="Folder with a folder of tiles for each class.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")],
    mpp: Annotated[float | None, typer.Option(help="Microns per pixel of the tiles.")] = None,
    slide_regex: Annotated[
        str, typer.Option(help="What of a file's name is the slide: groups 'slide', 'patient', or the first one.")
    ] = "",
    patient_regex: Annotated[str, typer.Option(help="What of a file's name is the patient.")] = "",
    ids: Annotated[Path | None, typer.Option(help="CSV with columns file, slide, patient, batch instead.")] = None,
    batch: Annotated[str, typer.Option(help="Batch of all tiles.")] = "",
    no_nuclei: Annotated[bool, typer.Option("--no-nuclei", help="Do not measure nuclear density.")] = False,
    workers: Workers = 2,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a cohort of ready-made tiles (PNG, JPEG, TIFF, JPEG XL), one folder per class. Files stay where they are.

    Exit code 0: all tiles were read; 1: some were not; 2: none were, or wrong usage.
    """
    with errors_told(as_json=as_json, debug=debug, interrupted=_NOTHING):
        from sarcoscope.core.geometry import Mpp
        from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles

        config = TilesConfig(
            folder=folder,
            out=out,
            mpp=None if mpp is None else Mpp(mpp),
            slide_regex=slide_regex,
            patient_regex=patient_regex,
            ids=ids,
            batch=batch or None,
            nuclei=not no_nuclei,
            workers=workers,
            force=force,
        )
        with _bar("tiles") as progress:
            found = cohort_from_tiles(config, progress)
    _show_tiles(found, out, as_json=as_json)
    raise typer.Exit(found.exit_code)


@app.command("split")
def split(
    source: Annotated[Path, typer.Argument(help="manifest.csv, or a run folder, which is split in place.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder, for a manifest.")] = None,
    ratios: Annotated[str, typer.Option(help="Train, validation, test.")] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(help="Other seeds, other splits.")] = 0,
    test1: Annotated[
        str, typer.Option(help="Test set 1: a share of each class, or slides by class, e.g. DDLPS=27,LMS=6.")
    ] = "",
    test2: Annotated[
        list[str] | None, typer.Option(help="Batch that is test set 2 whole; 'none'. Default: the second of two.")
    ] = None,
    pooled: Annotated[
        list[str] | None, typer.Option(help="Class whose tiles are dealt out one by one (the paper's MPNST).")
    ] = None,
    folds: Annotated[int, typer.Option(help="Cross-validation with so many folds.")] = 0,
    leave_out_batch: Annotated[
        bool, typer.Option("--leave-out-batch", help="One repetition a batch, which tests.")
    ] = False,
    mixed_patients: MixedPatients = False,
    workers: Workers = 2,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Deal a cohort out to train, validation and tests, by patient, each class by itself; then check for leakage.

    Exit code 0: done; 1: done, but something stands in two parts; 2: nothing was done.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cohort.dealing import checked
        from sarcoscope.stages.cohort_split import SplitAsk, split_run

        ask = SplitAsk(
            source=source,
            out=out,
            ratios=checked(_numbers(ratios)),
            seed=seed,
            test1=_test1(test1),
            test2=_test2(test2),
            pooled=tuple(word for one in pooled or () for word in _words(one)),
            folds=folds,
            leave_out_batch=leave_out_batch,
            mixed_patients=mixed_patients,
            workers=workers,
            force=force,
        )
        with err.status("splitting") as status:
            result = split_run(ask, status.update)
    _show_split(result, as_json=as_json)
    raise typer.Exit(result.exit_code)


@app.command("leakage")
def leakage(
    run: Annotated[Path, typer.Argument(help="Run folder with a split.")],
    workers: Workers = 2,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Look for patients, slides and near-duplicate tiles that stand in two parts of a split.

    Exit code 0: none; 1: some, listed in RUN/leakage.csv; 2: nothing could be checked.
    """
    with errors_told(as_json=as_json, debug=debug, interrupted=_NOTHING):
        from sarcoscope.stages.cohort_leakage import check_leakage

        with err.status("reading") as status:
            report = check_leakage(run, workers=workers, say=status.update)
    if as_json:
        print_json({"run": shown(run), **_leakage_json(report), "exit_code": report.exit_code})
    else:
        from sarcoscope.cli.cohort_tables import leakage_words

        leakage_words(report, run)
    raise typer.Exit(report.exit_code)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    with progress_bars() as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _show_tiles(found: "TilesSummary", out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": shown(out), **asdict(found), "exit_code": found.exit_code})
        return
    patients = f"{found.patients} patients" if found.patients else "no patient ids"
    say(f"{found.tiles} tiles at {found.mpp:g} um/px of {found.slides} slides, {patients}")
    say(f"classes: {_counted(found.per_class)}")
    say(f"sizes: {_counted(found.sizes)}")
    if found.without_slide:
        say(f"no slide ids for {found.without_slide} tiles: tiles of one slide may part")
    if found.mixed_slides:
        say(f"{found.mixed_slides} slides have tiles of several classes")
    for label in found.empty:
        tell(f"warning: folder {label} holds no tiles")
    _listed("warning: no tile", dict.fromkeys(found.strays, ""))
    _listed("error", found.failed)
    tell(f"cohort: {shown(out)}; next: sarcoscope cohort split {shown(out)}")


def _show_split(result: "SplitResult", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "run": shown(result.run),
                "config": asdict(result.config),
                "counts": result.counts,
                "notes": result.notes,
                "warnings": result.warnings,
                "leakage": None if result.leakage is None else _leakage_json(result.leakage),
                "exit_code": result.exit_code,
            }
        )
        return
    from sarcoscope.cli.cohort_tables import count_tables, leakage_words

    count_tables(result.counts)
    for note in result.notes:
        say(note)
    for warning in result.warnings:
        tell(f"warning: {warning}")
    if result.leakage is not None:
        leakage_words(result.leakage, result.run)
    tell(f"split: {shown(result.run / 'split.csv')}")


def _check_json(report: "CohortReport") -> dict[str, Any]:
    return {
        "manifest": shown(report.manifest),
        "slides": len(report.slides),
        "usable": [one.slide for one in report.usable],
        "problems": [asdict(one) for one in report.problems],
        "stops": report.stops,
        "exit_code": report.exit_code,
    }


def _leakage_json(report: "LeakageReport") -> dict[str, Any]:
    return asdict(report)


def _listed(words: str, named: Mapping[str, str]) -> None:
    for name, why in list(named.items())[:_MOST]:
        tell(f"{words}: {name}{': ' + why if why else ''}")
    if len(named) > _MOST:
        tell(f"{words}: and {len(named) - _MOST} more")


def _counted(counts: Mapping[str, int]) -> str:
    shown_ones = ", ".join(f"{count} {name}" for name, count in list(counts.items())[:_MOST])
    return shown_ones + (f" and {len(counts) - _MOST} more" if len(counts) > _MOST else "")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for one in text.split(",") if (word := one.strip()))


def _numbers(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError as error:
        raise InputError(f"ratios {text!r} are no numbers", "e.g. --ratios 0.7,0.15,0.15") from error


def _test1(text: str) -> "float | dict[str, int] | None":
    """A share, counts by class, or None where nothing was said."""
    if not text:
        return None
    try:
        if "=" not in text:
            return float(text)
        pairs = [one.rpartition("=") for one in _words(text)]
        return {name.strip(): int(count) for name, _, count in pairs}
    except ValueError as error:
        advice = "give a share, e.g. 0.3, or slides by class, e.g. DDLPS=27,LMS=6"
        raise InputError(f"--test1 {text!r} is neither a share nor counts", advice) from error


def _test2(given: list[str] | None) -> tuple[str, ...] | None:
    """Batches, () for 'none', None where nothing was said."""
    if not given:
        return None
    if [one.lower() for one in given] == ["none"]:
        return ()
    return tuple(given)
