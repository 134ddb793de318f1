"""What the software and the machine were, for the record."""

import os
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = (
    "sarcoscope",
    "imagecodecs",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "openslide-bin",
    "openslide-python",
    "simplejpeg",
    "polars",
    "tifffile",
    "torch",
)
TRAINING_LIBRARIES = ("torchvision", "timm", "accelerate", "safetensors", "onnxscript")


_SAME = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
}
"""Other distributions of the same library."""


def library_versions(more: Sequence[str] = ()) -> dict[str, str | None]:
    """Version per library that shapes a result; None where it is not installed. Imports none of them."""
    return {name: _version((name, *_SAME.get(name, ()))) for name in (*_LIBRARIES, *more)}


@cache  # reading metadata takes as long as twenty tiles
def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return version(name) if name == names[0] else f"{version(name)} ({name})"
        except PackageNotFoundError:
            continue
    return None


def machine() -> dict[str, str | int | None]:
    """Kind of machine, without anything that names it or its user."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
    }
