"""Numbers and findings in words; the same words on the map, in the report and on the index page."""

from collections.abc import Mapping

from sarcoscope.formats.diagnoses import DiagnosisRecord

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
