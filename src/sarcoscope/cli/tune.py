"""`sarcoscope tune`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, say

Config = Annotated[Path | None, typer.Argument(help="YAML; options given beside it win. See --print-config.")]
Storage = Annotated[
    str | None, typer.Option(help="Database that several machines share, e.g. postgresql://...; a file if left out.")
]


def tune(
    config: Config = None,
    run: Annotated[Path | None, typer.Option(help="Run folder with tiles and a split.")] = None,
    trials: Annotated[int | None, typer.Option(help="So many, by all processes together.")] = None,
    keep: Annotated[int | None, typer.Option(help="So many of the best become members.")] = None,
    storage: Storage = None,
    name: Annotated[
        str | None, typer.Option(help="Of the search; its members are NAME-1, the best, NAME-2, ...")
    ] = None,
    network: Annotated[str | None, typer.Option(help="A network of timm, e.g. tf_efficientnet_b7, or compact.")] = None,
    weights: Annotated[str | None, typer.Option(help="hub, none, or a file (.safetensors, .pth).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of a trial; left out: by the number of tiles.")] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Leave a GPU alone.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print what would be done, as YAML.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin anew: the trials of an earlier search go.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search hyper-parameters on validation tiles; the best trainings become members. Run again to go on.

    Several GPUs or machines: the same command on each, with one --storage. Exit code 0: every member is there, or other
    processes are still at it; 1: some members are missing; 2: all are, or wrong usage; 130: interrupted.
    """
    given = {"trials": trials, "keep": keep, "storage": storage, "name": name}
    shared = {"run": None if run is None else str(run), "device": "cpu" if cpu else None}
    inner: dict[str, dict[str, Any]] = {
        "network": {"name": network, "weights": weights},
        "length": {"epochs": epochs},
    }
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli import tune_run

        asked = tune_run.tune_config(config, given, shared, inner)
        if print_config:
            from sarcoscope.formats.config import config_text

            print_json({"config": config_text(asked)}) if as_json else say(config_text(asked))
            raise typer.Exit
        tune_run.check_extra()
        from sarcoscope.cli import tune_show

        summary = tune_show.run_tune(asked, force=force)
    tune_show.show(summary, asked, as_json=as_json)
    raise typer.Exit(summary.exit_code)
