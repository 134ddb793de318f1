"""What this installation can read and how fast its processor could be."""

import cv2
import imagecodecs
import openslide

_CODECS = ("JPEG8", "JPEG2K", "JPEGXL", "PNG", "LZW", "DEFLATE", "ZSTD", "WEBP")


def openslide_version() -> str:
    """Version of the OpenSlide library itself, e.g. '4.0.1'."""
    return str(openslide.__library_version__)


def codecs() -> dict[str, bool]:
    """Image codecs by name, and whether they are there."""
    return {name: bool(getattr(imagecodecs, name).available) for name in _CODECS}


def cpu_features() -> tuple[str, ...]:
    """Vector instructions that the image code can use."""
    return tuple(name.lstrip("*?") for name in cv2.getCPUFeaturesLine().split() if not name.endswith("?"))
