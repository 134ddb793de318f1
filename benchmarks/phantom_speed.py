"""Seconds, Mpx/s and peak memory for one phantom of 20,000 x 20,000 px, pyramid and JPEG included, on one core."""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import cv2

from sarcoscope.core.geometry import Size
from sarcoscope.phantom.cohort import write_slide
from sarcoscope.phantom.spec import CLASSES, PhantomSlide


def main() -> None:
    """Write one slide of each asked label and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--labels", default=",".join(CLASSES))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        for label in options.labels.split(","):
            spec = PhantomSlide(slide_id="phantom-speed", label=label, size=Size(options.side, options.side), seed=7)
            path = Path(folder) / "phantom-speed.svs"
            start, start_cpu = time.perf_counter(), time.process_time()
            write_slide(spec, path)
            seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            megapixels = options.side**2 / 1e6
            print(
                f"{label:6s} {seconds:6.1f} s wall, {cpu:6.1f} s of one core, {megapixels / seconds:5.1f} Mpx/s, "
                f"{path.stat().st_size / 1e6:6.1f} MB, peak memory {memory:.0f} MiB"
            )


if __name__ == "__main__":
    main()
