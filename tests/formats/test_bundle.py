"""A bundle is refused the moment anything in it is not what it says."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from sarcoscope.core.errors import BundleError
from sarcoscope.formats.bundle import find_bundle, read_bundle
from tests.bundles import CODES, color_bundle, reseal


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return color_bundle(tmp_path_factory.mktemp("bundle") / "b").folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "b"))


def edit(folder: Path, change: Callable[[dict[str, Any]], None], *, seal: bool) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    change(manifest)
    text = json.dumps(manifest)
    (folder / "bundle.json").write_text(text)
    if seal:
        (folder / "bundle.sha256").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  bundle.json\n")


def test_it_comes_back_as_written(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert bundle.codes == CODES
    assert bundle.manifest.rules.refine is not None
    assert bundle.manifest.rules.refine.relabel == {"UPS": "DDLPS"}
    assert bundle.sha256 == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    weight, bias = bundle.head(bundle.manifest.members[0])
    assert weight.shape == (5, 3)
    assert bias.shape == (5,)
    assert "Research use only" in bundle.notice
    assert "phantom" in bundle.notice


def test_a_changed_member_is_refused(folder: Path) -> None:
    model = folder / "members" / "m0" / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(BundleError, match=r"model\.onnx: does not match the hash in bundle\.json; get the bundle"):
        read_bundle(folder)


def test_a_missing_member_is_refused(folder: Path) -> None:
    (folder / "members" / "m0" / "head.npz").unlink()
    with pytest.raises(BundleError, match=r"head\.npz: cannot be read"):
        read_bundle(folder)


def test_a_changed_manifest_is_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(name="other"), seal=False)
    with pytest.raises(BundleError, match=r"bundle\.json: does not match the hash in bundle\.sha256"):
        read_bundle(folder)


def _twice(manifest: dict[str, Any]) -> None:
    manifest["classes"][1] = manifest["classes"][0]


def _leaves(manifest: dict[str, Any]) -> None:
    manifest["members"][0]["model"]["path"] = "../../etc/passwd"


def _rule(manifest: dict[str, Any]) -> None:
    manifest["rules"]["components"] = [{"main": "DDLPS", "component": "GIST"}]


def _fusion(manifest: dict[str, Any]) -> None:
    manifest["fusion"]["rule"] = "best"


def _drive(manifest: dict[str, Any]) -> None:
    manifest["members"][0]["model"]["path"] = "C:model.onnx"


def _regression(manifest: dict[str, Any]) -> None:
    manifest["calibration"]["regression"] = {"weights": [[1, 0], [0, 1]], "bias": [0, 0], "penalty": 1, "slides": 9}


def _conformal(manifest: dict[str, Any]) -> None:
    one = {"level": 0.9, "thresholds": {"GIST": 0.5}, "slides": {"GIST": 9}, "own": ["GIST"]}
    manifest["calibration"]["conformal"] = one


def _tile(manifest: dict[str, Any]) -> None:
    manifest["tiling"]["tile_px"] = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest.update(schema_version=3), "schema_version"),
        (lambda manifest: manifest.update(surprise=1), "surprise"),
        (_twice, "classes named twice"),
        (_leaves, "leaves the bundle"),
        (_rule, "GIST"),
        (_fusion, "unknown fusion"),
        (_tile, "tile side 0"),
        (_drive, "leaves the bundle"),
        (_regression, "a regression that is not of"),
        (_conformal, "a conformal threshold of GIST, which is no class"),
    ],
)
def test_an_inconsistent_manifest_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    edit(folder, change, seal=True)
    with pytest.raises(BundleError, match=words) as error:
        read_bundle(folder)
    assert "\n" not in str(error.value)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle\.json in it\); give the folder"):
        read_bundle(tmp_path)
    with pytest.raises(BundleError, match="there is no such bundle"):
        find_bundle(str(tmp_path / "nix"))


def test_heads_are_never_unpickled(folder: Path) -> None:
    np.savez(folder / "members" / "m0" / "head.npz", weight=np.array([object()]), bias=np.zeros(5))
    bundle = reseal(folder)
    with pytest.raises(BundleError, match=r"head\.npz: not arrays .*allow_pickle"):
        bundle.head(bundle.manifest.members[0])


def test_weights_outside_the_graph_are_refused_since_no_hash_covers_them(folder: Path) -> None:
    path = folder / "members" / "m0" / "model.onnx"
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0, convert_attribute=True)
    with pytest.raises(BundleError, match=r"model\.onnx: keeps weights in another file"):
        reseal(folder)


def test_a_member_that_changes_after_opening_is_refused(folder: Path) -> None:
    bundle = read_bundle(folder)
    (folder / "members" / "m0" / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="does not match the hash"):
        bundle.model(bundle.manifest.members[0])


def test_nan_is_no_number_in_a_manifest(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["members"][0].update(metrics={"accuracy": float("nan")}), seal=True)
    with pytest.raises(BundleError, match="NaN is no JSON number"):
        read_bundle(folder)
