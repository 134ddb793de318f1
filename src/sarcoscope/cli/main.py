"""The command `sarcoscope`."""

from typing import Annotated

import typer

import sarcoscope
from sarcoscope.cli import bundle, demo, diagnose, doctor, info, phantom

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
app.command("info")(info.info)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.add_typer(bundle.app, name="bundle")
app.add_typer(phantom.app, name="phantom")


def main() -> None:
    """Entry point of the console script."""
    app()
