"""The phantom bundle is made by its command from painted slides, and the shipped one is what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sarcoscope.core.errors import BundleError
from sarcoscope.core.geometry import Size
from sarcoscope.core.training import LengthConfig
from sarcoscope.formats.bundle import find_bundle, read_bundle
from sarcoscope.formats.manifest import read_manifest
from sarcoscope.inference.onnx import load_members
from sarcoscope.phantom.cohort import demo_cohort, training_cohort
from sarcoscope.stages.demo import DEMO_SEED, check_unseen, paint
from sarcoscope.stages.phantom_bundle import RECIPE, PhantomBundleConfig, train_phantom_bundle

REPO = Path(__file__).parents[2]


def names_of_places(folder: Path) -> list[str]:
    """Traces of the machine that made a bundle."""
    traces = (b".py", b"site-packages", str(Path.home()).encode(), str(REPO).encode(), b"stack_trace")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [f"{path.name}: {trace!r}" for path in files for trace in traces if trace in path.read_bytes()]


def test_a_tiny_bundle_is_trained_sealed_and_opened(tmp_path: Path) -> None:
    said: list[str] = []
    config = PhantomBundleConfig(
        out=tmp_path / "bundle",
        work=tmp_path / "work",
        slides_per_class=1,
        validation_per_class=1,
        size=Size(4096, 4096),
        recipe=replace(RECIPE, length=LengthConfig(epochs=1, epoch_tiles=16, batch=4)),
    )
    made = train_phantom_bundle(config, said.append)
    assert read_bundle(tmp_path / "bundle").sha256 == made.sha256
    record = made.manifest.provenance
    assert len(record["slides"]["train"]) == 5
    assert sum(record["tiles"]["train"].values()) > 10
    assert len(record["history"]) == 1
    assert any("ONNX and torch agree" in line for line in said)
    seeds = {slide["seed"] for split in record["slides"].values() for slide in split}
    assert len(seeds) == 10  # training and validation share no slide
    assert not names_of_places(tmp_path / "bundle")


def test_the_shipped_bundle_is_whole_small_and_says_that_it_is_synthetic() -> None:
    bundle = find_bundle("phantom")
    assert bundle.codes == ("DDLPS", "LMS", "MPNST", "UPS", "WDLPS")
    assert bundle.manifest.synthetic
    assert "never seen a real tumour" in bundle.notice
    assert sum(path.stat().st_size for path in bundle.folder.rglob("*") if path.is_file()) < 8_000_000
    assert bundle.manifest.provenance["git_commit"]
    assert not names_of_places(bundle.folder)


def test_the_shipped_bundle_is_ready_for_class_activation_maps() -> None:
    bundle = find_bundle("phantom")
    tiles = np.random.default_rng(0).integers(0, 255, (2, 512, 512, 3), dtype=np.uint8)
    for network, member in zip(load_members(bundle), bundle.manifest.members, strict=True):
        logits, features = network.activations(tiles)
        weight, bias = bundle.head(member)
        maps = np.einsum("cf,bfhw->bchw", weight, features) + bias[:, None, None]
        np.testing.assert_allclose(maps.mean(axis=(2, 3)), logits, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(network.logits(tiles), logits)


def test_the_demo_refuses_slides_that_the_bundle_has_seen() -> None:
    bundle = find_bundle("phantom")
    check_unseen(demo_cohort(np.random.default_rng(DEMO_SEED)), bundle)
    seen = training_cohort(np.random.default_rng(bundle.manifest.provenance["seed"]), 10)
    with pytest.raises(BundleError, match="was trained on the demo's own slides"):
        check_unseen(seen[:1], bundle)


def test_painted_slides_are_used_again_until_something_changes(tmp_path: Path) -> None:
    specs = demo_cohort(np.random.default_rng(0), Size(1024, 1024))[:2]
    painted: list[tuple[int, int]] = []

    def again() -> Path:
        painted.clear()
        return paint(specs, tmp_path / "slides", 1, lambda done, total: painted.append((done, total)))

    rows = read_manifest(again())
    assert [row.slide for row in rows] == ["phantom-demo-01", "phantom-demo-02"]
    assert painted == [(1, 2), (2, 2)]
    again()
    assert painted == [(2, 2)]  # used again at once
    (tmp_path / "slides" / "phantom-demo-02.svs").unlink()
    again()
    assert len(painted) == 2
    (tmp_path / "slides" / "phantom.json").write_text("{")
    again()
    assert len(painted) == 2


def test_an_interrupted_painting_leaves_nothing_that_counts_as_painted(tmp_path: Path) -> None:
    one, other = (demo_cohort(np.random.default_rng(seed), Size(1024, 1024))[:2] for seed in (0, 1))
    paint(one, tmp_path, 1, lambda _done, _total: None)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(other, tmp_path, 1, interrupt)  # phantom-demo-01 is the other seed's now
    painted: list[int] = []
    paint(one, tmp_path, 1, lambda done, _total: painted.append(done))
    assert painted == [1, 2]
