"""The command `sarcoscope`."""

import sys
from typing import Annotated

import typer

import sarcoscope
from sarcoscope.cli import (
    audit,
    bundle,
    cohort,
    convert,
    deidentify,
    demo,
    diagnose,
    doctor,
    ensemble,
    evaluate,
    explain,
    info,
    phantom,
    screen,
    study,
    tile,
    train,
    tune,
)
from sarcoscope.cli.console import print_json, tell

app = typer.Typer(
    name="sarcoscope",
    help="Whole-slide images in, a tumour-subtype diagnosis with its evidence out. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(sarcoscope.__version__)
        raise typer.Exit


@app.callback()
def options(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Whole-slide images in, a tumour-subtype diagnosis with its evidence out. Research use only."""


app.command("diagnose")(diagnose.diagnose)
app.add_typer(cohort.app, name="cohort")
app.command("tile")(tile.tile)
app.add_typer(screen.app, name="screen")
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("audit")(audit.audit)
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.add_typer(study.app, name="study")
app.command("convert")(convert.convert)
app.command("deidentify")(deidentify.deidentify)
app.command("info")(info.info)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.add_typer(bundle.app, name="bundle")
app.add_typer(ensemble.app, name="ensemble")
app.add_typer(phantom.app, name="phantom")


def main() -> None:
    """Entry point of the console script. With --json, wrong usage is one object on stdout too."""
    if "--json" not in sys.argv[1:]:
        app()
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        tell(f"error: {error.format_message()}; see {' '.join(['sarcoscope', *sys.argv[1:2]])} --help")
        print_json({"error": error.format_message(), "kind": "UsageError"})
        code = 2
    sys.exit(code)
