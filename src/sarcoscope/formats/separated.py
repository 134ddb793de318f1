"""Tables as people and table programs write them: commas, semicolons or tabs, with or without a byte order mark."""

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import ArtifactError

SEPARATORS: Final = ",;\t"
_SEP_LINE: Final = re.compile(r"sep=[,;\t]\r?")
"""What Excel understands in front of a heading."""


@dataclass(frozen=True, slots=True)
class Separated:
    """A table as it stands in its file."""

    line: int
    """Of the heading, counted from 1."""
    names: tuple[str, ...]
    """The heading, stripped."""
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """Line and cells of every row that holds anything, as they are."""

    @property
    def heading(self) -> tuple[str, ...]:
        """The names in lower case."""
        return tuple(name.lower() for name in self.names)


def read_separated(path: Path, known: Collection[str], absent: str = "check the spelling and the folder") -> Separated:
    """Read a table; `known` are names of columns that tell what separates its cells, `absent` what to do without it.

    Raises ArtifactError where there is no such file, or none that is a table in UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ArtifactError(path, "there is no such file", absent) from error
    except UnicodeDecodeError as error:
        advice = "give a CSV file in UTF-8 (Excel: Save as, 'CSV UTF-8')"
        raise ArtifactError(path, f"cannot be read ({error})", advice) from error
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror or error})", "give a CSV file in UTF-8") from error
    first, _, rest = text.partition("\n")
    skipped, text = (1, rest) if _SEP_LINE.fullmatch(first) else (0, text)
    try:
        reader = csv.reader(StringIO(text, newline=""), delimiter=separator(text, known))
        names = tuple(name.strip() for name in next(reader, ()))
        line = reader.line_num + skipped
        rows = [(reader.line_num + skipped, tuple(cells)) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ArtifactError(path, f"cannot be read ({error})", "give a CSV file in UTF-8") from error
    return Separated(max(1, line), names, tuple(rows))


def separator(text: str, known: Collection[str]) -> str:
    """What stands between the names of the heading, which holds more known ones with it than with the others."""
    heading = text.partition("\n")[0]

    def found(one: str) -> int:
        return len({name.strip(' "\r\ufeff').lower() for name in heading.split(one)} & set(known))

    return max(SEPARATORS, key=lambda one: (found(one), heading.count(one)))
