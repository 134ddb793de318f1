"""The page on cohorts says what the rules do."""

import math
import re
from dataclasses import fields

from sarcoscope.cli.cohort import app
from sarcoscope.cohort.dealing import RATIOS, portions
from sarcoscope.cohort.leakage import ALIKE, Leak
from sarcoscope.cohort.splits import LEFT_TO_TRAIN
from sarcoscope.core.cohort import Part
from sarcoscope.formats.manifest import MANIFEST_COLUMNS
from sarcoscope.stages.cohort_split import TEST1_SHARE
from tests.conftest import REPO

PAGE = (REPO / "docs" / "cohort.md").read_text(encoding="utf-8")


def test_columns_and_commands_are_on_the_page() -> None:
    words = set(re.findall(r"`([^`\n]+)`", PAGE))
    assert {*MANIFEST_COLUMNS, *(field.name for field in fields(Leak))} <= words
    assert all(f"cohort {command.name}" in PAGE for command in app.registered_commands)
    assert all(part.replace("test1", "test set 1").replace("test2", "test set 2") in PAGE.lower() for part in Part)


def test_the_table_of_small_classes_is_what_is_dealt() -> None:
    rows = [
        re.findall(r"\d+", line)
        for line in PAGE.splitlines()
        if re.fullmatch(r"\| \d+ \| \d+ \| \d+ \| \d+ \|.*", line)
    ]
    assert len(rows) == 7
    for n, train, validation, test, taken, *left in (list(map(int, row)) for row in rows):
        assert portions(n, RATIOS) == (train, validation, test)
        assert taken == max(0, min(math.floor(TEST1_SHARE * n + 0.5), n - LEFT_TO_TRAIN))
        assert left in ([], [n - taken])
    assert f"from {ALIKE:g} to 1" in PAGE
