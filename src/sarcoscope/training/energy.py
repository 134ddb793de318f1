"""How much electricity a training took, from the counters of the machine itself: NVIDIA's NVML, and RAPL of CPUs.

Both count whole chips, so what else runs on them counts too; fans, discs and power supplies do not.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sarcoscope.core.errors import InputError

POWERCAP: Final = Path("/sys/class/powercap")
_UJ_PER_WH: Final = 3.6e9
_EVERY_S: Final = 30.0
"""RAPL's counters start again after as little as 66 kJ, five minutes of a busy server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What was measured."""

    watt_hours: float | None
    """None where nothing could be read."""
    of: str
    """In words, what it is the energy of; empty where nothing could be read."""
    why_not: str
    """In words, what could not be read and why; empty where all could."""

    def __post_init__(self) -> None:
        if (self.watt_hours is None) != (not self.of) or (self.watt_hours is None and not self.why_not):
            raise InputError(f"energy {self.watt_hours} of {self.of!r}", "give what it is of, or why there is none")


def spent(before: int, after: int, starts_again_at: int | None = None) -> int:
    """How far a counter that only climbs went between two readings.

    One that starts again from 0 at `starts_again_at` may have done so once in between.
    """
    if after >= before:
        return after - before
    return 0 if starts_again_at is None else after + starts_again_at - before


@dataclass(slots=True)
class Counter:
    """One chip's counter, followed."""

    kind: str
    """GPU, CPU package or memory domain."""
    read: Callable[[], int]
    """Microjoules since any beginning. Raises OSError or ValueError."""
    starts_again_at: int | None = None
    last: int = 0
    total: int = 0
    """Microjoules since `begin`."""
    lost: str = ""
    """Why it cannot be read any more."""

    def begin(self) -> None:
        """Count from here. Raises OSError and ValueError."""
        self.last, self.total = self.read(), 0

    def advance(self) -> None:
        """Add what was spent since the last reading."""
        if self.lost:
            return
        try:
            now = self.read()
        except (OSError, ValueError) as error:
            self.lost = str(error)
            return
        self.total += spent(self.last, now, self.starts_again_at)
        self.last = now


class EnergyMeter:
    """Measures between the beginning and the end of its block; a thread of its own reads every half minute."""

    def __init__(self, gpus: Sequence[str], *, powercap: Path = POWERCAP, every_s: float = _EVERY_S) -> None:
        """`gpus` are UUIDs as NVML writes them, of the GPUs to measure."""
        self._gpus = tuple(gpus)
        self._powercap = powercap
        self._every_s = every_s
        self._counters: list[Counter] = []
        self._lacking: list[str] = []
        self._ended = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="energy", daemon=True)

    def __enter__(self) -> Self:
        for found, lacking in (gpu_counters(self._gpus), cpu_counters(self._powercap)):
            self._counters += found
            self._lacking += [lacking] if lacking else []
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.advance()

    def advance(self) -> None:
        """Read all counters."""
        with self._one_at_a_time:
            for counter in self._counters:
                counter.advance()

    def _follow(self) -> None:
        while not self._ended.wait(self._every_s):
            self.advance()

    @property
    def result(self) -> Energy:
        """What was measured up to the last reading."""
        whole = [counter for counter in self._counters if not counter.lost]
        lost = [f"{counter.kind}: not to the end ({counter.lost})" for counter in self._counters if counter.lost]
        counts = {kind: sum(counter.kind == kind for counter in whole) for kind in (one.kind for one in whole)}
        return Energy(
            watt_hours=sum(counter.total for counter in whole) / _UJ_PER_WH if whole else None,
            of=", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items()),
            why_not="; ".join([*self._lacking, *lost]),
        )


def gpu_counters(uuids: Sequence[str]) -> tuple[list[Counter], str]:
    """Counters of these GPUs that have begun, and why there are none."""
    if not uuids:
        return [], ""
    try:
        import pynvml  # noqa: PLC0415 - of nvidia-ml-py, which a machine without a GPU need not have
    except ImportError:
        return [], "GPU: nvidia-ml-py is not installed"

    def reader(uuid: str) -> Callable[[], int]:
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)

        def read() -> int:
            try:
                return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1000  # of millijoules
            except pynvml.NVMLError as error:
                raise OSError(str(error)) from error

        return read

    found = []
    try:
        pynvml.nvmlInit()  # never shut down: others in this process may use it
        for uuid in uuids:
            counter = Counter("GPU", reader(uuid))
            counter.begin()
            found.append(counter)
    except (pynvml.NVMLError, OSError) as error:
        return [], f"GPU: no energy from NVML ({error})"
    return found, ""


def cpu_counters(powercap: Path) -> tuple[list[Counter], str]:
    """Counters of CPU packages and of memory outside them that have begun, and why there are none.

    Domains inside a package (core, uncore) and psys, which holds packages, would count twice and are left out.
    """
    found = []
    for domain in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (domain / "name").read_text(encoding="ascii").strip()
            kind = "CPU package" if name.startswith("package") else "memory domain" if name == "dram" else None
            if kind is None:
                continue
            starts_again_at = int((domain / "max_energy_range_uj").read_text(encoding="ascii"))
            counter = Counter(kind, _file_reader(domain / "energy_uj"), starts_again_at)
            counter.begin()
        except PermissionError:
            return [], "CPU: its energy counters (RAPL) may not be read by this user"
        except (OSError, ValueError) as error:
            return [], f"CPU: its energy counters (RAPL) cannot be read ({error})"
        found.append(counter)
    return found, "" if found else "CPU: this machine shows no energy counters (RAPL)"


def _file_reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text(encoding="ascii"))
