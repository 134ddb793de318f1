"""`ensemble search`: every combination of trained members on validation tiles, with intervals beside the ranking."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

import sarcoscope
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Search, SubsetResult
from sarcoscope.core.names import NAME
from sarcoscope.diagnosis.fusion import WEIGHTED, Probabilities, fit_weights, fuse
from sarcoscope.formats.atomic import write_text
from sarcoscope.formats.evaluation import write_search
from sarcoscope.formats.evaluation_tables import search_table
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.metrics.subsets import SUBSET_METRICS, rank_subsets
from sarcoscope.stages.ensemble_members import Fusible, fusible, trained_members
from sarcoscope.stages.predictions import PassListener, Silent, patch_table, units_of

ENSEMBLES_FOLDER: Final = "ensembles"
MOST_SUBSETS: Final = 2**14
"""More combinations are refused: nobody reads them, and the best of so many is luck."""


class SearchListener(PassListener, Protocol):
    """Is told how the members' pass over validation slides goes, then how the ranking does."""

    def ranking(self, done: int, total: int) -> None:
        """So many of the combinations are worked out."""
        ...


class SilentSearch(Silent):
    """A listener that says nothing."""

    def ranking(self, done: int, total: int) -> None:
        """Ignore."""


SILENT_SEARCH: Final = SilentSearch()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAsk:
    """What is searched."""

    run: Path
    members: tuple[Path, ...] = ()
    """Folders of trained members; all of RUN/members where it is left out."""
    name: str = "search"
    """Of the files, RUN/ensembles/NAME.json and .csv."""
    rule: str = "mean"
    """mean, weighted, product or vote: `diagnosis.fusion`. Weights are fitted on the tiles that rank, which flatters
    large combinations a little."""
    mode: str = "shared"
    """shared or concentric: `formats.bundle.Fusion`."""
    metric: str = "tile_balanced_accuracy"
    """One of `metrics.subsets.SUBSET_METRICS`."""
    most: int | None = None
    """Members of a combination at most; None for all."""
    draws: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    fold: str = ""
    """The repetition of the split that the members were trained in; may be left out where they tell."""
    anchor: float | None = None
    """As `EnsembleAsk.anchor`."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """As `EnsembleAsk.scales`."""
    workers: int = 2
    threads: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise InputError(f"name {self.name!r} of a search", "give letters, digits, '.', '_' and '-'")
        if self.metric not in SUBSET_METRICS:
            raise InputError(f"unknown metric {self.metric!r} of tiles", f"give one of {', '.join(SUBSET_METRICS)}")
        if self.most is not None and self.most < 1:
            raise InputError(f"combinations of at most {self.most} members", "give at least 1")
        if self.draws < 1:
            raise InputError(f"{self.draws} draws", "give at least 1")


def search_ensembles(ask: SearchAsk, listener: SearchListener = SILENT_SEARCH) -> Search:
    """Rank all combinations on validation tiles and write RUN/ensembles/NAME.json and .csv, which are replaced.

    Tiles of pooled classes, whose slides trained the members too, have no say. Raises InputError where there are too
    many combinations or no validation tile, and where members do not go together; ArtifactError.
    """
    folders = ask.members or trained_members(ask.run, ask.fold)
    places = subsets_of(len(folders), ask.most)
    members = fusible(
        ask.run, folders, mode=ask.mode, rule=ask.rule, fold=ask.fold, anchor=ask.anchor, scales=ask.scales
    )
    lent = members.lent()
    table = patch_table(
        ask.run,
        lent,
        (Part.VALIDATION,),
        fold=members.fold,
        workers=ask.workers,
        threads=ask.threads,
        listener=listener,
    )
    counted = ~table.tiles["pooled"].to_numpy()
    tiles, probabilities = table.tiles.filter(counted), table.probabilities[:, counted]
    if tiles.is_empty():
        scale = f"{members.tiling.mpp:g} um/px"
        raise InputError(f"no validation tile at {scale} to rank on", "look at split.csv, and at what was dropped")
    labels = np.array([lent.codes.index(code) for code in tiles["label"]], np.intp)
    ranked = rank_subsets(
        [tuple(members.names[place] for place in subset) for subset in places],
        _fusing(ask.rule, probabilities, labels, places, listener),
        labels,
        units_of(tiles),
        lent.codes,
        metric=ask.metric,
        draws=ask.draws,
        rng=np.random.default_rng(ask.seed),
    )
    found = Search(
        name=ask.name,
        metric=ask.metric,
        rule=ask.rule,
        mode=ask.mode,
        part=Part.VALIDATION,
        tiles=tiles.height,
        slides=tiles["slide"].n_unique(),
        patients=tiles["patient"].drop_nulls().n_unique() or None,
        draws=ask.draws,
        seed=ask.seed,
        synthetic=members.synthetic,
        ranked=ranked,
        level_with_best=sum(one.is_level for one in ranked),
        provenance=_provenance(ask, members, sorted(table.failures)),
    )
    home = ask.run / ENSEMBLES_FOLDER
    write_text(home / f"{ask.name}.csv", search_table(found))
    write_search(home / f"{ask.name}.json", found)
    return found


def _provenance(ask: SearchAsk, members: Fusible, left_out: list[str]) -> dict[str, Any]:
    """What was ranked, as JSON values; slides by their ids."""
    return {
        "command": "sarcoscope ensemble search",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": sarcoscope.__version__,
        "fold": members.fold,
        "split_sha256": sha256_file(ask.run / SPLIT_FILE),
        "tile_mpp": members.tiling.mpp,
        "members": {
            record.name: {"graph_sha256": record.files.model.sha256, "reads_mpp": scale or members.tiling.mpp}
            for record, scale in zip(members.records, members.scales, strict=True)
        },
        "left_out": left_out,
    }


def subsets_of(members: int, most: int | None = None) -> list[tuple[int, ...]]:
    """All combinations of 1 to `most` places, the small ones first. InputError where there are more than 2^14."""
    largest = members if most is None else min(most, members)
    count = 0
    for size in range(1, largest + 1):
        count += math.comb(members, size)
        if count > MOST_SUBSETS:
            advice = f"give --most {size - 1}, or fewer members" if size > 1 else "give fewer members"
            raise InputError(f"more than {MOST_SUBSETS:,} combinations of {members:,} members", advice)
    return [subset for size in range(1, largest + 1) for subset in combinations(range(members), size)]


def _fusing(
    rule: str,
    probabilities: Probabilities,
    labels: npt.NDArray[np.intp],
    places: Sequence[tuple[int, ...]],
    listener: SearchListener,
) -> Callable[[int], Probabilities]:
    def fused(number: int) -> Probabilities:
        mine = probabilities[list(places[number])]
        listener.ranking(number + 1, len(places))
        return fuse(mine, rule, fit_weights(mine, labels) if rule == WEIGHTED else ())

    return fused


def smallest_level(ranked: Sequence[SubsetResult]) -> SubsetResult:
    """Of the combinations that cannot be told from the best, the smallest; of equally small ones the better."""
    return min((one for one in ranked if one.is_level), key=lambda one: len(one.members))
