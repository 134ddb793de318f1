"""`sarcoscope study new` and wrong usage."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sarcoscope.cli.main import app
from sarcoscope.stages.phantom_study import phantom_study
from sarcoscope.stages.study_config import StudyConfig, paper_study, read_study_config

RUNNER = CliRunner()


@pytest.mark.parametrize(("more", "config"), [((), paper_study()), (("--phantom",), phantom_study())])
def test_new_writes_a_config_that_can_be_read(tmp_path: Path, more: tuple[str, ...], config: StudyConfig) -> None:
    path = tmp_path / "study.yaml"
    done = RUNNER.invoke(app, ["study", "new", str(path), *more])
    assert done.exit_code == 0
    assert read_study_config(path).networks == config.networks
    assert read_study_config(path).rules == config.rules


def test_new_does_not_replace_a_file_unless_told_to(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("mine\n", encoding="utf-8")
    done = RUNNER.invoke(app, ["study", "new", str(path)])
    assert done.exit_code == 2
    assert "is there already; give another name, or replace it with --force" in done.stderr
    assert path.read_text(encoding="utf-8") == "mine\n"
    assert RUNNER.invoke(app, ["study", "new", str(path), "--force"]).exit_code == 0
    assert read_study_config(path).title == paper_study().title


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: x\nnetworks:\n  - nam: a\n", "unknown key networks.0.nam; did you mean name?"),
        ("rules: {refine: {evidence: [A, B], relabel: {C: A}}}", "['C'] relabelled without being evidence"),
        ("classes: [A, B]\nrules: {unscored: [C]}\n", "rules name unknown classes ['C']"),
        ("base_mpp: 0.7\n", "base_mpp 0.7 is not cut"),
        ("base_mpp: fast\n", "got 'fast'; compare it with sarcoscope study new"),
        ("ensembles: {rule: median}\n", "study.yaml: ensembles.rule 'median'; give one of mean, product"),
        ("ensembles: {metric: slide_accuracy}\n", "study.yaml: ensembles.metric 'slide_accuracy'; give one of tile_"),
        ("split: {ratios: [0.7, 0, 0.3]}\n", "split.ratios [0.7, 0.0, 0.3]: no slide validates"),
        ("recipe: {metric: acc}\n", "study.yaml: unknown metric 'acc'"),
        ("examples: {model: Nope}\n", "examples.model 'Nope' is no model of the study; there are: resnet18-20x, Ens"),
    ],
)
def test_a_mistake_in_study_yaml_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    done = RUNNER.invoke(app, ["study", "run", str(path), "--dry-run"])
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_stage_and_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    RUNNER.invoke(app, ["study", "new", str(path)])
    done = RUNNER.invoke(app, ["study", "run", str(path), "--until", "lunch"])
    assert done.exit_code == 2
    assert "no stage 'lunch'; the stages are check, split, tile" in done.stderr
    done = RUNNER.invoke(app, ["study", "run", str(path)])
    assert done.exit_code == 2
    assert "failed: check: " in done.stderr
    assert "manifest.csv" in done.stderr


def test_a_plan_before_anything_is_there_names_every_step_and_no_time(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    RUNNER.invoke(app, ["study", "new", str(path)])
    (tmp_path / "manifest.csv").write_text("slide,path,label\na,a.svs,LMS\n", encoding="utf-8")
    done = RUNNER.invoke(app, ["study", "run", str(path), "--dry-run"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("to do         check (not known: no such step was done yet")
    assert any(line.startswith("to do         tune efficientnet-b7-40x: after leakage") for line in lines)
    assert any(line.startswith("to do         bundle MultiV2-concentric") for line in lines)
    assert lines[-1].startswith("how long that takes is not known yet")
    assert not (tmp_path / "study").exists()
