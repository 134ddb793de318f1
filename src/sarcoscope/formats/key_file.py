"""The key between source names and pseudonyms: a CSV that stays with whoever may know both.

The pseudonyms are random, so that nobody gets from one to the name without this file.
"""

import csv
import io
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import ArtifactError, InputError, shown
from sarcoscope.formats.alone import alone
from sarcoscope.formats.atomic import replacing

_COLUMNS: Final = ["source", "pseudonym"]
_PSEUDONYM: Final = re.compile(r"\w[\w.+-]{0,99}", re.ASCII)
"""Also those that people put in themselves must do as file names."""
_OWNER_ONLY: Final = 0o600
_RANDOM_BYTES: Final = 6
_REPAIR: Final = "restore it from a backup: without it no pseudonym can be traced back"


def random_pseudonym() -> str:
    """`slide-` and 12 random hex digits, from the system's source of secrets."""
    return f"slide-{secrets.token_hex(_RANDOM_BYTES)}"


class KeyFile:
    """Names and their pseudonyms. Any number of processes may use one key file at the same time."""

    def __init__(self, path: Path, *, draw: Callable[[], str] = random_pseudonym) -> None:
        """`draw` makes a pseudonym; it is asked again where it repeats one.

        Raises ArtifactError where the file is there but is no key file.
        """
        self.path = path
        self._draw = draw
        self._read()

    def pseudonym(self, name: str) -> str:
        """The pseudonym of `name`; that of a new name is on the disk before it is returned. Raises ArtifactError."""
        with alone(self.path):
            known = self._read()
            if name not in known:
                known[name] = self._new(set(known.values()))
                self._write(known)
            return known[name]

    def check_apart(self, out: Path) -> None:
        """Raise InputError where the key file lies in `out`, which is what is given away."""
        key, folder = (Path(os.path.realpath(path)) for path in (self.path, out))
        if folder == key or folder in key.parents:
            problem = f"the key file {shown(self.path)} lies inside {shown(out)}"
            raise InputError(problem, "keep it apart: whoever gets the slides must not get their names")

    def _new(self, taken: set[str]) -> str:
        while (drawn := self._draw()) in taken:
            pass
        return drawn

    def _read(self) -> dict[str, str]:
        try:
            text = self.path.read_bytes().decode("utf-8-sig", "surrogateescape")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ArtifactError(self.path, f"is no key file that can be read ({error})", _REPAIR) from error
        try:
            header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
        except csv.Error as error:
            raise ArtifactError(self.path, f"is damaged ({error})", _REPAIR) from error
        if header != _COLUMNS:
            raise ArtifactError(self.path, f"is no key file: its first line is not {','.join(_COLUMNS)}", _REPAIR)
        known: dict[str, str] = {}
        for number, row in enumerate(rows, start=2):
            if len(row) != len(_COLUMNS) or not row[0] or not _PSEUDONYM.fullmatch(row[1]):
                raise ArtifactError(self.path, f"entry {number} is not a source and a pseudonym", _REPAIR)
            if row[0] in known or row[1] in known.values():
                raise ArtifactError(self.path, f"entry {number} repeats a source or a pseudonym", _REPAIR)
            known[row[0]] = row[1]
        return known

    def _write(self, known: dict[str, str]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([_COLUMNS, *known.items()])
        with replacing(Path(os.path.realpath(self.path))) as temporary:  # behind a link, which stays one
            temporary.chmod(_OWNER_ONLY)
            content = text.getvalue().encode("utf-8", "surrogateescape")  # file names are bytes, not always UTF-8
            temporary.write_bytes(content)
