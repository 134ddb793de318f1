"""The best trials of a search as members: whole artefacts from the weights that were kept, nothing trained again."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, SarcoscopeError
from sarcoscope.core.training import OF_NO_EFFECT
from sarcoscope.core.tuning import Trial, ranked
from sarcoscope.data.indexed_tiles import IndexedTiles
from sarcoscope.formats.atomic import writing
from sarcoscope.formats.history import HISTORY_FILE, TIMINGS_FILE, read_history, read_timings
from sarcoscope.formats.member import MEMBER_FILE, WEIGHTS_FILE, MemberRecord, read_member
from sarcoscope.stages.outputs import remove_drafts, replacing_folder
from sarcoscope.stages.train import MEMBERS, alone_in
from sarcoscope.stages.train_member import write_trained
from sarcoscope.stages.train_one import Learnt, first_network, judged, key_of
from sarcoscope.stages.tune_refusals import OtherMemberError
from sarcoscope.stages.tune_study import SharedStudy, outcome_of
from sarcoscope.stages.tune_trial import Search
from sarcoscope.training.energy import Energy
from sarcoscope.training.fit import Fitted


class MemberListener(Protocol):
    """Who is told how members are written."""

    def member_began(self, name: str, trial: Trial) -> None:
        """Its turn has come."""
        ...

    def member_over(self, name: str, member: MemberRecord, *, skipped: bool) -> None:
        """It is there, written now or by an earlier run."""
        ...


@dataclass(slots=True, kw_only=True)
class Kept:
    """What became of the best trials."""

    members: dict[str, MemberRecord] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    """Of the same, by their trials' numbers."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why one that was asked for is not there, by its name."""


def member_names(search: Search) -> list[str]:
    """Of those that are asked for, the best first."""
    return [f"{search.config.name}-{place}" for place in range(1, search.config.keep + 1)]


def refuse_foreign(search: Search, trials: Sequence[Trial]) -> None:
    """Raise OtherMemberError where a member of such a name is there that came of no trial of this search."""
    for name in member_names(search):
        folder = Path(search.config.train.run) / MEMBERS / name
        if (folder / MEMBER_FILE).exists() and not any(_is_of(read_member(folder), search, one) for one in trials):
            advice = "give another --name, or begin anew with --force"
            raise OtherMemberError(folder, "is of another training", advice)


def _is_of(member: MemberRecord, search: Search, trial: Trial) -> bool:
    """Whether a member came of a trial, on whichever machine."""
    own, theirs = search.train_config(trial.values, member.config.name), member.config
    return replace(theirs, **{name: getattr(own, name) for name in OF_NO_EFFECT}) == own


def write_members(search: Search, study: SharedStudy, listener: MemberListener) -> Kept:
    """Write RUN/members/NAME-1, the best trial, to NAME-k. What is wrong with one of them is collected."""
    kept, best = Kept(), ranked(study.trials, search.config.train.metric)
    tiles: dict[Part, IndexedTiles] = {}
    for place, name in enumerate(member_names(search)):
        if place >= len(best):
            kept.missing[name] = f"only {len(best)} of the trials ran to their end"
            _drop(Path(search.config.train.run) / MEMBERS / name)
            continue
        if not tiles:
            sized = replace(search.config.train, side_px=search.tiles[Part.TRAIN].side_px)
            tiles = {**search.tiles, **search.chosen.opened(sized, (Part.TEST,))}
        listener.member_began(name, best[place])
        try:
            member, skipped = _write(search, study, best[place], name, tiles)
        except SarcoscopeError as error:
            kept.missing[name] = str(error)
            continue
        kept.members[name], kept.names[best[place].number] = member, name
        listener.member_over(name, member, skipped=skipped)
    return kept


def _write(
    search: Search, study: SharedStudy, trial: Trial, name: str, tiles: Mapping[Part, IndexedTiles]
) -> tuple[MemberRecord, bool]:
    """The member of a trial, and whether an earlier run wrote it."""
    folder = Path(search.config.train.run) / MEMBERS / name
    config, asked = search.train_config(trial.values, name), replace(search.asked, name=name)
    key = key_of(config, asked, search.chosen)
    if (folder / MEMBER_FILE).exists():
        member = read_member(folder)
        if member.key == key and member.name == name:
            return member, True
    try:
        learnt = _learnt(search, study, trial, search.home / trial.name)
    except ArtifactError:
        _drop(folder)
        raise
    trained = judged(config, asked, search.chosen, tiles, search.accelerator, learnt=learnt, key=key)
    with alone_in(folder):
        remove_drafts([folder])  # that a killed process left
        with replacing_folder(folder) as draft:
            write_trained(draft, trained, search.accelerator)
    return read_member(folder), False


def _drop(folder: Path) -> None:
    """Remove a member that an earlier end of the search wrote, of a trial that has lost its place since."""
    if folder.is_dir():
        with writing(folder), alone_in(folder):
            shutil.rmtree(folder)


def _learnt(search: Search, study: SharedStudy, trial: Trial, folder: Path) -> Learnt:
    """What a trial learnt, from its folder and the study. ArtifactError where its weights lie on another machine."""
    path = folder / WEIGHTS_FILE
    if not path.exists():
        advice = "run the same command on the machine that trained it; or train it again from its train.yaml"
        raise ArtifactError(path, "is not here", advice)
    config = search.train_config(trial.values, trial.name)
    network, weights = first_network(config, search.asked, search.chosen, search.tiles[Part.TRAIN].side_px)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ArtifactError(path, f"cannot be read ({error})", "begin the search anew with --force") from error
    network.to(search.accelerator.device).eval()
    if config.channels_last:  # as it was trained: the last bits depend on it
        network.to(memory_format=torch.channels_last)
    outcome = outcome_of(trial.number, study.attempts)
    history, best = read_history(folder / HISTORY_FILE)
    return Learnt(
        network=network,
        weights=weights,
        fitted=Fitted(
            plan=search.plan,
            history=tuple(history),
            timings=tuple(read_timings(folder / TIMINGS_FILE)),
            best=best,
            stopped=outcome["stopped"],
        ),
        energy=Energy(**outcome["energy"]),
        started=datetime.fromisoformat(outcome["started"]),
        trackers=tuple(outcome["trackers"]),
    )
