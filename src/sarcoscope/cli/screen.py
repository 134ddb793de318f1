"""`sarcoscope screen`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from sarcoscope.cli.console import Debug, Json, errors_told, percent, print_json, say, tell

if TYPE_CHECKING:
    from sarcoscope.metrics.agreement import Agreement
    from sarcoscope.stages.screening_merge import Merged
    from sarcoscope.viewer.serving import Addresses

_OPEN = "open"


class _OpensByDefault(TyperGroup):
    """`screen RUN` is `screen open RUN`; a run folder that is called like a command is given as ./merge."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = [_OPEN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_OpensByDefault,
    help="Look through a cohort's tiles on a local page and take out what does not belong: sarcoscope screen RUN.",
    no_args_is_help=True,
)


@app.command(_OPEN)
def open_page(
    run: Annotated[Path, typer.Argument(help="A run folder that holds tiles.")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on this machine; 0 takes a free one.")] = 8765,
    reader: Annotated[str, typer.Option(help="Who decides; the login name where none is given.")] = "",
    predictions: Annotated[
        Path | None, typer.Option(help="Output folder of sarcoscope diagnose, to sort by model disagreement.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show what was decided, change nothing.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open no browser.")] = False,
    debug: Debug = False,
) -> None:
    """Open the page; the word `open` may be left out. Ctrl+C ends it. Decisions are saved at once to RUN/screening.csv.

    The page answers on this machine only, to whoever has the address that is printed.
    """
    with errors_told(as_json=False, debug=debug):
        import threading
        import webbrowser

        from sarcoscope.core.errors import InputError
        from sarcoscope.viewer.serving import serve

        if predictions is not None and not predictions.is_dir():
            raise InputError(f"{predictions}: there is no such folder", "give the output folder of sarcoscope diagnose")

        def ready(addresses: "Addresses") -> None:
            say(addresses.to_print)
            tell("screening; Ctrl+C ends it, every decision is saved at once")
            if not no_browser:  # in a thread, since some wait for its end
                threading.Thread(target=webbrowser.open, args=(addresses.for_browser,), daemon=True).start()

        serve(run, port=port, reader=_reader(reader), read_only=read_only, predictions=predictions, ready=ready)


@app.command()
def merge(
    files: Annotated[list[Path], typer.Argument(help="The screening.csv of two or more readers.")],
    out: Annotated[Path, typer.Option(help="The merged file; put it into the run folder as screening.csv.")],
    rule: Annotated[
        str, typer.Option(help="Out where any reader rejects, where all who decided do, or as the first one says.")
    ] = "any",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Several readers' decisions to one file, with Cohen's kappa between each two of them."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cohort.screening import Rule
        from sarcoscope.core.errors import InputError
        from sarcoscope.stages.screening_merge import merge_screening

        if rule not in set(Rule):
            raise InputError(f"--rule {rule}", f"give one of {', '.join(Rule)}")
        merged = merge_screening(files, out, Rule(rule))
    if as_json:
        print_json({"out": str(out), **_as_json(merged)})
        return
    for line in _lines(merged):
        say(line)
    tell(f"written: {out}")


def _reader(given: str) -> str:
    """The reader's name: given, else of the login, else 'reader'."""
    import getpass

    try:
        name = given or getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = "reader"
    return " ".join(name.split())


def _as_json(merged: "Merged") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(merged)


def _lines(merged: "Merged") -> list[str]:

    lines = [
        f"{name}: {merged.decided[name]} tiles decided, {merged.rejected_by[name]} rejected" for name in merged.readers
    ]
    lines += [f"{pair.one} and {pair.other}: {_kappa(pair.agreement)}" for pair in merged.pairs]
    if len(merged.readers) < 2:
        lines.append("one reader only: no kappa; each reader gives a name with sarcoscope screen --reader NAME")
    lines.append(
        f"by the rule {merged.rule}: {merged.rejected} of {merged.tiles} tiles rejected, {merged.disputed} disputed"
    )
    return lines


def _kappa(found: "Agreement") -> str:
    same = f"{found.n} tiles decided by both, {percent(found.agreement)} the same"
    if found.kappa is None or found.low is None or found.high is None:
        return f"{same}, kappa undefined: {found.undefined}"
    return f"{same}, kappa {found.kappa:.2f} (95 % interval {found.low:.2f} to {found.high:.2f})"
