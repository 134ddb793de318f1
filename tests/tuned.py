"""A run folder that is searched in seconds, and someone who hears how that goes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sarcoscope.core.cohort import Part
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.training import NO_WEIGHTS, LengthConfig, MixConfig, NetworkConfig, TrainConfig, UnfreezeConfig
from sarcoscope.core.tuning import Parameter, SearchConfig, Trial, TuneConfig
from sarcoscope.formats.config import config_text
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.member import MemberRecord
from sarcoscope.formats.split import write_split
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.train_tiles import TrainTiles
from sarcoscope.training.schedule import Plan
from sarcoscope.training.state import Progress
from tests.cohorts_made import write_tiles

PARTS = (Part.TRAIN, Part.TRAIN, Part.VALIDATION, Part.TEST)
"""Of the four slides of each class, two tiles each."""


def tile_run(folder: Path) -> Path:
    """FOLDER/tiles and FOLDER/run: two classes, split by hand."""
    tiles, run = write_tiles(folder / "tiles", per_class=8), folder / "run"
    cohort_from_tiles(TilesConfig(folder=tiles, out=run, mpp=Mpp(0.5), slide_regex=r"^(s[AB]\d)_", nuclei=False))
    slides = read_cohort(run)
    parts = {one.slide: PARTS[int(one.slide[-1])] for one in slides}
    write_split(run, slides, {"part": parts}, {"config": {"ratios": [0.5, 0.25, 0.25], "seed": 0, "pooled": []}})
    return run


def tune_config(run: Path, **values: Any) -> TuneConfig:
    """A search of short trials; by the log loss, of which no two are equal."""
    length = LengthConfig(epochs=values.pop("epochs", 2), epoch_tiles=16, batch=8)
    train = TrainConfig(
        run=str(run),
        side_px=32,
        network=NetworkConfig(name="compact", weights=NO_WEIGHTS),
        metric=values.pop("metric", "tile_log_loss"),
        mix=MixConfig(off_last=0.0),
        unfreeze=UnfreezeConfig(gradual=False),
        length=length,
        device="cpu",
        trackers=(),
    )
    return TuneConfig(train=replace(train, **values.pop("train", {})), **{"keep": 0, "trials": 2} | values)


def write_config(path: Path, config: TuneConfig) -> Path:
    """The YAML of a search."""
    path.write_text(config_text(config), encoding="utf-8")
    return path


class Heard:
    """Listens, and remembers."""

    def __init__(self) -> None:
        self.parameters: list[Parameter] = []
        self.began_at: dict[str, int] = {}
        """Steps that a trial had when this process began with it."""
        self.over: list[Trial] = []
        self.best: list[str] = []
        self.left: list[float | None] = []
        self.places: list[tuple[int, int]] = []
        self.said: list[str] = []
        self.written: list[str] = []
        self.skipped: list[str] = []
        self._name = ""

    def tiles_chosen(self, tiles: TrainTiles, lines: Sequence[str]) -> None:  # noqa: ARG002
        self.said += lines

    def search_began(self, parameters: Sequence[Parameter], trials: Sequence[Trial], total: int) -> None:  # noqa: ARG002
        self.parameters = list(parameters)

    def trial_began(self, trial: Trial, place: int, total: int) -> None:
        self._name = trial.name
        self.places.append((place, total))

    def began(self, plan: Plan, progress: Progress) -> None:  # noqa: ARG002
        self.began_at[self._name] = progress.step

    def stepped(self, progress: Progress) -> None:
        pass

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        pass

    def told(self, words: str) -> None:
        self.said.append(words)

    def trial_over(self, trial: Trial, best: Trial | None, seconds_left: float | None) -> None:
        self.over.append(trial)
        self.best.append("" if best is None else best.name)
        self.left.append(seconds_left)

    def member_began(self, name: str, trial: Trial) -> None:
        pass

    def member_over(self, name: str, member: MemberRecord, *, skipped: bool) -> None:  # noqa: ARG002
        (self.skipped if skipped else self.written).append(name)


SEARCHED_SHORTLY = SearchConfig(weight_decay=(0.01, 0.01), mixup=(0.0, 0.0), dropout=(0.1, 0.1), strength=(1.0, 1.0))
"""Learning rate and depth alone."""
