"""Puts cells and vacuoles on a canvas. Ink is combined by the larger value, so the order does not matter."""

import math
from functools import cache

import cv2
import numpy as np

from sarcoscope.core.geometry import Box, Size
from sarcoscope.phantom.cells import Cells
from sarcoscope.phantom.fat import Vacuoles
from sarcoscope.phantom.nuclei import Sprite
from sarcoscope.phantom.planes import Plane, enlarged

_BODY_SIDE = 32


@cache
def _body(strength: int) -> Plane:
    """A soft oval that fills its square."""
    line = np.linspace(-1, 1, _BODY_SIDE)
    far = np.sqrt(line[:, None] ** 2 + line[None, :] ** 2)
    level = np.clip((1 - far) / 0.7, 0, 1)
    return np.rint(strength * level * level * (3 - 2 * level)).astype(np.uint8)


def _stamp(target: Plane, ink: Plane, pose: tuple[float, float, float, float, float]) -> None:
    """Lay `ink` on `target`; pose: x, y of its centre in px of `target`, its turn, its stretch along and across."""
    x, y, turn, stretch_x, stretch_y = pose
    side = ink.shape[0]
    cosine, sine = math.cos(turn), math.sin(turn)
    half_w = 0.5 * side * (abs(cosine) * stretch_x + abs(sine) * stretch_y) + 1
    half_h = 0.5 * side * (abs(sine) * stretch_x + abs(cosine) * stretch_y) + 1
    left, top = max(0, int(x - half_w)), max(0, int(y - half_h))
    right, bottom = min(target.shape[1], int(x + half_w) + 1), min(target.shape[0], int(y + half_h) + 1)
    if right <= left or bottom <= top:
        return
    a, b, c, d = cosine * stretch_x, -sine * stretch_y, sine * stretch_x, cosine * stretch_y
    centre = (side - 1) / 2
    move = np.array([[a, b, x - left - (a + b) * centre], [c, d, y - top - (c + d) * centre]])
    turned = cv2.warpAffine(ink, move, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    place = target[top:bottom, left:right]
    np.maximum(place, turned, out=place)


def stamp_bodies(size: Size, canvas: Box, cells: Cells) -> Plane:
    """Eosin of the cell bodies; they are soft, so they are drawn at half the resolution."""
    out = np.zeros((size.height // 2, size.width // 2), np.uint8)
    x, y = (cells.x_l0 - canvas.left) / 2, (cells.y_l0 - canvas.top) / 2
    stretch = cells.body_length_l0 / (2 * _BODY_SIDE), cells.body_width_l0 / (2 * _BODY_SIDE)
    poses = zip(*(column.tolist() for column in (x, y, cells.angle, *stretch)), strict=True)
    for strength, pose in zip(cells.body.tolist(), poses, strict=True):
        if strength:
            _stamp(out, _body(strength), pose)
    return enlarged(out, size)


def stamp_nuclei(size: Size, canvas: Box, cells: Cells, sprites: list[Sprite]) -> Plane:
    """Haematoxylin of the nuclei."""
    out = np.zeros((size.height, size.width), np.uint8)
    x, y = cells.x_l0 - canvas.left, cells.y_l0 - canvas.top
    columns = (x, y, cells.angle, cells.stretch_x, cells.stretch_y)
    poses = zip(*(column.tolist() for column in columns), strict=True)
    for sprite, pose in zip(cells.sprite.tolist(), poses, strict=True):
        _stamp(out, sprites[sprite].ink, pose)
    return out


def stamp_vacuoles(size: Size, canvas: Box, fat: Vacuoles) -> Plane:
    """255 inside fat vacuoles, soft at their rims."""
    out = np.zeros((size.height, size.width), np.uint8)
    near = (np.abs(fat.x_l0 - canvas.left - size.width / 2) < size.width / 2 + fat.reach_l0) & (
        np.abs(fat.y_l0 - canvas.top - size.height / 2) < size.height / 2 + fat.reach_l0
    )
    outlines = fat.outline_l0[near] - (canvas.left, canvas.top)
    for outline in np.rint(outlines * 16).astype(np.int32):
        cv2.fillPoly(out, [outline], 255, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 1.0), dtype=np.uint8)
