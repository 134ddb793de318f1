"""RUN/predictions: what members said of tiles, a file for each slide and way of looking at it, to be used again.

tiles/KEY/SLIDE.parquet      tiles of the run's index
slides/KEY/SLIDE.parquet     kept tiles of the whole slide's grid
features/KEY/SLIDE.parquet   last feature maps of some of them, averaged

KEY stands for the graph and what it is shown. Each file holds in its metadata all that it depends on; one whose inputs
are others is made anew. The folder can be deleted: it only saves time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.atomic import as_json, write_bytes

PREDICTIONS_FOLDER: Final = "predictions"
STORE_SCHEMA: Final = 1
_KIND: Final = "sarcoscope.stored-predictions"
_FEATURES: Final = "features"


def store_key(inputs: Mapping[str, Any]) -> str:
    """16 hexadecimal digits for a graph and what it is shown (JSON values): the name of a folder of the store."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_stored(path: Path, rows: pl.DataFrame, inputs: Mapping[str, Any]) -> None:
    """Write atomically, with `inputs` (JSON values) as what the rows depend on. Raises ArtifactError."""
    metadata = {"kind": _KIND, "schema_version": str(STORE_SCHEMA), "inputs": json.dumps(inputs, allow_nan=False)}
    content = BytesIO()  # written by us: a full disk gets our error, not the library's
    rows.write_parquet(content, metadata=metadata)
    write_bytes(path, content.getvalue())


def read_stored(path: Path, inputs: Mapping[str, Any]) -> pl.DataFrame | None:
    """The rows; None where there is no such file, or it is damaged, of another schema or made from other inputs.

    A damaged file is as good as none, since all of it can be computed again.
    """
    if not path.is_file():
        return None
    try:
        metadata = pl.read_parquet_metadata(path)
        if (metadata.get("kind"), metadata.get("schema_version")) != (_KIND, str(STORE_SCHEMA)):
            return None
        if json.loads(metadata["inputs"]) != as_json(inputs):
            return None
        return pl.read_parquet(path)
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError):
        return None


def with_probabilities(rows: pl.DataFrame, probabilities: Probabilities, classes: Sequence[str]) -> pl.DataFrame:
    """The rows with (N, C) probabilities as columns `p_CODE`, in float64: whoever reads them counts the same votes."""
    columns = {f"p_{code}": pl.Series(probabilities[:, at], dtype=pl.Float64) for at, code in enumerate(classes)}
    return rows.with_columns(**columns)


def probabilities_of(rows: pl.DataFrame, classes: Sequence[str]) -> Probabilities:
    """(N, C) float64 of rows as `with_probabilities` made them."""
    values = rows.select([f"p_{code}" for code in classes]).to_numpy()
    return np.ascontiguousarray(values, np.float64).reshape(len(rows), len(classes))


def features_table(features: Features) -> pl.DataFrame:
    """(S, F) features as a table of one column."""
    values = np.asarray(features, np.float32)
    if not len(values):
        return pl.DataFrame(schema={_FEATURES: pl.Array(pl.Float32, 1)})
    return pl.DataFrame({_FEATURES: pl.Series(values, dtype=pl.Array(pl.Float32, values.shape[1]))})


def features_of(rows: pl.DataFrame) -> Features:
    """(S, F) float32 of a table as `features_table` made it; (0, 0) where it has no row."""
    if rows.is_empty():
        return np.empty((0, 0), np.float32)
    values: Features = np.ascontiguousarray(rows[_FEATURES].to_numpy(), np.float32)
    return values
