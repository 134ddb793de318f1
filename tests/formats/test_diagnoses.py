"""diagnosis.json: what it says of certainty, and that last year's files are still read."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.core.slide import Level, Scale, SlideInfo
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.calibration import Calibration, Conformal, Distance, Regression
from sarcoscope.diagnosis.rules import AncillaryTest, ComponentRule, RefineRule, SlideRules
from sarcoscope.diagnosis.verdict import diagnose_tiles
from sarcoscope.formats.bundle import BundleManifest, BundleMember, Fusion
from sarcoscope.formats.diagnoses import (
    AncillaryRecord,
    LikenessRecord,
    SetRecord,
    make_record,
    read_diagnosis,
    write_diagnosis,
)
from tests.reports.builder import CODES, FAR, bundle, calibration, make_slide
from tests.test_docs import named

SINCE_2 = ("other_ways", "set", "likeness", "why_not")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    return make_slide(home, evidence=False, fitted=calibration(0.8), likeness=FAR) / "diagnosis.json"


def edited(path: Path, to: Path, *, version: int, without: tuple[str, ...], **more: Any) -> Path:
    value = json.loads(path.read_text(encoding="utf-8")) | {"schema_version": version} | more
    for key in without:
        del value[key]
    to.write_text(json.dumps(value), encoding="utf-8")
    return to


def test_what_is_written_is_what_is_read(path: Path, tmp_path: Path) -> None:
    record = read_diagnosis(path)
    write_diagnosis(tmp_path / "again.json", record)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert record.schema_version == 2
    assert record.set is not None
    assert record.likeness is not None


def test_a_file_of_schema_1_is_read_and_says_nothing_of_what_it_did_not_know(path: Path, tmp_path: Path) -> None:
    old = read_diagnosis(edited(path, tmp_path / "old.json", version=1, without=SINCE_2))
    now = read_diagnosis(path)
    assert (old.schema_version, old.other_ways, old.set, old.likeness, old.why_not) == (1, {}, None, None, {})
    assert old.model_dump(exclude={"schema_version", *SINCE_2}) == now.model_dump(exclude={"schema_version", *SINCE_2})


@pytest.mark.parametrize("missing", SINCE_2)
def test_a_file_of_schema_2_says_all_that_schema_2_promises(path: Path, tmp_path: Path, missing: str) -> None:
    with pytest.raises(ArtifactError, match="not a diagnosis of schema 1 or 2"):
        read_diagnosis(edited(path, tmp_path / "cut.json", version=2, without=(missing,)))


@pytest.mark.parametrize("version", [0, 3])
def test_other_schemas_are_refused(path: Path, tmp_path: Path, version: int) -> None:
    with pytest.raises(ArtifactError, match="not a diagnosis of schema 1 or 2"):
        read_diagnosis(edited(path, tmp_path / "other.json", version=version, without=()))


def test_unknown_keys_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a diagnosis"):
        read_diagnosis(edited(path, tmp_path / "more.json", version=2, without=(), certainty=1))


def test_keys_of_sets_likeness_and_bundles_are_documented() -> None:
    records = (SetRecord, LikenessRecord, AncillaryRecord, BundleManifest, BundleMember, Fusion)
    nouns = (Calibration, Regression, Conformal, Distance, SlideRules, RefineRule, ComponentRule, AncillaryTest)
    keys = {name for record in records for name in record.model_fields}
    keys |= {field.name for noun in nouns for field in fields(noun)}
    assert keys <= named("docs/files.md")


def test_a_test_is_listed_for_the_classes_of_the_set_that_it_separates() -> None:
    fish = AncillaryTest(between=("DDLPS", "UPS", "LMS"), test="FISH", source="WHO")
    same = AncillaryTest(
        between=("DDLPS", "WDLPS"), test="FISH", source="WHO"
    )  # one class of the set: nothing to decide
    rules = SlideRules(ancillary=(fish, same))
    values = np.tile([0.5, 0.0, 0.0, 0.5, 0.0], (30, 1))
    cells = [Tile(row=0, column=at, box=Box(at, 0, 1, 1), tissue=1.0) for at in range(30)]
    fitted = calibration(0.8)
    made = bundle(fitted)
    made = replace(made, manifest=made.manifest.model_copy(update={"rules": rules}))
    size = Size(30, 1)
    info = SlideInfo(vendor="flat", size=size, levels=(Level(size=size, downsample=1.0),), scale=None)
    record = make_record(
        diagnose_tiles("one", values, CODES, rules, fitted),
        cells,
        info=info,
        scale=Scale(mpp=Mpp(0.5), source="test"),
        bundle=made,
        provenance={},
    )
    assert record.set is not None
    assert record.set.classes == ["DDLPS", "UPS"]
    assert [(one.test, one.between) for one in record.set.tests] == [("FISH", ["DDLPS", "UPS"])]
