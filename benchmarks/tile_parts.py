"""What one tile costs, part by part, on one core: reading, each measure, each way of writing it and evening it out.

Run by `make bench`; writes benchmarks/results.md. On a synthetic phantom, which is noisy, and on the real slide
CMU-1-Small-Region where shared/data lies beside the checkout. Median over the tiles of processor time, ms.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from time import process_time
from typing import Any

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from results import put_section, said
from sarcoscope.core.appearance import METHODS
from sarcoscope.core.cutting import CutConfig, Method
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.phantom.cohort import demo_cohort, write_slide
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.tile_encoder import encode_tile
from sarcoscope.tiling.appearance import Normaliser, measure_appearance
from sarcoscope.tiling.cutting import plan_cut
from sarcoscope.tiling.nuclei import nuclear_density
from sarcoscope.tiling.phash import phash
from sarcoscope.tiling.quality import measure

REAL = Path(__file__).parents[2] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"
MPP = Mpp(0.5)
PX = 512


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        phantom = Path(folder) / "phantom.svs"
        write_slide(demo_cohort(np.random.default_rng(7))[0], phantom)
        slides = {"phantom": phantom} | ({"CMU-1-Small-Region": REAL} if REAL.is_file() else {})
        found = {name: of_slide(path, options.turns) for name, path in slides.items()}
    names = list(found)
    rows = [
        f"| {part} | {' | '.join(words(found[name][part]) for name in names)} |" for part in next(iter(found.values()))
    ]
    counts = ", ".join(f"{found[name]['reading'][2]} of {name}" for name in names)
    absent = (
        [] if REAL.is_file() else ["The real slide is absent: shared/data/slides does not lie beside the checkout."]
    )
    about = (
        f"Kept tiles of {PX} px at {MPP:g} um/px ({counts}). Median over {options.turns} turns of processor time a "
        "tile on one core, ms; and KiB of a file. The phantom is synthetic and noisier than tissue."
    )
    head = [f"| part | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    put_section("Parts of a tile", [said("benchmarks/tile_parts.py"), about, *absent, "", *head, *rows])


def of_slide(path: Path, turns: int) -> dict[str, tuple[float, float | None, int]]:
    """By part: ms, KiB where it makes a file, and how many tiles."""
    with open_slide(path) as source:
        plan = plan_cut(source, CutConfig(mpp=(MPP,)), Method.GRID)
        tiles = [one.tile for one in plan.tiles if one.tile.kept]
        reading, pixels = timed(lambda tile: read(source, tile), tiles, turns)
        parts = {"reading": (reading, None, len(tiles))}
        ways: dict[str, Callable[[Rgb], Any]] = {
            "sharpness and focus": lambda rgb: measure(rgb, plan.tissue.glass),
            "nuclei": lambda rgb: nuclear_density(rgb, MPP),
            "perceptual hash": phash,
            "PNG, ours (one filter, ISA-L)": partial(encoded, "png"),
            "PNG, one filter, libdeflate": libdeflate,
            "PNG, imagecodecs, level 1": lambda rgb: imagecodecs.png_encode(rgb, level=1),
            "PNG, OpenCV, level 1": opencv,
            "PNG, Pillow, level 1": pillow,
            "JPEG XL, ours (lossless)": partial(encoded, "jxl"),
            "JPEG, ours (quality 90)": partial(encoded, "jpeg"),
        }
        look = measure_appearance(pixels[:16], plan.tissue.glass)
        assert look is not None
        target = replace(
            look, brightness=look.brightness + 5, saturation=(look.saturation[0] * 1.1, look.saturation[1])
        )
        for method in METHODS:
            evened = Normaliser(method, look, target, plan.tissue.glass)
            ways[f"{method}, by table"] = evened
            ways[f"{method}, px by px"] = evened.exactly
            ways[f"{method}, its table, once a slide"] = partial(table, evened)
        for name, way in ways.items():
            ms, made = timed(way, pixels, turns)
            size = sum(map(len, made)) / len(made) / 1024 if isinstance(made[0], bytes) else None
            parts[name] = ms, size, len(tiles)
    return parts


def read(source: SlideSource, tile: Any) -> Rgb:
    """A tile's px."""
    return source.read(tile.box, Size(PX, PX))


def encoded(kind: Any, rgb: Rgb) -> bytes:
    """As `tile --images` writes it."""
    return encode_tile(rgb, kind, MPP)


def table(evened: Normaliser, rgb: Rgb) -> Rgb:
    """A fresh normaliser's first px: its table is built for it."""
    return Normaliser(evened.method, evened.source, evened.target, evened.glass)(rgb[:1, :1])


def libdeflate(rgb: Rgb) -> bytes:
    """The rows as ours, each less the one above, packed by libdeflate."""
    flat = rgb.reshape(rgb.shape[0], -1)
    rows = np.concatenate([flat[:1], flat[1:] - flat[:-1]])
    return bytes(imagecodecs.deflate_encode(rows.tobytes(), level=1, raw=False))


def opencv(rgb: Rgb) -> bytes:
    """By OpenCV."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def pillow(rgb: Rgb) -> bytes:
    """By Pillow."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def timed(way: Callable[[Any], Any], items: list[Any], turns: int) -> tuple[float, list[Any]]:
    """Median ms of an item, and what came of the last turn."""
    turn: list[float] = []
    made: list[Any] = [way(item) for item in items]
    for _ in range(turns):
        begin = process_time()
        made = [way(item) for item in items]
        turn.append((process_time() - begin) / len(items) * 1000)
    return statistics.median(turn), made


def words(part: tuple[float, float | None, int]) -> str:
    """'2.20 (423 KiB)'."""
    ms, size, _ = part
    return f"{ms:.2f}" + (f" ({size:.0f} KiB)" if size else "")


if __name__ == "__main__":
    main()
