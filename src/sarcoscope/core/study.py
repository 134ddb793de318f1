"""What is asked of a study, section by section: the whole paper on one cohort, as data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sarcoscope.core.cutting import CutConfig, Method
from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.names import NAME
from sarcoscope.core.training import (
    TRACKERS,
    AugmentConfig,
    BalanceConfig,
    LengthConfig,
    MixConfig,
    NetworkConfig,
    OptimiserConfig,
    TrainConfig,
    UnfreezeConfig,
    check_once,
)

MODES: Final = ("shared", "concentric")
"""How a fused model of several scales may read."""
_OBJECTIVE_UM: Final = 10.0
"""A magnification of k is taken as this over k um/px (protocol, section 4)."""


class StudyStage(StrEnum):
    """The stages of a study, in order."""

    CHECK = "check"
    """Every slide of the manifest is opened and compared."""
    SPLIT = "split"
    TILE = "tile"
    LEAKAGE = "leakage"
    SCREENING = "screening"
    """What readers decided about tiles; nobody has to have."""
    TRAIN = "train"
    SEARCH = "search"
    """All combinations of members, on validation tiles."""
    BUNDLE = "bundle"
    EVALUATE = "evaluate"
    DIAGNOSE = "diagnose"
    """Of example slides."""
    EXPLAIN = "explain"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSection:
    """How slides are dealt out; docs/cohort.md has the rules."""

    ratios: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Train, validation and patch-level test, of what no test set takes."""
    seed: int = 0
    """Other seeds, other splits."""
    test1: Mapping[str, int] | float | None = None
    """Test set 1: slides by class, or a share of each class's patients; left out, three tenths."""
    test2: tuple[str, ...] | None = None
    """Batches that are test set 2 as a whole; left out, the second where there are two."""
    pooled: tuple[str, ...] = ()
    """Classes of too few slides, whose tiles are dealt out one by one; figures on them are optimistic and marked."""
    mixed_patients: bool = False
    """Whether a patient may have tumours of several classes."""

    def __post_init__(self) -> None:
        if not self.ratios[1] > 0:
            problem = f"split.ratios {list(self.ratios)}: no slide validates"
            raise InputError(problem, "give the second one a share: all that is chosen or fitted is so on validation")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyNetwork:
    """A network of the study: a member at each of its scales and seeds, or the best of a search at each scale."""

    name: str
    """What it is called in tables and folders."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Which network, and what it starts from."""
    mpp: tuple[float, ...] = (0.5,)
    """um/px of its training tiles, trainings of their own at each."""
    seeds: tuple[int, ...] = (0,)
    """A member each, where nothing is searched."""
    trials: int = 0
    """So many trainings at each scale in search of hyper-parameters; 0 trains by the recipe as it stands."""
    keep: int = 1
    """So many of the best of a search become members."""

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise InputError(f"name {self.name!r} of a network", "give letters, digits, '.', '_' and '-'")
        for what, values in (("scales", self.mpp), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise InputError(f"{what} {list(values)} of network {self.name}", "give at least one, each once")
        if self.trials < 0 or (self.trials and not 1 <= self.keep <= self.trials):
            problem = f"{self.keep} of {self.trials} trials of network {self.name} to keep"
            raise InputError(problem, "keep at least one, and no more than there are")
        if self.trials and len(self.seeds) > 1:
            raise InputError(f"network {self.name}: a search in several seeds", "give one seed, or no trials")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSection:
    """How all networks are trained; docs/training.md has the reasons."""

    metric: str = "slide_balanced_accuracy"
    """By which the best epoch is kept, on validation tiles."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    unfreeze: UnfreezeConfig = field(default_factory=UnfreezeConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    length: LengthConfig = field(default_factory=LengthConfig)
    device: str = "auto"
    """auto takes a GPU where there is one; cpu does not."""
    precision: str = "auto"
    """auto: bf16 on a GPU that has it, else fp32."""
    workers: int | None = None
    """Processes that read and vary tiles; left open: none on a CPU, on a GPU one a core, 16 at most."""
    cache_mb: int = 2048
    """Memory for decoded tiles."""
    trackers: tuple[str, ...] = TRACKERS
    """Those of them that are installed are told of each epoch."""

    def train_config(self, run: str, name: str, row: StudyNetwork, *, mpp: float, base: float) -> TrainConfig:
        """The training of one network at one scale, validated at the `base` scale. Raises InputError."""
        return TrainConfig(
            run=run,
            name=name,
            mpp=(mpp,),
            validation_mpp=base,
            network=row.network,
            **{one: getattr(self, one) for one in self.__dataclass_fields__},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiModel:
    """A model of one network trained at several scales (paper, section 1.3)."""

    name: str
    network: str
    """Name of one in `networks`; of its members at a scale, the best on validation tiles takes part."""
    mpp: tuple[float, ...]
    """um/px, in the order of its paths."""

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise InputError(f"name {self.name!r} of a model", "give letters, digits, '.', '_' and '-'")
        if len(set(self.mpp)) < max(2, len(self.mpp)):
            raise InputError(f"scales {list(self.mpp)} of model {self.name}", "give two or more, each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSection:
    """Which models are made of the members."""

    single: str = "Ensemble"
    """Name of the model of one scale: the best combination of members trained at `base_mpp`."""
    metric: str = "tile_balanced_accuracy"
    """By which combinations are ranked, on validation tiles."""
    rule: str = "mean"
    """How members are fused: mean, weighted, product or vote."""
    most: int | None = None
    """Largest combination that is tried; left open, all of them."""
    multi: tuple[MultiModel, ...] = ()
    """Models of several scales."""
    modes: tuple[str, ...] = MODES
    """shared: all paths read the same tile, as published; concentric: each its own scale around the tile's centre."""
    alone: str = "all"
    """Which members trained at `base_mpp` stand alone in the tables: all, or the best of each network on validation
    tiles. Parts of fused models always do."""
    level: float = 0.9
    """Share of slides whose set of classes is to hold their own."""

    def __post_init__(self) -> None:
        if self.alone not in {"all", "best"}:
            raise InputError(f"ensembles.alone {self.alone!r}", "give all or best")
        if not 0 < self.level < 1:
            raise InputError(f"ensembles.level {self.level}", "give a share between 0 and 1, e.g. 0.9")
        if not re.fullmatch(NAME, self.single):
            raise InputError(f"name {self.single!r} of a model", "give letters, digits, '.', '_' and '-'")
        if self.most is not None and self.most < 1:
            raise InputError(f"ensembles.most {self.most}", "give at least 1, or leave it out")
        if unknown := [one for one in self.modes if one not in MODES]:
            raise InputError(f"unknown mode {unknown[0]!r}", f"give {' or '.join(MODES)}")
        check_once("ensembles.modes", self.modes)
        if not self.modes and self.multi:
            raise InputError("models of several scales without a mode", f"give ensembles.modes: [{MODES[0]}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSection:
    """How figures are computed."""

    draws: int = 1000
    """Of the bootstrap, over patients, or slides where patients are not known."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.seed < 0:
            raise InputError(f"evaluation.draws {self.draws}, seed {self.seed}", "give at least 1 draw, a seed from 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesSection:
    """What is shown beside the tables."""

    model: str = ""
    """Whose maps are drawn; left out, the one that is best on validation tiles."""
    slides: int = 1
    """Slides of each class and test set with a map and a ring (figures 6 and 7), the first by name; 0 for none."""
    cam_tiles: int = 4
    """Tiles of each class on a sheet of activation maps (figure 8); 0 for no sheets."""
    previews: bool = True
    """Whether sample tiles and cut slides are drawn (figure 2)."""

    def __post_init__(self) -> None:
        if min(self.slides, self.cam_tiles) < 0:
            raise InputError(f"examples.slides {self.slides}, cam_tiles {self.cam_tiles}", "give 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDesign:
    """What of a study the rules do not change; `stages.study_config.StudyConfig` adds them."""

    title: str = "Study"
    """Of the report."""
    manifest: str = "manifest.csv"
    """The slides: slide, path, label, patient, batch, components, mpp. From the config's folder."""
    out: str = "study"
    """Folder for everything that the study makes. From the config's folder."""
    classes: tuple[str, ...] = ()
    """Codes, in the order of all tables; slides of others are left out and named. Left out: what the slides have."""
    class_names: Mapping[str, str] = field(default_factory=dict)
    """In words, by code."""
    base_mpp: float = 0.5
    """um/px of the tiles that validate, test, and are read from whole slides (20x)."""
    tiles: CutConfig = field(default_factory=CutConfig)
    """What is cut; docs/tile.md explains each key."""
    split: SplitSection = field(default_factory=SplitSection)
    """How slides are dealt out; docs/cohort.md has the rules."""
    networks: tuple[StudyNetwork, ...] = (StudyNetwork(name="resnet18"),)
    """What is trained."""
    recipe: RecipeSection = field(default_factory=RecipeSection)
    """How all networks are trained; docs/training.md has the reasons."""
    ensembles: EnsembleSection = field(default_factory=EnsembleSection)
    """Which models are made of the members; docs/ensembles.md."""
    evaluation: EvaluateSection = field(default_factory=EvaluateSection)
    """How figures are computed; docs/metrics.md."""
    examples: ExamplesSection = field(default_factory=ExamplesSection)
    """What is shown beside the tables."""

    def __post_init__(self) -> None:
        self._check_scales()
        self._check_models()
        known = set(self.classes)
        for what, named in (
            ("class_names", set(self.class_names)),
            ("split.pooled", set(self.split.pooled)),
            ("split.test1", set(self.split.test1) if isinstance(self.split.test1, Mapping) else set()),
            ("tiles.methods", set(self.tiles.methods)),
        ):
            if known and (strange := sorted(named - known)):
                raise InputError(f"{what} names {strange[0]}, which is no class", f"classes: {', '.join(self.classes)}")

    def _check_scales(self) -> None:
        cut = self.tiles.mpp
        if Mpp(self.base_mpp) not in cut:
            raise InputError(f"base_mpp {self.base_mpp:g} is not cut", f"tiles.mpp: {_listed(cut)}")
        if not self.networks:
            raise InputError("no network", "list at least one in networks")
        check_once("names of networks", [row.name for row in self.networks])
        for row in self.networks:
            if strange := [one for one in row.mpp if Mpp(one) not in cut]:
                raise InputError(f"network {row.name} at {strange[0]:g} um/px, not cut", f"tiles.mpp: {_listed(cut)}")
        if not any(self.base_mpp in row.mpp for row in self.networks):
            problem = f"no network is trained at base_mpp {self.base_mpp:g}"
            raise InputError(problem, "the model of one scale is made of those: add the scale to a network's mpp")

    def _check_models(self) -> None:
        rows = {row.name: row for row in self.networks}
        for model in self.ensembles.multi:
            if model.network not in rows:
                raise InputError(f"model {model.name} of network {model.network!r}", f"there are: {', '.join(rows)}")
            if strange := [one for one in model.mpp if one not in rows[model.network].mpp]:
                problem = f"model {model.name} at {strange[0]:g} um/px"
                raise InputError(problem, f"{model.network} is trained at {_listed(rows[model.network].mpp)}")
        check_once("names of models", [self.ensembles.single, *(model.name for model in self.ensembles.multi)])


def scale_word(mpp: float) -> str:
    """'20x' for 0.5 um/px; '0.35um' where no whole magnification fits."""
    power = _OBJECTIVE_UM / mpp
    return f"{power:.0f}x" if abs(power - round(power)) < 1e-6 else f"{mpp:g}um"


def paper_cut() -> CutConfig:
    """The paper's tiles (protocol, section 4): three scales of 512 px, WDLPS by score."""
    return CutConfig(mpp=(Mpp(1.0), Mpp(0.5), Mpp(0.25)), methods={"WDLPS": Method.SCORE})


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{one:g}" for one in values)
