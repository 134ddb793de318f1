"""Published tables against their own counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sarcoscope.core.errors import ArtifactError, shown
from sarcoscope.formats.published import read_published
from sarcoscope.metrics.audit import Audited, audited


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What came of each table, by its path as it was given."""

    tables: Mapping[str, Audited]
    errors: Mapping[str, str]
    """Of tables that could not be read, why."""

    @property
    def exit_code(self) -> int:
        """2 where any table could not be read, else 1 where any cell is wrong, else 0."""
        if self.errors:
            return 2
        return 1 if any(table.misprints for table in self.tables.values()) else 0


def audit_tables(paths: Sequence[Path]) -> AuditReport:
    """Audit each table by itself: one that cannot be read keeps no other from it."""
    tables, errors = {}, {}
    for path in paths:
        try:
            tables[shown(path)] = audited(read_published(path))
        except ArtifactError as error:
            errors[shown(path)] = str(error)
    return AuditReport(tables=tables, errors=errors)
