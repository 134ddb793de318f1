"""Jobs over several processes: results as they come, lost workers replaced, a stop that leaves nothing half done."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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

    A job whose process is ended from outside is done once more, by itself when all others are done, after
    `before_retry`; one that loses its process twice has `lost` for an error. Errors of ours are told and the others go
    on; any other ends the run.
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
    for job in _side_by_side(jobs, work, hears, min(workers, len(jobs))):
        before_retry([job])
        if _side_by_side([job], work, hears, 1):
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


class _Worker:
    """A process of its own, with its own ways to be heard and stopped: one that is killed spoils no other's.

    An executor of several processes that starts one while it notices the end of another can forget it (Python 3.11),
    and the run would wait for it for ever.
    """

    def __init__(self, context: SpawnContext) -> None:
        self._sent, self._stop = context.Queue(), context.Event()
        initargs = (self._sent, self._stop)
        self._process = ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker, initargs=initargs)

    def begin(self, work: Work[Job, Done], job: Job) -> Future[Done]:
        """Its result to come. BrokenProcessPool where its process has ended, OSError where that ends as it starts."""
        return self._process.submit(_in_worker, work, job)

    def tell(self, hears: Hears[Any, Any]) -> None:
        """Pass on how far it says it is."""
        while True:
            try:
                planned, done = self._sent.get_nowait()
            except Empty:
                return
            hears.advanced(planned, done)

    def stop(self) -> None:
        """Ask it to end; what it is at, it leaves off."""
        self._stop.set()

    def end(self) -> None:
        """Wait until it has ended."""
        self._process.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Let go of what it said and nobody was told."""
        self._sent.close()


def _side_by_side(jobs: Sequence[Job], work: Work[Job, Done], hears: Hears[Job, Done], workers: int) -> list[Job]:
    """Do jobs in so many processes, each one at a time; returns those whose process was ended from outside."""
    waiting, lost = deque(jobs), list[Job]()
    running: dict[Future[Done], tuple[Job, _Worker]] = {}
    with _hiring(hears) as hire:
        idle = [hire() for _ in range(workers)]
        while waiting or running:
            while waiting and idle:
                job, worker = waiting.popleft(), idle.pop()
                try:
                    running[worker.begin(work, job)] = job, worker
                except (BrokenProcessPool, OSError):
                    lost.append(job)
                    idle.append(hire())
            finished, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for _, worker in running.values():
                worker.tell(hears)
            for future in finished:
                job, worker = running.pop(future)
                if _is_lost(future, job, hears):
                    lost.append(job)
                    worker = hire()
                idle.append(worker)
    return lost


def _is_lost(future: Future[Done], job: Job, hears: Hears[Job, Done]) -> bool:
    """Whether its process was ended; else what came of the job is told."""
    try:
        done = future.result()
    except BrokenProcessPool:
        return True
    except SarcoscopeError as error:
        hears.failed(job, error)
    else:
        hears.finished(job, done)
    return False


@contextmanager
def _hiring(hears: Hears[Any, Any]) -> Iterator[Callable[[], _Worker]]:
    """Makes workers, whose processes begin with their first job and end with the block."""
    context = multiprocessing.get_context("spawn")
    hired: list[_Worker] = []

    def hire() -> _Worker:
        hired.append(_Worker(context))
        return hired[-1]

    try:
        yield hire
        for worker in hired:
            worker.end()
            worker.tell(hears)  # what it said last
    finally:
        for worker in hired:
            worker.stop()
        for worker in hired:
            worker.end()
            worker.close()
