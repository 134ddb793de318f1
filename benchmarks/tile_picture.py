"""docs/images/tile-preview.png: a synthetic phantom slide as `sarcoscope tile --preview` draws it."""

import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from sarcoscope.phantom.cohort import demo_cohort, write_cohort

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "tile-preview.png"
WIDTH_PX = 1100


def main() -> None:
    """Paint a phantom with marker ink, cut it by score, keep the picture in few colours."""
    (slide,) = [spec for spec in demo_cohort(np.random.default_rng(1)) if spec.label == "WDLPS" and spec.batch == 1]
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_cohort([slide], Path(folder))
        words = ["tile", str(manifest), "--out", folder, "--method", "score", "--top", "12", "--preview"]
        subprocess.run([Path(sys.executable).with_name("sarcoscope"), *words], check=True)
        image = Image.open(Path(folder) / "preview" / f"{slide.slide_id}_0.5um.png").convert("RGB")
    image = image.resize((WIDTH_PX, round(image.height * WIDTH_PX / image.width)), Image.Resampling.LANCZOS)
    content = BytesIO()
    image.quantize(128).save(content, "PNG", optimize=True)
    PICTURE.write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
