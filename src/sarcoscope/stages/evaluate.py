"""Bundles on the parts of a run: tiles, whole slides, each decision with its grounds, and bundles against each other."""

from dataclasses import dataclass
from pathlib import Path

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Evaluation
from sarcoscope.stages.predictions import SILENT, PassListener


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateAsk:
    """What is evaluated, and on what."""

    run: Path
    """Run folder with cohort.csv, split.csv and tiles."""
    bundles: tuple[Path | str, ...]
    """Folders of bundles, or names of shipped ones."""
    parts: tuple[Part, ...] = ()
    """All that the split has of validation, test, test1 and test2 where left out."""
    fold: str = ""
    """The repetition of the split, where there are several."""
    out: Path | None = None
    """Folder of evaluation.json; RUN/evaluation where left out."""
    draws: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    """Of the bootstrap."""
    workers: int = 2
    """Threads that read tiles."""
    threads: int = 0
    """Threads that compute; 0 takes every core."""
    name: str = ""
    """Title; the run folder's name where left out."""

    def __post_init__(self) -> None:
        for name, least in (("draws", 0), ("seed", 0), ("workers", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}", f"give at least {least}")
        if not self.bundles:
            raise InputError("no bundle given", "give folders of bundles, or the name of a shipped one")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSummary:
    """How an evaluation ended."""

    evaluation: Evaluation
    path: Path
    """evaluation.json."""
    reused: int
    """Slides of which nothing had to be predicted, counted once a bundle and level."""
    predicted: int
    """The others."""

    @property
    def exit_code(self) -> int:
        """0 where every slide was evaluated, 1 where some failed, 2 where all did."""
        if not self.evaluation.failures:
            return 0
        return 1 if self.evaluation.decisions or self.evaluation.patch else 2


def evaluate(ask: EvaluateAsk, listener: PassListener = SILENT) -> EvaluateSummary:
    """Evaluate, and write OUT/evaluation.json and OUT/tables/*.csv.

    Raises InputError, ArtifactError, BundleError; a slide that cannot be read is named and the others go on.
    """
    raise NotImplementedError
