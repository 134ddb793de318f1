from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Mask, Rgb, Size
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import PhantomSlide

SIDE = 3072


@cache
def painter(
    label: str, *, component: float = 0.0, batch: int = 1, artefact: str = "", seed: int = 5, side: int = SIDE
) -> PhantomPainter:
    return PhantomPainter(
        PhantomSlide(
            slide_id="phantom-test",
            label=label,
            component="WDLPS" if component else None,
            component_share=component,
            batch=batch,
            size=Size(side, side),
            seed=seed,
            artefacts=frozenset({artefact} if artefact else ()),
        )
    )


@cache
def _whole(subject: PhantomPainter) -> Rgb:
    return np.concatenate(list(subject.bands()))


def whole(label: str, **options: float | str) -> Rgb:
    """The slide at level 0; painted once a session."""
    return _whole(painter(label, **options))


def ink(rgb: Rgb) -> npt.NDArray[np.float64]:
    """Haematoxylin-like darkness: optical density in red, where eosin hardly absorbs."""
    return np.asarray(-np.log10(np.maximum(rgb[..., 0].astype(float), 1) / 245))


def nuclei(rgb: Rgb, tissue: Mask) -> tuple[float, npt.NDArray[np.int64]]:
    """(nuclei per mm2 of tissue, their areas in level-0 px), counted on the picture."""
    dark = (cv2.GaussianBlur(ink(rgb), (0, 0), 2.0) > 0.28) & tissue
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
    areas = areas[areas > 120]
    return len(areas) / (float(tissue.sum()) * 0.25**2 / 1e6), areas
