"""Training: from the tiles of a run folder to members, one a repetition of the split and seed."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, Self

import polars as pl
import torch
from accelerate import Accelerator

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError, shown
from sarcoscope.core.training import HUB, NO_WEIGHTS, OF_NO_EFFECT, TrainConfig
from sarcoscope.data.indexed_tiles import IndexedTiles
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.alone import alone_at_once
from sarcoscope.formats.atomic import as_json, remove, writing
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.history import HISTORY_FILE, TIMINGS_FILE, Epoch, Timing, write_history, write_timings
from sarcoscope.formats.member import MEMBER_FILE, MemberRecord, read_member
from sarcoscope.networks.build import build_network
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.weights import WeightsReport
from sarcoscope.reports.wording import plural
from sarcoscope.stages.outputs import remove_all_drafts
from sarcoscope.stages.train_member import Trained, write_trained
from sarcoscope.stages.train_names import member_name
from sarcoscope.stages.train_tiles import TrainTiles, choose_tiles, folds_of
from sarcoscope.training.devices import make_accelerator, own_gpus
from sarcoscope.training.energy import Energy, EnergyMeter
from sarcoscope.training.fit import Fitted, Listener, fit
from sarcoscope.training.predict import Predictor
from sarcoscope.training.schedule import Plan, opening_epochs, settle
from sarcoscope.training.state import CHECKPOINT_FILE, Progress
from sarcoscope.training.trackers import Trackers

MEMBERS: Final = "members"
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


class TrainListener(LearnListener, Protocol):
    """Who is told how a run goes."""

    def member_began(self, name: str, number: int, total: int) -> None:
        """Its turn has come."""
        ...

    def member_over(self, name: str, member: MemberRecord, *, skipped: bool) -> None:
        """It is written, now or by an earlier run from the same inputs."""
        ...

    def member_failed(self, name: str, error: SarcoscopeError) -> None:
        """The others go on."""
        ...


@dataclass(slots=True, kw_only=True)
class TrainSummary:
    """What became of a run."""

    members: dict[str, MemberRecord] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 where every member is there, 1 where some failed, 2 where none is."""
        return 0 if not self.failures else 1 if self.members else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One member that is asked for."""

    name: str
    fold: str
    seed: int


def train(config: TrainConfig, listener: TrainListener, *, force: bool = False) -> TrainSummary:
    """Train each member that is asked for, unless an earlier run did from the same inputs.

    Raises InputError and ArtifactError where nothing can begin; what is wrong with one member is collected.
    """
    run = Path(config.run)
    members = members_of(config, folds_of(run, config.folds))
    accelerator = make_accelerator(config)
    summary = TrainSummary()
    for number, asked in enumerate(members, start=1):
        listener.member_began(asked.name, number, len(members))
        try:
            member, skipped = train_member(config, asked, accelerator, listener, force=force)
        except SarcoscopeError as error:
            if len(members) == 1 or accelerator.num_processes > 1:  # other processes would wait for this one for ever
                raise
            summary.failures[asked.name] = str(error)
            listener.member_failed(asked.name, error)
            continue
        summary.members[asked.name] = member
        listener.member_over(asked.name, member, skipped=skipped)
    return summary


def members_of(config: TrainConfig, folds: Sequence[str]) -> list[Asked]:
    """The members to train and what each is called. InputError for a name that is none, or that two would have."""
    found: dict[str, Asked] = {}
    for fold in folds:
        for seed in config.seeds:
            asked = Asked(name=member_name(config, fold, seed), fold=fold, seed=seed)
            if asked.name in found:
                raise InputError(f"two members would be called {asked.name}", "give each repetition once")
            found[asked.name] = asked
    return list(found.values())


def train_member(
    config: TrainConfig,
    asked: Asked,
    accelerator: Accelerator,
    listener: TrainListener,
    *,
    home: Path | None = None,
    force: bool = False,
) -> tuple[MemberRecord, bool]:
    """Train one member and write its folder; the second value says whether an earlier run had done so.

    The folder lies in `home`, which is RUN/members where it is left out.

    Raises InputError, TrainingError, ArtifactError and SlideError.
    """
    folder = (home or Path(config.run) / MEMBERS) / asked.name
    chosen = choose_tiles(Path(config.run), asked.fold, config)
    key = key_of(config, asked, chosen)
    done = finished(folder, key, force=force)
    accelerator.wait_for_everyone()  # of several processes none may begin before all have looked
    if done is not None:
        return done, True
    tiles = chosen.opened(config)  # all that may be wrong is, before an earlier member goes
    first = first_network(config, asked, chosen, tiles[Part.TRAIN].side_px)
    with alone_in(folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            begin_folder(folder, force=force)
        accelerator.wait_for_everyone()
        learnt = learn(
            config, asked, chosen, tiles, accelerator, first=first, listener=listener, folder=folder, key=key
        )
        trained = judged(config, asked, chosen, tiles, accelerator, learnt=learnt, key=key)
        if accelerator.is_main_process:
            write_trained(folder, trained, accelerator)
        accelerator.wait_for_everyone()
    return read_member(folder), False


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


def finished(folder: Path, key: str, *, force: bool) -> MemberRecord | None:
    """The member that an earlier run wrote from the same inputs. ArtifactError where it is of others."""
    if force or not (folder / MEMBER_FILE).exists():
        return None
    member = read_member(folder, check_files=True)
    if member.key != key:
        problem = "is of another config, other tiles or other weights"
        raise ArtifactError(folder, problem, "give another --name, or train it again with --force")
    return member


def begin_folder(folder: Path, *, force: bool) -> None:
    """Make it; what is asked for anew goes, and what a killed process left half written."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.iterdir() if force else ():
            shutil.rmtree(stale) if stale.is_dir() else remove(stale)
    remove_all_drafts(folder)


def alone_in(folder: Path) -> AbstractContextManager[None]:
    """Hold a member against other processes. ArtifactError where one is at it."""
    busy = ArtifactError(folder, "is being trained by another process", "wait for it, or give another --name")
    return alone_at_once(folder, busy)


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
