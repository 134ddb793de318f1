"""What each class is made of: sizes in um, densities, stain strengths. Drawn after textbook descriptions, not measured.

WHO Classification of Soft Tissue and Bone Tumours, 5th edition 2020, gives the words; the numbers are ours.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Species:
    """One kind of cell."""

    family: str
    """Name of a nuclear shape, a key of `nuclei.SHAPES`."""
    share: float
    """Relative frequency within its recipe."""
    length_um: float
    """Median nuclear length."""
    spread: float
    """Standard deviation of the logarithm of the length."""
    aspect_spread: float = 0.12
    """Standard deviation of the logarithm of width against the shape's own."""
    wobble_rad: float = 0.2
    """Deviation of the nucleus from the fibre direction; pi or more for none at all."""
    body_length: float = 2.6
    """Cell body length as a multiple of the nuclear length."""
    body_width: float = 2.7
    """Cell body width as a multiple of the nuclear width."""
    body: int = 60
    """Eosin strength of the cell body, 0..255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One kind of tissue."""

    species: tuple[Species, ...]
    spacing_um: float
    """Mean distance of cells where the tissue is most cellular."""
    direction: str
    """How fibres run, a key of `maps.DIRECTIONS`."""
    eosin: int
    """Eosin of the stroma, 0..255."""
    contrast: float
    """How strongly fibres stand out, 0..1."""
    haematoxylin: int = 14
    """Haematoxylin of the stroma (basophilia), 0..255."""
    loose_share: float = 0.0
    """Share of the area that is loose or myxoid."""
    loose_grain_um: float = 300.0
    """Width of loose areas."""
    loose_cells: float = 0.25
    """Cells kept in loose areas, 0..1."""
    clefts: float = 0.25
    """How readily fibres part and show glass, 0..1."""
    lymphocytes: float = 0.02
    """Lymphocytes as a share of cells, on average; they come in clusters."""
    vessels_per_mm2: float = 3.0
    """Small blood vessels."""
    kin: str = ""
    """Another class whose cells some areas resemble, so that the classes overlap; '' for none."""
    kin_share: float = 0.0
    """Share of the area that does, on average."""


RECIPES: dict[str, Recipe] = {
    "LMS": Recipe(
        species=(
            Species(
                family="cigar",
                share=0.88,
                length_um=16.5,
                spread=0.14,
                wobble_rad=0.1,
                body_length=2.3,
                body_width=3.0,
                body=45,
            ),
            Species(family="ovoid", share=0.07, length_um=13.0, spread=0.22, wobble_rad=0.3, body=43),
            Species(family="bizarre", share=0.025, length_um=19.0, spread=0.25, wobble_rad=0.6, body=46),
            Species(family="mitosis", share=0.012, length_um=9.0, spread=0.15, wobble_rad=3.2, body=26),
        ),
        spacing_um=10.6,
        direction="fascicles",
        eosin=56,
        contrast=0.62,
        haematoxylin=12,
        clefts=0.3,
        kin="UPS",
        kin_share=0.06,
    ),
    "MPNST": Recipe(
        species=(
            Species(
                family="comma",
                share=0.92,
                length_um=14.5,
                spread=0.17,
                wobble_rad=0.22,
                body_length=2.4,
                body_width=1.9,
                body=19,
            ),
            Species(family="bizarre", share=0.02, length_um=17.0, spread=0.25, wobble_rad=0.5, body=23),
            Species(family="mitosis", share=0.022, length_um=8.5, spread=0.15, wobble_rad=3.2, body=14),
        ),
        spacing_um=8.2,
        direction="wavy",
        eosin=38,
        contrast=0.5,
        haematoxylin=20,
        loose_share=0.45,
        loose_grain_um=330,
        loose_cells=0.13,
        clefts=0.18,
        vessels_per_mm2=5,
        kin="DDLPS",
        kin_share=0.05,
    ),
    "UPS": Recipe(
        species=(
            Species(
                family="ovoid",
                share=0.45,
                length_um=13.5,
                spread=0.32,
                wobble_rad=0.7,
                aspect_spread=0.25,
                body_width=2.8,
                body=33,
            ),
            Species(
                family="angular", share=0.22, length_um=15.0, spread=0.3, wobble_rad=0.8, aspect_spread=0.25, body=31
            ),
            Species(
                family="bizarre",
                share=0.17,
                length_um=20.0,
                spread=0.28,
                wobble_rad=3.2,
                body_length=1.9,
                body_width=2.0,
                body=42,
            ),
            Species(
                family="giant",
                share=0.035,
                length_um=31.0,
                spread=0.2,
                wobble_rad=3.2,
                body_length=1.8,
                body_width=1.9,
                body=46,
            ),
            Species(family="mitosis", share=0.025, length_um=11.0, spread=0.25, wobble_rad=3.2, body=26),
        ),
        spacing_um=11.6,
        direction="storiform",
        eosin=42,
        contrast=0.42,
        haematoxylin=17,
        loose_share=0.2,
        loose_grain_um=260,
        loose_cells=0.5,
        clefts=0.25,
        lymphocytes=0.07,
        vessels_per_mm2=4,
        kin="DDLPS",
        kin_share=0.2,
    ),
    "DDLPS": Recipe(
        species=(
            Species(
                family="spindle", share=0.55, length_um=14.5, spread=0.18, wobble_rad=0.2, body_length=2.2, body=28
            ),
            Species(
                family="ovoid", share=0.33, length_um=12.0, spread=0.22, wobble_rad=0.4, aspect_spread=0.18, body=28
            ),
            Species(family="angular", share=0.06, length_um=14.0, spread=0.25, wobble_rad=0.5, body=29),
            Species(family="bizarre", share=0.03, length_um=18.0, spread=0.25, wobble_rad=3.2, body=31),
            Species(family="mitosis", share=0.015, length_um=9.0, spread=0.2, wobble_rad=3.2, body=20),
        ),
        spacing_um=9.7,
        direction="storiform",
        eosin=44,
        contrast=0.5,
        haematoxylin=15,
        loose_share=0.15,
        loose_grain_um=240,
        loose_cells=0.45,
        clefts=0.25,
        lymphocytes=0.03,
        kin="UPS",
        kin_share=0.12,
    ),
    "WDLPS": Recipe(
        species=(
            Species(
                family="flat",
                share=0.5,
                length_um=10.0,
                spread=0.2,
                wobble_rad=0.1,
                body_length=1.6,
                body_width=1.3,
                body=12,
            ),
            Species(
                family="angular", share=0.3, length_um=14.0, spread=0.3, wobble_rad=0.25, aspect_spread=0.2, body=12
            ),
            Species(family="bizarre", share=0.1, length_um=18.0, spread=0.25, wobble_rad=0.6, body=14),
            Species(family="lymphocyte", share=0.06, length_um=6.5, spread=0.08, wobble_rad=3.2, body=0),
        ),
        spacing_um=20.0,
        direction="wavy",
        eosin=52,
        contrast=0.6,
        haematoxylin=8,
        clefts=0.12,
        vessels_per_mm2=1.5,
    ),
}
"""Tissue by class name."""


def varied(recipe: Recipe, rng: np.random.Generator) -> Recipe:
    """The recipe as one slide shows it: cell sizes, density, stain and the mixture differ between patients."""
    size = float(rng.normal(1, 0.06))
    species = tuple(
        replace(
            one,
            length_um=one.length_um * size,
            share=one.share * float(np.exp(rng.normal(0, 0.15 if index == 0 else 0.4))),
        )
        for index, one in enumerate(recipe.species)
    )
    return replace(
        recipe,
        species=species,
        spacing_um=recipe.spacing_um * float(np.exp(rng.normal(0, 0.06))),
        eosin=round(recipe.eosin * float(rng.uniform(0.85, 1.15))),
        contrast=recipe.contrast * float(rng.uniform(0.85, 1.1)),
        haematoxylin=round(recipe.haematoxylin * float(rng.uniform(0.75, 1.35))),
        loose_share=min(0.65, recipe.loose_share * float(rng.uniform(0.7, 1.3))),
        clefts=recipe.clefts * float(rng.uniform(0.6, 1.3)),
        lymphocytes=recipe.lymphocytes * float(rng.uniform(0.3, 2.0)),
        kin_share=min(0.4, recipe.kin_share * float(rng.exponential(1.0))),
    )
