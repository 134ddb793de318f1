"""Small pictures beside our other files."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Rgb
from sarcoscope.formats.atomic import write_bytes


def write_jpeg(path: Path, rgb: Rgb, quality: int = 88) -> None:
    """Write (h, w, 3) uint8 as JPEG, atomically."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    write_bytes(path, buffer.getvalue())


def read_rgb(path: Path) -> Rgb:
    """Read a picture as (h, w, 3) uint8. ArtifactError where it is missing or damaged."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise ArtifactError(path, f"not a readable picture ({error})", "run the command again") from error
