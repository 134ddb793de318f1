"""A diagnosed slide's folder, drawn and voted here: no slide, no model, no bundle on disk."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sarcoscope.core.diagnosis import Likeness
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.core.slide import Level, Scale, SlideInfo
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.calibration import Calibration, Conformal, Distance, Regression
from sarcoscope.diagnosis.rules import AncillaryTest, ComponentRule, RefineRule, SlideRules
from sarcoscope.diagnosis.verdict import diagnose_tiles
from sarcoscope.formats.bundle import Bundle, BundleClass, BundleManifest, BundleMember, HashedFile
from sarcoscope.formats.diagnoses import make_record, write_diagnosis
from sarcoscope.formats.tiles import write_tiles

CLASSES = {
    "DDLPS": ("dedifferentiated liposarcoma", "#d55e00"),
    "LMS": ("leiomyosarcoma", "#0072b2"),
    "MPNST": ("malignant peripheral nerve sheath tumour", "#009e73"),
    "UPS": ("undifferentiated pleomorphic sarcoma", "#cc79a7"),
    "WDLPS": ("well-differentiated liposarcoma", "#e69f00"),
}
CODES = tuple(CLASSES)
RULES = SlideRules(
    minimum_tiles=20,
    unscored=("MPNST",),
    refine=RefineRule(evidence=("DDLPS", "UPS", "WDLPS"), relabel={"UPS": "DDLPS"}),
    components=(ComponentRule(main="DDLPS", component="WDLPS"),),
    ancillary=(
        AncillaryTest(between=("DDLPS", "UPS"), test="MDM2/CDK4 FISH", source="WHO 2020"),
        AncillaryTest(between=("DDLPS", "WDLPS"), test="Mitoses", source="WHO 2020"),
    ),
)
NONE = Calibration()
PROVENANCE = {
    "sarcoscope": "0.1.0",
    "bundle": {"name": "phantom-demo", "version": "1", "sha256": "b" * 64},
    "slide_sha256": "a" * 64,
    "config": {"tiling": {"mpp": 0.5, "tile_px": 512}, "threads": 2},
    "members": {"m": 0.5},
    "fusion": {"mode": "shared", "rule": "mean", "weights": []},
    "temperature": 1.25,
    "timings": {"tissue": 1.25, "read": 8.5, "infer": 31.0},
}


def calibration(threshold: float | None = 0.8, level: float = 0.9) -> Calibration:
    """Sets of the classes whose mean probability is at least 1 - threshold; a regression; a distance on 19 slides."""
    return Calibration(
        temperature=1.25,
        regression=Regression(weights=tuple(map(tuple, np.eye(5) * 9)), bias=(0.0, 9.0, 0, 0, 0), penalty=1, slides=40),
        conformal=Conformal(
            level=level, thresholds=dict.fromkeys(CODES, threshold), slides=dict.fromkeys(CODES, 8), own=()
        ),
        distance=Distance(member="m", neighbours=1, scores=tuple(0.01 * one for one in range(1, 20))),
    )


FAR = Likeness(distance=0.4, p=0.05, slides=19, far=True, reason="0 of 19 validation slides lie at least as far")
NEAR = Likeness(distance=0.1, p=0.55, slides=19, far=False, reason="10 of 19 validation slides lie at least as far")


def bundle(fitted: Calibration = NONE) -> Bundle:
    file = HashedFile(path="m/model.onnx", sha256="c" * 64)
    manifest = BundleManifest(
        name="phantom-demo",
        version="1",
        synthetic=True,
        intended_use="Showing the software.",
        not_for="Not for diagnosis of patients.",
        classes=tuple(BundleClass(code=code, name=name, color=color) for code, (name, color) in CLASSES.items()),
        members=(BundleMember(name="m", architecture="tiny", trained_mpp=(0.5,), model=file, head=file),),
        tiling=TilingConfig(),
        rules=RULES,
        calibration=fitted,
        reference=file if fitted.distance else None,
        provenance={},
    )
    return Bundle(folder=Path("bundle"), manifest=manifest, sha256="b" * 64)


def grid(columns: int, rows: int, side_l0: int = 1024) -> list[Tile]:
    """An ellipse of tissue in a grid: kept inside, little tissue at the rim, some of every fault, blank outside."""
    tiles = []
    for row in range(rows):
        for column in range(columns):
            across, down = (column + 0.5) / columns * 2 - 1, (row + 0.5) / rows * 2 - 1
            radius = (across / 0.82) ** 2 + (down / 0.78) ** 2
            dropped = None if radius < 0.85 else DropReason.LITTLE_TISSUE if radius < 1.1 else DropReason.BLANK
            if dropped is None and 0.25 < across < 0.5 and down > 0.35:
                dropped = DropReason.PEN if across < 0.4 else DropReason.FOLD
            if dropped is None and across < -0.5 and -0.2 < down < 0.2:
                dropped = DropReason.BLURRED if down < 0.1 else DropReason.OUT_OF_FOCUS
            box = Box(column * side_l0, row * side_l0, side_l0, side_l0)
            tissue = 0.0 if dropped is DropReason.BLANK else 0.9
            tiles.append(Tile(row=row, column=column, box=box, tissue=tissue, dropped=dropped))
    return tiles


def predictions(tiles: Sequence[Tile], mix: Mapping[str, float], seed: int = 1) -> npt.NDArray[np.float64]:
    """(kept, C): classes in bands from left to right as `mix` shares them, with noise."""
    rng = np.random.default_rng(seed)
    kept = [tile for tile in tiles if tile.kept]
    order = np.argsort([tile.column + rng.normal(0, 1.2) for tile in kept], kind="stable")
    bounds = np.cumsum([mix.get(code, 0.0) for code in CODES]) * len(kept)
    labels = np.empty(len(kept), int)
    labels[order] = np.searchsorted(bounds, np.arange(len(kept)) + 0.5)
    values = rng.dirichlet(np.full(len(CODES), 0.6), len(kept)) * 0.49
    values[np.arange(len(kept)), labels] += 0.51
    return np.asarray(values / values.sum(axis=1, keepdims=True)).reshape(-1, len(CODES))


def picture(width: int, height: int, seed: int = 0) -> Rgb:
    """A pink ellipse with grain on near-white."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    across, down = (columns + 0.5) / width * 2 - 1, (rows + 0.5) / height * 2 - 1
    inside = (across / 0.82) ** 2 + (down / 0.78) ** 2 < 1
    grain = rng.normal(0, 12, (height, width, 1)) + 10 * np.sin(columns / 9 + 3 * np.sin(rows / 23))[..., None]
    image = np.where(inside[..., None], np.array([214, 150, 190]) + grain * np.array([1, 1.4, 0.8]), 244.0)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def make_slide(
    out: Path,
    slide: str = "case-01",
    *,
    folder_name: str | None = None,
    mix: Mapping[str, float] | None = None,
    shape: tuple[int, int] = (30, 20),
    tiles: Sequence[Tile] | None = None,
    thumbnail_longest: int = 900,
    warnings: tuple[str, ...] = (),
    evidence: bool = True,
    fitted: Calibration = NONE,
    likeness: Likeness | None = None,
) -> Path:
    """Write OUT/SLIDE (or another folder) with all artefacts but the report; returns the folder."""
    folder = out / (folder_name or slide)
    folder.mkdir(parents=True)
    cells = grid(*shape) if tiles is None else list(tiles)
    values = predictions(cells, {"DDLPS": 0.28, "UPS": 0.61, "LMS": 0.08, "WDLPS": 0.03} if mix is None else mix)
    size = Size(max(shape[0] * 1024 + 300, 1), max(shape[1] * 1024 + 180, 1))
    info = SlideInfo(vendor="flat", size=size, levels=(Level(size=size, downsample=1.0),), scale=None)
    scale = Scale(mpp=Mpp(0.25), source="file: aperio.MPP", warnings=warnings)
    diagnosis = diagnose_tiles(slide, values, CODES, RULES, fitted, likeness=likeness)
    record = make_record(diagnosis, cells, info=info, scale=scale, bundle=bundle(fitted), provenance=dict(PROVENANCE))
    write_diagnosis(folder / "diagnosis.json", record)
    write_tiles(folder / "tiles.parquet", slide, cells, values, CODES)
    factor = thumbnail_longest / max(size.width, size.height)
    width, height = max(1, round(size.width * factor)), max(1, round(size.height * factor))
    Image.fromarray(picture(width, height)).save(folder / "thumbnail.jpg", quality=88)
    if evidence:
        _write_evidence(folder / "evidence", cells, values)
    return folder


def _write_evidence(folder: Path, tiles: Sequence[Tile], values: npt.NDArray[np.float64]) -> None:
    folder.mkdir()
    kept = [tile for tile in tiles if tile.kept]
    entries = []
    for index, code in enumerate(CODES):
        mine = [at for at in np.argsort(-values[:, index]) if values[at].argmax() == index][:3]
        for rank, at in enumerate(mine, start=1):
            name = f"{code}-{rank}.jpg"
            picture_px = np.random.default_rng(rank).normal(0, 14, (512, 512, 1)) + np.array([205, 140, 185])
            Image.fromarray(np.clip(picture_px, 0, 255).astype(np.uint8)).save(folder / name, quality=60)
            entries.append(
                {
                    "file": name,
                    "code": code,
                    "row": kept[at].row,
                    "column": kept[at].column,
                    "probability": round(float(values[at, index]), 4),
                }
            )
    (folder / "evidence.json").write_text(json.dumps(entries), encoding="utf-8")
