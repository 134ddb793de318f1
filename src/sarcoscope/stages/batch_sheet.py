"""A picture of what a network is shown: tiles as they are, each part of the augmentation by itself, all, and mixed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, shown
from sarcoscope.core.geometry import Rgb
from sarcoscope.core.training import AugmentConfig, MixConfig, TrainConfig
from sarcoscope.data.augment import augmentation, parts, vary
from sarcoscope.data.labelled import LabelledTiles
from sarcoscope.data.mixing import mixer
from sarcoscope.data.transforms import as_rgb
from sarcoscope.formats.atomic import write_bytes
from sarcoscope.reports.tile_preview import draw_sheet
from sarcoscope.stages.phantom_mark import is_phantom
from sarcoscope.stages.train_tiles import TrainTiles, choose_tiles, folds_of

MOST_COLUMNS: Final = 8
WORDS: Final = {
    "flips": "flips and right angles",
    "free_rotation": "any angle",
    "crop": "cropped and enlarged",
    "stain": "more or less stain",
    "colour": "light and colour",
    "blur": "slight blur",
    "jpeg": "compressed",
    "occlusion": "partly covered",
}
"""What each part of the augmentation does, by its name in the config."""

Shown = tuple[Rgb, str]
"""A tile and its two lines of caption."""


def show_batch(config: TrainConfig, path: Path) -> None:
    """Write a PNG: a column a class, a row a part of the recipe. Raises as the training would."""
    if path.suffix.lower() != ".png":
        raise InputError(f"a picture {shown(path)}", "give a name that ends in .png")
    run = Path(config.run)
    chosen = choose_tiles(run, folds_of(run, config.folds)[0], config)
    tiles = chosen.opened(config, (Part.TRAIN,))[Part.TRAIN]
    seed = config.seeds[0]
    picked = one_of_each(tiles, np.random.default_rng(seed))[:MOST_COLUMNS]
    sheet = draw_sheet(
        list(rows(config, chosen, tiles, picked, seed)),
        title=f"What {config.network.name} is shown",
        detail=detail(config, chosen, tiles.side_px),
        columns=len(picked),
    )
    write_bytes(path, sheet)


def rows(
    config: TrainConfig, chosen: TrainTiles, tiles: LabelledTiles, picked: Sequence[int], seed: int
) -> Iterator[Shown]:
    """The picked tiles plain, varied in each way by itself and in all, and mixed with their neighbours, row by row."""
    plain = [torch.from_numpy(tiles.read(index)).permute(2, 0, 1) for index in picked]
    names = [chosen.classes[tiles.labels[index]] for index in picked]
    as_read = "as it is" if config.normalise == "none" else f"evened out ({config.normalise})"
    yield from ((as_rgb(tile), f"{name}\n{as_read}") for tile, name in zip(plain, names, strict=True))
    for part, transform in parts(config.augment, tiles.side_px):
        for place, (tile, name) in enumerate(zip(plain, names, strict=True)):
            yield as_rgb(vary(tile, transform, seed + place)), f"{name}\n{WORDS[part]}{how_often(part, config.augment)}"
    every = augmentation(config.augment, tiles.side_px)
    varied = [vary(tile, every, seed + place) for place, tile in enumerate(plain)]
    yield from ((as_rgb(tile), f"{name}\nall of it, as drawn") for tile, name in zip(varied, names, strict=True))
    if max(config.mix.mixup, config.mix.cutmix) > 0 < config.mix.chance:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            mix = mixer(replace(config.mix, chance=1.0), len(chosen.classes))
            images, targets = mix(torch.stack(varied).float(), torch.from_numpy(tiles.labels[picked]))
        for image, target in zip(images, targets, strict=True):
            words = f"{shares(target, chosen.classes)}\nmixed by {kinds(config.mix)}"
            yield as_rgb(image.round().to(torch.uint8)), words


def how_often(part: str, config: AugmentConfig) -> str:
    """Of how many tiles, where it does not befall all of them: these fields are chances."""
    if part not in {"free_rotation", "blur", "jpeg", "occlusion"}:
        return ""
    return f", {min(1.0, config.strength * getattr(config, part)) * 100:.0f} % of tiles"


def kinds(config: MixConfig) -> str:
    """The ways of mixing that are on."""
    return " or ".join(word for word, alpha in (("mix-up", config.mixup), ("CutMix", config.cutmix)) if alpha > 0)


def detail(config: TrainConfig, chosen: TrainTiles, side_px: int) -> str:
    """What else is to be known of the sheet."""
    said = [f"{side_px} px at {', '.join(f'{one:g}' for one in chosen.mpp)} um/px"]
    said.append(f"augment.strength {config.augment.strength:g}")
    if len(chosen.classes) > MOST_COLUMNS:
        said.append(f"the first {MOST_COLUMNS} of {len(chosen.classes)} classes")
    if is_phantom(Path(config.run)):
        said.append("synthetic phantom slides, of no clinical meaning")
    return "; ".join(said)


def one_of_each(tiles: LabelledTiles, rng: np.random.Generator) -> list[int]:
    """The index of one random tile of each class, in the order of the classes."""
    return [int(rng.choice(np.flatnonzero(tiles.labels == label))) for label in np.unique(tiles.labels)]


def shares(target: Tensor, classes: tuple[str, ...]) -> str:
    """A soft target in words, e.g. 'DDLPS 62 %, UPS 38 %'; a plain one by its class alone."""
    told = [(classes[place], float(share)) for place, share in enumerate(target) if share > 0.005]
    return told[0][0] if len(told) == 1 else ", ".join(f"{code} {100 * share:.0f} %" for code, share in told)
