"""The loop: it has to learn, to be the same twice, and to go on as if it had never been stopped."""

import copy
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typing_extensions import override

from sarcoscope.core.errors import ArtifactError, InputError, TrainingError
from sarcoscope.core.training import (
    NO_WEIGHTS,
    LengthConfig,
    MixConfig,
    NetworkConfig,
    OptimiserConfig,
    TrainConfig,
    UnfreezeConfig,
)
from sarcoscope.data.tile_set import TileSet
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.metrics.classification import scores
from sarcoscope.networks.compact import CompactNet
from sarcoscope.training.devices import make_accelerator
from sarcoscope.training.fit import Fitted
from sarcoscope.training.fit import fit as fit_drawn
from sarcoscope.training.predict import Predictor
from sarcoscope.training.schedule import Plan
from sarcoscope.training.state import Progress

CONFIG = TrainConfig(
    network=NetworkConfig(name="compact", weights=NO_WEIGHTS),
    length=LengthConfig(epochs=4, epoch_tiles=64, batch=8),
    unfreeze=UnfreezeConfig(gradual=False, decay=1.0),
    optimiser=OptimiserConfig(learning_rate=4e-3, backbone=1.0),
    device="cpu",
)


fit = partial(fit_drawn, drawn=(0.5, 0.5))


def dotted(count: int, seed: int, px: int = 64) -> TileSet:
    """Two classes that differ in the size of their dots, not in colour."""
    rng = np.random.default_rng(seed)
    tiles, labels = [], []
    for index in range(count):
        label = index % 2
        cell = 4 if label else 16
        coarse = rng.integers(0, 2, (px // cell, px // cell, 1)) * 120 + 100
        tiles.append(np.broadcast_to(coarse.repeat(cell, 0).repeat(cell, 1), (px, px, 3)).astype(np.uint8))
        labels.append(label)
    return TileSet(np.stack(tiles), np.array(labels))


def compact(width: int = 4) -> CompactNet:
    torch.manual_seed(0)
    return CompactNet(2, width=width)


class StoppedAt(Exception):  # noqa: N818 - it stands for a process that was killed
    pass


class Stops:
    """Listens until a step, and lets nothing happen after it."""

    def __init__(self, at: int) -> None:
        self._at = at

    def began(self, plan: Plan, progress: Progress) -> None:
        pass

    def stepped(self, progress: Progress) -> None:
        if progress.step == self._at:
            raise StoppedAt

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        pass


def test_a_fit_learns_what_colour_alone_cannot_tell_and_keeps_the_best_epoch() -> None:
    network, validation = compact(), dotted(32, 2)
    fitted = fit(network, dotted(64, 1), validation, CONFIG, seed=3)
    assert [epoch.number for epoch in fitted.history] == [1, 2, 3, 4]
    best = fitted.history[fitted.best - 1].validation
    found = scores(
        validation.labels, Predictor(validation, CONFIG, make_accelerator(CONFIG))(network), validation.slides
    )
    assert best is not None
    assert best.tile_accuracy is not None
    assert best.tile_accuracy > 0.9
    assert found == best  # the network has the weights of the epoch that is named
    assert all(epoch.validation is not None for epoch in fitted.history)


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    def weights(seed: int) -> torch.Tensor:
        network = compact()
        fit(network, dotted(32, 1), dotted(8, 2), replace(CONFIG, length=LengthConfig(epochs=2, batch=8)), seed=seed)
        return network.head.weight.detach().clone()

    torch.manual_seed(99)
    one = weights(0)
    torch.manual_seed(5)
    assert torch.equal(one, weights(0))
    assert not torch.equal(one, weights(1))


def test_the_random_numbers_of_the_process_are_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    network = CompactNet(2, width=4)
    state = torch.random.get_rng_state()
    fit(network, dotted(16, 1), None, replace(CONFIG, length=LengthConfig(epochs=1, batch=8)))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("stops_at", [1, 8, 13, 24, 31])
def test_what_was_stopped_anywhere_goes_on_as_if_it_had_not_been(tmp_path: Path, stops_at: int) -> None:
    config = replace(CONFIG, unfreeze=UnfreezeConfig(), mix=MixConfig(mixup=0.4, chance=1), checkpoint_minutes=0.0)
    train, validation = dotted(32, 1), dotted(16, 2)

    def whole() -> tuple[Fitted, CompactNet]:
        network = compact()
        return fit(network, train, validation, config, seed=3), network

    expected, expected_network = whole()
    with pytest.raises(StoppedAt):
        fit(
            compact(),
            train,
            validation,
            config,
            seed=3,
            checkpoint=tmp_path / "c.pt",
            key="k",
            listener=Stops(stops_at),
        )
    network = compact()
    found = fit(network, train, validation, config, seed=3, checkpoint=tmp_path / "c.pt", key="k")
    assert found.history == expected.history
    assert found.best == expected.best
    for name, value in expected_network.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_a_metric_that_the_validation_tiles_cannot_give_is_named_after_one_epoch() -> None:
    tiles = dotted(16, 2)
    one_class = TileSet(tiles.tiles[::2], tiles.labels[::2])
    with pytest.raises(TrainingError, match="validation tiles give no tile_macro_auc, by which"):
        fit(compact(), dotted(16, 1), one_class, replace(CONFIG, metric="tile_macro_auc"))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    config = replace(CONFIG, length=LengthConfig(epochs=1, batch=8))
    fit(compact(), dotted(16, 1), None, config, checkpoint=checkpoint, key="one")
    with pytest.raises(ArtifactError, match="another config, other tiles or other weights"):
        fit(compact(), dotted(16, 1), None, config, checkpoint=checkpoint, key="other")
    content = checkpoint.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]
    for damaged in (b"", b"no checkpoint", flipped, *(content[:length] for length in range(1, len(content), 50_001))):
        checkpoint.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"checkpoint\.pt: damaged: it is no checkpoint that can be read; "):
            fit(compact(), dotted(16, 1), None, config, checkpoint=checkpoint, key="one")


def test_frozen_stages_do_not_move_until_they_open() -> None:
    config = replace(CONFIG, unfreeze=UnfreezeConfig(depth=2), optimiser=OptimiserConfig(ema=False))
    network = compact()
    before = copy.deepcopy(network.state_dict())
    fitted = fit(network, dotted(32, 1), None, config)
    stages = [set(stage.parameters) for stage in network.stages()]
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert [epoch.open_stages for epoch in fitted.history] == [0, 1, 2, 2]
    assert not moved & stages[0].union(*stages[1:-2])
    assert stages[-1] <= moved
    assert stages[-2] <= moved
    assert not any(name.startswith("stem") for name in moved)  # nor its BatchNorm's statistics


def test_learning_rates_fall_from_stage_to_stage() -> None:
    config = replace(
        CONFIG,
        unfreeze=UnfreezeConfig(gradual=False, decay=0.5),
        optimiser=OptimiserConfig(learning_rate=0.01, backbone=0.2, warm_up=0.0),
        length=LengthConfig(epochs=1, epoch_tiles=8, batch=8),
    )
    fitted = fit(compact(), dotted(8, 1), None, config)
    assert fitted.history[0].learning_rate == pytest.approx(0.01)  # one step, at the top of the cosine


def test_without_validation_the_last_epoch_is_kept() -> None:
    fitted = fit(compact(), dotted(32, 1), None, CONFIG)
    assert fitted.best == 4
    assert all(epoch.validation is None for epoch in fitted.history)
    assert fitted.stopped == "by its length"


def test_it_ends_early_where_nothing_gets_better() -> None:
    config = replace(
        CONFIG,
        optimiser=OptimiserConfig(learning_rate=1e-12, ema=False),  # so small that no epoch differs
        unfreeze=UnfreezeConfig(gradual=False, train_batch_norm=False),
        length=LengthConfig(epochs=12, epoch_tiles=8, batch=8, patience=3),
    )
    fitted = fit(compact(), dotted(8, 1), dotted(8, 2), config)
    assert len(fitted.history) <= 6
    assert fitted.stopped == "early"


def test_patience_begins_when_all_stages_are_open() -> None:
    config = replace(
        CONFIG,
        optimiser=OptimiserConfig(learning_rate=1e-12, ema=False),
        unfreeze=UnfreezeConfig(open_by=0.5, train_batch_norm=False),
        length=LengthConfig(epochs=12, epoch_tiles=8, batch=8, patience=2),
    )
    fitted = fit(compact(), dotted(8, 1), dotted(8, 2), config)
    assert fitted.history[-1].open_stages == 5
    assert len(fitted.history) >= 8  # the last opens in the seventh epoch


def test_a_loss_that_is_no_number_is_named_with_its_step() -> None:
    config = replace(CONFIG, optimiser=OptimiserConfig(learning_rate=1e30, backbone=1.0, clip=0.0, warm_up=0.0))
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in step \d+ of 32; lower optimiser.learning_rate"):
        fit(compact(), dotted(32, 1), None, config)


def test_memory_that_runs_out_is_named_with_what_to_do() -> None:
    class Huge(CompactNet):
        @override
        def features(self, x: torch.Tensor) -> torch.Tensor:
            return super().features(x) + torch.empty(1 << 60)  # more than any machine has

    with pytest.raises(TrainingError, match=r"out of memory with compact and a batch of 8; set length.accumulate: 2"):
        fit(Huge(2, width=4), dotted(16, 1), None, CONFIG)


@pytest.mark.parametrize("name", ["compile", "deterministic", "channels_last"])
def test_how_a_network_is_computed_changes_nothing_but_rounding(name: str) -> None:
    def losses(other: TrainConfig) -> list[float]:
        network = compact()
        network.dropout.p = 0.0  # which compiled code draws otherwise
        return [one.loss for one in fit(network, dotted(16, 1), dotted(8, 2), other).history]

    plain = replace(CONFIG, optimiser=OptimiserConfig(), length=LengthConfig(epochs=3, epoch_tiles=16, batch=8))
    other = {
        "compile": replace(plain, compile=True),
        "deterministic": replace(plain, deterministic=True),
        "channels_last": replace(plain, channels_last=False),
    }[name]
    if name == "compile" and not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("no C++ compiler found: torch.compile not tested")
    assert losses(other) == pytest.approx(losses(plain), rel=1e-3)


def test_a_network_that_cannot_be_compiled_is_named(tmp_path: Path) -> None:
    script = (
        "from dataclasses import replace\n"
        "from tests.training.test_fit import CONFIG, compact, dotted, fit\n"
        "fit(compact(), dotted(16, 1), None, replace(CONFIG, compile=True))"
    )
    where = {"CXX": str(tmp_path / "nowhere"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env=os.environ | where
    )
    assert done.returncode == 1
    assert "TrainingError: the network cannot be compiled here (" in done.stderr
    assert done.stderr.strip().endswith("; set compile: false")


def test_a_step_in_parts_is_the_same_step() -> None:
    def after(accumulate: int) -> dict[str, torch.Tensor]:
        network = compact()
        config = replace(
            CONFIG,
            unfreeze=UnfreezeConfig(gradual=False, train_batch_norm=False),  # whose statistics depend on the parts
            network=NetworkConfig(name="compact", weights=NO_WEIGHTS, dropout=0.0),
            optimiser=OptimiserConfig(learning_rate=1e-3, ema=False, class_weights=True),
            length=LengthConfig(epochs=1, epoch_tiles=8, batch=8, accumulate=accumulate),
        )
        network.dropout.p = 0.0
        fit(network, dotted(16, 1), None, config)
        return network.state_dict()

    whole, parts = after(1), after(4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("changed", [{"precision": "bf16"}, {"deterministic": True}, {"channels_last": False}])
def test_trainings_of_several_kinds_follow_one_another_in_a_process(changed: dict[str, Any]) -> None:
    config = replace(CONFIG, unfreeze=UnfreezeConfig(), **changed)
    fitted = fit(compact(), dotted(32, 1), dotted(8, 2), config)
    assert [epoch.open_stages for epoch in fitted.history] == [0, 4, 5, 5]
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    class Three:
        """What is asked of the accelerator before anything else."""

        device = torch.device("cpu")
        num_processes = 3
        process_index = 0

    with pytest.raises(InputError, match="a batch of 8 tiles for 3 processes"):
        fit(compact(), dotted(16, 1), None, CONFIG, accelerator=Three())
