"""Trained members that are to be fused: read, checked against the run, and lent to predictions as a bundle."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sarcoscope.core.errors import InputError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.fusion import RULES
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.bundle import Bundle, BundleManifest, BundleMember, Fusion
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.member import MEMBER_FILE, MemberRecord, read_member
from sarcoscope.formats.split import SPLIT_FILE, read_repetitions
from sarcoscope.stages.bundle_make import bundle_members, classes_of, read_parts

SHARED: Final = "shared"
CONCENTRIC: Final = "concentric"
MODES: Final = (SHARED, CONCENTRIC)
ANCHOR: Final = 0.5
"""um/px of the paper's validation and test tiles."""
_SAME: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusible:
    """Members that go together and with the run."""

    folders: tuple[Path, ...]
    records: tuple[MemberRecord, ...]
    mode: Literal["shared", "concentric"]
    fold: str
    """The repetition that they were trained in; empty where the split has only one."""
    tiling: TilingConfig
    """Of the tiles that are read, or around whose centres members read."""
    scales: tuple[float | None, ...]
    """By member, um/px of what it is shown instead of the tile; None is the tile itself."""

    @property
    def names(self) -> tuple[str, ...]:
        """By member."""
        return tuple(record.name for record in self.records)

    @property
    def synthetic(self) -> bool:
        """Whether one was trained on phantoms."""
        return any(record.synthetic for record in self.records)

    def reads_tiles(self, weights: Sequence[float] = ()) -> str:
        """Of the members that are shown the bundle's own tiles the one with most weight, the first of equal ones.

        Empty where there is none.
        """
        by_name = dict(zip(self.names, weights or [1.0] * len(self.names), strict=True))
        mine = [name for name, scale in zip(self.names, self.scales, strict=True) if scale is None]
        return max(mine, key=lambda name: by_name[name], default="")

    def members(self) -> tuple[BundleMember, ...]:
        """As a bundle of its own lists them."""
        return bundle_members(self.records, scales=self.scales)

    def fusion(self, rule: str = "mean", weights: Sequence[float] = ()) -> Fusion:
        """How they become one."""
        return Fusion(mode=self.mode, rule=rule, weights=tuple(weights))

    def lent(self, rules: SlideRules | None = None, rule: str = "mean", weights: Sequence[float] = ()) -> Bundle:
        """A bundle whose files are the members' own, where they lie: for predictions before there is a bundle.

        Raises InputError where they lie on drives that share no folder.
        """
        try:
            home = Path(os.path.commonpath([folder.resolve() for folder in self.folders]))
        except ValueError as error:
            raise InputError("members on drives that share no folder", "copy them below one") from error
        homes = [folder.resolve().relative_to(home).as_posix() for folder in self.folders]
        manifest = BundleManifest(
            name="draft",
            version="0",
            synthetic=self.synthetic,
            intended_use="For fitting what becomes a bundle.",
            not_for="It is none yet.",
            classes=classes_of(self.records[0].classes, {}),
            members=bundle_members(self.records, homes, self.scales),
            fusion=self.fusion(rule, weights),
            tiling=self.tiling,
            rules=rules or SlideRules(),
            provenance={},
        )
        digest = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()
        return Bundle(folder=home, manifest=manifest, sha256=digest)


def trained_members(run: Path, fold: str = "") -> tuple[Path, ...]:
    """Folders of all members below RUN/members, by name; with `fold` those trained in that repetition.

    Raises InputError where there is none, ArtifactError where one is damaged.
    """
    found = sorted(path.parent for path in (run / "members").glob(f"*/{MEMBER_FILE}"))
    mine = tuple(folder for folder in found if not fold or read_member(folder).fold == fold)
    if not mine:
        where = f"{shown(run / 'members')}{f' of repetition {fold}' if fold else ''}"
        raise InputError(f"no trained member in {where}", "run sarcoscope train first, or name members")
    return mine


def fusible(
    run: Path,
    folders: Sequence[Path],
    *,
    mode: str = SHARED,
    rule: str = "mean",
    fold: str = "",
    anchor: float | None = None,
    scales: Mapping[str, float] | None = None,
    names: Mapping[str, str] | None = None,
) -> Fusible:
    """Read members and check that they go together, with the run's split, and with the way they are to be fused.

    `scales` are by member's name, um/px, of mode concentric; `names` are of classes in words. Raises InputError,
    ArtifactError.
    """
    for what, given, known in (("mode", mode, MODES), ("rule", rule, RULES)):
        if given not in known:
            raise InputError(f"unknown {what} {given!r}", f"give {', '.join(known)}")
    if not folders:
        raise InputError("no member given", "give folders below RUN/members")
    concentric = mode == CONCENTRIC
    if not concentric and (anchor is not None or scales):
        raise InputError("scales of members in mode shared", "there all read one tile: drop them, or give concentric")
    records = read_parts(folders, names or {}, own_scales=concentric)
    tile_mpp = _anchor(records, anchor) if concentric else records[0].validation_mpp
    return Fusible(
        folders=tuple(folders),
        records=records,
        mode="concentric" if concentric else "shared",
        fold=_fold(run, folders, records, fold),
        tiling=TilingConfig(mpp=Mpp(tile_mpp), tile_px=records[0].side_px),
        scales=_scales(records, scales or {}, tile_mpp) if concentric else (None,) * len(records),
    )


def _anchor(records: Sequence[MemberRecord], asked: float | None) -> float:
    """Asked for; else the paper's where a member was validated at it, else the finest that one was."""
    if asked is not None:
        return asked
    there = {record.validation_mpp for record in records}
    return ANCHOR if any(abs(one - ANCHOR) < _SAME for one in there) else min(there)


def _scales(records: Sequence[MemberRecord], asked: Mapping[str, float], tile_mpp: float) -> tuple[float | None, ...]:
    if strange := sorted(set(asked) - {record.name for record in records}):
        raise InputError(f"a scale of {strange[0]}, which is no member", f"they are {_list(records)}")
    found: list[float | None] = []
    for record in records:
        trained = ", ".join(f"{one:g}" for one in record.trained_mpp)
        mpp = asked.get(record.name)
        if mpp is None and len(record.trained_mpp) > 1:
            problem = f"{record.name} was trained at {trained} um/px"
            raise InputError(problem, f"say which it reads, e.g. --scale {record.name}={record.trained_mpp[0]:g}")
        mpp = record.trained_mpp[0] if mpp is None else mpp
        if all(abs(mpp - one) >= _SAME for one in record.trained_mpp):
            raise InputError(f"{record.name} at {mpp:g} um/px", f"it was trained at {trained} um/px")
        found.append(None if abs(mpp - tile_mpp) < _SAME else mpp)
    return tuple(found)


def _fold(run: Path, folders: Sequence[Path], records: Sequence[MemberRecord], asked: str) -> str:
    """The members' repetition. InputError where validation tiles of the run may have trained one of them."""
    known = read_repetitions(run)
    if asked and asked not in known:
        raise InputError(f"no repetition {asked!r} in the split", f"there are: {', '.join(known)}")
    fold = "" if len(known) == 1 else asked or Counter(record.fold for record in records).most_common(1)[0][0]
    split = sha256_file(run / SPLIT_FILE)
    for folder, record in zip(folders, records, strict=True):
        if record.config.train_on_validation:
            raise InputError(
                f"{shown(folder)} was trained on validation tiles too",
                "nothing can be fitted on them: sarcoscope bundle make fits nothing",
            )
        if record.split_sha256 != split:
            problem = f"{shown(folder)} was trained by another split than {shown(run / SPLIT_FILE)}"
            raise InputError(problem, "validation tiles may have trained it: train it again, or give its run")
        if record.fold != fold:
            problem = f"{shown(folder)} was trained in repetition {record.fold or 'of a single split'!r}, not {fold!r}"
            raise InputError(problem, "give members of one repetition, and its name with --fold")
    return fold


def _list(records: Sequence[MemberRecord]) -> str:
    return ", ".join(record.name for record in records)
