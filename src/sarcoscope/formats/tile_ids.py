"""ids.csv: which slide and patient each ready-made tile is of."""

import csv
from io import StringIO
from pathlib import Path

from sarcoscope.core.errors import ArtifactError


def read_tile_ids(path: Path) -> dict[str, dict[str, str]]:
    """By file (below the cohort's folder, or its bare name): `slide`, `patient`, `batch`, as far as there are columns.

    Raises ArtifactError, naming the line, where a file stands there twice with other ids.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        heading = text.partition("\n")[0]
        rows = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count))
        names = [name.strip().lower() for name in next(rows, [])]
        if "file" not in names or not {"slide", "patient"} & set(names):
            raise ArtifactError(path, "no columns 'file' and 'slide' or 'patient'", "columns file,slide,patient")
        found: dict[str, dict[str, str]] = {}
        for cells in rows:
            values = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
            if not (file := values.pop("file", "").replace("\\", "/").removeprefix("./")):
                continue
            ids = {name: values.get(name, "") for name in ("slide", "patient", "batch")}
            if found.setdefault(file, ids) != ids:
                raise ArtifactError(path, f"line {rows.line_num}: {file} has other ids on an earlier line", "keep one")
    except FileNotFoundError as error:
        raise ArtifactError(path, "there is no such file", "check the spelling and the folder") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtifactError(path, f"cannot be read ({error})", "give a CSV file in UTF-8") from error
    return found
