"""Energy from counter files that lie in a folder of the test's own, and from a stand-in for NVIDIA's library."""

import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import TrainConfig
from sarcoscope.training.devices import make_accelerator, own_gpus
from sarcoscope.training.energy import Energy, EnergyMeter, spent

WH = 3_600_000_000
"""Microjoules."""
RANGE = 100 * WH


def set_energy(domain: Path, microjoules: int) -> None:
    """Whole or not at all, as the kernel's files are."""
    draft = domain / "draft"
    draft.write_text(f"{microjoules}\n")
    draft.replace(domain / "energy_uj")


def domain(root: Path, number: str, name: str, microjoules: int = 0) -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    set_energy(folder, microjoules)
    return folder


@pytest.mark.parametrize(
    ("before", "after", "starts_again_at", "went"),
    [
        (100, 250, None, 150),
        (100, 250, 1000, 150),
        (900, 50, 1000, 150),  # 100 to the end, 50 from the beginning
        (7, 7, 1000, 0),
        (1000, 0, 1000, 0),
        (0, 1000, 1000, 1000),
        (900, 50, None, 0),  # a driver that was loaded anew: what went before is not known
    ],
)
def test_readings_worked_by_hand(before: int, after: int, starts_again_at: int | None, went: int) -> None:
    assert spent(before, after, starts_again_at) == went


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**12), max_size=20), st.integers(0, 10**12))
def test_steps_below_a_whole_turn_add_up(turn: int, steps: list[int], start: int) -> None:
    at, total, found = start % turn, 0, 0
    for step in (one % turn for one in steps):
        now = (at + step) % turn
        found += spent(at, now, turn)
        total += step
        at = now
    assert found == total


def test_packages_and_memory_are_added_and_what_lies_inside_is_not(tmp_path: Path) -> None:
    """Package 0 goes 2 Wh, package 1 starts again: 5 Wh to its end and 1 from the beginning, memory 0.5 Wh."""
    first, second = domain(tmp_path, "0", "package-0", 10 * WH), domain(tmp_path, "1", "package-1", 95 * WH)
    core, dram = domain(tmp_path, "0:0", "core"), domain(tmp_path, "1:0", "dram", 3 * WH)
    whole = domain(tmp_path, "2", "psys")
    with EnergyMeter((), powercap=tmp_path) as meter:
        set_energy(first, 12 * WH)
        set_energy(second, 1 * WH)
        set_energy(core, 50 * WH)
        set_energy(dram, 3 * WH + WH // 2)
        set_energy(whole, 50 * WH)
    assert meter.result == Energy(watt_hours=8.5, of="2 CPU packages, 1 memory domain", why_not="")


def test_a_counter_that_starts_again_several_times_is_followed(tmp_path: Path) -> None:
    """Five steps of 60 Wh with a turn of 100 Wh: 300 Wh, of which the first and the last reading show nothing."""
    package = domain(tmp_path, "0", "package-0", 0)
    with EnergyMeter((), powercap=tmp_path, every_s=0.005) as meter:
        for step in range(1, 6):
            set_energy(package, step * 60 * WH % RANGE)
            deadline = time.monotonic() + 60
            while meter.result.watt_hours != 60 * step and time.monotonic() < deadline:
                time.sleep(0.005)
            assert meter.result.watt_hours == 60 * step


def test_without_counters_the_reason_is_said(tmp_path: Path) -> None:
    with EnergyMeter((), powercap=tmp_path / "none") as meter:
        pass
    found = meter.result
    assert (found.watt_hours, found.of) == (None, "")
    assert found.why_not == "CPU: this machine shows no energy counters (RAPL)"


def test_a_counter_that_is_no_number_is_no_answer(tmp_path: Path) -> None:
    package = domain(tmp_path, "0", "package-0")
    (package / "energy_uj").write_text("broken\n")
    with EnergyMeter((), powercap=tmp_path) as meter:
        pass
    assert meter.result.watt_hours is None
    assert "CPU: its energy counters (RAPL) cannot be read" in meter.result.why_not


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_counters_that_only_root_may_read_are_no_answer(tmp_path: Path) -> None:
    (domain(tmp_path, "0", "package-0") / "energy_uj").chmod(0)
    with EnergyMeter((), powercap=tmp_path) as meter:
        pass
    assert meter.result.why_not == "CPU: its energy counters (RAPL) may not be read by this user"


def test_a_counter_that_goes_away_is_not_counted_in_part(tmp_path: Path) -> None:
    first, second = domain(tmp_path, "0", "package-0"), domain(tmp_path, "1", "package-1")
    with EnergyMeter((), powercap=tmp_path) as meter:
        set_energy(first, WH)
        set_energy(second, WH)
        meter.advance()
        (second / "energy_uj").unlink()
    assert (meter.result.watt_hours, meter.result.of) == (1.0, "1 CPU package")
    assert "CPU package: not to the end" in meter.result.why_not


NVML = """
from pathlib import Path

class NVMLError(Exception):
    pass

def nvmlInit():
    pass

def nvmlDeviceGetHandleByUUID(uuid):
    path = Path(__file__).with_name(uuid)
    if not path.exists():
        raise NVMLError("Not Found")
    return path

def nvmlDeviceGetTotalEnergyConsumption(handle):
    if handle.read_text() == "N/A":
        raise NVMLError("Not Supported")
    return int(handle.read_text())
"""


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module `pynvml` of nvidia-ml-py's names; a file for each GPU holds its millijoules."""
    (tmp_path / "nvml").mkdir()
    (tmp_path / "nvml" / "pynvml.py").write_text(NVML)
    monkeypatch.syspath_prepend(tmp_path / "nvml")
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    return tmp_path / "nvml"


def test_gpus_count_millijoules(nvml: Path, tmp_path: Path) -> None:
    """7200 J and 1800 J are 2.5 Wh; the CPU's lack is said beside it."""
    (nvml / "GPU-a").write_text("1000000")
    (nvml / "GPU-b").write_text("0")
    with EnergyMeter(("GPU-a", "GPU-b"), powercap=tmp_path / "none") as meter:
        (nvml / "GPU-a").write_text("8200000")
        (nvml / "GPU-b").write_text("1800000")
    assert (meter.result.watt_hours, meter.result.of) == (2.5, "2 GPUs")
    assert meter.result.why_not == "CPU: this machine shows no energy counters (RAPL)"


@pytest.mark.parametrize(("content", "said"), [("N/A", "Not Supported"), (None, "Not Found")])
def test_a_gpu_without_a_counter_says_so(nvml: Path, tmp_path: Path, content: str | None, said: str) -> None:
    if content:
        (nvml / "GPU-a").write_text(content)
    package = domain(tmp_path, "0", "package-0")
    with EnergyMeter(("GPU-a",), powercap=tmp_path) as meter:
        set_energy(package, WH)
    assert meter.result == Energy(watt_hours=1.0, of="1 CPU package", why_not=f"GPU: no energy from NVML ({said})")


def test_a_gpu_without_the_library_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # Python's own way of making an import fail
    with EnergyMeter(("GPU-a",), powercap=tmp_path) as meter:
        pass
    assert meter.result.why_not.startswith("GPU: nvidia-ml-py is not installed; CPU: ")


def test_this_machine_is_measured_or_says_why_not() -> None:
    with EnergyMeter(own_gpus(make_accelerator(TrainConfig()))) as meter:
        sum(range(100_000))
    assert (meter.result.watt_hours is None) == bool(not meter.result.of)
    assert meter.result.watt_hours is None or meter.result.watt_hours >= 0
    assert meter.result.watt_hours is not None or meter.result.why_not


def test_no_energy_without_a_reason() -> None:
    with pytest.raises(InputError, match="why there is none"):
        Energy(watt_hours=None, of="", why_not="")
    with pytest.raises(InputError, match="give what it is of"):
        Energy(watt_hours=1.0, of="", why_not="")
