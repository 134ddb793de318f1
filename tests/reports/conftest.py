from pathlib import Path

import pytest

from sarcoscope.reports.artifacts import SlideArtifacts, read_artifacts
from sarcoscope.reports.slide_report import write_slide_report
from tests.reports.builder import make_slide


@pytest.fixture(scope="session")
def ups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UPS slide's folder with its report; the refined rule is not applied."""
    folder = make_slide(tmp_path_factory.mktemp("ups"), "ups")
    write_slide_report(folder)
    return folder


@pytest.fixture(scope="session")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide whose label the refined rule changes from UPS to DDLPS with a WDLPS component."""
    folder = make_slide(tmp_path_factory.mktemp("changed"), "changed", mix={"WDLPS": 0.3, "DDLPS": 0.3, "UPS": 0.4})
    write_slide_report(folder)
    return folder


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide without a tile."""
    folder = make_slide(tmp_path_factory.mktemp("empty"), "empty", tiles=[])
    write_slide_report(folder)
    return folder


@pytest.fixture(scope="session")
def ups_artifacts(ups: Path) -> SlideArtifacts:
    return read_artifacts(ups)
