"""Rows of a run's tile index through members: what is stored, or what training left, is used; the rest is predicted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from sarcoscope import __version__
from sarcoscope.core.errors import ArtifactError, InputError, SlideError
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.data.tile_pixels import at_side, box_of, open_indexed
from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import Probabilities, softmax
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.member import PREDICTIONS_FILE, read_member, read_predictions
from sarcoscope.formats.predictions import (
    PREDICTIONS_FOLDER,
    features_of,
    features_table,
    probabilities_of,
    read_stored,
    with_probabilities,
    write_stored,
)
from sarcoscope.formats.tile_index import read_index, read_record
from sarcoscope.inference.onnx import OnnxNetwork
from sarcoscope.slides.scale import require_scale
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.stages.jobs import safe_id
from sarcoscope.stages.member_views import MemberView, Networks, said_of, scales_of, views_of
from sarcoscope.tiling.grid import sides_around
from sarcoscope.tiling.reading import ahead, box_around

BATCH: Final = 8
"""Tiles per pass through a network, as in a diagnosis."""
_PIECE: Final = 2000
"""Tiles after which what was predicted is written down; a slide has fewer."""
_SAME_SCALE: Final = 1e-6
PLACE: Final = ("slide", "tile", "left_l0", "top_l0", "width_l0", "height_l0")
"""What a tile is known by: one that was cut elsewhere since is another."""

Place = tuple[Any, ...]
Views = dict[float | None, Rgb]
"""Px by um/px that a member is shown, the tile itself under None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One file of RUN/tiles."""

    path: Path
    record: Mapping[str, Any]

    @property
    def of_slide(self) -> bool:
        """Whether its tiles are read from a slide; ready-made ones are not."""
        return bool(self.record["kind"] == "slide")

    def inputs(self) -> dict[str, Any]:
        """What its tiles' px depend on, as JSON values."""
        if not self.of_slide:
            return {"version": __version__, "index_sha256": sha256_file(self.path)}
        own = self.record["inputs"]
        return {
            "version": __version__,
            "files": own["files"],
            "scale": own["scale"],
            "tile_px": own["cut"]["tile_px"],
        }


def index_files(run: Path) -> list[IndexFile]:
    """Those of a run folder, by name, perhaps none. Raises ArtifactError."""
    return [IndexFile(path=path, record=read_record(path)) for path in sorted((run / "tiles").glob("*.parquet"))]


@dataclass(slots=True, kw_only=True)
class RowPass:
    """Rows of one run's index through the members of one bundle."""

    run: Path
    bundle: Bundle
    networks: Networks
    workers: int
    planned: Callable[[int], None]
    """Told how many tiles of a file will be read."""
    done: Callable[[int], None]
    """Told of tiles that are finished."""
    left: dict[str, dict[tuple[str, str], Probabilities]] = field(default_factory=dict)
    """By member, what its training left; read once."""

    @property
    def tiling(self) -> TilingConfig:
        """Of the bundle."""
        return self.bundle.manifest.tiling

    def probabilities(self, file: IndexFile, rows: pl.DataFrame) -> tuple[Probabilities, dict[str, str], bool]:
        """(M, N, C) of rows of one index file; by slide why it has none; whether nothing had to be predicted.

        Rows of slides that have none are NaN. Raises InputError, ArtifactError and BundleError; SlideError where the
        file's slide cannot be read.
        """
        views, places = views_of(self.bundle), list(rows.select(PLACE).iter_rows())
        known = [self._known(file, view) for view in views]
        lacking = [at for at, mine in enumerate(known) if any(place not in mine for place in places)]
        failures: dict[str, str] = {}
        if lacking:
            missing = [any(place not in known[at] for at in lacking) for place in places]
            failures = self._predict(file, rows.filter(pl.Series(missing, dtype=pl.Boolean)), lacking, known)
        nothing = np.full(len(self.bundle.codes), np.nan)
        found = [[mine.get(place, nothing) for place in places] for mine in known]
        shape = (len(views), len(rows), len(self.bundle.codes))
        return np.array(found, np.float64).reshape(shape), failures, not lacking

    def features(self, file: IndexFile, rows: pl.DataFrame, member: int, name: str) -> tuple[Features, bool]:
        """(N, F) float32 of rows of one index file, and whether they were stored under this name; errors as above.

        Of ready-made tiles one that cannot be read is a SlideError, too.
        """
        view = views_of(self.bundle)[member]
        path = self.run / PREDICTIONS_FOLDER / "features" / view.key(self.tiling) / f"{safe_id(name)}.parquet"
        inputs = self._inputs(file, view) | {"rows": as_json(list(rows.select(PLACE).iter_rows()))}
        if (stored := read_stored(path, inputs)) is not None:
            return features_of(stored), True
        parts: list[Features] = []
        self.planned(len(rows))
        with self._reader(file, [view]) as read:
            for some in _batches(ahead(read, rows.iter_rows(named=True), self.workers)):
                stacked = np.stack([views[view.mpp] for views in some])
                parts.append(self.networks[member].activations(stacked).features.mean(axis=(2, 3)))
                self.done(len(some))
        found = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
        write_stored(path, features_table(found), inputs)
        return found, False

    def _known(self, file: IndexFile, view: MemberView) -> dict[Place, Probabilities]:
        """What need not be predicted, by place: what training left first, then what is stored."""
        found = self._trained(file, view)
        stored = read_stored(self._path(file, view), self._inputs(file, view))
        if stored is not None:
            values = probabilities_of(stored, self.bundle.codes)
            found = dict(zip(stored.select(PLACE).iter_rows(), values, strict=True)) | found
        return found

    def _trained(self, file: IndexFile, view: MemberView) -> dict[Place, Probabilities]:
        """Of the tiles that the member was not trained on, as training left them, unless the tiles were cut anew since.

        A file's time is asked since a tile's name says only where it stands in its grid.
        """
        if view.name not in self.left:
            self.left[view.name] = self._left_by(view)
        found = self.left[view.name]
        if not found or file.path.stat().st_mtime_ns > self._predictions_of(view).stat().st_mtime_ns:
            return {}
        places = read_index(file.path).select(PLACE).iter_rows()
        return {place: found[place[:2]] for place in places if place[:2] in found}

    def _left_by(self, view: MemberView) -> dict[tuple[str, str], Probabilities]:
        """What RUN/members/NAME says of its validation and test tiles, by slide and tile.

        Nothing where that is another graph, or one that was shown other tiles.
        """
        path = self._predictions_of(view)
        if view.mpp is not None or not path.is_file():
            return {}
        try:
            member = read_member(path.parent)
        except ArtifactError:  # being trained anew, or damaged: the graph in the bundle says the same
            return {}
        own = (member.files.model.sha256, member.classes, member.side_px, member.files.predictions.sha256)
        if own != (view.graph_sha256, self.bundle.codes, self.tiling.tile_px, sha256_file(path)):
            return {}
        tiles, values, _ = read_predictions(path)
        return {
            (slide, tile): values[at]
            for at, (slide, tile, mpp) in enumerate(tiles.select("slide", "tile", "mpp").iter_rows())
            if abs(mpp - self.tiling.mpp) < _SAME_SCALE
        }

    def _predictions_of(self, view: MemberView) -> Path:
        return self.run / "members" / view.name / PREDICTIONS_FILE

    def _path(self, file: IndexFile, view: MemberView) -> Path:
        return self.run / PREDICTIONS_FOLDER / "tiles" / view.key(self.tiling) / file.path.name

    def _inputs(self, file: IndexFile, view: MemberView) -> dict[str, Any]:
        return as_json({"tiles": file.inputs(), "view": view.inputs, "tiling": asdict(self.tiling)})  # type: ignore[no-any-return]

    def _predict(
        self, file: IndexFile, rows: pl.DataFrame, lacking: Sequence[int], known: list[dict[Place, Probabilities]]
    ) -> dict[str, str]:
        """Predict rows by the members that lack any of them, write down what came of it, and add it to `known`."""
        views = [views_of(self.bundle)[at] for at in lacking]
        failures: dict[str, str] = {}
        self.planned(len(rows))
        with self._reader(file, views) as read:
            forgiving = read if file.of_slide else _forgiving(read, failures)
            for start in range(0, len(rows), _PIECE):
                piece = rows[start : start + _PIECE]
                done, values = self._run(piece, ahead(forgiving, piece.iter_rows(named=True), self.workers), lacking)
                for view, at, own in zip(views, lacking, values, strict=True):
                    known[at] |= dict(zip(done, own, strict=True))
                    self._write(file, view, known[at])
        return failures

    def _run(
        self, rows: pl.DataFrame, read: Iterator[Views | None], lacking: Sequence[int]
    ) -> tuple[list[Place], Probabilities]:
        """Places that were read, and (lacking, read, C) probabilities of them."""
        views, networks = [views_of(self.bundle)[at] for at in lacking], self.networks.some(lacking)
        done: list[Place] = []
        parts: list[Probabilities] = [np.empty((len(lacking), 0, len(self.bundle.codes)))]

        def wanted() -> Iterator[Views]:
            for place, found in zip(rows.select(PLACE).iter_rows(), read, strict=True):
                if found is not None:
                    done.append(place)
                    yield found

        for some in _batches(wanted()):
            parts.append(np.stack([_told(one, view, some) for one, view in zip(networks, views, strict=True)]))
            self.done(len(some))
        return done, np.concatenate(parts, axis=1)

    def _write(self, file: IndexFile, view: MemberView, known: Mapping[Place, Probabilities]) -> None:
        places = pl.DataFrame(list(known), schema=_PLACES, orient="row")
        rows = with_probabilities(places, np.array(list(known.values())), self.bundle.codes)
        write_stored(self._path(file, view), rows, self._inputs(file, view))

    @contextmanager
    def _reader(self, file: IndexFile, views: Sequence[MemberView]) -> Iterator[Callable[[Mapping[str, Any]], Views]]:
        """From a row to what the members are shown."""
        scales, side_px = scales_of(views), self.tiling.tile_px
        if not file.of_slide:
            if scales:
                problem = f"{self.bundle.manifest.name} reads {', '.join(f'{one:g}' for one in scales)} um/px around"
                raise InputError(f"{problem} each tile, and ready-made tiles have no surroundings", "take mode shared")
            folder = Path(file.record["folder"])
            yield lambda row: {None: at_side(read_tile_file(folder / row["file"]), side_px)}
            return
        cut = Size(file.record["inputs"]["cut"]["tile_px"], file.record["inputs"]["cut"]["tile_px"])
        with open_indexed(file.record) as source:
            sides = sides_around(source, require_scale(source), self.tiling, scales) if scales else {}

            def read(row: Mapping[str, Any]) -> Views:
                box = box_of(row)
                found: Views = {None: at_side(source.read(box, cut), side_px)}
                around = {
                    mpp: source.read(box_around(box, side), Size(side_px, side_px)) for mpp, side in sides.items()
                }
                return found | around

            yield read


_PLACES: Final = {
    "slide": pl.String,
    "tile": pl.String,
    "left_l0": pl.Int64,
    "top_l0": pl.Int64,
    "width_l0": pl.Int32,
    "height_l0": pl.Int32,
}


def at_scale(rows: pl.DataFrame, mpp: Mpp) -> pl.DataFrame:
    """The rows of a tile index at a scale."""
    return rows.filter((pl.col("mpp") - mpp).abs() < _SAME_SCALE)


def by_file(run: Path, rows: pl.DataFrame) -> Iterator[tuple[IndexFile, pl.DataFrame]]:
    """The rows of each index file that has any, files by name; each row is in one file. Raises ArtifactError."""
    keys = rows.select("slide", "tile")
    for file in index_files(run):
        listed = read_index(file.path).select("slide", "tile").unique()
        if keys.join(listed, on=["slide", "tile"], how="semi").is_empty():
            continue
        yield file, rows.join(listed, on=["slide", "tile"], how="semi", maintain_order="left")


def _told(network: OnnxNetwork, view: MemberView, some: Sequence[Views]) -> Probabilities:
    return softmax(network.logits(np.stack([views[view.mpp] for views in some])))


def _batches(items: Iterator[Views]) -> Iterator[list[Views]]:
    some: list[Views] = []
    for one in items:
        some.append(one)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


def _forgiving(
    read: Callable[[Mapping[str, Any]], Views], failures: dict[str, str]
) -> Callable[[Mapping[str, Any]], Views | None]:
    """As `read`, but of ready-made tiles one that cannot be read takes its own slide out and no other."""

    def tried(row: Mapping[str, Any]) -> Views | None:
        try:
            return read(row)
        except SlideError as error:
            failures.setdefault(row["slide"], f"tile {row['tile']}: {said_of(error)}")
            return None

    return tried
