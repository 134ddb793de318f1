"""Seconds, Mpx/s and peak memory for one phantom of 20,000 x 20,000 px, pyramid and JPEG included, on one core."""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import cv2

from results import put_section, said
from sarcoscope.core.geometry import Size
from sarcoscope.phantom.cohort import write_slide
from sarcoscope.phantom.spec import CLASSES, PhantomSlide


def main() -> None:
    """Write one slide of each asked label and write down what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--labels", default=",".join(CLASSES))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for label in options.labels.split(","):
            spec = PhantomSlide(slide_id="phantom-speed", label=label, size=Size(options.side, options.side), seed=7)
            path = Path(folder) / "phantom-speed.svs"
            start, start_cpu = time.perf_counter(), time.process_time()
            write_slide(spec, path)
            seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            megapixels = options.side**2 / 1e6
            rows.append(
                f"| {label} | {seconds:.1f} | {cpu:.1f} | {megapixels / seconds:.1f} | "
                f"{path.stat().st_size / 1e6:.1f} | {memory:.0f} |"
            )
    about = f"One phantom of {options.side} x {options.side} px a class, JPEG and pyramid included, one thread."
    head = ["| class | seconds | CPU seconds | Mpx/s | file MB | peak memory MiB |", "|---|---|---|---|---|---|"]
    put_section("Painting phantoms", [said("benchmarks/phantom_speed.py"), about, "", *head, *rows])


if __name__ == "__main__":
    main()
