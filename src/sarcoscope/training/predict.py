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


class Predictor:
    """Asks a network about tiles, as often as wanted; processes that read them stay from one time to the next."""

    def __init__(self, tiles: LabelledTiles, config: TrainConfig, accelerator: Accelerator, batch: int = 32) -> None:
        """`batch` tiles at a time on each process."""
        self.tiles = tiles
        self._accelerator = accelerator
        self._channels_last = config.channels_last
        own = np.arange(accelerator.process_index, len(tiles.labels), accelerator.num_processes)
        self._batches = plain_loader(tiles, own, batch, worker_count(config, accelerator) // 4)

    @torch.no_grad()
    def __call__(self, network: CamNetwork) -> Probabilities:
        """(N, C) float64, the same on every process. The network is left out of training mode."""
        network.eval()
        device, classes = self._accelerator.device, network.head.out_features
        found = torch.zeros((len(self.tiles.labels), classes), dtype=torch.float32, device=device)
        for images, indices in self._batches:
            with self._accelerator.autocast():
                logits = network(as_input(images, network, self._accelerator, channels_last=self._channels_last))
            found[indices.to(device)] = logits.float().softmax(dim=1)
        probabilities = np.asarray(self._accelerator.reduce(found, "sum").cpu().numpy(), np.float64)
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))
