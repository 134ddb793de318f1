"""The part of a study that needs torch: loaded only where something is to be trained."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Final

import torch

from sarcoscope.core.errors import ArtifactError, TrainingError
from sarcoscope.core.training import NO_WEIGHTS, TrainConfig
from sarcoscope.core.tuning import TuneConfig
from sarcoscope.formats.member import MEMBER_FILE, read_member
from sarcoscope.networks.build import build_network
from sarcoscope.reports.wording import plural
from sarcoscope.stages.study_listen import StudyListener, TrainHears
from sarcoscope.stages.train import MEMBERS, train
from sarcoscope.stages.train_one import Asked, key_of
from sarcoscope.stages.train_tiles import choose_tiles
from sarcoscope.stages.tune import tune
from sarcoscope.stages.tune_refusals import OtherMemberError, OtherSearchError
from sarcoscope.training.devices import make_accelerator
from sarcoscope.training.state import CHECKPOINT_FILE, read_state

_BATCH: Final = 4
"""Tiles a step of the network that is tried; two steps, of which the second counts."""


def train_member(config: TrainConfig, name: str, hears: StudyListener, *, ours: bool) -> Mapping[str, str]:
    """Train a member, go on with it, or find it done; what failed, by name.

    One of other inputs is trained anew where it is `ours`. Raises ArtifactError where it is not; InputError,
    TrainingError.
    """
    folder, force = Path(config.run) / MEMBERS / name, False
    if ours and any((folder / file).exists() for file in (MEMBER_FILE, CHECKPOINT_FILE)):
        asked = Asked(name=name, fold="", seed=config.seeds[0])
        force = _is_other(folder, key_of(config, asked, choose_tiles(Path(config.run), "", config)))
    return train(config, TrainHears(hears, name), force=force).failures


def _is_other(folder: Path, key: str) -> bool:
    """Whether a member, or what an interrupted training left of one, is of other inputs, or damaged."""
    try:
        if (folder / MEMBER_FILE).exists():
            return read_member(folder).key != key
        read_state(folder / CHECKPOINT_FILE, key)
    except ArtifactError:
        return True
    return False


def search_members(config: TuneConfig, hears: StudyListener, *, ours: bool) -> Mapping[str, str]:
    """Search, go on with a search, or find it done; which members are missing, and why.

    One of other inputs is begun anew where it is `ours`; nothing else that may be wrong costs its trials. Raises as
    `train_member` does.
    """
    try:
        summary = tune(config, TrainHears(hears, config.name))
    except (OtherSearchError, OtherMemberError):
        if not ours:
            raise
        summary = tune(config, TrainHears(hears, config.name), force=True)
    if summary.running:
        raise TrainingError(f"{plural(summary.running, 'trial')} are run by other processes", "wait, then run again")
    return summary.kept.missing


def train_seconds(config: TrainConfig, classes: int, side_px: int) -> float:
    """Seconds for each tile drawn, by a step of the network on this machine."""
    accelerator = make_accelerator(config)
    network, _ = build_network(replace(config.network, weights=NO_WEIGHTS), classes, side_px)
    network = network.to(accelerator.device).train()
    tiles = torch.zeros(_BATCH, 3, side_px, side_px, device=accelerator.device)
    seconds = 0.0
    for _ in range(2):
        begin = perf_counter()
        network(tiles).sum().backward()
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = perf_counter() - begin
    return seconds / _BATCH
