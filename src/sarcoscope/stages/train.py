"""Training: from the tiles of a run folder to members, one a repetition of the split and seed."""

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from accelerate import Accelerator

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError
from sarcoscope.core.training import TrainConfig
from sarcoscope.formats.alone import alone_at_once
from sarcoscope.formats.atomic import remove, writing
from sarcoscope.formats.member import MEMBER_FILE, MemberRecord, read_member
from sarcoscope.stages.outputs import remove_all_drafts
from sarcoscope.stages.train_member import write_trained
from sarcoscope.stages.train_names import member_name
from sarcoscope.stages.train_one import Asked, LearnListener, first_network, judged, key_of, learn
from sarcoscope.stages.train_tiles import choose_tiles, folds_of
from sarcoscope.training.devices import make_accelerator

MEMBERS: Final = "members"


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
