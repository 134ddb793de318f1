"""A bundle in lines for people."""

from collections.abc import Iterable
from typing import Any

from sarcoscope.cli.console import percent
from sarcoscope.diagnosis.calibration import Calibration, slides_needed
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.bundle import Bundle, BundleManifest, BundleMember

_PARTS = ("temperature", "regression", "conformal", "distance")
"""Of a calibration, in the order in which they are shown."""


def rows(opened: Bundle) -> list[tuple[str, str]]:
    """(name, value) a line; further lines of a name have an empty one."""
    manifest = opened.manifest
    tiling = manifest.tiling
    return [
        ("bundle", f"{manifest.name}, version {manifest.version}, every file matches its hash"),
        ("sha256", opened.sha256),
        ("for", manifest.intended_use),
        ("not for", manifest.not_for),
        ("notice", opened.notice),
        *_lines("classes", (f"{one.code}: {one.name}" for one in manifest.classes)),
        *_lines("members", (_member(one, manifest) for one in manifest.members)),
        ("tiles", f"{tiling.tile_px} px at {tiling.mpp:g} um/px, at least {percent(tiling.minimum_tissue)} tissue"),
        *_lines("fusion", _fusion(manifest)),
        *_lines("rules", _rules(manifest.rules)),
        *_lines("calibration", _calibration(manifest.calibration, manifest.rules.unscored)),
        *_lines("would decide", _ancillary(manifest.rules)),
        *_origin(manifest.provenance),
    ]


def _lines(name: str, values: Iterable[str]) -> list[tuple[str, str]]:
    return [("" if number else name, value) for number, value in enumerate(values)]


def _member(one: BundleMember, manifest: BundleManifest) -> str:
    shown = f"reads {one.mpp or manifest.tiling.mpp:g} um/px; " if manifest.fusion.mode == "concentric" else ""
    measured = "".join(f"; {name.replace('_', ' ')} {value:.3f}" for name, value in one.metrics.items())
    trained = ", ".join(f"{mpp:g}" for mpp in one.trained_mpp)
    return f"{one.name}: {one.architecture}; {shown}trained at {trained} um/px{measured}"


def _fusion(manifest: BundleManifest) -> list[str]:
    fusion, names = manifest.fusion, [one.name for one in manifest.members]
    what = {"vote": "vote of members", "weighted": "weighted mean of probabilities"}
    rule = what.get(fusion.rule, f"{fusion.rule} of probabilities")
    mode = {"shared": "shared tiles", "concentric": "concentric tiles, each member its own scale around one centre"}
    weights = (f"weight {value:.3f} for {name}" for name, value in zip(names, fusion.weights, strict=False))
    return [f"{rule}, {mode[fusion.mode]}", *weights]


def _rules(rules: SlideRules) -> list[str]:
    told = [f"most frequent label of at least {rules.minimum_tiles} tiles, else undetermined"]
    if rules.refine:
        moves = ", ".join(f"{a} counts as {b}" for a, b in rules.refine.relabel.items())
        seen = ", ".join(rules.refine.evidence)
        told.append(f"refined: where {seen} each hold {percent(rules.refine.fraction)} of tiles, {moves}")
    told += [f"component: {rule.component} in {rule.main}" for rule in rules.components]
    return told + [f"tile level only: {code}" for code in rules.unscored]


def _ancillary(rules: SlideRules) -> list[str]:
    return [f"{one.test} between {' and '.join(one.between)} ({one.source})" for one in rules.ancillary]


def _calibration(found: Calibration, unscored: tuple[str, ...]) -> list[str]:
    """What it rests on, and why a part is missing."""
    there = {"temperature": _temperature(found), "regression": _regression(found)}
    there |= {"conformal": _conformal(found, unscored), "distance": _distance(found)}
    told = [
        there[part] or f"no {part}: {found.why_not[part]}" for part in _PARTS if there[part] or part in found.why_not
    ]
    return told or ["none: neither a set of classes at a level nor an out-of-cohort flag"]


def _temperature(found: Calibration) -> str:
    return f"temperature {found.temperature:.3g}" if found.temperature != 1 else ""


def _regression(found: Calibration) -> str:
    if (one := found.regression) is None:
        return ""
    return f"regression on vote shares: of {one.slides} validation slides, penalty {one.penalty:g}"


def _conformal(found: Calibration, unscored: tuple[str, ...]) -> str:
    if (one := found.conformal) is None:
        return ""
    counts = ", ".join(f"{code} {count}" for code, count in one.slides.items())
    told = f"sets at {percent(one.level)}: of {sum(one.slides.values())} validation slides ({counts})"
    if one.own:
        told += f"; {', '.join(one.own)} by slides of its own"
    empty = [code for code, threshold in one.thresholds.items() if threshold is None and code not in unscored]
    if empty:
        told += f"; {', '.join(empty)} can never be left out, {slides_needed(one.level)} slides are needed"
    return told


def _distance(found: Calibration) -> str:
    if (one := found.distance) is None:
        return ""
    told = (
        f"out-of-cohort flag: features of {one.member}, neighbour {one.neighbours}, {len(one.scores)} validation slides"
    )
    if len(one.scores) < slides_needed(one.level):
        told += f"; {slides_needed(one.level)} are needed for a level of {percent(one.level)}"
    return told


def _origin(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    told = [("trained on", provenance.get("trained_on"))]
    tiles, slides = provenance.get("tiles"), provenance.get("slides")
    if isinstance(tiles, dict) and isinstance(slides, dict):
        told += [
            ("", f"{name}: {sum(counts.values())} tiles of {len(slides.get(name, []))} slides")
            for name, counts in tiles.items()
        ]
    told += [("made", f"{provenance.get('made')} by '{provenance.get('command')}' {provenance.get('version')}")]
    return [(name, str(value)) for name, value in told if value]
