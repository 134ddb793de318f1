"""Tiles as members are shown them, and the members' class activation maps of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import BundleError, InputError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.data.tile_pixels import at_side, box_of, open_indexed
from sarcoscope.explain.cam import Maps, class_maps, logits_of, mean_maps
from sarcoscope.formats.bundle import Bundle
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.stages.member_views import Networks, place_of
from sarcoscope.stages.patch_predictions import IndexFile
from sarcoscope.tiling.grid import sides_around
from sarcoscope.tiling.reading import box_around

_CLOSE: Final = 0.01
"""Part of a logit by which the maps may miss what the graph says: sums of thousands of float32 in another order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What members were shown of a tile."""

    rgb: Rgb
    """(tile_px, tile_px, 3)."""
    mpp: float | None
    """um/px; None where nothing says."""


Views = Mapping[float | None, View]
"""By the um/px that a member asks for; None is the tile itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """Mean maps of the members that are shown the same."""

    members: tuple[str, ...]
    view: View
    maps: Maps
    """(C, h, w)."""
    logits: npt.NDArray[np.float64]
    """(C,) mean of their logits."""


class Lens:
    """The members of a bundle that are to be explained."""

    def __init__(self, bundle: Bundle, member: str, networks: Networks) -> None:
        """`member` is the name of one; all where it is empty. Raises InputError where there is none of that name."""
        self.networks = networks
        self._bundle = bundle
        every = range(len(bundle.manifest.members))
        self.places = (place_of(bundle, member),) if member else tuple(every)
        self.names = tuple(bundle.manifest.members[place].name for place in self.places)

    @property
    def tiling(self) -> TilingConfig:
        """Of the bundle."""
        return self._bundle.manifest.tiling

    @property
    def scales(self) -> tuple[float, ...]:
        """um/px that are shown beside tiles themselves, the finest first."""
        asked = {self._bundle.manifest.members[place].mpp for place in self.places}
        return tuple(sorted(mpp for mpp in asked if mpp is not None))

    @property
    def shown(self) -> int:
        """How many different things members are shown of a tile."""
        return len({self._bundle.manifest.members[place].mpp for place in self.places})

    def look(self, views: Views) -> tuple[Looked, ...]:
        """The mean maps of those members that are shown the same, the finest scale first.

        Raises BundleError where a member does not fit the tiles, or its linear layer is another graph's.
        """
        alike: dict[float | None, list[int]] = {}
        for place in self.places:
            alike.setdefault(self._bundle.manifest.members[place].mpp, []).append(place)
        looked = [self._mean(places, views[mpp]) for mpp, places in alike.items()]
        return tuple(sorted(looked, key=lambda one: one.view.mpp or 0.0))

    def _mean(self, places: Sequence[int], view: View) -> Looked:
        weights = self._bundle.manifest.fusion.weights
        own = [weights[place] for place in places] if weights else []
        found = [self._maps(place, view.rgb) for place in places]
        shares = np.asarray(own if sum(own) > 0 else [1.0] * len(places))
        logits = np.average([logits for _, logits in found], axis=0, weights=shares)
        maps = mean_maps([one[None] for one, _ in found], shares.tolist())[0]
        names = tuple(self._bundle.manifest.members[place].name for place in places)
        return Looked(members=names, view=view, maps=maps, logits=logits)

    def _maps(self, place: int, rgb: Rgb) -> tuple[Maps, npt.NDArray[np.float64]]:
        """(C, h, w) of one member and its logits (C,)."""
        member = self._bundle.manifest.members[place]
        weight, bias = self._bundle.head(member)
        logits, features = self.networks[place].activations(np.ascontiguousarray(rgb[None]))
        path, advice = self._bundle.folder / member.head.path, "get the bundle again from where it came"
        try:
            maps = class_maps(features, weight)
        except InputError as error:
            raise BundleError(path, f"does not fit its graph ({error.problem})", advice) from error
        if not np.allclose(logits_of(maps, bias), logits, rtol=_CLOSE, atol=_CLOSE):
            raise BundleError(path, "is not the linear layer of its graph: maps do not add up to logits", advice)
        return maps[0], np.asarray(logits[0], np.float64)


@contextmanager
def opened_views(
    file: IndexFile, tiling: TilingConfig, scales: Sequence[float]
) -> Iterator[Callable[[Mapping[str, Any]], Views]]:
    """From a row of an index file to what members are shown of its tile, `scales` beside the tile itself.

    Raises SlideError, both here and when called, and InputError for ready-made tiles and `scales`.
    """
    if not file.of_slide:
        if scales:
            raise InputError("ready-made tiles have no surroundings to read at a further scale", "take mode shared")
        folder = Path(file.record["folder"])
        yield lambda row: {
            None: View(rgb=at_side(read_tile_file(folder / row["file"]), tiling.tile_px), mpp=row["mpp"])
        }
        return
    cut = Size(file.record["inputs"]["cut"]["tile_px"], file.record["inputs"]["cut"]["tile_px"])
    with open_indexed(file.record) as source:
        sides = sides_around(source, require_scale(source), tiling, scales) if scales else {}

        def read(row: Mapping[str, Any]) -> Views:
            box = box_of(row)
            own = View(rgb=at_side(source.read(box, cut), tiling.tile_px), mpp=row["mpp"])
            return {None: own} | surroundings(source, box, tiling, sides)

        yield read


def surroundings(
    source: SlideSource, box: Box, tiling: TilingConfig, sides_l0: Mapping[float, float]
) -> dict[float | None, View]:
    """What further scales show around the centre of a box, given their sides in level-0 px. Raises SlideReadError."""
    size = Size(tiling.tile_px, tiling.tile_px)
    return {mpp: View(rgb=source.read(box_around(box, side), size), mpp=mpp) for mpp, side in sides_l0.items()}
