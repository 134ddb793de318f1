"""cam.json: which tiles were looked into, what was said of them, and their class activation maps in numbers.

The maps themselves lie beside it in maps.npz, the sheets that show them as PNG.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.atomic import write_bytes, write_json
from sarcoscope.formats.bundle import BundleClass

CAM_FILE: Final = "cam.json"
MAPS_FILE: Final = "maps.npz"
CAM_SCHEMA: Literal[1] = 1
_AGAIN: Final = "run sarcoscope explain again"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CamClass(_Record):
    """A class's map of a tile in numbers, in units of a logit."""

    logit: float
    """`mean` and the class's bias; of several members the mean."""
    mean: float
    least: float
    largest: float
    positive: float
    """Share of the map that speaks for the class, 0..1."""
    at: tuple[float, float]
    """Where it is largest: shares of width and height from the upper left."""


class CamView(_Record):
    """What members were shown, and their mean maps."""

    members: list[str]
    mpp: float | None
    """um/px; None where nothing says."""
    array: str
    """Its name in maps.npz: (C, h, w) float32, a map for each class in order."""
    classes: dict[str, CamClass]


class CamTile(_Record):
    """A tile that was looked into."""

    slide: str
    tile: str
    label: str | None
    """True class, which is its slide's; None where nobody says."""
    components: list[str]
    """Further tumour components of its slide: what is told as one of them need not be wrong."""
    told: str
    """Most probable class."""
    pooled: bool
    """Whether tiles of its class were dealt out one by one, so that its like may have been trained on."""
    probabilities: dict[str, float]
    """Fused, at the bundle's temperature."""
    views: list[CamView]


class CamSheet(_Record):
    """One picture."""

    file: str
    code: str
    """True class of its tiles; of kind `told` the predicted one."""
    kind: Literal["right", "wrong", "uncertain", "told"]
    tiles: list[int]
    """Places in `CamRecord.tiles`, as they stand on the sheet."""


class CamRecord(_Record):
    """The file's content; field names are the JSON's keys."""

    kind: Literal["sarcoscope.cam"] = "sarcoscope.cam"
    schema_version: Literal[1] = CAM_SCHEMA
    research_use_only: Literal[True] = True
    synthetic: bool
    """Whether the bundle was trained on phantoms, or the slides are phantoms."""
    notice: str
    bundle: str
    bundle_sha256: str
    part: str | None
    """Of the run; None for a single slide."""
    fold: str
    classes: list[BundleClass]
    members: list[str]
    """Whose maps are shown."""
    combined: str
    """What a map is where there are several members, in words."""
    sheets: list[CamSheet]
    tiles: list[CamTile]
    missing: list[str]
    """Sheets that there is no tile for, in words."""
    failures: dict[str, str]
    """By slide, why its tiles could not be read."""
    provenance: dict[str, Any]


def write_cam(path: Path, record: CamRecord, maps: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Write the maps beside `path`, then the record, each atomically. Raises ArtifactError."""
    content, arrays = BytesIO(), dict[str, Any](maps)
    np.savez_compressed(content, **arrays)
    write_bytes(path.with_name(MAPS_FILE), content.getvalue())
    write_json(path, record.model_dump(mode="json"))


def read_cam(path: Path) -> CamRecord:
    """ArtifactError where the file is missing, damaged or of another schema."""
    try:
        return CamRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", _AGAIN) from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ArtifactError(path, f"damaged or of another schema ({where}: {problem['msg']})", _AGAIN) from error


def read_maps(folder: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The maps beside a cam.json, (C, h, w) by the name of `CamView.array`. ArtifactError where they are damaged."""
    path = folder / MAPS_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(path, f"not readable arrays ({error})", _AGAIN) from error
