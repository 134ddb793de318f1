"""Ensembles from members to a diagnosis: weights, scales, what is fitted on which slides, and what is refused."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.training import TrainConfig
from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.bundle import Bundle, find_bundle
from sarcoscope.formats.config import config_text, read_config
from sarcoscope.formats.split import SPLIT_FILE
from sarcoscope.stages.diagnose import DiagnoseConfig, diagnose
from sarcoscope.stages.ensemble import EnsembleAsk, make_ensemble
from sarcoscope.stages.ensemble_members import fusible
from sarcoscope.stages.jobs import jobs_from_paths
from sarcoscope.stages.predictions import patch_table
from sarcoscope.stages.tile import TileConfig, tile
from tests.bundles import CODES
from tests.members_made import made_member
from tests.slides_made import write_drawn
from tests.stages.tile_cohorts import CUT, write_manifest

RULES = replace(PAPER_RULES, minimum_tiles=4)
DRAWN = {"DDLPS": ["DDDD", "DDDD"], "UPS": ["UUUU", "UUUU"], "WDLPS": ["WWWW", "WWDW"]}
PARTS = {"train": 1, "validation": 3, "test1": 1}
"""Slides of each class."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides of three classes, tiled at 0.5 um/px; one of validation and those of test1 were lost since."""
    folder = tmp_path_factory.mktemp("ensemble")
    rows: list[dict[str, str]] = []
    parts = ["slide,part"]
    for label, cells in DRAWN.items():
        for part, count in PARTS.items():
            for number in range(count):
                name = f"{label}-{part}-{number}".lower()
                write_drawn(folder / "slides" / f"{name}.svs", [*cells, "...."], seed=len(rows))
                rows.append({"slide": name, "path": f"slides/{name}.svs", "label": label})
                parts.append(f"{name},{part}")
    manifest = write_manifest(folder, rows)
    assert not tile(manifest, TileConfig(out=folder / "run", cut=CUT, workers=1)).failures
    (folder / "run" / SPLIT_FILE).write_text("\n".join(parts) + "\n")
    for lost in [*(folder / "slides").glob("*test1*"), folder / "slides" / "wdlps-validation-2.svs"]:
        lost.write_bytes(b"no slide any more")
    made_member(folder / "run", "sees-all")
    made_member(folder / "run", "no-ups", blind_to=("UPS",))
    made_member(folder / "run", "no-ddlps", blind_to=("DDLPS",))
    made_member(folder / "run", "coarse", trained_mpp=(1.0,))
    made_member(folder / "run", "both", trained_mpp=(0.5, 1.0))
    return folder / "run"


def members(run: Path, *names: str) -> tuple[Path, ...]:
    return tuple(run / "members" / name for name in names)


def ask(run: Path, out: Path, *names: str, **values: Any) -> EnsembleAsk:
    return EnsembleAsk(**{"run": run, "members": members(run, *names), "out": out, "rules": RULES, **values})


def fitted(bundle: Bundle) -> Mapping[str, Any]:
    found: Mapping[str, Any] = bundle.manifest.provenance["fitted"]
    return found


@pytest.fixture(scope="module")
def shared(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("made") / "shared"
    return make_ensemble(ask(run, out, "no-ups", "sees-all", rule="weighted", level=0.8, name="two"))


@pytest.fixture(scope="module")
def concentric(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("made") / "concentric"
    return make_ensemble(ask(run, out, "sees-all", "coarse", mode="concentric", level=0.8))


def test_the_member_that_sees_more_gets_the_weight(shared: Bundle) -> None:
    """A member that is never right about a third of the tiles and no better on the others is worth nothing."""
    fusion = shared.manifest.fusion
    assert (fusion.mode, fusion.rule) == ("shared", "weighted")
    assert fusion.weights == pytest.approx((0, 1), abs=1e-3)
    assert fitted(shared)["weights"] == dict(zip(("no-ups", "sees-all"), fusion.weights, strict=True))


def test_it_is_fitted_on_the_validation_slides_that_can_be_read_and_on_no_others(shared: Bundle) -> None:
    """Slides of test1 cannot be read at all, and nobody tries to."""
    there = {f"{label}-validation-{number}".lower() for label in DRAWN for number in range(3)}
    assert set(fitted(shared)["slides"]) == there - {"wdlps-validation-2"}
    assert fitted(shared)["left_out"] == ["wdlps-validation-2"]
    assert fitted(shared)["tiles"] == 8 * 8
    text = (shared.folder / "bundle.json").read_text()
    assert "test1" not in text.replace('"test1":', "")
    assert "svs" not in text
    calibration = shared.manifest.calibration
    assert calibration.why_not == {}
    assert calibration.temperature > 1  # one in eight tiles of WDLPS looks wholly like DDLPS
    assert calibration.regression is not None
    assert calibration.regression.slides == 8
    assert calibration.conformal is not None
    assert calibration.conformal.slides == {"DDLPS": 3, "LMS": 0, "UPS": 3, "WDLPS": 2}  # MPNST is not scored
    assert calibration.distance is not None
    assert calibration.distance.member == "sees-all"  # which has all the weight
    assert len(calibration.distance.scores) == 8
    reference = shared.reference()
    assert reference is not None
    assert reference.shape == (3 * 8, 3)  # all training tiles, their mean colours
    assert reference.dtype == np.float32
    assert fitted(shared)["reference_tiles"] == 24


def test_what_is_made_opens_and_says_what_it_is(shared: Bundle) -> None:
    assert find_bundle(str(shared.folder)).sha256 == shared.sha256
    manifest = shared.manifest
    assert (manifest.name, manifest.synthetic, manifest.rules) == ("two", True, RULES)
    assert manifest.provenance["command"] == "sarcoscope ensemble make"
    assert set(manifest.provenance["members"]) == {"no-ups", "sees-all"}
    assert "test set" in fitted(shared)["on"]
    assert "synthetic" in shared.notice
    assert [one.model.path for one in manifest.members] == [
        f"members/{name}/model.onnx" for name in ("no-ups", "sees-all")
    ]


@pytest.mark.parametrize("mode", ["shared", "concentric"])
def test_diagnose_takes_it(mode: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bundle: Bundle = request.getfixturevalue(mode)
    slide = write_drawn(tmp_path / "new.svs", ["UUUUU", "UUUUU", "UUUUU", "....."], seed=77)
    summary = diagnose(jobs_from_paths([slide]), bundle, DiagnoseConfig(out=tmp_path / "out", evidence=0))
    assert not summary.failures
    record = summary.records[0]
    assert record.label == "UPS"
    assert record.votes["UPS"] > 8
    assert record.other_ways == {"mean": "UPS", "regression": "UPS"}
    assert record.set is not None
    assert record.set.level == 0.8
    assert record.likeness is not None
    assert record.likeness.slides == 8


def test_a_concentric_member_reads_its_own_scale(run: Path, shared: Bundle, concentric: Bundle) -> None:
    """The member of 1 um/px is shown what lies around the tile, so it is less sure of tiles at the edge of tissue."""
    assert [one.mpp for one in concentric.manifest.members] == [None, 1.0]
    assert concentric.manifest.tiling == shared.manifest.tiling
    assert concentric.manifest.calibration.distance is not None
    assert concentric.manifest.calibration.distance.member == "sees-all"
    near, around = patch_table(run, concentric, (Part.VALIDATION,)).probabilities
    assert np.abs(near - around).max() > 0.1


def test_without_a_member_that_reads_the_tiles_there_is_no_distance(run: Path, tmp_path: Path) -> None:
    made = make_ensemble(ask(run, tmp_path / "b", "coarse", mode="concentric", level=0.8))
    assert made.manifest.calibration.distance is None
    assert made.reference() is None
    assert fitted(made)["reference_tiles"] == 0
    assert made.manifest.calibration.why_not == {"distance": "no member reads the bundle's own tiles"}


def test_a_member_of_two_scales_reads_the_one_that_is_asked_for(run: Path) -> None:
    own, coarse = members(run, "both", "coarse")
    found = fusible(run, (own, coarse), mode="concentric", scales={"both": 0.5})
    assert found.scales == (None, 1.0)
    found = fusible(run, (own, coarse), mode="concentric", scales={"both": 1.0}, anchor=0.25)
    assert (found.scales, found.tiling.mpp) == ((1.0, 1.0), 0.25)


@pytest.mark.parametrize(
    ("validated", "anchor"), [((0.25, 0.5), 0.5), ((1.0, 0.25), 0.25), ((1.0, 2.0), 1.0), ((0.5, 1.0), 0.5)]
)
def test_the_anchor_is_the_papers_scale_or_the_finest_that_was_validated(
    run: Path, tmp_path: Path, validated: tuple[float, float], anchor: float
) -> None:
    (tmp_path / SPLIT_FILE).write_bytes((run / SPLIT_FILE).read_bytes())
    folders = [made_member(tmp_path, f"m{mpp:g}", validation_mpp=mpp, trained_mpp=(mpp,)) for mpp in validated]
    found = fusible(tmp_path, folders, mode="concentric")
    assert found.tiling.mpp == anchor
    assert [scale or anchor for scale in found.scales] == list(validated)


@pytest.mark.parametrize(
    ("names", "values", "said"),
    [
        ((), {}, "no member given"),
        (("sees-all",), {"mode": "nested"}, "unknown mode 'nested'"),
        (("sees-all",), {"rule": "max"}, "unknown rule 'max'"),
        (("sees-all",), {"scales": {"sees-all": 0.5}}, "scales of members in mode shared"),
        (("sees-all",), {"anchor": 0.5}, "scales of members in mode shared"),
        (("both",), {"mode": "concentric"}, "both was trained at 0.5, 1 um/px; say which it reads"),
        (("coarse",), {"mode": "concentric", "scales": {"coarse": 0.5}}, "coarse at 0.5 um/px; it was trained at 1"),
        (("coarse",), {"mode": "concentric", "scales": {"other": 0.5}}, "a scale of other, which is no member"),
        (("sees-all",), {"fold": "b"}, "no repetition 'b' in the split"),
        (("sees-all",), {"level": 1.0}, "level 1.0"),
        (("sees-all", "sees-all"), {}, "2 members are called sees-all"),
        (("sees-all",), {"class_names": {"GIST": "x"}}, "no class 'GIST'"),
        (("sees-all",), {"rules": SlideRules(unscored=("GIST",))}, "unknown classes"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    run: Path, tmp_path: Path, names: tuple[str, ...], values: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        make_ensemble(ask(run, tmp_path / "b", *names, **values))
    assert not (tmp_path / "b").exists()


def test_members_whom_validation_tiles_may_have_trained_are_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    made_member(tmp_path / "run", "eager", config=TrainConfig(run="run", train_on_validation=True))
    with pytest.raises(InputError, match="eager was trained on validation tiles too"):
        make_ensemble(ask(tmp_path / "run", tmp_path / "b", "eager"))
    made_member(tmp_path / "run", "folded", fold="a")
    with pytest.raises(InputError, match="folded was trained in repetition 'a'"):
        make_ensemble(ask(tmp_path / "run", tmp_path / "b", "folded"))
    with (tmp_path / "run" / SPLIT_FILE).open("a") as file:
        file.write("one-more,train\n")
    with pytest.raises(InputError, match="sees-all was trained by another split"):
        make_ensemble(ask(tmp_path / "run", tmp_path / "b", "sees-all"))


def test_members_tell_their_repetition(run: Path, tmp_path: Path) -> None:
    parts = (run / SPLIT_FILE).read_text().replace("slide,part", "slide,a")
    (tmp_path / SPLIT_FILE).write_text(
        "\n".join(f"{line},{'b' if n == 0 else 'train'}" for n, line in enumerate(parts.split())) + "\n"
    )
    one, other = (made_member(tmp_path, name, fold=name) for name in ("a", "b"))
    assert fusible(tmp_path, (one,)).fold == "a"
    assert fusible(tmp_path, (other,), fold="b").fold == "b"
    with pytest.raises(InputError, match="b was trained in repetition 'b', not 'a'; give members of one repetition"):
        fusible(tmp_path, (one, other))


def test_without_validation_a_mean_is_made_and_says_what_is_missing(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("members"))
    split = tmp_path / "run" / SPLIT_FILE
    split.write_text(split.read_text().replace(",validation", ",train"))
    folder = made_member(tmp_path / "run", "m")
    values: dict[str, Any] = {"run": tmp_path / "run", "members": (folder,), "out": tmp_path / "b", "rules": RULES}
    made = make_ensemble(EnsembleAsk(**values))
    assert set(made.manifest.calibration.why_not) == {"temperature", "regression", "conformal", "distance"}
    assert made.manifest.calibration.temperature == 1
    with pytest.raises(InputError, match="no tile to fit weights on"):
        make_ensemble(EnsembleAsk(**{**values, "out": tmp_path / "c", "rule": "weighted"}))
    with pytest.raises(ArtifactError, match="is there already"):
        make_ensemble(EnsembleAsk(**values))


def test_the_papers_rules_come_back_from_their_yaml(tmp_path: Path) -> None:
    PAPER_RULES.check(CODES)
    (tmp_path / "rules.yaml").write_text(config_text(PAPER_RULES))
    assert read_config(tmp_path / "rules.yaml", SlideRules) == PAPER_RULES
    (tmp_path / "rules.yaml").write_text("refine: {evidence: [A, B], relabel: {A: B}, fractoin: 0.1}")
    with pytest.raises(ArtifactError, match=r"unknown key refine\.fractoin; did you mean fraction"):
        read_config(tmp_path / "rules.yaml", SlideRules)


def test_nothing_of_the_machine_goes_along(run: Path, shared: Bundle, concentric: Bundle) -> None:
    for bundle in (shared, concentric):
        text = json.dumps(bundle.manifest.model_dump(mode="json"))
        assert str(run.parent) not in text
