"""`sarcoscope bundle`."""

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, say

app = typer.Typer(help="Look at bundles, make them.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Look at bundles, make them."""


@app.command()
def show(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped one, e.g. phantom.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Classes, members, scales, fusion, rules, calibration, where it comes from, what it is and is not for."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli.bundle_show import rows
        from sarcoscope.formats.bundle import find_bundle

        opened = find_bundle(bundle)
    if as_json:
        print_json({"folder": str(opened.folder), "sha256": opened.sha256, **opened.manifest.model_dump(mode="json")})
        return
    for name, value in rows(opened):
        say(f"{name:<16}{value}")


@app.command()
def make(
    members: Annotated[list[Path], typer.Argument(help="Folders of trained members, RUN/members/NAME.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle.")],
    name: Annotated[str, typer.Option(help="Of the bundle; its folder's where left out.")] = "",
    class_name: Annotated[list[str] | None, typer.Option(help="CODE=WORDS, a class in words; repeat.")] = None,
    intended_use: Annotated[str, typer.Option(help="One sentence on what it is for.")] = "",
    not_for: Annotated[str, typer.Option(help="One sentence on what it is not for.")] = "",
    minimum_tiles: Annotated[int, typer.Option(help="Fewer kept tiles give 'undetermined'.")] = 20,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put trained members into a bundle that `diagnose` takes; of several the mean of probabilities counts."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.core.errors import InputError
        from sarcoscope.stages.bundle_make import BundleAsk, make_bundle

        names = dict(one.partition("=")[::2] for one in class_name or [])
        if not all(names.values()):
            raise InputError(f"--class-name {' '.join(class_name or [])}", "give CODE=WORDS")
        said = {"intended_use": intended_use, "not_for": not_for}
        ask = BundleAsk(
            members=tuple(members),
            out=out,
            name=name,
            names=names,
            minimum_tiles=minimum_tiles,
            **{key: words for key, words in said.items() if words},
        )
        made = make_bundle(ask)
    if as_json:
        about = {"synthetic": made.manifest.synthetic, "notice": made.notice}
        print_json({"folder": str(made.folder), "sha256": made.sha256, **about})
    else:
        say(f"bundle: {made.folder}; next: sarcoscope diagnose SLIDES --bundle {made.folder}")
        say(made.notice)
