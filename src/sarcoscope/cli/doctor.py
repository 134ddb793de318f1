"""`sarcoscope doctor`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from sarcoscope.cli.console import Debug, Json, errors_told, out, print_json

_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red bold")}


def doctor(
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Where results would go: its disk is looked at.")
    ] = Path(),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What this machine has, a short self-test of reading and inference, and what to type where it is wrong.

    Exit code 0: all well or warnings only; 2: something does not work.
    """
    with errors_told(as_json=as_json, debug=debug):
        from dataclasses import asdict

        from sarcoscope.stages.doctor import examine

        checks = examine(folder)
    failed = [check for check in checks if check.state == "fail"]
    if as_json:
        print_json({"healthy": not failed, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            mark, style = _MARKS[check.state]
            out.print(Text.assemble((mark, style), f"  {check.name:<26}{check.found}"), soft_wrap=True)
            if check.advice:
                out.print(Text(f"{'':6}{'':<26}-> {check.advice}"), soft_wrap=True)
    raise typer.Exit(2 if failed else 0)
