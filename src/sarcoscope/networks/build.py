"""A network as a config asks for it, with the weights it starts from."""

from pathlib import Path
from typing import Final

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import HUB, NO_WEIGHTS, NetworkConfig
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.timm_models import pretrained_name, timm_network
from sarcoscope.networks.weights import WeightsReport, all_weights, load_weights, no_weights

COMPACT: Final = "compact"


def build_network(config: NetworkConfig, classes: int, side_px: int) -> tuple[CamNetwork, WeightsReport]:
    """A network for tiles of `side_px`, on the CPU, in training mode, and what of its weights was found.

    What is not loaded begins at torch's random numbers. Raises InputError for a name that is none, a side or a drop
    path that the network cannot take, and weights that cannot be had or do not fit.
    """
    if config.name == COMPACT:
        network: CamNetwork = _compact(config, classes)
    else:
        pretrained = config.weights == HUB
        network = timm_network(
            config.name,
            classes,
            side_px,
            dropout=config.dropout,
            drop_path=config.drop_path,
            pretrained=pretrained,
        )
        if pretrained:
            return network, all_weights(network, f"hub: {pretrained_name(network)}")
    if config.weights == NO_WEIGHTS:
        return network, no_weights(network)
    return network, load_weights(network, Path(config.weights))


def _compact(config: NetworkConfig, classes: int) -> CompactNet:
    if config.drop_path:
        raise InputError(f"{COMPACT} has no drop path", "give network.drop_path: 0")
    if config.weights == HUB:
        raise InputError(f"there are no pretrained weights of {COMPACT}", "give --weights FILE, or none")
    return CompactNet(classes, dropout=config.dropout)
