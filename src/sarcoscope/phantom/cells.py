"""Where the cells of a slide lie, which nucleus each carries, and how it is turned: arrays, one row a cell."""

from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Box, Mask, Size
from sarcoscope.phantom.fat import Vacuoles
from sarcoscope.phantom.maps import MAP_L0, SlideMaps
from sarcoscope.phantom.nuclei import Sprite, bank
from sarcoscope.phantom.planes import noise
from sarcoscope.phantom.recipes import Recipe, Species
from sarcoscope.phantom.spec import MPP

VARIANTS: Final = 24
"""Sprites of each nuclear shape in one slide."""

_BIN_L0: Final = 1024
_CLAIM_L0: Final = 6
_MAY_LOSE: Final = 0.12
_ADIPOCYTE_L0: Final = 60.0
_LARGE_L0: Final = 95.0

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Cells of one slide, in no order that matters."""

    x_l0: Floats
    y_l0: Floats
    angle: Floats
    """Long axis against the x axis, radians, y down."""
    sprite: Ints
    """Index into the slide's sprites; -1 for no nucleus."""
    stretch_x: Floats
    """Level-0 px per sprite px along the nucleus."""
    stretch_y: Floats
    """The same across it."""
    reach_l0: Floats
    """No ink of the nucleus lies farther from the centre."""
    body: Ints
    """Eosin of the cell body, 0..255."""
    body_length_l0: Floats
    body_width_l0: Floats

    def __len__(self) -> int:
        return len(self.x_l0)

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Cells":
        """Some of the cells."""
        return Cells(**{one.name: getattr(self, one.name)[which] for one in fields(self)})


def joined(parts: list[Cells]) -> Cells:
    """All cells of several groups."""
    return Cells(**{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Cells)})


class CellIndex:
    """Finds the cells that can leave ink in a box without looking at all of them."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        row, column = (cells.y_l0 // _BIN_L0).astype(np.int64), (cells.x_l0 // _BIN_L0).astype(np.int64)
        self._columns = int(column.max()) + 2 if len(cells) else 1
        key = row * self._columns + column
        self._order = np.argsort(key, kind="stable")
        self._keys = key[self._order]

    def near(self, box: Box) -> Cells:
        """Cells whose nucleus or body may touch a box of level-0 px; none of them reaches beyond one bin."""
        hits = []
        last = min(self._columns - 1, (box.right + _BIN_L0) // _BIN_L0)
        first = max(0, (box.left - _BIN_L0) // _BIN_L0)
        for row in range((box.top - _BIN_L0) // _BIN_L0, (box.bottom + _BIN_L0) // _BIN_L0 + 1):
            if row >= 0 and last >= first:
                start = np.searchsorted(self._keys, row * self._columns + first, side="left")
                stop = np.searchsorted(self._keys, row * self._columns + last, side="right")
                hits.append(self._order[start:stop])
        which = np.concatenate(hits) if hits else np.zeros(0, np.int64)
        some = self.cells.take(which)
        reach = np.maximum(some.reach_l0, np.maximum(some.body_length_l0, some.body_width_l0))
        inside = (some.x_l0 + reach >= box.left) & (some.x_l0 - reach <= box.right)
        inside &= (some.y_l0 + reach >= box.top) & (some.y_l0 - reach <= box.bottom)
        return some.take(inside)


@dataclass(slots=True)
class SpriteBook:
    """All sprites of a slide, a run of VARIANTS for each shape that was asked for."""

    rng: np.random.Generator
    sprites: list[Sprite] = field(default_factory=list)
    _first: dict[str, int] = field(default_factory=dict)

    def pick(self, family: str, count: int, rng: np.random.Generator) -> Ints:
        """`count` sprite indices of one shape."""
        if family not in self._first:
            self._first[family] = len(self.sprites)
            self.sprites += bank(family, VARIANTS, self.rng)
        return (self._first[family] + rng.integers(0, VARIANTS, count)).astype(np.int32)


def _at(plane: npt.NDArray[np.float32], x_l0: Floats, y_l0: Floats) -> npt.NDArray[np.float32]:
    """Value of a map at points inside the slide."""
    row = np.clip(y_l0 // MAP_L0, 0, plane.shape[0] - 1).astype(np.int64)
    column = np.clip(x_l0 // MAP_L0, 0, plane.shape[1] - 1).astype(np.int64)
    return np.asarray(plane[row, column], dtype=np.float32)


def _grid(size: Size, spacing_l0: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Jittered hexagonal grid over a slide: x, y."""
    rows, columns = int(size.height / (0.866 * spacing_l0)) + 1, int(size.width / spacing_l0) + 1
    y, x = np.meshgrid(np.arange(rows, dtype=np.float32), np.arange(columns, dtype=np.float32), indexing="ij")
    x += 0.5 * (y % 2) + rng.uniform(-0.48, 0.48, x.shape).astype(np.float32)
    y += rng.uniform(-0.48, 0.48, y.shape).astype(np.float32)
    x_l0, y_l0 = (x * spacing_l0).ravel(), (y * 0.866 * spacing_l0).ravel()
    inside = (x_l0 >= 0) & (y_l0 >= 0) & (x_l0 < size.width) & (y_l0 < size.height)
    return x_l0[inside], y_l0[inside]


def _dressed(
    species: Species, x_l0: Floats, y_l0: Floats, direction: Floats, *, book: SpriteBook, rng: np.random.Generator
) -> Cells:
    """Cells of one species at given places."""
    count = len(x_l0)
    sprite = book.pick(species.family, count, rng)
    known_length = np.array([one.length for one in book.sprites], np.float32)[sprite]
    share = np.array([one.width_share for one in book.sprites], np.float32)[sprite]
    side = np.array([one.ink.shape[0] for one in book.sprites], np.float32)[sprite]
    length = (species.length_um / float(MPP) * np.exp(rng.normal(0, species.spread, count))).astype(np.float32)
    stretch_x = length / known_length
    stretch_y = stretch_x * np.exp(rng.normal(0, species.aspect_spread, count)).astype(np.float32)
    wobble = rng.normal(0, species.wobble_rad, count) if species.wobble_rad < 3 else rng.uniform(0, np.pi, count)
    flip = np.where(rng.random(count) < 0.5, np.pi, 0.0)
    return Cells(
        x_l0=x_l0,
        y_l0=y_l0,
        angle=(direction + wobble + flip).astype(np.float32),
        sprite=sprite,
        stretch_x=stretch_x,
        stretch_y=stretch_y,
        reach_l0=np.maximum(stretch_x, stretch_y) * side * 0.71,
        body=np.maximum(0, rng.normal(species.body, 0.15 * species.body + 1, count) // 8 * 8).astype(np.int32),
        body_length_l0=length * species.body_length,
        body_width_l0=length * share * (stretch_y / stretch_x) * species.body_width,
    )


def place(
    size: Size,
    recipe: Recipe,
    maps: SlideMaps,
    *,
    where: Mask,
    occupied: Mask,
    book: SpriteBook,
    rng: np.random.Generator,
) -> Cells:
    """Cells of one recipe wherever `where` (map frame) holds and `occupied` (8 level-0 px) does not."""
    x, y = _grid(size, recipe.spacing_um / float(MPP), rng)
    loose = _at(maps.loose, x, y)
    crowd = np.clip(1 + 0.25 * _at(noise(maps.edge.shape, 30, rng), x, y), 0.3, 1)
    keep = (_at(where.astype(np.float32), x, y) > 0) & (
        rng.random(len(x)) < crowd * (1 - (1 - recipe.loose_cells) * loose)
    )
    x, y = x[keep], y[keep]
    free = ~occupied[(y // 8).astype(np.int64), (x // 8).astype(np.int64)]
    x, y = x[free], y[free]
    direction = (0.5 * np.arctan2(_at(maps.sin2, x, y), _at(maps.cos2, x, y))).astype(np.float32)
    shares = np.array([one.share for one in recipe.species])
    kind = rng.choice(len(shares), size=len(x), p=shares / shares.sum())
    parts = []
    cut = _at(maps.across, x, y) > 0.5
    across = Species(
        family="round", share=1, length_um=5.6, spread=0.12, wobble_rad=3.2, body_length=2.1, body_width=2.1, body=75
    )
    immune = Species(family="lymphocyte", share=1, length_um=6.6, spread=0.08, wobble_rad=3.2, body=0)
    cluster = np.exp(1.6 * _at(noise(maps.edge.shape, 25, rng), x, y) - 1.28)
    is_immune = rng.random(len(x)) < recipe.lymphocytes * cluster
    parts.append(_dressed(immune, x[is_immune], y[is_immune], direction[is_immune], book=book, rng=rng))
    is_cut = cut & ~is_immune
    parts.append(_dressed(across, x[is_cut], y[is_cut], direction[is_cut], book=book, rng=rng))
    for index, species in enumerate(recipe.species):
        mine = (kind == index) & ~is_cut & ~is_immune
        parts.append(_dressed(species, x[mine], y[mine], direction[mine], book=book, rng=rng))
    return _make_room(joined(parts), size, book.sprites)


def _make_room(cells: Cells, size: Size, sprites: list[Sprite]) -> Cells:
    """Nuclei do not lie on one another: of two that would, the larger stays.

    Every nucleus claims the places under it, small ones first, so that larger ones take them over; who loses more
    than a few is dropped.
    """
    cells = cells.take(np.argsort(cells.reach_l0, kind="stable"))
    small = int(np.searchsorted(cells.reach_l0, _LARGE_L0))
    number = np.arange(len(cells), dtype=np.int32)
    groups = [(number[:small], 9, 3), (number[small:], 21, 13)]
    spots = [_claims(cells.take(which.astype(np.int64)), size, sprites, *grid) for which, *grid in groups]
    owner = np.full(-(-size.width // _CLAIM_L0) * -(-size.height // _CLAIM_L0), -1, np.int32)
    for (which, *_), spot in zip(groups, spots, strict=True):
        owner[spot.ravel()] = np.repeat(which, spot.shape[1])
    lost = [(owner[spot] != which[:, None]).mean(axis=1) for (which, *_), spot in zip(groups, spots, strict=True)]
    return cells.take(np.concatenate(lost) <= _MAY_LOSE)


def _claims(cells: Cells, size: Size, sprites: list[Sprite], along: int, aside: int) -> npt.NDArray[np.int64]:
    """(N, along * aside) numbers of the squares of _CLAIM_L0 level-0 px that lie under each nucleus."""
    length = np.array([one.length for one in sprites], np.float32)[cells.sprite] * cells.stretch_x
    share = np.array([one.width_share for one in sprites], np.float32)[cells.sprite]
    width = length * share * cells.stretch_y / cells.stretch_x
    u = np.repeat(np.linspace(-0.48, 0.48, along, dtype=np.float32), aside)
    v = np.tile(np.linspace(-0.4, 0.4, aside, dtype=np.float32), along)
    cosine, sine = np.cos(cells.angle)[:, None], np.sin(cells.angle)[:, None]
    x = cells.x_l0[:, None] + cosine * length[:, None] * u - sine * width[:, None] * v
    y = cells.y_l0[:, None] + sine * length[:, None] * u + cosine * width[:, None] * v
    columns, rows = -(-size.width // _CLAIM_L0), -(-size.height // _CLAIM_L0)
    row = np.clip(y // _CLAIM_L0, 0, rows - 1).astype(np.int64)
    column = np.clip(x // _CLAIM_L0, 0, columns - 1).astype(np.int64)
    return np.asarray(row * columns + column)


def line_vessels(
    size: Size, places_l0: Points, direction: Points, *, book: SpriteBook, rng: np.random.Generator
) -> Cells:
    """Flat endothelial nuclei at places (K, 2) x, y with directions (K,), radians."""
    inside = (places_l0 >= 0).all(axis=1) & (places_l0[:, 0] < size.width) & (places_l0[:, 1] < size.height)
    spot, turn = places_l0[inside].astype(np.float32), direction[inside].astype(np.float32)
    flat = Species(family="flat", share=1, length_um=9.5, spread=0.2, wobble_rad=0.1, body=0)
    return _dressed(flat, spot[:, 0], spot[:, 1], turn, book=book, rng=rng)


def sit(size: Size, places_l0: Points, *, book: SpriteBook, rng: np.random.Generator) -> Cells:
    """Nuclei of lipoblasts at places (K, 2) x, y; the vacuoles around dent them."""
    inside = (places_l0 >= 0).all(axis=1) & (places_l0[:, 0] < size.width) & (places_l0[:, 1] < size.height)
    spot = places_l0[inside].astype(np.float32)
    dented = Species(family="angular", share=1, length_um=13, spread=0.15, wobble_rad=3.2, body=30, body_width=3.2)
    return _dressed(dented, spot[:, 0], spot[:, 1], np.zeros(len(spot), np.float32), book=book, rng=rng)


def line_septa(
    size: Size, recipe: Recipe, fat: Vacuoles, *, per_vacuole: float, book: SpriteBook, rng: np.random.Generator
) -> Cells:
    """Cells on the walls between adipocytes, flattened along them."""
    count = rng.poisson(per_vacuole * float((fat.reach_l0 > _ADIPOCYTE_L0).sum()))
    large = np.flatnonzero(fat.reach_l0 > _ADIPOCYTE_L0)
    which = large[rng.integers(0, max(1, len(large)), count)] if len(large) else np.zeros(0, np.int64)
    point = rng.integers(0, fat.outline_l0.shape[1], count)
    following = (point + 1) % fat.outline_l0.shape[1]
    here, there = fat.outline_l0[which, point], fat.outline_l0[which, following]
    along = there - here
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    spot = here + outward * rng.uniform(3, 9, (count, 1))
    inside = (spot >= 0).all(axis=1) & (spot[:, 0] < size.width) & (spot[:, 1] < size.height)
    spot, along = spot[inside].astype(np.float32), along[inside]
    direction = np.arctan2(along[:, 1], along[:, 0]).astype(np.float32)
    shares = np.array([one.share for one in recipe.species])
    kind = rng.choice(len(shares), size=len(spot), p=shares / shares.sum())
    return joined(
        [
            _dressed(one, spot[kind == index, 0], spot[kind == index, 1], direction[kind == index], book=book, rng=rng)
            for index, one in enumerate(recipe.species)
        ]
    )
