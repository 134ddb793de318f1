"""Seconds and peak memory to open a KFB and a ZYP of 200,000 tiles, beside a process that only imports the readers."""

import argparse
import base64
import json
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from results import put_section, said
from sarcoscope.testing.kfb_writer import jpeg_of, tile_record
from sarcoscope.testing.zyp_writer import cstring, item

SIDE = 256
HOLE = 5 * 2**30
"""Nothing, before the one JPEG that all tiles share, so that positions have the digits of a large file's."""

CHILD = """
import json, resource, sys, time
from pathlib import Path
from sarcoscope.slides.opening import open_slide
times = []
for path in sys.argv[1:]:
    start = time.perf_counter()
    with open_slide(Path(path)) as slide:
        times.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([*times, peak]))
"""


def write_kfb(path: Path, columns: int, rows: int) -> int:
    """A KFB of one level whose tiles all share one JPEG; the bytes of its tile index."""
    jpeg = _jpeg()
    at = 96 + 80 + HOLE
    index = at + len(jpeg)
    one = tile_record((0, 0, SIDE, SIDE), 40, length=len(jpeg), offset=at - index)
    records = np.tile(np.frombuffer(one, "<u4"), (columns * rows, 1))
    row, column = np.divmod(np.arange(columns * rows), columns)
    records[:, 1], records[:, 2] = column * SIDE, row * SIDE
    header = b"\xf1\x01\xee\xeeKFB\0" + struct.pack("<IfIIII", 0, 1.6, len(records), rows * SIDE, columns * SIDE, 40)
    header += b"JPEG" + struct.pack("<IIqIIQQfIII", 0, 0, 0, 0, 0, 0, index, 0.25, 0, 0, SIDE) + b"\xff\x01\xee\xee"
    with path.open("wb") as file:
        file.write(header)
        file.seek(at)
        file.write(jpeg + records.tobytes())
    return records.nbytes


def write_zyp(path: Path, columns: int, rows: int) -> int:
    """A ZYP 2.01 of one level whose tiles all share one JPEG; the bytes of its tile index."""
    jpeg = _jpeg()
    place = {"StartPosition": str(HOLE), "DataLength": str(len(jpeg))}
    roi = {"ROILeft": "0", "ROITop": "0", "ROIRight": str(columns // 2), "ROIBottom": str(rows // 2)}
    size = {"SliceSize": f"{columns * SIDE}\u00d7{rows * SIDE}", "MicrometersPerPixel": "0.25", "ScanZoom": "40"}
    tail, at = item("SliceInfo", size | roi), HOLE + len(jpeg)
    tiles = b"".join(item(f"0,0,0,{x},{y}", place) for y in range(rows) for x in range(columns))
    starts = []
    opening = cstring(base64.b64encode(b"0").decode()) * 2
    for section in (tiles, item("FieldOfView", {"Count": "1"}), b"", b""):
        starts.append(at + len(tail))
        tail += opening + section
    version_at = at + len(tail) + 32
    tail += struct.pack("<4q", *starts) + cstring("2.01") + struct.pack("<q", version_at)
    with path.open("wb") as file:
        file.write(jpeg)
        file.seek(HOLE)
        file.write(jpeg + tail)
    return len(tiles)


def _jpeg() -> bytes:
    return jpeg_of(np.full((SIDE, SIDE, 3), 200, np.uint8))


def opened(*paths: Path) -> list[float]:
    """Seconds to open each file, and the peak resident memory of a process that does just that, MiB."""
    command = [sys.executable, "-c", CHILD, *map(str, paths)]
    found: list[float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Write the files, open each in processes of its own, and write down what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=500)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        base = statistics.median(opened()[-1] for _ in range(options.repeats))
        for name, write in (("KFB", write_kfb), ("ZYP", write_zyp)):
            path = Path(folder) / f"many.{name.lower()}"
            index = write(path, options.columns, options.rows)
            runs = [opened(path) for _ in range(options.repeats)]
            seconds = sorted(run[0] for run in runs)
            peak = max(run[1] for run in runs)
            times = f"{statistics.median(seconds):.2f} | {seconds[0]:.2f}-{seconds[-1]:.2f}"
            lines.append(f"| {name} | {index / 1e6:.1f} | {times} | {peak:.0f} | {peak - base:.0f} |")
    about = (
        f"{options.columns * options.rows:,} tiles, which share one JPEG beyond 5 GiB of a sparse file; each opening "
        f"in a fresh process, {options.repeats} times. A process that only imports the readers peaks at {base:.0f} MiB."
    )
    head = [
        "| format | index MB | seconds (median) | range | peak memory MiB | above import |",
        "|---|---|---|---|---|---|",
    ]
    put_section("Opening large tile indexes", [said("benchmarks/index_open.py"), about, "", *head, *lines])


if __name__ == "__main__":
    main()
