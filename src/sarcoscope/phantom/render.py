"""Paints a phantom block by block; a block depends on the slide's seed and its place only, never on the order."""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Box, Mask, Rgb, Size
from sarcoscope.phantom import cells as cells_
from sarcoscope.phantom import fat as fat_
from sarcoscope.phantom import vessels as vessels_
from sarcoscope.phantom.fibres import smear
from sarcoscope.phantom.maps import MAP_L0, SlideMaps, draw_maps
from sarcoscope.phantom.planes import (
    Endless,
    Field,
    Plane,
    add,
    blurred,
    enlarged,
    linear_table,
    lookup,
    noise,
    ramp_table,
    tileable,
    times,
)
from sarcoscope.phantom.recipes import RECIPES, varied
from sarcoscope.phantom.spec import PhantomSlide
from sarcoscope.phantom.stain import BATCHES, NOISE_ZERO, colour_table, sensor_noise
from sarcoscope.phantom.stamps import stamp_bodies, stamp_nuclei, stamp_vacuoles
from sarcoscope.phantom.vessels import stamp_vessels

BLOCK_L0: Final = 1024
"""Side of the square that is painted at once, level-0 px."""

PAD_L0: Final = 64
"""Painted around a block and thrown away, so that fibres, blur and cells run on across its border."""

_CANVAS: Final = Size(BLOCK_L0 + 2 * PAD_L0, BLOCK_L0 + 2 * PAD_L0)
_PAD_MAP: Final = PAD_L0 // MAP_L0
_INK: Final = {"green": (40, 130, 90), "blue": (45, 60, 150), "black": (45, 45, 50)}


class PhantomPainter:
    """A slide ready to be painted: maps, cells and stain are drawn once, pixels on demand, memory is flat."""

    def __init__(self, spec: PhantomSlide) -> None:
        self.spec = spec
        streams = [np.random.default_rng(child) for child in np.random.SeedSequence(spec.seed).spawn(8)]
        self.recipe = varied(RECIPES[spec.label], streams[0])
        self.maps = draw_maps(spec, self.recipe, streams[1])
        self.batch = BATCHES[spec.batch]
        self._colours = _packed(colour_table(self.batch, streams[2]))
        self._grow(streams[3])
        self._coarse = _Coarse(self.maps)
        reach = _CANVAS.width
        fine = tileable(1021, 0.7, streams[4]), tileable(1021, 2.6, streams[4])
        mixed = np.asarray(cv2.addWeighted(fine[0], 0.62, fine[1], 0.62, 128 * (1 - 1.24)), dtype=np.uint8)
        self._rough = Endless(mixed, reach)
        self._grain = Endless(tileable(1511, 1.4, streams[5]), reach)
        self._ragged = Endless(tileable(1783, 9.0, streams[5]), reach)
        self._noise = Endless(sensor_noise(733, self.batch, streams[6]), reach)
        self._noise_zero = np.full((BLOCK_L0, BLOCK_L0, 3), NOISE_ZERO, np.uint8)
        self._ink = np.array(_INK[str(streams[7].choice(sorted(_INK)))], np.float32)
        self._glass = self._colours[:1].view(np.uint8)[:3].copy()

    def _grow(self, rng: np.random.Generator) -> None:
        """Fat and vessels, then cells around them, for the slide's tissue and its component."""
        spec, maps, size = self.spec, self.maps, self.spec.size
        is_fat = maps.tissue if spec.label == "WDLPS" else maps.tissue & (maps.component > 0)
        book = cells_.SpriteBook(rng)
        parts = []
        self._fat = fat_.grow(size, maps, is_fat, rng) if is_fat.any() else fat_.no_vacuoles()
        occupied = self._fat.occupied(size)
        self._vessels = vessels_.grow(self.recipe.vessels_per_mm2, maps, occupied, rng)
        occupied |= self._vessels.occupied(size)
        if is_fat.any():
            lean = varied(RECIPES["WDLPS"], rng)
            parts.append(cells_.place(size, lean, maps, where=is_fat, occupied=occupied, book=book, rng=rng))
            parts.append(cells_.line_septa(size, lean, self._fat, per_vacuole=0.6, book=book, rng=rng))
        if spec.label != "WDLPS":
            kin = self._kin(rng)
            for recipe, part in ((self.recipe, ~kin), (varied(RECIPES[self.recipe.kin], rng), kin)):
                where = maps.tissue & ~is_fat & part
                parts.append(cells_.place(size, recipe, maps, where=where, occupied=occupied, book=book, rng=rng))
        parts.append(cells_.sit(size, self._fat.lipoblasts_l0, book=book, rng=rng))
        lining = self._vessels.lining_l0, self._vessels.lining_angle
        parts.append(cells_.line_vessels(size, *lining, book=book, rng=rng))
        self.cells = cells_.CellIndex(cells_.joined(parts))
        self._sprites = book.sprites

    def _kin(self, rng: np.random.Generator) -> Mask:
        """Where the cells look like those of another class, map frame."""
        grain = noise(self.maps.edge.shape, 600 / float(self.spec.mpp) / MAP_L0, rng)
        return np.asarray(grain > np.quantile(grain, 1 - self.recipe.kin_share))

    def bands(self, height_l0: int = BLOCK_L0) -> Iterator[Rgb]:
        """The slide from top to bottom, (height_l0 or what is left, width, 3) uint8 at a time.

        Heights that are no multiple of BLOCK_L0 give the same pixels, but paint some blocks more than once.
        """
        for top in range(0, self.spec.size.height, height_l0):
            yield self.read(Box(0, top, self.spec.size.width, min(height_l0, self.spec.size.height - top)))

    def read(self, box: Box) -> Rgb:
        """Pixels of a box of level-0 px, (box.height, box.width, 3) uint8, white outside the slide."""
        out = np.full((box.height, box.width, 3), 255, np.uint8)
        right, bottom = min(box.right, self.spec.size.width), min(box.bottom, self.spec.size.height)
        for top in range(max(0, box.top) // BLOCK_L0 * BLOCK_L0, bottom, BLOCK_L0):
            for left in range(max(0, box.left) // BLOCK_L0 * BLOCK_L0, right, BLOCK_L0):
                x0, x1 = max(left, box.left), min(left + BLOCK_L0, right)
                y0, y1 = max(top, box.top), min(top + BLOCK_L0, bottom)
                if x1 > x0 and y1 > y0:
                    block = self._block(left, top)
                    out[y0 - box.top : y1 - box.top, x0 - box.left : x1 - box.left] = block[
                        y0 - top : y1 - top, x0 - left : x1 - left
                    ]
        return out

    def _block(self, left: int, top: int) -> Rgb:
        """One whole block at a multiple of BLOCK_L0, (BLOCK_L0, BLOCK_L0, 3) uint8."""
        column, row = left // BLOCK_L0, top // BLOCK_L0
        sensor = self._noise.window(left, top, Size(BLOCK_L0, BLOCK_L0))
        edge = self._coarse.crop("edge", row, column)
        if edge.max() < 128 - 40:
            rgb = np.empty((BLOCK_L0, BLOCK_L0, 3), np.uint8)
            rgb[:] = self._glass
        else:
            rgb = self._tissue(left, top, row, column, enlarged(edge, _CANVAS))
        rgb = np.asarray(cv2.subtract(cv2.add(rgb, sensor), self._noise_zero), dtype=np.uint8)
        if "pen" in self.spec.artefacts:
            rgb = self._penned(rgb, left, top, self._coarse.crop("pen", row, column))
        return rgb

    def _tissue(self, left: int, top: int, row: int, column: int, edge: Plane) -> Rgb:
        """Stain planes of a block, then its colours."""
        canvas = Box(left - PAD_L0, top - PAD_L0, _CANVAS.width, _CANVAS.height)
        ragged = self._ragged.window(canvas.left, canvas.top, _CANVAS)
        edge = np.asarray(cv2.addWeighted(edge, 1.0, ragged, 0.2, -25.6), dtype=np.uint8)
        mask = lookup(edge, ramp_table(125, 131))
        haematoxylin, eosin = self._stains(canvas, row, column)
        if "fold" in self.spec.artefacts:
            haematoxylin, eosin = _folded(haematoxylin, eosin, self._coarse.crop("fold", row, column))
        haematoxylin, eosin = times(haematoxylin, mask), times(eosin, mask)
        if "blur" in self.spec.artefacts:
            haze = self._coarse.crop("blur", row, column)
            if haze.max() > 0:
                soft = enlarged(haze, _CANVAS)
                haematoxylin, eosin = _blend(haematoxylin, soft), _blend(eosin, soft)
        inner = slice(PAD_L0, PAD_L0 + BLOCK_L0)
        haematoxylin = blurred(haematoxylin, self.batch.sigma_l0)[inner, inner]
        eosin = blurred(eosin, self.batch.sigma_l0)[inner, inner]
        index = (haematoxylin.astype(np.uint16) << 8) | eosin
        packed = self._colours.take(index.ravel()).view(np.uint8).reshape(BLOCK_L0, BLOCK_L0, 4)
        return np.asarray(cv2.cvtColor(packed, cv2.COLOR_RGBA2RGB), dtype=np.uint8)

    def _stains(self, canvas: Box, row: int, column: int) -> tuple[Plane, Plane]:
        """Haematoxylin and eosin of tissue that fills the whole canvas."""
        some = self.cells.near(canvas)
        fibres = self._fibres(canvas, row, column)
        haematoxylin, eosin = self._stroma(canvas, row, column, fibres)
        bodies = stamp_bodies(_CANVAS, canvas, some)
        eosin = add(eosin, times(bodies, lookup(fibres, linear_table(150, 255))))
        haematoxylin = add(haematoxylin, lookup(bodies, linear_table(0, 60)))
        cleft = self._clefts(canvas, fibres)
        eosin, haematoxylin = times(eosin, cleft), times(haematoxylin, cleft)
        if len(self._vessels):
            wall = min(255, round(1.25 * self.recipe.eosin))
            haematoxylin, eosin = stamp_vessels(haematoxylin, eosin, canvas, self._vessels, wall)
        nuclei = stamp_nuclei(_CANVAS, canvas, some, self._sprites)
        haematoxylin = np.maximum(haematoxylin, nuclei)
        eosin = times(eosin, lookup(nuclei, ramp_table(10, 60, 255, 110)))
        if len(self._fat):
            vacuoles = stamp_vacuoles(_CANVAS, canvas, self._fat)
            kept = lookup(vacuoles, linear_table(255, 4))
            eosin, haematoxylin = times(eosin, kept), times(haematoxylin, kept)
        return haematoxylin, eosin

    def _stroma(self, canvas: Box, row: int, column: int, fibres: Plane) -> tuple[Plane, Plane]:
        """What lies between the cells: fibres in eosin, a faint basophilic ground, paler where it is loose."""
        recipe, spread = self.recipe, 1.6 * self.recipe.contrast
        grain = self._grain.window(canvas.left, canvas.top, _CANVAS)
        eosin = lookup(fibres, linear_table(recipe.eosin * (1 - spread), recipe.eosin * (1 + spread)))
        haematoxylin = lookup(grain, linear_table(recipe.haematoxylin * 0.5, recipe.haematoxylin * 1.5))
        if recipe.loose_share:
            loose = enlarged(self._coarse.crop("loose", row, column), _CANVAS)
            wisps = lookup(fibres, ramp_table(70, 215, 0, 62))
            pale = lookup(loose, linear_table(255, 70))
            eosin = add(times(eosin, pale), times(wisps, loose, 0.8))
            haematoxylin = add(haematoxylin, times(lookup(fibres, linear_table(0, 14)), loose))
        return haematoxylin, eosin

    def _clefts(self, canvas: Box, fibres: Plane) -> Plane:
        """What is left where fibres part: 255 is everything. Clefts come in groups."""
        ragged = self._ragged.window(canvas.left, canvas.top, _CANVAS)
        uneven = np.asarray(cv2.addWeighted(fibres, 1.0, ragged, 0.5, -64), dtype=np.uint8)
        clefts = self.recipe.clefts
        return lookup(uneven, ramp_table(22 + 60 * clefts, 44 + 80 * clefts, 45, 255))

    def _fibres(self, canvas: Box, row: int, column: int) -> Plane:
        """Texture of the stroma, mean 128."""
        size = Size(_CANVAS.width // 2, _CANVAS.height // 2)
        rough = self._rough.window(canvas.left // 2, canvas.top // 2, size)
        cos2 = self._coarse.field("cos2", row, column, size)
        sin2 = self._coarse.field("sin2", row, column, size)
        return enlarged(smear(rough, cos2, sin2, 5), _CANVAS)

    def _penned(self, rgb: Rgb, left: int, top: int, pen: Plane) -> Rgb:
        """Marker ink over everything, streaky along its border."""
        if pen.max() < 128 - 20:
            return rgb
        distance = enlarged(pen, _CANVAS)[PAD_L0:-PAD_L0, PAD_L0:-PAD_L0]
        ragged = self._ragged.window(left, top, Size(BLOCK_L0, BLOCK_L0))
        distance = np.asarray(cv2.addWeighted(distance, 1.0, ragged, 0.05, -6.4), dtype=np.uint8)
        cover = lookup(distance, ramp_table(126, 131)).astype(np.float32)[..., None] / 255
        thick = 0.78 + 0.12 * (ragged.astype(np.float32)[..., None] / 128 - 1)
        tint = 1 - cover * thick * (1 - self._ink / 255)
        return np.clip(np.rint(rgb * tint), 0, 255).astype(np.uint8)


class _Coarse:
    """The maps as 8-bit planes, padded so that every block's canvas can be cut out of them."""

    def __init__(self, maps: SlideMaps) -> None:
        rows, columns = maps.edge.shape
        cells = BLOCK_L0 // MAP_L0
        below = -rows % cells + _PAD_MAP
        right = -columns % cells + _PAD_MAP
        self._padding = ((_PAD_MAP, below), (_PAD_MAP, right))
        self._planes = {
            "edge": self._distance(maps.edge),
            "fold": self._distance(maps.fold),
            "pen": self._distance(maps.pen),
            "loose": self._padded(np.rint(255 * maps.loose)),
            "blur": self._padded(np.rint(255 * maps.blur)),
        }
        self._fields: dict[str, Field] = {
            "cos2": np.pad(maps.cos2, self._padding, mode="edge"),
            "sin2": np.pad(maps.sin2, self._padding, mode="edge"),
        }

    def _padded(self, plane: npt.NDArray[np.floating]) -> Plane:
        return np.pad(plane.astype(np.uint8), self._padding, mode="edge")

    def _distance(self, signed_l0: Field) -> Plane:
        """128 at the border, 2 level-0 px a step."""
        return self._padded(np.rint(np.clip(128 + signed_l0 / 2, 0, 255)))

    def _cut(self, row: int, column: int) -> tuple[slice, slice]:
        cells = BLOCK_L0 // MAP_L0
        span = cells + 2 * _PAD_MAP
        return slice(row * cells, row * cells + span), slice(column * cells, column * cells + span)

    def crop(self, name: str, row: int, column: int) -> Plane:
        """One block's canvas of a plane, map px."""
        return self._planes[name][self._cut(row, column)]

    def field(self, name: str, row: int, column: int, out: Size) -> Field:
        """One block's canvas of a direction map, resampled to `out`."""
        cut = np.ascontiguousarray(self._fields[name][self._cut(row, column)])
        return np.asarray(cv2.resize(cut, (out.width, out.height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _packed(table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """(65536,) uint32: a colour table with its three bytes and an empty one in a row."""
    four = np.zeros((65536, 4), np.uint8)
    four[:, :3] = table.reshape(-1, 3)
    return four.view(np.uint32)[:, 0]


def _blend(plane: Plane, haze: Plane) -> Plane:
    """The plane, out of focus where `haze` is 255."""
    return add(times(blurred(plane, 7.0), haze), times(plane, lookup(haze, linear_table(255, 0))))


def _folded(haematoxylin: Plane, eosin: Plane, fold: Plane) -> tuple[Plane, Plane]:
    """Where the section lies double, a second layer, moved aside, adds its stain."""
    if fold.max() < 120:
        return haematoxylin, eosin
    double = lookup(enlarged(fold, _CANVAS), ramp_table(126, 134))
    second_h, second_e = (np.roll(plane, (19, 27), axis=(0, 1)) for plane in (haematoxylin, eosin))
    return (
        add(haematoxylin, times(blurred(second_h, 1.5), double, 0.9)),
        add(eosin, times(blurred(second_e, 1.5), double, 1.1)),
    )
