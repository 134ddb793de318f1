import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.phantom.cohort import (
    MANIFEST_COLUMNS,
    demo_cohort,
    training_cohort,
    write_cohort,
    write_slide,
)
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import ARTEFACTS, CLASSES, PhantomSlide

SMALL = Size(2048, 1536)


def spec(name: str = "phantom-a", seed: int = 1) -> PhantomSlide:
    return PhantomSlide(slide_id=name, label="LMS", size=SMALL, seed=seed)


def test_the_demo_shows_everything_once() -> None:
    slides = demo_cohort(np.random.default_rng(1))
    assert 8 <= len(slides) <= 15
    assert {one.label for one in slides} == set(CLASSES)
    assert {one.batch for one in slides} == {1, 2}
    assert set().union(*(one.artefacts for one in slides)) == ARTEFACTS
    assert any(one.component for one in slides)
    assert len({one.slide_id for one in slides}) == len({one.seed for one in slides}) == len(slides)
    assert slides == demo_cohort(np.random.default_rng(1))
    assert slides != demo_cohort(np.random.default_rng(2))


def test_a_training_cohort_is_even_over_classes() -> None:
    slides = training_cohort(np.random.default_rng(1), slides_per_class=4)
    assert Counter(one.label for one in slides) == dict.fromkeys(CLASSES, 4)
    assert sum(one.component is not None for one in slides) == 2
    assert {one.batch for one in slides} == {1, 2}
    assert all(one.slide_id.startswith("phantom-train-") for one in slides)


def test_too_few_training_slides_are_refused() -> None:
    with pytest.raises(InputError, match="at least"):
        training_cohort(np.random.default_rng(1), slides_per_class=0)


@pytest.mark.parametrize("number", range(4))
def test_a_demo_slide_has_enough_tiles(number: int) -> None:
    one = demo_cohort(np.random.default_rng(number))[3 + 2 * number]
    tissue = PhantomPainter(replace(one, artefacts=frozenset())).maps.tissue
    tiles = tissue.reshape(8, 64, 8, 64).mean(axis=(1, 3))
    assert (tiles > 0.5).sum() >= 25


def test_a_written_slide_opens_with_scale_power_and_the_painted_pixels(tmp_path: Path) -> None:
    path = tmp_path / "phantom-a.svs"
    write_slide(spec(), path)
    with openslide.OpenSlide(path) as slide:
        assert (slide.properties["openslide.mpp-x"], slide.properties["openslide.mpp-y"]) == ("0.25", "0.25")
        assert slide.properties["openslide.objective-power"] == "40"
        assert "synthetic" in slide.properties["openslide.comment"]
        assert slide.dimensions == (2048, 1536)
        painted = PhantomPainter(spec()).read(Box(0, 0, 2048, 1536)).astype(int)
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
        assert np.abs(read - painted).mean() < 6
        coarse = np.asarray(slide.read_region((0, 0), 1, slide.level_dimensions[1]).convert("RGB"))
        halved = painted.reshape(768, 2, 1024, 2, 3).mean(axis=(1, 3))
        assert np.abs(coarse - halved).mean() < 6


PAINTING = """
import sys
from pathlib import Path
from sarcoscope.core.geometry import Size
from sarcoscope.phantom.cohort import write_slide
from sarcoscope.phantom.spec import PhantomSlide
write_slide(PhantomSlide(slide_id="phantom-a", label="LMS", size=Size(20_000, 20_000)), Path(sys.argv[1]))
"""


def test_an_interrupted_slide_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PAINTING, str(tmp_path / "phantom-a.svs")], stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not any(tmp_path.iterdir()):  # until it has begun to write
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cohort_comes_with_its_manifest(tmp_path: Path, workers: int) -> None:
    mixed = PhantomSlide(
        slide_id="phantom-b", label="DDLPS", component="WDLPS", component_share=0.3, batch=2, size=SMALL, seed=2
    )
    done: list[str] = []
    manifest = write_cohort([spec(), mixed], tmp_path / "new", lambda one: done.append(one.slide_id), workers)
    assert manifest == tmp_path / "new" / "manifest.csv"
    assert sorted(done) == ["phantom-a", "phantom-b"]
    with manifest.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert [(one["slide"], one["label"], one["batch"], one["components"], one["mpp"]) for one in rows] == [
        ("phantom-a", "LMS", "batch1", "", "0.25"),
        ("phantom-b", "DDLPS", "batch2", "WDLPS", "0.25"),
    ]
    for row in rows:
        assert "synthetic" in row["notes"]
        assert openslide.OpenSlide.detect_format(tmp_path / "new" / row["path"]) == "aperio"
    assert sorted(one.name for one in (tmp_path / "new").iterdir()) == [
        "manifest.csv",
        "phantom-a.svs",
        "phantom-b.svs",
    ]


def test_cohorts_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two phantoms"):
        write_cohort([spec(), spec(seed=2)], tmp_path)
    with pytest.raises(InputError, match="at least one"):
        write_cohort([], tmp_path)
    with pytest.raises(InputError, match="at least one"):
        write_cohort([spec()], tmp_path, workers=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slide_that_cannot_be_written_leaves_no_drafts_and_no_manifest(tmp_path: Path, workers: int) -> None:
    (tmp_path / "phantom-b.svs").mkdir()
    with pytest.raises(ArtifactError, match=r"phantom-b\.svs: cannot be written"):
        write_cohort([spec("phantom-b"), spec("phantom-c", seed=2)], tmp_path, workers=workers)
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "manifest.csv").exists()
