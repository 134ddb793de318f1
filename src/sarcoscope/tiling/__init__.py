"""Slide to tiles: tissue once per slide, a grid that nests across scales, quality, reading ahead."""
