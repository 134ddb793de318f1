"""What a study may be asked for: every contradiction is told before anything begins."""

import pytest

from sarcoscope.core.cutting import CutConfig
from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.study import (
    EnsembleSection,
    EvaluateSection,
    ExamplesSection,
    MultiModel,
    RecipeSection,
    SplitSection,
    StudyDesign,
    StudyNetwork,
    scale_word,
)
from sarcoscope.core.training import NetworkConfig, OptimiserConfig

CUT = CutConfig(mpp=(Mpp(1.0), Mpp(0.5), Mpp(0.25)))
NET = StudyNetwork(name="net", mpp=(1.0, 0.5))


@pytest.mark.parametrize(("mpp", "word"), [(1.0, "10x"), (0.5, "20x"), (0.25, "40x"), (2.0, "5x"), (0.35, "0.35um")])
def test_a_scale_goes_by_its_magnification(mpp: float, word: str) -> None:
    assert scale_word(mpp) == word


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"base_mpp": 0.7}, "base_mpp 0.7 is not cut; tiles.mpp: 1, 0.5, 0.25"),
        ({"networks": ()}, "no network"),
        ({"networks": (NET, NET)}, "names of networks"),
        ({"networks": (StudyNetwork(name="n", mpp=(0.5, 2.0)),)}, "network n at 2 um/px, not cut"),
        ({"networks": (StudyNetwork(name="n", mpp=(1.0,)),)}, "no network is trained at base_mpp 0.5"),
        (
            {"ensembles": EnsembleSection(multi=(MultiModel(name="M", network="b7", mpp=(1.0, 0.5)),))},
            "model M of network 'b7'; there are: net",
        ),
        (
            {"ensembles": EnsembleSection(multi=(MultiModel(name="M", network="net", mpp=(0.5, 0.25)),))},
            "model M at 0.25 um/px; net is trained at 1, 0.5",
        ),
        (
            {"ensembles": EnsembleSection(multi=(MultiModel(name="Ensemble", network="net", mpp=(1.0, 0.5)),))},
            "names of models",
        ),
        ({"classes": ("A", "B"), "split": SplitSection(pooled=("C",))}, "split.pooled names C"),
        ({"classes": ("A", "B"), "split": SplitSection(test1={"D": 1})}, "split.test1 names D"),
        ({"classes": ("A", "B"), "class_names": {"E": "e"}}, "class_names names E"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(changes: dict[str, object], told: str) -> None:
    StudyDesign(tiles=CUT, networks=(NET,))  # which is none
    with pytest.raises(InputError) as caught:
        StudyDesign(**({"tiles": CUT, "networks": (NET,)} | changes))  # type: ignore[arg-type]
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: StudyNetwork(name="a/b"), "name 'a/b' of a network"),
        (lambda: StudyNetwork(name="a", mpp=()), "scales [] of network a"),
        (lambda: StudyNetwork(name="a", seeds=(1, 1)), "seeds [1, 1] of network a"),
        (lambda: StudyNetwork(name="a", trials=2, keep=3), "3 of 2 trials of network a to keep"),
        (lambda: StudyNetwork(name="a", trials=2, seeds=(0, 1)), "a search in several seeds"),
        (lambda: MultiModel(name="M", network="n", mpp=(0.5,)), "give two or more"),
        (lambda: MultiModel(name="M", network="n", mpp=(0.5, 0.5)), "give two or more"),
        (lambda: MultiModel(name="", network="n", mpp=(1.0, 0.5)), "name '' of a model"),
        (lambda: EnsembleSection(single=".."), "name '..' of a model"),
        (lambda: EnsembleSection(modes=("both",)), "unknown mode 'both'"),
        (lambda: EnsembleSection(modes=("shared", "shared")), "give each once"),
        (lambda: EnsembleSection(alone="none"), "ensembles.alone 'none'"),
        (lambda: EnsembleSection(level=1.0), "ensembles.level 1.0"),
        (lambda: EvaluateSection(draws=-1), "evaluation.draws -1"),
        (lambda: ExamplesSection(slides=-1), "examples.slides -1"),
    ],
)
def test_a_section_out_of_range_is_refused(make: object, told: str) -> None:
    with pytest.raises(InputError) as caught:
        make()  # type: ignore[operator]
    assert told in str(caught.value)


def test_a_training_is_the_recipe_with_a_network_at_a_scale() -> None:
    recipe = RecipeSection(optimiser=OptimiserConfig(learning_rate=0.01), device="cpu")
    row = StudyNetwork(name="n", network=NetworkConfig(name="compact", weights="none"), mpp=(1.0,))
    train = recipe.train_config("run", "n-10x", row, mpp=1.0, base=0.5)
    assert (train.run, train.name, train.mpp, train.validation_mpp) == ("run", "n-10x", (1.0,), 0.5)
    assert train.network.name == "compact"
    assert (train.optimiser.learning_rate, train.device) == (0.01, "cpu")
