"""`sarcoscope ensemble`."""

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, say

app = typer.Typer(help="Fuse trained members: rank combinations, make a bundle of one.", no_args_is_help=True)

Rule = Annotated[str, typer.Option(help="mean, weighted (fitted on validation), product or vote.")]
Mode = Annotated[str, typer.Option(help="shared: all read one tile; concentric: each its own scale around its centre.")]
Fold = Annotated[str, typer.Option(help="Repetition of the split, where members of several are there.")]
Anchor = Annotated[float | None, typer.Option(help="um/px of the tiles around whose centres concentric members read.")]
Scale = Annotated[list[str] | None, typer.Option(help="MEMBER=UM_PER_PX that it reads, concentric; repeat.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that read.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads that compute; 0 takes every core.")]


@app.callback()
def options() -> None:
    """Fuse trained members: rank combinations, make a bundle of one."""


@app.command()
def make(
    members: Annotated[list[Path], typer.Argument(help="Folders of trained members, RUN/members/NAME.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle.")],
    run: Annotated[Path | None, typer.Option(help="Run folder; that of the first member where left out.")] = None,
    rule: Rule = "mean",
    mode: Mode = "shared",
    rules: Annotated[Path | None, typer.Option(help="YAML of the slide level; see `ensemble rules`.")] = None,
    name: Annotated[str, typer.Option(help="Of the bundle; its folder's where left out.")] = "",
    anchor: Anchor = None,
    scale: Scale = None,
    level: Annotated[float, typer.Option(help="Share of slides whose set is to hold their class.")] = 0.9,
    class_name: Annotated[list[str] | None, typer.Option(help="CODE=WORDS, a class in words; repeat.")] = None,
    intended_use: Annotated[str, typer.Option(help="One sentence on what it is for.")] = "",
    not_for: Annotated[str, typer.Option(help="One sentence on what it is not for.")] = "",
    fold: Fold = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of training tiles to compare with.")] = 0,
    workers: Workers = 2,
    threads: Threads = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fuse and calibrate members on validation tiles and slides; a bundle that `diagnose` takes. No test set is read.

    Exit code 0: all validation slides went in; 1: some could not be read, the bundle is made without them; 2: none is
    made, or wrong usage; 130: interrupted, predictions are kept.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli import ensemble_show
        from sarcoscope.diagnosis.rules import SlideRules
        from sarcoscope.formats.config import read_config
        from sarcoscope.stages.ensemble import EnsembleAsk

        said = {"intended_use": intended_use, "not_for": not_for}
        ask = EnsembleAsk(
            run=run or ensemble_show.run_of(members),
            members=tuple(members),
            out=out,
            name=name,
            mode=mode,
            rule=rule,
            rules=read_config(rules, SlideRules, example="sarcoscope ensemble rules") if rules else SlideRules(),
            class_names=ensemble_show.pairs("--class-name", class_name, "CODE=WORDS"),
            fold=fold,
            anchor=anchor,
            scales=ensemble_show.scales(scale),
            level=level,
            seed=seed,
            workers=workers,
            threads=threads,
            **{key: words for key, words in said.items() if words},
        )
        made, failed = ensemble_show.run_make(ask)
    ensemble_show.show_made(made, failed, as_json=as_json)
    raise typer.Exit(1 if failed else 0)


@app.command()
def search(
    run: Annotated[Path, typer.Argument(help="Run folder with tiles, a split and members.")],
    members: Annotated[
        list[Path] | None, typer.Argument(help="Folders of members; all of RUN/members if none.")
    ] = None,
    rule: Rule = "mean",
    mode: Mode = "shared",
    metric: Annotated[
        str, typer.Option(help="tile_balanced_accuracy, tile_accuracy, tile_macro_f1, tile_macro_auc, tile_log_loss.")
    ] = "tile_balanced_accuracy",
    most: Annotated[int | None, typer.Option(help="Members of a combination at most.")] = None,
    draws: Annotated[int, typer.Option(help="Of the bootstrap over patients or slides.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    top: Annotated[int, typer.Option(min=1, help="Rows to print; the files hold all.")] = 10,
    name: Annotated[str, typer.Option(help="Of the files, RUN/ensembles/NAME.json and .csv.")] = "search",
    fold: Fold = "",
    anchor: Anchor = None,
    scale: Scale = None,
    workers: Workers = 2,
    threads: Threads = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Rank all combinations of members on validation tiles, and say which cannot be told from the best.

    Exit code 0: ranked; 1: ranked without slides that could not be read; 2: not ranked, or wrong usage; 130:
    interrupted, predictions are kept.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli import ensemble_show
        from sarcoscope.stages.ensemble import SearchAsk

        ask = SearchAsk(
            run=run,
            members=tuple(members or ()),
            name=name,
            rule=rule,
            mode=mode,
            metric=metric,
            most=most,
            draws=draws,
            seed=seed,
            fold=fold,
            anchor=anchor,
            scales=ensemble_show.scales(scale),
            workers=workers,
            threads=threads,
        )
        found, failed = ensemble_show.run_search(ask)
    ensemble_show.show_search(found, ask, failed, top=top, as_json=as_json)
    raise typer.Exit(1 if failed else 0)


@app.command()
def rules(as_json: Json = False, debug: Debug = False) -> None:
    """Print the paper's slide-level rules for its five classes as YAML, to be changed and given to `make --rules`."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.diagnosis.published import PAPER_RULES
        from sarcoscope.formats.config import config_text

        text = config_text(PAPER_RULES)
    print_json({"rules": text}) if as_json else say(text.rstrip("\n"))
