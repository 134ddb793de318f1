"""Scores of histolab's NucleiScorer and the time of each; run by nuclei.py in histolab's own environment.

Reads a JSON list of image files from standard input, writes {"version", "scores", "seconds"} to standard output.
"""

import json
import sys
from importlib.metadata import version
from time import process_time

from histolab.scorer import NucleiScorer
from histolab.tile import Tile
from histolab.types import CoordinatePair
from PIL import Image


def main() -> None:
    """Score every file."""
    scorer = NucleiScorer()
    scores, seconds = [], []
    for name in json.load(sys.stdin):
        image = Image.open(name).convert("RGB")
        tile = Tile(image, CoordinatePair(0, 0, image.width, image.height))
        begin = process_time()
        scores.append(float(scorer(tile)))
        seconds.append(process_time() - begin)
    json.dump({"version": version("histolab"), "scores": scores, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
