"""What is asked of a training (paper, sections 1.2 and 1.3); read without torch, saved whole beside what came of it.

Where a value is None it is settled from the number of training tiles by `training.schedule.settle`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sarcoscope.core.appearance import METHODS
from sarcoscope.core.errors import InputError

VALIDATION_METRICS: Final = (
    "slide_balanced_accuracy",
    "slide_accuracy",
    "tile_balanced_accuracy",
    "tile_accuracy",
    "tile_macro_auc",
    "tile_log_loss",
)
"""What the best epoch can be chosen by; of the log loss the least is the best, of the others the most."""
FACTORS: Final = (6, 12, 30)
"""By what the paper multiplies classes (section 1.2)."""
PRECISIONS: Final = ("auto", "fp32", "bf16")
BALANCES: Final = ("multipliers", "even", "none")
HUB: Final = "hub"
NO_WEIGHTS: Final = "none"
TRACKERS: Final = ("tensorboard", "mlflow")
OF_NO_EFFECT: Final = ("run", "workers", "cache_mb", "checkpoint_minutes", "trackers")
"""What of a `TrainConfig` changes nothing about what is learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Which network, and what it starts from."""

    name: str = "resnet18"
    """A network of timm (resnet18, tf_efficientnet_b7, tf_efficientnetv2_s, hf-hub:OWNER/NAME, ...), or `compact`,
    a small one of ours."""
    weights: str = HUB
    """hub: pretrained, from where timm has it; none: random; else a file, .safetensors or .pth."""
    dropout: float = 0.2
    """Share of pooled features left out in front of the linear layer."""
    drop_path: float = 0.0
    """Chance that a residual block is passed by, where the network can."""

    def __post_init__(self) -> None:
        _share("network.dropout", self.dropout, below=1)
        _share("network.drop_path", self.drop_path, below=1)
        if not self.name or not self.weights:
            raise InputError("a network without a name or weights", "give network.name, and hub, none or a file")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How training tiles are varied (paper, section 1.2). Validation tiles never are."""

    strength: float = 1.0
    """Multiplies all chances and ranges below; 0 leaves tiles as they are."""
    flips: bool = True
    """Flips and turns by right angles, each of the eight as likely as the others."""
    free_rotation: float = 0.3
    """Chance of a turn by any angle; what comes in at the corners is mirrored tissue."""
    crop: float = 0.2
    """Share of the side that a crop takes off at most; the rest is enlarged to the tile's side."""
    occlusion: float = 0.2
    """Chance that a rectangle is covered."""
    colour: float = 0.15
    """By how much brightness, contrast and saturation are multiplied, 1 more or less this."""
    stain: float = 0.15
    """By how much haematoxylin and eosin are multiplied, each by itself, 1 more or less this."""
    blur: float = 0.1
    """Chance of a slight Gaussian blur."""
    jpeg: float = 0.1
    """Chance of being compressed as JPEG."""

    def __post_init__(self) -> None:
        for name in ("free_rotation", "occlusion", "blur", "jpeg"):
            _share(f"augment.{name}", getattr(self, name))
        for name in ("crop", "colour", "stain"):
            _share(f"augment.{name}", getattr(self, name), below=1)
        if not 0 <= self.strength <= 3:
            raise InputError(f"augment.strength {self.strength}", "give 0 to 3")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixConfig:
    """Mix-up (Zhang 2018) and CutMix (Yun 2019) of whole batches, with soft targets."""

    mixup: float = 0.2
    """a of Beta(a, a); 0 switches it off."""
    cutmix: float = 0.0
    """The same of CutMix. Where both are on, each batch gets one of them, as likely as the other."""
    chance: float = 0.5
    """Share of batches that are mixed."""
    off_last: float = 0.1
    """Share of the epochs, at the end, without either; of several epochs at least one, unless 0."""

    def __post_init__(self) -> None:
        _share("mix.chance", self.chance)
        _share("mix.off_last", self.off_last)
        if min(self.mixup, self.cutmix) < 0:
            raise InputError(f"mix.mixup {self.mixup}, mix.cutmix {self.cutmix}", "give 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceConfig:
    """How often tiles of each class are drawn."""

    by: str = "multipliers"
    """multipliers: 6, 12 or 30 times as often, whichever evens classes best (paper, section 1.2); even: exactly even;
    none: as they are."""
    multipliers: Mapping[str, int] = field(default_factory=dict)
    """By class, instead of those derived from the counts."""

    def __post_init__(self) -> None:
        if self.by not in BALANCES:
            raise InputError(f"balance.by {self.by!r}", f"give {', '.join(BALANCES)}")
        if any(factor < 1 for factor in self.multipliers.values()):
            raise InputError(f"balance.multipliers {dict(self.multipliers)}", "give whole numbers from 1")
        if self.multipliers and self.by != "multipliers":
            raise InputError(f"balance.multipliers beside balance.by {self.by!r}", "drop one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfreezeConfig:
    """Which parts of the network learn when (paper, section 1.3)."""

    gradual: bool = True
    """Whether the head learns alone at first and stages are opened one by one from the top; else all learn at once."""
    head_share: float = 0.1
    """Share of the epochs in which the head learns alone, at least one epoch."""
    open_by: float = 0.5
    """Share of the epochs by which the last of them is open."""
    depth: int | None = None
    """How many stages below the head are ever opened; None for all."""
    decay: float = 0.7
    """Learning rate of a stage, as a share of that of the stage above."""
    train_batch_norm: bool = True
    """Whether BatchNorm of opened stages takes the statistics of its batches; in frozen stages it never does."""

    def __post_init__(self) -> None:
        _share("unfreeze.head_share", self.head_share)
        _share("unfreeze.open_by", self.open_by)
        if self.depth is not None and self.depth < 0:
            raise InputError(f"unfreeze.depth {self.depth}", "give 0 or more, or leave it out")
        if not 0 < self.decay <= 1:
            raise InputError(f"unfreeze.decay {self.decay}", "give a share above 0, up to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """AdamW under a cosine with warm-up."""

    learning_rate: float = 4e-3
    """Of the head, at its largest."""
    backbone: float = 0.25
    """Learning rate of the topmost stage below the head, as a share of the head's."""
    weight_decay: float = 0.05
    """Of weights; biases and normalisation have none."""
    warm_up: float = 0.05
    """Share of all steps in which the rate climbs."""
    clip: float = 1.0
    """Largest norm of a gradient; 0 leaves gradients as they are."""
    label_smoothing: float = 0.05
    """Share of each target that is spread over all classes."""
    class_weights: bool = False
    """Whether a class's loss weighs the more the fewer of its tiles are drawn."""
    ema: bool = True
    """Whether a running mean of the weights is what is validated and kept."""

    def __post_init__(self) -> None:
        _share("optimiser.warm_up", self.warm_up, below=1)
        _share("optimiser.label_smoothing", self.label_smoothing, below=1)
        if self.learning_rate <= 0 or self.backbone <= 0 or min(self.weight_decay, self.clip) < 0:
            problem = f"optimiser.learning_rate {self.learning_rate}, backbone {self.backbone}"
            raise InputError(problem, "give rates above 0, and no negative decay or clip")


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthConfig:
    """How long, and how much at a time."""

    epochs: int | None = None
    """Passes at most; None settles it by the number of tiles."""
    epoch_tiles: int | None = None
    """Tiles drawn an epoch; None draws each about once, and of a large set a part."""
    batch: int | None = None
    """Tiles a step, over all processes together."""
    accumulate: int = 1
    """Into how many parts a step is cut where memory is short; the result stays the same but for BatchNorm."""
    patience: int | None = None
    """Epochs without a better one after which it ends; counted from when all stages are open."""

    def __post_init__(self) -> None:
        given = (self.epochs, self.epoch_tiles, self.batch, self.patience, self.accumulate)
        if any(one is not None and one < 1 for one in given):
            raise InputError("a length of training below 1", "give whole numbers from 1, or leave them out")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training: the tiles of a run folder, one network, and its recipe."""

    run: str = "run"
    """The run folder with tiles/ and split.csv."""
    name: str = ""
    """Of the member; from network, scale, repetition and seed where it is left out."""
    classes: tuple[str, ...] = ()
    """In the order of the outputs; those of the training part where it is left out."""
    mpp: tuple[float, ...] = ()
    """um/px of the training tiles; may be left out where the run has one scale."""
    validation_mpp: float | None = None
    """um/px of validation and test tiles; None for the first of `mpp`."""
    side_px: int | None = None
    """Tiles of another side are cropped in the middle, or mirrored at the edges; None for the most frequent side."""
    normalise: str = "none"
    """even, reinhard or macenko: tiles are brought to the middle of the training slides; none leaves them."""
    folds: tuple[str, ...] = ()
    """Repetitions of the split to train in, a member each; all of them where it is left out."""
    seeds: tuple[int, ...] = (0,)
    """A member each."""
    train_on_validation: bool = False
    """Whether validation tiles train too; then nothing is chosen by them, and the last epoch is kept."""
    metric: str = "slide_balanced_accuracy"
    """By which the best epoch is kept: slide_balanced_accuracy, slide_accuracy, the same with tile_, tile_macro_auc,
    tile_log_loss."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
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
    compile: bool = False
    """Whether torch.compile is used."""
    channels_last: bool = True
    deterministic: bool = False
    """Whether only operations are used that give the same bits each time; slower on a GPU. A CPU does anyway."""
    workers: int | None = None
    """Processes that read and vary tiles; None: none on a CPU, on a GPU one a core, 16 at most."""
    cache_mb: int = 2048
    """Memory of a training process for decoded tiles: training tiles first, then those of other parts, where all of a
    part fit; else they are read anew each time."""
    checkpoint_minutes: float = 10.0
    """At least so often, and after each epoch, the state is written from which a killed training goes on."""
    trackers: tuple[str, ...] = TRACKERS
    """Those of them that are installed are told of each epoch."""

    def __post_init__(self) -> None:
        choices = {"metric": VALIDATION_METRICS, "normalise": ("none", *METHODS), "precision": PRECISIONS}
        for name, known in choices.items():
            if (given := getattr(self, name)) not in known:
                raise InputError(f"unknown {name} {given!r}", f"give {', '.join(known)}")
        if self.device not in {"auto", "cpu"}:
            raise InputError(f"unknown device {self.device!r}", "give auto or cpu; CUDA_VISIBLE_DEVICES picks a GPU")
        if not self.seeds or min(self.seeds) < 0:
            raise InputError(f"seeds {list(self.seeds)}", "give whole numbers from 0")
        for name in ("classes", "folds", "mpp", "seeds"):
            check_once(name, getattr(self, name))
        for name in ("workers", "cache_mb", "checkpoint_minutes"):
            _from_zero(name, getattr(self, name) or 0)
        if self.side_px is not None and self.side_px < 16:
            raise InputError(f"side_px {self.side_px}", "give at least 16")
        if unknown := sorted(set(self.trackers) - set(TRACKERS)):
            raise InputError(f"unknown tracker {unknown[0]!r}", f"give {', '.join(TRACKERS)}, both or none")


def check_once(name: str, values: Sequence[object]) -> None:
    """Raise InputError where a value stands twice."""
    if len(set(values)) < len(values):
        raise InputError(f"{name} {list(values)}", "give each once")


def _from_zero(name: str, value: float) -> None:
    if value < 0:
        raise InputError(f"{name} {value}", "give 0 or more")


def _share(name: str, value: float, below: float | None = None) -> None:
    if not 0 <= value <= 1 or (below is not None and value >= below):
        raise InputError(f"{name} {value}", f"give a share from 0 to {'below ' if below is not None else ''}1")
