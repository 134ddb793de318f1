"""Which members a study's models are made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sarcoscope.core.study import EnsembleSection, MultiModel, StudyNetwork
from sarcoscope.formats.member import PREDICTIONS_FILE, write_predictions
from sarcoscope.stages.study_cohort import Study
from sarcoscope.stages.study_config import paper_study
from sarcoscope.stages.study_models import members_of, models_of

CLASSES = ("LMS", "UPS", "MPNST")
TILES = pl.DataFrame(
    {
        "slide": ["a", "b", "c", "c", "c", "d"],
        "tile": ["1", "1", "1", "2", "3", "1"],
        "mpp": [0.5] * 6,
        "part": ["validation"] * 5 + ["test"],
        "label": ["LMS", "UPS", "MPNST", "MPNST", "MPNST", "LMS"],
    }
)
SPLIT = "slide,patient,label,batch,part\na,,LMS,,validation\nb,,UPS,,validation\nc,,MPNST,,pooled\nd,,LMS,,test\n"


def study_with(out: Path, told: dict[str, list[int]], metric: str = "tile_balanced_accuracy") -> Study:
    """A study whose network `net` has a member a seed at 0.5 um/px, each of which tells the tiles as said."""
    out.mkdir()
    (out / "split.csv").write_text(SPLIT, encoding="utf-8")
    for name, classes in {**told, "net-10x-seed0": [0] * 6, "net-10x-seed1": [0] * 6}.items():
        (out / "members" / name).mkdir(parents=True)
        probabilities = np.full((6, 3), 0.1) + 0.7 * np.eye(3)[classes]
        write_predictions(out / "members" / name / PREDICTIONS_FILE, TILES, probabilities, CLASSES)
    config = replace(
        paper_study(),
        out=str(out),
        networks=(StudyNetwork(name="net", mpp=(1.0, 0.5), seeds=(0, 1)),),
        ensembles=EnsembleSection(metric=metric, multi=(MultiModel(name="V1", network="net", mpp=(1.0, 0.5)),)),
    )
    return Study(config=config)


@pytest.mark.parametrize("metric", ["tile_balanced_accuracy", "tile_macro_f1", "tile_log_loss"])
def test_tiles_of_pooled_slides_do_not_choose_a_member(tmp_path: Path, metric: str) -> None:
    pooled_right, others_right = [1, 0, 2, 2, 2, 0], [0, 1, 0, 0, 0, 1]
    told = {"net-20x-seed0": pooled_right, "net-20x-seed1": others_right}
    study = study_with(tmp_path / "run", told, metric)
    shared = next(one for one in models_of(study) if one.name == "V1")
    assert members_of(study, shared) == ["net-10x-seed0", "net-20x-seed1"]  # of equal ones the first by name
