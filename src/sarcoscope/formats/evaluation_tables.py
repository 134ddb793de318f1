"""The tables of an evaluation and of a search as CSV: slides in the paper's form, and all that stands behind them.

Shares are 0..1 in full precision, a missing number is an empty cell, and every row says whether it is of phantoms, but
for tables in the paper's form, which has no room for it.
"""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Estimate, Evaluation, PatchResult, Search, Share, SlideResult
from sarcoscope.formats.atomic import remove, write_text

VARIANTS: Final = {"vote": "original", "refined": "refined", "mean": "mean", "regression": "regression"}
"""What tables call the ways of deciding; the first two as the paper does."""
NOTICE_FILE: Final = "NOTICE.txt"
"""Beside tables: what they are not."""
Row = Sequence[Any]
_WITHOUT: Final = ("without_pooled", "balanced_without_pooled")
_ESTIMATE: Final = ("value", "low", "high", "n", "units")
_SHARE: Final = ("right", "n", "value", "low", "high")


def write_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write FOLDER/*.csv and NOTICE.txt, each atomically; tables of parts that are gone are removed. ArtifactError."""
    tables = evaluation_tables(evaluation)
    for part in Part:
        if f"slides_{part}.csv" not in tables:
            remove(folder / f"slides_{part}.csv")
    for name, text in tables.items():
        write_text(folder / name, text)


def evaluation_tables(evaluation: Evaluation) -> dict[str, str]:
    """What each file of an evaluation's tables holds, by its name."""
    marked = {
        "models.csv": _models(evaluation),
        "patch.csv": _patch(evaluation),
        "patch_confusion.csv": _patch_confusion(evaluation),
        "reliability.csv": _reliability(evaluation),
        "slides_intervals.csv": _slide_intervals(evaluation),
        "slides_confusion.csv": _slide_confusion(evaluation),
        "decisions.csv": _decisions(evaluation),
        "comparisons.csv": _comparisons(evaluation),
        "coverage.csv": _coverage(evaluation),
        "sweep.csv": _sweep(evaluation),
    }
    parts = dict.fromkeys(one.part for one in evaluation.slide)
    return {
        NOTICE_FILE: f"Not a clinical result. {evaluation.notice}\n",
        **{f"slides_{part}.csv": csv_text(slide_table(evaluation, part)) for part in parts},
        **{name: csv_text(_marked(rows, synthetic=evaluation.synthetic)) for name, rows in marked.items()},
    }


def search_table(search: Search) -> str:
    """The ranking, a row a combination, as CSV."""
    rows: list[Row] = [
        ("rank", "size", "members", "metric", *_ESTIMATE, "behind", "behind_low", "behind_high", "level")
    ]
    for rank, one in enumerate(search.ranked, 1):
        behind = one.behind_best
        differences = (None,) * 3 if behind is None else (behind.value, behind.low, behind.high)
        named = (rank, len(one.members), ";".join(one.members), search.metric)
        rows.append((*named, *_estimate(one.value), *differences, one.is_level))
    return csv_text(_marked(rows, synthetic=search.synthetic))


def slide_table(evaluation: Evaluation, part: Part) -> list[Row]:
    """Tables 2 and 3 of the paper for one part, heading first: a row a model and way, counts and percentages."""
    mine = [one for one in evaluation.slide if one.part == part]
    codes = [one.code for one in evaluation.classes if any(one.code in some.per_class for some in mine)]
    heading = [f"{name}_{what}" for name in (*codes, "overall") for what in ("true", "false", "acc_printed")]
    names = {model.name: at for at, model in enumerate(evaluation.models)}
    rows = sorted(mine, key=lambda one: (list(VARIANTS).index(one.way), names[one.model]))
    return [["model", "variant", *heading], *(_slide_row(one, codes) for one in rows)]


def percent_printed(share: Share) -> str:
    """A percentage as the paper prints it: two digits, halves up, and whole where it is 0 or 100."""
    if share.right in (0, share.n):
        return "" if not share.n else "100" if share.right else "0"
    hundredths = (share.right * 20_000 + share.n) // (2 * share.n)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def csv_text(rows: Iterable[Row]) -> str:
    """Comma-separated text of rows, the heading first; None is an empty cell, a truth value yes or no."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value


def _marked(rows: Sequence[Row], *, synthetic: bool) -> list[Row]:
    heading, *others = rows
    return [(*heading, "synthetic"), *((*row, synthetic) for row in others)]


def _estimate(found: Estimate) -> Row:
    return found.value, found.low, found.high, found.n, found.units


def _share(share: Share) -> Row:
    return share.right, share.n, share.value, share.low, share.high


def _slide_row(result: SlideResult, codes: Sequence[str]) -> Row:
    cells: list[Any] = [result.model, VARIANTS[result.way]]
    for share in (*(result.per_class.get(code) for code in codes), result.overall):
        if share is None:
            cells += [None, None, None]
        else:
            cells += [share.right, share.n - share.right, percent_printed(share)]
    return cells


def _models(evaluation: Evaluation) -> list[Row]:
    heading = ("model", "of", "members", "architectures", "trained_mpp", "read_mpp", "mode", "rule", "weights")
    rows: list[Row] = [(*heading, "temperature", "bundle", "bundle_sha256")]
    for one in evaluation.models:
        trained = ";".join("+".join(f"{mpp:g}" for mpp in scales) for scales in one.trained_mpp)
        read = ";".join(f"{mpp:g}" for mpp in one.read_mpp)
        weights = ";".join(repr(weight) for weight in one.weights)
        named = (one.name, one.of, ";".join(one.members), ";".join(one.architectures), trained, read)
        rows.append((*named, one.mode, one.rule, weights, one.temperature, one.bundle, one.bundle_sha256))
    return rows


def _patch(evaluation: Evaluation) -> list[Row]:
    """A row a model, part and number; `optimistic` where tiles of pooled classes are in it."""
    pooled = evaluation.pooled
    rows: list[Row] = [("model", "part", "measure", "class", *_ESTIMATE, "optimistic")]
    for one in evaluation.patch:
        for measure, code, found in _patch_numbers(one):
            optimistic = code in pooled if code else bool(pooled) and measure not in _WITHOUT
            rows.append((one.model, one.part, measure, code, *_estimate(found), optimistic))
    return rows


def _patch_numbers(one: PatchResult) -> Iterable[tuple[str, str, Estimate]]:
    for code, found in one.per_class.items():
        yield "accuracy", code, found
    for code, found in one.auc.items():
        yield "auc", code, found
    yield "overall", "", one.overall
    if one.without_pooled is not None:
        yield "without_pooled", "", one.without_pooled
    if one.balanced_without_pooled is not None:
        yield "balanced_without_pooled", "", one.balanced_without_pooled
    yield "balanced_accuracy", "", one.balanced_accuracy
    yield "macro_f1", "", one.macro_f1
    yield "kappa", "", one.kappa
    yield "macro_auc", "", one.macro_auc
    for when, reliability in (("before", one.before), ("after", one.after)):
        yield f"ece_{when}", "", reliability.ece
        yield f"log_loss_{when}", "", reliability.log_loss


def _patch_confusion(evaluation: Evaluation) -> list[Row]:
    codes = [one.code for one in evaluation.classes]
    rows: list[Row] = [("model", "part", "truth", "predicted", "tiles", "row_share")]
    for one in evaluation.patch:
        for code, counts in zip(codes, one.confusion, strict=True):
            total = sum(counts)
            for told, count in zip(codes, counts, strict=True):
                rows.append((one.model, one.part, code, told, count, count / total if total else None))
    return rows


def _reliability(evaluation: Evaluation) -> list[Row]:
    """A row a model, part, temperature and bar."""
    rows: list[Row] = [("model", "part", "temperature", "low", "high", "tiles", "confidence", "right")]
    for one in evaluation.patch:
        for temperature, found in ((1.0, one.before), (one.temperature, one.after)):
            for bar in found.bins:
                measured = (bar.low, bar.high, bar.tiles, bar.confidence, bar.right)
                rows.append((one.model, one.part, temperature, *measured))
    return rows


def _slide_intervals(evaluation: Evaluation) -> list[Row]:
    """A row a model, part, way and class, and one overall."""
    rows: list[Row] = [("model", "part", "variant", "class", *_SHARE, "balanced_accuracy", "undetermined")]
    for one in evaluation.slide:
        named = (one.model, one.part, VARIANTS[one.way])
        rows += [(*named, code, *_share(share), None, None) for code, share in one.per_class.items()]
        rows.append((*named, "", *_share(one.overall), one.balanced_accuracy, one.undetermined))
    return rows


def _slide_confusion(evaluation: Evaluation) -> list[Row]:
    rows: list[Row] = [("model", "part", "variant", "truth", "label", "slides")]
    for one in evaluation.slide:
        for code, counts in one.confusion.items():
            rows += [(one.model, one.part, VARIANTS[one.way], code, told, count) for told, count in counts.items()]
    return rows


def _decisions(evaluation: Evaluation) -> list[Row]:
    """A row a slide and model, with the grounds."""
    codes = [one.code for one in evaluation.classes]
    counts = [f"{what}_{code}" for what in ("votes", "refined_votes", "mean_probability") for code in codes]
    heading = ["model", "part", "slide", "patient", "truth", "components", "tiles", *counts, "margin"]
    heading += ["refined_margin", "refined_applied", "refined_reason", "undetermined"]
    heading += [f"{what}_{name}" for name in VARIANTS.values() for what in ("label", "right")]
    rows: list[Row] = [[*heading, "set", "set_reason", "tests", "distance", "distance_p", "far", "far_reason"]]
    for one in evaluation.decisions:
        row: list[Any] = [one.model, one.part, one.slide, one.patient, one.truth, ";".join(one.components), one.tiles]
        for by_class in (one.votes, one.refined_votes, one.mean_probability):
            row += [by_class.get(code) for code in codes]
        row += [one.margin, one.refined_margin, one.refined_applied, one.refined_reason, one.undetermined]
        for way in VARIANTS:
            row += [one.labels.get(way), one.right.get(way)]
        row += [None if one.set_classes is None else ";".join(one.set_classes) or "none", one.set_reason]
        row += ["; ".join(f"{test} ({source})" for test, source in one.tests)]
        rows.append([*row, one.distance, one.distance_p, one.far, one.far_reason])
    return rows


def _comparisons(evaluation: Evaluation) -> list[Row]:
    heading = ("part", "variant", "one", "other", "both", "only_one", "only_other", "neither", "p")
    rows: list[Row] = [(*heading, "difference", "low", "high", "units")]
    for one in evaluation.comparisons:
        counts = (one.both, one.only_one, one.only_other, one.neither)
        by = one.difference
        told = (None,) * 4 if by is None else (by.value, by.low, by.high, by.units)
        rows.append((one.part, VARIANTS[one.way], one.one, one.other, *counts, one.p, *told))
    return rows


def _coverage(evaluation: Evaluation) -> list[Row]:
    """A row a model, part and class, and one of all classes, which says more."""
    more = ("sets_of_one", "sets_of_one_right", "sets_of_all", "mean_size", "far", "far_n")
    rows: list[Row] = [("model", "part", "level", "class", *_SHARE, *more)]
    for one in evaluation.coverage:
        far = (None, None) if one.far is None else (one.far.right, one.far.n)
        sizes = (one.single, one.single_right.right, one.everything, one.mean_size)
        rows.append((one.model, one.part, one.level, "", *_share(one.covered), *sizes, *far))
        nothing = (None,) * len(more)
        rows += [
            (one.model, one.part, one.level, code, *_share(each), *nothing) for code, each in one.per_class.items()
        ]
    return rows


def _sweep(evaluation: Evaluation) -> list[Row]:
    rows: list[Row] = [("model", "fraction", "declared", "applied", *_SHARE, "right_without_rule")]
    for one in evaluation.sweeps:
        for point in one.points:
            declared = point.fraction == one.declared
            named = (one.model, point.fraction, declared, point.applied)
            rows.append((*named, *_share(point.right), one.plain.right))
    return rows
