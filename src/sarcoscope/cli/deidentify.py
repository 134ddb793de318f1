"""`sarcoscope deidentify`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, progress_bars, say, tell
from sarcoscope.core.errors import InputError, SarcoscopeError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress

    from sarcoscope.slides.identity.model import Finding
    from sarcoscope.stages.deidentify import CheckSummary, DeidentifySummary


def deidentify(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN... OUT",
            readable=False,  # one slide that may not be read is named, the others go on
            help="Slides (files, or folders with one DICOM series), then the folder for the copies; for a single file "
            "OUT may be the copy's name. With --check there is no OUT.",
        ),
    ],
    check: Annotated[bool, typer.Option("--check", help="Only list what identifies; write nothing.")] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(help="CSV that keeps source names and random pseudonyms; keep it apart from the copies."),
    ] = None,
    keep_names: Annotated[bool, typer.Option("--keep-names", help="Call the copies as their sources.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Copy slides without labels, macro images, serial numbers, barcodes, dates, names and free text.

    Aperio, NDPI, generic TIFF, DICOM, KFB, ZYP; the pixels stay bit for bit, the sources are only read. It is no
    certification: what is written on the glass inside the scanned area stays visible.

    Exit code 0: every slide has its copy; 1: some failed; 2: all failed, or wrong usage; 130: interrupted. With
    --check 0: nothing identifying was found; 1: something was found; 2: a slide could not be checked.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.stages.deidentify import DeidentifyConfig
        from sarcoscope.stages.deidentify import check as run_check
        from sarcoscope.stages.deidentify import deidentify as run

        if not check and len(paths) < 2:
            raise InputError("no folder for the copies given", "sarcoscope deidentify IN... OUT, or --check IN...")
        if check and (key_file is not None or keep_names):
            raise InputError("--check writes nothing", "leave out --key-file and --keep-names")
        with progress_bars() as bars:
            listener = _Bars(bars)
            if check:
                checked = run_check(paths, listener)
            else:
                config = DeidentifyConfig(out=paths[-1], key_file=key_file, keep_names=keep_names)
                done = run(paths[:-1], config, listener)
            listener.finished()
    if check:
        _show_check(checked, as_json=as_json)
        raise typer.Exit(checked.exit_code)
    _show(done, as_json=as_json)
    raise typer.Exit(done.exit_code)


class _Bars:
    """Draws the run as one bar over the slides."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._total = 0
        self._slides = progress.add_task("slides", total=None)

    def slide_started(self, path: Path, number: int, total: int) -> None:
        self._total = total
        self._progress.update(self._slides, total=total, completed=number - 1, description=shown(path.name))

    def finished(self) -> None:
        """Fill the bar."""
        self._progress.update(self._slides, completed=self._total, description="slides")

    def slide_failed(self, path: Path, error: SarcoscopeError) -> None:  # noqa: ARG002 - the error names it
        tell(f"failed: {error}")


def _show_check(summary: "CheckSummary", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "slides": [
                    {"path": shown(path), "found": [_as_dict(one) for one in found]}
                    for path, found in summary.found.items()
                ],
                "failed": {shown(path): str(error) for path, error in summary.failed.items()},
                "exit_code": summary.exit_code,
            }
        )
        return
    for path, found in summary.found.items():
        say(f"{shown(path)}: {f'{len(found)} found' if found else 'nothing identifying found'}")
        for one in found:
            value = " ".join(one.value.split())
            say(f"  {one.kind:<14} {one.where}{f': {value[:160]}' if value else ''}")


def _show(summary: "DeidentifySummary", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "slides": [
                    {
                        "source": shown(one.source),
                        "target": shown(one.target),
                        "skipped": one.skipped,
                        "removed": _counts(one.removed),
                    }
                    for one in summary.done
                ],
                "failed": {shown(path): str(error) for path, error in summary.failed.items()},
                "exit_code": summary.exit_code,
            }
        )
        return
    for one in summary.done:
        removed = ", ".join(f"{count} {kind}" for kind, count in _counts(one.removed).items()) or "nothing to remove"
        how = "there already" if one.skipped else f"removed: {removed}" if one.removed else removed
        say(f"{shown(one.source)} -> {shown(one.target)} ({how})")


def _counts(findings: "Sequence[Finding]") -> dict[str, int]:
    """How many of each kind; the values themselves belong into no log."""
    return dict(Counter(one.kind for one in findings))


def _as_dict(finding: "Finding") -> dict[str, str]:
    return {"kind": finding.kind, "where": finding.where, "value": finding.value}
