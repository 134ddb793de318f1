"""Nuclei as small 8-bit pictures of their haematoxylin, a bank of variants per shape, long axis along x."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.phantom.planes import Plane

_Outline = npt.NDArray[np.float64]
"""(N, 2) x, y in units of the nuclear length, centred on 0."""

_SPAN: Final = 0.72
"""Nuclear length as a share of the sprite's side; the rest is margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """One nucleus."""

    ink: Plane
    """Haematoxylin, (side, side), 0 outside the nucleus."""
    length: float
    """Nuclear length in px of `ink`."""
    width_share: float
    """Width as a share of the length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How a shape stains."""

    side: int
    """Side of the sprite, px: about the natural size, so that it is hardly resampled."""
    base: tuple[float, float]
    """Haematoxylin inside, least and most."""
    rim: float = 35.0
    """Extra haematoxylin at the membrane."""
    grain: float = 20.0
    """Deviation of the chromatin."""
    coarse: float = 1.6
    """Size of chromatin clumps, px."""
    nucleoli: float = 0.0
    """Mean number of nucleoli."""


def _closed(radius: npt.NDArray[np.float64], width: float) -> _Outline:
    angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([0.5 * radius * np.cos(angle), 0.5 * width * radius * np.sin(angle)], axis=1)


def _bumpy(orders: range, amplitude: float, rng: np.random.Generator, points: int = 48) -> npt.NDArray[np.float64]:
    """Radius 1 with random lobes."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = np.ones(points)
    for order in orders:
        radius += amplitude / np.sqrt(order) * rng.normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return np.clip(radius, 0.5, 1.45)


def _rod(bend: float, blunt: float, width: float, taper: float, rng: np.random.Generator) -> _Outline:
    """A rod along a bent line: blunt 2 is an ellipse, 5 nearly a rectangle; taper thins one end."""
    x = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 25))
    half = width / 2 * (1 - np.abs(x) ** blunt) ** (1 / blunt) * (1 + taper * x)
    line = bend * np.sin(x * rng.uniform(1.8, 3.2) + rng.uniform(0, 2 * np.pi))
    line -= line.mean()
    upper, lower = np.stack([x / 2, line + half], axis=1), np.stack([x / 2, line - half], axis=1)
    return np.concatenate([upper, lower[::-1]])


def _cigar(rng: np.random.Generator) -> _Outline:
    return _rod(rng.normal(0, 0.012), 3.0, rng.uniform(0.24, 0.32), rng.normal(0, 0.05), rng)


def _comma(rng: np.random.Generator) -> _Outline:
    return _rod(rng.uniform(0.05, 0.13), 2.0, rng.uniform(0.2, 0.29), rng.uniform(0.2, 0.65), rng)


def _spindle(rng: np.random.Generator) -> _Outline:
    return _rod(rng.normal(0, 0.02), 2.1, rng.uniform(0.32, 0.44), rng.normal(0, 0.15), rng)


def _ovoid(rng: np.random.Generator) -> _Outline:
    return _closed(_bumpy(range(2, 5), 0.07, rng), rng.uniform(0.5, 0.75))


def _angular(rng: np.random.Generator) -> _Outline:
    return _closed(_bumpy(range(2, 5), 0.16, rng), rng.uniform(0.38, 0.6))


def _bizarre(rng: np.random.Generator) -> _Outline:
    return _closed(_bumpy(range(2, 5), 0.2, rng), rng.uniform(0.55, 0.9))


def _round(rng: np.random.Generator) -> _Outline:
    return _closed(_bumpy(range(2, 4), 0.05, rng, 24), rng.uniform(0.85, 1))


def _flat(rng: np.random.Generator) -> _Outline:
    return _rod(rng.normal(0, 0.03), 2.0, rng.uniform(0.2, 0.3), rng.normal(0, 0.1), rng)


def _plate(rng: np.random.Generator) -> _Outline:
    return _closed(_bumpy(range(3, 9), 0.25, rng), rng.uniform(0.3, 0.5))


SHAPES: Final[dict[str, tuple[Callable[[np.random.Generator], _Outline], _Look]]] = {
    "cigar": (_cigar, _Look(side=96, base=(85, 135), rim=38, grain=20, coarse=1.3, nucleoli=0.3)),
    "comma": (_comma, _Look(side=84, base=(115, 170), rim=22, grain=14, coarse=1.2)),
    "spindle": (_spindle, _Look(side=84, base=(80, 140), rim=42, grain=22, coarse=1.4, nucleoli=0.7)),
    "ovoid": (_ovoid, _Look(side=80, base=(60, 125), rim=60, grain=22, coarse=1.8, nucleoli=1.3)),
    "angular": (_angular, _Look(side=88, base=(125, 190), rim=25, grain=24, coarse=1.8)),
    "bizarre": (_bizarre, _Look(side=120, base=(90, 185), rim=40, grain=24, coarse=1.8, nucleoli=1.4)),
    "giant": (_bizarre, _Look(side=190, base=(95, 175), rim=40, grain=24, coarse=2.2, nucleoli=2.5)),
    "mitosis": (_plate, _Look(side=64, base=(190, 235), rim=0, grain=10)),
    "lymphocyte": (_round, _Look(side=40, base=(130, 185), rim=25, grain=34, coarse=1.7)),
    "round": (_round, _Look(side=44, base=(90, 140), rim=45, grain=22, nucleoli=0.3)),
    "flat": (_flat, _Look(side=64, base=(120, 170), rim=15, grain=12)),
}
"""Outline and look of every nuclear shape."""


def bank(family: str, variants: int, rng: np.random.Generator) -> list[Sprite]:
    """`variants` sprites of one shape."""
    outline, look = SHAPES[family]
    return [_sprite(family, outline, look, rng) for _ in range(variants)]


def _sprite(
    family: str, outline: Callable[[np.random.Generator], _Outline], look: _Look, rng: np.random.Generator
) -> Sprite:
    points = outline(rng)
    side = look.side
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [_pixels(points, side)], 255, cv2.LINE_AA, 4)
    if family == "giant" and rng.random() < 0.65:
        mask = _several(points, side, rng)
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8), dtype=np.float32) / 255
    depth = np.asarray(cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5), dtype=np.float32)
    chromatin = _chromatin(side, look.coarse, rng)
    ink = rng.uniform(*look.base) + look.grain * chromatin + look.rim * np.clip(1 - (depth - 1) / 2.5, 0, 1)
    inside = np.argwhere(depth > 0.45 * depth.max())
    for _ in range(rng.poisson(look.nucleoli)):
        y, x = inside[rng.integers(len(inside))]
        spot = np.zeros((side, side), np.float32)
        cv2.circle(
            spot, (int(x) * 16, int(y) * 16), round(16 * side * rng.uniform(0.018, 0.032)), 1, -1, cv2.LINE_AA, 4
        )
        ink += 75 * np.asarray(cv2.GaussianBlur(spot, (0, 0), 0.7), dtype=np.float32)
    extent = np.ptp(points, axis=0)
    return Sprite(
        ink=np.clip(ink * soft, 0, 255).astype(np.uint8),
        length=float(extent[0]) * side * _SPAN,
        width_share=float(extent[1] / extent[0]),
    )


def _chromatin(side: int, clump: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise of deviation 1: fine grain and clumps in about equal parts."""
    out = np.zeros((side, side), np.float32)
    for sigma, weight in ((1.0, 0.6), (clump, 0.55), (2.5 * clump, 0.55)):
        layer = np.asarray(
            cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), sigma), dtype=np.float32
        )
        out += weight * layer / layer.std()
    return out


def _pixels(points: _Outline, side: int) -> npt.NDArray[np.int32]:
    """Outline in px of the sprite with 4 fractional bits, as cv2.fillPoly takes it."""
    return np.rint((points * side * _SPAN + side / 2 - 0.5) * 16).astype(np.int32)


def _several(points: _Outline, side: int, rng: np.random.Generator) -> Plane:
    """A multinucleated cell: 3 to 6 smaller nuclei, overlapping, in a wreath or heap."""
    mask = np.zeros((side, side), np.uint8)
    count = int(rng.integers(3, 7))
    turn = rng.uniform(0, 2 * np.pi)
    for index in range(count):
        angle = turn + 2 * np.pi * index / count
        small = points * rng.uniform(0.38, 0.55) + rng.uniform(0.2, 0.3) * np.array([np.cos(angle), np.sin(angle)])
        cv2.fillPoly(mask, [_pixels(small, side)], 255, cv2.LINE_AA, 4)
    return mask
