"""TIAToolbox's SlidingWindowPatchExtractor over the tiles of a mask; run by tile.py in TIAToolbox's own environment.

Reads {"slide", "kept", "mpp"} from standard input, `kept` being rows of 0 and 1, one a cell of the grid; writes
{"version", "tiles", "seconds", "processor"} to standard output. Every patch is read, none is written.
"""

import contextlib
import json
import sys
import warnings
from importlib.metadata import version
from time import perf_counter, process_time

import numpy as np


def main() -> None:
    """Read, timed from the opened slide on."""
    asked = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        from tiatoolbox.tools.patchextraction import SlidingWindowPatchExtractor  # noqa: PLC0415 - it prints
        from tiatoolbox.wsicore.wsireader import WSIReader  # noqa: PLC0415

        reader = WSIReader.open(asked["slide"])
        mask = np.kron(np.array(asked["kept"], np.uint8), np.ones((8, 8), np.uint8)).astype(bool)
        begin, used = perf_counter(), process_time()
        extractor = SlidingWindowPatchExtractor(
            reader,
            patch_size=(512, 512),
            input_mask=mask,
            resolution=asked["mpp"],
            units="mpp",
            min_mask_ratio=0.5,
            within_bound=True,
        )
        shapes = [patch.shape for patch in extractor]
        seconds, processor = perf_counter() - begin, process_time() - used
    if set(shapes) != {(512, 512, 3)}:
        raise SystemExit(f"patches of {set(shapes)}")
    json.dump(
        {"version": version("tiatoolbox"), "tiles": len(shapes), "seconds": seconds, "processor": processor}, sys.stdout
    )


if __name__ == "__main__":
    main()
