"""Jobs over several processes, some of which are ended from outside."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typing_extensions import override

from sarcoscope.core.errors import InputError, SarcoscopeError
from sarcoscope.stages.pool import Report, run_jobs


@dataclass
class Heard:
    """What was told."""

    planned: int = 0
    done: int = 0
    results: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def advanced(self, planned: int, done: int) -> None:
        self.planned += planned
        self.done += done

    def finished(self, job: Path, result: int) -> None:
        self.results[job.name] = result

    def failed(self, job: Path, error: SarcoscopeError) -> None:
        self.errors[job.name] = str(error)


def work(job: Path, report: Report) -> int:
    """`dies-N` is killed the first N times; `wrong` raises; all others are done with their pid for a result."""
    report(1, 0)
    kind, _, times = job.name.partition("-")
    if kind == "wrong":
        raise InputError("wrong", "mend it")
    if kind == "dies":
        with job.open("a") as tried:
            tried.write("x")
        if job.stat().st_size <= int(times):
            os.kill(os.getpid(), signal.SIGKILL)
    report(0, 1)
    return os.getpid()


def run(folder: Path, names: Sequence[str], workers: int) -> tuple[Heard, list[str]]:
    heard, again = Heard(), list[str]()
    run_jobs(
        [folder / name for name in names],
        work,
        heard,
        workers=workers,
        lost=lambda job: InputError(f"{job.name} lost its processes", "look at it"),
        before_retry=lambda jobs: again.extend(job.name for job in jobs),
    )
    return heard, again


def test_a_process_that_is_ended_costs_no_other_job_anything(tmp_path: Path) -> None:
    heard, again = run(tmp_path, ["a", "dies-1", "b", "dies-9", "wrong", "c", "d"], workers=3)
    assert set(heard.results) == {"a", "b", "c", "d", "dies-1"}
    assert heard.errors == {"wrong": "wrong; mend it", "dies-9": "dies-9 lost its processes; look at it"}
    assert sorted(again) == ["dies-1", "dies-9", "dies-9"]
    assert heard.done == 5
    assert os.getpid() not in heard.results.values()
    assert {name: (tmp_path / name).stat().st_size for name in ("dies-1", "dies-9")} == {"dies-1": 2, "dies-9": 2}


def test_processes_that_all_die_as_they_begin_are_all_named(tmp_path: Path) -> None:
    names = [f"dies-{9 + number}" for number in range(6)]
    heard, _ = run(tmp_path, names, workers=4)
    assert set(heard.errors) == set(names)
    assert not heard.results


def test_an_interrupt_that_comes_again_and_again_leaves_no_process(tmp_path: Path) -> None:
    class Impatient(Heard):
        @override
        def advanced(self, planned: int, done: int) -> None:
            raise KeyboardInterrupt

    jobs = [tmp_path / name for name in "abcdefgh"]
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, work, Impatient(), workers=3, lost=lambda job: InputError(job.name, "look at it"))
    assert not multiprocessing.active_children()


def test_one_worker_works_in_this_process(tmp_path: Path) -> None:
    heard, _ = run(tmp_path, ["a", "wrong", "b"], workers=1)
    assert set(heard.results.values()) == {os.getpid()}
    assert (heard.planned, heard.done, set(heard.errors)) == (3, 2, {"wrong"})
