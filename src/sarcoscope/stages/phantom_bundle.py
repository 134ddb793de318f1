"""Train the phantom bundle: phantoms written, tiled and read as any slide would be, a small network fitted to them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

import sarcoscope
from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.core.provenance import library_versions, machine
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.core.training import (
    NO_WEIGHTS,
    BalanceConfig,
    LengthConfig,
    NetworkConfig,
    OptimiserConfig,
    TrainConfig,
    UnfreezeConfig,
)
from sarcoscope.data.tile_set import TileSet
from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.bundle import Bundle, BundleClass, BundleManifest, BundleMember, hashed, write_bundle
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.inference.onnx import load_members
from sarcoscope.metrics.classification import Scores, scores
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.graph import BundleGraph, export_onnx, save_head
from sarcoscope.phantom.cohort import training_cohort, write_slide
from sarcoscope.phantom.spec import CLASSES, DEFAULT_SIZE, PhantomSlide
from sarcoscope.phantom.truth import Region, truth_map
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.origin import git_commit
from sarcoscope.tiling.plan import plan_tiles
from sarcoscope.tiling.reading import TileReader, read_ahead
from sarcoscope.training.devices import make_accelerator
from sarcoscope.training.fit import fit
from sarcoscope.training.predict import Predictor
from sarcoscope.training.schedule import Plan
from sarcoscope.training.state import Progress

_NAMES = {
    "DDLPS": ("dedifferentiated liposarcoma", "#d55e00"),
    "LMS": ("leiomyosarcoma", "#0072b2"),
    "MPNST": ("malignant peripheral nerve sheath tumour", "#009e73"),
    "UPS": ("undifferentiated pleomorphic sarcoma", "#cc79a7"),
    "WDLPS": ("well-differentiated liposarcoma", "#e69f00"),
}

RECIPE = TrainConfig(
    metric="tile_balanced_accuracy",
    network=NetworkConfig(name="compact", weights=NO_WEIGHTS),
    balance=BalanceConfig(by="even"),
    unfreeze=UnfreezeConfig(gradual=False, decay=1.0),  # from random weights nothing is worth freezing
    optimiser=OptimiserConfig(learning_rate=2e-3, backbone=1.0, weight_decay=0.02, warm_up=0.1),
    length=LengthConfig(epochs=12, batch=24),
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomBundleConfig:
    """How the phantom bundle is made."""

    out: Path
    """Folder of the bundle; `work` is made beside it."""
    work: Path
    """Folder for the phantom slides; those already there are not painted again."""
    slides_per_class: int = 10
    validation_per_class: int = 3
    size: Size = DEFAULT_SIZE
    """Of each slide, level-0 px."""
    seed: int = 20_260_001
    """Seeds the training cohort; the validation cohort takes the next one."""
    tiling: TilingConfig = field(default_factory=TilingConfig)
    recipe: TrainConfig = RECIPE
    pure: float = 0.6
    """A tile is labelled by the region that covers at least this share of its tissue, else left out."""


def train_phantom_bundle(config: PhantomBundleConfig, say: Say = lambda _text: None) -> Bundle:
    """Make the bundle; needs the training extra. `say` is told of each slide and epoch."""
    begin, commit = perf_counter(), git_commit()
    cohorts = {
        "train": training_cohort(np.random.default_rng(config.seed), config.slides_per_class, config.size),
        "validation": training_cohort(np.random.default_rng(config.seed + 1), config.validation_per_class, config.size),
    }
    train, validation = (_tile_set(specs, config, config.work / name, say) for name, specs in cohorts.items())
    seed, accelerator = config.recipe.seeds[0], make_accelerator(config.recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CompactNet(len(CLASSES), dropout=config.recipe.network.dropout)
    fitted = fit(
        network,
        train,
        validation,
        config.recipe,
        drawn=(1 / len(CLASSES),) * len(CLASSES),
        seed=seed,
        accelerator=accelerator,
        listener=_Told(say),
    )
    probabilities = Predictor(validation, config.recipe, accelerator)(network)
    found = scores(validation.labels, probabilities, validation.slides)
    member = config.out / "members" / "compact-20x"
    member.mkdir(parents=True, exist_ok=True)
    export_onnx(network.cpu(), member / "model.onnx", config.tiling.tile_px)
    save_head(network, member / "head.npz")
    record = {
        "trained_on": "synthetic phantom slides painted by sarcoscope.phantom",
        "command": "sarcoscope phantom bundle",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": sarcoscope.__version__,
        "git_commit": commit,
        "seed": config.seed,
        "slides": {name: [_spec(spec) for spec in specs] for name, specs in cohorts.items()},
        "tiles": {"train": _counts(train), "validation": _counts(validation)},
        "recipe": as_json(asdict(config.recipe)),
        "tile_label": f"region covering at least {config.pure:.0%} of the tile's tissue, by the phantom's truth map",
        "history": [asdict(epoch) for epoch in fitted.history],
        "libraries": library_versions(),
        "machine": machine(),
        "seconds": round(perf_counter() - begin),
    }
    bundle = write_bundle(config.out, _manifest(config, found, record))
    difference = _onnx_difference(bundle, network, validation)
    say(f"ONNX and torch agree on validation tiles within {difference:.1e} of probability")
    if difference > 1e-3:
        raise InputError(f"ONNX differs from torch by {difference}", "report this with the bundle's provenance")
    return bundle


def _tile_set(specs: Sequence[PhantomSlide], config: PhantomBundleConfig, folder: Path, say: Say) -> TileSet:
    """Paint what is not painted yet, then plan, read and label the tiles as the product does."""
    folder.mkdir(parents=True, exist_ok=True)
    tiles: list[Rgb] = []
    labels: list[int] = []
    for spec in specs:
        painted = json.dumps([sarcoscope.__version__, _spec(spec)], sort_keys=True)
        path = folder / f"{spec.slide_id}-{hashlib.sha256(painted.encode()).hexdigest()[:12]}.svs"
        if not path.exists():
            write_slide(spec, path)
        truth = truth_map(spec)
        before = len(labels)
        with open_slide(path) as source:
            plan = plan_tiles(source, config.tiling)
            for tile, rgb in read_ahead(TileReader(source, config.tiling, plan.glass), plan.candidates):
                shares = truth.shares(tile.box)
                stained = 1 - shares.pop(Region.GLASS)
                region, share = max(shares.items(), key=lambda item: item[1])
                if tile.kept and stained and share / stained >= config.pure:
                    tiles.append(rgb)
                    labels.append(CLASSES.index(region.name))
        say(f"{spec.slide_id}: {len(labels) - before} tiles")
    return TileSet(np.stack(tiles), np.array(labels))


def _manifest(config: PhantomBundleConfig, found: Scores, record: dict[str, Any]) -> BundleManifest:
    member = BundleMember(
        name="compact-20x",
        architecture="sarcoscope.networks.compact.CompactNet, width 16",
        trained_mpp=(config.tiling.mpp,),
        model=hashed(config.out, "members/compact-20x/model.onnx"),
        head=hashed(config.out, "members/compact-20x/head.npz"),
        metrics={
            "phantom_validation_tile_accuracy": found.tile_accuracy or 0.0,
            "phantom_validation_tile_balanced_accuracy": found.tile_balanced_accuracy or 0.0,
        },
    )
    return BundleManifest(
        name="phantom",
        version="1",
        synthetic=True,
        intended_use="For demonstrations and tests: it tells apart five kinds of computer-drawn phantom slides.",
        not_for="Says nothing about any patient: it has never seen a real tumour.",
        classes=tuple(BundleClass(code=code, name=_NAMES[code][0], color=_NAMES[code][1]) for code in CLASSES),
        members=(member,),
        tiling=config.tiling,
        rules=SlideRules(minimum_tiles=20, refine=PAPER_RULES.refine, components=PAPER_RULES.components),
        provenance=record,
    )


def _onnx_difference(bundle: Bundle, network: torch.nn.Module, tiles: TileSet) -> float:
    """Largest difference of a probability between the exported graph and torch over up to 64 tiles."""
    some = tiles.tiles[:: max(1, len(tiles.labels) // 64)]
    (onnx,) = load_members(bundle)
    with torch.no_grad():
        expected = torch.softmax(BundleGraph(network).eval()(torch.from_numpy(some))[0], dim=1).numpy()
    found = torch.softmax(torch.from_numpy(onnx.logits(some)), dim=1).numpy()
    return float(np.abs(expected - found).max())


def _spec(spec: PhantomSlide) -> dict[str, Any]:
    return asdict(spec) | {"artefacts": sorted(spec.artefacts)}


def _counts(tiles: TileSet) -> dict[str, int]:
    return {code: int((tiles.labels == index).sum()) for index, code in enumerate(CLASSES)}


class _Told:
    """Says each epoch in a line."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def began(self, plan: Plan, progress: Progress) -> None:
        """Say how long it will be."""
        del progress
        self._say(f"{plan.epochs} epochs of {plan.steps_per_epoch} steps of {plan.batch} tiles")

    def stepped(self, progress: Progress) -> None:
        """Nothing."""

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """Say how it went."""
        found = epoch.validation
        right = "none" if found is None else f"{found.tile_accuracy:.3f}"
        self._say(f"epoch {epoch.number}: loss {epoch.loss:.3f}, validation accuracy {right}, {timing.seconds:.0f} s")
