"""An evaluation as `sarcoscope evaluate` leaves it: slides are drawn here, every count follows from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import (
    UNDETERMINED,
    Bin,
    ClassWords,
    Comparison,
    Coverage,
    Decision,
    Estimate,
    Evaluation,
    ModelWords,
    PatchResult,
    Reliability,
    Search,
    Share,
    SlideResult,
    SubsetResult,
    Sweep,
    SweepPoint,
)
from sarcoscope.metrics.intervals import wilson_interval
from sarcoscope.reports.colors import spare_colors
from tests.reports.builder import CLASSES

NOTICE = "Made of synthetic phantom slides to show the software; not for diagnosis of patients."
PARTS = (Part.VALIDATION, Part.TEST1, Part.TEST2)
SETS = {Part.VALIDATION: 20, Part.TEST1: 57, Part.TEST2: 42}
MIX = (0.38, 0.14, 0.03, 0.17, 0.28)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What to draw."""

    models: tuple[ModelWords, ...]
    classes: tuple[ClassWords, ...]
    parts: tuple[Part, ...] = PARTS
    slides: Mapping[Part, int]
    pooled: tuple[str, ...] = ("MPNST",)
    unscored: tuple[str, ...] = ("MPNST",)
    regression: bool = True
    sets: bool = True
    intervals: bool = True
    synthetic: bool = True
    seed: int = 3


def model(
    name: str, members: int = 1, *, mpp: Sequence[float] = (0.5,), mode: str = "shared", of: str = ""
) -> ModelWords:
    scales = (tuple(mpp) * members)[:members]
    return ModelWords(
        name=name,
        of=of,
        members=tuple(f"b7-{place}" for place in range(1, members + 1)),
        architectures=("tf_efficientnet_b7",) * members,
        trained_mpp=tuple((one,) for one in scales),
        read_mpp=scales if mode == "concentric" else (0.5,) * members,
        mode=mode,
        rule="mean",
        temperature=1.37,
        bundle=of or name,
        bundle_sha256="d" * 64,
    )


MODELS = (
    model("EfficientNetB7"),
    model("Ensemble", 3),
    model("MultiV1", 2, mpp=(1.0, 0.5)),
    model("MultiV1-concentric", 2, mpp=(1.0, 0.5), mode="concentric"),
    model("MultiV2", 3, mpp=(1.0, 0.5, 0.25)),
    model("MultiV1 at 10x", 1, mpp=(1.0,), of="MultiV1"),
)


def words(codes: int = 5, *, long: bool = False) -> tuple[ClassWords, ...]:
    known = [ClassWords(code=code, name=name, color=color) for code, (name, color) in CLASSES.items()][:codes]
    colors = spare_colors(codes - len(known), [one.color for one in known]) if codes > len(known) else []
    more = [ClassWords(code=f"SUBTYPE{place}", name=f"a further subtype, {place}", color=color)
            for place, color in enumerate(colors, 1)]  # fmt: skip
    all_of = (*known, *more)
    if long:
        return tuple(
            replace(one, name=f"{one.name} of the retroperitoneum, grade not otherwise specified") for one in all_of
        )
    return all_of


def ask(**changes: object) -> Ask:
    base = Ask(models=MODELS, classes=words(), slides=SETS)
    return replace(base, **changes)  # type: ignore[arg-type]


def share(right: int, n: int) -> Share:
    low, high = wilson_interval(right, n)
    return Share(right=right, n=n, low=low, high=high)


class _Maker:
    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.codes = [one.code for one in ask.classes]
        self.rng = np.random.default_rng(ask.seed)
        mix = np.resize(np.array(MIX), len(self.codes))
        self.mix = mix / mix.sum()
        self.truths = {part: self._truths(ask.slides[part]) for part in ask.parts}

    def _truths(self, count: int) -> list[str]:
        scored = np.array(
            [0.0 if code in self.ask.unscored else p for code, p in zip(self.codes, self.mix, strict=True)]
        )
        return [self.codes[at] for at in self.rng.choice(len(self.codes), count, p=scored / scored.sum())]

    def estimate(self, value: float | None, n: int, units: int = 17) -> Estimate:
        if value is None or not self.ask.intervals:
            return Estimate(value=value, n=n, units=units)
        half = 1.96 * np.sqrt(max(value * (1 - value), 0.01) / units)
        return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half * 0.8), n=n, units=units)

    def reliability(self, ece: float, tiles: int) -> Reliability:
        edges = np.linspace(0, 1, 11)
        bins = []
        for low, high in pairwise(edges):
            inside = round(tiles * (high**2 - low**2)) if low >= 0.2 else 0
            middle = (low + high) / 2
            right = None if not inside else float(np.clip(middle - ece * (1 + low), 0, 1))
            bins.append(Bin(low=low, high=high, tiles=inside, confidence=middle if inside else None, right=right))
        return Reliability(ece=self.estimate(ece, tiles), log_loss=self.estimate(0.6 + ece, tiles), bins=tuple(bins))

    def patch(self, words: ModelWords, part: Part) -> PatchResult:
        size, tiles = len(self.codes), 4000
        per_class = np.maximum(1, np.round(self.mix * tiles)).astype(int)
        confusion = np.zeros((size, size), int)
        for row, count in enumerate(per_class):
            skill = self.rng.uniform(0.6, 0.97)
            chances = np.full(size, (1 - skill) / max(1, size - 1))
            chances[row] = 1 - chances.sum() + chances[row]
            confusion[row] = self.rng.multinomial(count, chances / chances.sum())
        total, right = int(confusion.sum()), np.diag(confusion)
        recall = right / confusion.sum(axis=1)
        precision = right / np.maximum(1, confusion.sum(axis=0))
        kept = [at for at, code in enumerate(self.codes) if code not in self.ask.pooled]
        expected = (confusion.sum(axis=0) * confusion.sum(axis=1)).sum() / total**2
        accuracy = right.sum() / total
        pooled = bool(set(self.ask.pooled) & set(self.codes))
        return PatchResult(
            model=words.name,
            part=part,
            tiles=total,
            slides=17,
            patients=17,
            per_class={
                code: self.estimate(float(recall[at]), int(per_class[at])) for at, code in enumerate(self.codes)
            },
            auc={
                code: self.estimate(float(0.9 + 0.1 * recall[at] - 0.02), total) for at, code in enumerate(self.codes)
            },
            overall=self.estimate(float(accuracy), total),
            without_pooled=self.estimate(float(right[kept].sum() / confusion[kept].sum()), int(confusion[kept].sum()))
            if pooled
            else None,
            balanced_accuracy=self.estimate(float(recall.mean()), total),
            macro_f1=self.estimate(float((2 * recall * precision / (recall + precision)).mean()), total),
            kappa=self.estimate(float((accuracy - expected) / (1 - expected)), total),
            macro_auc=self.estimate(0.95, total),
            confusion=tuple(tuple(int(one) for one in row) for row in confusion),
            temperature=words.temperature,
            before=self.reliability(0.09, total),
            after=self.reliability(0.03, total),
        )

    def decision(self, words: ModelWords, part: Part, place: int, truth: str) -> Decision:
        tiles = int(self.rng.integers(8, 600)) if place % 19 else int(self.rng.integers(3, 19))
        alpha = np.full(len(self.codes), 0.35)
        alpha[self.codes.index(truth)] += 2.2
        shares = self.rng.dirichlet(alpha)
        votes = self.rng.multinomial(tiles, shares)
        by_code = {code: int(count) for code, count in zip(self.codes, votes, strict=True)}
        order = sorted(self.codes, key=lambda code: -by_code[code])
        undetermined = f"{tiles} kept tiles, at least 20 needed" if tiles < 20 else None
        applied = all(by_code.get(code, 0) > 0.05 * tiles for code in ("DDLPS", "UPS", "WDLPS"))
        refined = dict(by_code)
        if applied:
            refined["DDLPS"], refined["UPS"] = refined["DDLPS"] + refined["UPS"], 0
        refined_order = sorted(self.codes, key=lambda code: -refined[code])
        labels: dict[str, str | None] = {"vote": order[0], "refined": refined_order[0], "mean": order[0]}
        if self.ask.regression:
            labels["regression"] = order[0] if self.rng.random() < 0.9 else truth
        if undetermined:
            labels = dict.fromkeys(labels)
        scored = truth not in self.ask.unscored
        right = {way: (label == truth if scored else None) for way, label in labels.items()}
        kept = tuple(order[: 1 + int(by_code[order[1]] > 0.25 * tiles)])
        return Decision(
            model=words.name, part=part, slide=f"{part}-{place:03d}", patient=f"p{place // 2:03d}", truth=truth,
            components=("WDLPS",) if truth == "DDLPS" and place % 3 == 0 else (), tiles=tiles, votes=by_code,
            shares={code: count / tiles for code, count in by_code.items()},
            mean_probability={code: float(one) for code, one in zip(self.codes, shares, strict=True)},
            margin=(by_code[order[0]] - by_code[order[1]]) / tiles, refined_votes=refined,
            refined_margin=(refined[refined_order[0]] - refined[refined_order[1]]) / tiles, refined_applied=applied,
            refined_reason="UPS counts as DDLPS: all three above 5.0%" if applied else "WDLPS 2.0%, below 5.0%",
            undetermined=undetermined, labels=labels, right=right,
            set_classes=kept if self.ask.sets and not undetermined else None,
            set_reason="90% of slides, from 20 validation slides" if self.ask.sets else "",
            tests=(("MDM2/CDK4 FISH", "WHO 2020"),) if self.ask.sets and set(kept) == {"DDLPS", "UPS"} else (),
            distance=0.21 if self.ask.sets else None, distance_p=0.4 if self.ask.sets else None,
            far=(place % 17 == 5) if self.ask.sets else None,
            far_reason="farther than 19 of 20 validation slides" if place % 17 == 5 else "",
        )  # fmt: skip


def _slide_result(made: Sequence[Decision], way: str, unscored: Sequence[str], codes: Sequence[str]) -> SlideResult:
    scored = [one for one in made if one.truth not in unscored]
    confusion: dict[str, Counter[str]] = {}
    for one in scored:
        confusion.setdefault(one.truth, Counter())[one.labels[way] or UNDETERMINED] += 1
    per_class = {
        code: share(sum(bool(one.right[way]) for one in scored if one.truth == code), total)
        for code in codes
        if (total := sum(one.truth == code for one in scored))
    }
    values = [one.value for one in per_class.values() if one.value is not None]
    return SlideResult(
        model=made[0].model, part=made[0].part, way=way, per_class=per_class,
        overall=share(sum(bool(one.right[way]) for one in scored), len(scored)),
        undetermined=sum(one.labels[way] is None for one in scored),
        balanced_accuracy=float(np.mean(values)),
        confusion={code: dict(confusion[code]) for code in codes if code in confusion},
    )  # fmt: skip


def _comparison(one: Sequence[Decision], other: Sequence[Decision], way: str) -> Comparison:
    pairs: Counter[tuple[bool, bool]] = Counter(
        (bool(a.right[way]), bool(b.right[way])) for a, b in zip(one, other, strict=True) if a.right[way] is not None
    )
    only_one, only_other = pairs[True, False], pairs[False, True]
    return Comparison(
        part=one[0].part, way=way, one=one[0].model, other=other[0].model, both=pairs[True, True], only_one=only_one,
        only_other=only_other, neither=pairs[False, False], p=_binomial(only_one, only_other),
    )  # fmt: skip


def _binomial(one: int, other: int) -> float:
    n, few = one + other, min(one, other)
    chances: npt.NDArray[np.float64] = np.array([1.0])
    for _ in range(n):
        chances = np.convolve(chances, [0.5, 0.5])
    return float(min(1.0, 2 * chances[: few + 1].sum())) if n else 1.0


def _coverage(made: Sequence[Decision], unscored: Sequence[str], codes: Sequence[str]) -> Coverage:
    scored = [one for one in made if one.truth not in unscored and one.set_classes is not None]
    holds = [one.truth in (one.set_classes or ()) for one in scored]
    single = [one for one in scored if len(one.set_classes or ()) == 1]
    return Coverage(
        model=made[0].model, part=made[0].part, level=0.9, covered=share(sum(holds), len(scored)),
        per_class={code: share(sum(h for h, one in zip(holds, scored, strict=True) if one.truth == code), total)
                   for code in codes if (total := sum(one.truth == code for one in scored))},
        single=len(single), everything=0,
        mean_size=float(np.mean([len(one.set_classes or ()) for one in scored])) if scored else None,
        single_right=share(sum(one.truth in (one.set_classes or ()) for one in single), len(single)),
        far=share(sum(bool(one.far) for one in made), len(made)),
    )  # fmt: skip


def make_evaluation(asked: Ask | None = None) -> Evaluation:
    """Everything that is counted is counted from the decisions drawn."""
    asked = asked or ask()
    maker = _Maker(asked)
    codes = maker.codes
    patch = [maker.patch(one, part) for part in (Part.VALIDATION, Part.TEST) for one in asked.models]
    decided = {
        (one.name, part): [
            maker.decision(one, part, place, truth) for place, truth in enumerate(maker.truths[part], start=1)
        ]
        for part in asked.parts
        for one in asked.models
    }
    ways = ("vote", "refined", "mean", "regression") if asked.regression else ("vote", "refined", "mean")
    slide = [_slide_result(made, way, asked.unscored, codes) for made in decided.values() for way in ways]
    comparisons = [
        _comparison(decided[one.name, part], decided[other.name, part], way)
        for part in asked.parts
        for place, one in enumerate(asked.models)
        for other in asked.models[place + 1 :]
        for way in ways
    ]
    return Evaluation(
        name="made",
        synthetic=asked.synthetic,
        notice=NOTICE if asked.synthetic else "Research use only, not a medical device.",
        data="119 slides of 60 patients, two batches; 8,000 tiles of 256 px at 0.5 um/px.",
        classes=asked.classes,
        pooled=tuple(one for one in asked.pooled if one in codes),
        unscored=tuple(one for one in asked.unscored if one in codes),
        draws=1000,
        seed=0,
        models=asked.models,
        patch=tuple(patch),
        slide=tuple(slide),
        decisions=tuple(one for made in decided.values() for one in made),
        comparisons=tuple(comparisons),
        coverage=tuple(_coverage(made, asked.unscored, codes) for made in decided.values()) if asked.sets else (),
        sweeps=tuple(_sweep(one, maker.rng, asked.slides[Part.VALIDATION]) for one in asked.models)
        if Part.VALIDATION in asked.parts
        else (),
        failures={"test1-099": "no tissue found"},
        provenance={"version": "0.1.0", "seed": 0, "libraries": {"numpy": "2.3", "onnxruntime": "1.23"}},
    )


def _sweep(words: ModelWords, rng: np.random.Generator, n: int) -> Sweep:
    points, right = [], round(0.7 * n)
    for step in range(1, 31):
        right = int(np.clip(right + rng.integers(-1, 2), round(0.55 * n), n))
        points.append(SweepPoint(fraction=step / 100, right=share(right, n), applied=max(0, 9 - step // 3)))
    return Sweep(model=words.name, declared=0.05, plain=share(round(0.7 * n), n), points=tuple(points))


def _behind(value: float) -> Estimate:
    return Estimate(value=-value, low=-value - 0.03, high=-value + 0.03, n=2000, units=17)


def make_search(count: int = 31, *, synthetic: bool = True) -> Search:
    """A search over the subsets of some members, ranked."""
    rng = np.random.default_rng(5)
    values = np.sort(rng.normal(0.8, 0.03, count))[::-1]
    ranked = []
    for place, value in enumerate(values):
        behind = float(values[0] - value)
        ranked.append(
            SubsetResult(
                members=tuple(f"b7-{bit + 1}" for bit in range(7) if (place + 1) >> bit & 1),
                value=Estimate(value=float(value), low=float(value) - 0.05, high=float(value) + 0.04, n=2000, units=17),
                behind_best=_behind(behind) if place else None,
            )
        )  # fmt: skip
    level = sum(one.behind_best is None or (one.behind_best.high or 0) >= 0 for one in ranked)
    return Search(
        name="single-scale", metric="tile_balanced_accuracy", rule="mean", mode="shared", part=Part.VALIDATION,
        tiles=2000, slides=17, patients=17, draws=1000, seed=0, synthetic=synthetic, ranked=tuple(ranked),
        level_with_best=level,
    )  # fmt: skip


def write_stages(path: Path) -> Path:
    """stages.json as a study leaves it."""
    import json  # noqa: PLC0415

    path.write_text(json.dumps({"stages": {
        "split": {"seconds": 0.4, "version": "0.1.0", "when": "2025-01-01T10:00:00+00:00"},
        "train": {"seconds": 1830.0, "version": "0.1.0", "when": "2025-01-01T10:40:00+00:00", "what": "4 members"},
    }}), encoding="utf-8")  # fmt: skip
    return path
