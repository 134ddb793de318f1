"""`sarcoscope study`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, progress_bars, tell

if TYPE_CHECKING:
    from sarcoscope.core.study import StudyStage

app = typer.Typer(
    help="The whole of the paper on one cohort: from a manifest to tables, figures and a report.",
    no_args_is_help=True,
)

Config = Annotated[Path, typer.Argument(help="study.yaml; sarcoscope study new writes one.")]
Workers = Annotated[int, typer.Option(min=1, help="Slides, or threads that read, at a time.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads that compute; 0 takes every core.")]


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml"),
    phantom: Annotated[bool, typer.Option("--phantom", help="The phantom study's settings instead.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a study.yaml with the paper's settings, each key explained."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.stages.phantom_study import phantom_study
        from sarcoscope.stages.study_config import paper_study, write_study_config

        write_study_config(path, phantom_study() if phantom else paper_study(), force=force)
    if as_json:
        print_json({"config": str(path)})
    else:
        tell(f"{path}: name your manifest in it, then: sarcoscope study run {path} --dry-run")


@app.command()
def run(
    config: Config,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, do nothing.")] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="With --dry-run: measure small parts, to tell how long it takes.")
    ] = False,
    until: Annotated[str, typer.Option(help="Last stage to do, e.g. tile, train, evaluate.")] = "",
    workers: Workers = 2,
    threads: Threads = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Do all stages that are not done from the same inputs. Run again to go on.

    Exit code 0: all came through; 1: some slides or stages did not, and are named; 2: nothing could be done; 130:
    interrupted, what was finished is kept.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli import study_show
        from sarcoscope.stages.study_config import read_study_config

        asked = study_show.asked(read_study_config(config), _stage(until), workers=workers, threads=threads)
        if dry_run:
            study_show.show_plan(asked, probe=probe, as_json=as_json)
            raise typer.Exit
        summary = study_show.run(asked)
    study_show.show(summary, as_json=as_json)
    raise typer.Exit(summary.exit_code)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for slides and results.")],
    tiny: Annotated[bool, typer.Option("--tiny", help="As small as all stages allow, for trials and CI.")] = False,
    until: Annotated[str, typer.Option(help="Last stage to do.")] = "",
    workers: Workers = 2,
    threads: Threads = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Paint a phantom cohort and run the whole study on it: synthetic, of no clinical meaning. Trains, so needs torch.

    Exit codes as of study run.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli import study_show
        from sarcoscope.stages.phantom_study import FULL, TINY, make_phantom_study
        from sarcoscope.stages.study_config import read_study_config
        from sarcoscope.stages.study_train import check_extra

        stage = _stage(until)
        check_extra()
        with progress_bars() as bars:
            task = bars.add_task("painting phantom slides", total=None)
            config = make_phantom_study(
                out,
                TINY if tiny else FULL,
                workers=workers,
                painting=lambda done, total: bars.update(task, completed=done, total=total),
            )
        asked = study_show.asked(read_study_config(config), stage, workers=workers, threads=threads)
        summary = study_show.run(asked)
    study_show.show(summary, as_json=as_json)
    raise typer.Exit(summary.exit_code)


def _stage(text: str) -> "StudyStage | None":
    from sarcoscope.core.errors import InputError
    from sarcoscope.core.study import StudyStage

    if not text:
        return None
    try:
        return StudyStage(text)
    except ValueError as error:
        raise InputError(f"no stage {text!r}", f"the stages are {', '.join(StudyStage)}") from error
