"""`sarcoscope ensemble` on the terminal: bars over slides and tiles, a ranking with intervals, what was fitted."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import out as console
from sarcoscope.cli.console import print_json, progress_bars, say
from sarcoscope.cli.progress import PassBars
from sarcoscope.core.errors import InputError, shown
from sarcoscope.core.evaluation import Estimate, Search, SubsetResult
from sarcoscope.diagnosis.calibration import slides_needed
from sarcoscope.formats.bundle import Bundle
from sarcoscope.reports.study_words import drawn_words
from sarcoscope.reports.wording import level_words, plural
from sarcoscope.stages.ensemble import EnsembleAsk, SearchAsk, make_ensemble, search_ensembles
from sarcoscope.stages.ensemble_search import ENSEMBLES_FOLDER, smallest_level

_NOTICE: Final = "Research use only, not a medical device."
_SYNTHETIC: Final = "synthetic phantom slides: of no clinical meaning"


def run_make(ask: EnsembleAsk) -> tuple[Bundle, dict[str, str]]:
    """Make it under bars; by slide, why it went without. InputError, ArtifactError."""
    with progress_bars() as progress:
        bars = PassBars(progress)
        return make_ensemble(ask, bars), bars.failed


def run_search(ask: SearchAsk) -> tuple[Search, dict[str, str]]:
    """Search under bars; by slide, why it went without. InputError, ArtifactError."""
    with progress_bars() as progress:
        bars = PassBars(progress)
        return search_ensembles(ask, bars), bars.failed


def run_of(members: Sequence[Path]) -> Path:
    """The run folder of a member RUN/members/NAME. InputError where it lies elsewhere."""
    home = members[0].resolve().parent
    if home.name != "members":
        raise InputError(f"{shown(members[0])} lies in no run folder", "give --run")
    return home.parent


def pairs(option: str, given: Sequence[str] | None, form: str) -> dict[str, str]:
    """KEY=VALUE options. InputError for one without both."""
    found = dict(one.partition("=")[::2] for one in given or [])
    if not all(found) or not all(found.values()):
        raise InputError(f"{option} {' '.join(given or [])}", f"give {form}")
    return found


def scales(given: Sequence[str] | None) -> dict[str, float]:
    """MEMBER=UM_PER_PX options. InputError for what is no number."""
    asked = pairs("--scale", given, "MEMBER=UM_PER_PX, e.g. b7-10x=1")
    try:
        return {name: float(mpp) for name, mpp in asked.items()}
    except ValueError as error:
        raise InputError(f"--scale {' '.join(given or [])}", "give MEMBER=UM_PER_PX, e.g. b7-10x=1") from error


def show_made(made: Bundle, failed: dict[str, str], *, as_json: bool) -> None:
    """What was fitted, for people or for programs."""
    manifest = made.manifest
    calibration, weights = manifest.calibration, manifest.fusion.weights
    names = [one.name for one in manifest.members]
    if as_json:
        print_json(
            {
                "folder": str(made.folder),
                "sha256": made.sha256,
                "synthetic": manifest.synthetic,
                "notice": made.notice,
                "mode": manifest.fusion.mode,
                "rule": manifest.fusion.rule,
                "members": names,
                "weights": dict(zip(names, weights, strict=True)) if weights else {},
                "temperature": calibration.temperature,
                "fitted": manifest.provenance["fitted"],
                "why_not": dict(calibration.why_not),
                "failures": failed,
                "exit_code": 1 if failed else 0,
            }
        )
        return
    for line in _fitted_lines(made):
        say(line)
    say(f"bundle: {shown(made.folder)}; next: sarcoscope diagnose SLIDES --bundle {shlex.quote(shown(made.folder))}")
    say(made.notice)


def _fitted_lines(made: Bundle) -> list[str]:
    manifest = made.manifest
    calibration, fitted = manifest.calibration, manifest.provenance["fitted"]
    lines = [f"fused: {', '.join(one.name for one in manifest.members)}, by {manifest.fusion.rule}, all on validation"]
    if manifest.fusion.weights:
        lines += [f"weights: {', '.join(f'{name} {one:.3f}' for name, one in fitted['weights'].items())}"]
    if "temperature" not in calibration.why_not:
        lines += [f"temperature: {calibration.temperature:.3g}, on {plural(fitted['tiles'], 'tile')}"]
    if calibration.regression:
        slides = plural(calibration.regression.slides, "slide")
        lines += [f"regression on vote shares: on {slides}, penalty {calibration.regression.penalty:g}"]
    if calibration.conformal:
        slides, level = plural(sum(calibration.conformal.slides.values()), "slide"), calibration.conformal.level
        few = None in calibration.conformal.thresholds.values()
        need = f", too few to leave a class out: {slides_needed(level)} are needed" if few else ""
        lines += [f"sets at {level_words(level)}: on {slides}{need}"]
    if calibration.distance:
        slides, tiles = plural(len(calibration.distance.scores), "slide"), plural(fitted["reference_tiles"], "tile")
        lines += [f"distance: of {slides} to {tiles} of training, by {calibration.distance.member}"]
    return lines + [f"no {name}: {why}" for name, why in calibration.why_not.items()]


def show_search(found: Search, ask: SearchAsk, failed: dict[str, str], *, top: int, as_json: bool) -> None:
    """The ranking, for people or for programs."""
    smallest = smallest_level(found.ranked)
    command = make_command(ask, smallest)
    home = ask.run / ENSEMBLES_FOLDER
    if as_json:
        values = TypeAdapter(Search).dump_python(found, mode="json")
        told = {"smallest_level": list(smallest.members), "make": command, "file": str(home / f"{ask.name}.json")}
        print_json({**values, **told, "notice": _notice(found), "failures": failed, "exit_code": 1 if failed else 0})
        return
    console.print(_table(found, top))
    total = found.ranked[0].value.units
    drawn = drawn_words(total, found.patients, total)
    rests_on = f"{plural(found.tiles, 'validation tile')} of {plural(found.slides, 'slide')}"
    say(f"{plural(len(found.ranked), 'combination')} on {rests_on}; 95 % intervals draw {drawn} anew")
    say(_level_words(found, smallest))
    if ask.rule == "weighted":
        say("weights were fitted on the tiles that rank: figures of larger combinations are a little optimistic")
    say(f"all of them: {shown(home / f'{ask.name}.csv')}")
    say(f"next: {command}")
    say(_notice(found))


def _level_words(found: Search, smallest: SubsetResult) -> str:
    best = found.ranked[0]
    if len(found.ranked) == 1:
        return f"{_members(best)} is the only combination: there is none to compare it with"
    if found.level_with_best == 1:
        return f"{_members(best)} is better than every other by more than the draws of these slides explain"
    rank = found.ranked.index(smallest) + 1
    which = "the best itself" if rank == 1 else f"{_members(smallest)}, rank {rank}"
    return (
        f"{found.level_with_best} of {len(found.ranked)} cannot be told from the best on these slides: which of them "
        f"leads may be luck; the smallest is {which}"
    )


def _notice(found: Search) -> str:
    words = "Chosen on validation tiles, so optimistic there; no test set was read."
    return f"{f'On {_SYNTHETIC}. ' if found.synthetic else ''}{words} {_NOTICE}"


def make_command(ask: SearchAsk, chosen: SubsetResult) -> str:
    """The command that makes a bundle of a combination."""
    folders = {folder.name: folder for folder in ask.members}
    homes = [folders.get(name, ask.run / "members" / name) for name in chosen.members]
    words = ["sarcoscope", "ensemble", "make", *map(shown, homes), "--run", shown(ask.run)]
    words += ["--rule", ask.rule, "--mode", ask.mode, *(["--fold", ask.fold] if ask.fold else [])]
    words += ["--anchor", f"{ask.anchor:g}"] if ask.anchor is not None else []
    for name in chosen.members:
        words += ["--scale", f"{name}={ask.scales[name]:g}"] if name in ask.scales else []
    return " ".join(shlex.quote(word) for word in [*words, "--out", shown(ask.run / "bundles" / ask.name)])


def _table(found: Search, top: int) -> Table:
    title = _SYNTHETIC if found.synthetic else None
    table = Table("rank", title=title, title_style="bold", box=None)
    table.add_column("members", overflow="fold")
    table.add_column(
        found.metric.replace("_", "\n").replace("auc", "AUC").replace("f1", "F1"), justify="right", no_wrap=True
    )
    table.add_column("95 %\ninterval", justify="right", no_wrap=True)
    table.add_column("behind\nthe best", justify="right", no_wrap=True)
    table.add_column("level with\nthe best")
    for rank, one in enumerate(found.ranked[:top], 1):
        behind = "-" if one.behind_best is None else f"{_number(one.behind_best.value)} ({_interval(one.behind_best)})"
        level = "-" if one.behind_best is None else "yes" if one.is_level else "no"
        table.add_row(str(rank), Text(_members(one)), _number(one.value.value), _interval(one.value), behind, level)
    return table


def _members(one: SubsetResult) -> str:
    return " + ".join(one.members)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(one: Estimate) -> str:
    return "-" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
