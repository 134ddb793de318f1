"""`ensemble make`: trained members, fused and calibrated on validation, as a bundle that `diagnose` takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.bundle import Bundle
from sarcoscope.stages.bundle_make import INTENDED_USE, NOT_FOR
from sarcoscope.stages.ensemble_search import SearchAsk, search_ensembles

__all__ = ["EnsembleAsk", "SearchAsk", "make_ensemble", "search_ensembles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleAsk:
    """What an ensemble is made of."""

    run: Path
    """Whose validation tiles and slides it is fitted on."""
    members: tuple[Path, ...]
    """Folders of trained members; one alone is calibrated too."""
    out: Path
    """Folder of the bundle; must not be there yet."""
    name: str = ""
    """The folder's own where it is left out."""
    version: str = "1"
    mode: str = "shared"
    """shared: every member reads the same tile, as published. concentric: each its own scale around its centre."""
    rule: str = "mean"
    """mean, weighted, product or vote: `diagnosis.fusion`."""
    rules: SlideRules = field(default_factory=SlideRules)
    """Of the slide level."""
    class_names: Mapping[str, str] = field(default_factory=dict)
    """Of classes, in words, by code."""
    intended_use: str = INTENDED_USE
    not_for: str = NOT_FOR
    fold: str = ""
    """The repetition of the split that the members were trained in, where there are several."""
    anchor: float | None = None
    """um/px of the tiles around whose centres concentric members read; None: 0.5 where a member was validated at it,
    else the finest scale that one was."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """By name of a member, the um/px that it reads in mode concentric; needed where it was trained at several."""
    level: float = 0.9
    """Share of slides whose conformal set is to hold their class."""
    seed: int = 0
    """Of the choice of training tiles that slides are compared with."""
    workers: int = 2
    threads: int = 0


def make_ensemble(ask: EnsembleAsk) -> Bundle:
    """Fit the ensemble on validation, write the bundle and open it."""
    raise NotImplementedError
