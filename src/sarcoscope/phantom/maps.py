"""Coarse maps of one slide: where tissue is and of which kind, how fibres run, where it is folded, inked or blurred.

Map frame: one map px is MAP_L0 level-0 px; `_map` in a name says so. Everything finer is added by the painter.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from sarcoscope.core.geometry import Mask, Size
from sarcoscope.phantom.planes import Field, noise
from sarcoscope.phantom.recipes import Recipe
from sarcoscope.phantom.spec import MPP, PhantomSlide

MAP_L0: Final = 16
"""Level-0 px per map px."""

_MAP_UM: Final = MAP_L0 * float(MPP)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideMaps:
    """The maps of one slide, all (ceil(height / MAP_L0), ceil(width / MAP_L0))."""

    edge: Field
    """Signed distance to the tissue outline, level-0 px, positive inside."""
    component: Field
    """Signed distance to the component's border, level-0 px, positive inside; -inf where there is none."""
    cos2: Field
    """Cosine of twice the fibre direction."""
    sin2: Field
    """Sine of twice the fibre direction."""
    across: Field
    """1 where fibres are cut across, 0 where they lie in the plane."""
    loose: Field
    """Loose or myxoid share, 0..1."""
    fold: Field
    """Signed distance to the fold's border, level-0 px, positive inside."""
    pen: Field
    """Signed distance to the ink's border, level-0 px, positive inside."""
    blur: Field
    """Out of focus, 0..1."""

    @property
    def tissue(self) -> Mask:
        """Whether the map px is tissue."""
        return self.edge > 0


def map_shape(size: Size) -> tuple[int, int]:
    """(rows, columns) of the maps of a slide of `size` level-0 px."""
    return -(-size.height // MAP_L0), -(-size.width // MAP_L0)


def draw_maps(spec: PhantomSlide, recipe: Recipe, rng: np.random.Generator) -> SlideMaps:
    """All maps of a slide; `rng` is spent."""
    shape = map_shape(spec.size)
    tissue = _outline(shape, rng)
    inside = _component(tissue, spec.component_share, rng)
    cos2, sin2, across = DIRECTIONS[recipe.direction](shape, rng)
    nothing = np.full(shape, -np.inf, np.float32)
    return SlideMaps(
        edge=_signed_distance(tissue),
        component=_signed_distance(inside) if spec.component else nothing,
        cos2=cos2,
        sin2=sin2,
        across=across,
        loose=_loose(shape, recipe, rng),
        fold=_fold(tissue, rng) if "fold" in spec.artefacts else nothing,
        pen=_pen(tissue, rng) if "pen" in spec.artefacts else nothing,
        blur=_blur(tissue, rng) if "blur" in spec.artefacts else np.zeros(shape, np.float32),
    )


def _signed_distance(inside: Mask) -> Field:
    """Distance to the border of a mask, level-0 px, positive inside."""
    if inside.all() or not inside.any():
        return np.full(inside.shape, np.inf if inside.all() else -np.inf, np.float32)
    within = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    without = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray((within - without) * MAP_L0, dtype=np.float32)


def _outline(shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """An irregular section of 46 to 57 % of the slide, one piece, clear of the slide's rim."""
    rows, columns = shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    tilt = rng.uniform(0, np.pi)
    u, v = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    stretch = rng.uniform(0.94, 1.06)
    field = -(np.abs(u * stretch) ** 2.4 + np.abs(v / stretch) ** 2.4)
    short = min(shape)
    for grain, weight in ((0.5, 0.11), (0.2, 0.08), (0.06, 0.025)):
        field += weight * noise(shape, grain * short, rng)
    field -= 14 * np.clip(np.maximum(np.abs(x), np.abs(y)) - 0.84, 0, None)
    share = rng.uniform(0.475, 0.57)
    mask = field > np.quantile(field, 1 - share)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels == largest)


def _component(tissue: Mask, share: float, rng: np.random.Generator) -> Mask:
    """The part of the tissue that is the component: one side of a wavy front."""
    if not share:
        return np.zeros(tissue.shape, np.bool_)
    rows, columns = tissue.shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    heading = rng.uniform(0, 2 * np.pi)
    field = x * np.cos(heading) + y * np.sin(heading) + 0.22 * noise(tissue.shape, 0.25 * min(tissue.shape), rng)
    return np.asarray(field > np.quantile(field[tissue], 1 - share))


def _fascicles(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Field, Field, Field]:
    """Bundles of parallel fibres that meet at angles; every fourth or so is cut across."""
    height, width = shape
    step_map = 300 / _MAP_UM
    down, along = int(height / step_map) + 2, int(width / step_map) + 2
    jitter = rng.uniform(-0.5, 0.5, (2, down, along))
    seeds_y = (np.arange(down)[:, None] + jitter[0]) * step_map
    seeds_x = (np.arange(along)[None, :] + jitter[1]) * step_map
    main = rng.uniform(0, np.pi)
    angles = main + rng.choice([0, np.pi / 2, np.pi / 4, -np.pi / 4], p=[0.4, 0.35, 0.15, 0.1], size=(down, along))
    angles += rng.normal(0, 0.15, (down, along))
    cut = rng.random((down, along)) < 0.17
    y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    warp = 0.22 * step_map
    y, x = y + warp * noise(shape, 40, rng), x + warp * noise(shape, 40, rng)
    nearest = np.full(shape, np.inf, np.float32)
    theta, across = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    row, column = np.rint(y / step_map).astype(int), np.rint(x / step_map).astype(int)
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            r, c = np.clip(row + dr, 0, down - 1), np.clip(column + dc, 0, along - 1)
            far = (seeds_y[r, c] - y) ** 2 + (seeds_x[r, c] - x) ** 2
            better = far < nearest
            nearest = np.where(better, far, nearest)
            theta = np.where(better, angles[r, c], theta).astype(np.float32)
            across = np.where(better, cut[r, c], across).astype(np.float32)
    theta = theta + 0.12 * noise(shape, 60, rng)
    soft = 2.0
    cos2 = np.asarray(cv2.GaussianBlur(np.cos(2 * theta), (0, 0), soft), dtype=np.float32)
    sin2 = np.asarray(cv2.GaussianBlur(np.sin(2 * theta), (0, 0), soft), dtype=np.float32)
    return cos2, sin2, np.asarray(cv2.GaussianBlur(across, (0, 0), soft), dtype=np.float32)


def _storiform(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Field, Field, Field]:
    """Short fibres that whirl around many centres: the defects of a random director field."""
    grain = 190 / _MAP_UM
    cos2, sin2 = noise(shape, grain, rng), noise(shape, grain, rng)
    return cos2, sin2, np.zeros(shape, np.float32)


def _wavy(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Field, Field, Field]:
    """Long sweeping fibres that undulate at the scale of a nucleus or two."""
    sweep = rng.uniform(0, np.pi) + 0.7 * noise(shape, 700 / _MAP_UM, rng)
    theta = sweep + 0.42 * noise(shape, 44 / _MAP_UM, rng)
    return np.cos(2 * theta), np.sin(2 * theta), np.zeros(shape, np.float32)


DIRECTIONS: Final = {"fascicles": _fascicles, "storiform": _storiform, "wavy": _wavy}
"""How fibres run, by name: (cos 2 theta, sin 2 theta, cut across)."""


def _loose(shape: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Field:
    field = noise(shape, recipe.loose_grain_um / _MAP_UM, rng) + 0.25 * noise(shape, 60 / _MAP_UM, rng)
    if not recipe.loose_share:
        return np.zeros(shape, np.float32)
    border = float(np.quantile(field, 1 - recipe.loose_share))
    return np.clip((field - border) / 0.35 + 0.5, 0, 1).astype(np.float32)


def _stroke(shape: tuple[int, int], points: np.ndarray, half_width_l0: float) -> Field:
    """Signed distance to a stroke through points (N, 2) as x, y in map px."""
    away = np.full(shape, 255, np.uint8)
    cv2.polylines(away, [np.rint(points).astype(np.int32)], isClosed=False, color=0, thickness=1)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, 5)
    return np.asarray(half_width_l0 - distance * MAP_L0, dtype=np.float32)


def _path(start: np.ndarray, heading: float, length_map: float, bend: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth walk of 40 points from `start` (x, y), (40, 2) in map px."""
    turns = heading + np.cumsum(rng.normal(0, bend, 40))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (length_map / 40)
    return start + np.cumsum(steps, axis=0)


def _fold(tissue: Mask, rng: np.random.Generator) -> Field:
    """A crease across the section, 3 to 6 % of it, that tapers off at its ends."""
    y, x = np.nonzero(_signed_distance(tissue) > 0.12 * MAP_L0 * min(tissue.shape))
    pick = int(rng.integers(len(x)))
    length = 0.55 * min(tissue.shape)
    heading = float(rng.uniform(0, 2 * np.pi))
    start = np.array([x[pick], y[pick]]) - 0.5 * length * np.array([np.cos(heading), np.sin(heading)])
    path = _path(start, heading, length, 0.08, rng)
    half = rng.uniform(0.03, 0.045) * float(tissue.sum()) / length * MAP_L0 / 2
    field = _stroke(tissue.shape, path, half)
    ends = np.minimum(*(np.hypot(*(np.indices(tissue.shape)[::-1] - p[:, None, None])) for p in (path[0], path[-1])))
    taper = np.clip(1 - ends / (0.3 * length), 0, 1).astype(np.float32) * half
    return np.asarray(field - taper + half * 0.35 * noise(tissue.shape, 30, rng), dtype=np.float32)


def _pen(tissue: Mask, rng: np.random.Generator) -> Field:
    """One marker stroke that follows the tissue's rim, mostly on glass, a few per cent of the tissue."""
    contours, _ = cv2.findContours(tissue.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rim = max(contours, key=len)[:, 0, :].astype(np.float32)
    count = round(len(rim) * float(rng.uniform(0.18, 0.26)))
    part = np.roll(rim, -int(rng.integers(len(rim))), axis=0)[:count]
    kernel = np.ones(61, np.float32) / 61
    padded = np.pad(part, ((30, 30), (0, 0)), mode="edge")
    path = np.stack([np.convolve(padded[:, axis], kernel, mode="valid") for axis in (0, 1)], axis=1)
    centre = np.array(tissue.shape[::-1]) / 2
    outward = path - centre
    path = path + outward / np.linalg.norm(outward, axis=1, keepdims=True) * 0.012 * min(tissue.shape)
    return _stroke(tissue.shape, path, 0.02 * min(tissue.shape) * MAP_L0)


def _blur(tissue: Mask, rng: np.random.Generator) -> Field:
    """One region out of focus, about 5 to 10 % of the tissue, with a soft border."""
    y, x = np.nonzero(_signed_distance(tissue) > 0.1 * MAP_L0 * min(tissue.shape))
    pick = int(rng.integers(len(x)))
    radius = np.sqrt(rng.uniform(0.05, 0.09) * float(tissue.sum()) / np.pi)
    rows, columns = np.indices(tissue.shape)
    reach = np.hypot(rows - y[pick], columns - x[pick]) + 0.12 * radius * noise(tissue.shape, radius, rng)
    return np.asarray(np.clip((radius - reach) / (0.25 * radius) + 0.5, 0, 1), dtype=np.float32)
