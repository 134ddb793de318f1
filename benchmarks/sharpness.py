"""Which sharpness threshold loses sharp tiles and which keeps blurred ones, on real tiles beside the checkout."""

from pathlib import Path

import cv2
import numpy as np

from results import put_section, said
from sarcoscope.core.geometry import Rgb
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.tiling.quality import measure

TILES = Path(__file__).parents[2] / "shared" / "data" / "tiles"
FOLDERS = ("crc_val_he_7k_70", "kather2016_24")
SIGMAS_PX = (1.5, 2.0, 3.0)
THRESHOLDS = (30, 40, 50, 60)


def real_tiles() -> list[Rgb]:
    """H&E tiles at about 0.5 um/px of which at least a twentieth is stained."""
    paths = sorted(path for name in FOLDERS for path in (TILES / name).glob("*/*"))
    read = (cv2.imread(str(path)) for path in paths)
    tiles = [np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8) for bgr in read if bgr is not None]
    return [tile for tile in tiles if measure(tile).stained >= 0.05]


def share_below(tiles: list[Rgb], sigma_px: float, threshold: float) -> str:
    """Share of tiles, blurred by a Gaussian, that the threshold drops."""
    blurred = [cv2.GaussianBlur(tile, (0, 0), sigma_px) if sigma_px else tile for tile in tiles]
    return f"{np.mean([measure(np.asarray(tile, np.uint8)).sharpness < threshold for tile in blurred]):.1%}"


def main() -> None:
    """Measure and write down, or say that the tiles are not there."""
    if not TILES.is_dir():
        print("shared/data/tiles is absent: sharpness not measured")
        return
    tiles = real_tiles()
    about = (
        f"Share of {len(tiles)} real colorectal H&E tiles (CRC-VAL-HE-7K and Kather 2016, about 0.5 um/px) dropped as "
        f"blurred: as they are, and after a Gaussian blur. The default is {TilingConfig().minimum_sharpness:g}."
    )
    head = [
        "| threshold | as they are | " + " | ".join(f"sigma {sigma:g} px" for sigma in SIGMAS_PX) + " |",
        "|---" * (len(SIGMAS_PX) + 2) + "|",
    ]
    rows = [
        f"| {limit} | " + " | ".join(share_below(tiles, sigma, limit) for sigma in (0.0, *SIGMAS_PX)) + " |"
        for limit in THRESHOLDS
    ]
    put_section("The sharpness threshold", [said("benchmarks/sharpness.py"), about, "", *head, *rows])


if __name__ == "__main__":
    main()
