"""Class probabilities of whole tiles by a network that is in training, over all processes together."""

import numpy as np
import torch
from accelerate import Accelerator

from sarcoscope.core.training import TrainConfig
from sarcoscope.data.batches import plain_loader
from sarcoscope.data.labelled import LabelledTiles
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.training.devices import as_input, worker_count


@torch.no_grad()
def predict(
    network: CamNetwork, tiles: LabelledTiles, config: TrainConfig, accelerator: Accelerator, batch: int = 32
) -> Probabilities:
    """(N, C) float64, the same on every process. The network is left out of training mode."""
    network.eval()
    own = np.arange(accelerator.process_index, len(tiles.labels), accelerator.num_processes)
    found = torch.zeros((len(tiles.labels), network.head.out_features), dtype=torch.float32, device=accelerator.device)
    for images, indices in plain_loader(tiles, own, batch, worker_count(config, accelerator) // 4):
        with accelerator.autocast():
            logits = network(as_input(images, network, accelerator, channels_last=config.channels_last))
        found[indices.to(found.device)] = logits.float().softmax(dim=1)
    probabilities: Probabilities = np.asarray(accelerator.reduce(found, "sum").cpu().numpy(), np.float64)
    return probabilities / probabilities.sum(axis=1, keepdims=True)
