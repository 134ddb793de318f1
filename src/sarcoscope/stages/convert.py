"""Any readable slides to pyramidal TIFF, DICOM or flat pictures: several at a time, each whole or not there."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnContext
from pathlib import Path
from queue import Empty
from typing import Any, Final, Protocol

from typing_extensions import override

from sarcoscope.core.errors import InputError, SarcoscopeError, SlideReadError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.key_file import KeyFile
from sarcoscope.stages.convert_one import SUFFIX, ConvertConfig, Converted, ConvertJob, Kind, Progress, convert_one
from sarcoscope.stages.jobs import jobs_from_paths
from sarcoscope.stages.outputs import remove_drafts

OUT_SUFFIXES: Final[dict[str, Kind]] = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".svs": "tiff",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
}
"""Suffixes by which OUT is taken for a file, and what is written there."""

_POLL_SECONDS: Final = 0.1
_SEND_EVERY: Final = 64


class Listener(Protocol):
    """Is told how a run goes; the command line draws progress bars from it."""

    def tiles_planned(self, count: int) -> None:
        """So many more tiles will be written."""
        ...

    def tiles_done(self, count: int) -> None:
        """So many more tiles are written."""
        ...

    def slide_finished(self, done: Converted) -> None:
        """An output is there."""
        ...

    def slide_failed(self, job: ConvertJob, error: SarcoscopeError) -> None:
        """It is not, and why."""
        ...


class Silence:
    """A listener that says nothing."""

    def tiles_planned(self, count: int) -> None:
        """Ignore."""

    def tiles_done(self, count: int) -> None:
        """Ignore."""

    def slide_finished(self, done: Converted) -> None:
        """Ignore."""

    def slide_failed(self, job: ConvertJob, error: SarcoscopeError) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class ConvertSummary:
    """How a run ended."""

    done: list[Converted] = field(default_factory=list)
    failures: dict[Path, SarcoscopeError] = field(default_factory=dict)
    """By the slide's path."""

    @property
    def exit_code(self) -> int:
        """0 where every slide has its output, 1 where some failed, 2 where all did."""
        if not self.failures:
            return 0
        return 1 if self.done else 2


def out_kind(out: Path) -> Kind | None:
    """What a file called so would hold; None for a folder, there or to be."""
    is_folder = os.path.isdir(out)  # noqa: PTH112 - Path.is_dir raises where it may not look
    return None if is_folder else OUT_SUFFIXES.get(out.suffix.lower())


def plan_jobs(
    paths: Sequence[Path], config: ConvertConfig, mpp: Mpp | None = None, *, mpp_override: bool = False
) -> list[ConvertJob]:
    """A job a slide, with where it goes.

    With a key file the names are pseudonyms, and those of new slides are in the key file when this returns.
    Raises InputError for an OUT that does not fit, and for two slides that would be written to one place.
    """
    named = jobs_from_paths(paths, mpp, mpp_override=mpp_override)
    if not named:
        raise InputError("no slides given", "give slide files, then a folder or file to write")
    kind = out_kind(config.out)
    if kind is None and os.path.isfile(config.out):  # noqa: PTH113 - Path.is_file raises where it may not look
        problem = f"{shown(config.out)} is a file that no slide is written to"
        raise InputError(problem, f"give a folder, or {', '.join(OUT_SUFFIXES)}")
    if kind is not None:
        _check_file(config, kind, len(named))
        targets = [config.out]
    else:
        names = [job.slide for job in named] if config.key_file is None else _pseudonyms(paths_of(named), config)
        targets = [config.out / (name + SUFFIX[config.to]) for name in names]
    for target, count in Counter(Path(os.path.normcase(target)) for target in targets).items():
        if count > 1:
            raise InputError(f"{count} slides would be written to {shown(target)}", "convert them into two folders")
    return [
        ConvertJob(name=target.stem, path=job.path, target=target, mpp=mpp, mpp_override=mpp_override)
        for job, target in zip(named, targets, strict=True)
    ]


def paths_of(named: Sequence[Any]) -> list[Path]:
    """The paths of slide jobs, in order."""
    return [job.path for job in named]


def convert(jobs: Sequence[ConvertJob], config: ConvertConfig, listener: Listener | None = None) -> ConvertSummary:
    """Convert slides, as many at a time as `config.workers`; one that fails is named and the others go on."""
    hears: Listener = listener or Silence()
    summary = ConvertSummary()
    remove_drafts(job.target for job in jobs)
    if config.workers == 1 or len(jobs) == 1:
        for job in jobs:
            try:
                _settle(convert_one(job, config, _Direct(hears)), summary, hears)
            except SarcoscopeError as error:
                _fail(job, error, summary, hears)
        return summary
    left = _in_pool(jobs, config, summary, hears, min(config.workers, len(jobs)))
    remove_drafts(job.target for job in left)
    for job in left:  # a process ended under them: one at a time shows which of them it was
        if _in_pool([job], config, summary, hears, 1):
            remove_drafts([job.target])
            problem = "the process that converted it was ended from outside"
            _fail(job, SlideReadError(job.path, problem, "is there enough memory?"), summary, hears)
    return summary


def _check_file(config: ConvertConfig, kind: Kind, slides: int) -> None:
    if slides > 1:
        raise InputError(f"{slides} slides cannot all be {shown(config.out)}", "give a folder")
    if kind != config.to:
        raise InputError(f"{shown(config.out)} is no name for {config.to}", "change its suffix, --to, or give a folder")
    if config.key_file is not None:
        raise InputError(f"{shown(config.out)} is named already, so --key-file has nothing to name", "give a folder")


def _pseudonyms(paths: list[Path], config: ConvertConfig) -> list[str]:
    """By path: what the key file calls it, by the same names as `deidentify`: the file's, else its folder's too."""
    assert config.key_file is not None
    keys = KeyFile(config.key_file)
    keys.check_apart(config.out)
    names = [path.absolute().name for path in paths]
    counts = Counter(names)
    known = [
        name if counts[name] == 1 else "/".join(path.resolve().parts[-2:])
        for name, path in zip(names, paths, strict=True)
    ]
    return [keys.pseudonym(name) for name in known]


def _settle(done: Converted, summary: ConvertSummary, hears: Listener) -> None:
    summary.done.append(done)
    hears.slide_finished(done)


def _fail(job: ConvertJob, error: SarcoscopeError, summary: ConvertSummary, hears: Listener) -> None:
    summary.failures[job.path] = error
    hears.slide_failed(job, error)


class _Direct(Progress):
    """Progress of a conversion in this process."""

    def __init__(self, hears: Listener) -> None:
        self._hears = hears

    @override
    def planned(self, tiles: int) -> None:
        self._hears.tiles_planned(tiles)

    @override
    def advanced(self, tiles: int) -> None:
        self._hears.tiles_done(tiles)


class _Sent(Progress):
    """Progress of a conversion in a worker: sent in lots, and the place where a worker notices that it shall stop."""

    def __init__(self, queue: Any, stop: Any) -> None:
        self._queue, self._stop = queue, stop
        self._unsent = 0

    @override
    def planned(self, tiles: int) -> None:
        self._queue.put((tiles, 0))

    @override
    def advanced(self, tiles: int) -> None:
        self._unsent += tiles
        if self._unsent >= _SEND_EVERY:
            self.flush()

    def flush(self) -> None:
        """Send what was not sent."""
        self._queue.put((0, self._unsent))
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


def _work(job: ConvertJob, config: ConvertConfig) -> Converted:
    (progress,) = _of_worker
    done = convert_one(job, config, progress)
    progress.flush()
    return done


def _in_pool(
    jobs: Sequence[ConvertJob], config: ConvertConfig, summary: ConvertSummary, hears: Listener, workers: int
) -> list[ConvertJob]:
    """Convert in worker processes; returns the jobs that were left when a process ended from outside."""
    context = multiprocessing.get_context("spawn")
    queue, stop = context.Queue(), context.Event()
    broken: list[ConvertJob] = []
    with _pool(context, workers, queue, stop) as pool:
        running: dict[Future[Converted], ConvertJob] = {}
        for job in jobs:
            try:
                running[pool.submit(_work, job, replace(config, workers=1))] = job
            except (BrokenProcessPool, OSError):  # the latter where a pool breaks while it starts a process
                broken.append(job)
        while running:
            finished, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            _drain(queue, hears)
            for future in finished:
                job = running.pop(future)
                try:
                    _settle(future.result(), summary, hears)
                except BrokenProcessPool:
                    broken.append(job)
                except SarcoscopeError as error:
                    _fail(job, error, summary, hears)
        _drain(queue, hears)
    return broken


@contextmanager
def _pool(context: SpawnContext, workers: int, queue: Any, stop: Any) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, told to stop where the block ends early."""
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(queue, stop))
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        queue.close()


def _drain(queue: Any, hears: Listener) -> None:
    while True:
        try:
            planned, done = queue.get_nowait()
        except Empty:
            return
        if planned:
            hears.tiles_planned(planned)
        if done:
            hears.tiles_done(done)
