"""Which models an evaluation is about: the bundles, and of a bundle of several members each scale and each member."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import ModelWords
from sarcoscope.diagnosis.calibration import Calibration
from sarcoscope.diagnosis.fusion import WEIGHTED
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.bundle import Bundle, Fusion
from sarcoscope.formats.predictions import store_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A bundle, or a part of one."""

    name: str
    bundle: Bundle
    """Itself; of a part the bundle's with fewer members and nothing calibrated."""
    whole: Bundle
    """The bundle that it came from."""
    members: tuple[int, ...]
    """Places of its members in `whole`."""
    of: str = ""
    """Name of the bundle that it is a part of."""

    @property
    def key(self) -> str:
        """Equal for models that say the same of every slide, but for what was calibrated."""
        manifest = self.bundle.manifest
        fused = len(manifest.members) > 1  # one member alone is the same by any rule
        weights = (fused and manifest.fusion.weights) or (0.0,) * len(manifest.members)
        return store_key(
            {
                "members": sorted(
                    (
                        [one.model.sha256, one.mpp, weight]
                        for one, weight in zip(manifest.members, weights, strict=True)
                    ),
                    key=str,
                ),
                "rule": manifest.fusion.rule if fused else "",
                "tiling": as_json(asdict(manifest.tiling)),
                "rules": as_json(asdict(manifest.rules)),
            }
        )

    def words(self, calibration: Calibration) -> ModelWords:
        """What is said of it beside its results."""
        manifest = self.bundle.manifest
        return ModelWords(
            name=self.name,
            of=self.of,
            members=tuple(one.name for one in manifest.members),
            architectures=tuple(one.architecture for one in manifest.members),
            trained_mpp=tuple(one.trained_mpp for one in manifest.members),
            read_mpp=tuple(manifest.tiling.mpp if one.mpp is None else one.mpp for one in manifest.members),
            mode=manifest.fusion.mode,
            rule=manifest.fusion.rule,
            weights=manifest.fusion.weights,
            temperature=calibration.temperature,
            bundle=self.whole.manifest.name,
            bundle_sha256=self.whole.sha256,
            why_not=dict(calibration.why_not),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """All models, none twice."""

    every: tuple[Model, ...]
    """Each bundle with its parts behind it."""
    pairs: tuple[tuple[str, str], ...]
    """Names of models that are compared: bundles with each other, and each with its parts."""

    def of(self, whole: Bundle) -> list[Model]:
        """Those that came from a bundle."""
        return [model for model in self.every if model.whole is whole]


def models_of(bundles: Sequence[Bundle]) -> Models:
    """The bundles and their parts; a part that is another's too, or a bundle of its own, is there once.

    Raises InputError where bundles are called alike or do not tell the same classes.
    """
    _check(bundles)
    wholes = [
        Model(name=one.manifest.name, bundle=one, whole=one, members=tuple(range(len(one.manifest.members))))
        for one in bundles
    ]
    by_key: dict[str, Model] = {}
    for model in wholes:
        if (same := by_key.setdefault(model.key, model)) is not model:
            raise InputError(f"bundles {same.name} and {model.name} are the same model", "give one of them")
    taken = {model.name for model in wholes}
    every: list[Model] = []
    pairs = [(one.name, other.name) for at, one in enumerate(wholes) for other in wholes[at + 1 :]]
    for whole in wholes:
        every.append(whole)
        for part in _parts(whole):
            found = by_key.get(part.key)
            if found is None:
                found = by_key[part.key] = replace(part, name=_free(part, taken))
                taken.add(found.name)
                every.append(found)
            if found is not whole and not {(whole.name, found.name), (found.name, whole.name)} & set(pairs):
                pairs.append((whole.name, found.name))
    return Models(every=tuple(every), pairs=tuple(pairs))


def _check(bundles: Sequence[Bundle]) -> None:
    first = bundles[0]
    names: set[str] = set()
    for one in bundles:
        if one.codes != first.codes:
            problem = (
                f"{one.manifest.name} tells {', '.join(one.codes)}, {first.manifest.name} {', '.join(first.codes)}"
            )
            raise InputError(problem, "evaluate bundles of the same classes, in the same order, together")
        if one.manifest.name in names:
            raise InputError(f"two bundles are called {one.manifest.name}", "make one under another --name")
        names.add(one.manifest.name)


def _parts(whole: Model) -> list[Model]:
    """Each scale alone, then each member alone."""
    manifest = whole.bundle.manifest
    if len(manifest.members) == 1:
        return []
    scales = list(dict.fromkeys(one.trained_mpp for one in manifest.members))
    groups = [tuple(at for at, one in enumerate(manifest.members) if one.trained_mpp == scale) for scale in scales]
    named = [
        (f"{whole.name}, {' + '.join(f'{one:g}' for one in scale)} um/px alone", group)
        for scale, group in zip(scales, groups, strict=True)
        if 1 < len(group) < len(manifest.members)
    ]
    named += [(one.name, (at,)) for at, one in enumerate(manifest.members)]
    return [
        Model(name=name, bundle=_part(whole.bundle, group), whole=whole.bundle, members=group, of=whole.name)
        for name, group in named
    ]


def _part(bundle: Bundle, members: tuple[int, ...]) -> Bundle:
    """A bundle of some members, by the same rule; its weights are brought to sum 1 again."""
    manifest = bundle.manifest
    changes: dict[str, Any] = {
        "members": tuple(manifest.members[at] for at in members),
        "fusion": Fusion(mode=manifest.fusion.mode, **_rule(manifest.fusion, members)),
        "calibration": Calibration(),
        "reference": None,
    }
    return Bundle(folder=bundle.folder, manifest=manifest.model_copy(update=changes), sha256=bundle.sha256)


def _rule(fusion: Fusion, members: tuple[int, ...]) -> dict[str, Any]:
    if len(members) == 1:
        return {"rule": "mean"}
    if fusion.rule != WEIGHTED:
        return {"rule": fusion.rule}
    weights = np.array([fusion.weights[at] for at in members])
    total = float(weights.sum())
    if total == 0:
        return {"rule": "mean"}
    return {"rule": WEIGHTED, "weights": tuple(float(one) for one in weights / total)}


def _free(part: Model, taken: set[str]) -> str:
    """A name that no other model has."""
    read = [part.bundle.manifest.tiling.mpp if one.mpp is None else one.mpp for one in part.bundle.manifest.members]
    at = f"{part.name} at {' + '.join(f'{mpp:g}' for mpp in dict.fromkeys(read))} um/px"
    known = (part.name, at, f"{part.name} ({part.of})", f"{at} ({part.of})")
    for name in known:
        if name not in taken:
            return name
    number = 2
    while f"{known[-1]} {number}" in taken:
        number += 1
    return f"{known[-1]} {number}"
