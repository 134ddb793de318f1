"""Several processes on one training: the same batches, the same network, one member, and no process left waiting."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sarcoscope.core.cohort import Part
from sarcoscope.core.training import (
    LengthConfig,
    MixConfig,
    NetworkConfig,
    OptimiserConfig,
    TrainConfig,
    UnfreezeConfig,
)
from sarcoscope.data.batches import TrainingDraws
from sarcoscope.diagnosis.fusion import softmax
from sarcoscope.formats.config import config_text
from sarcoscope.formats.history import read_history
from sarcoscope.formats.member import read_member, read_predictions
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.inference.onnx import OnnxNetwork
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.stages.train_tiles import choose_tiles
from sarcoscope.training.schedule import settle
from tests.stages.test_train import FILES, tiny, trained
from tests.stages.test_train_tiles import ready_run

HANGS_S = 300
"""A launch that takes so long waits for something that will not come."""


def launched(config: TrainConfig, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Two processes of this machine, on its CPUs, as a user starts them; they meet on the loopback."""
    file = folder / "launched.yaml"
    file.write_text(config_text(config), encoding="utf-8")
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [str(Path(sys.executable).with_name("accelerate")), "launch", *options]
    command += ["-m", "sarcoscope", "train", str(file)]
    own = {"HF_HOME": str(folder), "GLOO_SOCKET_IFNAME": "lo", "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=HANGS_S, env={**os.environ, **own}
    )


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    run = ready_run(tmp_path)
    # what draws by itself on each process is off: dropout, mix-up, statistics of a process's own share of a batch
    config = tiny(
        run,
        name="one",
        network=NetworkConfig(name="compact", weights="none", dropout=0.0),
        mix=MixConfig(mixup=0.0, off_last=1.0),
        unfreeze=UnfreezeConfig(open_by=0.9, train_batch_norm=False),
        optimiser=OptimiserConfig(learning_rate=5e-3, class_weights=True),
        length=LengthConfig(epochs=4, epoch_tiles=48, batch=8, accumulate=2),
    )
    alone = trained(config)[0].members["one"]
    done = launched(replace(config, name="two"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("two: trained to its end") == 1  # one process speaks
    assert sorted(path.name for path in (run / "members").iterdir() if path.is_dir()) == ["one", "two"]
    folders = [run / "members" / name for name in ("one", "two")]
    assert {path.name for path in folders[1].iterdir()} == FILES
    both = read_member(folders[1], check_files=True)
    assert (both.provenance.device, both.provenance.hardware["processes"]) == ("2 x cpu", 2)
    assert (alone.provenance.device, alone.provenance.hardware["processes"]) == ("cpu", 1)
    assert both.plan == alone.plan
    assert both.plan["batch"] == 8  # over both together
    (history, best), (expected, expected_best) = (read_history(folder / "history.csv") for folder in folders)
    assert [one.open_stages for one in history] == [0, 2, 4, 5]
    assert [(one.step, one.images) for one in history] == [(6, 48), (12, 96), (18, 144), (24, 192)]
    assert best == expected_best
    for one, other in zip(history, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.validation is not None
        assert other.validation is not None
        assert one.validation.tile_log_loss == pytest.approx(other.validation.tile_log_loss, abs=1e-5)
    weights, expected_weights = (load_file(folder / "weights.safetensors") for folder in folders)
    for name, value in expected_weights.items():
        np.testing.assert_allclose(weights[name], value, atol=1e-4, err_msg=name)
    found, expected_found = (read_predictions(folder / "predictions.parquet") for folder in folders)
    assert found[0].equals(expected_found[0])
    np.testing.assert_allclose(found[1], expected_found[1], atol=1e-5)


def test_each_process_predicts_with_the_kept_network_and_none_waits_for_one_that_failed(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 4, "B": 4})
    parts = {"0": ("train", "train"), "1": ("train", "train"), "2": ("test", "test"), "3": ("test1", "train")}
    rows = [f"{label}{place},{','.join(own)}" for label in "AB" for place, own in parts.items()]
    (run / SPLIT_FILE).write_text("\n".join(["slide,good,bad", *rows]) + "\n")
    length = LengthConfig(epochs=2, epoch_tiles=32, batch=8)
    config = tiny(run, name="m", unfreeze=UnfreezeConfig(gradual=False), length=length)
    damaged = only_the_second_draws(config, "bad", lambda slide: slide.endswith("3"))
    damaged.write_bytes(b"no picture any more")
    done = launched(config, tmp_path)
    assert done.returncode != 0
    assert f"error: {damaged}: " in done.stderr  # by the one whose tile it was
    assert not (run / "members" / "m-bad" / "member.json").exists()

    folder = run / "members" / "m-good"  # which was whole before
    member = read_member(folder, check_files=True)
    found, probabilities, classes = read_predictions(folder / "predictions.parquet")
    assert len(found) == 4  # half of them by each process, with BatchNorm's statistics of its own batches
    graph = OnnxNetwork((folder / "model.onnx").read_bytes(), folder, "m", len(classes))
    px = np.stack([read_tile_file(tmp_path / "tiles" / tile) for tile in found["tile"]])
    np.testing.assert_allclose(softmax(graph.logits(px)), probabilities, atol=1e-5)
    assert member.epochs == member.best_epoch == 2


def only_the_second_draws(config: TrainConfig, fold: str, of: Callable[[str], bool]) -> Path:
    """The file of a tile that of two processes the second one draws first, before the first one does."""
    chosen = choose_tiles(Path(config.run), fold, config)
    labels = chosen.opened(config)[Part.TRAIN].labels
    plan = settle(len(labels), config.length)
    first, second = (
        TrainingDraws(
            labels=labels,
            shares=chosen.shares,
            batch=plan.batch,
            steps_per_epoch=plan.steps_per_epoch,
            steps=plan.steps,
            start_step=0,
            seed=0,
            rank=rank,
            world=2,
        )
        for rank in (0, 1)
    )
    seen: set[int] = set()
    for one, other in zip(first, second, strict=True):
        seen |= {index for index, _ in one}
        for index, _ in other:
            row = chosen.tables[Part.TRAIN].row(index, named=True)
            if index not in seen and of(row["slide"]):
                return Path(config.run).parent / "tiles" / str(row["file"])
    raise AssertionError("every such tile is drawn by the first process before")
