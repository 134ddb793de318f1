"""One training: from its tiles to a network with what is known of it, judged by tiles it did not learn from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, Self

import polars as pl
import torch
from accelerate import Accelerator

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, shown
from sarcoscope.core.training import HUB, NO_WEIGHTS, OF_NO_EFFECT, TrainConfig
from sarcoscope.data.indexed_tiles import IndexedTiles
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.history import HISTORY_FILE, TIMINGS_FILE, Epoch, Timing, write_history, write_timings
from sarcoscope.networks.build import build_network
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.weights import WeightsReport
from sarcoscope.reports.wording import plural
from sarcoscope.stages.train_member import Trained
from sarcoscope.stages.train_tiles import TrainTiles
from sarcoscope.training.devices import own_gpus
from sarcoscope.training.energy import Energy, EnergyMeter
from sarcoscope.training.fit import Fitted, Listener, fit
from sarcoscope.training.predict import Predictor
from sarcoscope.training.schedule import Plan, opening_epochs, settle
from sarcoscope.training.state import CHECKPOINT_FILE, Progress
from sarcoscope.training.trackers import Trackers

_OWN: Final = (*OF_NO_EFFECT, "name", "folds", "seeds", "classes", "mpp", "validation_mpp", "length")
"""Of the config, what changes nothing about the result of one member, or stands in its key as it was settled."""
_PLACE: Final = ("left_l0", "top_l0", "width_l0", "height_l0")
_OF_A_TILE: Final = ("part", "slide", "tile", "label", "file", "mpp", *_PLACE, "phash")
"""What of the index a member depends on; the hash stands for the px, which may change under the same name."""


class LearnListener(Listener, Protocol):
    """Who is told how one training goes."""

    def tiles_chosen(self, tiles: TrainTiles, lines: Sequence[str]) -> None:
        """What it is trained on, and in lines what it starts from and what else should be known."""
        ...

    def told(self, words: str) -> None:
        """Something to know that stops nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One member that is asked for."""

    name: str
    fold: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What comes of training tiles, judged by validation tiles alone; of test tiles it knows nothing."""

    network: CamNetwork
    """With the weights that are kept."""
    weights: WeightsReport
    fitted: Fitted
    energy: Energy
    started: datetime
    trackers: tuple[str, ...]


def learn(
    config: TrainConfig,
    asked: Asked,
    chosen: TrainTiles,
    tiles: Mapping[Part, IndexedTiles],
    accelerator: Accelerator,
    *,
    first: tuple[CamNetwork, WeightsReport],
    listener: LearnListener,
    folder: Path,
    key: str,
) -> Learnt:
    """Fit the `first_network`; `folder` holds what is written down epoch by epoch. TrainingError, SlideError, ..."""
    started = datetime.now(UTC)
    network, weights = first
    listener.tiles_chosen(chosen, [*weights.lines(), *chosen.notes, *never_open(config, network, tiles)])
    about = {"member": asked.name, "fold": asked.fold, "seed": asked.seed, **as_json(asdict(config))}
    trackers = config.trackers if accelerator.is_main_process else ()
    gpus = own_gpus(accelerator)
    with Recorder(folder, asked.name, trackers, about, listener) as recorder, EnergyMeter(gpus) as meter:
        fitted = fit(
            network,
            tiles[Part.TRAIN],
            tiles.get(Part.VALIDATION),
            config,
            seed=asked.seed,
            drawn=chosen.shares,
            checkpoint=folder / CHECKPOINT_FILE,
            key=key,
            accelerator=accelerator,
            listener=recorder,
        )
    energy = meter.result
    if recorder.began_at:
        earlier = f"nothing is known of its first {recorder.began_at:,} steps, by an earlier process"
        energy = replace(energy, why_not="; ".join(words for words in (energy.why_not, earlier) if words))
    return Learnt(
        network=network,
        weights=weights,
        fitted=fitted,
        energy=energy,
        started=started,
        trackers=recorder.used,
    )


def never_open(config: TrainConfig, network: CamNetwork, tiles: Mapping[Part, IndexedTiles]) -> list[str]:
    """A line about stages for which a training is too short to open them."""
    epochs, stages = settle(len(tiles[Part.TRAIN].labels), config.length).epochs, len(network.stages())
    wanted = stages if config.unfreeze.depth is None else min(config.unfreeze.depth, stages)
    lacking = wanted - len(opening_epochs(stages, epochs, config.unfreeze))
    return [f"{plural(epochs, 'epoch')}: too few to open {lacking} of the {stages} stages"] if lacking else []


def first_network(
    config: TrainConfig, asked: Asked, chosen: TrainTiles, side_px: int
) -> tuple[CamNetwork, WeightsReport]:
    """The network as a training begins with it. Raises InputError."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)  # the head begins at random
        return build_network(config.network, len(chosen.classes), side_px)


def judged(
    config: TrainConfig,
    asked: Asked,
    chosen: TrainTiles,
    tiles: Mapping[Part, IndexedTiles],
    accelerator: Accelerator,
    *,
    learnt: Learnt,
    key: str,
) -> Trained:
    """What was learnt, with the probabilities of all tiles that it did not learn from."""
    found: dict[Part, Probabilities] = {
        part: Predictor(some, config, accelerator)(learnt.network)
        for part, some in tiles.items()
        if part is not Part.TRAIN
    }
    return Trained(
        name=asked.name,
        config=config,
        fold=asked.fold,
        seed=asked.seed,
        key=key,
        chosen=chosen,
        tiles=tiles,
        network=learnt.network,
        weights=learnt.weights,
        fitted=learnt.fitted,
        probabilities=found,
        energy=learnt.energy,
        started=learnt.started,
        trackers=learnt.trackers,
    )


def key_of(config: TrainConfig, asked: Asked, chosen: TrainTiles) -> str:
    """Hash of all that a member depends on: recipe, seed, tiles and their labels, target, what its weights file holds.

    Where files lie is no part of it.
    """
    rows = pl.concat([table.with_columns(part=pl.lit(str(part))) for part, table in chosen.tables.items()])
    digest = hashlib.sha256(rows.select(*_OF_A_TILE).write_csv().encode())
    asked_for = {name: value for name, value in asdict(config).items() if name not in _OWN}
    weights = asked_for["network"].pop("weights")
    tiles = chosen.tables[Part.TRAIN].height
    about = {
        "config": asked_for,
        "length": {**asdict(settle(tiles, config.length)), "accumulate": config.length.accumulate},
        "classes": chosen.classes,
        "mpp": (chosen.mpp, chosen.validation_mpp),
        "shares": chosen.shares,
        "seed": asked.seed,
        "target": None if chosen.look is None else asdict(chosen.look.target),
        "weights": weights if weights in {HUB, NO_WEIGHTS} else weights_hash(Path(weights)),
    }
    digest.update(json.dumps(about, sort_keys=True, default=list).encode())
    return digest.hexdigest()


def weights_hash(path: Path) -> str:
    """SHA-256 of a file of weights. InputError where it cannot be read."""
    try:
        return sha256_file(path)
    except OSError as error:
        problem = f"weights {shown(path)} cannot be read ({error.strerror or error})"
        raise InputError(problem, f"give a file, {HUB} or {NO_WEIGHTS}") from error


class Recorder:
    """Writes history.csv and timings.csv after each epoch, tells trackers, and passes all on to a listener."""

    def __init__(
        self, folder: Path, name: str, wanted: Sequence[str], about: dict[str, Any], listener: LearnListener
    ) -> None:
        self._folder = folder
        self._listener = listener
        self._trackers = Trackers(folder, name, tuple(wanted), about)
        self._progress = Progress()
        self._began_at = 0

    @property
    def began_at(self) -> int:
        """The step at which this process went on with it."""
        return self._began_at

    @property
    def used(self) -> tuple[str, ...]:
        """The trackers that are told."""
        return tuple(self._trackers.used)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._trackers.close(failed=failure is not None)
        for tracker, why in self._trackers.lost.items():
            self._listener.told(f"{tracker} was not told of everything: {why}")

    def began(self, plan: Plan, progress: Progress) -> None:
        """Keep what will be written down."""
        self._progress = progress
        self._began_at = progress.step
        if progress.history:  # of the last epoch the process that was killed may not have told
            self._trackers.epoch(tracked(progress.history[-1], progress.timings[-1]), progress.history[-1].number)
        self._listener.began(plan, progress)

    def stepped(self, progress: Progress) -> None:
        """Pass it on."""
        self._listener.stepped(progress)

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """Write, tell, pass on."""
        write_history(self._folder / HISTORY_FILE, self._progress.history, self._progress.best)
        write_timings(self._folder / TIMINGS_FILE, self._progress.timings)
        self._trackers.epoch(tracked(epoch, timing), epoch.number)
        self._listener.epoch_over(epoch, timing)


def tracked(epoch: Epoch, timing: Timing) -> dict[str, float]:
    """What trackers are told of an epoch."""
    values: dict[str, float | None] = {
        "loss": epoch.loss,
        "learning_rate": epoch.learning_rate,
        "open_stages": epoch.open_stages,
        "images_per_second": timing.images_per_second,
        "wait_share": timing.wait_share,
    }
    if epoch.validation is not None:
        values |= {f"validation_{name}": value for name, value in asdict(epoch.validation).items()}
    return {name: float(value) for name, value in values.items() if value is not None}
