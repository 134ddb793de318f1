"""How an answer came about, step by step, in words with the numbers."""

from collections.abc import Mapping
from typing import Any

from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.reports.wording import WAYS_WORDS, level_words, listed, percent, plural, says_nothing

_FUSIONS: Mapping[str, str] = {
    "mean": "mean of probabilities",
    "weighted": "weighted mean of probabilities",
    "product": "product of probabilities",
    "vote": "vote of members, ties by mean probability",
}


def trace(record: DiagnosisRecord) -> list[tuple[str, str]]:
    """(step, what it did) from tiles to the answer, in the order in which it is done."""
    return [
        ("Tiles", f"{record.tiles.planned:,} planned, {record.tiles.kept:,} kept"),
        *members(record.provenance),
        ("Plain vote", _counted(record.votes, record.label, record.second, record.margin, record.undetermined)),
        ("Refined rule", _refined(record)),
        *(
            (
                f"{found.component} component",
                f"{'present' if found.present else 'not found'}, {percent(found.share)} of tiles; {found.reason}",
            )
            for found in record.components
        ),
        *(
            (
                WAYS_WORDS.get(way, way).capitalize(),
                f"{label or 'undetermined'}{_means(record) if way == 'mean' else ''}",
            )
            for way, label in record.other_ways.items()
        ),
        *_set(record),
        *_likeness(record),
    ]


def members(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which members saw what, how they were fused, the temperature; nothing where the provenance does not say."""
    steps = []
    shown, fusion, temperature = (provenance.get(key) for key in ("members", "fusion", "temperature"))
    if isinstance(shown, Mapping):
        steps.append(
            ("Members", ", ".join(f"{name} at {_number(mpp)} \N{MICRO SIGN}m/px" for name, mpp in shown.items()))
        )
    if isinstance(fusion, Mapping):
        rule, weights = str(fusion.get("rule")), fusion.get("weights")
        told = _FUSIONS.get(rule, rule)
        if isinstance(weights, list) and weights:
            told += f" with weights {', '.join(_number(one) for one in weights)}"
        concentric = fusion.get("mode") == "concentric"
        steps.append(
            ("Fusion", f"{told}; {'each member its own scale' if concentric else 'all members the same tile'}")
        )
    if isinstance(temperature, int | float) and temperature != 1:
        steps.append(
            ("Temperature", f"{temperature:.3g}: {'less' if temperature > 1 else 'more'} sure than as trained")
        )
    return steps


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)


def _counted(
    votes: Mapping[str, int], label: str | None, second: str | None, margin: float | None, reason: str | None
) -> str:
    """'UPS 10, LMS 4 of 14 tiles; UPS leads LMS by 42.9 points'."""
    total = sum(votes.values())
    ranked = sorted((code for code in votes if votes[code]), key=lambda code: -votes[code])
    told = (
        f"{', '.join(f'{code} {votes[code]:,}' for code in ranked)} of {plural(total, 'tile')}" if total else "no tile"
    )
    if label is None:
        return f"{told}; undetermined: {reason}" if reason else f"{told}; undetermined"
    ahead = f"{label} leads {second} by {100 * (margin or 0):.1f} points" if second else f"{label} alone"
    return f"{told}; {ahead}"


def _refined(record: DiagnosisRecord) -> str:
    after = record.refined
    if not after.applied or after.label is None:
        return after.reason
    counted = _counted(after.votes, after.label, after.second, after.margin, None)
    did = f"label changes from {record.label} to {after.label}" if after.changed else f"label stays {after.label}"
    return f"{after.reason}. Then {counted}; {did}"


def _means(record: DiagnosisRecord) -> str:
    known = {code: one for code, one in record.mean_probability.items() if one is not None}
    ranked = sorted(known, key=lambda code: -known[code])[:3]
    return f" ({', '.join(f'{code} {percent(known[code])}' for code in ranked)})" if ranked else ""


def _set(record: DiagnosisRecord) -> list[tuple[str, str]]:
    if (found := record.set) is None:
        return [("Set of classes", f"none: {record.why_not['set']}")] if "set" in record.why_not else []
    classes = "every class that is scored" if says_nothing(record) else listed(found.classes, "and") or "no class"
    tests = "".join(f"; {listed(one.between, 'and')} separated by {one.test}" for one in found.tests)
    return [(f"Set at {level_words(found.level)}", f"{classes}; {found.reason}{tests}")]


def _likeness(record: DiagnosisRecord) -> list[tuple[str, str]]:
    if (found := record.likeness) is None:
        return [("Likeness", f"not assessed: {record.why_not['likeness']}")] if "likeness" in record.why_not else []
    flagged = "flagged as out of cohort" if found.far else "not flagged"
    return [("Likeness", f"{flagged}; mean distance {found.distance:.3g}; {found.reason}")]
