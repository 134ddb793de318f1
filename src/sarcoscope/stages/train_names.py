"""What a member is called."""

import re
from typing import Final

from sarcoscope.core.errors import InputError
from sarcoscope.core.names import NAME
from sarcoscope.core.training import TrainConfig
from sarcoscope.stages.jobs import safe_id

_IN_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


def member_name(config: TrainConfig, fold: str, seed: int) -> str:
    """The config's, or from network and scale; behind it the repetition, and the seed where there are several.

    Raises InputError for a name that no member's record can hold.
    """
    base = config.name or default_name(config)
    if not re.fullmatch(NAME, base):
        raise InputError(f"name {base!r} of a member", "give letters, digits, '.', '_' and '-'")
    in_a_name = _IN_NO_NAME.sub("_", fold)  # columns of split.csv may be called anything
    return "-".join([base, *([in_a_name] if fold else []), *([f"seed{seed}"] if len(config.seeds) > 1 else [])])


def default_name(config: TrainConfig) -> str:
    """From the network and what it reads, e.g. 'tf_efficientnet_b7-0.5um'."""
    network = config.network.name.rsplit("/", maxsplit=1)[-1].removeprefix("hf-hub:")
    scale = "-".join(f"{one:g}um" for one in config.mpp)
    return safe_id("-".join(word for word in (network, scale) if word))
