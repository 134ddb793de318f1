"""Bundles on a drawn cohort: votes as a diagnosis counts them, numbers as others compute them, a kill, an audit."""

import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics
from typer.testing import CliRunner

from sarcoscope.cli.evaluate_show import show
from sarcoscope.cli.main import app
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Decision, Evaluation, PatchResult, SlideResult
from sarcoscope.diagnosis.fusion import fuse
from sarcoscope.formats.bundle import Bundle, BundleManifest, hashed, read_bundle, write_bundle
from sarcoscope.formats.diagnoses import read_diagnosis
from sarcoscope.formats.evaluation import read_evaluation
from sarcoscope.formats.evaluation_tables import slide_table
from sarcoscope.stages.audit import audit_tables
from sarcoscope.stages.diagnose import DiagnoseConfig, diagnose
from sarcoscope.stages.evaluate import EvaluateAsk, EvaluateSummary, evaluate
from sarcoscope.stages.evaluated_models import models_of
from sarcoscope.stages.jobs import jobs_from_paths
from sarcoscope.stages.predictions import patch_table
from tests.bundles import CODES, color_bundle
from tests.evaluated import SLIDES, WHOLE, drawn_run, fused, without_predictions
from tests.slides_made import write_drawn


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_run(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="module")
def bundles(run: Path) -> tuple[Bundle, Bundle]:
    return fused(run, run / "b" / "pair", "sees-all", "no-ups"), fused(run, run / "b" / "single", "sees-all")


@pytest.fixture(scope="module")
def summary(run: Path, bundles: tuple[Bundle, Bundle]) -> EvaluateSummary:
    return evaluate(ask(run, bundles))


@pytest.fixture(scope="module")
def evaluation(summary: EvaluateSummary) -> Evaluation:
    return summary.evaluation


def ask(run: Path, bundles: tuple[Bundle, ...], **values: object) -> EvaluateAsk:
    return EvaluateAsk(**{"run": run, "bundles": tuple(one.folder for one in bundles), "draws": 50, **values})  # type: ignore[arg-type]


def patch_of(evaluation: Evaluation, model: str, part: Part) -> PatchResult:
    (found,) = [one for one in evaluation.patch if (one.model, one.part) == (model, part)]
    return found


def slides_of(evaluation: Evaluation, model: str, part: Part, way: str) -> SlideResult:
    (found,) = [one for one in evaluation.slide if (one.model, one.part, one.way) == (model, part, way)]
    return found


def decided(evaluation: Evaluation, model: str, slide: str) -> Decision:
    (found,) = [one for one in evaluation.decisions if (one.model, one.slide) == (model, slide)]
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def without_times(evaluation: Evaluation) -> Evaluation:
    kept = {key: value for key, value in evaluation.provenance.items() if key not in {"timings", "slides"}}
    return replace(evaluation, provenance=kept)


def test_a_bundle_stands_beside_its_members_and_a_bundle_that_is_one_of_them_is_there_once(
    evaluation: Evaluation,
) -> None:
    assert [(one.name, one.of) for one in evaluation.models] == [("pair", ""), ("no-ups", "pair"), ("single", "")]
    assert {(one.one, one.other) for one in evaluation.comparisons} == {("pair", "single"), ("pair", "no-ups")}


def test_a_weighted_bundle_of_one_member_is_that_member(run: Path, tmp_path: Path) -> None:
    single = fused(run, tmp_path / "alone", "sees-all", rule="weighted")
    pair = fused(run, tmp_path / "both", "sees-all", "no-ups", rule="weighted")
    assert single.manifest.fusion.weights == (1.0,)
    assert [(one.name, one.of) for one in models_of([single, pair]).every] == [
        ("alone", ""), ("both", ""), ("no-ups", "both"),
    ]  # fmt: skip


@pytest.mark.parametrize("place", [0, 1])
def test_votes_and_all_that_is_said_of_a_slide_are_those_of_its_diagnosis(
    place: int, run: Path, bundles: tuple[Bundle, Bundle], evaluation: Evaluation, tmp_path: Path
) -> None:
    names = [name for name, one in SLIDES.items() if one.part == "test1" and one.label]
    paths = [run.parent / "slides" / f"{name}.svs" for name in names]
    diagnose(jobs_from_paths(paths), bundles[place], DiagnoseConfig(out=tmp_path))
    for name in names:
        record = read_diagnosis(tmp_path / name / "diagnosis.json")
        found = decided(evaluation, bundles[place].manifest.name, name)
        assert found.votes == record.votes, name
        assert found.refined_votes == record.refined.votes
        assert found.labels == {"vote": record.label, "refined": record.refined.label, **record.other_ways}
        assert found.mean_probability == record.mean_probability
        assert record.set is not None
        assert found.set_classes == tuple(record.set.classes)
        assert record.likeness is not None
        assert (found.distance, found.distance_p, found.far) == (
            record.likeness.distance,
            record.likeness.p,
            record.likeness.far,
        )


def test_slides_are_scored_as_the_paper_scores_them(evaluation: Evaluation) -> None:
    original = slides_of(evaluation, "single", Part.TEST1, "vote")
    refined = slides_of(evaluation, "single", Part.TEST1, "refined")
    # a-d is a tie of 3 D and 3 U; a-dw counts by its two components; a-u is right until it is refined; a-m is unscored
    assert {code: (one.right, one.n) for code, one in refined.per_class.items()} == {"DDLPS": (2, 2), "UPS": (0, 1)}
    assert original.per_class["UPS"].right == 1
    assert original.overall.n == refined.overall.n == 3
    assert decided(evaluation, "single", "a-d").refined_votes["DDLPS"] == 6
    assert decided(evaluation, "single", "a-dw").labels["vote"] == "WDLPS"
    assert decided(evaluation, "single", "a-dw").right["vote"] is True
    assert set(decided(evaluation, "single", "a-m").right.values()) == {None}
    second = slides_of(evaluation, "single", Part.TEST2, "vote")
    assert (second.overall.right, second.overall.n, second.undetermined) == (1, 2, 1)
    assert second.confusion["WDLPS"]["undetermined"] == 1
    assert decided(evaluation, "single", "b-few").undetermined is not None
    assert decided(evaluation, "no-ups", "a-u").votes["UPS"] == 0


def test_shares_have_wilsons_interval(evaluation: Evaluation) -> None:
    for one in evaluation.slide:
        wanted = binomtest(one.overall.right, one.overall.n).proportion_ci(method="wilson")
        assert (one.overall.low, one.overall.high) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_patch_figures_are_those_of_scikit_learn_on_the_predicted_tiles(
    part: Part, run: Path, bundles: tuple[Bundle, Bundle], evaluation: Evaluation
) -> None:
    table = patch_table(run, bundles[0], [part])
    told = fuse(table.probabilities).argmax(axis=1)
    true = np.array([CODES.index(code) for code in table.tiles["label"]])
    found = patch_of(evaluation, "pair", part)
    assert found.tiles == len(true)
    assert found.patients == found.slides == len({one.slide for one in evaluation.decisions if one.part == part})
    assert found.overall.value == pytest.approx(metrics.accuracy_score(true, told))
    assert found.balanced_accuracy.value == pytest.approx(
        np.mean([np.mean(told[true == at] == at) for at in set(true)])
    )
    assert found.kappa.value == pytest.approx(metrics.cohen_kappa_score(true, told))
    assert found.confusion == tuple(map(tuple, metrics.confusion_matrix(true, told, labels=range(5)).tolist()))


def test_a_bad_slide_is_named_without_its_folder_and_the_others_go_on(
    summary: EvaluateSummary, evaluation: Evaluation
) -> None:
    assert set(evaluation.failures) == {"b-lost"}
    assert str(summary.path.parents[2]) not in evaluation.failures["b-lost"]
    assert summary.exit_code == 1
    for part, count in WHOLE.items():
        assert len({one.slide for one in evaluation.decisions if one.part == part}) == count
    assert evaluation.provenance["left_out"] == {"a-open": "no label"}


def test_what_is_written_is_what_is_returned_and_says_that_it_is_synthetic(
    summary: EvaluateSummary, evaluation: Evaluation
) -> None:
    assert json.loads(summary.path.read_text())["notice"] == evaluation.notice
    assert without_times(read_evaluation(summary.path)) == without_times(evaluation)
    assert evaluation.synthetic
    assert "nothing here is of any clinical meaning" in evaluation.notice


def test_a_second_run_predicts_nothing_and_finds_the_same(
    run: Path, bundles: tuple[Bundle, Bundle], evaluation: Evaluation
) -> None:
    again = evaluate(ask(run, bundles, out=run / "again"))
    assert (again.predicted, again.reused > 0) == (0, True)
    assert without_times(again.evaluation) == without_times(evaluation)


def test_parts_that_are_not_asked_for_change_nothing_of_those_that_are(
    run: Path, bundles: tuple[Bundle, Bundle], evaluation: Evaluation
) -> None:
    alone = evaluate(ask(run, bundles, out=run / "alone", parts=(Part.TEST1,))).evaluation
    assert alone.decisions == tuple(one for one in evaluation.decisions if one.part is Part.TEST1)
    assert not alone.patch
    assert not alone.sweeps


_KILLED = """
import os, signal, sys
from pathlib import Path
from sarcoscope.stages.evaluate import EvaluateAsk, evaluate
from sarcoscope.stages.predictions import Silent

class Killer(Silent):
    seen = 0
    def tiles_done(self, count):
        Killer.seen += count
        if Killer.seen > 60:
            os.kill(os.getpid(), signal.SIGKILL)

run, *bundles = map(Path, sys.argv[1:])
evaluate(EvaluateAsk(run=run, bundles=tuple(bundles), draws=50), Killer())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")
def test_a_killed_process_loses_the_slide_in_hand_and_the_next_one_ends_with_the_same(
    run: Path, tmp_path: Path, bundles: tuple[Bundle, Bundle], evaluation: Evaluation
) -> None:
    run = without_predictions(run, tmp_path)
    folders = [str(one.folder) for one in bundles]
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(run), *folders], check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = {path: path.read_bytes() for path in (run / "predictions").rglob("*.parquet")}
    assert kept
    assert not (run / "evaluation").exists()
    again = evaluate(ask(run, bundles))
    assert again.reused > 0
    assert {path: path.read_bytes() for path in kept} == kept
    assert replace(without_times(again.evaluation), provenance={}) == replace(evaluation, provenance={})


def test_the_audit_finds_nothing_in_the_tables_of_slides(summary: EvaluateSummary, evaluation: Evaluation) -> None:
    tables = sorted((summary.path.parent / "tables").glob("slides_t*.csv"))
    assert [path.name for path in tables] == ["slides_test.csv", "slides_test1.csv", "slides_test2.csv"]
    report = audit_tables(tables)
    assert not report.errors
    assert report.exit_code == 0
    assert all(one.checked for one in report.tables.values())
    rows = table(tables[1])
    assert {row["variant"] for row in rows} >= {"original", "refined", "mean"}
    (row,) = [row for row in rows if (row["model"], row["variant"]) == ("single", "refined")]
    assert [row[f"{name}_acc_printed"] for name in ("DDLPS", "UPS", "overall")] == ["100", "0", "66.67"]
    assert [row["DDLPS_true"], row["DDLPS_false"], row["overall_true"], row["overall_false"]] == ["2", "0", "2", "1"]
    assert slide_table(evaluation, Part.TEST1)[0] == list(rows[0])


def test_tables_hold_every_decision_and_figure(summary: EvaluateSummary, evaluation: Evaluation) -> None:
    folder = summary.path.parent / "tables"
    rows = table(folder / "decisions.csv")
    assert [(row["model"], row["slide"], row["label_original"]) for row in rows] == [
        (one.model, one.slide, one.labels["vote"] or "") for one in evaluation.decisions
    ]
    patch = table(folder / "patch.csv")
    (row,) = [one for one in patch if (one["model"], one["part"], one["measure"]) == ("pair", "test", "kappa")]
    assert float(row["value"]) == patch_of(evaluation, "pair", Part.TEST).kappa.value
    sweep = table(folder / "sweep.csv")
    assert [row["fraction"] for row in sweep if row["declared"] == "yes"] == ["0.05"] * len(evaluation.models)
    unmarked = {path.name for path in folder.glob("*.csv") if "synthetic" not in table(path)[0]}
    assert unmarked == {f"slides_{one.part}.csv" for one in evaluation.slide}  # the paper's form has no room for it
    assert {row["synthetic"] for row in (*rows, *patch, *sweep)} == {"yes"}
    assert (folder / "NOTICE.txt").read_text(encoding="utf-8") == f"Not a clinical result. {evaluation.notice}\n"


def test_the_refined_rule_is_swept_on_validation(evaluation: Evaluation) -> None:
    (sweep,) = [one for one in evaluation.sweeps if one.model == "single"]
    # of v-d2 (4 U, 2 D, 2 W of 8 tiles) a quarter shows each class: up to 0.25 it is refined, and then right
    assert [one.applied for one in sweep.points] == [1] * 25 + [0] * 5
    assert [one.right.right for one in sweep.points] == [6] * 25 + [5] * 5
    assert (sweep.plain.right, sweep.plain.n, sweep.declared) == (5, 6, 0.05)


def test_coverage_counts_the_sets_that_hold_the_truth(evaluation: Evaluation) -> None:
    for one in evaluation.coverage:
        mine = [
            each
            for each in evaluation.decisions
            if (each.model, each.part) == (one.model, one.part)
            and each.set_classes is not None
            and each.truth != "MPNST"
        ]
        assert (one.covered.right, one.covered.n) == (
            sum(each.truth in (each.set_classes or ()) for each in mine),
            len(mine),
        )
    assert {one.model for one in evaluation.coverage} == {"pair", "single", "no-ups"}
    assert all(one.far is None for one in evaluation.coverage if one.model == "no-ups")  # a part of a bundle


def test_concentric_members_are_shown_their_surroundings_and_shared_ones_are_not(run: Path, tmp_path: Path) -> None:
    """The tile in the middle is UPS, all around it DDLPS: at twice the um/px three quarters of what is shown is."""
    folder = tmp_path / "island"
    path = write_drawn(folder / "slides" / "island.svs", ["DDDDD", "DDDDD", "DDUDD", "DDDDD", "DDDDD"])
    (folder / "cohort.csv").write_text(f"slide,path,label\nisland,{path},DDLPS\n")
    (folder / "split.csv").write_text("slide,part\nisland,test1\n")
    shared = fused(run, tmp_path / "shared", "sees-all", "coarse")
    concentric = fused(run, tmp_path / "concentric", "sees-all", "coarse", mode="concentric")
    found = evaluate(ask(folder, (shared, concentric))).evaluation
    coarse = [one.name for one in found.models if one.members == ("coarse",)]
    assert [one.read_mpp for one in found.models if one.members == ("coarse",)] == [(0.5,), (1.0,)]
    assert decided(found, coarse[0], "island").votes["UPS"] == 1
    assert decided(found, coarse[1], "island").votes["UPS"] == 0


def test_bundles_that_cannot_be_compared_are_refused_in_one_line(
    run: Path, bundles: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    made = color_bundle(tmp_path / "other")
    classes = made.manifest.classes[::-1]
    values = made.manifest.model_copy(update={"classes": classes, "name": "other"})
    other = write_bundle(tmp_path / "other", BundleManifest.model_validate(values.model_dump()))
    with pytest.raises(InputError, match="other tells WDLPS"):
        evaluate(ask(run, (bundles[0], other)))
    with pytest.raises(InputError, match="two bundles are called pair"):
        evaluate(ask(run, (bundles[0], bundles[0])))
    with pytest.raises(InputError, match="part train"):
        evaluate(ask(run, bundles, parts=(Part.TRAIN,)))
    with pytest.raises(InputError, match="no run folder"):
        evaluate(ask(tmp_path / "none", bundles))
    with pytest.raises(InputError, match="draws=-1"):
        ask(run, bundles, draws=-1)


def copied(made: Bundle, folder: Path, **record: object) -> Bundle:
    """Another of the name, whose first member's record says other things of its training."""
    shutil.copytree(made.folder, folder)
    values = made.manifest.model_dump(mode="json")
    first = next(iter(values["provenance"]["members"]))
    values["provenance"]["members"][first] |= record
    return write_bundle(folder, BundleManifest.model_validate(values))


def test_slides_that_are_known_to_have_trained_a_bundle_are_refused(
    run: Path, bundles: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    trained = copied(bundles[0], tmp_path / "trained", config={"train_on_validation": True})
    with pytest.raises(InputError, match=r"sees-all of bundle pair was trained on validation tiles too; .*--part test"):
        evaluate(ask(run, (trained,)))
    told = evaluate(ask(run, (trained,), parts=(Part.TEST,), out=tmp_path / "out")).evaluation
    parts = [one for one in told.models if one.of]
    assert parts
    assert all(one.temperature == 1 and "validation tiles trained" in one.why_not["conformal"] for one in parts)


def test_a_bundle_of_another_repetition_is_refused_and_one_of_another_split_is_told(
    run: Path, bundles: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    again = tmp_path / "run"
    shutil.copytree(run, again, ignore=shutil.ignore_patterns("b", "members", "evaluation"))
    lines = (again / "split.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    turned = {"train": "test", "test": "train"}
    several = ["slide,r1,r2", *(f"{slide},{part},{turned.get(part, part)}" for slide, part in rows)]
    (again / "split.csv").write_text("\n".join(several) + "\n")
    split = hashlib.sha256((again / "split.csv").read_bytes()).hexdigest()
    single = copied(bundles[1], tmp_path / "r1", split_sha256=split, fold="r1")
    with pytest.raises(
        InputError, match=r"sees-all of bundle single was trained in repetition 'r1', and 'r2'.*--fold r1"
    ):
        evaluate(ask(again, (single,), fold="r2"))
    mine = ask(again, (single,), fold="r1", parts=(Part.TEST,))
    assert "another split" not in evaluate(mine).evaluation.data
    strange = evaluate(ask(again, (bundles[1],), fold="r1", parts=(Part.TEST,))).evaluation
    assert "single was trained by another split than split.csv of this run" in strange.data


def test_each_scale_alone_stands_beside_a_bundle_of_several(tmp_path: Path) -> None:
    made = color_bundle(tmp_path / "b", members=3)
    scales = ((1.0,), (0.5,), (0.5,))
    members = []
    for number, (one, scale) in enumerate(zip(made.manifest.members, scales, strict=True)):
        head = made.folder / one.head.path
        model = made.folder / one.model.path
        model.write_bytes(model.read_bytes() + bytes([0x7A, 1, number]))  # an unknown field: three different graphs
        members.append(one.model_copy(update={"trained_mpp": scale, "model": hashed(made.folder, one.model.path)}))
        assert head.is_file()
    fusion = {"rule": "weighted", "weights": (0.5, 0.3, 0.2)}
    values = made.manifest.model_copy(update={"members": tuple(members)}).model_dump() | {"fusion": fusion}
    whole = write_bundle(made.folder, BundleManifest.model_validate(values))
    found = models_of([whole]).every
    assert [one.name for one in found] == ["colour", "colour, 0.5 um/px alone", "m0", "m1", "m2"]
    assert found[1].bundle.manifest.fusion.weights == pytest.approx((0.6, 0.4))
    assert all(one.bundle.manifest.fusion.rule == "mean" for one in found[2:])


_COMMAND = """
import sys
from sarcoscope.cli.main import main
try:
    main()
except SystemExit as left:
    code = left.code
assert not {"torch", "timm", "accelerate"} & set(sys.modules)
sys.exit(code)
"""


@pytest.mark.usefixtures("summary")
def test_the_command_needs_no_torch_and_prints_one_object_and_leaves_with_1_where_a_slide_failed(
    run: Path, bundles: tuple[Bundle, Bundle]
) -> None:
    options = ["--part", "test1", "--part", "test2", "--out", str(run / "cli"), "--draws", "10", "--json"]
    command = [sys.executable, "-c", _COMMAND, "evaluate", str(bundles[1].folder), "--run", str(run), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == 1
    assert told["predicted"] == 0
    assert told["reused"] > 0
    assert set(told["failures"]) == {"b-lost"}
    assert [one["name"] for one in told["models"]] == ["single"]
    assert "decisions" not in told


def test_the_terminal_says_what_was_measured_and_that_it_is_synthetic(
    summary: EvaluateSummary, capsys: pytest.CaptureFixture[str]
) -> None:
    show(summary, as_json=False)
    said = capsys.readouterr()
    for words in ("test1: whole slides", "validation: 48 tiles", "failed: b-lost", "12 were computed"):
        assert words in said.out
    assert "clinical meaning" in said.err


def test_wrong_usage_is_one_line_and_2(run: Path, bundles: tuple[Bundle, Bundle]) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(bundles[0].folder), "--run", str(run), "--part", "train"])
    assert done.exit_code == 2
    assert done.output.splitlines() == [
        "error: part 'train' is none to evaluate on; give one of validation, test, test1, test2"
    ]


def test_an_interrupt_leaves_with_130_and_keeps_what_was_predicted(
    run: Path, tmp_path: Path, bundles: tuple[Bundle, Bundle]
) -> None:
    run = without_predictions(run, tmp_path)
    last = "evaluate(EvaluateAsk(run=run, bundles=tuple(bundles), draws=50), Killer())"
    told = f"from sarcoscope.cli.console import errors_told\nwith errors_told(as_json=False, debug=False):\n    {last}"
    script = _KILLED.replace("SIGKILL", "SIGINT").replace(last, told)
    done = subprocess.run(
        [sys.executable, "-c", script, str(run), str(bundles[0].folder)], capture_output=True, text=True, check=False
    )
    assert "interrupted: what was finished is kept" in done.stderr
    assert not (run / "evaluation").exists()
    assert list((run / "predictions").rglob("*.parquet"))


def test_a_bundle_that_carries_nothing_says_so(run: Path, tmp_path: Path) -> None:
    plain = color_bundle(tmp_path / "plain", minimum_tiles=6)
    found = evaluate(ask(run, (plain,), out=tmp_path / "out", parts=(Part.TEST1,))).evaluation
    (words,) = found.models
    assert words.why_not["conformal"] == "the bundle carries none"
    assert words.temperature == 1
    assert not found.coverage
    assert read_bundle(plain.folder).sha256 == words.bundle_sha256
