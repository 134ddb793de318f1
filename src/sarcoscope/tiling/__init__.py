"""Slide to tiles: tissue once per slide, a grid that nests across scales, quality, nuclei, reading ahead."""

from sarcoscope.tiling.nuclei import nuclear_density

__all__ = ["nuclear_density"]
