"""Which area of a phantom is what: the answer that a diagnosis of it is measured against."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Box
from sarcoscope.phantom.maps import MAP_L0
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import CLASSES, PhantomSlide


class Region(IntEnum):
    """Value of a truth map; the classes follow the order of CLASSES, from 1."""

    GLASS = 0
    DDLPS = 1
    LMS = 2
    MPNST = 3
    UPS = 4
    WDLPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Regions of one slide at low resolution."""

    labels: npt.NDArray[np.uint8]
    """(rows, columns) of Region values; fat vacuoles count as tissue, the ragged rim is not resolved."""
    downsample: int
    """Level-0 px per px of `labels`."""

    def shares(self, box: Box) -> dict[Region, float]:
        """Share of a box of level-0 px (cut off at the slide's border) that each region takes; sums to 1.

        Empty where the box lies outside the slide.
        """
        step = self.downsample
        part = self.labels[
            max(0, box.top // step) : max(0, -(-box.bottom // step)),
            max(0, box.left // step) : max(0, -(-box.right // step)),
        ]
        if not part.size:
            return {}
        counts = np.bincount(part.ravel(), minlength=len(Region))
        return {region: float(counts[region]) / part.size for region in Region}


def truth_map(source: PhantomSlide | PhantomPainter) -> Truth:
    """Regions of a slide, from its description or from a painter that is already there."""
    painter = source if isinstance(source, PhantomPainter) else PhantomPainter(source)
    spec, maps = painter.spec, painter.maps
    labels = np.zeros(maps.edge.shape, np.uint8)
    labels[maps.tissue] = 1 + CLASSES.index(spec.label)
    if spec.component:
        labels[maps.tissue & (maps.component > 0)] = 1 + CLASSES.index(spec.component)
    return Truth(labels=labels, downsample=MAP_L0)
