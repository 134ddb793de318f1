"""A training from its tiles to its files: what they say, that they belong together, and that a kill changes nothing."""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError, TrainingError
from sarcoscope.core.training import (
    NO_WEIGHTS,
    AugmentConfig,
    LengthConfig,
    NetworkConfig,
    OptimiserConfig,
    TrainConfig,
    UnfreezeConfig,
)
from sarcoscope.data.tile_pixels import open_tiles
from sarcoscope.formats.config import config_text
from sarcoscope.formats.history import (
    HISTORY_COLUMNS,
    TIMING_COLUMNS,
    Epoch,
    Timing,
    read_history,
    read_timings,
)
from sarcoscope.formats.member import (
    PREDICTION_COLUMNS,
    Balanced,
    MemberFiles,
    MemberProvenance,
    MemberRecord,
    Normalised,
    read_member,
    read_predictions,
)
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.formats.tile_index import read_cohort_tiles
from sarcoscope.metrics.classification import Scores
from sarcoscope.networks.timm_models import timm_network
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.train import TrainSummary, members_of, train
from sarcoscope.stages.train_one import Asked, Recorder, first_network, key_of
from sarcoscope.stages.train_tiles import TrainTiles, choose_tiles
from sarcoscope.training.schedule import EPOCHS, Plan, opening_epochs, settle
from sarcoscope.training.state import Progress
from tests.cohorts_made import tissue, write_tile
from tests.stages.test_train_tiles import ready_run, slide_run
from tests.training.test_trackers import in_tensorboard

STEPS_AN_EPOCH = 12
FILES = {
    *("member.json", "weights.safetensors", "model.onnx", "head.npz", "predictions.parquet"),
    *("history.csv", "timings.csv", "curves.png"),
}


def tiny(run: Path, **values: Any) -> TrainConfig:
    """Some seconds: three epochs with 0, 4 and 5 open stages, of twelve steps each."""
    plain = TrainConfig(
        run=str(run),
        name="tiny",
        network=NetworkConfig(name="compact", weights=NO_WEIGHTS),
        unfreeze=UnfreezeConfig(open_by=0.9),
        optimiser=OptimiserConfig(learning_rate=5e-3, backbone=1.0),
        length=LengthConfig(epochs=3, epoch_tiles=8 * STEPS_AN_EPOCH, batch=8),
        device="cpu",
        trackers=(),
    )
    return replace(plain, **values)


@dataclass
class Heard:
    """A listener that remembers."""

    lines: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    began_at: list[int] = field(default_factory=list)
    over: dict[str, bool] = field(default_factory=dict)
    """By name whether it was skipped."""
    failed: dict[str, str] = field(default_factory=dict)

    def member_began(self, name: str, number: int, total: int) -> None:
        self.lines.append(f"{name} {number} of {total}")

    def tiles_chosen(self, tiles: TrainTiles, lines: Sequence[str]) -> None:
        assert tiles.classes
        self.lines += lines

    def told(self, words: str) -> None:
        self.lines.append(words)

    def began(self, plan: Plan, progress: Progress) -> None:
        assert progress.step <= plan.steps
        self.began_at.append(progress.step)

    def stepped(self, progress: Progress) -> None:
        self.steps.append(progress.step)

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        pass

    def member_over(self, name: str, member: MemberRecord, *, skipped: bool) -> None:
        assert member.name == name
        self.over[name] = skipped

    def member_failed(self, name: str, error: SarcoscopeError) -> None:
        self.failed[name] = str(error)


def trained(config: TrainConfig, *, force: bool = False) -> tuple[TrainSummary, Heard]:
    heard = Heard()
    return train(config, heard, force=force), heard


@dataclass(frozen=True)
class Whole:
    """A run folder with one member, trained without a break; nobody changes it."""

    config: TrainConfig
    folder: Path
    heard: Heard

    @property
    def run(self) -> Path:
        return Path(self.config.run)

    @property
    def member(self) -> MemberRecord:
        return read_member(self.folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    run = ready_run(tmp_path_factory.mktemp("whole"))
    config = tiny(run)
    _, heard = trained(config)
    return Whole(config, run / "members" / "tiny", heard)


def learnt(folder: Path) -> dict[str, bytes]:
    """What has to be the same, however often a training was broken off."""
    return {name: (folder / name).read_bytes() for name in ("history.csv", "weights.safetensors", "head.npz")}


def test_every_file_is_there_and_is_what_the_record_says(whole: Whole) -> None:
    assert {path.name for path in whole.folder.iterdir()} == FILES
    member = read_member(whole.folder, check_files=True)
    assert (member.name, member.classes, member.seed, member.fold) == ("tiny", ("A", "B", "C"), 0, "")
    assert (member.side_px, member.trained_mpp, member.validation_mpp) == (32, (0.5,), 0.5)
    assert member.tiles == {
        Part.TRAIN: {"A": 14, "B": 6, "C": 2},
        Part.VALIDATION: {"A": 4, "B": 2, "C": 2},
        Part.TEST: {"A": 2, "B": 2, "C": 2},
    }
    assert member.config == whole.config
    assert not member.synthetic
    assert (member.normalise.method, member.normalise.target) == ("none", None)
    assert member.weights_origin == "random"
    assert member.onnx.tiles == 8  # all that validate
    assert member.onnx.max_abs_difference < 1e-4
    history, best = read_history(whole.folder / "history.csv")
    assert len(history) == member.epochs == 3
    assert best == member.best_epoch
    assert [one.open_stages for one in history] == [0, 4, 5]
    assert [one.step for one in history] == [12, 24, 36]
    assert len(read_timings(whole.folder / "timings.csv")) == 3
    assert whole.heard.steps == list(range(1, 37))
    with Image.open(whole.folder / "curves.png") as picture:
        picture.verify()


def test_the_record_says_which_libraries_trained(whole: Whole) -> None:
    found = whole.member.provenance.libraries
    for name in ("timm", "torch", "torchvision", "accelerate", "safetensors", "onnxscript"):
        assert found[name] == importlib.metadata.version(name)


def test_trackers_hear_again_of_the_epoch_after_which_a_process_was_killed(whole: Whole, tmp_path: Path) -> None:
    history, best = read_history(whole.folder / "history.csv")
    progress = Progress(step=24, history=history[:2], timings=read_timings(whole.folder / "timings.csv")[:2], best=best)
    plan = settle(100, whole.config.length)
    with Recorder(tmp_path, "tiny", ("tensorboard",), {}, Heard()) as recorder:
        recorder.began(plan, progress)
        progress.history.append(history[2])
        progress.timings.append(progress.timings[-1])
        recorder.epoch_over(history[2], progress.timings[-1])
    assert [step for step, _ in in_tensorboard(tmp_path, "tiny")["loss"]] == [2, 3]


def test_classes_are_drawn_as_their_multipliers_say(whole: Whole) -> None:
    balance = whole.member.balance
    assert balance.multipliers == {"A": 6, "B": 12, "C": 30}
    assert balance.asked == pytest.approx({"A": 84 / 216, "B": 72 / 216, "C": 60 / 216})
    # of 96 tiles an epoch 37.3, 32 and 26.7: whole ones, the largest remainder first
    assert balance.realised == pytest.approx({"A": 37 / 96, "B": 32 / 96, "C": 27 / 96})


def slide_votes(rows: pl.DataFrame, probabilities: np.ndarray[Any, Any], classes: Sequence[str]) -> list[int]:
    """By slide, in the order of its name, the class that most of its tiles get; else the larger sum."""
    by_slide: dict[str, list[np.ndarray[Any, Any]]] = defaultdict(list)
    for slide, row in zip(rows["slide"], probabilities, strict=True):
        by_slide[slide].append(row)
    voted = []
    for _, tiles in sorted(by_slide.items()):
        votes = Counter(int(np.argmax(tile)) for tile in tiles)
        sums = np.sum(tiles, axis=0)
        voted.append(max(range(len(classes)), key=lambda one: (votes[one], sums[one])))
    return voted


def test_the_figures_are_those_of_the_predictions(whole: Whole) -> None:
    rows, probabilities, classes = read_predictions(whole.folder / "predictions.parquet")
    assert classes == ("A", "B", "C")
    assert dict(rows["part"].value_counts().iter_rows()) == {"validation": 8, "test": 6}
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)
    chosen = choose_tiles(whole.run, "", whole.config)
    for part in (Part.VALIDATION, Part.TEST):
        some = (rows["part"] == str(part)).to_numpy()
        own, found = rows.filter(part=str(part)), probabilities[some]
        assert set(own.select("slide", "tile").iter_rows()) == set(
            chosen.tables[part].select("slide", "tile").iter_rows()
        )
        labels = [classes.index(label) for label in own["label"]]
        slides = sorted(set(zip(own["slide"], labels, strict=True)))
        voted = slide_votes(own, found, classes)
        truth = [label for _, label in slides]
        assert whole.member.metrics[part] == pytest.approx(
            {
                "tile_accuracy": accuracy_score(labels, found.argmax(axis=1)),
                "tile_balanced_accuracy": balanced_accuracy_score(labels, found.argmax(axis=1)),
                "tile_macro_auc": roc_auc_score(labels, found, multi_class="ovr", average="macro"),
                "tile_log_loss": log_loss(labels, found),
                "slide_accuracy": accuracy_score(truth, voted),
                "slide_balanced_accuracy": balanced_accuracy_score(truth, voted),
                "tiles": len(labels),
                "slides": len(slides),
            }
        )
    history, best = read_history(whole.folder / "history.csv")
    judged = history[best - 1].validation
    assert judged is not None
    assert judged.tile_log_loss == pytest.approx(whole.member.metrics[Part.VALIDATION]["tile_log_loss"])


def test_the_graph_gives_the_predictions_on_the_files_themselves(whole: Whole) -> None:
    session = onnxruntime.InferenceSession(whole.folder / "model.onnx", providers=["CPUExecutionProvider"])
    rows, probabilities, _ = read_predictions(whole.folder / "predictions.parquet")
    with np.load(whole.folder / "head.npz") as head:
        weight, bias = head["weight"], head["bias"]
    for row, expected in zip(rows.iter_rows(named=True), probabilities, strict=True):
        with Image.open(whole.run.parent / "tiles" / row["tile"]) as picture:
            rgb = np.asarray(picture.convert("RGB"))[None]
        logits, maps = session.run(["logits", "features"], {"tiles": rgb})
        powers = np.exp(logits[0] - logits[0].max())
        np.testing.assert_allclose(powers / powers.sum(), expected, atol=1e-4)
        np.testing.assert_allclose(weight @ maps[0].mean(axis=(1, 2)) + bias, logits[0], atol=1e-4)
    assert probabilities.std(axis=0).min() > 1e-3  # a network that says the same of everything would pass, too


def test_tiles_of_slides_reach_the_network_evened_out_and_at_their_scales(tmp_path: Path) -> None:
    run = slide_run(tmp_path, (1.0, 0.5))
    length = LengthConfig(epochs=1, epoch_tiles=8, batch=8)
    config = tiny(run, name="slides", mpp=(1.0,), validation_mpp=0.5, normalise="reinhard", length=length)
    member = trained(config)[0].members["slides"]
    look = choose_tiles(run, "", config).look
    assert look is not None
    assert (member.normalise.method, member.normalise.target) == ("reinhard", look.target)
    assert member.normalise.record == {"slides": ["d1", "l1", "u1"], "part": "train"}
    assert (member.trained_mpp, member.validation_mpp, member.side_px) == ((1.0,), 0.5, 64)

    folder = run / "members" / "slides"
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    rows, probabilities, _ = read_predictions(folder / "predictions.parquet")
    assert set(rows["mpp"]) == {0.5}
    index = read_cohort_tiles(run)
    for row, expected in zip(rows.iter_rows(named=True), probabilities, strict=True):
        (listed,) = index.filter(slide=row["slide"], tile=row["tile"]).iter_rows(named=True)
        with open_tiles(run / "tiles" / f"{row['slide']}.parquet", look) as read:
            rgb = read(listed)
        powers = np.exp(session.run(["logits"], {"tiles": rgb[None]})[0][0])
        np.testing.assert_allclose(powers / powers.sum(), expected, atol=1e-4)


def test_weights_are_loaded_by_another_training(whole: Whole) -> None:
    file = whole.folder / "weights.safetensors"
    config = tiny(whole.run, network=NetworkConfig(name="compact", weights=str(file)), seeds=(7,))

    def begin(config: TrainConfig) -> tuple[dict[str, torch.Tensor], list[str]]:
        chosen = choose_tiles(whole.run, "", config)
        network, report = first_network(config, Asked(name="next", fold="", seed=7), chosen, 32)
        return network.state_dict(), report.lines()

    weights, lines = begin(config)
    kept = load_file(file)
    assert weights.keys() == kept.keys()
    assert all(torch.equal(weights[name], kept[name]) for name in kept)
    assert "head: loaded" in lines
    assert any("100.0% of the backbone's parameters" in line for line in lines)
    weights, lines = begin(replace(config, classes=("A", "B")))  # another head
    assert "head: begins at random" in lines
    assert torch.equal(weights["stem.0.weight"], kept["stem.0.weight"])
    assert weights["head.weight"].shape == (2, kept["head.weight"].shape[1])


def test_what_is_done_is_not_done_again_and_something_else_is_refused(whole: Whole) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.iterdir()}
    summary, heard = trained(replace(whole.config, workers=3, checkpoint_minutes=1.0))  # of no account
    assert heard.over == {"tiny": True}
    assert heard.steps == []
    assert summary.members["tiny"] == whole.member
    with pytest.raises(
        ArtifactError, match="is of another config, other tiles or other weights; give another --name, or"
    ):
        trained(replace(whole.config, augment=AugmentConfig(strength=0.5)))
    assert {path: path.stat().st_mtime_ns for path in whole.folder.iterdir()} == before


def test_by_force_it_is_trained_anew_and_comes_out_the_same(whole: Whole, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole.run, run)
    folder = run / "members" / "tiny"
    (folder / "left.txt").touch()
    _, heard = trained(replace(whole.config, run=str(run), workers=2), force=True)  # read by two processes this time
    assert heard.over == {"tiny": False}
    assert len(heard.steps) == 36
    assert learnt(folder) == learnt(whole.folder)
    assert {path.name for path in folder.iterdir()} == FILES
    now, then = read_member(folder), whole.member
    assert (now.key, now.metrics) == (then.key, then.metrics)
    assert now.provenance.started != then.provenance.started or folder != whole.folder


def test_by_force_nothing_goes_before_the_new_training_can_begin(whole: Whole, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole.run, tmp_path / "run"))
    for network in (NetworkConfig(name="resnte18"), NetworkConfig(name="compact", weights=str(run / "nowhere.pth"))):
        with pytest.raises(InputError):
            trained(replace(whole.config, run=str(run), network=network), force=True)
    assert read_member(run / "members" / "tiny", check_files=True) == whole.member


def test_a_member_that_was_damaged_is_not_taken_for_done(whole: Whole, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole.run, tmp_path / "run"))
    config = replace(whole.config, run=str(run))
    graph = run / "members" / "tiny" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"model\.onnx: does not match .*; train it again with --force"):
        trained(config)
    (run / "members" / "tiny" / "member.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"member\.json: damaged .*; train it again with --force"):
        trained(config)
    assert trained(config, force=True)[1].over == {"tiny": False}


def test_a_full_disk_is_one_line_and_the_training_goes_on_once_there_is_room(whole: Whole, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole.run, tmp_path / "run", ignore=shutil.ignore_patterns("members")))
    config, limit = replace(whole.config, run=str(run)), "resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY)"
    words = command(config, tmp_path)
    script = f"import resource; resource.setrlimit({limit}); from sarcoscope.cli.main import main; main()"
    full = subprocess.run(
        [words[0], "-c", script, *words[words.index("train") :]], check=False, capture_output=True, text=True
    )
    assert full.returncode == 2
    assert "Traceback" not in full.stderr
    assert "checkpoint.pt: cannot be written (File too large); check the disk's space" in full.stderr
    assert not list(run.rglob(".*part*"))
    assert trained(config)[1].over == {"tiny": False}
    assert learnt(run / "members" / "tiny") == learnt(whole.folder)


def command(config: TrainConfig, folder: Path) -> list[str]:
    """A training as a user starts it."""
    file = folder / f"{config.name}.yaml"
    file.write_text(config_text(config), encoding="utf-8")
    return [sys.executable, "-m", "sarcoscope", "train", str(file)]


def wait_until(true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Look again and again; an AssertionError with what the process said where it ended before."""
    while not true():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def started(config: TrainConfig, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(command(config, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(process: "subprocess.Popen[str]") -> str:
    """What it had said to stderr until then."""
    process.kill()
    _, told = process.communicate()
    assert process.returncode == -signal.SIGKILL
    return told


def step_of(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, weights_only=True)["step"])


def epochs_in(folder: Path) -> int:
    file = folder / "history.csv"
    return len(read_history(file)[0]) if file.exists() else 0


def goes_on_after(step: int) -> str:
    return f"goes on after epoch {step // STEPS_AN_EPOCH}, step {step} of 36"


def test_killed_again_and_again_it_ends_as_if_it_had_not_been(whole: Whole, tmp_path: Path) -> None:
    config = replace(whole.config, name="killed", checkpoint_minutes=0.0)
    folder = whole.run / "members" / "killed"
    checkpoint = folder / "checkpoint.pt"

    # in the middle of an epoch, while the head learns alone
    process = started(config, tmp_path)
    try:
        wait_until(checkpoint.exists, process)
        process.send_signal(signal.SIGSTOP)  # it holds what it holds while we look
        with pytest.raises(ArtifactError, match="killed: is being trained by another process; wait for it, or give"):
            trained(config)
    finally:
        kill(process)
    middle = step_of(checkpoint)
    assert middle % STEPS_AN_EPOCH
    before = epochs_in(folder)

    # after the next epoch, where stages are about to open; the last state is that at its end
    config = replace(config, checkpoint_minutes=10.0)
    process = started(config, tmp_path)
    try:
        wait_until(lambda: epochs_in(folder) > before, process)
    finally:
        told = kill(process)
    assert goes_on_after(middle) in told
    end = step_of(checkpoint)
    assert end % STEPS_AN_EPOCH == 0
    assert end > middle

    # when the last step is done and files are being written
    process = started(config, tmp_path)
    try:
        wait_until((folder / "weights.safetensors").exists, process)
    finally:
        told = kill(process)
    assert goes_on_after(end) in told
    assert not (folder / "member.json").exists()
    (folder / f".checkpoint-{'0' * 32}.part.pt").touch()  # as a kill in the middle of writing leaves it

    _, heard = trained(config)
    assert heard.began_at == [36]
    assert heard.steps == []
    assert learnt(folder) == learnt(whole.folder)
    assert {path.name for path in folder.iterdir()} == FILES
    member = read_member(folder, check_files=True)
    assert member.metrics == whole.member.metrics
    assert "of its first 36 steps" in member.provenance.energy_why_not


def test_a_training_that_was_begun_otherwise_is_not_gone_on_with(whole: Whole) -> None:
    folder = whole.run / "members" / "other"
    folder.mkdir()
    torch.save({"schema": 1, "key": "of another one"}, folder / "checkpoint.pt")
    with pytest.raises(ArtifactError, match=r"checkpoint\.pt: is of a training with another config.* --force"):
        trained(replace(whole.config, name="other"))


def test_one_member_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 3, "B": 3})
    lines = ["slide,whole,no B", *(f"A{place},{part},{part}" for place, part in enumerate(("train", "test", "train")))]
    lines += ["B0,train,validation", "B1,test,test", "B2,validation,validation"]
    (run / SPLIT_FILE).write_text("\n".join(lines) + "\n")
    length = LengthConfig(epochs=1, epoch_tiles=8, batch=8)
    summary, heard = trained(tiny(run, name="", length=length))
    assert heard.failed.keys() == summary.failures.keys() == {"compact-no_B"}
    assert "only class A has training tiles" in summary.failures["compact-no_B"]
    assert list(summary.members) == ["compact-whole"]
    assert "1 epoch: too few to open 5 of the 5 stages" in heard.lines
    assert summary.exit_code == 1
    assert (summary.members["compact-whole"].fold, summary.members["compact-whole"].epochs) == ("whole", 1)
    assert (run / "members" / "compact-whole" / "member.json").is_file()
    with pytest.raises(TrainingError, match="only class A has training tiles"):  # alone it is the run's own error
        trained(tiny(run, folds=("no B",)))
    assert TrainSummary(failures={"x": "why"}).exit_code == 2


def names(config: TrainConfig, folds: Sequence[str] = ("",)) -> list[str]:
    return [one.name for one in members_of(config, folds)]


def test_a_member_each_repetition_and_seed_under_a_name_of_its_own() -> None:
    plain = TrainConfig(network=NetworkConfig(name="tf_efficientnet_b7"))
    assert names(plain) == ["tf_efficientnet_b7"]
    assert names(replace(plain, mpp=(0.5, 0.25))) == ["tf_efficientnet_b7-0.5um-0.25um"]
    assert names(replace(plain, network=NetworkConfig(name="hf-hub:owner/a.net"), mpp=(1.0,))) == ["a.net-1um"]
    grid = members_of(replace(plain, name="m", seeds=(0, 5)), ("fold1", "without centre/2"))
    assert [(one.name, one.fold, one.seed) for one in grid] == [
        ("m-fold1-seed0", "fold1", 0),
        ("m-fold1-seed5", "fold1", 5),
        ("m-without_centre_2-seed0", "without centre/2", 0),
        ("m-without_centre_2-seed5", "without centre/2", 5),
    ]
    with pytest.raises(InputError, match="two members would be called m-a_b; give each repetition once"):
        names(replace(plain, name="m"), ("a b", "a/b"))


@pytest.mark.parametrize("name", ["../up", "a b", ".hidden", "-x", "Ä", "a/b"])
def test_a_name_that_is_none_is_told_before_anything_is_trained(name: str) -> None:
    with pytest.raises(InputError, match=r"name .* of a member; give letters, digits, '\.', '_' and '-'"):
        names(TrainConfig(name=name))


def reject_one(run: Path) -> None:
    table = choose_tiles(run, "", tiny(run)).tables[Part.TRAIN]
    (run / "screening.csv").write_text(f"slide,tile,decision\n{table['slide'][0]},{table['tile'][0]},reject\n")


def move_one(run: Path) -> None:
    text = (run / SPLIT_FILE).read_text()
    (run / SPLIT_FILE).write_text(text.replace("train", "validation", 1))


def paint_one(run: Path) -> None:
    write_tile(run.parent / "tiles" / "A" / "A0_0.png", tissue(4711, 32))
    index_again(run)


def rescale(run: Path) -> None:
    index_again(run, 1.0)


def index_again(run: Path, mpp: Any = 0.5) -> None:
    tiles = run.parent / "tiles"
    cohort_from_tiles(TilesConfig(folder=tiles, out=run, mpp=mpp, slide_regex=r"^([^_]+)_", nuclei=False))


@pytest.mark.parametrize("change", [reject_one, move_one, paint_one, rescale])
def test_a_member_depends_on_its_tiles(tmp_path: Path, change: Callable[[Path], None]) -> None:
    run = ready_run(tmp_path, {"A": 4, "B": 4})

    def key() -> str:
        return key_of(tiny(run), Asked(name="m", fold="", seed=0), choose_tiles(run, "", tiny(run)))

    before = key()
    index_again(run)
    assert key() == before
    change(run)
    assert key() != before


def test_a_member_depends_on_its_recipe_and_not_on_how_it_is_run(whole: Whole, tmp_path: Path) -> None:
    def key(seed: int = 0, **values: Any) -> str:
        config = replace(whole.config, **values)
        return key_of(config, Asked(name="m", fold="", seed=seed), choose_tiles(whole.run, "", config))

    assert key(workers=4, cache_mb=0, checkpoint_minutes=1.0, trackers=("mlflow",), name="x", seeds=(1, 2)) == key()
    file = str(whole.folder / "weights.safetensors")
    moved = str(shutil.copy(file, tmp_path / "moved.safetensors"))
    at_file, at_moved = (key(network=NetworkConfig(name="compact", weights=where)) for where in (file, moved))
    assert at_file == at_moved
    (mpp,) = choose_tiles(whole.run, "", whole.config).mpp
    assert key(mpp=(mpp,), validation_mpp=mpp, classes=("A", "B", "C")) == key()
    others: list[Mapping[str, Any]] = [
        {"seed": 1},
        {"length": LengthConfig(epochs=4)},
        {"classes": ("C", "B", "A")},
        {"side_px": 48},
        {"network": NetworkConfig(name="compact", weights=file)},
    ]
    assert len({key(), *(key(**one) for one in others)}) == 1 + len(others)
    with pytest.raises(InputError, match=r"weights .*nowhere\.pth cannot be read .*; give a file, hub or none"):
        key(network=NetworkConfig(name="compact", weights=str(whole.run / "nowhere.pth")))


def test_no_file_says_where_it_was_trained_but_the_config(whole: Whole) -> None:
    record = json.loads((whole.folder / "member.json").read_text())
    assert record["config"].pop("run") == str(whole.run)
    assert str(whole.run.parent) not in json.dumps(record)
    assert os.fsencode(whole.run.parent) not in (whole.folder / "model.onnx").read_bytes()


def named(page: str) -> set[str]:
    """Every word set as code on one of our pages."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    return set(re.findall(r"`([^`\n]+)`", text))


def test_every_key_and_column_of_a_member_is_documented() -> None:
    keys = {
        *MemberRecord.model_fields,
        *MemberFiles.model_fields,
        *MemberProvenance.model_fields,
        *Plan.__annotations__,
    }
    keys |= {*Balanced.model_fields, *Normalised.model_fields, *(one.name for one in fields(Scores))}
    columns = {*HISTORY_COLUMNS, *TIMING_COLUMNS, *PREDICTION_COLUMNS}
    assert keys | columns <= named("files.md")
    assert FILES | {"checkpoint.pt"} <= named("training.md")


def test_every_key_of_the_config_is_documented() -> None:
    plain = TrainConfig()
    sections = {one.name: getattr(plain, one.name) for one in fields(plain)}
    keys = [
        f"{name}.{key}" if key else name
        for name, value in sections.items()
        for key in ([one.name for one in fields(value)] if is_dataclass(value) else [""])
    ]
    assert set(keys) <= {words.partition(":")[0] for words in named("training.md")}


def test_the_figures_on_the_page_are_those_of_the_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    lengths = [
        list(map(int, row))
        for row in ([cell.replace(",", "") for cell in row] for row in rows)
        if all(map(str.isdigit, row))
    ]
    assert len(lengths) >= 4
    for tiles, batch, steps_per_epoch, drawn in lengths:
        plan = settle(tiles, LengthConfig())
        assert (plan.batch, plan.steps_per_epoch, plan.steps * plan.batch) == (batch, steps_per_epoch, drawn)
    stages = [stage.name for stage in timm_network("resnet18", 5, 64).stages()]
    opens = {words.strip("`"): int(epoch) for epoch, words in (row for row in rows if len(row) == 2) if epoch.isdigit()}
    assert opens.pop("the head alone") == 1
    assert [opens.pop(stage) - 1 for stage in reversed(stages)] == list(
        opening_epochs(len(stages), EPOCHS, UnfreezeConfig())
    )
    assert not opens
