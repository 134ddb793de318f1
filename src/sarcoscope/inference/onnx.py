"""ONNX Runtime back end. The graph normalises inside and stops at the logits (see formats.bundle)."""

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from typing_extensions import override

from sarcoscope.core.errors import BundleError
from sarcoscope.formats.bundle import Bundle
from sarcoscope.inference.port import Activations, Array, Network, Tiles

_ADVICE = "export the member again, or get the bundle again from where it came"

_RUNTIME_ERRORS = (
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoModel,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
)
"""The runtime's errors share no base class but Exception."""


class OnnxNetwork(Network):
    """An ONNX graph on the CPU, or on a GPU where the installed runtime has one."""

    def __init__(self, graph: bytes, path: Path, name: str, classes: int, threads: int = 0) -> None:
        """Load the graph that `path` holds; `threads` 0 lets the runtime take every core. Raises BundleError."""
        self._path = path
        self._name = name
        self._classes = classes
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=providers())
        except _RUNTIME_ERRORS as error:
            raise BundleError(self._path, f"not a graph the runtime loads ({error})", _ADVICE) from error
        inputs = [item.name for item in self._session.get_inputs()]
        outputs = [item.name for item in self._session.get_outputs()]
        if inputs != ["tiles"] or not {"logits", "features"} <= set(outputs):
            raise BundleError(self._path, f"graph maps {inputs} to {outputs}, want tiles to logits, features", _ADVICE)

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    def device(self) -> str:
        """The execution provider in use, e.g. 'CPUExecutionProvider'."""
        return str(self._session.get_providers()[0])

    def _run(self, outputs: list[str], tiles: Tiles) -> list[Array]:
        try:
            return [np.asarray(value, np.float32) for value in self._session.run(outputs, {"tiles": tiles})]
        except _RUNTIME_ERRORS as error:
            raise BundleError(self._path, f"failed on tiles of shape {tiles.shape} ({error})", _ADVICE) from error

    @override
    def logits(self, tiles: Tiles) -> Array:
        (logits,) = self._run(["logits"], tiles)
        if logits.shape != (len(tiles), self._classes):
            raise BundleError(self._path, f"logits of shape {logits.shape}, want {len(tiles), self._classes}", _ADVICE)
        return logits

    @override
    def activations(self, tiles: Tiles) -> Activations:
        logits, features = self._run(["logits", "features"], tiles)
        return Activations(logits, features)


def providers() -> list[str]:
    """Execution providers that are used where the runtime has them, the fastest first."""
    available = onnxruntime.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


def load_members(bundle: Bundle, threads: int = 0) -> list[OnnxNetwork]:
    """Every member of a bundle, in its order."""
    return [
        OnnxNetwork(bundle.model(one), bundle.folder / one.model.path, one.name, len(bundle.codes), threads)
        for one in bundle.manifest.members
    ]
