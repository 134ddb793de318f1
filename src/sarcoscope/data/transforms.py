"""Variations of one tile that torchvision does not have, or has slower: (3, h, w) uint8 to the same.

They are transforms (v2) that draw from torch's own random numbers. Px travel as a view of OpenCV's (h, w, 3), so that
nothing is copied between the two.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import v2
from typing_extensions import override

from sarcoscope.core.geometry import Rgb
from sarcoscope.tiling.nuclei import STAINS

_FLIPS: Final = (None, 0, 1, -1)
"""OpenCV's codes: not at all, top to bottom, left to right, both."""
_DENSITY: Final = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)[None]
"""(1, 256) optical density of each level against 255, natural logarithm: OpenCV's exponential is the natural one."""


def as_tensor(rgb: Rgb) -> Tensor:
    """(h, w, 3) as (3, h, w) uint8, of the same memory."""
    return torch.from_numpy(rgb).permute(2, 0, 1)


def as_rgb(tile: Tensor) -> Rgb:
    """(3, h, w) uint8 as (h, w, 3), of the same memory where it lies so."""
    return np.ascontiguousarray(tile.permute(1, 2, 0).numpy())


class PxTransform(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """A transform written on px (h, w, 3)."""

    @override
    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return as_tensor(self.changed(as_rgb(inpt), params))

    @abstractmethod
    def changed(self, rgb: Rgb, params: Mapping[str, Any]) -> Rgb:
        """The px as `params`, which `make_params` drew, say; (h, w, 3) uint8 in and out."""


class Symmetry(PxTransform):
    """One of the eight symmetries of a square, each as likely as the others."""

    @override
    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"which": int(torch.randint(8, ()))}

    @override
    def changed(self, rgb: Rgb, params: Mapping[str, Any]) -> Rgb:
        turned = cv2.transpose(rgb) if params["which"] & 4 else rgb
        flip = _FLIPS[params["which"] & 3]
        return np.asarray(turned if flip is None else cv2.flip(turned, flip), np.uint8)


class TurnAndCrop(PxTransform):
    """A turn by any angle and a crop anywhere, drawn in one go; beyond the edges the tile is mirrored.

    The scale stays but for what a crop is enlarged by.
    """

    def __init__(self, side_px: int, *, turn: float, crop: float) -> None:
        """Of tiles of `side_px`: the chance of a turn, and the share of the side that is cropped off at most."""
        super().__init__()
        self.side_px, self.turn, self.crop = side_px, turn, crop

    @override
    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        turned, angle, cropped, across, down = torch.rand(5, dtype=torch.float64).tolist()
        share = self.crop * cropped
        return {
            "degrees": 360 * angle if turned < self.turn else 0.0,
            "share": share,
            "across_px": self.side_px * share * (across - 0.5),
            "down_px": self.side_px * share * (down - 0.5),
        }

    @override
    def changed(self, rgb: Rgb, params: Mapping[str, Any]) -> Rgb:
        """By `degrees` counter-clockwise; of a crop of 1 - `share` of the side, its middle so far from the tile's."""
        zoom, angle = 1 - params["share"], np.deg2rad(params["degrees"])
        if zoom == 1 and angle == 0:
            return rgb
        matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.full(2, (self.side_px - 1) / 2)
        move = middle + np.array([params["across_px"], params["down_px"]]) - matrix @ middle
        warped = cv2.warpAffine(  # where each px comes from, not where it goes
            rgb,
            np.column_stack([matrix, move]),
            (self.side_px, self.side_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(warped, np.uint8)


class StainJitter(PxTransform):
    """More or less haematoxylin, and by itself more or less eosin."""

    def __init__(self, spread: float) -> None:
        """Each is multiplied by 1 more or less `spread` at most, 0 to below 1."""
        super().__init__()
        self.spread = spread

    @override
    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        haematoxylin, eosin = (1 + self.spread * (2 * torch.rand(2, dtype=torch.float64) - 1)).tolist()
        return {"haematoxylin": haematoxylin, "eosin": eosin}

    @override
    def changed(self, rgb: Rgb, params: Mapping[str, Any]) -> Rgb:
        return scale_stains(rgb, params["haematoxylin"], params["eosin"])


class PlanarColorJitter(v2.ColorJitter):  # type: ignore[misc]  # torchvision has no types
    """torchvision's, which takes twice as long where the three values of a px lie side by side."""

    @override
    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Any:
        return super().transform(inpt.contiguous(), params)


class Jpeg(PxTransform):
    """Compressed and unpacked again; torchvision's own is about to be removed from it."""

    def __init__(self, worst: int, best: int) -> None:
        """Of any quality in between, both included, 1 to 100."""
        super().__init__()
        self.worst, self.best = worst, best

    @override
    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"quality": int(torch.randint(self.worst, self.best + 1, ()))}

    @override
    def changed(self, rgb: Rgb, params: Mapping[str, Any]) -> Rgb:
        quality = [cv2.IMWRITE_JPEG_QUALITY, params["quality"]]
        _, packed = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
        unpacked = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(cv2.cvtColor(unpacked, cv2.COLOR_BGR2RGB), np.uint8)


class Occlusion(v2.RandomErasing):  # type: ignore[misc]  # torchvision has no types
    """A rectangle covered in the tile's mean colour: a black one would be the darkest nucleus of all."""

    @override
    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Any:
        mean = inpt.mean(dim=(1, 2), keepdim=True, dtype=torch.float32).round().to(torch.uint8)
        return super().transform(inpt, params | {"v": params["v"] if params["v"] is None else mean})


def scale_stains(rgb: Rgb, haematoxylin: float, eosin: float) -> Rgb:
    """Tissue (h, w, 3) uint8 with so many times its haematoxylin and its eosin; what they do not explain stays.

    Optical density is split by the vectors of Ruifrok & Johnston 2001; white stays white.
    """
    light = cv2.transform(cv2.LUT(rgb, _DENSITY), -_exchange(haematoxylin, eosin))
    np.minimum(light, 0, out=light)  # no px brighter than white
    cv2.exp(light, dst=light)  # in place: new room takes longer than the arithmetic
    return np.asarray(cv2.addWeighted(light, 256, light, 0, -1, dtype=cv2.CV_8U), np.uint8)


def _exchange(haematoxylin: float, eosin: float) -> npt.NDArray[np.float64]:
    """(3, 3) matrix by which the densities of a px, a column, become those with other amounts of stain."""
    stains = np.array(STAINS)
    return np.asarray((np.linalg.inv(stains) @ np.diag([haematoxylin, eosin, 1.0]) @ stains).T)
