"""A picture of what a network is shown: tiles as they are, each part of the augmentation by itself, all, and mixed."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sarcoscope.core.cohort import Part
from sarcoscope.core.geometry import Rgb
from sarcoscope.core.training import TrainConfig
from sarcoscope.data.augment import augmentation, parts, vary
from sarcoscope.data.labelled import LabelledTiles
from sarcoscope.data.mixing import mixer
from sarcoscope.formats.atomic import write_bytes
from sarcoscope.reports.tile_preview import draw_sheet
from sarcoscope.stages.train_tiles import choose_tiles, folds_of

MOST_COLUMNS: Final = 8


def show_batch(config: TrainConfig, path: Path) -> None:
    """Write a PNG: a column a class, a row a part of the recipe. Raises as the training would."""
    run = Path(config.run)
    chosen = choose_tiles(run, folds_of(run, config.folds)[0], config)
    tiles = chosen.opened(config, (Part.TRAIN,))[Part.TRAIN]
    seed = config.seeds[0]
    picked = one_of_each(tiles, np.random.default_rng(seed))[:MOST_COLUMNS]
    plain = [torch.from_numpy(tiles.read(index)).permute(2, 0, 1) for index in picked]
    names = [chosen.classes[tiles.labels[index]] for index in picked]
    shown = [(as_rgb(tile), f"{name}\nas it is") for tile, name in zip(plain, names, strict=True)]
    for what, transform in parts(config.augment, tiles.side_px):
        for place, (tile, name) in enumerate(zip(plain, names, strict=True)):
            shown.append((as_rgb(vary(tile, transform, seed + place)), f"{name}\n{what}"))
    every = augmentation(config.augment, tiles.side_px)
    varied = [vary(tile, every, seed + place) for place, tile in enumerate(plain)]
    shown += [(as_rgb(tile), f"{name}\nall, as drawn") for tile, name in zip(varied, names, strict=True)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        labels = torch.from_numpy(tiles.labels[picked])
        images, targets = mixer(config.mix, len(chosen.classes))(torch.stack(varied).float(), labels)
    for image, target in zip(images, targets, strict=True):
        shown.append((as_rgb(image.round().to(torch.uint8)), f"{shares(target, chosen.classes)}\nmixed"))
    detail = f"{tiles.side_px} px at {', '.join(f'{one:g}' for one in chosen.mpp)} um/px, strength "
    title = f"What {config.network.name} is shown"
    sheet = draw_sheet(shown, title=title, detail=f"{detail}{config.augment.strength:g}", columns=len(picked))
    write_bytes(path, sheet)


def one_of_each(tiles: LabelledTiles, rng: np.random.Generator) -> list[int]:
    """The index of one random tile of each class, in the order of the classes."""
    return [int(rng.choice(np.flatnonzero(tiles.labels == label))) for label in np.unique(tiles.labels)]


def as_rgb(tile: Tensor) -> Rgb:
    """(3, h, w) uint8 to (h, w, 3)."""
    return np.ascontiguousarray(tile.permute(1, 2, 0).numpy())


def shares(target: Tensor, classes: tuple[str, ...]) -> str:
    """A soft target in words, e.g. 'DDLPS 62 %, UPS 38 %'; a plain one by its class alone."""
    told = [(classes[place], float(share)) for place, share in enumerate(target) if share > 0.005]
    return told[0][0] if len(told) == 1 else ", ".join(f"{code} {share:.0%}" for code, share in told)
