import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from sarcoscope.core.appearance import Appearance
from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.appearance import read_target, write_target

TARGET = Appearance(
    brightness=61.5,
    contrast=14.25,
    lab_mean=(-0.4, 0.02, 0.01),
    lab_std=(0.2, 0.06, 0.02),
    stains=((0.61, 0.71, 0.35), (0.13, 0.856, 0.5)),
    saturation=(1.1, 0.75),
)
RECORD = {"slides": ["s1", "s2"], "split_sha256": "a" * 64}


def test_a_target_comes_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "run" / "appearance.json"
    write_target(path, "macenko", TARGET, RECORD)
    found = read_target(path)
    assert (found.method, found.appearance, found.record) == ("macenko", TARGET, RECORD)
    assert [file.name for file in path.parent.iterdir()] == ["appearance.json"]


def test_the_file_names_its_kind_and_schema(tmp_path: Path) -> None:
    write_target(tmp_path / "a.json", "even", TARGET, RECORD)
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (content["kind"], content["schema_version"]) == ("sarcoscope.appearance", 1)
    assert content["target"]["brightness"] == 61.5


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"schema_version": 1', '"schema_version": 2'),
        lambda text: text.replace("14.25", "0"),
        lambda text: text.replace("14.25", "NaN"),
        lambda text: text.replace('"contrast"', '"contrest"'),
        lambda text: text.replace('"even"', '"magic"'),
        lambda text: text.replace("0.856", "0.1"),
        lambda _: "[]",
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    path = tmp_path / "appearance.json"
    write_target(path, "even", TARGET, RECORD)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"appearance\.json: not a target appearance of schema 1; choose"):
        read_target(path)


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_target(tmp_path / "appearance.json")
    (tmp_path / "appearance.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArtifactError, match="not a target appearance"):
        read_target(tmp_path / "appearance.json")


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_target(tmp_path / "a.json", "even", replace(TARGET, brightness=math.nan), RECORD)
    assert not list(tmp_path.iterdir())
