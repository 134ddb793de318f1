"""Open damaged slides by the thousand, each in a process that may die of it: `python -m tests.fuzz.run --seconds 600`.

An input passes if it is read or refused by an error of ours, within a time and a memory bound. What fails is kept:
the seed's name, the number of the damage, and what happened. The same numbers give the same inputs again.
"""

import argparse
import faulthandler
import multiprocessing
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Final

from sarcoscope.core.errors import InputError, SlideError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.slides.identity.inspecting import inspect_identity
from sarcoscope.slides.identity.model import NewIdentity
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.rewrap import PyramidOptions, icc_profile, write_rewrapped
from sarcoscope.slides.thumbnail import thumbnail
from sarcoscope.slides.tiff_pages import About
from tests.fuzz.corpus import MAKERS, Seed
from tests.fuzz.mutations import damaged

SECONDS_MAX: Final = 30.0
"""Longest that one input may take; a busy machine is slow, a hang is for ever."""
_CONVERTED_PX_MAX: Final = 4_000_000
BYTES_MAX: Final = 1_500_000_000
"""Most memory that reading one input may take above what the process had."""


Work = Callable[[Path], str]
"""What is done to a damaged slide; returns what came of it, in a word."""


@dataclass
class Outcome:
    """What the inputs of one seed came to."""

    tried: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """'read', and errors of ours by class."""
    failures: list[str] = field(default_factory=list)
    peak_bytes: int = 0
    """Most memory above that of the process before the first input."""


def exercise(path: Path) -> str:
    """All that a user would do with a slide; the class of our error, or 'read'."""
    try:
        with open_slide(path) as slide:
            info = slide.info
            for box in (Box(0, 0, 100, 80), Box(info.size.width - 50, info.size.height - 40, 90, 90)):
                slide.read(box, Size(box.width, box.height))
            side = min(512, max(info.size.width, info.size.height))
            slide.read(Box(0, 0, side, side), Size(max(1, side // 4), max(1, side // 4)))
            for name in info.associated:
                slide.associated(name)
            if info.size.width * info.size.height < 50_000_000:
                thumbnail(slide, 64)
    except (SlideError, InputError) as error:
        return _told_in_one_line(path, error)
    return "read"


def clean(path: Path) -> str:
    """Look for what identifies, and write the copy without it."""
    draft = path.with_name("copy")
    try:
        found = inspect_identity(path)
        found.write(draft, NewIdentity("slide-0", "0" * 64))
    except (SlideError, InputError) as error:
        return _told_in_one_line(path, error)
    finally:
        _removed(draft)
    return "cleaned"


def convert(path: Path) -> str:
    """Write it as a pyramid, tiles copied where they can be."""
    draft = path.with_name("converted.tif")
    try:
        with open_slide(path) as slide:
            size = slide.info.size
            if size.width * size.height > _CONVERTED_PX_MAX:
                return "large"
            about = About(size=size, mpp=0.5, power=20.0, icc_profile=icc_profile(slide))
            write_rewrapped(draft, slide, about, PyramidOptions(), lambda _: None)
    except (SlideError, InputError) as error:
        return _told_in_one_line(path, error)
    finally:
        _removed(draft)
    return "converted"


WORKS: Final[dict[str, Work]] = {"read": exercise, "clean": clean, "convert": convert}


def _told_in_one_line(path: Path, error: SlideError | InputError) -> str:
    if len(str(error).splitlines()) != 1 or path.name not in str(error):
        raise AssertionError(f"not one line with the file's name: {error}") from error
    return type(error).__name__


def _removed(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft)
    draft.unlink(missing_ok=True)


def _worker(wire: Connection, seed: Seed, numbers: range, work: Work) -> None:
    """Try inputs one by one; every outcome is told at once, so that the last words before a crash are known."""
    faulthandler.enable()
    content = seed.target.read_bytes()
    before = _peak()
    resource.setrlimit(resource.RLIMIT_AS, (before + 4 * BYTES_MAX, before + 4 * BYTES_MAX))
    for number in numbers:
        seed.target.write_bytes(damaged(content, seed.places, number))
        try:
            wire.send((number, work(seed.path), "", _peak() - before))
        except Exception:  # noqa: BLE001 - whatever comes is the finding
            wire.send((number, "failed", traceback.format_exc(), _peak() - before))
    wire.close()


def _peak() -> int:
    """Most memory that this process had, bytes; not `getrusage`, which begins with the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _private(seed: Seed, folder: Path) -> Seed:
    """The seed copied to a folder of its own, where it can be damaged."""
    root = seed.path if seed.path.is_dir() else seed.path.parent
    shutil.copytree(root, folder, dirs_exist_ok=True)
    return Seed(seed.name, folder / seed.path.relative_to(root), folder / seed.target.relative_to(root), seed.places)


def fuzz(
    seed: Seed,
    numbers: range,
    folder: Path,
    *,
    stop: float = float("inf"),
    work: Work = exercise,
    patience: float = SECONDS_MAX,
) -> Outcome:
    """Try damages of these numbers on one seed, until the clock shows `stop`.

    `work` is done to each damaged slide in a process of its own, and may take `patience` seconds.
    """
    outcome, at = Outcome(), numbers.start
    context = multiprocessing.get_context("spawn")
    while at < numbers.stop and monotonic() < stop:
        private = _private(seed, Path(tempfile.mkdtemp(dir=folder)))
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(theirs, private, range(at, numbers.stop), work))
        process.start()
        theirs.close()
        for number, kind, words, grown in _told(ours, stop, patience):
            at = number + 1
            outcome.tried += 1
            outcome.kinds[kind] += 1
            outcome.peak_bytes = max(outcome.peak_bytes, grown)
            if kind == "failed":
                outcome.failures.append(f"{seed.name} #{number}: {words}")
            elif grown > BYTES_MAX:
                outcome.failures.append(f"{seed.name} #{number}: {grown / 1e6:.0f} MB")
                break
        ended_well = at == numbers.stop or monotonic() >= stop
        hung = not ended_well and process.is_alive() and not ours.poll(0)
        if hung or ended_well:
            process.kill()
        process.join()
        if not ended_well and not (outcome.failures and f"#{at - 1}: " in outcome.failures[-1]):
            words = f"hung for {patience:g} s" if hung else f"the process died with {process.exitcode}"
            outcome.failures.append(f"{seed.name} #{at}: {words}")
            outcome.tried += 1
            at += 1
        shutil.rmtree(private.path if private.path.is_dir() else private.path.parent, ignore_errors=True)
    return outcome


def _told(wire: Connection, stop: float, patience: float) -> Iterator[tuple[int, str, str, int]]:
    """Outcomes as they come, until the process ends, or says nothing for too long, or time is up."""
    while monotonic() < stop and wire.poll(patience):
        try:
            yield wire.recv()
        except EOFError:
            return


def main() -> None:
    """Fuzz every format in turn for a share of the time; print what came of it; exit 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for all formats together")
    parser.add_argument("--first", type=int, default=0, help="number of the first damage")
    parser.add_argument("--only", help="one format")
    parser.add_argument("--work", choices=WORKS, action="append", help="what is done with it; everything by default")
    options = parser.parse_args()
    works = options.work or list(WORKS)
    turns = [(name, work) for name in ([options.only] if options.only else MAKERS) for work in works]
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        total = 0
        for index, (name, work) in enumerate(turns):
            home = Path(folder) / f"seed-{index}"
            home.mkdir()
            seed = MAKERS[name](home)
            if exercise(seed.path) != "read":
                sys.exit(f"the sound {name} is not read")
            stop = monotonic() + options.seconds / len(turns)
            numbers = range(options.first, options.first + 10**9)
            outcome = fuzz(seed, numbers, Path(folder), stop=stop, work=WORKS[work])
            kinds = ", ".join(f"{count} {kind}" for kind, count in outcome.kinds.most_common())
            what = f"{name}, {work}"
            print(
                f"{what:<26}{outcome.tried:>8} inputs: {kinds}; {outcome.peak_bytes / 1e6:.0f} MB at most", flush=True
            )
            failures += [f"{work}: {words}" for words in outcome.failures]
            total += outcome.tried
    print(f"{total} inputs, {len(failures)} failures")
    for words in failures:
        print(words)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
