"""Tiles as GeoJSON that QuPath opens (drag the file onto the slide, or Extensions > import objects)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.atomic import write_json


def _rgb(color: str) -> list[int]:
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def tile_features(
    tiles: Sequence[Tile],
    probabilities: Probabilities,
    colors: Mapping[str, str],
    origin_l0: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """A FeatureCollection of the kept tiles.

    Args:
        tiles: every cell of the grid.
        probabilities: (kept, C), one row for each kept tile in the order of `tiles`.
        colors: '#rrggbb' per class code, in the order of the columns.
        origin_l0: level-0 px of the viewer's origin; QuPath counts from the scanned bounds where a
            format declares them (MRXS, SCN).
    """
    codes = list(colors)
    features = []
    for tile, row in zip((tile for tile in tiles if tile.kept), probabilities, strict=True):
        code = codes[int(row.argmax())]
        left, top = tile.box.left - origin_l0[0], tile.box.top - origin_l0[1]
        right, bottom = left + tile.box.width, top + tile.box.height
        features.append(
            {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]],
                },
                "properties": {
                    "objectType": "tile",
                    "name": f"r{tile.row} c{tile.column}",
                    "classification": {"name": code, "color": _rgb(colors[code])},
                    "measurements": {
                        **{f"p {name}": round(float(value), 5) for name, value in zip(codes, row, strict=True)},
                        "tissue": round(float(tile.tissue), 4),
                    },
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def write_geojson(path: Path, collection: dict[str, Any]) -> None:
    """Write atomically."""
    write_json(path, collection)
