"""`sarcoscope demo`."""

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, out, print_json, progress_bars


def demo(
    out_folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for slides and results.")] = Path("demo"),
    seed: Annotated[int | None, typer.Option(help="Other seeds, other phantom slides.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that paint, threads that read.")] = 2,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Paint phantom slides, diagnose them with the phantom bundle, write one report over all of them."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli.progress import Bars
        from sarcoscope.cli.tables import diagnosis_table, score_line
        from sarcoscope.stages.demo import DEMO_SEED, run_demo

        with progress_bars() as bars:
            task = bars.add_task("painting phantom slides", total=None)
            result = run_demo(
                out_folder,
                seed=DEMO_SEED if seed is None else seed,
                workers=workers,
                listener=Bars(bars, debug=debug),
                painting=lambda done, total: bars.update(task, completed=done, total=total),
            )
    summary = result.summary
    if as_json:
        print_json(
            {
                "slides": [record.model_dump(mode="json") for record in summary.records],
                "failed": {slide: str(error) for slide, error in summary.failures.items()},
                "right": {"plain": result.plain.right, "refined": result.refined.right, "of": result.plain.n},
                "index": str(result.report),
            }
        )
    else:
        diagnosis_table(summary.records, summary.failures)
        out.print("\nOn synthetic phantom slides, never of any clinical meaning:")
        out.print(score_line("plain vote", result.plain))
        out.print(score_line("refined rule", result.refined))
        out.print(f"\nLook at {result.report.absolute()}", soft_wrap=True, markup=False)
    raise typer.Exit(summary.exit_code)
