"""Jobs over several processes: results as they come, lost workers replaced, a stop that leaves nothing half done."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnContext
from queue import Empty
from typing import Any, Final, Protocol, TypeVar

from sarcoscope.core.errors import SarcoscopeError

Job = TypeVar("Job")
Done = TypeVar("Done")
Job_contra = TypeVar("Job_contra", contravariant=True)
Done_contra = TypeVar("Done_contra", contravariant=True)
Report = Callable[[int, int], None]
"""Told of so many more tiles planned and so many more done; raises KeyboardInterrupt where the run shall stop."""

Work = Callable[[Job, Report], Done]
"""What is done with a job: a function of a module, so that another process finds it. Raises SarcoscopeError."""

_POLL_SECONDS: Final = 0.1


class Hears(Protocol[Job_contra, Done_contra]):
    """Is told, in the process that asked, how the jobs go."""

    def advanced(self, planned: int, done: int, /) -> None:
        """So many more tiles are to be done, so many are."""
        ...

    def finished(self, job: Job_contra, result: Done_contra, /) -> None:
        """A job has its result."""
        ...

    def failed(self, job: Job_contra, error: SarcoscopeError, /) -> None:
        """A job has none, and why."""
        ...


def run_jobs(
    jobs: Sequence[Job],
    work: Work[Job, Done],
    hears: Hears[Job, Done],
    *,
    workers: int,
    lost: Callable[[Job], SarcoscopeError],
    before_retry: Callable[[Sequence[Job]], None] = lambda _jobs: None,
) -> None:
    """Do all jobs, in this process where there is one worker or one job, else in as many spawned ones.

    Where a process is ended from outside, the jobs that were at work are done again one at a time, after
    `before_retry`, which shows whose fault it was; one that loses its process twice has `lost` for an error. The jobs
    that were waiting then go on side by side. Errors of ours are told and the others go on; any other ends the run.
    """
    if workers == 1 or len(jobs) == 1:
        for job in jobs:
            try:
                done = work(job, hears.advanced)
            except SarcoscopeError as error:
                hears.failed(job, error)
            else:
                hears.finished(job, done)
        return
    waiting = deque(jobs)
    while waiting:
        suspects = _in_pool(waiting, work, hears, min(workers, len(waiting)))
        for job in suspects:
            before_retry([job])
            if _in_pool(deque([job]), work, hears, 1):
                before_retry([job])
                hears.failed(job, lost(job))


class _Sent:
    """Progress of a job in a worker: sent in lots, and the place where a worker notices that it shall stop."""

    _EVERY: Final = 64

    def __init__(self, queue: Any, stop: Any) -> None:
        self._queue, self._stop = queue, stop
        self._unsent = 0

    def __call__(self, planned: int, done: int) -> None:
        self._unsent += done
        if planned or self._unsent >= self._EVERY:
            self.flush(planned)

    def flush(self, planned: int = 0) -> None:
        """Send what was not sent."""
        self._queue.put((planned, self._unsent))
        self._unsent = 0
        if self._stop.is_set():
            raise KeyboardInterrupt


_of_worker: list[_Sent] = []
"""The progress of this worker process, put there when it starts."""


def _start_worker(queue: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; `stop` ends a worker in order
    _of_worker[:] = [_Sent(queue, stop)]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A run that was killed must not go on in its workers; their drafts are removed by the next run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _in_worker(work: Work[Job, Done], job: Job) -> Done:
    (sent,) = _of_worker
    done = work(job, sent)
    sent.flush()
    return done


def _in_pool(waiting: deque[Job], work: Work[Job, Done], hears: Hears[Job, Done], workers: int) -> list[Job]:
    """Do waiting jobs in worker processes until none is left, or a process was ended from outside.

    Takes from `waiting` what it begins; returns what was at work when a process ended.
    """
    context = multiprocessing.get_context("spawn")
    queue, stop = context.Queue(), context.Event()
    broken: list[Job] = []
    with closing(queue):
        with _pool(context, workers, queue, stop) as pool:
            running: dict[Future[Done], Job] = {}
            while (waiting and not broken) or running:
                while waiting and not broken and len(running) < workers:
                    job = waiting.popleft()
                    try:
                        running[pool.submit(_in_worker, work, job)] = job
                    except (BrokenProcessPool, OSError):  # the latter where a pool breaks while it starts a process
                        broken.append(job)
                finished, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                _drain(queue, hears)
                for future in finished:
                    job = running.pop(future)
                    try:
                        done = future.result()
                    except BrokenProcessPool:
                        broken.append(job)
                    except SarcoscopeError as error:
                        hears.failed(job, error)
                    else:
                        hears.finished(job, done)
        _drain(queue, hears)  # the workers have ended, so that all they sent is there
    return broken


@contextmanager
def _pool(context: SpawnContext, workers: int, queue: Any, stop: Any) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, told to stop where the block ends early."""
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(queue, stop))
    try:
        yield pool
    finally:
        stop.set()  # heard by what is still at work, which is nothing where the block came to its end
        pool.shutdown(cancel_futures=True)


def _drain(queue: Any, hears: Hears[Any, Any]) -> None:
    while True:
        try:
            planned, done = queue.get_nowait()
        except Empty:
            return
        hears.advanced(planned, done)
