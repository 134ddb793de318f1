"""The tables of an evaluation as CSV: patch level, slide level in the paper's form, and all that stands behind them."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Estimate, Evaluation, PatchResult, Share, SlideResult
from sarcoscope.formats.atomic import remove, write_text

VARIANTS: Final = {"vote": "original", "refined": "refined", "mean": "mean", "regression": "regression"}
"""What tables call the ways of deciding; the first two as the paper does."""
Row = Sequence[Any]


def write_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write FOLDER/*.csv, each atomically; tables of parts that are gone are removed. Raises ArtifactError."""
    tables = {
        "patch.csv": _patch(evaluation),
        "patch_confusion.csv": _patch_confusion(evaluation),
        "reliability.csv": _reliability(evaluation),
        "slides_confusion.csv": _slides_confusion(evaluation),
        "decisions.csv": _decisions(evaluation),
        "comparisons.csv": _comparisons(evaluation),
        "coverage.csv": _coverage(evaluation),
        "sweep.csv": _sweep(evaluation),
    }
    for part in dict.fromkeys(one.part for one in evaluation.slide):
        tables[f"slides_{part}.csv"] = slide_table(evaluation, part)
    for part in Part:
        if f"slides_{part}.csv" not in tables:
            remove(folder / f"slides_{part}.csv")
    for name, rows in tables.items():
        write_text(folder / name, _text(rows))


def slide_table(evaluation: Evaluation, part: Part) -> list[Row]:
    """Tables 2 and 3 of the paper for one part, heading first: a row a model and way, counts and percentages."""
    mine = [one for one in evaluation.slide if one.part == part]
    codes = [one.code for one in evaluation.classes if any(one.code in some.per_class for some in mine)]
    heading = [f"{name}_{what}" for name in (*codes, "overall") for what in ("true", "false", "acc_printed")]
    names = {model.name: at for at, model in enumerate(evaluation.models)}
    rows = sorted(mine, key=lambda one: (list(VARIANTS).index(one.way), names[one.model]))
    return [["model", "variant", *heading], *(_slide_row(one, codes) for one in rows)]


def _slide_row(result: SlideResult, codes: Sequence[str]) -> Row:
    cells: list[Any] = [result.model, VARIANTS[result.way]]
    for share in (*(result.per_class.get(code) for code in codes), result.overall):
        if share is None:
            cells += ["", "", ""]
        else:
            cells += [share.right, share.n - share.right, _printed(share)]
    return cells


def _printed(share: Share) -> str:
    """A percentage as the paper prints it: two digits, halves up, and whole where it is 0 or 100."""
    if share.right in (0, share.n):
        return "" if not share.n else "100" if share.right else "0"
    hundredths = (share.right * 20_000 + share.n) // (2 * share.n)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _patch(evaluation: Evaluation) -> list[Row]:
    """A row a model, part and number."""
    rows: list[Row] = [["model", "part", "measure", "class", "value", "low", "high", "n", "units", "optimistic"]]
    pooled = evaluation.pooled
    for one in evaluation.patch:
        for measure, code, found in _patch_numbers(one, pooled):
            optimistic = (
                "yes" if code in pooled or (not code and pooled and measure != "overall_without_pooled") else ""
            )
            rows.append([one.model, one.part, measure, code, *_estimate(found), optimistic])
        rows.append([one.model, one.part, "temperature", "", one.temperature, "", "", "", "", ""])
    return rows


def _patch_numbers(one: PatchResult, pooled: Sequence[str]) -> Iterable[tuple[str, str, Estimate]]:
    for code, found in one.per_class.items():
        yield "accuracy", code, found
    yield "overall", "", one.overall
    if one.without_pooled is not None and pooled:
        yield f"overall_without_{'_'.join(pooled)}", "", one.without_pooled
    yield "balanced_accuracy", "", one.balanced_accuracy
    yield "macro_f1", "", one.macro_f1
    yield "kappa", "", one.kappa
    for code, found in one.auc.items():
        yield "auc", code, found
    yield "macro_auc", "", one.macro_auc
    yield "ece_before", "", one.before.ece
    yield "ece_after", "", one.after.ece
    yield "log_loss_before", "", one.before.log_loss
    yield "log_loss_after", "", one.after.log_loss


def _estimate(found: Estimate) -> Row:
    return [_cell(found.value), _cell(found.low), _cell(found.high), found.n, found.units]


def _patch_confusion(evaluation: Evaluation) -> list[Row]:
    codes = [one.code for one in evaluation.classes]
    rows: list[Row] = [["model", "part", "true", "predicted", "tiles", "row_share"]]
    for one in evaluation.patch:
        for code, counts in zip(codes, one.confusion, strict=True):
            total = sum(counts)
            rows += [
                [one.model, one.part, code, told, count, _cell(count / total if total else None)]
                for told, count in zip(codes, counts, strict=True)
            ]
    return rows


def _reliability(evaluation: Evaluation) -> list[Row]:
    rows: list[Row] = [["model", "part", "temperature", "low", "high", "tiles", "confidence", "right"]]
    for one in evaluation.patch:
        for degrees, found in (("before", one.before), ("after", one.after)):
            rows += [
                [
                    one.model,
                    one.part,
                    degrees,
                    each.low,
                    each.high,
                    each.tiles,
                    _cell(each.confidence),
                    _cell(each.right),
                ]
                for each in found.bins
            ]
    return rows


def _slides_confusion(evaluation: Evaluation) -> list[Row]:
    rows: list[Row] = [["model", "part", "variant", "true", "told", "slides"]]
    for one in evaluation.slide:
        for code, counts in one.confusion.items():
            rows += [[one.model, one.part, VARIANTS[one.way], code, told, count] for told, count in counts.items()]
    return rows


def _decisions(evaluation: Evaluation) -> list[Row]:
    """A row a slide and model, with the grounds."""
    codes = [one.code for one in evaluation.classes]
    heading = ["model", "part", "slide", "patient", "truth", "components", "tiles"]
    heading += [f"votes_{code}" for code in codes] + [f"mean_probability_{code}" for code in codes]
    heading += ["margin", "refined_applied", "refined_margin", "refined_reason", "undetermined"]
    heading += [f"{what}_{name}" for name in VARIANTS.values() for what in ("label", "right")]
    heading += ["set", "set_reason", "tests", "distance", "distance_p", "far"]
    rows: list[Row] = [heading]
    for one in evaluation.decisions:
        row = [one.model, one.part, one.slide, one.patient or "", one.truth, ";".join(one.components), one.tiles]
        row += [one.votes[code] for code in codes] + [_cell(one.mean_probability[code]) for code in codes]
        row += [_cell(one.margin), _yes(one.refined_applied), _cell(one.refined_margin), one.refined_reason]
        row.append(one.undetermined or "")
        for way in VARIANTS:
            row += [one.labels.get(way) or "", _yes(one.right.get(way))]
        row += ["" if one.set_classes is None else ";".join(one.set_classes) or "none", one.set_reason]
        row += ["; ".join(f"{test} ({source})" for test, source in one.tests)]
        row += [_cell(one.distance), _cell(one.distance_p), _yes(one.far)]
        rows.append(row)
    return rows


def _comparisons(evaluation: Evaluation) -> list[Row]:
    rows: list[Row] = [["part", "variant", "one", "other", "both", "only_one", "only_other", "neither", "p"]]
    for one in evaluation.comparisons:
        counts = (one.both, one.only_one, one.only_other, one.neither)
        rows.append([one.part, VARIANTS[one.way], one.one, one.other, *counts, one.p])
    return rows


def _coverage(evaluation: Evaluation) -> list[Row]:
    rows: list[Row] = [["model", "part", "level", "of", "class", "right", "n", "value", "low", "high"]]
    for one in evaluation.coverage:
        shares = [("covered", "", one.covered), *(("covered", code, each) for code, each in one.per_class.items())]
        shares += [("single_right", "", one.single_right)] + ([("far", "", one.far)] if one.far else [])
        rows += [[one.model, one.part, one.level, of, code, *_share(each)] for of, code, each in shares]
        counts = {"single": one.single, "everything": one.everything, "mean_size": one.mean_size}
        rows += [
            [one.model, one.part, one.level, of, "", "", one.covered.n, _cell(value), "", ""]
            for of, value in counts.items()
        ]
    return rows


def _share(share: Share) -> Row:
    return [share.right, share.n, _cell(share.value), _cell(share.low), _cell(share.high)]


def _sweep(evaluation: Evaluation) -> list[Row]:
    rows: list[Row] = [["model", "fraction", "declared", "applied", "right", "n", "value", "low", "high"]]
    for one in evaluation.sweeps:
        rows.append([one.model, "none", "", 0, *_share(one.plain)])
        rows += [
            [one.model, each.fraction, _yes(each.fraction == one.declared), each.applied, *_share(each.right)]
            for each in one.points
        ]
    return rows


def _cell(value: float | None) -> Any:
    return "" if value is None else value


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _text(rows: Iterable[Row]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
