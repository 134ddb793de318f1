"""Weights that a network starts from: what of a file fits, said tensor by tensor."""

import difflib
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from sarcoscope.core.errors import InputError, shown
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.checkpoints import read_checkpoint
from sarcoscope.networks.timm_network import TimmNetwork

_LEAST_SHARE: Final = 0.5
_DEEPEST_PREFIX: Final = 3
_FEW: Final = 3
"""Names that a report or an error lists."""
_COUNTER: Final = "num_batches_tracked"
"""Of BatchNorm; older files lack it, and nothing here reads it."""
_CLASSIFIERS: Final = ("head", "heads", "head_dist", "fc", "classifier", "last_linear")
_BACKBONE: Final = "backbone."
_HEAD: Final = frozenset({"head.weight", "head.bias"})
_UNCONVERTED: Final = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What timm's conversions raise for tensors that they were not made for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherShape:
    """A tensor that a file has under the right name in another shape."""

    name: str
    found: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsReport:
    """What a network starts from. Names of tensors are the network's own, those of `unexpected` the file's."""

    origin: str
    """random, or `hub: NAME`, or `file NAME, sha256 ...`."""
    matched: int
    """Tensors of the backbone that were loaded."""
    of: int
    """Tensors that the backbone has, without counters of BatchNorm."""
    share: float
    """Of the backbone's parameters that were loaded, 0..1."""
    head: bool = False
    """Whether the head was loaded, too; else it begins at random."""
    reading: str = ""
    """How names were made to fit: what they were taken out of, what was stripped, whether timm converted them."""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    other_shape: tuple[OtherShape, ...] = ()
    left_out: tuple[str, ...] = ()
    """Tensors of a classifier that is not this network's head."""

    def lines(self) -> list[str]:
        """For people: the share first, then what did not fit, by number and the first few names."""
        if not self.matched:
            return ["weights: random, none pretrained: with few tiles expect much less of it"]
        fit = f"{self.matched} of {self.of} tensors, {self.share:.1%} of the backbone's parameters"
        said = [f"weights: {self.origin}: {fit}", "head: loaded" if self.head else "head: begins at random"]
        said += [f"names: {self.reading}"] if self.reading else []
        shapes = [f"{one.name} {one.found}, wanted {one.wanted}" for one in self.other_shape]
        for words, names in (
            ("missing", self.missing),
            ("of another shape", shapes),
            ("not used", self.unexpected),
            ("of another classifier, left out", self.left_out),
        ):
            said += [f"{len(names)} {words}: {_few(names)}"] if names else []
        return said


def no_weights(network: CamNetwork) -> WeightsReport:
    """The report of a network that begins at random."""
    return WeightsReport(origin="random", matched=0, of=len(_backbone(network)), share=0.0)


def all_weights(network: CamNetwork, origin: str) -> WeightsReport:
    """The report of a network whose backbone was loaded whole."""
    every = len(_backbone(network))
    return WeightsReport(origin=origin, matched=every, of=every, share=1.0)


def load_weights(network: CamNetwork, path: Path) -> WeightsReport:
    """Load what fits of a .safetensors file or a checkpoint of torch; nothing of the file is ever run.

    Of several states a running mean is taken. A prefix that many names share is stripped where more fits without it.
    A head is loaded only from a file of this network's own names with as many classes. Raises InputError, and leaves
    the network as it was, where less than half of the backbone's parameters are there, a value is not finite, or the
    file is none.
    """
    checkpoint = read_checkpoint(path)
    fit = _best_fit(network, checkpoint.tensors)
    reading = [checkpoint.wrapper, f"without {fit.prefix}" if fit.prefix else ""]
    if fit.share < 1 and (tensors := _by_timm(network, fit.stripped)):
        other = _best_fit(network, tensors)
        if other.share > fit.share:
            fit = other
            reading.append("converted by timm")
    if fit.share < _LEAST_SHARE:
        raise InputError(f"weights {shown(path)}: {_misfit(network, fit)}", _hint(fit))
    for name, tensor in fit.matched.items():
        if not torch.isfinite(tensor.float()).all():
            raise InputError(f"weights {shown(path)}: {name} has values that are not finite", "get it again")
    own = network.state_dict()
    with torch.no_grad():
        for name, tensor in fit.matched.items():
            own[name].copy_(tensor)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WeightsReport(
        origin=f"file {shown(path.name)}, sha256 {digest}",
        matched=len(fit.matched.keys() & fit.wanted.keys()),
        of=len(fit.wanted),
        share=fit.share,
        head=fit.head,
        reading=", ".join(part for part in reading if part),
        missing=fit.missing,
        unexpected=fit.unexpected,
        other_shape=fit.other_shape,
        left_out=fit.left_out,
    )


class _Fit:
    """What of a file's tensors a network takes, if `prefix` is stripped and `scheme` put before their names."""

    def __init__(self, network: CamNetwork, tensors: Mapping[str, Tensor], prefix: str, scheme: str) -> None:
        self.prefix = prefix
        self.wanted = _backbone(network)
        self.stripped = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        own = {scheme + name: tensor for name, tensor in self.stripped.items()}
        state = network.state_dict()
        fits = {name: tensor for name, tensor in own.items() if name in state and state[name].shape == tensor.shape}
        self.head = fits.keys() >= _HEAD
        self.matched = fits if self.head else {name: tensor for name, tensor in fits.items() if name not in _HEAD}
        sizes = _sizes(network)
        self.share = sum(sizes.get(name, 0) for name in self.matched) / sum(sizes.values())
        self.missing = tuple(name for name in self.wanted if name not in own)
        self.other_shape = tuple(
            OtherShape(name=name, found=tuple(tensor.shape), wanted=tuple(self.wanted[name].shape))
            for name, tensor in own.items()
            if name in self.wanted and name not in self.matched
        )
        heads = (*_CLASSIFIERS, *(network.taken_out if isinstance(network, TimmNetwork) else ()))
        rest = [
            name.removeprefix(_BACKBONE)
            for name in own
            if name not in self.matched and name not in self.wanted and not name.endswith(_COUNTER)
        ]
        self.left_out = tuple(name for name in rest if name.startswith(tuple(f"{head}." for head in heads)))
        self.unexpected = tuple(name for name in rest if name not in self.left_out)


def _best_fit(network: CamNetwork, tensors: Mapping[str, Tensor]) -> _Fit:
    """The fit with the most parameters; of equals the one with the least stripped, and with our own names."""
    sizes = _sizes(network)
    shapes = {name: tensor.shape for name, tensor in _backbone(network).items()}
    schemes = ("", _BACKBONE) if isinstance(network, TimmNetwork) else ("",)
    prefixes = {""}
    for name in tensors:
        parts = name.split(".")[:-1][:_DEEPEST_PREFIX]
        prefixes |= {".".join(parts[:length]) + "." for length in range(1, len(parts) + 1)}

    def parameters(way: tuple[str, str]) -> int:
        prefix, scheme = way
        own = ((scheme + name.removeprefix(prefix), tensor.shape) for name, tensor in tensors.items())
        return sum(sizes.get(name, 0) for name, shape in own if shapes.get(name) == shape)

    ways = [(prefix, scheme) for prefix in sorted(prefixes, key=lambda one: (len(one), one)) for scheme in schemes]
    return _Fit(network, tensors, *max(ways, key=parameters))  # max keeps the first of equals


def _by_timm(network: CamNetwork, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors as timm converts them from other libraries' names and other sides; empty where it cannot."""
    if not isinstance(network, TimmNetwork):
        return {}
    convert = getattr(sys.modules[type(network.backbone).__module__], "checkpoint_filter_fn", None)
    try:
        converted = convert(dict(tensors), network.backbone) if convert else {}
        return {name: value for name, value in converted.items() if isinstance(value, Tensor)}
    except _UNCONVERTED:
        return {}


def _backbone(network: CamNetwork) -> dict[str, Tensor]:
    """The tensors that a file should have, by our names."""
    state = network.state_dict()
    return {name: value for name, value in state.items() if name not in _HEAD and not name.endswith(_COUNTER)}


def _sizes(network: CamNetwork) -> dict[str, int]:
    return {name: value.numel() for name, value in network.named_parameters() if name not in _HEAD}


def _misfit(network: CamNetwork, fit: _Fit) -> str:
    name = network.name if isinstance(network, TimmNetwork) else "compact"
    return f"only {fit.share:.1%} of the parameters of {name} ({len(fit.wanted)} tensors) are in it"


def _hint(fit: _Fit) -> str:
    """Some names of both sides, and which of the file's are nearest to those that are missing."""
    if not fit.missing:
        first = fit.other_shape[0]
        return f"give weights of this network: {first.name} is {first.found}, wanted {first.wanted}"
    wanted = [name.removeprefix(_BACKBONE) for name in fit.missing]
    near = {name: difflib.get_close_matches(name, fit.unexpected, 1, 0.6) for name in wanted[:_FEW]}
    like = [f"{name} (like its {found[0]})" if found else name for name, found in near.items()]
    has = f"; the file has {_few(fit.unexpected)}" if fit.unexpected else ""
    return f"give weights of this network: it wants {', '.join(like)}{', ...' if len(wanted) > _FEW else ''}{has}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")
