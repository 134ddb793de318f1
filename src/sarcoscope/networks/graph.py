"""The graph that a bundle carries: uint8 tiles in, logits and last feature maps out."""

from pathlib import Path
from typing import Protocol, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from typing_extensions import override

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet, per channel over 0..1: what pretrained networks expect."""


class CamReady(Protocol):
    """A network whose class activation maps need no gradients (Zhou 2016)."""

    head: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """Last feature maps (B, F, h, w)."""
        ...


def normalise(tiles: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32, mean 0 and spread 1 over ImageNet."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((tiles.to(torch.float32) / 255 - mean) / std).permute(0, 3, 1, 2)


class BundleGraph(nn.Module):
    """Normalisation inside, softmax outside: nobody can pair a network with another one's statistics."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, 3) uint8 to logits (B, C) and features (B, F, h, w)."""
        network = cast("CamReady", self.network)
        features = network.features(normalise(tiles))
        return network.head(features.mean(dim=(2, 3))), features


def export_onnx(network: nn.Module, path: Path, tile_px: int) -> None:
    """Write the bundle's graph as ONNX, weights inside, any batch size."""
    graph = BundleGraph(network).eval()
    example = torch.zeros((2, tile_px, tile_px, 3), dtype=torch.uint8)
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


def save_head(network: nn.Module, path: Path) -> None:
    """Write the linear layer as .npz: weight (C, F), bias (C,), float32."""
    head = cast("CamReady", network).head
    np.savez(path, weight=head.weight.detach().numpy(), bias=head.bias.detach().numpy())
