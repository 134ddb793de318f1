"""A member comes back as written, and is refused the moment anything in it is not what it says."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sarcoscope.core.appearance import Appearance
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.training import BalanceConfig, LengthConfig, NetworkConfig, TrainConfig
from sarcoscope.formats.appearance import write_target
from sarcoscope.formats.member import (
    Balanced,
    MemberProvenance,
    MemberRecord,
    Normalised,
    OnnxCheck,
    hash_files,
    read_member,
    read_predictions,
    write_member,
    write_predictions,
)

CLASSES = ("DDLPS", "LMS", "UPS")
CONFIG = TrainConfig(
    run="study",
    classes=CLASSES,
    mpp=(0.5, 1.0),
    metric="tile_log_loss",
    network=NetworkConfig(name="compact", weights="none"),
    balance=BalanceConfig(multipliers={"LMS": 6}),
    length=LengthConfig(epochs=3),
)
TARGET = Appearance(
    brightness=61.5,
    contrast=14.25,
    lab_mean=(-0.4, 0.02, 0.01),
    lab_std=(0.2, 0.06, 0.02),
    stains=((0.61, 0.71, 0.35), (0.13, 0.856, 0.5)),
    saturation=(1.1, 0.75),
)
PROVENANCE = MemberProvenance(
    version="0.1.0",
    git_commit="0" * 40,
    libraries={"torch": "2.9", "onnxruntime": None},
    machine={"cores": 2},
    device="cpu",
    hardware={"name": "cpu", "processes": 1},
    started="2025-01-01T00:00:00+00:00",
    seconds=12.5,
    energy_wh=None,
    energy_why_not="no counter that can be read",
)
CONTENT = {
    "weights.safetensors": b"weights",
    "model.onnx": b"graph",
    "head.npz": b"head",
    "history.csv": b"epoch\n",
    "predictions.parquet": b"predictions",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "members" / "compact-0.5um"
    home.mkdir(parents=True)
    for name, content in CONTENT.items():
        (home / name).write_bytes(content)
    return home


def member(folder: Path, **other: Any) -> MemberRecord:
    known: dict[str, Any] = {
        "name": "compact-0.5um",
        "key": "a" * 64,
        "synthetic": True,
        "classes": CLASSES,
        "architecture": "compact, width 16",
        "features": 128,
        "side_px": 512,
        "trained_mpp": (0.5, 1.0),
        "validation_mpp": 0.5,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "normalise": Normalised(method="none"),
        "fold": "part",
        "seed": 3,
        "split_sha256": "b" * 64,
        "tiles": {Part.TRAIN: {"DDLPS": 60, "LMS": 10, "UPS": 60}, Part.VALIDATION: {"DDLPS": 20, "LMS": 0, "UPS": 20}},
        "balance": Balanced(
            multipliers={"LMS": 6},
            asked={"DDLPS": 1 / 3, "LMS": 1 / 3, "UPS": 1 / 3},
            realised={"DDLPS": 0.3, "LMS": 0.4, "UPS": 0.3},
        ),
        "weights_origin": "random",
        "config": CONFIG,
        "plan": {"epochs": 3, "ema_decay": 0.99},
        "metrics": {Part.VALIDATION: {"tile_accuracy": 0.875, "tile_macro_auc": None, "tiles": 40}},
        "best_epoch": 2,
        "epochs": 3,
        "stopped": "by its length",
        "onnx": OnnxCheck(max_abs_difference=1e-6, tiles=40),
        "files": hash_files(folder),
        "provenance": PROVENANCE,
    }
    return MemberRecord(**(known | other))


def test_a_member_comes_back_as_written(folder: Path) -> None:
    written = member(folder)
    write_member(folder, written)
    found = read_member(folder, check_files=True)
    assert found == written
    assert found.config == CONFIG
    assert found.metrics["validation"]["tile_macro_auc"] is None  # type: ignore[index]  # parts are their words
    assert {file.name for file in folder.iterdir()} == {*CONTENT, "member.json"}


def test_the_file_says_what_it_is_in_plain_json(folder: Path) -> None:
    write_member(folder, member(folder))
    content = json.loads((folder / "member.json").read_text(encoding="utf-8"))
    assert (content["kind"], content["schema_version"]) == ("sarcoscope.member", 1)
    assert content["classes"] == ["DDLPS", "LMS", "UPS"]
    assert content["tiles"]["train"] == {"DDLPS": 60, "LMS": 10, "UPS": 60}
    assert content["metrics"] == {"validation": {"tile_accuracy": 0.875, "tile_macro_auc": None, "tiles": 40}}
    assert content["config"]["network"]["name"] == "compact"
    assert set(content["config"]) == set(TrainConfig.__dataclass_fields__)
    of_graph = "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"  # printf graph | sha256sum
    assert content["files"]["model"] == {"path": "model.onnx", "sha256": of_graph}


def test_a_target_stands_as_in_appearance_json(folder: Path, tmp_path: Path) -> None:
    write_target(tmp_path / "appearance.json", "macenko", TARGET, {"slides": ["s1"]})
    known = json.loads((tmp_path / "appearance.json").read_text(encoding="utf-8"))
    normalised = Normalised(method="macenko", target=TARGET, record={"slides": ["s1"]})
    write_member(folder, member(folder, normalise=normalised))
    content = json.loads((folder / "member.json").read_text(encoding="utf-8"))["normalise"]
    assert content == {name: known[name] for name in ("method", "target", "record")}
    assert read_member(folder).normalise.target == TARGET


@pytest.mark.parametrize("name", CONTENT)
def test_a_changed_or_missing_file_is_found_on_request(folder: Path, name: str) -> None:
    write_member(folder, member(folder))
    (folder / name).write_bytes(CONTENT[name] + b"\0")
    assert read_member(folder).name == "compact-0.5um"
    with pytest.raises(ArtifactError, match=rf"{name}: does not match the hash in member\.json; train it again"):
        read_member(folder, check_files=True)
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: cannot be read"):
        read_member(folder, check_files=True)
    with pytest.raises(ArtifactError, match=f"{name}: cannot be read"):
        hash_files(folder)


def _config(content: dict[str, Any]) -> None:
    content["config"]["metric"] = "luck"


def _leaves(content: dict[str, Any]) -> None:
    content["files"]["model"]["path"] = "../../model.onnx"


def _part(content: dict[str, Any]) -> None:
    content["tiles"]["exam"] = {"LMS": 3}


def _balance(content: dict[str, Any]) -> None:
    content["balance"]["asked"]["GIST"] = 0.1


def _energy(content: dict[str, Any]) -> None:
    content["provenance"]["energy_why_not"] = ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(schema_version=2), "not a member of schema 1; train it again"),
        (lambda content: content.update(kind="sarcoscope.bundle"), "not a member of schema 1"),
        (lambda content: content.pop("kind"), "not a member of schema 1"),
        (lambda content: content.pop("seed"), "seed: Field required"),
        (lambda content: content.update(surprise=1), "surprise: Extra inputs"),
        (lambda content: content.update(classes=["UPS", "UPS"]), "classes named twice: UPS, UPS"),
        (lambda content: content.update(best_epoch=4), "best epoch 4 of 3"),
        (lambda content: content.update(stopped="somehow"), "stopped: String should match"),
        (lambda content: content.update(validation_mpp=0), "validation_mpp: Input should be greater than 0"),
        (lambda content: content.update(name="../a"), "name: String should match"),
        (lambda content: content.update(key="a"), "key: String should match"),
        (lambda content: content["normalise"].update(method="even"), "normalise even without a target"),
        (lambda content: content["metrics"]["validation"].update(tile_accuracy=math.nan), "NaN is no JSON number"),
        (lambda content: content["plan"].update(ema_decay=math.inf), "Infinity is no JSON number"),
        (_config, "unknown metric 'luck'"),
        (_leaves, "leaves the bundle"),
        (_part, "tiles.exam"),
        (_balance, "balance.asked of GIST, which is no class"),
        (_energy, "no energy, and no reason why not"),
    ],
)
def test_a_damaged_member_is_refused_in_one_line(
    folder: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    write_member(folder, member(folder))
    content = json.loads((folder / "member.json").read_text(encoding="utf-8"))
    change(content)
    (folder / "member.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtifactError) as error:
        read_member(folder)
    assert words in str(error.value)
    assert str(error.value).startswith(str(folder / "member.json"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"kind": "sarcoscope.member"'])
def test_what_is_no_member_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"member\.json: there is no such file; give the folder"):
        read_member(tmp_path)
    (tmp_path / "member.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"member\.json: (damaged|not a member of schema 1)"):
        read_member(tmp_path)


def test_a_member_is_valid_from_birth(folder: Path) -> None:
    with pytest.raises(ValidationError, match="with a target"):
        Normalised(method="none", target=TARGET)
    with pytest.raises(ValidationError, match="best epoch 4 of 3"):
        member(folder, best_epoch=4)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_member(folder, member(folder, config=replace(CONFIG, checkpoint_minutes=math.nan)))
    assert not (folder / "member.json").exists()


TILES = pl.DataFrame(
    {
        "slide": ["s1", "s1", "s2"],
        "tile": ["r0_c0_0.5um", "r0_c1_0.5um", "r3_c2_0.5um"],
        "mpp": [0.5, 0.5, 0.5],
        "part": ["validation", "validation", "test"],
        "label": ["LMS", "LMS", "UPS"],
        "left_l0": [0, 512, 9],
    }
)


@given(st.integers(2, 5), st.integers(0, 2**31))
def test_predictions_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, classes: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("predictions") / "predictions.parquet"
    codes = tuple("ABCDE"[:classes])
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(classes), 3)
    write_predictions(path, TILES, probabilities, codes)
    tiles, found, found_codes = read_predictions(path)
    assert tiles.equals(TILES.drop("left_l0"))
    assert found_codes == codes
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, probabilities)


def test_the_predictions_table_reads_well_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, TILES, np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]]), ("LMS", "UPS"))
    frame = pl.read_parquet(path)
    assert frame.columns == ["slide", "tile", "mpp", "part", "label", "p_LMS", "p_UPS"]
    assert frame.row(0) == ("s1", "r0_c0_0.5um", 0.5, "validation", "LMS", 0.25, 0.75)
    assert pl.read_parquet_metadata(path)["schema_version"] == "1"
    write_predictions(path, TILES.clear(), np.zeros((0, 2)), ("LMS", "UPS"))
    tiles, probabilities, classes = read_predictions(path)
    assert (len(tiles), probabilities.shape, classes) == (0, (0, 2), ("LMS", "UPS"))


def test_predictions_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    with pytest.raises(InputError, match=r"shape \(2, 2\) for 3 tiles and 2 classes"):
        write_predictions(path, TILES, np.full((2, 2), 0.5), ("LMS", "UPS"))
    with pytest.raises(ArtifactError, match=r"predictions\.parquet: not a readable parquet file"):
        read_predictions(path)
    pl.DataFrame({"p_LMS": [1.0]}).write_parquet(path)
    with pytest.raises(ArtifactError, match="not predictions of schema 1; train it again"):
        read_predictions(path)
    path.write_text("nonsense")
    with pytest.raises(ArtifactError, match="not a readable parquet file"):
        read_predictions(path)
