"""Another tumour brings its own classes and rules: by other names all comes out as it does of the paper's classes."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sarcoscope.cli.main import app
from sarcoscope.formats.config import config_text
from sarcoscope.reports.study_page import StudyArtifacts, write_study_report
from tests.evaluated import RULES, drawn_run

CALLED = {"DDLPS": "GBM", "LMS": "EPN", "MPNST": "MNG", "UPS": "ASTRO", "WDLPS": "OLIGO"}
PAPERS = re.compile(rf"\b({'|'.join(CALLED)})\b")


def renamed(text: str, called: Mapping[str, str]) -> str:
    return PAPERS.sub(lambda found: called.get(found[1], found[1]), text)


def sarcoscope(*words: object) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code in {0, 1}, done.output  # 1: a slide of the run is destroyed


def evaluated(folder: Path, called: Mapping[str, str]) -> Path:
    """evaluation.json of a bundle of two members by the paper's rules, their classes called otherwise."""
    run = drawn_run(folder, called)
    (folder / "rules.yaml").write_text(renamed(config_text(RULES), called), encoding="utf-8")
    members = [run / "members" / name for name in ("sees-all", "no-ups")]
    sarcoscope("ensemble", "make", *members, "--out", folder / "pair", "--rules", folder / "rules.yaml")
    sarcoscope("evaluate", folder / "pair", "--run", run, "--draws", "20")
    return run / "evaluation" / "evaluation.json"


def measured(path: Path) -> Any:
    """All but colours, hashes and times."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return {key: one for key, one in values.items() if key not in {"provenance", "classes", "models"}}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("other"), CALLED)


def test_nothing_hangs_on_what_classes_are_called(other: Path, tmp_path: Path) -> None:
    papers = measured(evaluated(tmp_path, {}))
    assert any(one["refined_applied"] for one in papers["decisions"])
    assert any(one["components"] for one in papers["decisions"])
    assert any(one["tests"] for one in papers["decisions"])
    assert json.loads(renamed(json.dumps(papers), CALLED)) == measured(other)


def test_its_report_and_tables_name_no_class_of_the_paper(other: Path, tmp_path: Path) -> None:
    page = write_study_report(StudyArtifacts(out=tmp_path, title="Gliomas", evaluation=other))
    text = re.sub(r'"data:[^"]*"', "", page.read_text(encoding="utf-8"))
    assert "OLIGO" in text
    assert not PAPERS.findall(text)
    tables = [*(page.parent / "tables").glob("*.csv"), *(other.parent / "tables").glob("*.csv")]
    assert len(tables) > 20
    assert not [path.name for path in tables if PAPERS.search(path.read_text(encoding="utf-8"))]
