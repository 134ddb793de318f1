"""Trained members that tests write without training: a colour graph, or any predictions that a test wants."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import numpy_helper

from sarcoscope.core.training import NO_WEIGHTS, NetworkConfig, TrainConfig
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.member import (
    HEAD_FILE,
    MODEL_FILE,
    PREDICTIONS_FILE,
    WEIGHTS_FILE,
    Balanced,
    MemberProvenance,
    MemberRecord,
    Normalised,
    OnnxCheck,
    hash_files,
    write_member,
    write_predictions,
)
from sarcoscope.formats.split import SPLIT_FILE
from tests.bundles import CODES, nearest_color_head, write_color_graph

_NONE = pl.DataFrame(schema={"slide": pl.String, "tile": pl.String, "mpp": pl.Float64})


def made_member(
    run: Path,
    name: str,
    *,
    classes: Sequence[str] = CODES,
    blind_to: Sequence[str] = (),
    tiles: pl.DataFrame = _NONE,
    probabilities: Probabilities | None = None,
    **other: Any,
) -> Path:
    """RUN/members/NAME of a graph that names a tile by its mean colour, but never one of `blind_to`.

    `tiles` (slide, tile, mpp, part, label) are those whose (N, C) `probabilities` its training left. Further values go
    to its record.
    """
    folder = run / "members" / name
    folder.mkdir(parents=True)
    weight, bias = nearest_color_head()
    bias = bias.astype(np.float32)
    bias[[CODES.index(code) for code in blind_to]] -= 1000
    write_color_graph(folder / MODEL_FILE)
    graph = onnx.load(folder / MODEL_FILE)
    for place, tensor in enumerate(graph.graph.initializer):
        if tensor.name == "bias":
            graph.graph.initializer[place].CopyFrom(numpy_helper.from_array(bias, "bias"))
    onnx.save(graph, folder / MODEL_FILE)
    np.savez(folder / HEAD_FILE, weight=weight, bias=bias)
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    (folder / "history.csv").write_bytes(b"epoch\n")
    left = tiles if "part" in tiles.columns else tiles.with_columns(part=pl.lit(""), label=pl.lit(""))
    values = np.empty((0, len(classes))) if probabilities is None else probabilities
    write_predictions(folder / PREDICTIONS_FILE, left, values, classes)
    shares = dict.fromkeys(classes, 1 / len(classes))
    known: dict[str, Any] = {
        "name": name,
        "key": "a" * 64,
        "synthetic": True,
        "classes": tuple(classes),
        "architecture": "mean colour",
        "features": 3,
        "side_px": 64,
        "trained_mpp": (0.5,),
        "validation_mpp": 0.5,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "normalise": Normalised(method="none"),
        "fold": "",
        "seed": 0,
        "split_sha256": sha256_file(run / SPLIT_FILE),
        "tiles": {},
        "balance": Balanced(multipliers={}, asked=shares, realised=shares),
        "weights_origin": "none",
        "config": TrainConfig(run=str(run), network=NetworkConfig(name="compact", weights=NO_WEIGHTS)),
        "plan": {},
        "metrics": {},
        "best_epoch": 1,
        "epochs": 1,
        "stopped": "by its length",
        "onnx": OnnxCheck(max_abs_difference=0.0, tiles=1),
        "files": hash_files(folder),
        "provenance": MemberProvenance(
            version="0",
            git_commit=None,
            libraries={},
            machine={},
            device="cpu",
            hardware={},
            started="2026-01-01T00:00:00+00:00",
            seconds=0.0,
            energy_wh=None,
            energy_why_not="made by a test",
        ),
    }
    write_member(folder, MemberRecord(**(known | other)))
    return folder
