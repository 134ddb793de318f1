"""A bundle: what a hospital receives. A folder with bundle.json, bundle.sha256 and one folder a member.

Every file is listed with its hash in bundle.json, and bundle.sha256 holds the hash of bundle.json
itself, which is the bundle's hash. Nothing in a bundle is executable: ONNX graphs and arrays only.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sarcoscope.core.errors import BundleError, InputError
from sarcoscope.core.names import CODE, NAME
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.calibration import Calibration, Features
from sarcoscope.diagnosis.fusion import Probabilities, check_fusion
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.atomic import write_text
from sarcoscope.formats.hashing import sha256_file

BUNDLE_SCHEMA: Literal[2] = 2
_AGAIN = "get the bundle again from where it came"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BundleClass(_Part):
    """One class, in the order of the model's outputs."""

    code: str = Field(pattern=f"^{CODE}$")
    name: str
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")
    """The class's colour in every map, pie and export."""


class HashedFile(_Part):
    """A file of the bundle."""

    path: str
    """Relative to the bundle's folder, forward slashes."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _stays_inside(self) -> "HashedFile":
        parts = PurePosixPath(self.path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in self.path or ":" in self.path:
            raise ValueError(f"{self.path} leaves the bundle")
        return self


class BundleMember(_Part):
    """One network.

    Its graph takes `tiles` (B, tile_px, tile_px, 3) uint8 RGB, normalises inside, and returns `logits`
    (B, C) and `features` (B, F, h, w), the last feature maps before global mean pooling. `head` is an
    .npz with `weight` (C, F) and `bias` (C,), so that a class activation map is weight @ features.
    """

    name: str = Field(pattern=f"^{NAME}$")
    architecture: str
    trained_mpp: tuple[float, ...]
    """Scales of its training tiles, microns per pixel."""
    model: HashedFile
    head: HashedFile
    mpp: float | None = Field(default=None, gt=0)
    """um/px that it reads around each tile's centre in fusion mode `concentric`; None reads the tile itself."""
    metrics: dict[str, float] = {}
    """Measured when it was trained; what on stands in the bundle's provenance."""


class Fusion(_Part):
    """How members become one (paper, section 1.3)."""

    mode: Literal["shared", "concentric"] = "shared"
    """shared: every member reads the same tile, as published. concentric: each its own scale around its centre."""
    rule: str = "mean"
    """mean, weighted, product or vote: `diagnosis.fusion`."""
    weights: tuple[float, ...] = ()
    """By member, of sum 1; for `weighted` alone."""


class BundleManifest(_Part):
    """Content of bundle.json."""

    kind: Literal["sarcoscope.bundle"] = "sarcoscope.bundle"
    schema_version: Literal[1, 2] = BUNDLE_SCHEMA
    name: str
    version: str
    synthetic: bool
    """Trained on phantoms: never of any clinical meaning."""
    intended_use: str
    """One plain sentence on what it is for."""
    not_for: str
    """One plain sentence on what it is not for."""
    classes: tuple[BundleClass, ...] = Field(min_length=2)
    members: tuple[BundleMember, ...] = Field(min_length=1)
    fusion: Fusion = Fusion()
    tiling: TilingConfig
    """`tiling.mpp` is the scale of the tiles that are read."""
    rules: SlideRules
    calibration: Calibration = Calibration()
    """What was fitted on validation tiles and slides."""
    reference: HashedFile | None = None
    """An .npz with `features` (R, F) float32 of training tiles, which `calibration.distance` compares with."""
    provenance: dict[str, Any]
    """How and on what it was trained."""

    @model_validator(mode="after")
    def _consistent(self) -> "BundleManifest":
        codes = [item.code for item in self.classes]
        if len(set(codes)) != len(codes):
            raise ValueError(f"classes named twice: {codes}")
        check_fusion(self.fusion.rule, self.fusion.weights, len(self.members))
        if self.fusion.mode == "shared" and any(one.mpp is not None for one in self.members):
            raise ValueError("a member with a scale of its own in fusion mode shared")
        names = [one.name for one in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"members named twice: {names}")
        if (self.calibration.distance is None) != (self.reference is None):
            raise ValueError("a distance without reference features, or the other way round")
        if self.calibration.distance and self.calibration.distance.member not in names:
            raise ValueError(f"distance by the features of {self.calibration.distance.member}, which is no member")
        self.rules.check(codes)
        _check_calibration(self.calibration, codes)
        return self


def _check_calibration(calibration: Calibration, codes: list[str]) -> None:
    """Raise ValueError where what was fitted is about other classes."""
    regression, conformal = calibration.regression, calibration.conformal
    if regression and {len(regression.weights), len(regression.bias), *map(len, regression.weights)} != {len(codes)}:
        raise ValueError(f"a regression that is not of {len(codes)} classes")
    if conformal and (strange := sorted(set(conformal.thresholds) - set(codes))):
        raise ValueError(f"a conformal threshold of {strange[0]}, which is no class")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose every file matched its hash."""

    folder: Path
    manifest: BundleManifest
    sha256: str
    """Hash of bundle.json, hence of all it lists."""

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Class codes in the order of the models' outputs."""
        return tuple(item.code for item in self.manifest.classes)

    @cached_property
    def colors(self) -> dict[str, str]:
        """'#rrggbb' per class code."""
        return {item.code: item.color for item in self.manifest.classes}

    @property
    def notice(self) -> str:
        """What a result of this bundle is and is not; stands on every page."""
        synthetic = "Trained on synthetic phantom slides: of no clinical meaning. " if self.manifest.synthetic else ""
        return f"{synthetic}Research use only, not a medical device. {self.manifest.not_for}"

    def model(self, member: BundleMember) -> bytes:
        """The member's ONNX graph. BundleError where it changed since the bundle was opened."""
        return _content(self.folder, member.model)

    def head(self, member: BundleMember) -> tuple[Probabilities, Probabilities]:
        """Weight (C, F) and bias (C,) of the member's linear layer, float32. BundleError as for `model`."""
        path = self.folder / member.head.path
        try:
            with np.load(BytesIO(_content(self.folder, member.head)), allow_pickle=False) as arrays:
                return arrays["weight"], arrays["bias"]
        except (ValueError, KeyError, OSError) as error:
            raise BundleError(path, f"not arrays named weight and bias ({error})", _AGAIN) from error

    def reference(self) -> Features | None:
        """(R, F) float32 features of training tiles; None where it has none. BundleError as for `model`."""
        if self.manifest.reference is None:
            return None
        path = self.folder / self.manifest.reference.path
        try:
            with np.load(BytesIO(_content(self.folder, self.manifest.reference)), allow_pickle=False) as arrays:
                features: Features = arrays["features"]
        except (ValueError, KeyError, OSError) as error:
            raise BundleError(path, f"not an array named features ({error})", _AGAIN) from error
        if features.ndim != 2 or not len(features) or not np.isfinite(features).all():
            raise BundleError(path, f"features of shape {features.shape} that are no finite rows", _AGAIN)
        return features


def _canonical(manifest: BundleManifest) -> str:
    return json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def hashed(folder: Path, path: str) -> HashedFile:
    """Hash a file that lies in the bundle's folder."""
    return HashedFile(path=path, sha256=sha256_file(folder / path))


def write_bundle(folder: Path, manifest: BundleManifest) -> Bundle:
    """Write bundle.json and bundle.sha256 beside members that already lie in `folder`, then open it."""
    text = _canonical(manifest)
    write_text(folder / "bundle.json", text)
    write_text(folder / "bundle.sha256", f"{hashlib.sha256(text.encode()).hexdigest()}  bundle.json\n")
    return read_bundle(folder)


def read_bundle(folder: Path) -> Bundle:
    """Open a bundle and check every file against its hash. BundleError says what does not fit."""
    try:
        if not (folder / "bundle.json").is_file():
            raise BundleError(folder, "not a bundle (no bundle.json in it)", "give the folder that holds bundle.json")
        content = (folder / "bundle.json").read_bytes()
        declared = (folder / "bundle.sha256").read_text(encoding="ascii").split()[:1]
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(folder, f"bundle.json or bundle.sha256 cannot be read ({error})", _AGAIN) from error
    found = hashlib.sha256(content).hexdigest()
    if declared != [found]:
        raise BundleError(folder / "bundle.json", "does not match the hash in bundle.sha256", _AGAIN)
    try:
        manifest = BundleManifest.model_validate(json.loads(content, parse_constant=_no_constant))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise BundleError(folder / "bundle.json", f"{where}: {problem['msg']}", _AGAIN) from error
    except (InputError, ValueError) as error:
        raise BundleError(folder / "bundle.json", str(error), _AGAIN) from error
    for member in manifest.members:
        for file in (member.model, member.head):
            _content(folder, file)
    if manifest.reference:
        _content(folder, manifest.reference)
    return Bundle(folder=folder, manifest=manifest, sha256=found)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


_EXTERNAL = b"\x0a\x08location"
"""How an ONNX tensor names a file outside the graph (StringStringEntryProto with key 'location')."""


def _content(folder: Path, file: HashedFile) -> bytes:
    """A file's bytes, which match its hash and are all there is: weights outside the graph would have no hash."""
    path = folder / file.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(path, f"cannot be read ({error.strerror})", _AGAIN) from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise BundleError(path, "does not match the hash in bundle.json", _AGAIN)
    if _EXTERNAL in content:
        raise BundleError(path, "keeps weights in another file, which no hash covers", "export it in one file")
    return content


def shipped_bundles() -> dict[str, Path]:
    """Bundles that come with the package, by name."""
    home = Path(__file__).resolve().parents[1] / "bundles"
    return {path.parent.name: path.parent for path in sorted(home.glob("*/bundle.json"))}


def find_bundle(name: str) -> Bundle:
    """Open a bundle by its folder, or by name where it comes with the package.

    Raises BundleError as read_bundle does, and InputError where no name is given.
    """
    shipped = shipped_bundles()
    if not name:
        raise InputError("no bundle given", f"add --bundle FOLDER, or a shipped one: {', '.join(shipped)}")
    folder = Path(name)
    there = os.path.lexists(folder)
    if name in shipped and not there:
        return read_bundle(shipped[name])
    if not there:
        known = ", ".join(shipped) or "none"
        raise BundleError(folder, "there is no such bundle", f"give a bundle's folder, or one that is shipped: {known}")
    return read_bundle(folder)
