"""Evening slides out: brightness and contrast as in the paper (section 1.2.2), Reinhard 2001, Macenko 2009.

All is measured per slide, on a sample of its tiles, and never per tile: a tile of few nuclei is pale because it has
few nuclei, and evened out by itself it would be given the look of one with many.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.appearance import METHODS, Appearance
from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb
from sarcoscope.tiling.quality import GLASS

Floats = npt.NDArray[np.float32]

_LEAST_PX: Final = 2_000
"""Fewer stained px say nothing of a slide."""
_MOST_PX: Final = 250_000
"""More px than about this are not looked at."""
_STAINED: Final = 0.15
"""Least optical density, in the channel where it is largest, of px that stains are estimated from (Macenko's beta)."""
_ROBUST: Final = 1.0
"""Percentile, from below and above, of the angles that are taken for the pure stains."""
_ONE_STAIN: Final = 8.0
"""Degrees between the two stains under which there is only one."""
_TEXTBOOK: Final = np.array([(0.65, 0.70, 0.29), (0.07, 0.99, 0.11)])
"""Hematoxylin and eosin where a slide lacks one of them; Ruifrok & Johnston 2001."""
_GLASS_FROM, _GLASS_TO = -10.0, 15.0
"""Beside the slide's glass level: darkest channel from which a px is changed less and less, and stays as it is."""
_CONES: Final = np.array([(0.3811, 0.5783, 0.0402), (0.1967, 0.7244, 0.0782), (0.0241, 0.1288, 0.8444)])
_OPPONENTS: Final = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([(1, 1, 1), (1, 1, -2), (1, -1, 0)])
_STEP: Final = 4
"""Levels of a channel that share an entry of the table."""


def measure_appearance(tiles: Sequence[Rgb], glass: int = GLASS) -> Appearance | None:
    """What a slide looks like over the stained px of some of its tiles (h, w, 3); None where it has too few.

    The order of the tiles does not matter. A slide with one stain only is given the other one's textbook colour.
    """
    every = max(1, int(np.ceil(np.sqrt(sum(tile.shape[0] * tile.shape[1] for tile in tiles) / _MOST_PX))))
    thinned = [tile[::every, ::every].reshape(-1, 3) for tile in tiles]
    px = np.concatenate(thinned) if thinned else np.empty((0, 3), np.uint8)
    px = np.sort(_packed(px[px.min(axis=1) <= glass]))
    if len(px) < _LEAST_PX:
        return None
    rgb = np.stack([px >> 16, px >> 8 & 255, px & 255], axis=1).astype(np.uint8)
    lightness = _lab(rgb)[:, 0].astype(np.float64)
    opponent = _ruderman(rgb).astype(np.float64)
    stains = _stains(_density(rgb).astype(np.float64))
    if stains is None or not lightness.std() > 0 or not (opponent.std(axis=0) > 0).all():
        return None
    vectors, saturation = stains
    return Appearance(
        brightness=float(lightness.mean()),
        contrast=float(lightness.std()),
        lab_mean=_three(opponent.mean(axis=0)),
        lab_std=_three(opponent.std(axis=0)),
        stains=(_three(vectors[0]), _three(vectors[1])),
        saturation=saturation,
    )


def choose_target(appearances: Sequence[Appearance]) -> Appearance:
    """The robust middle of slides: the median of each number, stain vectors brought back to unit length.

    Give it training slides only, or the test slides have a say in what the model learns. InputError for none.
    """
    if not appearances:
        raise InputError("no slide to choose a target from", "give the appearance of at least one training slide")
    middle = {
        name: np.median([np.asarray(asdict(one)[name]) for one in appearances], axis=0)
        for name in asdict(appearances[0])
    }
    stains = middle["stains"] / np.linalg.norm(middle["stains"], axis=1, keepdims=True)
    return Appearance(
        brightness=float(middle["brightness"]),
        contrast=float(middle["contrast"]),
        lab_mean=_three(middle["lab_mean"]),
        lab_std=_three(middle["lab_std"]),
        stains=(_three(stains[0]), _three(stains[1])),
        saturation=(float(middle["saturation"][0]), float(middle["saturation"][1])),
    )


@dataclass(frozen=True)
class Normaliser:
    """Brings tiles of one slide to a target; build it once per slide."""

    method: str
    """One of METHODS."""
    source: Appearance
    """The slide's own."""
    target: Appearance
    glass: int = GLASS
    """A px whose darkest channel is brighter is glass (`TissueMap.glass`), 0..255."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"unknown way of evening out {self.method!r}", f"give one of {', '.join(METHODS)}")

    def __call__(self, rgb: Rgb) -> Rgb:
        """A tile (h, w, 3) uint8 evened out; glass stays as it is. By table, on average within a level of `exactly`."""
        red, green, blue = (np.asarray(channel, np.uint32) for channel in cv2.split(np.right_shift(rgb, 2)))
        coarse = self._table.take((red << 12) | (green << 6) | blue).view(np.uint8).reshape(*rgb.shape[:2], 4)
        near = cv2.cvtColor(coarse, cv2.COLOR_RGBA2RGB)
        return np.asarray(cv2.add(near, np.bitwise_and(rgb, _STEP - 1)), np.uint8)

    def exactly(self, rgb: Rgb) -> Rgb:
        """The same px by px, as the method is written down: the table's slow twin."""
        return np.clip(np.rint(self._mapped(rgb.reshape(-1, 3))), 0, 255).astype(np.uint8).reshape(rgb.shape)

    @cached_property
    def _table(self) -> npt.NDArray[np.uint32]:
        """(64**3,) colours of the middles of 4 x 4 x 4 levels, less their place in them, as R G B and an empty byte."""
        middles = np.arange(0, 256, _STEP) + (_STEP - 1) / 2
        grid = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1).reshape(-1, 3)
        packed = np.zeros((len(grid), 4), np.uint8)
        packed[:, :3] = np.clip(np.rint(self._mapped(grid) - (_STEP - 1) / 2), 0, 255)
        return packed.view(np.uint32)[:, 0]

    def _mapped(self, px: npt.NDArray[np.uint8] | npt.NDArray[np.float64]) -> Floats:
        """(N, 3) px evened out, not rounded, glass left alone."""
        levels = px.astype(np.float32)
        ways = {"even": self._even, "reinhard": self._reinhard, "macenko": self._macenko}
        above = levels.min(axis=1, keepdims=True) - self.glass
        glass = np.clip((above - _GLASS_FROM) / (_GLASS_TO - _GLASS_FROM), 0, 1)
        return np.asarray(glass * levels + (1 - glass) * ways[self.method](levels), np.float32)

    def _even(self, levels: Floats) -> Floats:
        """L* moved and stretched; hue and chroma stay."""
        lab = _lab(levels)
        gain = self.target.contrast / self.source.contrast
        lab[:, 0] = np.clip(self.target.brightness + gain * (lab[:, 0] - self.source.brightness), 0, 100)
        return np.asarray(cv2.cvtColor(lab[None], cv2.COLOR_LAB2RGB), np.float32).reshape(-1, 3) * 255

    def _reinhard(self, levels: Floats) -> Floats:
        """Mean and spread of l, alpha, beta moved to the target's."""
        gain = np.array(self.target.lab_std) / np.array(self.source.lab_std)
        moved = (_ruderman(levels) - _row(self.source.lab_mean)) * _row(gain) + _row(self.target.lab_mean)
        cones = _power(_times(np.linalg.inv(_OPPONENTS), moved))
        return _times(np.linalg.inv(_CONES), cones) * 256 - 1

    def _macenko(self, levels: Floats) -> Floats:
        """The slide's stains exchanged for the target's; what they do not explain stays."""
        own, wanted = np.array(self.source.stains), np.array(self.target.stains)
        gain = np.array(self.target.saturation) / np.array(self.source.saturation)
        amounts = np.linalg.pinv(own)
        exchange = np.eye(3) - amounts @ own + amounts @ np.diag(gain) @ wanted
        return _power(-_times(exchange.T, _density(levels))) * 256 - 1


def _row(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, np.float32)


def _times(matrix: npt.NDArray[np.float64], px: Floats) -> Floats:
    """(N, 3) of matrix @ px, each px a column."""
    return np.asarray(cv2.transform(px[None], matrix), np.float32).reshape(-1, 3)


def _power(values: Floats) -> Floats:
    """10 to the power of each value, none beyond what any channel can hold: slides of hardly any spread stay finite."""
    return np.asarray(np.exp(np.clip(values, -9, 9) * np.float32(np.log(10))), np.float32)


def _three(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _packed(px: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    red, green, blue = (px[:, channel].astype(np.uint32) for channel in range(3))
    return np.asarray((red << 16) | (green << 8) | blue, np.uint32)


def _lab(px: npt.NDArray[np.uint8] | Floats) -> Floats:
    """(N, 3) CIELAB (D65) of sRGB px of 0..255."""
    scaled = (px.astype(np.float32) / np.float32(255))[None]
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB), np.float32).reshape(-1, 3)


def _ruderman(px: npt.NDArray[np.uint8] | Floats) -> Floats:
    """(N, 3) l, alpha, beta of the levels as stored."""
    cones = _times(_CONES, np.asarray((px.astype(np.float32) + 1) / 256, np.float32))
    return _times(_OPPONENTS, np.asarray(np.log10(cones), np.float32))


def _density(px: npt.NDArray[np.uint8] | Floats) -> Floats:
    """(N, 3) optical density against 255."""
    return np.asarray(-np.log10((px.astype(np.float32) + 1) / 256), np.float32)


def _stains(density: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], tuple[float, float]] | None:
    """(2, 3) unit vectors of hematoxylin and eosin, and the 99th percentile of their amounts; None without stain."""
    strong = density[density.max(axis=1) >= _STAINED]
    if len(strong) < _LEAST_PX / 2:
        return None
    _, axes = np.linalg.eigh(strong.T @ strong)
    plane = axes[:, [2, 1]]  # most of the density first
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    flat = strong @ plane
    angles = np.percentile(np.arctan2(flat[:, 1], flat[:, 0]), (_ROBUST, 100 - _ROBUST))
    pair = np.clip(np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T, 0, None)
    pair /= np.linalg.norm(pair, axis=1, keepdims=True)
    pair = pair[np.argsort(-pair[:, 0])]  # hematoxylin takes more red away
    if np.degrees(np.arccos(np.clip(pair[0] @ pair[1], -1, 1))) < _ONE_STAIN:
        return _with_textbook(strong)
    amounts = np.percentile(strong @ np.linalg.pinv(pair), 99, axis=0)
    return (pair, (float(amounts[0]), float(amounts[1]))) if (amounts > 0).all() else None


def _with_textbook(strong: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """The one stain there is beside the other as the textbook has it, both of one strength."""
    only = strong.mean(axis=0)
    strength = float(np.percentile(strong @ only / np.linalg.norm(only), 99))
    pair = _TEXTBOOK / np.linalg.norm(_TEXTBOOK, axis=1, keepdims=True)
    pair[int(np.argmax(pair @ only))] = only / np.linalg.norm(only)
    return pair, (strength, strength)
