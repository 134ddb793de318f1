"""What `sarcoscope train` makes of its options; needs no torch."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sarcoscope.core.cutting import parse_mpp
from sarcoscope.core.errors import MissingExtraError
from sarcoscope.core.training import TrainConfig
from sarcoscope.formats.config import read_config


def train_config(file: Path | None, given: Mapping[str, Any], inner: Mapping[str, Mapping[str, Any]]) -> TrainConfig:
    """The config file's, or the default, with the options that were given. InputError, ArtifactError."""
    config = read_config(file, TrainConfig) if file else TrainConfig()
    changes: dict[str, Any] = {key: value for key, value in given.items() if value not in (None, [])}
    if "mpp" in changes:
        changes["mpp"] = tuple(parse_mpp(text) for text in changes["mpp"])
    for key in ("folds", "seeds"):
        if key in changes:
            changes[key] = tuple(changes[key])
    if "run" in changes:
        changes["run"] = str(changes["run"])
    for section, values in inner.items():
        if set_ones := {key: value for key, value in values.items() if value is not None}:
            changes[section] = replace(getattr(config, section), **set_ones)
    return replace(config, **changes)


def check_extra() -> None:
    """Raise MissingExtraError where the training extra is not installed."""
    try:
        import accelerate  # noqa: F401
        import onnxscript  # noqa: F401
        import safetensors  # noqa: F401
        import timm  # noqa: F401
        import torchvision  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training needs {error.name}", "in a checkout: pip install '.[train]'") from error
