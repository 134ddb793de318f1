"""What the quality measures find and what they wrongly drop, on phantoms that know and on real tiles; their cost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import numpy.typing as npt

from results import put_section, said
from sarcoscope.core.geometry import Mask, Rgb, Size
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.phantom.maps import MAP_L0
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import ARTEFACTS, CLASSES, PhantomSlide
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.plan import plan_tiles
from sarcoscope.tiling.quality import measure
from sarcoscope.tiling.tissue import box_shares, find_tissue, map_tissue

SHARED = Path(__file__).parents[2] / "shared" / "data"
SEED = 91_000
"""Other phantoms than those that limits were chosen on."""
LIMITS = TilingConfig()
SIGMAS_PX = (1.5, 2.0, 3.0, 5.0)
_HAZE = 0.5
"""Share of the phantom's defocus from which a px counts as out of focus."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A tile of a phantom: the truth, 0..1, and what was measured."""

    label: str
    truth: float
    found: float
    dropped: bool


def painted(label: str, batch: int, artefact: str) -> tuple[PhantomPainter, MemorySlide]:
    """A phantom with one artefact, at 0.5 um/px in memory."""
    seed = SEED + 100 * CLASSES.index(label) + 10 * batch + sorted(ARTEFACTS).index(artefact)
    spec = PhantomSlide(
        slide_id="phantom-quality", label=label, batch=batch, seed=seed, artefacts=frozenset({artefact})
    )
    painter = PhantomPainter(spec)
    half = [
        np.asarray(cv2.resize(rows, (rows.shape[1] // 2, rows.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8)
        for rows in painter.bands()
    ]
    return painter, MemorySlide(np.concatenate(half), levels=5)


def cells(artefact: str) -> Iterator[Cell]:
    """Every tile with enough tissue of ten phantoms: all classes as both laboratories stain them."""
    for label in CLASSES:
        for batch in (1, 2):
            painter, slide = painted(label, batch, artefact)
            maps = painter.maps
            truth = {"fold": maps.fold > 0, "pen": maps.pen > 0, "blur": maps.blur > _HAZE}[artefact]
            if artefact != "pen":
                truth &= maps.tissue
            plan = plan_tiles(slide, LIMITS)
            boxes = np.array([(one.box.left, one.box.top, one.box.width, one.box.height) for one in plan.tiles])
            size = Size(truth.shape[1] * MAP_L0 // 2, truth.shape[0] * MAP_L0 // 2)
            for tile, share in zip(plan.tiles, box_shares(truth, boxes, size), strict=True):
                if tile.tissue < LIMITS.minimum_tissue and artefact != "pen":
                    continue
                if artefact == "blur":
                    seen = measure(slide.read(tile.box, Size(LIMITS.tile_px, LIMITS.tile_px)), plan.glass)
                    blurred = seen.sharpness < LIMITS.minimum_sharpness
                    yield Cell(
                        label, float(share), seen.unfocused, blurred or seen.unfocused > LIMITS.maximum_unfocused
                    )
                else:
                    found = tile.fold if artefact == "fold" else tile.pen
                    limit = LIMITS.maximum_fold if artefact == "fold" else LIMITS.maximum_pen
                    yield Cell(label, float(share), found, found > limit)


def _share(hits: int, of: int) -> str:
    return f"{hits} of {of} ({hits / of:.0%})" if of else "none"


def phantom_rows() -> list[str]:
    """A row an artefact: tiles that ought to be dropped and are, tiles without a trace of it that are dropped."""
    rows = []
    for artefact, limit in (
        ("pen", LIMITS.maximum_pen),
        ("fold", LIMITS.maximum_fold),
        ("blur", LIMITS.maximum_unfocused),
    ):
        every = list(cells(artefact))
        for name, some in (
            ("solid tumours", [cell for cell in every if cell.label != "WDLPS"]),
            ("fat (WDLPS)", [cell for cell in every if cell.label == "WDLPS"]),
        ):
            there = [cell.dropped for cell in some if cell.truth > 1.5 * limit]
            clean = [cell.dropped for cell in some if cell.truth == 0]
            error = np.mean([abs(cell.found - cell.truth) for cell in some])
            rows.append(
                f"| {artefact} | {name} | {_share(sum(there), len(there))} "
                f"| {_share(sum(clean), len(clean))} | {error:.3f} |"
            )
    return rows


def read_rgb(path: Path) -> Rgb:
    """A picture's pixels."""
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise SystemExit(f"{path}: cannot be read")
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)


def real_tiles() -> dict[str, list[Rgb]]:
    """H&E tiles at about 0.5 um/px, of which at least a twentieth is stained."""
    found = {}
    for name, folder in (("CRC-VAL-HE-7K", "crc_val_he_7k_70"), ("Kather 2016", "kather2016_24")):
        tiles = [read_rgb(path) for path in sorted((SHARED / "tiles" / folder).glob("*/*"))]
        found[name] = [tile for tile in tiles if measure(tile).stained >= 0.05]
    with open_slide(SHARED / "slides" / "CMU-1-Small-Region.svs") as slide:
        plan = plan_tiles(slide, LIMITS)
        side = Size(LIMITS.tile_px, LIMITS.tile_px)
        found["CMU-1-Small-Region"] = [slide.read(tile.box, side) for tile in plan.candidates]
    return found


def mosaics(tiles: list[Rgb]) -> list[Rgb]:
    """Four small tiles in a square, so that a bubble has room in them; larger tiles as they are."""
    if tiles[0].shape[0] >= LIMITS.tile_px:
        return tiles
    fours = zip(tiles[::4], tiles[1::4], tiles[2::4], tiles[3::4], strict=False)
    return [np.concatenate([np.hstack(four[:2]), np.hstack(four[2:])]) for four in fours]


def blurred(tile: Rgb, sigma_px: float) -> Rgb:
    """The tile out of focus."""
    return np.asarray(cv2.GaussianBlur(tile, (0, 0), sigma_px), np.uint8) if sigma_px else tile


def bubble(tile: Rgb, sigma_px: float) -> Rgb:
    """The tile with a round bubble over half of it, under which it is out of focus."""
    height, width = tile.shape[:2]
    rows, columns = np.indices((height, width))
    under = np.hypot(rows - 0.4 * height, columns - 0.4 * width) < 0.41 * height
    return np.where(under[..., None], blurred(tile, sigma_px), tile)


def real_rows(tiles: list[Rgb], name: str) -> list[str]:
    """Shares dropped as they are, blurred as a whole, and under a bubble: by sharpness, and by it or blocks."""
    large = mosaics(tiles)
    ways: list[tuple[str, list[Rgb]]] = [("as they are", tiles), ("four in a square", large)]
    ways += [(f"blurred, sigma {sigma:g} px", [blurred(tile, sigma) for tile in tiles]) for sigma in SIGMAS_PX]
    for sigma in (3.0, 5.0):
        ways.append((f"half under a bubble, sigma {sigma:g} px", [bubble(tile, sigma) for tile in large]))
    rows = []
    for words, spoiled in ways:
        if words == "four in a square" and large is tiles:
            continue
        seen = [measure(tile) for tile in spoiled]
        blur = [one.sharpness < LIMITS.minimum_sharpness for one in seen]
        lost = [one.unfocused > LIMITS.maximum_unfocused for one in seen]
        both = [one or other for one, other in zip(blur, lost, strict=True)]
        shares = " | ".join(f"{np.mean(one):.1%}" for one in (blur, lost, both))
        rows.append(f"| {name} ({len(spoiled)}) | {words} | {shares} |")
    return rows


def against(found: Mask, truth: npt.NDArray[np.uint8]) -> str:
    """Share of a mask's px that were found, and share of what lies clear of it that was found, too."""
    clear = cv2.dilate(truth, np.ones((15, 15), np.uint8)) == 0
    return f"{found[truth > 0].mean():.0%} | {found[clear].mean():.2%}"


def ink_rows() -> list[str]:
    """Ink and a coverslip's edge beside the masks that were drawn for them, px by px."""
    folder = SHARED / "tiles" / "qc_histoqc"
    rows = []
    for path in sorted(folder.glob("pen*/**/pen_*.png")):
        mask = path.with_name(f"{path.stem}_mask.png")
        if path.stem.endswith(("_mask", "_back")) or not mask.exists():
            continue
        rgb, truth = read_rgb(path), cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        found = map_tissue(rgb, 20.0, Size(rgb.shape[1], rgb.shape[0]), path)
        rows.append(f"| {path.parent.name}/{path.stem} | pen | {against(found.pen, np.asarray(truth, np.uint8))} |")
    path = folder / "coverslip_edge_he" / "coverslip_edge.png"
    rgb, truth = read_rgb(path), cv2.imread(str(path.with_name("coverslip_edge_mask.png")), cv2.IMREAD_GRAYSCALE)
    found = map_tissue(rgb, 20.0, Size(rgb.shape[1], rgb.shape[0]), path)
    edge = np.asarray(truth, np.uint8) > 0
    rows.append(
        f"| coverslip_edge | ink, or no tissue at all | {(found.pen | ~found.tissue)[edge].mean():.0%} "
        f"| {found.pen[~edge].mean():.2%} |"
    )
    return rows


def milliseconds(work: Callable[[], object], turns: int = 200) -> float:
    """Shortest time of a call, ms."""
    times = []
    for _ in range(turns):
        before = perf_counter()
        work()
        times.append(perf_counter() - before)
    return 1000 * min(times)


def cost() -> str:
    """What the measures take on one core."""
    cv2.setNumThreads(1)
    painter, slide = painted("LMS", 1, "fold")
    plan = plan_tiles(slide, LIMITS)
    tile = slide.read(plan.candidates[0].box, Size(LIMITS.tile_px, LIMITS.tile_px))
    overview = np.tile(read_small(painter), (3, 3, 1))[:1250, :1250]
    whole = Size(20_000, 20_000)
    one = milliseconds(lambda: measure(tile, plan.glass))
    once = milliseconds(lambda: map_tissue(overview, 4.0, whole, Path("phantom")), 9)
    return (
        f"On one core, the shortest of many turns: `measure` of a {LIMITS.tile_px} px tile {one:.2f} ms; tissue, ink "
        f"and folds of a slide of 20,000 px a side {once:.0f} ms, once, its overview in memory."
    )


def read_small(painter: PhantomPainter) -> Rgb:
    """A phantom's overview at 4 um/px."""
    rows = [
        cv2.resize(band, (band.shape[1] // 16, band.shape[0] // 16), interpolation=cv2.INTER_AREA)
        for band in painter.bands()
    ]
    return np.concatenate(rows).astype(np.uint8)


def real_folds() -> str:
    """What is called a fold where a look shows none, and where it shows one."""
    with open_slide(SHARED / "slides" / "CMU-1-Small-Region.svs") as slide:
        skin = find_tissue(slide, 0.499)
    edge = SHARED / "tiles" / "qc_histoqc" / "coverslip_edge_he" / "coverslip_edge.png"
    nodes = map_tissue(read_rgb(edge), 20.0, Size(1000, 1000), edge)
    creased = SHARED / "tiles" / "qc_histolab" / "pil-images-rgb" / "tcga-red-pen.png"
    found = map_tissue(read_rgb(creased), 4.0, Size(1000, 1000), creased).fold
    share = found[:60, 370:].sum() / max(1, int(found.sum()))
    wrong = [f"{one.fold.sum() / one.tissue.sum():.2%}" for one in (skin, nodes)]
    return (
        f"Share of the tissue called a fold where there is none: skin with a dense epidermis {wrong[0]}, a lymph node "
        f"{wrong[1]}. The one real fold to be had here (in a picture of histolab's) is "
        f"{'found' if found.any() else 'missed'}; {share:.0%} of what is called a fold there lies on it."
    )


def main() -> None:
    """Measure and write down; without the tiles beside the checkout, the phantoms alone."""
    limits = (
        f"Limits: pen {LIMITS.maximum_pen:g}, fold {LIMITS.maximum_fold:g}, sharpness {LIMITS.minimum_sharpness:g}, "
        f"out of focus {LIMITS.maximum_unfocused:g}."
    )
    phantoms = (
        "Thirty synthetic phantoms of other seeds than the limits were chosen on. To be found: tiles of which the "
        "fault covers at least one and a half times the limit. Wrongly dropped: tiles without any."
    )
    lines = [
        said("benchmarks/quality.py"),
        f"{limits} {cost()}",
        "",
        phantoms,
        "",
        "| fault | tissue | found | wrongly dropped | mean error of the share |",
        "|---|---|---|---|---|",
        *phantom_rows(),
    ]
    if (SHARED / "tiles").is_dir():
        lines += [
            "",
            "Real H&E tiles, as they are and spoiled by a Gaussian; share dropped by each measure.",
            "",
            "| tiles | spoiled | blurred | out of focus | either |",
            "|---|---|---|---|---|",
            *(row for name, tiles in real_tiles().items() for row in real_rows(tiles, name)),
            "",
            "Real ink beside HistoQC's masks, px by px. " + real_folds(),
            "",
            "| picture | looked for | found of the mask | found clear of it |",
            "|---|---|---|---|",
            *ink_rows(),
        ]
    put_section("Quality of tiles", lines)


if __name__ == "__main__":
    main()
