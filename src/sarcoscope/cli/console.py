"""What all commands share: where output goes, how errors are told, exit codes.

Exit codes: 0 done; 1 some slides failed, others are done; 2 nothing could be done, or wrong usage; 130 interrupted.
With --json, stdout holds exactly one object; everything else goes to stderr.
"""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sarcoscope.core.errors import SarcoscopeError

Json = Annotated[bool, typer.Option("--json", help="Print one machine-readable object to stdout and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

err = Console(stderr=True, highlight=False)
out = Console(highlight=False)

_INTERRUPTED = 130
_KEPT = "what was finished is kept; run the same command again to go on"


def print_json(value: Any) -> None:
    """One object to stdout, in ASCII: a pipe may have any encoding."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def clean(text: str) -> str:
    """Text without control characters: a file must not be able to steer the terminal."""
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)


def tell(message: str) -> None:
    """A message to stderr, never wrapped or interpreted as markup."""
    err.print(clean(message), markup=False, soft_wrap=True)


def say(message: str) -> None:
    """A message to stdout, never wrapped or interpreted as markup."""
    out.print(clean(message), markup=False, soft_wrap=True)


@contextmanager
def errors_told(*, as_json: bool, debug: bool, interrupted: str = _KEPT) -> Iterator[None]:
    """Tell our own errors in one line and leave with the documented exit code; others are bugs and show themselves.

    `interrupted` is what becomes of the work where somebody presses Ctrl-C.
    """
    try:
        yield
    except SarcoscopeError as error:
        problem: BaseException = error
        code, words = 2, str(error)
    except KeyboardInterrupt as error:
        problem, code = error, _INTERRUPTED
        words = f"interrupted: {interrupted}"
    else:
        return
    if debug:
        tell("".join(traceback.format_exception(problem)))
    tell(f"error: {words}" if code == 2 else words)
    if as_json:
        print_json({"error": words, "kind": type(problem).__name__})
    traceback.clear_frames(problem.__traceback__)  # what it held, as worker processes, ends in order before Python does
    raise typer.Exit(code)


def progress_bars() -> Progress:
    """Bars with counts and times, on stderr so that stdout stays clean."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        transient=False,
    )


def percent(share: float | None) -> str:
    """A share as '61.2 %', or a dash."""
    return "-" if share is None else f"{100 * share:.1f} %"
