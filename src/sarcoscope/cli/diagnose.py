"""`sarcoscope diagnose`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, progress_bars, say, tell
from sarcoscope.core.errors import shown

if TYPE_CHECKING:
    from sarcoscope.core.cohort import CohortSlide
    from sarcoscope.formats.diagnoses import DiagnosisRecord
    from sarcoscope.stages.diagnose import RunSummary
    from sarcoscope.stages.jobs import SlideJob


def diagnose(
    slides: Annotated[
        list[Path] | None, typer.Argument(help="Slides: files, or folders of a DICOM series or an MRXS slide.")
    ] = None,
    bundle: Annotated[
        str, typer.Option("--bundle", "-b", help="A bundle's folder, or the name of a shipped one.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results, one folder a slide.")] = Path("run"),
    manifest: Annotated[
        Path | None,
        typer.Option(help="CSV: path, and if wanted slide, mpp, label, components; labels are scored."),
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel of level 0, where the file does not say.")
    ] = None,
    mpp_override: Annotated[bool, typer.Option("--mpp-override", help="Let --mpp win over the file's scale.")] = False,
    minimum_tiles: Annotated[int | None, typer.Option(help="Fewer kept tiles give 'undetermined'.")] = None,
    minimum_tissue: Annotated[float | None, typer.Option(help="Least share of tissue in a kept tile, 0..1.")] = None,
    batch: Annotated[int, typer.Option(help="Tiles per pass through a network.")] = 8,
    workers: Annotated[int, typer.Option(help="Threads that read tiles.")] = 2,
    threads: Annotated[int, typer.Option(help="Threads that compute; 0 takes every core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Diagnose again what is already done.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Diagnose slides: tissue, tiles, prediction, vote, refined rule; a report with the evidence for each.

    Exit code 0: every slide came through (undetermined is an answer); 1: some failed; 2: all failed, or
    wrong usage; 130: interrupted.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.formats.bundle import find_bundle
        from sarcoscope.formats.manifest import read_manifest
        from sarcoscope.stages.diagnose import DiagnoseConfig
        from sarcoscope.stages.diagnose import diagnose as run
        from sarcoscope.stages.jobs import truths_from_manifest

        rows = read_manifest(manifest) if manifest else []
        jobs = _jobs(slides or [], rows, mpp, mpp_override=mpp_override)
        opened = find_bundle(bundle)
        config = DiagnoseConfig(
            out=out,
            batch=batch,
            workers=workers,
            threads=threads,
            force=force,
            minimum_tiles=minimum_tiles,
            minimum_tissue=minimum_tissue,
        )
        with progress_bars() as bars:
            from sarcoscope.cli.progress import Bars

            summary = run(jobs, opened, config, Bars(bars, debug=debug), truths=truths_from_manifest(rows))
    _show(summary, opened.notice, as_json=as_json)
    raise typer.Exit(summary.exit_code)


def _show(summary: "RunSummary", notice: str, *, as_json: bool) -> None:
    from sarcoscope.cli.tables import diagnosis_table

    if not as_json:
        diagnosis_table(summary.records, summary.failures)
        for line in _doubts(summary.records):
            say(line)
        tell(f"{notice}\nreport: {summary.index}")
        return
    print_json(
        {
            "slides": [record.model_dump(mode="json") for record in summary.records],
            "failed": {slide: str(error) for slide, error in summary.failures.items()},
            "index": shown(summary.index),
            "exit_code": summary.exit_code,
        }
    )


def _doubts(records: "list[DiagnosisRecord]") -> list[str]:
    """A line for each slide whose classes cannot be separated and for each that is out of cohort."""
    from sarcoscope.reports.wording import out_of_cohort, set_headline, set_tests

    lines = []
    for one in records:
        if one.set and len(one.set.classes) != 1:
            lines.append(f"{one.slide}: {set_headline(one)} {set_tests(one) or ''}".rstrip())
        if doubt := out_of_cohort(one):
            lines.append(f"{one.slide}: out of cohort: {doubt}")
    return lines


def _jobs(slides: list[Path], rows: "list[CohortSlide]", mpp: float | None, *, mpp_override: bool) -> "list[SlideJob]":
    from sarcoscope.core.errors import InputError
    from sarcoscope.core.geometry import Mpp
    from sarcoscope.stages.jobs import jobs_from_manifest, jobs_from_paths

    if not slides and not rows:
        raise InputError("no slides given", "give slide files, or --manifest cohort.csv")
    given = None if mpp is None else Mpp(mpp)
    return [
        *jobs_from_paths(slides, given, mpp_override=mpp_override),
        *jobs_from_manifest(rows, given, mpp_override=mpp_override),
    ]
