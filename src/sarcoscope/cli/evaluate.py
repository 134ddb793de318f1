"""`sarcoscope evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told
from sarcoscope.core.errors import InputError

if TYPE_CHECKING:
    from sarcoscope.core.cohort import Part


def evaluate(
    bundles: Annotated[list[str], typer.Argument(help="Folders of bundles, or names of shipped ones.")],
    run: Annotated[Path, typer.Option(help="Run folder with cohort.csv, split.csv and tiles.")],
    part: Annotated[
        list[str] | None, typer.Option(help="validation, test, test1 or test2; repeat. All of the split if left out.")
    ] = None,
    fold: Annotated[str, typer.Option(help="Repetition of the split, where there are several.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; RUN/evaluation where left out.")] = None,
    name: Annotated[str, typer.Option(help="Title; the run folder's name where left out.")] = "",
    draws: Annotated[int, typer.Option(help="Of the bootstrap over patients or slides.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    workers: Annotated[int, typer.Option(help="Threads that read tiles.")] = 2,
    threads: Annotated[int, typer.Option(help="Threads that compute; 0 takes every core.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure bundles on a run: tiles, whole slides, each scale and member alone beside the bundle, with intervals.

    Exit code 0: every slide came through (undetermined is an answer); 1: some could not be read, the others are
    evaluated; 2: nothing could be evaluated, or wrong usage; 130: interrupted.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli.evaluate_show import run_evaluate, show
        from sarcoscope.stages.evaluate import EvaluateAsk

        ask = EvaluateAsk(
            run=run,
            bundles=tuple(bundles),
            parts=tuple(_part(one) for one in part or []),
            fold=fold,
            out=out,
            draws=draws,
            seed=seed,
            workers=workers,
            threads=threads,
            name=name,
        )
        summary = run_evaluate(ask)
    show(summary, as_json=as_json)
    raise typer.Exit(summary.exit_code)


def _part(name: str) -> "Part":
    from sarcoscope.core.cohort import Part
    from sarcoscope.stages.evaluate import PARTS

    if name not in set(PARTS):
        raise InputError(f"part {name!r} is none to evaluate on", f"give one of {', '.join(PARTS)}")
    return Part(name)
