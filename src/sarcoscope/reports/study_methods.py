"""The methods text: how things were done, from what the artefacts say of themselves, fit to go into a paper."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sarcoscope.core.evaluation import Evaluation, ModelWords
from sarcoscope.reports.study_blocks import Cell, Column, Table
from sarcoscope.reports.study_choice import own_models, slide_tests, ways_of
from sarcoscope.reports.study_facts import StudyFacts
from sarcoscope.reports.study_tables import magnification
from sarcoscope.reports.study_words import DASH, listed
from sarcoscope.reports.tune_page import duration, metric_words
from sarcoscope.reports.wording import level_words, plural

REFERENCES: Final = (
    (
        "Jiang Y. et al. Deep learning-based diagnosis of multi-subtype retroperitoneal soft tissue sarcomas. "
        "Acta Sci. Nat. Univ. Sunyatseni 2025 (ZR20240309)."
    ),
    "Angelopoulos A. N., Bates S. A gentle introduction to conformal prediction. arXiv:2107.07511, 2021.",
    "Efron B., Tibshirani R. An introduction to the bootstrap. Chapman & Hall, 1993.",
    "Guo C. et al. On calibration of modern neural networks. ICML 2017.",
    "Holm S. A simple sequentially rejective multiple test procedure. Scand. J. Statist. 1979; 6: 65.",
    (
        "McNemar Q. Note on the sampling error of the difference between correlated proportions. "
        "Psychometrika 1947; 12: 153."
    ),
    (
        "Wilson E. B. Probable inference, the law of succession, and statistical inference. "
        "J. Am. Stat. Assoc. 1927; 22: 209."
    ),
    "Zhang H. et al. mixup: beyond empirical risk minimization. ICLR 2018.",
    "Zhou B. et al. Learning deep features for discriminative localization. CVPR 2016.",
)
BALANCE_WORDS: Final = {
    "multipliers": "tiles of rare classes drawn several times as often",
    "even": "classes drawn equally often",
    "none": "classes as frequent as they are",
}
"""`BalanceConfig.by` in words."""
MOST_LETTERS: Final = 300
"""Of a note on a step; its whole text stands in stages.json."""
LIMITS: Final = (
    "A tile's label is its slide's: tiles without tumour carry it too.",
    "Of few patients bootstrap intervals are too narrow: of ten they hold the truth 88 % of the time, of five 81 %.",
    "Intervals say how figures would vary with other slides of the same source, not with other laboratories.",
    "Patients are kept apart only where the manifest names them; where it does not, slides are.",
    "Nothing here was compared with the reading of pathologists, and no figure is a claim of clinical use.",
)


def methods(facts: StudyFacts) -> tuple[str, ...]:
    """Paragraphs; what nothing is known of is left out."""
    decided = " ".join(one for one in (_models(facts.evaluation), _rules(facts)) if one)
    found = (_material(facts), _training(facts), decided, _statistics(facts), _software(facts))
    return tuple(one for one in found if one)


def _material(facts: StudyFacts) -> str:
    words = [facts.evaluation.data.rstrip(".") + "."]
    config = facts.split.get("config")
    if isinstance(config, Mapping) and "ratios" in config:
        ratios = "/".join(f"{float(one):g}" for one in config["ratios"])
        words.append(
            f"Slides were dealt to training, validation and patch test in the ratio {ratios} (seed "
            f"{config.get('seed')}), by patient where one is known and by class, so that no slide's tiles stand in two "
            "parts"
            + (
                f", but for {listed(list(config['pooled']))}, whose tiles were pooled and dealt out."
                if config.get("pooled")
                else "."
            )
        )
    cut = facts.cutting.get("inputs", {}).get("cut") if isinstance(facts.cutting.get("inputs"), Mapping) else None
    if isinstance(cut, Mapping) and "tile_px" in cut:
        words.append(_cut(cut))
    return " ".join([*words, *_screening(facts)])


def _screening(facts: StudyFacts) -> list[str]:
    """How many tiles readers took out, or that nobody looked; nothing where no tiles are known."""
    if not facts.tiles:
        return []
    if not facts.looked_at:
        return ["No reader looked through the tiles."]
    out, kept = sum(one.rejected for one in facts.tiles), sum(one.kept for one in facts.tiles)
    of = f"{out:,} of {plural(out + kept, 'tile')} that had been kept"
    return [f"Readers decided about {plural(facts.looked_at, 'tile')}; they rejected {of}."]


def _cut(cut: Mapping[str, Any]) -> str:
    scales = listed([magnification(float(mpp)) for mpp in sorted(cut.get("mpp", ()), reverse=True)])
    quality = cut.get("quality", {})
    limits = ", ".join(f"{str(name).replace('_', ' ')} {value:g}" for name, value in quality.items())
    return (
        f"Tiles of {cut['tile_px']} px were cut at {scales}, resampled from the nearest finer level, and kept from a "
        f"tissue share of {cut.get('minimum_tissue', 0):g} (by nuclear density: {cut.get('minimum_tissue_score', 0):g})"
        + (f"; {limits}." if limits else ".")
    )


def _training(facts: StudyFacts) -> str:
    if not facts.members:
        return ""
    first = facts.members[0]
    names = listed(list(dict.fromkeys(one.architecture for one in facts.members)))
    seeds = listed([str(one) for one in sorted({one.seed for one in facts.members})])
    origins = listed(list(dict.fromkeys(one.weights_origin for one in facts.members)))
    config = first.config
    mixing = f"mix-up with a = {config.mix.mixup:g} (Zhang 2018)" if config.mix.mixup else "no mix-up"
    opened = (
        "at first the head alone, then stage by stage from the top" if config.unfreeze.gradual else "all stages at once"
    )
    return (
        f"{plural(len(facts.members), 'network')} ({names}) began from: {origins}. They learnt {opened}, with flips, "
        f"rotation, crop, occlusion, changes of colour and stain (strength {config.augment.strength:g}), {mixing}, and "
        f"{BALANCE_WORDS[config.balance.by]}; seeds {seeds}. The epoch with the best "
        f"{metric_words(config.metric)} on validation was kept. Settings are the first member's; those of all stand in "
        "their member.json."
    )


def _models(evaluation: Evaluation) -> str:
    fused = [one for one in own_models(evaluation) if len(one.members) > 1]
    words = []
    if fused:
        said = listed([f"{one.name} ({plural(len(one.members), 'member')}, {one.rule}, {one.mode})" for one in fused])
        words.append(
            f"Members were fused by their probabilities: {said}. In mode shared all read the same tile, as published; "
            "in mode concentric each reads its own scale around the same centre."
        )
    words += _temperatures(own_models(evaluation))
    words.append("A slide's label is the most frequent label of its tiles")
    if "refined" in ways_of(evaluation):
        declared = sorted({one.declared for one in evaluation.sweeps})
        at = f" (evidence from {listed([level_words(one) for one in declared])} of the tiles)" if declared else ""
        words[-1] += (
            f"; the refined rule of the paper relabels tiles where a slide shows evidence of all classes it names{at} "
            "and votes again"
        )
    words[-1] += "."
    if evaluation.coverage:
        words.append("Sets of classes are split conformal sets made on validation slides (Angelopoulos 2021).")
    if any(one.far is not None for one in evaluation.coverage):
        words.append("Slides are flagged by the distance of their tiles to training tiles in the last feature layer.")
    return " ".join(words)


def _temperatures(models: Sequence[ModelWords]) -> list[str]:
    """Which models' probabilities were calibrated, and which not and why."""
    fitted = [one.name for one in models if "temperature" not in one.why_not]
    without: dict[str, list[str]] = {}
    for one in models:
        if "temperature" in one.why_not:
            without.setdefault(one.why_not["temperature"], []).append(one.name)
    whose = f" of {listed(fitted)}" if without else ""
    how = f"Fused probabilities{whose} were calibrated by a temperature fitted on validation tiles (Guo 2017)."
    lacking = [f"No temperature was fitted for {listed(names)}: {why.rstrip('.')}." for why, names in without.items()]
    return [how, *lacking] if fitted else lacking


def _rules(facts: StudyFacts) -> str:
    """The slide-level rules as the study's config has them; empty where there is none."""
    config = facts.stages.get("config")
    rules = config.get("rules") if isinstance(config, Mapping) else None
    if not isinstance(rules, Mapping):
        return ""
    words = [f"A slide of fewer than {plural(rules.get('minimum_tiles', 0), 'kept tile')} is left undetermined."]
    if refine := rules.get("refine"):
        moved = listed([f"{source} count as {target}" for source, target in refine["relabel"].items()])
        least = f"{100 * refine['fraction']:g}% of the tiles"
        words.append(f"Refined: where each of {listed(refine['evidence'])} holds at least {least}, tiles of {moved}.")
    words += [
        f"A {one['main']} slide with a {one['component']} component is right where these are its two most frequent "
        "labels."
        for one in rules.get("components", ())
    ]
    if unscored := rules.get("unscored"):
        words.append(f"Slides of {listed(unscored)} were not scored.")
    return " ".join(words)


def _statistics(facts: StudyFacts) -> str:
    evaluation = facts.evaluation
    words = (
        f"Intervals of tile figures are 95% percentile intervals of {plural(evaluation.draws, 'bootstrap draw')} of "
        f"whole patients, or slides where no patient is known (Efron 1993; seed {evaluation.seed}); those of slide "
        "figures are Wilson's (1927). Models were compared on the same slides by McNemar's exact test, adjusted by "
        "Holm's procedure, for the models of one test set, where the text says so. "
        f"{independence(evaluation)} Epochs, settings, members, weights, temperatures, sets and thresholds were "
        "settled on validation, whose figures are therefore optimistic; test sets decided nothing."
    )
    return words + (" Class activation maps are those of Zhou (2016)." if facts.cam else "")


def independence(evaluation: Evaluation) -> str:
    """What intervals and tests of slides take for granted, and how many slides there are to a patient."""
    takes = "Wilson's intervals, McNemar's test and the binomial test take slides as independent of each other"
    tests = slide_tests(evaluation)
    owners = {(one.part, one.slide): one.patient for one in evaluation.decisions if one.part in tests}
    known = [patient for patient in owners.values() if patient]
    if not known:
        return f"{takes}; which are of one patient is not known."
    several = len(known) - len(set(known))
    if not several:
        return f"{takes}; no two of the test sets are known to be of one patient."
    of = f"{plural(len(known), 'slide')} of the test sets are of {plural(len(set(known)), 'patient')}"
    return f"{takes}: {of}, so intervals are somewhat too narrow, and p too small."


def _software(facts: StudyFacts) -> str:
    versions: dict[str, Any] = {}
    trained = [one.provenance.libraries for one in facts.members[:1]]
    stages = [one.get("libraries") for one in steps(facts)]
    for source in (*trained, *stages, facts.evaluation.provenance.get("libraries")):
        if isinstance(source, Mapping):
            versions |= {str(name): one for name, one in source.items() if one}
    own = versions.pop("sarcoscope", None) or facts.evaluation.provenance.get("version")
    others = listed([f"{name} {version}" for name, version in sorted(versions.items())])
    words = f"Software: sarcoscope {own}" if own else "Software: sarcoscope"
    devices = listed(list(dict.fromkeys(one.provenance.device for one in facts.members)))
    return words + (f", with {others}" if others else "") + (f"; trained on {devices}." if devices else ".")


def steps(facts: StudyFacts) -> list[Mapping[str, Any]]:
    """Records of the stages, whether they are listed or stand by name."""
    found = facts.stages.get("stages", ())
    if isinstance(found, Mapping):
        return [{"name": name, **one} for name, one in found.items() if isinstance(one, Mapping)]
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, Sequence) else []


def stages_table(facts: StudyFacts) -> Table | None:
    """What each step took, but for the one at work, which draws this report; None where nothing says."""
    found = [one for one in steps(facts) if one.get("state") != "running"]
    if not found:
        return None
    columns = (
        Column(text="Step", width=1.6), Column(text="State", width=0.7), Column(text="Time", number=True, width=0.8),
        Column(text="Begun (UTC)", width=1.4), Column(text="Version", width=0.9),
        Column(text="What came of it", width=3.4),
    )  # fmt: skip
    return Table(
        title="Steps of the study",
        columns=columns,
        rows=tuple(_step(one, (str(facts.study.out), str(facts.study.out.resolve()))) for one in found),
    )


def _short(note: str, own: tuple[str, ...]) -> str:
    """A note without a path of a machine, which has no place in a report, and of a length that fits a table."""
    for path in own:
        note = note.replace(path, "OUT")
    return note if len(note) <= MOST_LETTERS else f"{note[: MOST_LETTERS - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _step(one: Mapping[str, Any], own: tuple[str, ...]) -> tuple[Cell, ...]:
    taken = one.get("seconds")
    notes = one.get("notes") or one.get("what") or ()
    notes = [notes] if isinstance(notes, str) else list(notes)
    failures = one.get("failures") or {}
    failed = [f"{name}: {why}" for name, why in failures.items()] if isinstance(failures, Mapping) else []
    said = "; ".join(_short(str(note), own) for note in [*notes, *failed][:6])
    begun = str(one.get("started") or one.get("when") or DASH).replace("T", " ")[:16]
    return (
        Cell(text=str(one.get("name", DASH))),
        Cell(text=str(one.get("state", "done"))),
        Cell(text=duration(float(taken)) if isinstance(taken, int | float) else DASH),
        Cell(text=begun),
        Cell(text=str(one.get("version") or DASH)),
        Cell(text=said or DASH),
    )
