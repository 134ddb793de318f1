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
from sarcoscope.formats.atomic import write_bytes, writing
from sarcoscope.formats.bundle import (
    Bundle,
    BundleClass,
    BundleManifest,
    BundleMember,
    HashedFile,
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
_NO_FILES: Final[Mapping[str, bytes]] = {}
NOT_FOR: Final = "When it was made it had not been evaluated on whole slides, nor on slides of other centres."


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
    records = read_parts(ask.members, ask.names)
    first = records[0]
    manifest = BundleManifest(
        name=ask.name or ask.out.resolve().name,
        version=ask.version,
        synthetic=any(record.synthetic for record in records),
        intended_use=ask.intended_use,
        not_for=ask.not_for,
        classes=classes_of(first.classes, ask.names),
        members=bundle_members(records),
        tiling=TilingConfig(mpp=Mpp(first.validation_mpp), tile_px=first.side_px),
        rules=SlideRules(minimum_tiles=ask.minimum_tiles),
        provenance=origin_of(records, "sarcoscope bundle make"),
    )
    refuse_taken(ask.out)
    return write_parts(ask.out, ask.members, manifest)


def read_parts(
    folders: Sequence[Path], names: Mapping[str, str], *, own_scales: bool = False
) -> tuple[MemberRecord, ...]:
    """The members' records, every file compared with its hash.

    `names` are of classes in words, by code; with `own_scales` each member may have been validated at another scale.
    Raises InputError where members do not go together, ArtifactError.
    """
    records = tuple(read_member(folder, check_files=True) for folder in folders)
    _check(folders, records, names, own_scales=own_scales)
    return records


def refuse_taken(out: Path) -> None:
    """Raise ArtifactError where there is something already."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ArtifactError(out, "is there already", "give another --out")


def write_parts(
    out: Path, folders: Sequence[Path], manifest: BundleManifest, files: Mapping[str, bytes] = _NO_FILES
) -> Bundle:
    """Copy the members from their folders, write further files and the manifest, and open the bundle; all or nothing.

    `files` are those that the manifest lists beside members, by path. Raises ArtifactError.
    """
    with replacing_folder(out) as draft:
        for folder, member in zip(folders, manifest.members, strict=True):
            for file in (member.model, member.head):
                target = draft / file.path
                with writing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / target.name, target)
        for path, content in files.items():
            write_bytes(draft / path, content)
        write_bundle(draft, manifest)
    return read_bundle(out)


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


def _check(
    folders: Sequence[Path], records: Sequence[MemberRecord], names: Mapping[str, str], *, own_scales: bool
) -> None:
    first = records[0]
    for folder, record in zip(folders, records, strict=True):
        if record.normalise.method != "none":
            problem = f"{shown(folder)} was trained on tiles evened out by {record.normalise.method}"
            raise InputError(problem, "a bundle reads tiles as they are: train with normalise: none")
        for what in ("classes", "side_px", *(() if own_scales else ("validation_mpp",))):
            own, other = getattr(record, what), getattr(first, what)
            if own != other:
                problem = f"{what} of {shown(folder)} is {own}, of {shown(folders[0])} {other}"
                raise InputError(problem, "members of a bundle read the same tiles")
    name, times = Counter(record.name for record in records).most_common(1)[0]
    if times > 1:
        raise InputError(f"{times} members are called {name}", "train them under names of their own")
    if strange := sorted(set(names) - set(first.classes)):
        raise InputError(f"no class {strange[0]!r}", f"the classes are {', '.join(first.classes)}")


def bundle_members(
    records: Sequence[MemberRecord], homes: Sequence[str] = (), scales: Sequence[float | None] = ()
) -> tuple[BundleMember, ...]:
    """The members as a bundle lists them.

    `homes` are their folders within the bundle's, members/NAME where left out; `scales` what each reads around a
    tile's centre, the tile itself where left out.
    """
    homes = homes or [f"members/{record.name}" for record in records]
    scales = scales or [None] * len(records)
    return tuple(
        BundleMember(
            name=record.name,
            architecture=record.architecture,
            trained_mpp=record.trained_mpp,
            model=HashedFile(path=f"{home}/{record.files.model.path}", sha256=record.files.model.sha256),
            head=HashedFile(path=f"{home}/{record.files.head.path}", sha256=record.files.head.sha256),
            mpp=scale,
            metrics={
                f"{part}_{name}": float(value)
                for part, scores in record.metrics.items()
                for name in ("tile_balanced_accuracy", "slide_balanced_accuracy")
                if (value := scores.get(name)) is not None
            },
        )
        for record, home, scale in zip(records, homes, scales, strict=True)
    )


def origin_of(records: Sequence[MemberRecord], command: str) -> dict[str, Any]:
    """Where a bundle comes from: what it was made with, when, and its members' records without places on disks."""
    return {
        "trained_on": "synthetic phantom slides" if any(one.synthetic for one in records) else "a cohort of the user's",
        "command": command,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": sarcoscope.__version__,
        "members": {one.name: one.model_dump(mode="json", exclude=_PLACES) for one in records},
    }
