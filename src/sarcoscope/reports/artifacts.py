"""The artefacts of one diagnosed slide, read and checked against each other."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.geometry import Rgb
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.diagnoses import DiagnosisRecord, count_tiles, read_diagnosis
from sarcoscope.formats.tiles import read_tiles
from sarcoscope.reports.colors import parse_color

_AGAIN = "run diagnose again"


class EvidenceEntry(BaseModel):
    """One entry of evidence/evidence.json: a most confident tile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[A-Za-z0-9_+-][A-Za-z0-9._+-]*\.jpe?g$")
    """Beside evidence.json."""
    code: str
    row: int
    column: int
    probability: float = Field(ge=0, le=1)


_ENTRIES = TypeAdapter(list[EvidenceEntry])


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A most confident tile with its picture."""

    entry: EvidenceEntry
    jpeg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideArtifacts:
    """What diagnose wrote of one slide."""

    folder: Path
    record: DiagnosisRecord
    tiles: list[Tile]
    probabilities: Probabilities
    """(kept, C), the classes in the order of the record."""
    thumbnail: Rgb
    thumbnail_jpeg: bytes
    evidence: tuple[Evidence, ...]


def read_jpeg(path: Path) -> tuple[Rgb, bytes]:
    """Pixels and file content of a JPEG. ArtifactError where it is missing or does not decode."""
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content), formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB")), content
    except (OSError, Image.DecompressionBombError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "not a JPEG that decodes"
        raise ArtifactError(path, f"cannot be read ({said})", _AGAIN) from error


def _read_evidence(folder: Path) -> tuple[Evidence, ...]:
    listed = folder / "evidence.json"
    if not listed.exists():
        return ()
    try:
        entries = _ENTRIES.validate_json(listed.read_bytes())
    except OSError as error:
        raise ArtifactError(listed, f"cannot be read ({error.strerror})", _AGAIN) from error
    except ValidationError as error:
        raise ArtifactError(listed, "not a list of evidence tiles", _AGAIN) from error
    return tuple(Evidence(entry=entry, jpeg=read_jpeg(folder / entry.file)[1]) for entry in entries)


def read_artifacts(folder: Path) -> SlideArtifacts:
    """Read a slide's folder. ArtifactError names the file that is missing, damaged or of another run."""
    record = read_diagnosis(folder / "diagnosis.json")
    try:
        for item in record.classes:
            parse_color(item.color)
    except InputError as error:
        raise ArtifactError(folder / "diagnosis.json", f"class {item.code}: {error.problem}", _AGAIN) from error
    path = folder / "tiles.parquet"
    if not path.is_file():
        raise ArtifactError(path, "is missing", _AGAIN)
    tiles, probabilities, classes = read_tiles(path)
    if list(classes) != [item.code for item in record.classes]:
        raise ArtifactError(path, f"holds classes {', '.join(classes)}, diagnosis.json others", _AGAIN)
    if count_tiles(tiles) != record.tiles or len(probabilities) != sum(record.votes.values()):
        raise ArtifactError(path, "does not hold the tiles that diagnosis.json counts", _AGAIN)
    thumbnail, jpeg = read_jpeg(folder / "thumbnail.jpg")
    return SlideArtifacts(
        folder=folder,
        record=record,
        tiles=tiles,
        probabilities=probabilities,
        thumbnail=thumbnail,
        thumbnail_jpeg=jpeg,
        evidence=_read_evidence(folder / "evidence"),
    )
