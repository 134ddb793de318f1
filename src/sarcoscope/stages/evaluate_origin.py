"""Whether slides that a bundle is measured on may have trained it, by what it says of its members."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, shown
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.split import SPLIT_FILE, read_repetitions


def check_unseen(run: Path, fold: str, bundles: Sequence[Bundle], parts: Sequence[Part]) -> None:
    """Raise InputError where slides of these parts are known to have trained a member of a bundle.

    That is so of members that were trained by this very split, in another repetition of it or on validation tiles too.
    """
    several, split = len(read_repetitions(run)) > 1, sha256_file(run / SPLIT_FILE)
    for bundle in bundles:
        for name, record in _records(bundle):
            if record.get("split_sha256") != split:
                continue
            who, trained = f"{name} of bundle {bundle.manifest.name}", record.get("fold", "")
            if several and trained != fold:
                raise InputError(
                    f"{who} was trained in repetition {trained!r}, and {fold!r} is to be measured on",
                    f"slides of its tests trained it: give --fold {trained}",
                )
            if Part.VALIDATION in parts and trains_on_validation(record):
                raise InputError(
                    f"{who} was trained on validation tiles too", "give the other parts with --part, e.g. --part test"
                )


def is_trained_on_validation(bundle: Bundle) -> bool:
    """Whether validation tiles trained a member, so that nothing can be fitted on them."""
    return any(trains_on_validation(record) for _, record in _records(bundle))


def trains_on_validation(record: Mapping[str, Any]) -> bool:
    """Whether a member's record says that validation tiles trained it."""
    config = record.get("config")
    return isinstance(config, Mapping) and bool(config.get("train_on_validation"))


def other_splits(run: Path, bundles: Sequence[Bundle]) -> str:
    """A sentence that names the bundles trained by another split than the run's; empty where there is none."""
    split = sha256_file(run / SPLIT_FILE)
    named = [
        bundle.manifest.name
        for bundle in bundles
        if any(record.get("split_sha256", split) != split for _, record in _records(bundle))
    ]
    if not named:
        return ""
    was = "was" if len(named) == 1 else "were"
    return (
        f" {', '.join(named)} {was} trained by another split than {shown(Path(SPLIT_FILE))} of this run: "
        "whether slides measured on were among its training slides is not known here."
    )


def _records(bundle: Bundle) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """By name, what a bundle says of the training of its members, as far as it does."""
    members = bundle.manifest.provenance.get("members")
    if isinstance(members, Mapping):
        yield from ((str(name), one) for name, one in members.items() if isinstance(one, Mapping))
