"""manifest.csv: the slides of a cohort and what is known of them."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Mpp


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One slide of a cohort."""

    slide: str
    path: Path
    """Absolute, or relative to the manifest's folder as written; resolved here."""
    label: str | None = None
    components: tuple[str, ...] = ()
    """Codes of further tumour components, separated by ';' in the file."""
    mpp: Mpp | None = None
    """Microns per pixel of level 0 where the file does not say."""
    patient: str | None = None
    batch: str | None = None


def _row(path: Path, number: int, values: dict[str, str | None]) -> ManifestRow:
    def cell(name: str) -> str:
        return (values.get(name) or "").strip()

    if not cell("path"):
        raise ArtifactError(path, f"row {number}: no path", "fill the column 'path'")
    try:
        mpp = float(cell("mpp")) if cell("mpp") else None
    except ValueError as error:
        raise ArtifactError(
            path, f"row {number}: mpp {cell('mpp')!r} is not a number", "give um/px, e.g. 0.5"
        ) from error
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise ArtifactError(path, f"row {number}: mpp {cell('mpp')!r} is not positive", "give um/px, e.g. 0.5")
    slide_path = path.parent / cell("path")
    return ManifestRow(
        slide=cell("slide") or slide_path.stem,
        path=slide_path,
        label=cell("label") or None,
        components=tuple(part.strip() for part in cell("components").split(";") if part.strip()),
        mpp=None if mpp is None else Mpp(mpp),
        patient=cell("patient") or None,
        batch=cell("batch") or None,
    )


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read a cohort. ArtifactError names the row and the column that is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            if "path" not in reader.fieldnames:
                advice = "columns slide,path,label,mpp,... separated by commas"
                raise ArtifactError(path, "no column 'path' in the first line", advice)
            rows = [_row(path, reader.line_num, values) for values in reader]
    except FileNotFoundError as error:
        raise ArtifactError(path, "there is no such file", "check the spelling and the folder") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtifactError(path, f"cannot be read ({error})", "give a CSV file in UTF-8") from error
    if not rows:
        raise ArtifactError(path, "lists no slides", "add a row for each slide")
    return rows
