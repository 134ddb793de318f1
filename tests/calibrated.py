"""The colour bundle with what is fitted on validation, written by hand so that every number can be worked out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sarcoscope.diagnosis.calibration import Calibration, Conformal, Distance
from sarcoscope.diagnosis.rules import AncillaryTest
from sarcoscope.formats.bundle import Bundle, BundleManifest, Fusion, hashed, write_bundle
from tests.bundles import CODES, TILE_RGB, color_bundle

FISH = AncillaryTest(between=("DDLPS", "UPS"), test="MDM2/CDK4 FISH", source="WHO 2020")
MITOSES = AncillaryTest(between=("DDLPS", "WDLPS"), test="Mitoses", source="WHO 2020")


def sets(threshold: float | None, level: float = 0.9) -> Conformal:
    """A class is in the set where its mean probability is at least 1 - threshold; always, for None."""
    return Conformal(
        level=level, thresholds=dict.fromkeys(CODES, threshold), slides=dict.fromkeys(CODES, 4), own=("DDLPS",)
    )


def calibrated_bundle(
    folder: Path,
    *,
    calibration: Calibration,
    like: Sequence[int] = (),
    fusion: Fusion | None = None,
    mpp: Sequence[float | None] = (None,),
    distance_of: str = "m0",
) -> Bundle:
    """Write and open a bundle of one member for each of `mpp`.

    Its reference features are the colours of the classes at the places `like`; where there are any, a distance to the
    nearest of them is judged by 19 validation slides at 0.001 to 0.019.
    """
    made = color_bundle(folder, members=len(mpp))
    if like:
        scores = tuple(round(0.001 * one, 3) for one in range(1, 20))
        calibration = replace(calibration, distance=Distance(member=distance_of, neighbours=1, scores=scores))
        np.savez(folder / "reference.npz", features=np.array([TILE_RGB[place] for place in like], np.float32))
    members = [one.model_copy(update={"mpp": scale}) for one, scale in zip(made.manifest.members, mpp, strict=True)]
    manifest = made.manifest.model_copy(
        update={
            "members": tuple(members),
            "fusion": fusion or Fusion(),
            "rules": replace(made.manifest.rules, ancillary=(FISH, MITOSES)),
            "calibration": calibration,
            "reference": hashed(folder, "reference.npz") if like else None,
        }
    )
    return write_bundle(folder, BundleManifest.model_validate(manifest.model_dump()))
