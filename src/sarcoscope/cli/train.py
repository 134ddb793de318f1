"""`sarcoscope train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, say

Config = Annotated[Path | None, typer.Argument(help="YAML; options given beside it win. See --print-config.")]
Run = Annotated[Path | None, typer.Option(help="Run folder with tiles and a split.")]
Network = Annotated[str | None, typer.Option(help="A network of timm, e.g. tf_efficientnet_b7, or compact.")]
Weights = Annotated[str | None, typer.Option(help="hub, none, or a file (.safetensors, .pth) where there is no hub.")]
Mpp = Annotated[list[str] | None, typer.Option(help="Scale of the tiles, e.g. 0.5 or 20x; repeat for several.")]
Fold = Annotated[list[str] | None, typer.Option(help="A repetition of the split; repeat. All where left out.")]
Seed = Annotated[list[int] | None, typer.Option(help="Repeat for a member each.")]
Workers = Annotated[int | None, typer.Option(help="Processes that read and vary tiles.")]


def train(
    config: Config = None,
    run: Run = None,
    network: Network = None,
    weights: Weights = None,
    mpp: Mpp = None,
    fold: Fold = None,
    seed: Seed = None,
    name: Annotated[str | None, typer.Option(help="Of the member.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Left out: by the number of tiles.")] = None,
    batch: Annotated[int | None, typer.Option(help="Tiles a step; left out: by the number of tiles.")] = None,
    workers: Workers = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Leave a GPU alone.")] = False,
    show_batch: Annotated[Path | None, typer.Option(help="Write a PNG of what the network is shown, and end.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print what would be done, as YAML.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Train again what is done, begin again what was begun.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network on the tiles of a run folder: a member each repetition and seed. Run again to go on.

    Several GPUs or machines: accelerate launch -m sarcoscope train CONFIG. Exit code 0: every member is trained;
    1: some failed; 2: none is, or wrong usage; 130: interrupted.
    """
    given = {"run": run, "name": name, "mpp": mpp, "folds": fold, "seeds": seed, "workers": workers}
    given |= {"device": "cpu" if cpu else None}
    inner: dict[str, dict[str, Any]] = {
        "network": {"name": network, "weights": weights},
        "length": {"epochs": epochs, "batch": batch},
    }
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli import train_run

        asked = train_run.train_config(config, given, inner)
        if print_config:
            from sarcoscope.formats.config import config_text

            print_json({"config": config_text(asked)}) if as_json else say(config_text(asked))
            raise typer.Exit
        train_run.check_extra()
        if show_batch:
            from sarcoscope.stages.batch_sheet import show_batch as write_sheet

            write_sheet(asked, show_batch)
            print_json({"picture": str(show_batch)}) if as_json else say(f"what the network is shown: {show_batch}")
            raise typer.Exit
        from sarcoscope.cli import train_show

        summary = train_show.run_train(asked, force=force)
    train_show.show(summary, asked, as_json=as_json)
    raise typer.Exit(summary.exit_code)
