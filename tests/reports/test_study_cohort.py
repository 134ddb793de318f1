"""What a study had to work with, read from a run's folder."""

from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest

from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.manifest import write_cohort
from sarcoscope.formats.split import write_split
from sarcoscope.formats.tile_index import COLUMNS, write_index
from sarcoscope.reports.study_blocks import Table
from sarcoscope.reports.study_cohort import cohort_table, networks_table, tiles_table
from sarcoscope.reports.study_facts import StudyFacts, read_facts
from sarcoscope.reports.study_methods import methods, stages_table
from sarcoscope.reports.study_pictures import chosen_previews
from sarcoscope.reports.study_pipeline import pipeline_steps
from tests.members_made import made_member
from tests.reports.evaluation_made import MODELS, ask, make_evaluation
from tests.reports.study_made import study_of

LABELS = {"a1": "DDLPS", "a2": "DDLPS", "b": "UPS", "c": "UPS", "d": "LMS"}
PATIENTS = {"a1": "A", "a2": "A", "b": "B"}
PARTS = {"a1": Part.TRAIN, "a2": Part.TRAIN, "b": Part.TRAIN, "c": Part.TEST1, "d": Part.TEST2}
KEPT = {"a1": 3, "a2": 2, "b": 4}
"""Tiles kept of each slide at 0.5 um/px; one more of each is dropped."""


def index_of(slide: str) -> pl.DataFrame:
    dropped = [None] * KEPT[slide] + ["blank"]
    known = pl.DataFrame({"tile": [f"t{place}" for place in range(len(dropped))], "dropped": dropped}).with_columns(
        slide=pl.lit(slide), label=pl.lit(LABELS[slide]), mpp=pl.lit(0.5)
    )
    return known.with_columns(**{name: pl.lit(None) for name in COLUMNS if name not in known.columns})


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> StudyFacts:
    run = tmp_path_factory.mktemp("run")
    slides = [
        CohortSlide(slide=slide, path=Path(f"{slide}.tiff"), label=label, patient=PATIENTS.get(slide))
        for slide, label in LABELS.items()
    ]
    write_cohort(run, slides)
    config = {"ratios": [0.7, 0.15, 0.15], "seed": 9, "pooled": []}
    write_split(run, slides, {"part": PARTS}, {"config": config})
    cut = {"tile_px": 256, "mpp": [0.5], "minimum_tissue": 0.5, "minimum_tissue_score": 0.2, "quality": {}}
    for slide in KEPT:
        write_index(run / "tiles" / f"{slide}.parquet", index_of(slide), {"inputs": {"cut": cut}})
    made_member(run, "compact-20x", seed=4, weights_origin="random")
    stages = run / "stages.json"
    stages.write_text(
        '{"stages": [{"name": "train", "state": "done", "seconds": 95.0, "started": "2025-01-01T10:00:00+00:00",'
        f' "version": "0.1.0", "notes": ["2 epochs in {run}/members"], "failures": {{"b": "torn"}}, "libraries": '
        '{"numpy": "2.3"}}]}',
        encoding="utf-8",
    )
    evaluation = make_evaluation(ask(models=MODELS[:1]))
    return read_facts(study_of(run, evaluation, run=run, stages=stages))


def texts(table: Table | None) -> dict[str, list[str]]:
    assert table is not None
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_slides_and_patients_by_class_and_part(facts: StudyFacts) -> None:
    table = cohort_table(facts)
    assert table is not None
    assert [one.text for one in table.columns] == ["Class", "Training", "Test set 1", "Test set 2", "All"]
    rows = texts(table)
    dash = "\N{EN DASH}"
    assert rows["DDLPS"] == ["2", dash, dash, "2"]
    assert rows["UPS"] == ["1", "1", dash, "2"]
    assert rows["All"] == ["3", "1", "1", "5"]
    by_name = {row[0].text: row for row in table.rows}
    assert by_name["DDLPS"][1].sub == "1 patient"  # both slides are of A
    assert by_name["UPS"][2].sub == ""  # nobody says whose c is


def test_tiles_by_class_and_scale(facts: StudyFacts) -> None:
    rows = texts(tiles_table(facts))
    assert rows["DDLPS"] == ["2", "5", "2"]
    assert rows["UPS"] == ["1", "4", "1"]
    assert rows["All"] == ["3", "9", "3"]
    assert "LMS" not in rows


def test_tiles_that_readers_took_out_are_not_kept(facts: StudyFacts) -> None:
    assert "No reader looked through the tiles." in " ".join(methods(facts))
    table = tiles_table(facts)
    assert table is not None
    assert table.note.endswith("No reader screened them.")
    run = facts.study.run
    assert run is not None
    lines = ["slide,tile,decision,reader", "a1,t0,reject,r", "a1,t1,reject,r", "a1,t1,keep,r", "b,t3,reject,r"]
    lines += ["b,t4,reject,r", "b,gone,reject,r"]  # one had been dropped before; one is there no more
    (run / "screening.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        screened = read_facts(facts.study)
    finally:
        (run / "screening.csv").unlink()
    table = tiles_table(screened)
    assert table is not None
    assert [one.text for one in table.columns] == ["Class", "Slides", "Kept", "Dropped", "Rejected"]
    rows = texts(table)
    assert rows["DDLPS"] == ["2", "4", "2", "1"]
    assert rows["UPS"] == ["1", "3", "1", "1"]
    assert rows["All"] == ["3", "7", "3", "2"]
    words = " ".join(methods(screened))
    assert "Readers decided about 4 tiles; they rejected 2 of 9 tiles that had been kept." in words
    assert dict(pipeline_steps(screened))["Tiles"][0] == "7 kept"


def test_a_temperature_is_claimed_only_of_models_that_have_one(facts: StudyFacts) -> None:
    whole = "Fused probabilities were calibrated by a temperature fitted on validation tiles (Guo 2017)."
    assert whole in " ".join(methods(facts))
    made = make_evaluation(ask(models=MODELS[:2]))
    bare = replace(made.models[1], why_not={"temperature": "too few validation tiles"})
    some = " ".join(methods(replace(facts, evaluation=replace(made, models=(made.models[0], bare)))))
    assert "Fused probabilities of EfficientNetB7 were calibrated by a temperature" in some
    assert "No temperature was fitted for Ensemble: too few validation tiles." in some
    none = " ".join(methods(replace(facts, evaluation=replace(made, models=(bare,)))))
    assert "were calibrated" not in none


def test_networks_say_what_they_began_from(facts: StudyFacts) -> None:
    rows = texts(networks_table(facts))
    assert rows["compact-20x"][1:3] == ["random", "4"]


def test_the_pipeline_counts_this_run(facts: StudyFacts) -> None:
    steps = dict(pipeline_steps(facts))
    assert steps["Slides"] == ("5 slides", "2 patients")
    assert steps["Tiles"] == ("9 kept", "20x, 0.5 \N{MICRO SIGN}m/px")


def test_methods_are_filled_from_what_was_done(facts: StudyFacts) -> None:
    words = " ".join(methods(facts))
    assert "in the ratio 0.7/0.15/0.15 (seed 9)" in words
    assert "Tiles of 256 px were cut at 20x (0.5 \N{MICRO SIGN}m/px)" in words
    assert "1 network" in words
    assert "seeds 4" in words
    assert "1,000 bootstrap draws" in words
    assert "numpy 2.3" in words
    assert "Class activation maps" not in words  # there are none


def test_methods_state_the_rules_of_the_studys_config(facts: StudyFacts) -> None:
    assert "undetermined" not in " ".join(methods(facts))  # nothing says what the rules were
    told = replace(facts, stages={"config": as_json({"rules": asdict(replace(PAPER_RULES, minimum_tiles=1))})})
    assert (
        "A slide of fewer than 1 kept tile is left undetermined. Refined: where each of DDLPS, UPS and WDLPS holds at "
        "least 5% of the tiles, tiles of UPS count as DDLPS. A DDLPS slide with a WDLPS component is right where these "
        "are its two most frequent labels. Slides of MPNST were not scored."
    ) in " ".join(methods(told))
    bare = replace(facts, stages={"config": as_json({"rules": asdict(SlideRules())})})
    assert "A slide of fewer than 20 kept tiles is left undetermined." in " ".join(methods(bare))
    assert "Refined: where" not in " ".join(methods(bare))


def test_steps_name_failures_but_no_machine_path(facts: StudyFacts) -> None:
    rows = texts(stages_table(facts))
    assert rows["train"] == ["done", "2 min", "2025-01-01 10:00", "0.1.0", "2 epochs in OUT/members; b: torn"]


def test_a_long_note_is_cut(facts: StudyFacts) -> None:
    out = facts.study.out
    steps = [{"name": "train", "notes": [f"{out}/x " + "y" * 5000, "short"]}]
    (said,) = texts(stages_table(replace(facts, stages={"stages": steps})))["train"][-1:]
    first, second = said.split("; ")
    assert (len(first), first[:8], first[-1], second) == (300, "OUT/x yy", "\N{HORIZONTAL ELLIPSIS}", "short")


def test_without_a_run_the_decisions_are_counted(tmp_path: Path) -> None:
    bare = read_facts(study_of(tmp_path, make_evaluation(ask(models=MODELS[:2]))))
    rows = texts(cohort_table(bare))
    assert rows["All"] == ["20", "57", "42", "119"]  # each slide once, though two models decided it
    assert tiles_table(bare) is None
    assert networks_table(bare) is None
    assert stages_table(bare) is None


def test_previews_are_a_sheet_and_a_slide_a_class_at_the_models_scale(facts: StudyFacts) -> None:
    names = ["a1_0.5um", "a1_1um", "a2_0.5um", "b_0.5um", "c_0.5um", "class-UPS_0.5um", "class-UPS_1um"]
    study = study_of(
        facts.study.out, facts.evaluation, run=facts.study.run, tiles_preview=tuple(Path(f"{n}.png") for n in names)
    )
    chosen = [path.stem for path in chosen_previews(read_facts(study))]
    assert chosen == ["class-UPS_0.5um", "a1_0.5um", "b_0.5um"]
