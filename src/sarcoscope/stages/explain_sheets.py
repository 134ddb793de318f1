"""What was seen of the chosen tiles, as sheets, maps and cam.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

import sarcoscope
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.provenance import library_versions, machine
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.explain.cam import Maps, heat, summary, upsampled
from sarcoscope.explain.picks import KINDS, RIGHT, TOLD, UNCERTAIN, WRONG, Pick
from sarcoscope.formats.atomic import remove, write_bytes
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.cam import CAM_FILE, CamClass, CamRecord, CamSheet, CamTile, CamView, read_cam, write_cam
from sarcoscope.reports.cam_sheets import CamItem, CamPanel, CamRow, draw_cam_sheet
from sarcoscope.reports.wording import percent, plural
from sarcoscope.stages.explain_tiles import Lens, Looked

_TITLES: Final[Mapping[str, str]] = {
    RIGHT: "the most confident right",
    WRONG: "the most confident wrong",
    UNCERTAIN: "the least certain",
    TOLD: "the most confident of those told so",
}
_MISSING: Final[Mapping[str, str]] = {
    RIGHT: "no tile of {code} is told right",
    WRONG: "no tile of {code} is told wrong",
    UNCERTAIN: "there is no tile of {code}",
    TOLD: "no tile is told as {code}",
}
_PHANTOMS: Final = "The slides are synthetic phantoms, of no clinical meaning."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """One chosen tile with its maps."""

    pick: Pick
    slide: str
    tile: str
    label: str | None
    components: tuple[str, ...] = ()
    """Further tumour components of its slide, which a tile may well be of."""
    pooled: bool
    probabilities: Probabilities
    """(C,) fused, at the bundle's temperature."""
    looked: tuple[Looked, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class About:
    """What all sheets share."""

    bundle: Bundle
    lens: Lens
    phantoms: bool
    """Whether slides are painted by this software."""
    kinds: tuple[str, ...]
    """Of sheets that are asked for."""
    part: Part | None = None
    fold: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def notice(self) -> str:
        """Stands on every sheet."""
        return f"{_PHANTOMS} {self.bundle.notice}" if self.phantoms else self.bundle.notice

    @property
    def combined(self) -> str:
        """What a map is where there are several members."""
        names = self.lens.names
        if len(names) == 1:
            return f"maps of {names[0]}"
        if self.lens.shown == len(names):
            return f"maps of {len(names)} members, each at its own scale"
        mean = "weighted mean maps" if self.bundle.manifest.fusion.weights else "mean maps"
        return f"{mean} of {len(names)} members" + (" by scale" if self.lens.shown > 1 else "")


def _earlier(out: Path) -> set[str]:
    """Names of the sheets that an earlier run wrote; none where there was none, or its record cannot be read."""
    try:
        return {Path(sheet.file).name for sheet in read_cam(out / CAM_FILE).sheets}
    except ArtifactError:
        return set()


def write_explained(out: Path, about: About, found: Sequence[Explained]) -> CamRecord:
    """Write the sheets, the maps and, last, cam.json in place of those of an earlier run. Raises ArtifactError."""
    earlier = _earlier(out)
    remove(out / CAM_FILE)
    for stale in earlier | {f"{code}-{kind}.png" for code in about.bundle.codes for kind in (*KINDS, TOLD)}:
        remove(out / stale)
    tiles: dict[int, CamTile] = {}
    maps: dict[str, npt.NDArray[np.float32]] = {}
    for one in found:
        if one.pick.place not in tiles:
            tiles[one.pick.place] = _record(one, len(tiles), about.bundle, maps)
    places = list(tiles)
    sheets: list[CamSheet] = []
    missing: list[str] = []
    for number, code in enumerate(about.bundle.codes):
        for kind in about.kinds:
            own = [one for one in found if (one.pick.sheet, one.pick.kind) == (number, kind)]
            if not own:
                missing.append(_MISSING[kind].format(code=code))
                if kind == UNCERTAIN:  # which any tile would do for: what was missed before is said by it, too
                    missing = [words for words in missing if words not in _lines(code, (RIGHT, WRONG))]
                continue
            file = f"{code}-{kind}.png"
            write_bytes(out / file, _draw(own, about, code, kind))
            shown = [places.index(one.pick.place) for one in own]
            sheets.append(CamSheet.model_validate({"file": file, "code": code, "kind": kind, "tiles": shown}))
    record = _cam(about, list(tiles.values()), sheets, missing)
    write_cam(out / CAM_FILE, record, maps)
    return record


def _lines(code: str, kinds: Sequence[str]) -> list[str]:
    return [_MISSING[kind].format(code=code) for kind in kinds]


def _cam(about: About, tiles: list[CamTile], sheets: list[CamSheet], missing: list[str]) -> CamRecord:
    manifest = about.bundle.manifest
    return CamRecord(
        synthetic=manifest.synthetic or about.phantoms,
        notice=about.notice,
        bundle=manifest.name,
        bundle_sha256=about.bundle.sha256,
        part=None if about.part is None else str(about.part),
        fold=about.fold,
        classes=list(manifest.classes),
        members=list(about.lens.names),
        combined=about.combined,
        sheets=sheets,
        tiles=tiles,
        missing=missing,
        failures=dict(about.failures),
        provenance={
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": sarcoscope.__version__,
            "libraries": library_versions(),
            "machine": machine(),
        },
    )


def _record(one: Explained, number: int, bundle: Bundle, maps: dict[str, npt.NDArray[np.float32]]) -> CamTile:
    """The tile in numbers; its maps are added to `maps`."""
    views = []
    for place, looked in enumerate(one.looked):
        maps[f"tile{number}_{place}"] = looked.maps
        classes = {code: _class(looked, at) for at, code in enumerate(bundle.codes)}
        views.append(
            CamView(members=list(looked.members), mpp=looked.view.mpp, array=f"tile{number}_{place}", classes=classes)
        )
    return CamTile(
        slide=one.slide,
        tile=one.tile,
        label=one.label,
        components=list(one.components),
        told=bundle.codes[int(one.probabilities.argmax())],
        pooled=one.pooled,
        probabilities={code: float(value) for code, value in zip(bundle.codes, one.probabilities, strict=True)},
        views=views,
    )


def _class(looked: Looked, at: int) -> CamClass:
    said = summary(looked.maps[at])
    return CamClass(
        logit=float(looked.logits[at]),
        mean=said.mean,
        least=said.least,
        largest=said.largest,
        positive=said.positive,
        at=said.at,
    )


def _draw(own: Sequence[Explained], about: About, code: str, kind: str) -> bytes:
    bundle = about.bundle
    part = "" if about.part is None else f"{about.part} "
    pooled = ", pooled (optimistic)" if any(one.pooled for one in own) else ""
    name = next(one.name for one in bundle.manifest.classes if one.code == code)
    detail = f"{name}: {plural(len(own), f'{part}tile')}{pooled}; {bundle.manifest.name}, {about.combined}"
    items = [_item(one, bundle) for one in own]
    return draw_cam_sheet(items, title=f"{code}: {_TITLES[kind]}", detail=detail, notice=about.notice)


def _item(one: Explained, bundle: Bundle) -> CamItem:
    told = int(one.probabilities.argmax())
    parts = f" (with {' and '.join(one.components)})" if one.components else ""
    truth = "" if one.label is None else f"slide {one.label}{parts}, "
    detail = f"{truth}told {bundle.codes[told]} with {percent(float(one.probabilities[told]))}"
    rows = tuple(_row(looked, one, bundle) for looked in one.looked)
    return CamItem(head=f"{one.slide}  {one.tile}", detail=detail, rows=rows)


def _row(looked: Looked, one: Explained, bundle: Bundle) -> CamRow:
    view = looked.view
    scale = "scale unknown" if view.mpp is None else f"{view.mpp:g} \N{MICRO SIGN}m/px"
    several = len(one.looked) > 1
    return CamRow(
        rgb=view.rgb,
        width_um=None if view.mpp is None else view.mpp * view.rgb.shape[1],
        words=f"{scale}, {', '.join(looked.members)}" if several else scale,
        panels=tuple(_panel(looked.maps[at], view.rgb.shape[0], at, one, bundle) for at in one.pick.shown),
    )


def _panel(one_map: Maps, side_px: int, at: int, one: Explained, bundle: Bundle) -> CamPanel:
    code, largest = bundle.codes[at], float(one_map.max())
    return CamPanel(
        heat=heat(upsampled(one_map, side_px)),
        words=f"for {code} ({percent(float(one.probabilities[at]))})",
        figure=f"max {largest:+.2g}" if largest > 0 else "nothing for it",
        color=bundle.colors[code],
    )
