"""The graph that a bundle carries: uint8 tiles in, logits and last feature maps out."""

import copy
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from typing_extensions import override

from sarcoscope.core.errors import TrainingError
from sarcoscope.networks.cam_network import MEAN, STD, CamNetwork, Rgb


def normalise(tiles: Tensor, mean: Rgb = MEAN, std: Rgb = STD) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 on the same device; `mean` and `std` are over 0..1."""
    shift, spread = (torch.tensor(values, dtype=torch.float32, device=tiles.device) for values in (mean, std))
    return ((tiles.to(torch.float32) / 255 - shift) / spread).permute(0, 3, 1, 2)


class BundleGraph(nn.Module):
    """Normalisation inside, softmax outside: nobody can pair a network with another one's statistics."""

    def __init__(self, network: nn.Module) -> None:
        """`network` is a CamNetwork."""
        super().__init__()
        self.network = network

    @override
    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, 3) uint8 to logits (B, C) and features (B, F, h, w)."""
        network = cast("CamNetwork", self.network)
        features = network.features(normalise(tiles, network.mean, network.std))
        return network.head(features.mean(dim=(2, 3))), features


def export_onnx(network: CamNetwork, path: Path, tile_px: int) -> None:
    """Write the bundle's graph as ONNX, float32 weights inside, any batch size; `network` stays as it is.

    Raises TrainingError where torch's exporter cannot write the network.
    """
    graph = BundleGraph(copy.deepcopy(network).to("cpu", torch.float32)).eval()
    example = torch.zeros((2, tile_px, tile_px, 3), dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["tiles"],
            output_names=["logits", "features"],
            dynamic_shapes={"tiles": {0: torch.export.Dim("batch")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        problem = (
            f"the network cannot be written as ONNX ({(str(cause).strip() or type(cause).__name__).splitlines()[0]})"
        )
        raise TrainingError(problem, "give another network, or report this with its name") from error
    if program is None:
        raise RuntimeError("the exporter returned no program")
    program.save(path, external_data=False)
    onnx.save(_anonymous(onnx.load(path)), path)


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what the exporter notes beside it: paths of the machine that made it, in stack traces."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (
        model,
        graph,
        *graph.node,
        *values,
        *model.functions,
        *(node for f in model.functions for node in f.node),
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def save_head(network: CamNetwork, path: Path) -> None:
    """Write the linear layer as .npz: weight (C, F), bias (C,), float32."""
    weight, bias = (one.detach().to("cpu", torch.float32).numpy() for one in (network.head.weight, network.head.bias))
    np.savez(path, weight=weight, bias=bias)
