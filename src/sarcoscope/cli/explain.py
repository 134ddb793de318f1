"""`sarcoscope explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, progress_bars, say, tell
from sarcoscope.core.errors import InputError, shown

if TYPE_CHECKING:
    from sarcoscope.core.cohort import Part
    from sarcoscope.stages.explain import ExplainSummary


def explain(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped one.")],
    run: Annotated[Path | None, typer.Option(help="Run folder whose tiles are looked into.")] = None,
    slide: Annotated[Path | None, typer.Option(help="Instead of a run, one slide whose class nobody says.")] = None,
    part: Annotated[str, typer.Option(help="Of the run's tiles; test, or else validation, where left out.")] = "",
    per_class: Annotated[int, typer.Option(help="Tiles a sheet at most.")] = 4,
    member: Annotated[str, typer.Option(help="Explain this member alone; all where left out.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; RUN/explain/BUNDLE, or explain for a slide.")
    ] = None,
    fold: Annotated[str, typer.Option(help="Repetition of the split, where there are several.")] = "",
    mpp: Annotated[float | None, typer.Option(help="With --slide: um/px, where the file does not say.")] = None,
    mpp_override: Annotated[bool, typer.Option("--mpp-override", help="Let --mpp win over the file's scale.")] = False,
    workers: Annotated[int, typer.Option(help="Threads that read tiles.")] = 2,
    threads: Annotated[int, typer.Option(help="Threads that compute; 0 takes every core.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw class activation maps: which places of a tile speak for a class, on tiles worth a look.

    Exit code 0: done; 1: tiles of some slides could not be read, the others are shown; 2: nothing could be shown, or
    wrong usage; 130: interrupted.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli.progress import PassBars
        from sarcoscope.core.geometry import Mpp
        from sarcoscope.formats.bundle import find_bundle
        from sarcoscope.stages import explain as stage
        from sarcoscope.stages.jobs import safe_id

        if (run is None) == (slide is None):
            raise InputError("a run or a slide is wanted", "give one of --run FOLDER and --slide FILE")
        common: dict[str, Any] = {"bundle": bundle, "member": member, "per_class": per_class}
        common |= {"workers": workers, "threads": threads}
        with progress_bars() as bars:
            bar = PassBars(bars)
            if run is not None:
                home = out or run / "explain" / safe_id(find_bundle(bundle).manifest.name)
                summary = stage.explain(stage.ExplainAsk(run=run, out=home, part=_part(part), fold=fold, **common), bar)
            elif slide is not None:
                given: dict[str, Any] = {"mpp": None if mpp is None else Mpp(mpp), "mpp_override": mpp_override}
                home = out or Path("explain")
                summary = stage.explain_slide(stage.ExplainSlideAsk(slide=slide, out=home, **given, **common), bar)
    _show(summary, set(bar.failed), as_json=as_json)
    raise typer.Exit(summary.exit_code)


def _part(name: str) -> "Part | None":
    from sarcoscope.core.cohort import Part

    if not name:
        return None
    known = [str(one) for one in Part if one not in {Part.TEST1, Part.TEST2, Part.POOLED}]
    if name not in known:
        raise InputError(f"no tiles of part {name!r}", f"give one of {', '.join(known)}")
    return Part(name)


def _show(summary: "ExplainSummary", told: set[str], *, as_json: bool) -> None:
    """`told` are slides whose failure has been told."""
    record = summary.record
    for slide, problem in record.failures.items():
        if slide not in told:
            tell(f"error: {slide}: {problem}")
    if as_json:
        print_json({"cam": shown(summary.path), "exit_code": summary.exit_code, **record.model_dump(mode="json")})
        return
    for sheet in record.sheets:
        say(f"{shown(summary.path.parent / sheet.file)}: {len(sheet.tiles)}")
    for words in record.missing:
        say(f"no sheet: {words}")
    tell(record.notice)
