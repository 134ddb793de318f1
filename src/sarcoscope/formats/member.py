"""A trained network, members/NAME/: what came of one training, and all that has to be known to use or repeat it.

member.json          what is below, with a hash of each file beside it
weights.safetensors  the weights that were kept
model.onnx           the same network as a bundle has it
head.npz             its linear layer
history.csv          an epoch a line
predictions.parquet  probabilities of the tiles that it did not train on
"""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sarcoscope.core.appearance import METHODS, Appearance
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.names import CODE, NAME
from sarcoscope.core.training import TrainConfig
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.atomic import write_bytes, write_json
from sarcoscope.formats.bundle import HashedFile, hashed
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.history import HISTORY_FILE

MEMBER_SCHEMA: Final = 1
PREDICTIONS_SCHEMA: Final = 1
MEMBER_FILE: Final = "member.json"
WEIGHTS_FILE: Final = "weights.safetensors"
MODEL_FILE: Final = "model.onnx"
HEAD_FILE: Final = "head.npz"
PREDICTIONS_FILE: Final = "predictions.parquet"
_KIND: Final = "sarcoscope.member"
_PREDICTIONS_KIND: Final = "sarcoscope.predictions"
_AGAIN: Final = "train it again with --force"

Code = Annotated[str, Field(pattern=f"^{CODE}$")]
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Rgb = tuple[float, float, float]
"""Red, green, blue, of px in 0..1."""
Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MemberFiles(_Part):
    """The files beside member.json."""

    weights: HashedFile
    model: HashedFile
    head: HashedFile
    history: HashedFile
    predictions: HashedFile


class Normalised(_Part):
    """How tiles are evened out before the network sees them."""

    method: str = Field(pattern=f"^(none|{'|'.join(METHODS)})$")
    target: Appearance | None = None
    """As in appearance.json; None where nothing is evened out."""
    record: dict[str, Any] = {}
    """What the target was chosen from."""

    @model_validator(mode="after")
    def _target_where_needed(self) -> Self:
        if (self.method == "none") != (self.target is None):
            raise ValueError(f"normalise {self.method} {'without' if self.target is None else 'with'} a target")
        return self


class Balanced(_Part):
    """How often tiles of each class were drawn."""

    multipliers: dict[Code, int]
    asked: dict[Code, float]
    """Shares of the classes among drawn tiles as they were asked for, 0..1."""
    realised: dict[Code, float]
    """The same as they came out."""


class OnnxCheck(_Part):
    """How model.onnx was compared with the network that was trained."""

    max_abs_difference: float = Field(ge=0)
    """Largest difference of a probability."""
    tiles: int = Field(ge=1)
    """On so many tiles."""


class MemberProvenance(_Part):
    """What it was trained with."""

    version: str
    """Of sarcoscope."""
    git_commit: str | None
    """None outside a checkout."""
    libraries: dict[str, str | None]
    machine: dict[str, Any]
    device: str
    hardware: dict[str, Any]
    trackers: tuple[str, ...] = ()
    """Those that were told of each epoch."""
    started: str
    """UTC, ISO 8601."""
    seconds: float = Field(ge=0)
    """Of training, over all processes that went on with it."""
    energy_wh: float | None = Field(ge=0)
    """Watt-hours; None where they could not be read."""
    energy_of: str = ""
    """What was measured."""
    energy_why_not: str = ""
    """What was not measured, and why."""

    @model_validator(mode="after")
    def _says_why_not(self) -> Self:
        if self.energy_wh is None and not self.energy_why_not:
            raise ValueError("no energy, and no reason why not")
        return self


class MemberRecord(_Part):
    """Content of member.json."""

    kind: Literal["sarcoscope.member"] = "sarcoscope.member"
    schema_version: Literal[1] = MEMBER_SCHEMA
    name: Name
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of all that it depends on; a training of an equal key is not done again."""
    synthetic: bool
    """Trained on phantoms: never of any clinical meaning."""
    classes: tuple[Code, ...] = Field(min_length=2)
    """In the order of the outputs."""
    architecture: str
    features: int = Field(ge=1)
    """Channels of the last feature maps, hence inputs of the linear layer."""
    side_px: int = Field(ge=1)
    """Of its tiles."""
    trained_mpp: tuple[Positive, ...] = Field(min_length=1)
    """um/px of training tiles."""
    validation_mpp: Positive
    """um/px of validation and test tiles."""
    mean: Rgb
    std: Rgb
    """Tiles are brought to (px / 255 - mean) / std; the graph does so itself."""
    normalise: Normalised
    fold: str
    """The repetition of the split that it was trained in."""
    seed: int
    split_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tiles: dict[Part, dict[str, int]]
    """Tiles used, by part and class."""
    balance: Balanced
    weights_origin: str
    """What it started from."""
    weights_report: dict[str, Any] = {}
    """How that fitted the network."""
    config: TrainConfig
    plan: dict[str, Any]
    """What the config left open, as it was settled."""
    metrics: dict[Part, dict[str, int | float | None]]
    """None where there is no answer."""
    best_epoch: int = Field(ge=1)
    """Whose weights were kept."""
    epochs: int = Field(ge=1)
    """How many there were."""
    stopped: str = Field(pattern="^(by its length|early)$")
    onnx: OnnxCheck
    files: MemberFiles
    provenance: MemberProvenance

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes named twice: {', '.join(self.classes)}")
        for name, values in self.balance:
            if strangers := sorted(set(values) - set(self.classes)):
                raise ValueError(f"balance.{name} of {strangers[0]}, which is no class")
        if self.best_epoch > self.epochs:
            raise ValueError(f"best epoch {self.best_epoch} of {self.epochs}")
        return self


def hash_files(folder: Path) -> MemberFiles:
    """Hash the files that a member's folder has to hold. ArtifactError names the one that is missing."""
    names = {
        "weights": WEIGHTS_FILE,
        "model": MODEL_FILE,
        "head": HEAD_FILE,
        "history": HISTORY_FILE,
        "predictions": PREDICTIONS_FILE,
    }
    found = {}
    for part, name in names.items():
        try:
            found[part] = hashed(folder, name)
        except OSError as error:
            raise ArtifactError(folder / name, f"cannot be read ({error.strerror})", _AGAIN) from error
    return MemberFiles(**found)


def write_member(folder: Path, member: MemberRecord) -> None:
    """Write FOLDER/member.json atomically, last of all files: what it lists is there. Raises ArtifactError."""
    write_json(folder / MEMBER_FILE, member.model_dump(mode="json"))


def read_member(folder: Path, *, check_files: bool = False) -> MemberRecord:
    """Read FOLDER/member.json; `check_files` compares every file with its hash, which reads them whole.

    ArtifactError where the record or a file is missing, damaged or of another schema.
    """
    path = folder / MEMBER_FILE
    try:
        values = json.loads(path.read_bytes(), parse_constant=_no_constant)
        if not isinstance(values, dict) or (values.get("kind"), values.get("schema_version")) != (_KIND, MEMBER_SCHEMA):
            raise ArtifactError(path, f"not a member of schema {MEMBER_SCHEMA}", _AGAIN)
        member = MemberRecord.model_validate(values)
    except FileNotFoundError as error:
        raise ArtifactError(path, "there is no such file", "give the folder of a trained member") from error
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", _AGAIN) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(path, f"{where}: {first['msg']}" if where else first["msg"], _AGAIN) from error
    except (InputError, ValueError) as error:
        raise ArtifactError(path, f"damaged ({error})", _AGAIN) from error
    if check_files:
        for _, file in member.files:
            _check(folder, file)
    return member


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check(folder: Path, file: HashedFile) -> None:
    path = folder / file.path
    try:
        found = sha256_file(path)
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror})", _AGAIN) from error
    if found != file.sha256:
        raise ArtifactError(path, f"does not match the hash in {MEMBER_FILE}", _AGAIN)


PREDICTION_COLUMNS: Final[dict[str, Any]] = {
    "slide": pl.String,
    "tile": pl.String,
    "mpp": pl.Float64,
    "part": pl.String,
    "label": pl.String,
}
"""Columns before those of the probabilities, `p_CODE`, and their types; `label` is the true class."""


def write_predictions(path: Path, tiles: pl.DataFrame, probabilities: Probabilities, classes: Sequence[str]) -> None:
    """Write atomically.

    Args:
        path: the parquet file.
        tiles: (N) rows with the columns `PREDICTION_COLUMNS`; others are left out.
        probabilities: (N, C), kept in float64, so that metrics can be computed again.
        classes: the C class codes.

    Raises InputError where the shapes do not fit, and ArtifactError where the file cannot be written.
    """
    if probabilities.shape != (len(tiles), len(classes)):
        problem = f"probabilities of shape {probabilities.shape} for {len(tiles)} tiles and {len(classes)} classes"
        raise InputError(problem, "give a row a tile and a column a class")
    columns = {f"p_{code}": pl.Series(probabilities[:, at], dtype=pl.Float64) for at, code in enumerate(classes)}
    frame = tiles.select(*PREDICTION_COLUMNS).cast(pl.Schema(PREDICTION_COLUMNS)).with_columns(**columns)
    content = BytesIO()  # written by us: a full disk gets our error, not the library's
    metadata = {"kind": _PREDICTIONS_KIND, "schema_version": str(PREDICTIONS_SCHEMA)}
    frame.write_parquet(content, metadata=metadata)
    write_bytes(path, content.getvalue())


def read_predictions(path: Path) -> tuple[pl.DataFrame, Probabilities, tuple[str, ...]]:
    """(N) tiles, their (N, C) float64 probabilities, and the C class codes, as `write_predictions` got them.

    ArtifactError where the file is missing, damaged or of another schema.
    """
    try:
        metadata = pl.read_parquet_metadata(path)
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(path, f"not a readable parquet file ({error})", _AGAIN) from error
    found = (metadata.get("kind"), metadata.get("schema_version"))
    if found != (_PREDICTIONS_KIND, str(PREDICTIONS_SCHEMA)):
        raise ArtifactError(path, f"not predictions of schema {PREDICTIONS_SCHEMA}", _AGAIN)
    classes = tuple(name.removeprefix("p_") for name in frame.columns if name.startswith("p_"))
    values = frame.select([f"p_{code}" for code in classes])
    return frame.select(*PREDICTION_COLUMNS), np.ascontiguousarray(values.to_numpy(), np.float64), classes
