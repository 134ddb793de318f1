"""What a training leaves: weights, ONNX graph checked against torch on real tiles, predictions, curves, member.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from accelerate import Accelerator
from safetensors.torch import save

import sarcoscope
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import TrainingError
from sarcoscope.core.provenance import TRAINING_LIBRARIES, library_versions, machine
from sarcoscope.core.training import TrainConfig
from sarcoscope.data.batches import TrainingDraws
from sarcoscope.data.indexed_tiles import IndexedTiles
from sarcoscope.diagnosis.fusion import Probabilities, softmax
from sarcoscope.formats.atomic import as_json, remove, replacing, write_bytes
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.history import HISTORY_FILE, TIMINGS_FILE, write_history, write_timings
from sarcoscope.formats.member import (
    HEAD_FILE,
    MODEL_FILE,
    PREDICTIONS_FILE,
    WEIGHTS_FILE,
    Balanced,
    MemberProvenance,
    MemberRecord,
    Normalised,
    OnnxCheck,
    hash_files,
    write_member,
    write_predictions,
)
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.inference.onnx import OnnxNetwork
from sarcoscope.metrics.classification import Scores, scores
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.graph import BundleGraph, export_onnx, save_head
from sarcoscope.networks.weights import WeightsReport
from sarcoscope.reports.curves import draw_curves
from sarcoscope.stages.origin import git_commit
from sarcoscope.stages.phantom_mark import is_phantom
from sarcoscope.stages.train_tiles import TrainTiles
from sarcoscope.training.devices import device_words, hardware
from sarcoscope.training.energy import Energy
from sarcoscope.training.fit import Fitted
from sarcoscope.training.state import CHECKPOINT_FILE, weights_of

CURVES_FILE: Final = "curves.png"
CHECKED_TILES: Final = 64
"""So many real tiles, evenly spread, on which the ONNX graph is compared with torch."""
MOST_DIFFERENCE: Final = 1e-3
"""Of a probability between the two; more is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """All that is known when a training has ended."""

    name: str
    config: TrainConfig
    fold: str
    seed: int
    key: str
    """Hash of all that it depends on."""
    chosen: TrainTiles
    tiles: Mapping[Part, IndexedTiles]
    """Parts that have any."""
    network: CamNetwork
    """With the weights that are kept."""
    weights: WeightsReport
    fitted: Fitted
    probabilities: Mapping[Part, Probabilities]
    """(N, C) of validation and test tiles, where there are any."""
    energy: Energy
    started: datetime
    trackers: tuple[str, ...]


def write_trained(folder: Path, trained: Trained, accelerator: Accelerator) -> None:
    """Write the member's files, member.json last; then the checkpoint goes.

    Raises TrainingError where the exported graph does not do what the network does, and ArtifactError.
    """
    network = trained.network.cpu()
    network.eval()
    write_bytes(folder / WEIGHTS_FILE, save({name: value.contiguous() for name, value in weights_of(network).items()}))
    with replacing(folder / MODEL_FILE) as path:
        export_onnx(network, path, trained.tiles[Part.TRAIN].side_px)
    with replacing(folder / HEAD_FILE) as path:
        save_head(network, path)
    tables = [trained.chosen.tables[part] for part in trained.probabilities]
    rows = pl.concat(tables) if tables else trained.chosen.tables[Part.VALIDATION].clear()
    classes = trained.chosen.classes
    found = np.concatenate([*trained.probabilities.values(), np.empty((0, len(classes)))])
    write_predictions(folder / PREDICTIONS_FILE, rows, found, classes)
    write_history(folder / HISTORY_FILE, trained.fitted.history, trained.fitted.best)
    write_timings(folder / TIMINGS_FILE, trained.fitted.timings)
    write_bytes(folder / CURVES_FILE, curves(trained))
    write_member(folder, record_of(folder, trained, accelerator))
    remove(folder / CHECKPOINT_FILE)


def record_of(folder: Path, trained: Trained, accelerator: Accelerator) -> MemberRecord:
    """Content of member.json; the files it lists are there."""
    chosen, config, fitted, network = trained.chosen, trained.config, trained.fitted, trained.network
    judged = {part: scores_of(trained, part) for part in trained.probabilities}
    weights = asdict(trained.weights)
    return MemberRecord(
        name=trained.name,
        key=trained.key,
        synthetic=is_phantom(Path(config.run)),
        classes=chosen.classes,
        architecture=config.network.name,
        features=network.head.in_features,
        side_px=trained.tiles[Part.TRAIN].side_px,
        trained_mpp=chosen.mpp,
        validation_mpp=chosen.validation_mpp,
        mean=network.mean,
        std=network.std,
        normalise=Normalised(
            method=config.normalise,
            target=None if chosen.look is None else chosen.look.target,
            record={} if chosen.look is None else {"slides": list(chosen.look_slides), "part": str(Part.TRAIN)},
        ),
        fold=trained.fold,
        seed=trained.seed,
        split_sha256=sha256_file(Path(config.run) / SPLIT_FILE),
        tiles={Part(part): by_class for part, by_class in chosen.counts.items()},
        balance=Balanced(
            multipliers=dict(chosen.multipliers),
            asked=dict(zip(chosen.classes, chosen.shares, strict=True)),
            realised=realised(trained),
        ),
        weights_origin=trained.weights.origin,
        weights_report=as_json(weights),
        config=config,
        plan=asdict(fitted.plan),
        metrics={part: asdict(one) for part, one in judged.items()},
        best_epoch=fitted.best,
        epochs=len(fitted.history),
        stopped=fitted.stopped,
        onnx=checked_graph(folder / MODEL_FILE, trained),
        files=hash_files(folder),
        provenance=MemberProvenance(
            version=sarcoscope.__version__,
            git_commit=git_commit(),
            libraries=library_versions(TRAINING_LIBRARIES),
            machine=machine(),
            device=device_words(accelerator),
            hardware=hardware(accelerator),
            trackers=trained.trackers,
            started=trained.started.isoformat(timespec="seconds"),
            seconds=round(sum(one.seconds + one.validation_seconds for one in fitted.timings), 1),
            energy_wh=trained.energy.watt_hours,
            energy_of=trained.energy.of,
            energy_why_not=trained.energy.why_not,
        ),
    )


def scores_of(trained: Trained, part: Part) -> Scores:
    """How right the kept weights are on a part."""
    tiles = trained.tiles[part]
    return scores(tiles.labels, trained.probabilities[part], tiles.slides)


def realised(trained: Trained) -> dict[str, float]:
    """The classes' shares among the tiles drawn, counted on the first epoch's order; each draws as many of each."""
    labels, plan = trained.tiles[Part.TRAIN].labels, trained.fitted.plan
    draws = TrainingDraws(
        labels=labels,
        shares=trained.chosen.shares,
        batch=plan.batch,
        steps_per_epoch=plan.steps_per_epoch,
        steps=plan.steps,
        start_step=0,
        seed=trained.seed,
        rank=0,
        world=1,
    )
    drawn = labels[draws.order_of(0)]
    counts = np.bincount(drawn, minlength=len(trained.chosen.classes))
    return {code: float(count / len(drawn)) for code, count in zip(trained.chosen.classes, counts, strict=True)}


def checked_graph(path: Path, trained: Trained) -> OnnxCheck:
    """Compare the exported graph with torch on real tiles, of validation where there are any.

    Raises TrainingError where a probability differs by more than `MOST_DIFFERENCE`.
    """
    tiles = trained.tiles.get(Part.VALIDATION, trained.tiles[Part.TRAIN])
    count = len(tiles.labels)
    some = np.unique(np.linspace(0, count - 1, min(CHECKED_TILES, count)).round().astype(int))
    graph = OnnxNetwork(path.read_bytes(), path, trained.name, len(trained.chosen.classes))
    torch_graph, most = BundleGraph(trained.network).eval(), 0.0
    for start in range(0, len(some), 16):
        rgb = np.stack([tiles.read(int(index)) for index in some[start : start + 16]])
        with torch.no_grad():
            expected = softmax(torch_graph(torch.from_numpy(rgb))[0].numpy())
        most = max(most, float(np.abs(softmax(graph.logits(rgb)) - expected).max()))
    if most > MOST_DIFFERENCE:
        problem = f"{path.name} differs from the trained network by {most:.2g} of a probability"
        raise TrainingError(problem, "report this with the network's name; the weights are kept")
    return OnnxCheck(max_abs_difference=most, tiles=len(some))


def curves(trained: Trained) -> bytes:
    """PNG of the history."""
    notice = (
        "Trained on synthetic phantom slides, of no clinical meaning." if is_phantom(Path(trained.config.run)) else ""
    )
    return draw_curves(
        trained.fitted.history, trained.fitted.best, title=trained.name, metric=trained.config.metric, notice=notice
    )
