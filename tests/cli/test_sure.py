"""What the commands say of certainty, as a user runs them."""

import json
from pathlib import Path

import pytest

from sarcoscope.diagnosis.calibration import Calibration, Regression
from sarcoscope.formats.bundle import Bundle, Fusion
from tests.calibrated import calibrated_bundle, sets
from tests.cli.test_commands import MIXED, run
from tests.slides_made import write_drawn


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rows = tuple(tuple(float(row == column) for column in range(5)) for row in range(5))
    calibration = Calibration(
        temperature=1.5,
        regression=Regression(weights=rows, bias=(0, 0, 0, 0, 0), penalty=0.5, slides=18),
        conformal=sets(0.75),
    )
    return calibrated_bundle(
        tmp_path_factory.mktemp("bundle") / "b",
        calibration=calibration,
        like=[1],
        fusion=Fusion(mode="concentric", rule="weighted", weights=(0.75, 0.25)),
        mpp=(None, 0.25),
    )


def test_diagnose_names_what_cannot_be_separated_and_what_is_out_of_cohort(bundle: Bundle, tmp_path: Path) -> None:
    slide = write_drawn(tmp_path / "mixed.svs", MIXED)
    done = run("diagnose", slide, "--bundle", bundle.folder, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    words = "Phantom labels DDLPS or UPS: cannot be separated at 90%. MDM2/CDK4 FISH would decide (WHO 2020)."
    assert f"mixed: {words}" in lines
    (flag,) = [line for line in lines if line.startswith("mixed: out of cohort: this slide looks unlike those")]
    assert "p = 0.05, n = 19 validation slides" in flag
    again = json.loads(run("diagnose", slide, "--bundle", bundle.folder, "--out", tmp_path / "run", "--json").stdout)
    (record,) = again["slides"]
    assert record["set"]["classes"] == ["DDLPS", "UPS"]
    assert record["likeness"]["far"] is True
    assert record["other_ways"] == {"mean": "DDLPS", "regression": "DDLPS"}


def test_bundle_show_says_what_the_calibration_rests_on(bundle: Bundle) -> None:
    done = run("bundle", "show", bundle.folder)
    assert done.returncode == 0, done.stderr
    for words in (
        "m0: mean colour; reads 0.5 um/px; trained at 0.5 um/px",
        "m1: mean colour; reads 0.25 um/px; trained at 0.5 um/px",
        "weighted mean of probabilities, concentric tiles, each member its own scale around one centre",
        "weight 0.750 for m0",
        "weight 0.250 for m1",
        "temperature 1.5",
        "regression on vote shares: of 18 validation slides, penalty 0.5",
        "sets at 90.0 %: of 20 validation slides (DDLPS 4, LMS 4, MPNST 4, UPS 4, WDLPS 4); DDLPS by slides of its own",
        "out-of-cohort flag: features of m0, neighbour 1, 19 validation slides",
        "MDM2/CDK4 FISH between DDLPS and UPS (WHO 2020)",
    ):
        assert words in done.stdout
    value = json.loads(run("bundle", "show", bundle.folder, "--json").stdout)
    assert value["calibration"]["conformal"]["level"] == 0.9
    assert value["members"][1]["mpp"] == 0.25


def test_bundle_show_says_what_is_missing_and_why(tmp_path: Path) -> None:
    why = {"regression": "one class alone", "distance": "no training tiles", "temperature": "all tiles are right"}
    made = calibrated_bundle(tmp_path / "b", calibration=Calibration(conformal=sets(None, level=0.95), why_not=why))
    told = run("bundle", "show", made.folder).stdout
    assert "no temperature: all tiles are right" in told
    assert "no regression: one class alone" in told
    assert "no distance: no training tiles" in told
    assert "DDLPS, LMS, MPNST, UPS, WDLPS can never be left out, 19 slides are needed" in told
    assert "none: neither a set of classes at a level nor an out-of-cohort flag" not in told


def test_bundle_show_of_a_bundle_without_calibration(tmp_path: Path) -> None:
    told = run("bundle", "show", calibrated_bundle(tmp_path / "b", calibration=Calibration()).folder).stdout
    assert "none: neither a set of classes at a level nor an out-of-cohort flag" in told
    assert "mean of probabilities, shared tiles" in told
