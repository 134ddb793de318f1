"""How far intervals, sets, rankings and the regression can be trusted of few slides: simulated, no slide is read."""

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from results import put_section, said
from sarcoscope.core.cohort import Part
from sarcoscope.diagnosis.calibration import order_statistic, regressed
from sarcoscope.metrics.patch import patch_result
from sarcoscope.metrics.subsets import rank_subsets
from sarcoscope.stages.calibrate import fit_regression

LEVEL = 0.9
TILES = 20
"""A slide."""
Floats = npt.NDArray[np.floating]


def intervals(rng: np.random.Generator, slides: int, times: int = 600) -> float:
    """Share of bootstrap intervals that hold the truth; slides vary in how easy they are, four fifths are right."""
    held = 0
    for _ in range(times):
        right = (rng.random((slides, TILES)) < rng.beta(8, 2, slides)[:, None]).ravel()
        units = np.repeat(np.arange(slides), TILES)
        told = np.where(right, 0, 1)
        found = patch_result(
            "m",
            Part.TEST,
            np.zeros(len(told), np.intp),
            np.eye(2)[told],
            units,
            classes=("A", "B"),
            slides=units,
            patients=0,
            pooled=(),
            temperature=1.0,
            draws=400,
            rng=rng,
        ).overall
        held += found.low is not None and found.high is not None and found.low <= 0.8 <= found.high
    return held / times


def sets_after_choosing(rng: np.random.Generator, slides: int, states: int, times: int = 4000) -> float:
    """Share of new slides whose set holds their class, where the best of equally good states was kept by the slides.

    The score of a slide, 1 - its mean probability for its class, is drawn anew for each state.
    """
    held = []
    for _ in range(times):
        scores = rng.beta(2, 5, (states, slides))
        limit = order_statistic(list(scores[scores.mean(axis=1).argmin()]), LEVEL)
        held.append(1.0 if limit is None else float(beta.cdf(limit, 2, 5)))
    return float(np.mean(held))


def called_worse(rng: np.random.Generator, slides: int = 20, models: int = 16, times: int = 150) -> tuple[float, float]:
    """Share of equally good models that are called worse than the luckiest: by all together, and each by itself."""
    together = alone = 0
    names = [(f"m{number}",) for number in range(models)]
    units = np.repeat(np.arange(slides), TILES)
    labels = np.zeros(len(units), np.intp)
    for _ in range(times):
        hard = rng.normal(1.4, 1.2, (1, slides)) + rng.normal(0, 0.5, (models, slides))
        right = rng.random((models, slides, TILES)) < 1 / (1 + np.exp(-hard))[:, :, None]
        told = np.where(right.reshape(models, -1), 0, 1)
        said_of = list(np.eye(2)[told])  # a model each, (N, 2)
        found = rank_subsets(
            names, said_of.__getitem__, labels, units, ("A", "B"), metric="tile_accuracy", draws=400, rng=rng
        )
        together += sum(not one.is_level for one in found[1:])
        by_slide = right.mean(axis=2)  # (models, slides)
        drawn = by_slide[:, rng.integers(slides, size=(400, slides))].mean(axis=2)  # (models, draws)
        best = int(by_slide.mean(axis=1).argmax())
        low = np.percentile(drawn[best] - drawn, 2.5, axis=1)
        alone += int((np.delete(low, best) > 0).sum())
    return together / (times * (models - 1)), alone / (times * (models - 1))


def regression(rng: np.random.Generator, times: int = 40) -> tuple[float, float]:
    """Share of new slides that the regression on vote shares and the plain vote get right, of 19 validation slides."""
    right = np.zeros(2)
    counts = (8, 4, 4, 3)
    mixed = np.array([[0.5, 0.1, 0.3, 0.1], [0.1, 0.6, 0.2, 0.1], [0.3, 0.15, 0.45, 0.1], [0.2, 0.1, 0.1, 0.6]])

    def drawn(labels: npt.NDArray[np.intp]) -> Floats:
        return np.array([rng.dirichlet(8 * mixed[label]) for label in labels])

    for _ in range(times):
        known = np.repeat(np.arange(4), counts)
        new = np.repeat(np.arange(4), [25 * count for count in counts])
        fitted, shares = fit_regression(drawn(known), known), drawn(new)
        right += [(regressed(shares, fitted).argmax(axis=1) == new).mean(), (shares.argmax(axis=1) == new).mean()]
    return float(right[0] / times), float(right[1] / times)


def main() -> None:
    """Simulate all of it, write it down."""
    rng = np.random.default_rng(0)
    rows = [
        f"| 95 % bootstrap interval over {slides} slides holds the truth | {intervals(rng, slides):.0%} |"
        for slides in (5, 10, 20, 40)
    ]
    rows += [
        f"| sets for 90 % hold the class, {slides} slides, the best of {states} equally good states kept by them "
        f"| {sets_after_choosing(rng, slides, states):.0%} |"
        for states in (1, 30, 200)
        for slides in (20, 80)
    ]
    for slides in (9, 20):
        rank = int(np.ceil(round((slides + 1) * LEVEL, 9)))
        low = beta.ppf(0.05, rank, slides + 1 - rank)
        rows.append(
            f"| least that sets for 90 % on {slides} slides hold in 19 of 20 validation sets (exact) | {low:.0%} |"
        )
    together, alone = called_worse(rng)
    rows += [
        f"| of 16 equally good models on 20 slides called worse than the luckiest, by its own interval | {alone:.0%} |",
        f"| the same, by intervals for all at once, as `ensemble search` does | {together:.0%} |",
    ]
    by_regression, by_vote = regression(rng)
    rows += [
        f"| right by the regression on vote shares, 19 validation slides, 40 cohorts | {by_regression:.0%} |",
        f"| the same slides by the plain vote | {by_vote:.0%} |",
    ]
    put_section(
        "What few slides can tell",
        [
            said("benchmarks/simulated.py"),
            "Simulated numbers; no slide was read.",
            "",
            "| what | share |",
            "|---|---|",
            *rows,
        ],
    )


if __name__ == "__main__":
    main()
