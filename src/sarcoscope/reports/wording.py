"""Numbers and findings in words; the same words on the map, in the report and on the index page."""

from collections.abc import Mapping, Sequence

from sarcoscope.formats.diagnoses import AncillaryRecord, DiagnosisRecord, SetRecord

DROPPED_WORDS: Mapping[str, str] = {
    "blank": "blank glass",
    "little_tissue": "too little tissue",
    "pen": "marker ink",
    "blurred": "blurred",
    "fold": "folded section",
    "out_of_focus": "partly out of focus",
    "not_selected": "fewer nuclei than others",
}
"""Every `DropReason` in words; an unknown reason stands as it is."""


WAYS_WORDS: Mapping[str, str] = {"mean": "mean probability", "regression": "regression on vote shares"}
"""Every further way of aggregating tiles in words; an unknown one stands as it is."""


def percent(share: float | None) -> str:
    """0.612 to '61.2%'; a dash where there is no number."""
    return "\N{EN DASH}" if share is None else f"{share:.1%}"


def plural(count: int, noun: str) -> str:
    """'1 tile', '1,234 tiles'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def share_of(votes: Mapping[str, int], code: str | None) -> float | None:
    """Share of a class among the votes, 0..1; None where there is no vote or no class."""
    total = sum(votes.values())
    return votes[code] / total if total and code is not None else None


def count_and_share(votes: Mapping[str, int], code: str) -> str:
    """'143 · 61.1%'; the count alone where there is no vote."""
    share = share_of(votes, code)
    return f"{votes[code]:,}" if share is None else f"{votes[code]:,} \N{MIDDLE DOT} {percent(share)}"


def _ranked(label: str, second: str | None, votes: Mapping[str, int]) -> str:
    runner = f"runner-up {second} {percent(share_of(votes, second))}" if second else "no runner-up"
    return f"{label} by {percent(share_of(votes, label))} of {plural(sum(votes.values()), 'tile')}; {runner}"


def headline(record: DiagnosisRecord) -> str:
    """The plain vote in one line, or why it decides nothing."""
    if record.label is None:
        return f"Undetermined: {record.undetermined}"
    ranked = _ranked(record.label, record.second, record.votes)
    return f"Phantom label {ranked}" if record.synthetic else ranked


def refined_headline(record: DiagnosisRecord) -> str:
    """The refined rule's outcome in one line; the reason stands in the record."""
    after = record.refined
    if after.label is None:
        return "Undetermined"
    if not after.applied:
        return f"Stays {after.label}"
    ranked = _ranked(after.label, after.second, after.votes)
    return f"Changed to {ranked}" if after.changed else f"Stays {ranked}"


def listed(codes: Sequence[str], joint: str = "or") -> str:
    """'UPS', 'DDLPS or UPS', 'DDLPS, UPS or WDLPS'; empty for no code."""
    return f" {joint} ".join([", ".join(codes[:-1]), codes[-1]] if len(codes) > 1 else codes)


def level_words(level: float) -> str:
    """0.9 to '90%', 0.975 to '97.5%'."""
    return f"{100 * level:g}%"


def says_nothing(record: DiagnosisRecord) -> bool:
    """Whether the set leaves none of three or more classes out; those that are not scored stand in no set."""
    scored = {item.code for item in record.classes} - set(record.unscored)
    return record.set is not None and len(scored) > 2 and scored <= set(record.set.classes)


def set_headline(record: DiagnosisRecord) -> str | None:
    """Which classes cannot be left out, in one line; None where there is no set."""
    if (found := record.set) is None:
        return None
    at, count = level_words(found.level), len(found.classes)
    if not count:
        return f"No class fits at {at}: the most probable one is less probable than is usual for slides of its class."
    if says_nothing(record):
        return f"All {count} {'scored ' if record.unscored else ''}classes fit at {at}: this says nothing."
    phantom = "Phantom label" + "s" * (count > 1) + " " if record.synthetic else ""
    if count == 1:
        return f"{phantom}{found.classes[0]} alone fits at {at}."
    return f"{phantom}{listed(found.classes)}: cannot be separated at {at}."


def set_tests(record: DiagnosisRecord) -> str | None:
    """What would decide between the classes of a set, one sentence a test; None where nothing has to be decided."""
    if (found := record.set) is None or len(found.classes) < 2 or says_nothing(record):
        return None
    told = [f"{_test(one, found)}." for one in found.tests]
    return " ".join(told) or "The bundle names no test that would decide."


def _test(one: AncillaryRecord, found: SetRecord) -> str:
    """'MDM2/CDK4 FISH would decide (source)', or between which classes of the set it would."""
    if set(one.between) >= set(found.classes):
        return f"{one.test} would decide ({one.source})"
    return f"{one.test} would separate {listed(one.between, 'and')} ({one.source})"


def set_words(record: DiagnosisRecord) -> str | None:
    """The set in a few words, for a table's cell; None where there is none."""
    if (found := record.set) is None:
        return None
    if not found.classes:
        return "none"
    if says_nothing(record):
        return f"all {len(found.classes)}"
    return listed(found.classes) + (" alone" if len(found.classes) == 1 else "")


def likeness_words(record: DiagnosisRecord) -> str | None:
    """'p = 0.05, n = 19 validation slides'; None where likeness was not assessed."""
    if (found := record.likeness) is None:
        return None
    return f"p = {found.p:.2g}, n = {plural(found.slides, 'validation slide')}"


def out_of_cohort(record: DiagnosisRecord) -> str | None:
    """What a slide that is flagged as out of cohort means for its answer; None where it is not flagged."""
    if record.likeness is None or not record.likeness.far:
        return None
    told = f"this slide looks unlike those that the bundle was made from ({likeness_words(record)})"
    doubted = [*(["label"] if record.label else []), *([level_words(record.set.level)] if record.set else [])]
    if not doubted:
        return told
    if len(doubted) == 1:
        return f"{told}; the {doubted[0]} is not warranted for it"
    return f"{told}; neither the {doubted[0]} nor the {doubted[1]} is warranted for it"


def not_said(record: DiagnosisRecord) -> str | None:
    """What is not said of a slide's certainty and why; None where set and likeness are there."""
    if record.schema_version == 1:
        return "No set of classes and no out-of-cohort flag: the version that made this diagnosis knew neither."
    names = {"set": "set of classes", "likeness": "out-of-cohort flag"}
    told = {names[name]: why for name, why in record.why_not.items() if name in names}
    if len(told) > 1 and len(set(told.values())) == 1:
        return f"No {' and no '.join(told)}: {next(iter(told.values()))}."
    return " ".join(f"No {name}: {why}." for name, why in told.items()) or None


def other_labels(record: DiagnosisRecord) -> str | None:
    """What other ways of aggregating say, where one disagrees with the label; else None."""
    differing = {way: label for way, label in record.other_ways.items() if label != record.label}
    told = [f"by {WAYS_WORDS.get(way, way)} {label or 'undetermined'}" for way, label in differing.items()]
    return f"Other ways of aggregating differ: {'; '.join(told)}" if told else None


def length(microns: float) -> str:
    """Microns to '250 µm' or '2 mm'."""
    return f"{microns / 1000:g} mm" if microns >= 1000 else f"{microns:g} \N{MICRO SIGN}m"


def nice_length(available_um: float) -> float:
    """The longest 1, 2 or 5 times a power of ten that fits into `available_um` (positive), microns."""
    power = 1e-6
    while power * 10 <= available_um:
        power *= 10
    step = max(factor for factor in (1, 2, 5) if factor * power <= available_um or factor == 1)
    return float(f"{step * power:.1g}")


def seconds(value: float) -> str:
    """'0.4 s', '38 s', '2 min 05 s'."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"


def lower_first(text: str) -> str:
    """With a small first letter."""
    return text[:1].lower() + text[1:]
