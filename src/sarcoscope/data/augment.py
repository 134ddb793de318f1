"""How training tiles are varied (paper, section 1.2): transforms of torchvision and of ours, one after the other."""

from dataclasses import replace
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import v2

from sarcoscope.core.training import AugmentConfig
from sarcoscope.data.transforms import Jpeg, Occlusion, PlanarColorJitter, StainJitter, Symmetry, TurnAndCrop

_MOST: Final = 0.9
"""No range is wider, however strong."""
_BLUR_PX: Final = (0.3, 1.0)
"""Sigma of the blur: about what a focus is off by within one depth of field."""
_QUALITY: Final = (50, 95)
"""Of JPEG, the worst and the best."""
_COVERED: Final = (0.02, 0.15)
"""Share of the tile under the rectangle."""
_LONG: Final = (0.3, 3.3)
"""Height of the rectangle over its width."""


class _Part(NamedTuple):
    name: str
    """The field of AugmentConfig."""
    transform: v2.Transform
    """What it does whenever it does something."""
    chance: float


def augmentation(config: AugmentConfig, side_px: int) -> v2.Transform:
    """All variations of a tile, (3, side_px, side_px) uint8 in and out.

    Rotation and crop are one interpolation, and only the crop changes the scale: um/px is part of what classes are told
    apart by. Draws from torch's own random numbers.
    """
    strong = _at_strength(config)
    warp = TurnAndCrop(side_px, turn=strong.free_rotation, crop=strong.crop)
    geometry = [
        _Part("flips", Symmetry(), float(strong.flips)),
        _Part("warp", warp, float(bool(strong.free_rotation or strong.crop))),
    ]
    steps = [
        part.transform if part.chance == 1 else v2.RandomApply([part.transform], part.chance)
        for part in [*geometry, *_looks(strong)]
        if part.chance
    ]
    return v2.Compose(steps or [v2.Identity()])


def parts(config: AugmentConfig, side_px: int) -> list[tuple[str, v2.Transform]]:
    """Each variation that is on, by itself and certain to happen, under its name in the config."""
    strong = _at_strength(config)
    geometry = [
        _Part("flips", Symmetry(), float(strong.flips)),
        _Part("free_rotation", TurnAndCrop(side_px, turn=1, crop=0), strong.free_rotation),
        _Part("crop", TurnAndCrop(side_px, turn=0, crop=strong.crop), float(bool(strong.crop))),
    ]
    return [(part.name, part.transform) for part in [*geometry, *_looks(strong)] if part.chance]


def vary(tile: Tensor, transform: v2.Transform, seed: int) -> Tensor:
    """A tile (3, h, w) uint8 varied as `seed` (0 to 2**63) says and as nothing else does; may be a view of the tile.

    torch's random numbers go on afterwards as if nothing had been drawn.
    """
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # of the CPU; torch.manual_seed would seed GPUs too
        varied: Tensor = transform(tile)
    return varied


def _at_strength(config: AugmentConfig) -> AugmentConfig:
    """The same at strength 1: chances and ranges multiplied."""
    by = config.strength
    return replace(
        config,
        strength=1.0,
        flips=config.flips and by > 0,
        **{name: min(1.0, by * getattr(config, name)) for name in ("free_rotation", "occlusion", "blur", "jpeg")},
        **{name: min(_MOST, by * getattr(config, name)) for name in ("crop", "colour", "stain")},
    )


def _looks(strong: AugmentConfig) -> list[_Part]:
    """What changes colours and covers px, in the order in which it happens to tissue: stain, lamp, lens, file."""
    light = (1 - strong.colour, 1 + strong.colour)
    return [
        _Part("stain", StainJitter(strong.stain), float(bool(strong.stain))),
        _Part("colour", PlanarColorJitter(light, light, light), float(bool(strong.colour))),
        _Part("blur", v2.GaussianBlur(5, _BLUR_PX), strong.blur),
        _Part("jpeg", Jpeg(*_QUALITY), strong.jpeg),
        _Part("occlusion", Occlusion(1.0, _COVERED, _LONG), strong.occlusion),
    ]
