"""What the software and the machine were, for the record."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = (
    "sarcoscope",
    "imagecodecs",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "openslide-bin",
    "openslide-python",
    "polars",
    "tifffile",
    "torch",
)


def library_versions() -> dict[str, str | None]:
    """Version per library that shapes a result; None where it is not installed. Imports none of them."""
    found: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def machine() -> dict[str, str | int | None]:
    """Kind of machine, without anything that names it or its user."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
    }
