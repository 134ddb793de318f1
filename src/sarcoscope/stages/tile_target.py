"""What slides are brought to when they are evened out: chosen from the training part only, and recorded."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sarcoscope.core.appearance import METHODS
from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import InputError
from sarcoscope.data.tile_pixels import Look, appearance_in
from sarcoscope.formats.appearance import TARGET_FILE, write_target
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.split import SPLIT_FILE, read_repetitions
from sarcoscope.formats.tile_index import read_record
from sarcoscope.stages.tile_one import index_path
from sarcoscope.tiling.appearance import choose_target


def choose_look(run: Path, slides: Sequence[CohortSlide], method: str) -> Look:
    """The middle of the training slides' appearances, written to RUN/appearance.json.

    Test and validation slides have no say in it, and pooled ones neither. Raises InputError for an unknown method,
    for several repetitions (each would have a target of its own), and where no training slide is indexed;
    ArtifactError without a split.
    """
    if method not in METHODS:
        raise InputError(f"unknown way of evening out {method!r}", f"give one of {', '.join(METHODS)}")
    parts = check_split(run)
    train = [one.slide for one in slides if parts.get(one.slide) is Part.TRAIN and index_path(run, one.slide).is_file()]
    look, looks = look_of(run, train, method)
    record = {"slides": looks, "split_sha256": sha256_file(run / SPLIT_FILE), "part": str(Part.TRAIN)}
    write_target(run / TARGET_FILE, method, look.target, record)
    return look


def look_of(run: Path, train: Iterable[str], method: str) -> tuple[Look, list[str]]:
    """The middle of indexed slides' appearances, and the slides that have one.

    Raises InputError where none has.
    """
    looks = {slide: look for slide in train if (look := appearance_in(read_record(index_path(run, slide))))}
    if not looks:
        problem = "no training slide with stained tiles"
        raise InputError(problem, "look at RUN/split.csv and at what was dropped; ready-made tiles are not evened out")
    return Look(method=method, target=choose_target([looks[slide] for slide in sorted(looks)])), sorted(looks)


def check_split(run: Path) -> Mapping[str, Part]:
    """The part of each slide. InputError for several repetitions, ArtifactError without a split."""
    repetitions = read_repetitions(run)
    if len(repetitions) > 1:
        problem = f"{SPLIT_FILE} holds {len(repetitions)} repetitions, and pictures have one target"
        raise InputError(problem, "split into one part a slide; training takes a target for each repetition by itself")
    (parts,) = repetitions.values()
    return parts
