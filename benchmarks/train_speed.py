"""Training speed beside a plain timm and torchvision loop, and how fast tiles are fed beside how fast B7 eats them.

Both loops see the same files, network, size, batch and precision, all weights learn, and both vary their tiles: the
plain one by what torchvision has, ours by the defaults of `sarcoscope train`, with mix-up and a running mean on top.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import cv2
import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from results import put_section, said
from sarcoscope.core.training import LengthConfig, NetworkConfig, TrainConfig, UnfreezeConfig
from sarcoscope.data.augment import augmentation
from sarcoscope.data.batches import training_loader
from sarcoscope.data.tile_set import TileSet
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.networks.build import build_network
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.training.devices import device_words, make_accelerator, worker_count
from sarcoscope.training.fit import fit
from sarcoscope.training.schedule import Plan
from sarcoscope.training.state import Progress

SHARED = Path(__file__).parents[2] / "shared" / "data" / "tiles" / "crc_val_he_7k_70"
CPU_CASES = (("resnet18", 224, 16), ("mobilenetv2_100", 224, 16), ("tf_efficientnet_b7", 512, 2))
GPU_CASES = (("resnet18", 512, 64), ("tf_efficientnet_b7", 512, 24))
ROUNDS = 3
HEADING = (
    "| network | plain loop, images/s | ours, images/s | ratio (range) | fed, tiles/s | fed / trained "
    "| waiting for data | memory, MB |"
)


class FilesTileSet(TileSet):
    """A set in memory whose tiles are decoded from their files each time they are read, as the plain loop does."""

    files: tuple[Path, ...] = ()

    def read(self, index: int) -> np.ndarray:  # type: ignore[type-arg]
        """(px, px, 3) uint8."""
        return read_tile_file(self.files[index])


class Seconds:
    """Notes how long each epoch took."""

    def __init__(self) -> None:
        self.timings: list[Timing] = []

    def began(self, plan: Plan, progress: Progress) -> None:
        """Nothing."""

    def stepped(self, progress: Progress) -> None:
        """Nothing."""

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """Keep it."""
        del epoch
        self.timings.append(timing)


def write_tiles(folder: Path, px: int, copies: int) -> list[tuple[Path, int]]:
    """The real tiles, brought to `px` a side, as PNG in a folder a class."""
    found = []
    for label, name in enumerate(sorted(one.name for one in SHARED.iterdir() if one.is_dir())):
        (folder / name).mkdir(parents=True)
        for place, file in enumerate(sorted((SHARED / name).iterdir())):
            rgb = cv2.resize(read_tile_file(file), (px, px), interpolation=cv2.INTER_CUBIC)
            for copy in range(copies):
                path = folder / name / f"{place}-{copy}.png"
                Image.fromarray(rgb).save(path, compress_level=1)
                found.append((path, label))
    return found


def plain(folder: Path, name: str, px: int, batch: int, config: TrainConfig, *, steps: int) -> Iterator[float]:
    """images/s of round after round of a loop as tutorials have it."""
    accelerator = make_accelerator(config)
    device, workers = accelerator.device, worker_count(config, accelerator)
    vary = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(px, scale=(0.64, 1.0), ratio=(1.0, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(0.15, 0.15, 0.15),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    data = ImageFolder(str(folder), vary)
    loader = DataLoader(
        data,
        batch,
        sampler=torch.utils.data.RandomSampler(data, replacement=True, num_samples=batch * steps),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        multiprocessing_context="spawn" if workers else None,
    )
    network = timm.create_model(name, num_classes=7).to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    while True:
        begin = perf_counter()
        for images, labels in loader:
            inputs = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            with accelerator.autocast():
                loss = criterion(network(inputs), labels.to(device, non_blocking=True))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        loss.item()
        yield batch * steps / (perf_counter() - begin)


def ours(tiles: TileSet, name: str, px: int, batch: int, config: TrainConfig, *, steps: int) -> Timing:
    """The timing of a round of our loop, after one that warms it up."""
    network, _ = build_network(NetworkConfig(name=name, weights="none"), 7, px)
    listener = Seconds()
    length = LengthConfig(epochs=2, epoch_tiles=batch * steps, batch=batch)
    fit(network, tiles, None, replace(config, length=length), drawn=(1 / 7,) * 7, listener=listener)
    return listener.timings[1]


def fed(tiles: TileSet, px: int, batch: int, config: TrainConfig) -> float:
    """Tiles/s that are read, varied and put into batches, with nobody to train on them."""
    accelerator = make_accelerator(config)
    loader = training_loader(
        tiles,
        augmentation(config.augment, px),
        shares=(1 / 7,) * 7,
        batch=batch,
        steps_per_epoch=100,
        steps=100,
        workers=worker_count(config, accelerator),
    )
    batches = iter(loader)
    next(batches)
    begin, count = perf_counter(), 0
    for images, _ in batches:
        count += len(images)
        if count >= 500 and perf_counter() - begin > 5:
            break
    return count / (perf_counter() - begin)


def measured(name: str, px: int, batch: int, config: TrainConfig, folder: Path) -> str:
    """A line of the table: rounds in turn, medians."""
    steps = max(4, (160 if px <= 256 else 8) // batch) if config.device == "cpu" else 40
    files = write_tiles(folder, px, copies=1)
    px_of = np.stack([read_tile_file(file) for file, _ in files])
    tiles = FilesTileSet(px_of, np.array([label for _, label in files]))
    object.__setattr__(tiles, "files", tuple(file for file, _ in files))
    other = plain(folder, name, px, batch, config, steps=steps)
    next(other)
    theirs, own = [], []
    for _ in range(ROUNDS):
        theirs.append(next(other))
        own.append(ours(tiles, name, px, batch, config, steps=steps))
    speeds = [one.images_per_second for one in own]
    ratios = [mine / plain_one for mine, plain_one in zip(speeds, theirs, strict=True)]
    supply = fed(tiles, px, batch, config)
    return (
        f"| {name}, {px} px, {batch} a step | {median(theirs):.1f} | {median(speeds):.1f} | {median(ratios):.2f} "
        f"({min(ratios):.2f} - {max(ratios):.2f}) | {supply:.0f} | {supply / median(speeds):.1f} | "
        f"{median(one.wait_share for one in own):.1%} | {max(one.memory_mb or 0 for one in own):,.0f} |"
    )


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="Leave a GPU alone.")
    asked = parser.parse_args()
    if not SHARED.is_dir():
        raise SystemExit(f"{SHARED} is absent: training speed not measured")
    cpu = asked.cpu or not torch.cuda.is_available()
    unfreeze = UnfreezeConfig(gradual=False)  # while stages are frozen ours would be faster than the plain loop
    config = TrainConfig(device="cpu" if cpu else "auto", unfreeze=unfreeze, trackers=())
    lines = []
    for name, px, batch in CPU_CASES if cpu else GPU_CASES:
        with TemporaryDirectory() as temporary:
            lines.append(measured(name, px, batch, config, Path(temporary)))
            print(lines[-1], flush=True)
    device = device_words(make_accelerator(config))
    about = (
        f"On {device}, random weights, tiles from PNG files (real H&E, brought to size), "
        f"{make_accelerator(config).mixed_precision if not cpu else 'fp32'}. Rounds of both in turn; medians."
    )
    put_section(
        f"Training speed, {device}",
        [
            said("benchmarks/train_speed.py"),
            "",
            about,
            "",
            HEADING,
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            "Bars: not slower than 0.95 of the plain loop; fed at least 3 times what EfficientNet-B7 consumes.",
        ],
    )


if __name__ == "__main__":
    main()
