"""Whole-slide images in, a tumour-subtype diagnosis with its evidence out. Research use only."""

__version__ = "0.1.0"
