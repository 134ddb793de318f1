"""Fibre texture: noise smeared along the fibre direction (line integral convolution, Cabral & Leedom 1993)."""

from typing import Final

import cv2
import numpy as np

from sarcoscope.phantom.planes import Field, Plane

_STEPS_HALF: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Distances, px at half resolution; half of each to either side, 16 px in all, well within the painter's padding."""


def smear(rough: Plane, cos2: Field, sin2: Field, steps: int) -> Plane:
    """`rough` averaged along the direction half the angle of (cos2, sin2); all at half resolution, same shape.

    Each step averages two copies moved apart by twice the distance of the last, symmetric about the place, so that
    it does not matter which way along a fibre is forward.
    """
    length = np.maximum(cv2.magnitude(cos2, sin2), 1e-6)
    cosine = np.asarray(cos2 / length, dtype=np.float32)
    along_x = np.sqrt(np.clip((1 + cosine) / 2, 0, 1))
    along_y = np.copysign(np.sqrt(np.clip((1 - cosine) / 2, 0, 1)), sin2)
    height, width = rough.shape
    x = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))
    y = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width))
    texture = rough
    for distance in _STEPS_HALF[:steps]:
        move_x, move_y = along_x * np.float32(distance / 2), along_y * np.float32(distance / 2)
        ahead = cv2.remap(texture, x + move_x, y + move_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        behind = cv2.remap(texture, x - move_x, y - move_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        gain = 1.27 if distance > 1 else 1.1
        texture = np.asarray(
            cv2.addWeighted(ahead, gain / 2, behind, gain / 2, 128 * (1 - gain)), dtype=np.uint8
        )  # contrast lost by averaging is given back
    return texture
