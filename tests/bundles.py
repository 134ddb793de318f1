"""A real bundle small enough to reason about: it names a tile by its mean colour."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.rules import ComponentRule, RefineRule, SlideRules
from sarcoscope.formats.bundle import Bundle, BundleClass, BundleManifest, BundleMember, hashed, write_bundle

CODES = ("DDLPS", "LMS", "MPNST", "UPS", "WDLPS")
COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
TILE_RGB = ((170, 90, 160), (225, 120, 150), (180, 170, 210), (120, 60, 140), (240, 190, 140))
"""The mean colour of a tile of each class, in the order of CODES."""


def nearest_color_head(sharpness: float = 0.002) -> tuple[np.ndarray, np.ndarray]:
    """Weight (5, 3) and bias (5,) whose largest logit belongs to the nearest of TILE_RGB: -|x - c|^2 less |x|^2."""
    centers = np.array(TILE_RGB, np.float32)
    return 2 * sharpness * centers, -sharpness * (centers**2).sum(axis=1)


def write_color_graph(path: Path, tile_px: int = 64) -> None:
    """tiles (B, px, px, 3) uint8 -> features (B, 3, px / 32, px / 32) -> logits (B, 5)."""
    weight, bias = nearest_color_head()
    nodes = [
        helper.make_node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["nchw"], ["features"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mean colour",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["batch", tile_px, tile_px, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3, tile_px // 32, tile_px // 32]),
        ],
        [numpy_helper.from_array(weight.astype(np.float32), "weight"), numpy_helper.from_array(bias, "bias")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def color_bundle(folder: Path, *, tile_px: int = 64, members: int = 1, minimum_tiles: int = 20) -> Bundle:
    """Write and open the bundle."""
    made = []
    for number in range(members):
        home = folder / "members" / f"m{number}"
        home.mkdir(parents=True)
        write_color_graph(home / "model.onnx", tile_px)
        weight, bias = nearest_color_head()
        np.savez(home / "head.npz", weight=weight, bias=bias)
        made.append(
            BundleMember(
                name=f"m{number}",
                architecture="mean colour",
                trained_mpp=(0.5,),
                model=hashed(folder, f"members/m{number}/model.onnx"),
                head=hashed(folder, f"members/m{number}/head.npz"),
            )
        )
    manifest = BundleManifest(
        name="colour",
        version="1",
        synthetic=True,
        intended_use="For tests.",
        not_for="Knows colours only.",
        classes=tuple(
            BundleClass(code=code, name=code.lower(), color=color) for code, color in zip(CODES, COLORS, strict=True)
        ),
        members=tuple(made),
        tiling=TilingConfig(tile_px=tile_px, minimum_sharpness=5.0),
        rules=SlideRules(
            minimum_tiles=minimum_tiles,
            refine=RefineRule(evidence=("DDLPS", "UPS", "WDLPS"), relabel={"UPS": "DDLPS"}),
            components=(ComponentRule(main="DDLPS", component="WDLPS"),),
        ),
        provenance={"trained_on": "nothing"},
    )
    return write_bundle(folder, manifest)


def reseal(folder: Path) -> Bundle:
    """Let the manifest vouch for the members as they are now, and open the bundle."""
    manifest = json.loads((folder / "bundle.json").read_text())
    for member in manifest["members"]:
        for part in ("model", "head"):
            member[part]["sha256"] = hashlib.sha256((folder / member[part]["path"]).read_bytes()).hexdigest()
    return write_bundle(folder, BundleManifest.model_validate(manifest))
