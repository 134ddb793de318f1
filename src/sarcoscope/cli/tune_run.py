"""What `sarcoscope tune` makes of its options; needs no torch."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sarcoscope.cli import train_run
from sarcoscope.core.errors import MissingExtraError
from sarcoscope.core.tuning import TuneConfig
from sarcoscope.formats.config import read_config


def tune_config(
    file: Path | None, given: Mapping[str, Any], shared: Mapping[str, Any], inner: Mapping[str, Mapping[str, Any]]
) -> TuneConfig:
    """The config file's, or the default, with the options that were given. InputError, ArtifactError.

    `given` are of the search, `shared` of the training that all trials share, `inner` of its sections.
    """
    config = read_config(file, TuneConfig) if file else TuneConfig()
    train = replace(config.train, **_set(shared))
    for section, values in inner.items():
        train = replace(train, **{section: replace(getattr(train, section), **_set(values))})
    return replace(config, train=train, **_set(given))


def check_extra() -> None:
    """Raise MissingExtraError where the training extra is not installed."""
    train_run.check_extra()
    try:
        import optuna  # noqa: F401
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a search needs {error.name}", "in a checkout: pip install '.[train]'") from error


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
