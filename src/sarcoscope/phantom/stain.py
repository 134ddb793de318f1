"""Colour of a slide: optical densities of haematoxylin and eosin, scanner curve, glass. Ruifrok & Johnston 2001."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UNIT_OD = 1.5
"""Optical density along a stain's own vector that a plane value of 255 stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One laboratory and its scanner."""

    haematoxylin: tuple[float, float, float]
    """Optical density in red, green, blue; normalised when used."""
    eosin: tuple[float, float, float]
    strength: tuple[float, float]
    """Of haematoxylin and eosin."""
    glass: tuple[float, float, float]
    """Empty slide, 0..255."""
    gamma: float
    sigma_l0: float
    """Softness of the optics, level-0 px."""
    noise: float
    """Deviation of the sensor's noise, grey levels."""
    quality: int
    """JPEG quality."""


BATCHES: dict[int, Batch] = {
    1: Batch(
        haematoxylin=(0.61, 0.71, 0.34),
        eosin=(0.13, 0.85, 0.50),
        strength=(1.0, 1.0),
        glass=(243, 242, 244),
        gamma=1.0,
        sigma_l0=0.55,
        noise=1.3,
        quality=82,
    ),
    2: Batch(
        haematoxylin=(0.69, 0.66, 0.28),
        eosin=(0.06, 0.82, 0.62),
        strength=(0.88, 1.14),
        glass=(245, 244, 240),
        gamma=0.92,
        sigma_l0=0.85,
        noise=1.8,
        quality=74,
    ),
}
"""Batch 1: violet and crisp. Batch 2: blue nuclei on orange-pink, brighter, softer, packed harder."""


def colour_table(batch: Batch, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(256, 256, 3) uint8: colour by haematoxylin and eosin, with this slide's own stain strength and hue."""
    vectors = np.array([batch.haematoxylin, batch.eosin]) + rng.normal(0, 0.018, (2, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strength = np.array(batch.strength) * np.exp(rng.normal(0, 0.07, 2))
    amount = np.arange(256) / 255 * UNIT_OD
    haematoxylin = amount[:, None, None] * strength[0] * vectors[0]
    eosin = amount[None, :, None] * strength[1] * vectors[1]
    light = 10 ** -((haematoxylin + eosin) * float(np.exp(rng.normal(0, 0.04))))
    glass = np.array(batch.glass) + rng.normal(0, 0.8, 3)
    return np.asarray(np.clip(np.rint(glass * light**batch.gamma), 0, 255), dtype=np.uint8)


def sensor_noise(side: int, batch: Batch, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(side, side, 3) uint8 around NOISE_ZERO: add it to a picture, then take NOISE_ZERO off."""
    grey = rng.normal(0, batch.noise, (side, side, 1))
    colour = rng.normal(0, 0.4 * batch.noise, (side, side, 3))
    return np.clip(np.rint(NOISE_ZERO + grey + colour), 0, 2 * NOISE_ZERO).astype(np.uint8)


NOISE_ZERO = 8
"""Value of the noise picture that leaves a pixel as it is."""
