"""study.yaml: what is asked of a study, read and checked as a whole before anything begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.study import (
    EnsembleSection,
    MultiModel,
    SplitSection,
    StudyDesign,
    StudyNetwork,
    paper_cut,
)
from sarcoscope.core.training import HUB, NO_WEIGHTS, NetworkConfig
from sarcoscope.core.tuning import SearchConfig
from sarcoscope.diagnosis.fusion import RULES
from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.atomic import as_json, write_text
from sarcoscope.formats.config import config_text, read_config
from sarcoscope.metrics.subsets import SUBSET_METRICS

CONFIG_FILE: Final = "study.yaml"
_HEADING: Final = (
    "# A study: the whole of the paper on one cohort. sarcoscope study run {name}\n"
    "# What is left out keeps its default; docs/study.md says what each stage makes of it.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig(StudyDesign):
    """A study: the whole of the paper on one cohort."""

    rules: SlideRules = field(default_factory=SlideRules)
    """How tiles become a slide's label; docs/ensembles.md explains each key."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """What searches try, where networks have trials; docs/tuning.md."""
    published: bool = False
    """Whether the paper's printed counts stand beside the curve of the refined rule; for its classes alone."""

    @override
    def __post_init__(self) -> None:
        StudyDesign.__post_init__(self)
        if self.classes:
            self.rules.check(self.classes)
        for row in self.networks:
            self.recipe.train_config(self.out, row.name, row, mpp=row.mpp[0], base=self.base_mpp)
        for what, value, known in (
            ("rule", self.ensembles.rule, RULES),
            ("metric", self.ensembles.metric, SUBSET_METRICS),
        ):
            if value not in known:
                raise InputError(f"ensembles.{what} {value!r}", f"give one of {', '.join(known)}")


def paper_study() -> StudyConfig:
    """The paper's settings; what it leaves open is ours (protocol, sections 3 to 9)."""
    scales = (1.0, 0.5, 0.25)
    best = "efficientnet-b7"
    return StudyConfig(
        title="Deep-learning diagnosis of retroperitoneal soft tissue sarcomas",
        classes=("DDLPS", "LMS", "MPNST", "UPS", "WDLPS"),
        class_names={
            "DDLPS": "dedifferentiated liposarcoma",
            "LMS": "leiomyosarcoma",
            "MPNST": "malignant peripheral nerve sheath tumour",
            "UPS": "undifferentiated pleomorphic sarcoma",
            "WDLPS": "well-differentiated liposarcoma",
        },
        tiles=paper_cut(),
        split=SplitSection(test1={"DDLPS": 27, "LMS": 6, "UPS": 8, "WDLPS": 16}, pooled=("MPNST",)),
        networks=(
            StudyNetwork(name="resnet18", network=NetworkConfig(name="resnet18"), trials=30, keep=3),
            StudyNetwork(name=best, network=NetworkConfig(name="tf_efficientnet_b7"), mpp=scales, trials=30, keep=3),
            StudyNetwork(name="efficientnetv2-s", network=NetworkConfig(name="tf_efficientnetv2_s"), trials=30, keep=3),
        ),
        ensembles=EnsembleSection(
            multi=(
                MultiModel(name="MultiV1", network=best, mpp=(1.0, 0.5)),
                MultiModel(name="MultiV2", network=best, mpp=scales),
            )
        ),
        rules=PAPER_RULES,
        published=True,
    )


def write_study_config(path: Path, config: StudyConfig, *, force: bool = False) -> None:
    """Write it with what each key means. Raises ArtifactError where a file is there and `force` is off."""
    if path.exists() and not force:
        raise ArtifactError(path, "is there already", "give another name, or replace it with --force")
    write_text(path, _HEADING.format(name=path.name) + config_text(config))


def read_study_config(path: Path) -> StudyConfig:
    """The study, with its paths from the config's folder made absolute. Raises ArtifactError."""
    config = read_config(path, StudyConfig, example="sarcoscope study new")
    home = path.absolute().parent
    networks = tuple(replace(row, network=_from(home, row.network)) for row in config.networks)
    return replace(config, manifest=str(home / config.manifest), out=str(home / config.out), networks=networks)


def _from(home: Path, network: NetworkConfig) -> NetworkConfig:
    """With a file of weights that counts from a folder."""
    named = network.weights in {HUB, NO_WEIGHTS}
    return network if named else replace(network, weights=str(home / network.weights))


def flat(value: Any, inside: str = "") -> dict[str, Any]:
    """A config as one mapping from 'section.key' to what JSON can hold."""
    if is_dataclass(value):
        items: Mapping[str, Any] = {one.name: getattr(value, one.name) for one in fields(value)}
    elif isinstance(value, Mapping) and value:
        items = value
    elif isinstance(value, tuple) and value and all(is_dataclass(one) for one in value):
        items = {str(getattr(one, "name", place)): one for place, one in enumerate(value)}
    else:
        return {inside: as_json(value.value if isinstance(value, Enum) else value)}
    found: dict[str, Any] = {}
    for key, one in items.items():
        found |= flat(one, f"{inside}.{key}" if inside else str(key))
    return found
