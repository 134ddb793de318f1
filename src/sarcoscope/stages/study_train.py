"""A study's trainings: a step each network, scale and seed, or a search each network and scale. Torch comes in late."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import MissingExtraError, TrainingError
from sarcoscope.core.study import StudyNetwork, StudyStage, scale_word
from sarcoscope.core.training import HUB, NO_WEIGHTS, OF_NO_EFFECT, TrainConfig
from sarcoscope.core.tuning import TuneConfig
from sarcoscope.formats.member import MEMBER_FILE
from sarcoscope.stages.study_cohort import Study
from sarcoscope.stages.study_config import flat
from sarcoscope.stages.study_inputs import MEMBERS, content, member, tiles_reads
from sarcoscope.stages.study_listen import StudyListener
from sarcoscope.stages.study_plan import Done, Step
from sarcoscope.stages.study_record import StepRecord, made
from sarcoscope.stages.tile_sets import tile_table, usable
from sarcoscope.training.schedule import settle

_LOOKED_AT: Final = 1 / 3
"""A tile that is only looked at takes about this share of one that is learnt from."""
_EXTRA: Final = ("torch", "torchvision", "timm", "accelerate", "safetensors", "onnxscript")
_SEARCH: Final = ("optuna",)
_TUNING: Final = "tuning"
"""As `stages.tune` calls it, which needs torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One step of training."""

    row: StudyNetwork
    mpp: float
    seed: int
    name: str
    """Of the member, or of the search."""

    @property
    def members(self) -> tuple[str, ...]:
        """What comes of it."""
        if not self.row.trials:
            return (self.name,)
        return tuple(f"{self.name}-{place}" for place in range(1, self.row.keep + 1))


def trainings(study: Study) -> list[Training]:
    """All of a study, in the order of its networks, scales and seeds."""
    found = []
    for row in study.config.networks:
        for mpp in row.mpp:
            base = f"{row.name}-{scale_word(mpp)}"
            for seed in row.seeds:
                name = f"{base}-seed{seed}" if len(row.seeds) > 1 else base
                found.append(Training(row=row, mpp=mpp, seed=seed, name=name))
    return found


def train_steps(study: Study) -> list[Step]:
    """A step a training."""
    return [_step(study, one) for one in trainings(study)]


def step_name(one: Training) -> str:
    """'train resnet18-20x', 'tune resnet18-20x'."""
    return f"{'tune' if one.row.trials else 'train'} {one.name}"


def training_files(study: Study) -> dict[str, dict[str, list[str]]]:
    """By step what it makes below OUT, each with what may not stand there unless the step made it."""
    found = {}
    for one in trainings(study):
        found[step_name(one)] = {_file(name): [f"{MEMBERS}/{name}"] for name in one.members}
        if one.row.trials:
            found[step_name(one)][_search_home(one)] = _search_places(one)
    return found


def _file(member_name: str) -> str:
    return f"{MEMBERS}/{member_name}/{MEMBER_FILE}"


def _search_home(one: Training) -> str:
    return f"{_TUNING}/{one.name}"


def _search_places(one: Training) -> list[str]:
    """What a search leaves beside its members."""
    return [_search_home(one), f"{_search_home(one)}.db"]


def is_ours(study: Study, one: Training, before: StepRecord | None) -> bool:
    """Whether all that stands in a training's place came of this study, so that it may be begun anew."""
    files = [_file(name) for name in one.members]
    there = [file for file in files if (study.out / file).parent.exists()]
    if not all(made(before, file) for file in there):
        return False
    if not one.row.trials or any(made(before, file) for file in (*there, _search_home(one))):
        return True
    return not any((study.out / place).exists() for place in _search_places(one))


def train_config(study: Study, one: Training) -> TrainConfig:
    """What is asked of the training. Raises InputError."""
    config = study.config
    asked = config.recipe.train_config(str(study.out), one.name, one.row, mpp=one.mpp, base=config.base_mpp)
    return replace(asked, classes=config.classes, seeds=(one.seed,))


def _step(study: Study, one: Training) -> Step:
    config, out = train_config(study, one), study.out
    settings: dict[str, Any] = {
        key: value for key, value in flat(config).items() if key.partition(".")[0] not in {*OF_NO_EFFECT, "name"}
    }
    settings = {_key_in_study(key, one.row): value for key, value in settings.items()}
    if one.row.trials:
        settings |= {f"networks.{one.row.name}.{key}": getattr(one.row, key) for key in ("trials", "keep")}
        settings |= flat(study.config.search, "search")
    weights = config.network.weights
    given = {} if weights in {HUB, NO_WEIGHTS} else {f"weights/{Path(weights).name}": Path(weights)}
    return Step(
        name=step_name(one),
        stage=StudyStage.TRAIN,
        after=("leakage", "screening"),
        settings=settings,
        reads=lambda: {**tiles_reads(out), **{key: content(path) for key, path in given.items()}},
        does=lambda before, hears: _train(study, one, before, hears),
        like=f"training of {config.network.name} on {config.device} at {study.config.tiles.tile_px} px",
        size=lambda: _tiles_drawn(study, one),
        probe=lambda: _seconds_a_tile(study, one),
    )


def _key_in_study(key: str, row: StudyNetwork) -> str:
    """A key of the training as study.yaml has it."""
    section = key.partition(".")[0]
    own = {"network": f"networks.{row.name}.{key}", "mpp": f"networks.{row.name}.mpp"}
    own |= {"seeds": f"networks.{row.name}.seeds", "validation_mpp": "base_mpp", "classes": "classes"}
    return own.get(section, f"recipe.{key}")


def _tiles_drawn(study: Study, one: Training) -> float:
    """Tiles that all of its epochs draw, and those that they validate on, which take less."""
    rows = usable(tile_table(study.out)).filter(pl.col("label").is_not_null())
    at_scale = rows.filter((pl.col("part") == str(Part.TRAIN)) & ((pl.col("mpp") - one.mpp).abs() < 1e-6))
    base = study.config.base_mpp
    judged = rows.filter((pl.col("part") == str(Part.VALIDATION)) & ((pl.col("mpp") - base).abs() < 1e-6))
    plan = settle(max(1, at_scale.height), study.config.recipe.length)
    drawn = plan.steps * plan.batch + plan.epochs * judged.height * _LOOKED_AT
    return drawn * max(1, one.row.trials)


def check_extra(*, search: bool = False) -> None:
    """Raise MissingExtraError where the training extra is not installed."""
    for name in (*_EXTRA, *(_SEARCH if search else ())):
        if find_spec(name) is None:
            advice = "in a checkout: pip install '.[train]'; what is trained already needs none"
            raise MissingExtraError(f"training needs {name}", advice)


def _train(study: Study, one: Training, before: StepRecord | None, hears: StudyListener) -> Done:
    check_extra(search=bool(one.row.trials))
    from sarcoscope.stages import study_learn  # noqa: PLC0415 - torch comes in only where something is trained

    config, ours = train_config(study, one), is_ours(study, one, before)
    if one.row.trials:
        searched = TuneConfig(
            name=one.name,
            trials=one.row.trials,
            keep=one.row.keep,
            seed=one.seed,
            search=study.config.search,
            train=replace(config, name=""),
        )
        failures = study_learn.search_members(searched, hears, ours=ours)
    else:
        failures = study_learn.train_member(config, one.name, hears, ours=ours)
    return _done(study, one, failures, units=_tiles_drawn(study, one))


def _seconds_a_tile(study: Study, one: Training) -> float | None:
    """By a step of the network; None where torch is not installed."""
    try:
        check_extra()
    except MissingExtraError:
        return None
    from sarcoscope.stages import study_learn  # noqa: PLC0415 - as above

    classes = max(2, len(study.config.classes))
    return study_learn.train_seconds(train_config(study, one), classes, study.config.tiles.tile_px)


def _done(study: Study, one: Training, failures: Mapping[str, str], *, units: float) -> Done:
    """What came of it. TrainingError where a member is missing."""
    for name, why in failures.items():
        raise TrainingError(f"{name}: {why}", "settle it, or ask for more trials or fewer members; then run again")
    notes = []
    for name in one.members:
        found = member(study.out, name)
        value = found.metrics.get(Part.VALIDATION, {}).get("tile_balanced_accuracy")
        right = "no validation tile" if value is None else f"{value:.1%} of validation tiles, classes alike"
        notes.append(f"{name}: epoch {found.best_epoch} of {found.epochs} kept, {right}")
    return Done(
        wrote={_file(name): "" for name in one.members},
        notes=tuple(notes),
        units=units,
    )
