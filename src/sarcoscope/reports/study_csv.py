"""All numbers of a study as CSV: one row a number where that is possible, slide tables in the paper's form."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any, Final

from sarcoscope.core.evaluation import Estimate, Evaluation, PatchResult, Search, Share
from sarcoscope.reports.published_figures import PUBLISHED, SOURCE
from sarcoscope.reports.study_choice import WAY_WORDS, scored_classes

_ESTIMATES: Final = ("overall", "without_pooled", "balanced_accuracy", "macro_f1", "kappa", "macro_auc")
NOTICE_FILE: Final = "NOTICE.txt"


def study_tables(evaluation: Evaluation, searches: Sequence[Search] = (), *, published: bool = False) -> dict[str, str]:
    """Content of each CSV by its name, in full precision; `NOTICE.txt` says what they are not."""
    parts = list(dict.fromkeys(one.part for one in evaluation.slide))
    found = {
        NOTICE_FILE: f"Not a clinical result. {evaluation.notice}\n",
        "models.csv": _models(evaluation),
        "patch.csv": _patch(evaluation),
        "patch_confusion.csv": _patch_confusion(evaluation),
        "reliability.csv": _reliability(evaluation),
        **{f"slides_{part}.csv": _slides(evaluation, str(part)) for part in parts},
        "slides_intervals.csv": _slide_intervals(evaluation),
        "slides_confusion.csv": _slide_confusion(evaluation),
        "decisions.csv": _decisions(evaluation),
        "comparisons.csv": _comparisons(evaluation),
        "coverage.csv": _coverage(evaluation),
        "sweep.csv": _sweep(evaluation),
        **{f"search_{one.name}.csv": _search(one) for one in searches},
    }
    if published:
        found["published_slides.csv"] = _published()
    return found


def csv_text(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Comma-separated text with a heading; None is an empty cell."""
    text = StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(heading)
    out.writerows([["" if cell is None else cell for cell in row] for row in rows])
    return text.getvalue()


def _models(evaluation: Evaluation) -> str:
    heading = ("model", "of", "members", "architectures", "trained_mpp", "read_mpp", "mode", "rule", "weights",
               "temperature", "bundle", "bundle_sha256", "synthetic")  # fmt: skip
    rows = [
        (
            one.name, one.of, ";".join(one.members), ";".join(one.architectures),
            ";".join("+".join(f"{mpp:g}" for mpp in scales) for scales in one.trained_mpp),
            ";".join(f"{mpp:g}" for mpp in one.read_mpp), one.mode, one.rule,
            ";".join(repr(weight) for weight in one.weights), one.temperature, one.bundle, one.bundle_sha256,
            evaluation.synthetic,
        )
        for one in evaluation.models
    ]  # fmt: skip
    return csv_text(heading, rows)


def _estimate(estimate: Estimate) -> tuple[Any, ...]:
    return estimate.value, estimate.low, estimate.high, estimate.n, estimate.units


def _patch_rows(one: PatchResult) -> Iterable[tuple[Any, ...]]:
    for code, estimate in one.per_class.items():
        yield (one.model, one.part, "accuracy", code, *_estimate(estimate))
    for code, estimate in one.auc.items():
        yield (one.model, one.part, "auc", code, *_estimate(estimate))
    for name in _ESTIMATES:
        if (found := getattr(one, name)) is not None:
            yield (one.model, one.part, name, "", *_estimate(found))
    for name, reliability in (("before", one.before), ("after", one.after)):
        yield (one.model, one.part, f"ece_{name}", "", *_estimate(reliability.ece))
        yield (one.model, one.part, f"log_loss_{name}", "", *_estimate(reliability.log_loss))


def _patch(evaluation: Evaluation) -> str:
    heading = ("model", "part", "measure", "class", "value", "low", "high", "n", "units", "pooled", "synthetic")
    rows = [
        (*row, row[3] in evaluation.pooled, evaluation.synthetic)
        for one in evaluation.patch
        for row in _patch_rows(one)
    ]
    return csv_text(heading, rows)


def _patch_confusion(evaluation: Evaluation) -> str:
    codes = [one.code for one in evaluation.classes]
    rows = [
        (one.model, one.part, truth, predicted, count, evaluation.synthetic)
        for one in evaluation.patch
        for truth, counts in zip(codes, one.confusion, strict=True)
        for predicted, count in zip(codes, counts, strict=True)
    ]
    return csv_text(("model", "part", "truth", "predicted", "tiles", "synthetic"), rows)


def _reliability(evaluation: Evaluation) -> str:
    rows = [
        (
            one.model,
            one.part,
            temperature,
            bar.low,
            bar.high,
            bar.tiles,
            bar.confidence,
            bar.right,
            evaluation.synthetic,
        )
        for one in evaluation.patch
        for temperature, reliability in ((1.0, one.before), (one.temperature, one.after))
        for bar in reliability.bins
    ]
    heading = ("model", "part", "temperature", "low", "high", "tiles", "confidence", "right", "synthetic")
    return csv_text(heading, rows)


def _percent(right: int, n: int) -> str:
    return f"{100 * right / n:.2f}" if n else ""


def _slides(evaluation: Evaluation, part: str) -> str:
    """In the form of the paper's tables 2 and 3, so that `sarcoscope audit` reads it."""
    found = [one for one in evaluation.slide if one.part == part]
    codes = scored_classes(evaluation, found[0].part)
    names = [*codes, "overall"]
    heading = ["model", "variant", *(f"{name}_{what}" for name in names for what in ("true", "false", "acc_printed"))]
    rows = []
    for one in sorted(found, key=lambda item: list(WAY_WORDS).index(item.way)):
        shares = [*(one.per_class.get(code, Share(right=0, n=0, low=0, high=1)) for code in codes), one.overall]
        cells = [
            cell for share in shares for cell in (share.right, share.n - share.right, _percent(share.right, share.n))
        ]
        variant = "original" if one.way == "vote" else one.way
        rows.append([one.model, variant, *cells])
    return csv_text(heading, rows)


def _share(share: Share) -> tuple[Any, ...]:
    return share.value, share.low, share.high, share.right, share.n


def _slide_intervals(evaluation: Evaluation) -> str:
    rows: list[tuple[Any, ...]] = []
    for one in evaluation.slide:
        for code, share in one.per_class.items():
            rows.append((one.model, one.part, one.way, code, *_share(share), "", "", evaluation.synthetic))
        tail = (one.balanced_accuracy, one.undetermined, evaluation.synthetic)
        rows.append((one.model, one.part, one.way, "", *_share(one.overall), *tail))
    heading = ("model", "part", "way", "class", "value", "low", "high", "right", "n", "balanced_accuracy",
               "undetermined", "synthetic")  # fmt: skip
    return csv_text(heading, rows)


def _slide_confusion(evaluation: Evaluation) -> str:
    rows = [
        (one.model, one.part, one.way, truth, label, count, evaluation.synthetic)
        for one in evaluation.slide
        for truth, counts in one.confusion.items()
        for label, count in counts.items()
    ]
    return csv_text(("model", "part", "way", "truth", "label", "slides", "synthetic"), rows)


def _decisions(evaluation: Evaluation) -> str:
    codes, ways = [one.code for one in evaluation.classes], list(WAY_WORDS)
    heading = ("model", "part", "slide", "patient", "truth", "components", "tiles", *(f"votes_{one}" for one in codes),
               *(f"refined_votes_{one}" for one in codes), *(f"mean_probability_{one}" for one in codes), "margin",
               "refined_margin", "refined_applied", "refined_reason", "undetermined", *(f"label_{one}" for one in ways),
               *(f"right_{one}" for one in ways), "set", "set_reason", "tests", "distance", "distance_p", "far",
               "far_reason", "synthetic")  # fmt: skip
    rows = [
        (
            one.model, one.part, one.slide, one.patient, one.truth, ";".join(one.components), one.tiles,
            *(one.votes.get(code) for code in codes), *(one.refined_votes.get(code) for code in codes),
            *(one.mean_probability.get(code) for code in codes), one.margin, one.refined_margin, one.refined_applied,
            one.refined_reason, one.undetermined, *(one.labels.get(way) for way in ways),
            *(one.right.get(way) for way in ways), None if one.set_classes is None else ";".join(one.set_classes),
            one.set_reason, "; ".join(f"{test} ({source})" for test, source in one.tests), one.distance, one.distance_p,
            one.far, one.far_reason, evaluation.synthetic,
        )
        for one in evaluation.decisions
    ]  # fmt: skip
    return csv_text(heading, rows)


def _comparisons(evaluation: Evaluation) -> str:
    rows = [
        (one.part, one.way, one.one, one.other, one.both, one.only_one, one.only_other, one.neither, one.p,
         evaluation.synthetic)
        for one in evaluation.comparisons
    ]  # fmt: skip
    heading = ("part", "way", "one", "other", "both", "only_one", "only_other", "neither", "p", "synthetic")
    return csv_text(heading, rows)


def _coverage(evaluation: Evaluation) -> str:
    rows: list[tuple[Any, ...]] = []
    for one in evaluation.coverage:
        far: tuple[Any, ...] = (None, None) if one.far is None else (one.far.right, one.far.n)
        tail = (one.single, one.single_right.right, one.everything, one.mean_size, *far, evaluation.synthetic)
        rows.append((one.model, one.part, one.level, "", *_share(one.covered), *tail))
        for code, share in one.per_class.items():
            rows.append((one.model, one.part, one.level, code, *_share(share), *[""] * 6, evaluation.synthetic))
    heading = ("model", "part", "level", "class", "value", "low", "high", "covered", "n", "sets_of_one",
               "sets_of_one_right", "sets_of_all", "mean_size", "far", "far_n", "synthetic")  # fmt: skip
    return csv_text(heading, rows)


def _sweep(evaluation: Evaluation) -> str:
    rows = [
        (one.model, one.declared, point.fraction, *_share(point.right), point.applied, one.plain.right,
         evaluation.synthetic)
        for one in evaluation.sweeps
        for point in one.points
    ]  # fmt: skip
    heading = ("model", "declared", "fraction", "value", "low", "high", "right", "n", "applied", "right_without_rule",
               "synthetic")  # fmt: skip
    return csv_text(heading, rows)


def _search(search: Search) -> str:
    rows = []
    for rank, one in enumerate(search.ranked, start=1):
        behind = one.behind_best
        rows.append((
            rank, ";".join(one.members), search.metric, *_estimate(one.value), None if behind is None else behind.value,
            None if behind is None else behind.low, None if behind is None else behind.high, search.synthetic,
        ))  # fmt: skip
    heading = ("rank", "members", "metric", "value", "low", "high", "n", "units", "behind_best", "behind_low",
               "behind_high", "synthetic")  # fmt: skip
    return csv_text(heading, rows)


def _published() -> str:
    rows = [
        (one.test, one.model, one.n, one.original, one.refined, one.printed_original, one.printed_refined, SOURCE)
        for one in PUBLISHED
    ]
    heading = ("test", "model", "n", "original", "refined", "printed_original", "printed_refined", "source")
    return csv_text(heading, rows)


def as_files(tables: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the tables that can be linked."""
    return tuple(name for name in tables if name.endswith(".csv"))
