"""ids.csv: which slide and patient each ready-made tile is of."""

from pathlib import Path
from typing import Final

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.separated import read_separated

_IDS: Final = ("slide", "patient", "batch")


def read_tile_ids(path: Path) -> dict[str, dict[str, str]]:
    """By file (below the cohort's folder, or its bare name): `slide`, `patient`, `batch`, as far as there are columns.

    Raises ArtifactError, naming the line, where a file stands there twice with other ids.
    """
    table = read_separated(path, ("file", *_IDS))
    if "file" not in table.heading or not {"slide", "patient"} & set(table.heading):
        raise ArtifactError(path, "no columns 'file' and 'slide' or 'patient'", "columns file,slide,patient")
    found: dict[str, dict[str, str]] = {}
    for line, cells in table.rows:
        values = {name: cell.strip() for name, cell in zip(table.heading, cells, strict=False)}
        if not (file := values.pop("file", "").replace("\\", "/").removeprefix("./")):
            continue
        ids = {name: values.get(name, "") for name in _IDS}
        if found.setdefault(file, ids) != ids:
            raise ArtifactError(path, f"line {line}: {file} has other ids on an earlier line", "keep one")
    return found
