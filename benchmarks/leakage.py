"""The search for near-duplicate tiles: what the hash survives, what it confuses, and how the search grows."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from PIL import Image

from results import put_section, said
from sarcoscope.cohort.hashes import Hashes, variants
from sarcoscope.cohort.leakage import ALIKE, DISTANCE, PAIRS_MAX, likeness, near_pairs
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tile_files import TILE_SUFFIXES, read_tile_file
from sarcoscope.stages.tile_pixels import gray_of
from sarcoscope.tiling.phash import phash

SHARED = Path(__file__).parents[2] / "shared" / "data"
SETS = ("crc_val_he_7k_70", "kather2016_24", "dsb2018_purple_107/images")
SIZES = (100_000, 300_000, 600_000)
PLANTED = 200
CARELESS_BITS = 3
LATENT = 16
"""Signs that follow from so few numbers meet about as often as those of the real tiles below (within 5 bits)."""


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    """Through a JPEG and back."""
    content = BytesIO()
    Image.fromarray(rgb).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content), np.uint8)


def careless(rgb: Rgb) -> Rgb:
    """Mirrored, turned, a little brighter, compressed."""
    return jpeg(np.clip(np.rot90(rgb[:, ::-1]) * 1.05 + 6, 0, 255).astype(np.uint8), 60)


CHANGES: dict[str, Callable[[Rgb], Rgb]] = {
    "JPEG, quality 90": lambda rgb: jpeg(rgb, 90),
    "JPEG, quality 50": lambda rgb: jpeg(rgb, 50),
    "15 gray values brighter": lambda rgb: np.clip(rgb.astype(np.int16) + 15, 0, 255).astype(np.uint8),
    "gamma 0.8": lambda rgb: (255 * (rgb / 255) ** 0.8).astype(np.uint8),
    "noise, sigma 5": lambda rgb: np.clip(rgb + np.random.default_rng(0).normal(0, 5, rgb.shape), 0, 255).astype(
        np.uint8
    ),
    "half the size": lambda rgb: np.asarray(
        cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8
    ),
    "blurred, sigma 2 px": lambda rgb: np.asarray(cv2.GaussianBlur(rgb, (0, 0), 2), np.uint8),
    "mirrored, turned, brighter, JPEG 60": careless,
}


def real_tiles() -> Iterator[Rgb]:
    """Tiles of every set, and those of a slide without overlap."""
    for name in SETS:
        for path in sorted((SHARED / "tiles" / name).rglob("*")):
            if path.suffix.lower() in TILE_SUFFIXES:
                yield read_tile_file(path)
    with open_slide(SHARED / "slides" / "CMU-1-Small-Region.svs") as source:
        full = source.info.size
        for top in range(0, full.height - 255, 256):
            for left in range(0, full.width - 255, 256):
                yield source.read(Box(left, top, 256, 256), Size(256, 256))


def survival(tiles: list[Rgb]) -> list[list[str]]:
    """For each change the bits that differ, and how alike the pixels stay."""
    rows = []
    for name, change in CHANGES.items():
        bits, alike = [], []
        for rgb in tiles:
            copy = change(rgb)
            turned = variants(np.array([phash(rgb)], np.uint64))[:, 0]
            bits.append(min(int(one ^ np.uint64(phash(copy))).bit_count() for one in turned))
            alike.append(likeness(gray_of(rgb), gray_of(copy)))
        found = np.mean([count <= DISTANCE and like >= ALIKE for count, like in zip(bits, alike, strict=True)])
        rows.append([name, f"{np.mean(bits):.2f}", str(max(bits)), f"{min(alike):.2f}", f"{found:.1%}"])
    return rows


def confusion(tiles: list[Rgb]) -> str:
    """Pairs of quarters of tiles within the distance, and how alike they are."""
    cut = [quarter for rgb in tiles if min(rgb.shape[:2]) >= 150 for quarter in quarters(rgb)]
    cut = [rgb for rgb in cut if phash(rgb)]
    hashes = np.array([phash(rgb) for rgb in cut], np.uint64)
    pairs = near_pairs(hashes, np.arange(len(cut)), [(f"part {number}",) for number in range(len(cut))])
    grays = [gray_of(rgb) for rgb in cut]
    alike = [likeness(grays[one], grays[two]) for one, two in zip(pairs.one, pairs.other, strict=True)]
    count = len(cut) * (len(cut) - 1) // 2
    worst = f", at most {max(alike):.2f} alike" if alike else ""
    taken = sum(like >= ALIKE for like in alike)
    near = f"Of {count:,} pairs of quarters of these tiles {len(alike)} have hashes within {DISTANCE} bits{worst}"
    return f"{near}; {taken} are taken for one place (from {ALIKE:g})."


def quarters(rgb: Rgb) -> Iterator[Rgb]:
    """A tile in four."""
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    for top in (0, height):
        for left in (0, width):
            yield np.ascontiguousarray(rgb[top : top + height, left : left + width])


def search(count: int, latent: int) -> None:
    """Hashes of so many tiles in three parts, some of them planted; prints seconds, memory and what was found."""
    rng = np.random.default_rng(count)
    hashes = np.zeros(count, np.uint64)
    mixing = rng.normal(size=(latent or 1, 64))
    for start in range(0, count, 50_000):
        rows = min(50_000, count - start)
        signs = rng.random((rows, 64)) < 0.5 if not latent else rng.normal(size=(rows, latent)) @ mixing > 0
        hashes[start : start + rows] = np.packbits(signs, axis=1).view(np.uint64).ravel()
    codes = rng.choice(3, count, p=[0.7, 0.15, 0.15])
    train, test = np.flatnonzero(codes == 0)[:PLANTED], np.flatnonzero(codes == 2)[:PLANTED]
    hashes[test] = turned_and_changed(hashes[train], rng)
    begin = perf_counter()
    pairs = near_pairs(hashes, codes, [("train",), ("validation",), ("test",)])
    seconds = perf_counter() - begin
    found = set(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True))
    planted = sum((min(a, b), max(a, b)) in found for a, b in zip(train.tolist(), test.tolist(), strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.1f} {peak:.0f} {planted} {len(found) - planted} {pairs.within}")


def turned_and_changed(hashes: Hashes, rng: np.random.Generator) -> Hashes:
    """Any of the eight variants, with as many bits turned as a careless copy has at most."""
    turned = variants(hashes)[rng.integers(0, 8, len(hashes)), np.arange(len(hashes))]
    masks = [sum(1 << int(bit) for bit in rng.choice(64, CARELESS_BITS, replace=False)) for _ in hashes]
    return turned ^ np.array(masks, np.uint64)


def main() -> None:
    """Measure and write results.md; with two numbers, one search in a process of its own."""
    if len(sys.argv) == 3:
        search(int(sys.argv[1]), int(sys.argv[2]))
        return
    tiles = [rgb for rgb in real_tiles() if phash(rgb)]
    large = np.asarray(cv2.resize(tiles[0], (512, 512)), np.uint8)
    begin = perf_counter()
    for _ in range(1000):
        phash(large)
    milliseconds = perf_counter() - begin
    rows = []
    for count in SIZES:
        for latent, kind in ((0, "independent signs"), (LATENT, f"signs that follow from {LATENT} numbers")):
            words = [sys.executable, __file__, str(count), str(latent)]
            done = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
            rows.append([f"{count:,}", kind, *done[:2], done[4], f"{done[2]} of {PLANTED}", done[3]])
    put_section(
        "Near-duplicate tiles",
        [
            said("benchmarks/leakage.py"),
            f"{len(tiles)} real tiles with structure; a 512 px tile takes {milliseconds:.2f} ms to hash.",
            "Bits of 64 in which a copy differs from what follows by turning and mirroring; how alike its pixels stay.",
            "",
            *table(["a copy", "bits, mean", "most", "alike, least", "found"], survival(tiles)),
            "",
            confusion(tiles),
            "",
            f"Searching hashes of tiles, 70 % train, 15 % validation, 15 % test, for pairs within {DISTANCE} bits",
            f"whichever way they are turned, or fewer where more than {PAIRS_MAX:,} pairs are found.",
            f"Planted copies differ in {CARELESS_BITS} bits. Each in a process of its own, one thread.",
            "",
            *table(
                ["tiles", "hashes", "seconds", "peak memory MiB", "within bits", "planted found", "other pairs"], rows
            ),
        ],
    )


def table(heading: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of Markdown."""
    return [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *rows)]


if __name__ == "__main__":
    main()
