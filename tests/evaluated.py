"""A run folder that tests evaluate bundles on: drawn slides whose tiles a colour graph names, so counts are known."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.manifest import read_cohort, write_cohort
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.stages.ensemble import EnsembleAsk, make_ensemble
from sarcoscope.stages.tile import TileConfig, tile
from tests.bundles import CODES
from tests.members_made import made_member
from tests.slides_made import write_drawn
from tests.stages.tile_cohorts import CUT, write_manifest

RULES = replace(PAPER_RULES, minimum_tiles=6)


@dataclass(frozen=True)
class Drawn:
    """A slide and what is true of it; the last row of every drawing is glass."""

    part: str
    label: str
    cells: tuple[str, ...]
    components: str = ""


SLIDES: Mapping[str, Drawn] = {
    "t-d": Drawn("train", "DDLPS", ("DDDD", "DDDD")),
    "t-u": Drawn("train", "UPS", ("UUUU", "UUUU")),
    "t-w": Drawn("train", "WDLPS", ("WWWW", "WWWW")),
    "v-d1": Drawn("validation", "DDLPS", ("DDDD", "DDDU")),
    "v-d2": Drawn("validation", "DDLPS", ("UUUU", "DDWW")),
    "v-u1": Drawn("validation", "UPS", ("UUUU", "UUUD")),
    "v-u2": Drawn("validation", "UPS", ("UUUU", "UUUU")),
    "v-w1": Drawn("validation", "WDLPS", ("WWWW", "WWWW")),
    "v-w2": Drawn("validation", "WDLPS", ("WWWD", "WWWW")),
    "x-d": Drawn("test", "DDLPS", ("DDDD", "DUUW")),
    "x-u": Drawn("test", "UPS", ("UUUU", "UDDU")),
    "x-w": Drawn("test", "WDLPS", ("WWWW", "DWWW")),
    "a-d": Drawn("test1", "DDLPS", ("UUUD", "DWDW")),  # 3 U, 3 D, 2 W: refined 6 D
    "a-dw": Drawn("test1", "DDLPS", ("WWWW", "WDDD"), "WDLPS"),  # the two first labels are its two components
    "a-u": Drawn("test1", "UPS", ("UUUU", "UDDW")),  # refined wrongly: 7 D
    "a-m": Drawn("test1", "MPNST", ("MMMM", "MMMM")),  # a class that is not scored
    "a-open": Drawn("test1", "", ("DDDD", "DDDD")),  # nobody says what it is
    "b-few": Drawn("test2", "WDLPS", ("WWWW", "....")),  # four tiles: undetermined
    "b-l": Drawn("test2", "LMS", ("LLLL", "LLLU")),
    "b-lost": Drawn("test2", "UPS", ("UUUU", "UUUU")),  # its file is destroyed
}
WHOLE = {"test1": 4, "test2": 2}
"""Slides of the test sets that have a label and can be read."""


def drawn_run(folder: Path, called: Mapping[str, str] = MappingProxyType({})) -> Path:
    """RUN with all slides tiled at 0.5 um/px, a split and three members: good, blind to UPS, coarse.

    Classes are `called` by other codes, where there are any.
    """
    codes = [called.get(code, code) for code in CODES]
    labels = {name: called.get(one.label, one.label) for name, one in SLIDES.items()}
    rows: list[dict[str, str]] = []
    parts = ["slide,part"]
    for name, one in SLIDES.items():
        write_drawn(folder / "slides" / f"{name}.svs", [*one.cells, "...."], seed=len(rows))
        row = {"slide": name, "patient": f"p-{name}", "path": f"slides/{name}.svs"}
        components = called.get(one.components, one.components)
        rows.append(row | {"label": labels[name] or codes[0], "components": components})
        parts.append(f"{name},{one.part}")
    run = folder / "run"
    assert not tile(write_manifest(folder, rows), TileConfig(out=run, cut=CUT, workers=1)).failures
    write_cohort(run, (replace(one, label=labels[one.slide] or None) for one in read_cohort(run)))
    (run / SPLIT_FILE).write_text("\n".join(parts) + "\n")
    (folder / "slides" / "b-lost.svs").write_bytes(b"no slide any more")
    made_member(run, "sees-all", classes=codes)
    made_member(run, "no-ups", classes=codes, blind_to=("UPS",))
    made_member(run, "coarse", classes=codes, trained_mpp=(1.0,), blind_to=("MPNST",))
    return run


def fused(run: Path, out: Path, *members: str, mode: str = "shared", rule: str = "mean") -> Bundle:
    """A calibrated bundle of members of the run, by `RULES`."""
    folders = tuple(run / "members" / name for name in members)
    return make_ensemble(EnsembleAsk(run=run, members=folders, out=out, mode=mode, rule=rule, rules=RULES))


def without_predictions(run: Path, folder: Path) -> Path:
    """The run as it was before anything was predicted."""
    left_out = shutil.ignore_patterns("predictions", "evaluation", "b", "again", "alone", "cli")
    return Path(shutil.copytree(run, folder / "run", ignore=left_out))
