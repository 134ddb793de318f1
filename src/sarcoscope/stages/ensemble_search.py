"""`ensemble search`: every combination of trained members on validation tiles, with intervals beside the ranking."""

from dataclasses import dataclass
from pathlib import Path

from sarcoscope.core.evaluation import Search


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAsk:
    """What is searched."""

    run: Path
    members: tuple[Path, ...] = ()
    """Folders of trained members; all of RUN/members where it is left out."""
    name: str = "search"
    """Of the files, RUN/ensembles/NAME.json and .csv."""
    rule: str = "mean"
    """mean, weighted, product or vote: `diagnosis.fusion`."""
    mode: str = "shared"
    """shared or concentric: `formats.bundle.Fusion`."""
    metric: str = "tile_balanced_accuracy"
    most: int | None = None
    """Members of a combination at most; None for all."""
    draws: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    fold: str = ""
    anchor: float | None = None
    """As `EnsembleAsk.anchor`."""
    workers: int = 2
    threads: int = 0


def search_ensembles(ask: SearchAsk) -> Search:
    """Rank all combinations on validation tiles and write the ranking."""
    raise NotImplementedError
