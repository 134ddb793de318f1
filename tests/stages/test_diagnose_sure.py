"""Diagnoses that say how sure they are, end to end: sets, tests that would decide, likeness, scales, temperature."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sarcoscope.core.errors import BundleError
from sarcoscope.diagnosis.calibration import Calibration
from sarcoscope.diagnosis.fusion import Probabilities, softmax
from sarcoscope.formats.bundle import Bundle, BundleManifest, Fusion, hashed, write_bundle
from sarcoscope.formats.diagnoses import DiagnosisRecord, read_diagnosis
from sarcoscope.formats.tiles import read_tiles
from sarcoscope.stages.diagnose import DiagnoseConfig, RunSummary, diagnose
from sarcoscope.stages.jobs import jobs_from_paths
from tests.bundles import TILE_RGB, color_bundle, nearest_color_head
from tests.calibrated import calibrated_bundle, sets
from tests.reports.pagereader import Page
from tests.slides_made import draw, write_drawn
from tests.stages.test_diagnose import MIXED, Heard

D, L, _, U, W = (np.array(color, float) for color in TILE_RGB)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 DDLPS, 10 UPS and 4 WDLPS tiles."""
    return write_drawn(tmp_path_factory.mktemp("slides") / "mixed.svs", MIXED)


def run(slide: Path, bundle: Bundle, out: Path) -> RunSummary:
    return diagnose(jobs_from_paths([slide]), bundle, DiagnoseConfig(out=out))


def only(summary: RunSummary) -> DiagnosisRecord:
    assert not summary.failures
    (record,) = summary.records
    return record


def probabilities(folder: Path) -> Probabilities:
    return read_tiles(folder / "tiles.parquet")[1]


def between(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Distance of two colours at unit length."""
    return float(np.linalg.norm(one / np.linalg.norm(one) - other / np.linalg.norm(other)))


@pytest.fixture(scope="module")
def doubted(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DiagnosisRecord]:
    """A slide whose two classes cannot be separated, by a bundle that has seen LMS alone."""
    home = tmp_path_factory.mktemp("doubted")
    bundle = calibrated_bundle(home / "b", calibration=Calibration(conformal=sets(0.75)), like=[1])
    return home / "run" / "mixed", only(run(mixed, bundle, home / "run"))


def test_the_set_holds_the_classes_that_cannot_be_left_out_and_the_test_that_would_decide(
    doubted: tuple[Path, DiagnosisRecord],
) -> None:
    _, record = doubted  # mean probabilities are nearly the shares: DDLPS 24, UPS 10, WDLPS 4 of 38; 0.25 is asked for
    assert record.set is not None
    assert record.set.classes == ["DDLPS", "UPS"]
    assert record.set.level == 0.9
    assert [one.model_dump() for one in record.set.tests] == [
        {"test": "MDM2/CDK4 FISH", "source": "WHO 2020", "between": ["DDLPS", "UPS"]}
    ]
    assert record.set.reason == "split conformal at 90% on 20 validation slides, for DDLPS on slides of its own"
    assert record.other_ways == {"mean": "DDLPS"}
    assert record.why_not == {}


def test_a_slide_unlike_all_that_the_bundle_has_seen_is_flagged(doubted: tuple[Path, DiagnosisRecord]) -> None:
    _, record = doubted
    assert record.likeness is not None
    by_hand = (24 * between(D, L) + 10 * between(U, L) + 4 * between(W, L)) / 38  # all 38 tiles are compared
    assert record.likeness.distance == pytest.approx(by_hand, abs=0.005)
    assert record.likeness.far
    assert record.likeness.p == pytest.approx(1 / 20)
    assert record.likeness.slides == 19
    assert record.label == "DDLPS"  # it is flagged, not silenced


def test_file_and_pages_say_so(doubted: tuple[Path, DiagnosisRecord]) -> None:
    folder, record = doubted
    assert read_diagnosis(folder / "diagnosis.json") == record
    assert json.loads((folder / "diagnosis.json").read_text())["schema_version"] == 2
    report = Page(folder / "report.html").text
    words = "Phantom labels DDLPS or UPS: cannot be separated at 90%. MDM2/CDK4 FISH would decide (WHO 2020)."
    assert words in report
    assert "Out of cohort: this slide looks unlike those" in report
    assert report.index(words) < report.index("Refined rule")
    assert report.index("Out of cohort") < report.index("Refined rule")
    index = Page(folder.parent / "index.html").text
    assert "1 slide diagnosed; 1 flagged as out of cohort" in index
    assert "DDLPS or UPS at 90%" in index
    assert "out of cohort p = 0.05, n = 19" in index


def test_a_slide_like_those_seen_is_not_flagged(mixed: Path, tmp_path: Path) -> None:
    bundle = calibrated_bundle(tmp_path / "b", calibration=Calibration(), like=[0, 1, 2, 3, 4])
    record = only(run(mixed, bundle, tmp_path / "run"))
    assert record.likeness is not None
    assert record.likeness.distance < 0.01
    assert not record.likeness.far
    assert record.set is None
    assert record.why_not == {"set": "the bundle carries no calibration"}


def test_the_features_of_the_member_that_the_bundle_names_are_compared(tmp_path: Path) -> None:
    rows = ["LLLLLLLL"] * 6
    path = write_drawn(tmp_path / "lms.svs", rows)
    concentric, scales = Fusion(mode="concentric"), (None, 1.0)
    found = {}
    for name in ("m0", "m1"):
        bundle = calibrated_bundle(
            tmp_path / name, calibration=Calibration(), like=[1], fusion=concentric, mpp=scales, distance_of=name
        )
        record = only(run(path, bundle, tmp_path / f"run-{name}"))
        assert record.likeness is not None
        found[name] = record.likeness.distance
    assert found["m0"] < 0.01
    room = np.full(
        (6 * 128 + 128, 8 * 128 + 128, 3), 255.0
    )  # m1 sees 256 level-0 px: white around the tiles of the rim
    room[64:-64, 64:-64] = draw(rows)
    seen = [
        room[128 * r : 128 * r + 256, 128 * c : 128 * c + 256].mean(axis=(0, 1)) for r in range(6) for c in range(8)
    ]
    assert found["m1"] == pytest.approx(np.mean([between(one, L) for one in seen]), abs=0.003)
    assert found["m1"] > 0.02


def test_64_tiles_spread_over_the_slide_are_compared(tmp_path: Path) -> None:
    compared = {round(place * 99 / 63) for place in range(64)}  # of 100 tiles
    letters = "".join("D" if place in compared else "L" for place in range(100))
    path = write_drawn(tmp_path / "many.svs", [letters[at : at + 10] for at in range(0, 100, 10)])
    record = only(run(path, calibrated_bundle(tmp_path / "b", calibration=Calibration(), like=[1]), tmp_path / "run"))
    assert record.votes["DDLPS"] == 64
    assert record.votes["LMS"] == 36
    assert record.likeness is not None
    assert record.likeness.distance == pytest.approx(between(D, L), abs=0.005)  # all of them would be 0.64 of that


def test_a_slide_of_few_tiles_has_no_set_and_says_why(tmp_path: Path) -> None:
    bundle = calibrated_bundle(tmp_path / "b", calibration=Calibration(conformal=sets(0.75)), like=[0])
    path = write_drawn(tmp_path / "small.svs", ["DDL", "DDL", "..."])
    record = only(run(path, bundle, tmp_path / "run"))
    assert record.set is None
    assert record.likeness is not None
    assert record.other_ways == {"mean": None}
    assert record.why_not == {"set": "6 tiles kept, at least 20 needed"}


def test_the_reason_why_a_part_is_missing_comes_from_the_bundle(mixed: Path, tmp_path: Path) -> None:
    why = {"conformal": "no validation slides", "distance": "no training tiles"}
    bundle = calibrated_bundle(tmp_path / "b", calibration=Calibration(why_not=why))
    record = only(run(mixed, bundle, tmp_path / "run"))
    assert record.why_not == {"set": "no validation slides", "likeness": "no training tiles"}


def test_the_temperature_makes_probabilities_flatter_and_leaves_votes(mixed: Path, tmp_path: Path) -> None:
    plain = only(run(mixed, color_bundle(tmp_path / "plain"), tmp_path / "a"))
    hot = calibrated_bundle(tmp_path / "hot", calibration=Calibration(temperature=4.0))
    after = only(run(mixed, hot, tmp_path / "b"))
    assert after.votes == plain.votes
    before = np.maximum(probabilities(tmp_path / "a" / "mixed").astype(float), 1e-12)  # the least that counts
    by_hand = before**0.25 / (before**0.25).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(tmp_path / "b" / "mixed"), by_hand, atol=2e-5)
    assert by_hand.max() < before.max() - 0.05
    assert after.provenance["temperature"] == 4.0


def test_members_of_two_scales_see_their_own_and_are_weighted(mixed: Path, tmp_path: Path) -> None:
    concentric = Fusion(mode="concentric", rule="weighted", weights=(0.75, 0.25))
    both = calibrated_bundle(tmp_path / "both", calibration=Calibration(), fusion=concentric, mpp=(None, 1.0))
    record = only(run(mixed, both, tmp_path / "run"))
    fine = only(run(mixed, color_bundle(tmp_path / "fine"), tmp_path / "one"))
    alone = Fusion(mode="concentric")
    coarse = calibrated_bundle(tmp_path / "coarse", calibration=Calibration(), fusion=alone, mpp=(1.0,))
    only(run(mixed, coarse, tmp_path / "two"))
    one, two = (probabilities(tmp_path / name / "mixed") for name in ("one", "two"))
    np.testing.assert_allclose(probabilities(tmp_path / "run" / "mixed"), 0.75 * one + 0.25 * two, atol=1e-5)
    assert record.provenance["members"] == {"m0": 0.5, "m1": 1.0}
    assert record.provenance["fusion"] == {"mode": "concentric", "rule": "weighted", "weights": [0.75, 0.25]}
    assert fine.provenance["members"] == {"m0": 0.5}
    # The first kept tile is the cell at 0, 128; at 1 um/px it is seen with 64 level-0 px around it, white on the left.
    room = np.full((6 * 128, 8 * 128 + 64, 3), 255.0)
    room[:, 64:] = draw(MIXED)
    weight, bias = nearest_color_head()
    seen = softmax(weight @ room[64:320, :256].mean(axis=(0, 1)) + bias)
    np.testing.assert_allclose(two[0], seen, atol=0.02)  # JPEG


def test_a_slide_too_coarse_for_a_member_is_refused_before_it_is_read(tmp_path: Path) -> None:
    fusion = Fusion(mode="concentric")
    bundle = calibrated_bundle(tmp_path / "b", calibration=Calibration(), fusion=fusion, mpp=(None, 0.25))
    path = write_drawn(tmp_path / "half.svs", MIXED, mpp=0.5, power=20)
    heard = Heard()
    summary = diagnose(jobs_from_paths([path]), bundle, DiagnoseConfig(out=tmp_path / "run"), heard)
    assert "0.5 um/px (file: aperio.MPP) is coarser than the 0.25 um/px asked for" in str(summary.failures["half"])
    assert heard.read == 0
    assert not (tmp_path / "run" / "half").exists()


def test_reference_features_of_another_network_are_refused(mixed: Path, tmp_path: Path) -> None:
    bundle = calibrated_bundle(tmp_path / "b", calibration=Calibration(), like=[0])
    np.savez(tmp_path / "b" / "reference.npz", features=np.ones((3, 4), np.float32))
    vouched = {**bundle.manifest.model_dump(), "reference": hashed(bundle.folder, "reference.npz").model_dump()}
    again = write_bundle(bundle.folder, BundleManifest.model_validate(vouched))
    with pytest.raises(
        BundleError, match=r"reference features of shape \(3, 4\), m0 has 3; calibrate the bundle again"
    ):
        run(mixed, again, tmp_path / "run")


def test_last_years_result_is_listed_and_diagnosed_again(mixed: Path, tmp_path: Path) -> None:
    bundle = color_bundle(tmp_path / "b")
    run(mixed, bundle, tmp_path / "run")
    path = tmp_path / "run" / "mixed" / "diagnosis.json"
    value = json.loads(path.read_text())
    value["schema_version"] = 1
    for key in ("other_ways", "set", "likeness", "why_not"):
        del value[key]
    path.write_text(json.dumps(value))
    other = write_drawn(tmp_path / "other.svs", ["LLLLLL"] * 5)
    run(other, bundle, tmp_path / "run")
    assert "mixed/report.html" in (tmp_path / "run" / "index.html").read_text()
    heard = Heard()
    diagnose(jobs_from_paths([mixed]), bundle, DiagnoseConfig(out=tmp_path / "run"), heard)
    assert heard.skipped == []
    assert read_diagnosis(path).schema_version == 2
