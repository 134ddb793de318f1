"""A bundle made of trained members says of tiles what the members said of them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sarcoscope.cli.train_show import run_train
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.training import NO_WEIGHTS, LengthConfig, NetworkConfig, TrainConfig
from sarcoscope.diagnosis.fusion import fuse, softmax
from sarcoscope.formats.bundle import find_bundle
from sarcoscope.formats.member import MEMBER_FILE, PREDICTIONS_FILE, read_predictions
from sarcoscope.inference.onnx import load_members
from sarcoscope.reports.colors import spare_colors
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.stages.bundle_make import BundleAsk, make_bundle
from sarcoscope.stages.cohort_split import SplitAsk, split_run
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from tests.training.test_fit import dotted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members of one network on tiles of two classes, one of which the shipped bundle knows."""
    folder = tmp_path_factory.mktemp("bundle-make")
    tiles = dotted(40, 1)
    for index, label in enumerate(tiles.labels):
        path = folder / "tiles" / ("UPS", "OTHER")[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), tiles.tiles[index])
    cohort_from_tiles(TilesConfig(folder=folder / "tiles", out=folder / "run", mpp=Mpp(0.5), nuclei=False))
    split_run(SplitAsk(source=folder / "run"))
    run_train(
        TrainConfig(
            run=str(folder / "run"),
            name="m",
            seeds=(0, 1),
            network=NetworkConfig(name="compact", weights=NO_WEIGHTS),
            length=LengthConfig(epochs=1, batch=8),
            device="cpu",
            trackers=(),
        ),
        force=False,
    )
    return folder / "run"


def members(run: Path) -> tuple[Path, Path]:
    return run / "members" / "m-seed0", run / "members" / "m-seed1"


def test_the_bundle_says_the_mean_of_what_its_members_said(run: Path, tmp_path: Path) -> None:
    made = make_bundle(BundleAsk(members=members(run), out=tmp_path / "b", names={"OTHER": "another tumour"}))
    opened = find_bundle(str(tmp_path / "b"))
    assert opened.sha256 == made.sha256
    said = []
    for folder in members(run):
        rows, probabilities, classes = read_predictions(folder / PREDICTIONS_FILE)
        assert classes == opened.codes == ("OTHER", "UPS")
        said.append(probabilities)
    tiles = np.stack([read_tile_file(run.parent / "tiles" / file) for file in rows["tile"]])
    found = fuse(np.stack([softmax(one.logits(tiles)) for one in load_members(opened)]), opened.manifest.fusion.rule)
    np.testing.assert_allclose(found, (said[0] + said[1]) / 2, atol=1e-5)
    assert opened.manifest.tiling.tile_px == 64
    assert opened.manifest.tiling.mpp == 0.5


def test_classes_have_the_names_and_colours_of_every_other_page(run: Path, tmp_path: Path) -> None:
    made = make_bundle(BundleAsk(members=members(run)[:1], out=tmp_path / "b", names={"OTHER": "another tumour"}))
    phantom = {one.code: one for one in find_bundle("phantom").manifest.classes}
    other, ups = made.manifest.classes
    assert ups == phantom["UPS"]
    assert other.name == "another tumour"
    assert other.color != ups.color


def test_nothing_of_the_machine_goes_along(run: Path, tmp_path: Path) -> None:
    make_bundle(BundleAsk(members=members(run), out=tmp_path / "b"))
    assert str(run.parent) not in (tmp_path / "b" / "bundle.json").read_text()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("side_px", 32, "side_px of .*m-seed1 is 32, of .*m-seed0 64"),
        ("classes", ["UPS", "OTHER"], "classes of"),
        ("validation_mpp", 1.0, "validation_mpp of"),
        ("name", "m-seed0", "2 members are called m-seed0"),
    ],
)
def test_members_that_do_not_go_together_are_refused(
    run: Path, tmp_path: Path, key: str, value: object, said: str
) -> None:
    one, other = members(run)
    copy = tmp_path / other.name
    copy.mkdir()
    for file in other.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    record = json.loads((copy / MEMBER_FILE).read_text())
    (copy / MEMBER_FILE).write_text(json.dumps(record | {key: value}))
    with pytest.raises(InputError, match=said):
        make_bundle(BundleAsk(members=(one, copy), out=tmp_path / "b"))
    assert not (tmp_path / "b").exists()


def test_a_member_whose_graph_was_changed_is_refused(run: Path, tmp_path: Path) -> None:
    one, _ = members(run)
    copy = tmp_path / one.name
    copy.mkdir()
    for file in one.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    (copy / "model.onnx").write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"model\.onnx: does not match the hash"):
        make_bundle(BundleAsk(members=(copy,), out=tmp_path / "b"))


def test_what_is_there_is_not_written_over(run: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("x")
    with pytest.raises(ArtifactError, match="is there already"):
        make_bundle(BundleAsk(members=members(run), out=tmp_path / "b"))
    with pytest.raises(InputError, match="no class 'DDLPS'"):
        make_bundle(BundleAsk(members=members(run), out=tmp_path / "c", names={"DDLPS": "x"}))


def test_colours_never_run_out_or_repeat() -> None:
    assert spare_colors(2, {"#56b4e9"}) == ["#d55e00", "#0072b2"]
    assert len(set(spare_colors(20, set()))) == 20
