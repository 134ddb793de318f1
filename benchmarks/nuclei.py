"""Nuclear density beside histolab's NucleiScorer: rank correlation with true counts, and the time of a tile.

Run by `make bench`; writes benchmarks/results.md. Truth are the nuclei that people outlined (dsb2018_purple_107, beside
the checkout) and those that the phantoms' painter placed. histolab runs in `.venv-histolab`, on the same pixels, pinned
to the same core.
"""

import csv
import json
import os
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from results import put_section, said
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import CLASSES, PhantomSlide
from sarcoscope.tiling import nuclear_density

HERE = Path(__file__).parent
TILES = HERE.parents[1] / "shared" / "data" / "tiles"
PEER = HERE.parent / ".venv-histolab" / "bin" / "python"
PEER_ABSENT = "histolab is not measured: .venv-histolab is absent (`make .venv-histolab/installed` builds it)"
GUESSES_UM = (0.25, 0.35, 0.5)
"""The outlined tiles' magnification is mixed and not told, so they are read at each of these."""
DRAWS = 4000
BAR = 0.70


@dataclass(frozen=True)
class Counted:
    """Tiles whose nuclei were counted."""

    files: list[Path]
    truth: list[int]


def read(path: Path) -> Rgb:
    """An image file, (h, w, 3) uint8 RGB."""
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise SystemExit(f"{path}: not an image")
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)


def ranks(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean ranks; ties share theirs."""
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def correlation(scores: npt.ArrayLike, truth: npt.ArrayLike) -> str:
    """Spearman's rank correlation and its 95 % interval over resampled tiles, the same draws for every score."""
    one, other = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(one), len(one)) for _ in range(DRAWS))
    low, high = np.percentile([spearman(one[draw], other[draw]) for draw in draws], [2.5, 97.5])
    return f"{spearman(one, other):.2f} ({low:.2f} - {high:.2f})"


def outlined() -> Counted:
    """Tiles in which people outlined every nucleus."""
    folder = TILES / "dsb2018_purple_107"
    with (folder / "counts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Counted([folder / "images" / f"{row['id']}.png" for row in rows], [int(row["n_nuclei"]) for row in rows])


def painted(folder: Path) -> Counted:
    """512 px tiles of phantoms at 0.5 um/px: two laboratories, five classes, four tiles each."""
    found = Counted([], [])
    for label in CLASSES:
        for batch in (1, 2):
            spec = PhantomSlide(slide_id="phantom-nuclei", label=label, batch=batch, size=Size(4096, 4096), seed=11)
            painter = PhantomPainter(spec)
            cells = painter.cells.cells
            for left, top in ((1024, 1024), (2048, 1024), (1024, 2048), (2048, 2048)):
                x, y = cells.x_l0 - left, cells.y_l0 - top
                inside = (x >= 0) & (x < 1024) & (y >= 0) & (y < 1024) & (cells.sprite >= 0)
                rgb = painter.read(Box(left, top, 1024, 1024))
                small = cv2.resize(rgb, (512, 512), interpolation=cv2.INTER_AREA)
                found.files.append(folder / f"{label}{batch}_{left}_{top}.png")
                found.truth.append(int(np.count_nonzero(inside)))
                cv2.imwrite(str(found.files[-1]), np.ascontiguousarray(small[..., ::-1]))
    return found


def histolab(files: list[Path]) -> dict[str, Any] | None:
    """Its scores and seconds, None where its environment is absent."""
    if not PEER.exists():
        return None
    asked = json.dumps([str(path) for path in files])
    script = HERE / "peers" / "histolab_nuclei.py"
    run = subprocess.run([PEER, "-W", "ignore", script], input=asked, text=True, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def seconds_of_ours(files: list[Path]) -> list[float]:
    """Time of each tile, the second time it is counted."""
    taken = []
    for path in files:
        rgb = read(path)
        nuclear_density(rgb, 0.5)
        begin = process_time()
        nuclear_density(rgb, 0.5)
        taken.append(process_time() - begin)
    return taken


def shown(seconds: list[float]) -> str:
    """Median, lowest and highest, ms."""
    each = [1000 * one for one in seconds]
    return f"{statistics.median(each):.1f} ({min(each):.1f} - {max(each):.1f})"


def ours_beside_truth(tiles: Counted, mpp: float) -> str:
    """Two cells of a row: rank correlation, and nuclei found for each true one."""
    images = [read(path) for path in tiles.files]
    found = [nuclear_density(rgb, mpp) for rgb in images]
    areas_mm2 = [rgb.shape[0] * rgb.shape[1] * mpp**2 / 1e6 for rgb in images]
    ratio = sum(one * area for one, area in zip(found, areas_mm2, strict=True)) / sum(tiles.truth)
    return f"{correlation(found, tiles.truth)} | {ratio:.2f}"


def tissues() -> list[str]:
    """What has no count but an order that every pathologist knows: mean density of each class of tissue."""
    lines = []
    for name, mpp in (("crc_val_he_7k_70", 0.5), ("kather2016_24", 0.495)):
        kinds = [kind for kind in sorted((TILES / name).iterdir()) if kind.is_dir()]
        mean = {kind.name: np.mean([nuclear_density(read(path), mpp) for path in images_in(kind)]) for kind in kinds}
        order = ", ".join(f"{kind} {mean[kind]:.0f}" for kind in sorted(mean, key=lambda kind: -mean[kind]))
        lines.append(f"Nuclei per mm2 in {name}: {order}.")
    return lines


def images_in(folder: Path) -> list[Path]:
    """Its images."""
    return [path for path in sorted(folder.iterdir()) if path.suffix in {".jpg", ".png", ".tif"}]


def main() -> None:
    """Measure, print, write; say what is absent."""
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the peer inherits it
    with tempfile.TemporaryDirectory() as folder:
        phantoms = painted(Path(folder))
        real = outlined() if TILES.is_dir() else Counted([], [])
        theirs = histolab(real.files + phantoms.files)
        of_ours, about_real = seconds_of_ours(phantoms.files), []
        rows = [
            f"| ours, phantoms, 0.5 um/px | {ours_beside_truth(phantoms, 0.5)} | {shown(of_ours)} |",
        ]
        if real.files:
            rows = [
                *(f"| ours, outlined, read as {mpp} um/px | {ours_beside_truth(real, mpp)} | |" for mpp in GUESSES_UM),
                *rows,
            ]
            about_real = tissues()
        if theirs:
            count, name = len(real.files), f"histolab {theirs['version']} NucleiScorer"
            of_real, of_phantoms = theirs["scores"][:count], theirs["scores"][count:]
            taken = shown(theirs["seconds"][count:])
            if real.files:
                rows.append(f"| {name}, outlined | {correlation(of_real, real.truth)} | - | |")
            rows.append(f"| {name}, phantoms | {correlation(of_phantoms, phantoms.truth)} | - | {taken} |")
    about = (
        f"Outlined: {len(real.files)} tiles, {sum(real.truth)} nuclei, purple stain of mixed magnification that is not "
        f"told, so it is guessed. Phantoms: {len(phantoms.files)} synthetic tiles of 512 px at 0.5 um/px, "
        f"{sum(phantoms.truth)} nuclei. Rank correlation (Spearman) with 95 % interval over {DRAWS} resamplings of "
        f"the tiles; the bar is {BAR:.2f} on the outlined ones. Processor time of a 512 px tile at 0.5 um/px, on one "
        "core: median, lowest and highest."
    )
    absent = [
        *([] if real.files else ["Outlined nuclei are not measured: shared/data/tiles is absent."]),
        *([] if theirs else [PEER_ABSENT + "."]),
    ]
    head = ["| what | rank correlation | found for each true nucleus | ms a tile |", "|---|---|---|---|"]
    lines = [said("benchmarks/nuclei.py"), about, *absent, "", *head, *rows, "", *about_real]
    put_section("Nuclear density", lines)


if __name__ == "__main__":
    main()
