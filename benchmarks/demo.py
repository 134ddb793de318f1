"""What `make demo` takes once the environment is there: seconds, and memory of all its processes together (Linux)."""

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from results import put_section, said

EVERY_S = 0.1


def resident(session: int) -> int:
    """Bytes resident in all processes of a session, pages they share counted once for each."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[3]) == session:
            total += int(fields[21]) * 4096
    return total


def main() -> None:
    """Run the demo in a temporary folder, watch its memory, write it down."""
    command = Path(sys.executable).with_name("sarcoscope")
    with tempfile.TemporaryDirectory() as folder:
        begin, peak = perf_counter(), 0
        process = subprocess.Popen(
            [command, "demo", "--out", folder], start_new_session=True, stderr=subprocess.DEVNULL
        )
        while process.returncode is None:
            peak = max(peak, resident(process.pid))
            try:
                process.wait(EVERY_S)
            except subprocess.TimeoutExpired:
                continue
        seconds = perf_counter() - begin
    row = f"| {seconds:.1f} | {peak / 2**20:.0f} | {process.returncode} |"
    about = "Ten synthetic phantom slides of 8192 x 8192 px painted with 2 processes and diagnosed; memory sampled."
    head = ["| seconds | peak memory MiB | exit code |", "|---|---|---|"]
    put_section("The demo", [said("benchmarks/demo.py"), about, "", *head, row])


if __name__ == "__main__":
    main()
