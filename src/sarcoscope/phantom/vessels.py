"""Small blood vessels: a pink wall, a lumen with some red cells, flat endothelial nuclei around it."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Box, Mask, Size
from sarcoscope.phantom.maps import MAP_L0, SlideMaps
from sarcoscope.phantom.planes import Plane, blurred, linear_table, lookup, times
from sarcoscope.phantom.spec import MPP

_POINTS: Final = 32
_RED_CELL_L0: Final = 3.1 / float(MPP)
_NONE: Final = np.zeros((0, 2))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessels:
    """The vessels of a slide."""

    lumen_l0: Floats
    """(N, points, 2) x, y."""
    wall_l0: Floats
    """(N, points, 2) x, y, around the lumen."""
    red_l0: Floats
    """(M, 2) centres of red blood cells."""
    lining_l0: Floats
    """(K, 2) places of endothelial nuclei."""
    lining_angle: Floats
    """(K,) their direction, radians."""

    def __len__(self) -> int:
        return len(self.lumen_l0)

    def occupied(self, size: Size) -> Mask:
        """Whether a place belongs to a vessel: one value for every 8 x 8 level-0 px."""
        canvas = np.zeros((-(-size.height // 8), -(-size.width // 8)), np.uint8)
        if len(self):
            cv2.fillPoly(canvas, list(np.rint(self.wall_l0 / 8).astype(np.int32)), 1)
        return np.asarray(canvas > 0)


def grow(per_mm2: float, maps: SlideMaps, occupied: Mask, rng: np.random.Generator) -> Vessels:
    """Vessels at random in the tissue, stretched along its fibres, none where `occupied` (8 level-0 px) holds."""
    row, column = np.nonzero(maps.edge > 200)
    area_mm2 = len(row) * (MAP_L0 * float(MPP) / 1000) ** 2
    pick = rng.integers(0, max(1, len(row)), rng.poisson(per_mm2 * area_mm2) if len(row) else 0)
    row, column = row[pick], column[pick]
    count = len(pick)
    centre = np.stack([column, row], axis=1) * float(MAP_L0) + rng.uniform(0, MAP_L0, (count, 2))
    heading = 0.5 * np.arctan2(maps.sin2[row, column], maps.cos2[row, column]) + rng.normal(0, 0.3, count)
    half = np.exp(rng.normal(np.log(15 / float(MPP)), 0.4, count)).clip(28, 170)
    flat = rng.uniform(0.3, 0.85, count)
    lumen = _ring(centre, heading, half, flat, rng)
    away = lumen - centre[:, None, :]
    thick = rng.uniform(1.5, 4, count) / float(MPP) + 0.1 * half
    wall = lumen + away / np.linalg.norm(away, axis=2, keepdims=True) * thick[:, None, None]
    at = np.clip(wall // 8, 0, np.array(occupied.shape[::-1]) - 1).astype(np.int64)
    free = ~occupied[at[..., 1], at[..., 0]].any(axis=1)
    lumen, wall, centre = lumen[free], wall[free], centre[free]
    lining, lining_angle = _lining(lumen, rng)
    return Vessels(
        lumen_l0=lumen,
        wall_l0=wall,
        red_l0=_red_cells(lumen, centre, rng),
        lining_l0=lining,
        lining_angle=lining_angle,
    )


def _ring(centre: Floats, heading: Floats, half: Floats, flat: Floats, rng: np.random.Generator) -> Floats:
    """(N, points, 2): bumpy ellipses."""
    angle = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    bumps = np.ones((len(centre), _POINTS))
    for order in (2, 3, 4):
        bumps += rng.normal(0, 0.06, (len(centre), 1)) * np.cos(
            order * angle + rng.uniform(0, 2 * np.pi, (len(centre), 1))
        )
    u, v = half[:, None] * bumps * np.cos(angle), (half * flat)[:, None] * bumps * np.sin(angle)
    cosine, sine = np.cos(heading)[:, None], np.sin(heading)[:, None]
    return centre[:, None, :] + np.stack([cosine * u - sine * v, sine * u + cosine * v], axis=2)


def _lining(lumen: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Places on the rims of the lumens, and the rims' direction there."""
    if not len(lumen):
        return _NONE, np.zeros(0)
    following = np.roll(lumen, -1, axis=1)
    step = following - lumen
    chance = np.linalg.norm(step, axis=2) / (17 / float(MPP))
    which = rng.random(chance.shape) < chance
    spot = ((lumen + following) / 2)[which]
    outward = np.stack([step[..., 1], -step[..., 0]], axis=2)[which]
    spot = spot + 3 * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    return spot, np.arctan2(step[which][:, 1], step[which][:, 0])


def _red_cells(lumen: Floats, centre: Floats, rng: np.random.Generator) -> Floats:
    """Centres of red cells: some lumens are packed, some hold a few, a third are empty."""
    cells = [_NONE]
    for ring, middle in zip(lumen, centre, strict=True):
        area = cv2.contourArea(ring.astype(np.float32))
        fill = max(0.0, float(rng.uniform(-0.5, 1.0)))
        count = round(fill * area / (2.6 * _RED_CELL_L0**2))
        if count:
            point = ring[rng.integers(0, _POINTS, count)]
            cells.append(middle + (point - middle) * np.sqrt(rng.uniform(0, 0.72, (count, 1))))
    return np.concatenate(cells)


def stamp_vessels(
    haematoxylin: Plane, eosin: Plane, canvas: Box, vessels: Vessels, wall_eosin: int
) -> tuple[Plane, Plane]:
    """The planes of a canvas with the vessels drawn over them, without their nuclei."""
    low = vessels.wall_l0.min(axis=1)
    high = vessels.wall_l0.max(axis=1)
    near = (low[:, 0] < canvas.right) & (high[:, 0] > canvas.left)
    near &= (low[:, 1] < canvas.bottom) & (high[:, 1] > canvas.top)
    if not near.any():
        return haematoxylin, eosin
    corner = np.array([canvas.left, canvas.top])
    wall, lumen = np.zeros_like(eosin), np.zeros_like(eosin)
    for mask, outlines in ((wall, vessels.wall_l0), (lumen, vessels.lumen_l0)):
        for outline in np.rint((outlines[near] - corner) * 16).astype(np.int32):
            cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, 4)
    wall, lumen = blurred(wall, 2.5), blurred(lumen, 1.2)
    eosin = np.maximum(eosin, lookup(wall, linear_table(0, wall_eosin)))
    open_ = lookup(lumen, linear_table(255, 3))
    eosin, haematoxylin = times(eosin, open_), times(haematoxylin, open_)
    red = vessels.red_l0 - corner
    inside = (red > -20).all(axis=1) & (red[:, 0] < canvas.width + 20) & (red[:, 1] < canvas.height + 20)
    discs = np.zeros_like(eosin)
    for x, y in np.rint(red[inside] * 16).astype(np.int32).tolist():
        cv2.circle(discs, (x, y), round(_RED_CELL_L0 * 16), 118, -1, cv2.LINE_AA, 4)
        cv2.circle(discs, (x, y), round(_RED_CELL_L0 * 16), 150, 2, cv2.LINE_AA, 4)
    return haematoxylin, np.maximum(eosin, blurred(discs, 1.0))
