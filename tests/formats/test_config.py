"""Config files: what is written comes back, and every mistake is named with its key."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from sarcoscope.core.cutting import CutConfig, Method, QualityLimits, ScoreConfig
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.training import TrainConfig
from sarcoscope.formats.config import config_text, read_config

RICH = CutConfig(
    mpp=(Mpp(1.0), Mpp(0.5), Mpp(0.25)),
    overlap=0.25,
    layout="concentric",
    anchor=Mpp(1.0),
    methods={"WDLPS": Method.SCORE, "NO: yes": Method.GRID},
    score=ScoreConfig(top=None, per_region=5),
    quality=QualityLimits(maximum_pen=0.3),
)


@pytest.mark.parametrize("config", [CutConfig(), RICH])
def test_what_is_written_comes_back(tmp_path: Path, config: CutConfig) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text(config_text(config), encoding="utf-8")
    assert read_config(path, CutConfig) == config


def test_every_key_is_explained() -> None:
    text = config_text(CutConfig())
    assert "# Share of its side that a tile shares with the next one" in text
    assert "  # At most so many tiles a slide and scale, the densest first; 300 where no" in text


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text("mpp: [1, 0.5]\nmethods: {WDLPS: score}\nquality:\n  maximum_pen: 0.05\n", encoding="utf-8")
    read = read_config(path, CutConfig)
    assert read.mpp == (1.0, 0.5)
    assert read.method_for("WDLPS") is Method.SCORE
    assert read.quality == QualityLimits(maximum_pen=0.05)
    path.write_text("", encoding="utf-8")
    assert read_config(path, CutConfig) == CutConfig()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("overlapp: 0.1", "unknown key overlapp; did you mean overlap?"),
        ("quality: {maximum_penn: 1}", "unknown key quality.maximum_penn; did you mean maximum_pen?"),
        ("colour: red", "unknown key colour; known: mpp, tile_px"),
        ("maximum_pen: 1", "unknown key maximum_pen; did you mean quality.maximum_pen?"),
        ("quality: {maximum_pen: .nan}", "quality.maximum_pen is no finite number"),
        ("mpp: [0.5, .inf]", "mpp.1 is no finite number"),
        ("quality: 3", "quality: input should be a section of `key: value`, got 3"),
        ("tile_px: many", "tile_px: input should be a valid integer"),
        ("quality: {maximum_pen: 2}", "maximum_pen=2.0; give a share between 0 and 1"),
        ("score: {top: 0}", "score.top=0"),
        ("methods: {WDLPS: dots}", "methods.WDLPS: input should be 'grid' or 'score'"),
        ("layout: spiral", "layout: input should be 'nested' or 'concentric'"),
        ("- a", "no list of `key: value`"),
        ("a: [", "no YAML that can be read"),
        ("!!python/object:os.system {}", "no YAML that can be read"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError) as caught:
        read_config(path, CutConfig)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scales_may_be_given_as_magnifications(tmp_path: Path) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text("mpp: [10x, 0.5, 40x]\nanchor: 20x\nlayout: concentric\n", encoding="utf-8")
    read = read_config(path, CutConfig)
    assert (read.mpp, read.anchor) == ((1.0, 0.5, 0.25), 0.5)
    path.write_text("validation_mpp: 20x\nmpp: [10x]\nname: 20x\n", encoding="utf-8")
    train = read_config(path, TrainConfig)
    assert (train.mpp, train.validation_mpp, train.name) == ((1.0,), 0.5, "20x")  # a name is a name


def test_a_magnification_of_nothing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text("mpp: [0x]\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="scale '0x'"):
        read_config(path, CutConfig)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no such file"):
        read_config(tmp_path / "no.yaml", CutConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One of a list."""

    name: str = "a"
    """What it is called."""
    mpp: tuple[float, ...] = (0.5,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """A config with lists of sections, and a section that may be missing."""

    networks: tuple[Network, ...] = ()
    """Each by itself."""
    score: ScoreConfig | None = None


@pytest.mark.parametrize(
    "config",
    [
        Several(),
        Several(networks=(Network(), Network(name="b: c", mpp=(1.0, 0.5))), score=ScoreConfig(top=3)),
        Several(networks=(Network(name="- #"),)),
    ],
)
def test_lists_of_sections_come_back(tmp_path: Path, config: Several) -> None:
    path = tmp_path / "several.yaml"
    path.write_text(config_text(config), encoding="utf-8")
    assert read_config(path, Several) == config


def test_the_keys_of_a_list_are_explained_once() -> None:
    text = config_text(Several(networks=(Network(), Network(name="b"))))
    assert text.count("# What it is called.") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("networks: [{name: a}, {nam: b}]", "unknown key networks.1.nam; did you mean name?"),
        ("score: {topp: 1}", "unknown key score.topp; did you mean top?"),
        ("networks: [{name: a}, {mpp: x}]", "networks.1.mpp: input should be a list"),
        ("networks: 3", "networks: input should be a list"),
        ("networks: [3]", "networks.0: input should be a section of `key: value`"),
        ("region_um: 3", "unknown key region_um; did you mean score.region_um?"),
    ],
)
def test_a_mistake_in_a_list_of_sections_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "several.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"several\.yaml") as caught:
        read_config(path, Several)
    assert told in str(caught.value)
