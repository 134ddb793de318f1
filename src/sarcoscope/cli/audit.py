"""`sarcoscope audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, say, tell

if TYPE_CHECKING:
    from sarcoscope.metrics.audit import Audited
    from sarcoscope.stages.audit import AuditReport


def audit(
    tables: Annotated[
        list[Path], typer.Argument(help="CSV: model,variant,CLASS_true,CLASS_false,CLASS_acc_printed,...,overall_...")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Recompute published tables from their own counts, and name each cell that disagrees, one a line.

    Exit code 0: all cells agree, or there are no counts; 1: some do not; 2: a table could not be read.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.stages.audit import audit_tables

        report = audit_tables(tables)
    for words in report.errors.values():
        tell(f"error: {words}")
    if as_json:
        _print(report)
    else:
        for name, table in report.tables.items():
            for one in table.misprints:
                say(f"{name}: {one.row}: {one.cell}: printed {one.printed}, recomputed {one.recomputed}")
            tell(f"{name}: {_summary(table)}")
    raise typer.Exit(report.exit_code)


def _summary(table: "Audited") -> str:
    if not table.checked:
        return "no counts, so nothing to recompute"
    from sarcoscope.reports.wording import plural

    rows, cells = plural(table.rows, "row"), plural(table.checked, "cell")
    return f"{rows}, {cells} recomputed, {len(table.misprints) or 'none'} of them wrong"


def _print(report: "AuditReport") -> None:
    from dataclasses import asdict

    tables = report.tables.items()
    print_json(
        {
            "tables": [{"table": name, "rows": one.rows, "checked": one.checked} for name, one in tables],
            "findings": [{"table": name, **asdict(found)} for name, one in tables for found in one.misprints],
            "errors": [{"table": name, "error": words} for name, words in report.errors.items()],
            "exit_code": report.exit_code,
        }
    )
