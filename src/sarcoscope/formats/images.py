"""Small pictures beside our other files."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from sarcoscope.core.geometry import Rgb
from sarcoscope.formats.atomic import write_bytes


def write_jpeg(path: Path, rgb: Rgb, quality: int = 88) -> None:
    """Write (h, w, 3) uint8 as JPEG, atomically."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    write_bytes(path, buffer.getvalue())
