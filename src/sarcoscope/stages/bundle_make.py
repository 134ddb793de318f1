"""From trained members to a bundle that `diagnose` takes: their graphs, fused by the mean, and plain rules."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sarcoscope
from sarcoscope.core.errors import ArtifactError, InputError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.atomic import writing
from sarcoscope.formats.bundle import (
    Bundle,
    BundleClass,
    BundleManifest,
    BundleMember,
    hashed,
    read_bundle,
    shipped_bundles,
    write_bundle,
)
from sarcoscope.formats.member import MemberRecord, read_member
from sarcoscope.reports.colors import spare_colors
from sarcoscope.stages.outputs import replacing_folder

INTENDED_USE: Final = "For research on slides like those that it was trained on."
_PLACES: Final[Any] = {"config": {"run": True, "network": {"weights": True}}}
"""What of a member's record says where files lay on the machine that trained it."""
NOT_FOR: Final = "It was not evaluated on whole slides, and not on slides of other centres."


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleAsk:
    """What a bundle is made of."""

    members: tuple[Path, ...]
    """Folders of trained members; each tile goes to all of them."""
    out: Path
    name: str = ""
    """The folder's own where it is left out."""
    version: str = "1"
    intended_use: str = INTENDED_USE
    not_for: str = NOT_FOR
    names: Mapping[str, str] = field(default_factory=dict)
    """Of classes, in words, by code."""
    minimum_tiles: int = 20

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("no member given", "give folders below RUN/members")


def make_bundle(ask: BundleAsk) -> Bundle:
    """Write the bundle and open it. Raises InputError where members do not go together, ArtifactError."""
    records = [read_member(folder, check_files=True) for folder in ask.members]
    _check(ask, records)
    if ask.out.exists() and not (ask.out.is_dir() and not any(ask.out.iterdir())):
        raise ArtifactError(ask.out, "is there already", "give another --out")
    with replacing_folder(ask.out) as draft:
        members = [_member(folder, record, draft) for folder, record in zip(ask.members, records, strict=True)]
        write_bundle(draft, _manifest(ask, records, members))
    return read_bundle(ask.out)


def _manifest(ask: BundleAsk, records: Sequence[MemberRecord], members: Sequence[BundleMember]) -> BundleManifest:
    first = records[0]
    return BundleManifest(
        name=ask.name or ask.out.resolve().name,
        version=ask.version,
        synthetic=any(record.synthetic for record in records),
        intended_use=ask.intended_use,
        not_for=ask.not_for,
        classes=classes_of(first.classes, ask.names),
        members=tuple(members),
        tiling=TilingConfig(mpp=Mpp(first.validation_mpp), tile_px=first.side_px),
        rules=SlideRules(minimum_tiles=ask.minimum_tiles),
        provenance=_provenance(records),
    )


def classes_of(codes: Sequence[str], names: Mapping[str, str]) -> tuple[BundleClass, ...]:
    """The classes with names and colours: of those that the shipped bundle knows its own, as on every page."""
    known = {one.code: one for one in read_bundle(shipped_bundles()["phantom"]).manifest.classes}
    others = [code for code in codes if code not in known]
    taken = {known[code].color for code in codes if code in known}
    colors = dict(zip(others, spare_colors(len(others), taken), strict=True))
    return tuple(
        BundleClass(
            code=code,
            name=names.get(code, known[code].name if code in known else code),
            color=known[code].color if code in known else colors[code],
        )
        for code in codes
    )


def _check(ask: BundleAsk, records: Sequence[MemberRecord]) -> None:
    first = records[0]
    for folder, record in zip(ask.members, records, strict=True):
        if record.normalise.method != "none":
            problem = f"{shown(folder)} was trained on tiles evened out by {record.normalise.method}"
            raise InputError(problem, "a bundle reads tiles as they are: train with normalise: none")
        for what in ("classes", "side_px", "validation_mpp"):
            own, other = getattr(record, what), getattr(first, what)
            if own != other:
                problem = f"{what} of {shown(folder)} is {own}, of {shown(ask.members[0])} {other}"
                raise InputError(problem, "members of a bundle read the same tiles")
    name, times = Counter(record.name for record in records).most_common(1)[0]
    if times > 1:
        raise InputError(f"{times} members are called {name}", "train them under names of their own")
    if strange := sorted(set(ask.names) - set(first.classes)):
        raise InputError(f"no class {strange[0]!r}", f"the classes are {', '.join(first.classes)}")


def _member(folder: Path, record: MemberRecord, out: Path) -> BundleMember:
    home = out / "members" / record.name
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        for file in (record.files.model, record.files.head):
            shutil.copyfile(folder / file.path, home / file.path)
    return BundleMember(
        name=record.name,
        architecture=record.architecture,
        trained_mpp=record.trained_mpp,
        model=hashed(out, f"members/{record.name}/{record.files.model.path}"),
        head=hashed(out, f"members/{record.name}/{record.files.head.path}"),
        metrics={
            f"{part}_{name}": float(value)
            for part, scores in record.metrics.items()
            for name in ("tile_balanced_accuracy", "slide_balanced_accuracy")
            if (value := scores.get(name)) is not None
        },
    )


def _provenance(records: Sequence[MemberRecord]) -> dict[str, Any]:
    return {
        "trained_on": "synthetic phantom slides" if any(one.synthetic for one in records) else "a cohort of the user's",
        "command": "sarcoscope bundle make",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": sarcoscope.__version__,
        "members": {one.name: one.model_dump(mode="json", exclude=_PLACES) for one in records},
    }
