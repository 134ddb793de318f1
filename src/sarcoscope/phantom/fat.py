"""Adipocytes: rounded cells of a power diagram, as polygons that one white vacuole each fills."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Mask, Size
from sarcoscope.phantom.maps import MAP_L0, SlideMaps
from sarcoscope.phantom.planes import noise
from sarcoscope.phantom.spec import MPP

SPACING_UM: Final = 66.0
"""Mean distance of adipocytes; the weights of the diagram spread their diameters over about 40 to 120 um."""

_POINTS: Final = 40
_SEPTUM_L0: Final = 4.5
_BAND_UM: Final = 420.0
_LIPOBLASTS_PER_MM2: Final = 9.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuoles:
    """Fat vacuoles of a slide, and the septa between them."""

    x_l0: Floats
    """(N,) centres."""
    y_l0: Floats
    reach_l0: Floats
    """(N,) largest radius."""
    outline_l0: Floats
    """(N, points, 2) x, y."""
    lipoblasts_l0: Floats
    """(K, 2) x, y of immature fat cells: a nucleus between some of the smallest vacuoles."""

    def __len__(self) -> int:
        return len(self.x_l0)

    def occupied(self, size: Size) -> Mask:
        """Whether a place is inside a vacuole: one value for every 8 x 8 level-0 px."""
        canvas = np.zeros((-(-size.height // 8), -(-size.width // 8)), np.uint8)
        if len(self):
            cv2.fillPoly(canvas, list(np.rint(self.outline_l0 / 8).astype(np.int32)), 1)
        return np.asarray(canvas > 0)


def no_vacuoles() -> Vacuoles:
    """Tissue without fat."""
    none = np.zeros(0)
    return Vacuoles(
        x_l0=none,
        y_l0=none,
        reach_l0=none,
        outline_l0=np.zeros((0, _POINTS, 2)),
        lipoblasts_l0=np.zeros((0, 2)),
    )


def grow(size: Size, maps: SlideMaps, within: Mask, rng: np.random.Generator) -> Vacuoles:
    """Adipocytes wherever `within` (map frame) holds, except in fibrous bands and near its border."""
    step = SPACING_UM / float(MPP)
    rows, columns = int(size.height / step) + 5, int(size.width / step) + 5
    jitter = rng.uniform(-0.36, 0.36, (2, rows, columns))
    x = (np.arange(columns)[None, :] - 1.5 + jitter[0]) * step
    y = (np.arange(rows)[:, None] - 1.5 + jitter[1]) * step
    weight = rng.normal(0, 0.27 * step * step, (rows, columns)).clip(-0.5 * step * step, 0.6 * step * step)
    radius = _radii(x, y, weight, step)
    centre_x, centre_y = x[2:-2, 2:-2].ravel(), y[2:-2, 2:-2].ravel()
    radius = radius.reshape(-1, _POINTS)

    row = np.clip(centre_y // MAP_L0, 0, within.shape[0] - 1).astype(int)
    column = np.clip(centre_x // MAP_L0, 0, within.shape[1] - 1).astype(int)
    band = np.abs(noise(within.shape, _BAND_UM / float(MPP) / MAP_L0, rng))
    open_fat = np.clip((band[row, column] - 0.05) / 0.16, 0, 1)
    shrink = 0.55 + 0.45 * open_fat
    radius = _wobbled(radius, rng)
    radius = _rounded(radius * shrink[:, None] - _SEPTUM_L0 * rng.uniform(0.5, 1.7, len(radius))[:, None])
    keep = within[row, column] & (open_fat > 0.02) & (radius.min(axis=1) > 24) & (maps.edge[row, column] > 0)
    keep &= rng.random(len(keep)) > 0.03
    angle = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    away = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outline = np.stack([centre_x, centre_y], axis=1)[:, None, :] + radius[:, :, None] * away
    lipoblasts = _lipoblast_places(within & (band < 0.3), rng)
    drop, drop_radius = _droplets(lipoblasts, rng)
    droplets = drop[:, None, :] + drop_radius[:, None, None] * away
    return Vacuoles(
        x_l0=np.concatenate([centre_x[keep], drop[:, 0]]),
        y_l0=np.concatenate([centre_y[keep], drop[:, 1]]),
        reach_l0=np.concatenate([radius.max(axis=1)[keep], drop_radius]),
        outline_l0=np.concatenate([outline[keep], droplets]),
        lipoblasts_l0=lipoblasts,
    )


def _lipoblast_places(where: Mask, rng: np.random.Generator) -> Floats:
    """A few places per mm2 of `where` (map frame), (K, 2) x, y in level-0 px."""
    row, column = np.nonzero(where)
    area_mm2 = len(row) * (MAP_L0 * float(MPP) / 1000) ** 2
    pick = rng.integers(0, max(1, len(row)), rng.poisson(_LIPOBLASTS_PER_MM2 * area_mm2) if len(row) else 0)
    return np.stack([column[pick], row[pick]], axis=1).astype(np.float64) * MAP_L0


def _droplets(lipoblasts: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Three to six small vacuoles in a wreath around every lipoblast: centres (M, 2) and radii (M,), level-0 px."""
    count = rng.integers(3, 7, len(lipoblasts))
    owner = np.repeat(np.arange(len(lipoblasts)), count)
    turn = rng.uniform(0, 2 * np.pi, len(lipoblasts))[owner] + rng.uniform(0.8, 1.3, len(owner)).cumsum()
    radius = rng.uniform(2.2, 4.6, len(owner)) / float(MPP)
    away = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (radius + 2.2 / float(MPP))[:, None]
    return lipoblasts[owner] + away, radius


def _radii(x: Floats, y: Floats, weight: Floats, step: float) -> Floats:
    """Distance from every inner seed to its cell's wall in _POINTS directions, (rows - 4, columns - 4, _POINTS)."""
    rows, columns = x.shape
    inner = (slice(2, rows - 2), slice(2, columns - 2))
    angle = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    nearest = np.full((*x[inner].shape, _POINTS), 1.6 * step)
    for dr in range(-2, 3):
        for dc in range(-2, 3):
            if not (dr or dc):
                continue
            other = (slice(2 + dr, rows - 2 + dr), slice(2 + dc, columns - 2 + dc))
            away_x, away_y = x[other] - x[inner], y[other] - y[inner]
            far = np.hypot(away_x, away_y)
            wall = (far * far + weight[inner] - weight[other]) / (2 * far)
            cosine = (away_x[..., None] * np.cos(angle) + away_y[..., None] * np.sin(angle)) / far[..., None]
            along = np.where(cosine > 0.05, wall[..., None] / np.maximum(cosine, 0.05), np.inf)
            nearest = np.minimum(nearest, along)
    return np.maximum(nearest, 0)


def _wobbled(radius: Floats, rng: np.random.Generator) -> Floats:
    """Walls that bow in a little, so that septa are not drawn with a ruler."""
    angle = np.linspace(0, 2 * np.pi, radius.shape[1], endpoint=False)
    dent = np.zeros_like(radius)
    for order in (2, 3, 5):
        phase = rng.uniform(0, 2 * np.pi, (len(radius), 1))
        dent += rng.uniform(0, 0.016, (len(radius), 1)) * (1 + np.cos(order * angle + phase))
    return radius * (1 - dent)


def _rounded(radius: Floats) -> Floats:
    """Corners cut: every direction takes the smoothed least of its neighbours."""
    least = np.minimum(radius, (np.roll(radius, 1, axis=1) + np.roll(radius, -1, axis=1)) / 2)
    for _ in range(2):
        least = (np.roll(least, 1, axis=1) + 2 * least + np.roll(least, -1, axis=1)) / 4
    return np.minimum(least, radius)
