"""What the whole recipe is worth on real H&E tiles, and each part of it: five folds, three seeds, our own commands.

Nothing is chosen by the tiles that test: networks train on the other four folds for a length that their number sets.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from results import put_section, said
from sarcoscope.core.training import NetworkConfig, TrainConfig
from sarcoscope.formats.config import config_text
from sarcoscope.formats.history import TIMINGS_FILE, read_timings
from sarcoscope.formats.member import MEMBER_FILE, PREDICTIONS_FILE, read_member, read_predictions
from sarcoscope.metrics.classification import bootstrap_interval, macro_auc
from sarcoscope.networks.build import build_network
from sarcoscope.networks.graph import normalise
from sarcoscope.slides.tile_files import read_tile_file

SHARED = Path(__file__).parents[2] / "shared" / "data"
TILES = SHARED / "tiles" / "crc_val_he_7k_70"
WEIGHTS = SHARED / "weights" / "mobilenetv2_100_timm.safetensors"
FOLDS, SEEDS = 5, (0, 1, 2)
BAR = 0.86
FULL = "full recipe"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """Probabilities of every tile by networks that did not train on it, a set a seed, in the order of `Tiles`."""

    probabilities: Array
    """(S, N, C)."""

    def right(self, labels: npt.NDArray[np.int64]) -> Array:
        """(N,) share of the seeds that are right about a tile."""
        return np.asarray((self.probabilities.argmax(axis=2) == labels).mean(axis=0), np.float64)


@dataclass(frozen=True, slots=True)
class Tiles:
    """All tiles, in the order of their names."""

    files: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    folds: Mapping[str, npt.NDArray[np.bool_]]
    """By repetition, the tiles that it tests."""


def variants(run: Path) -> dict[str, TrainConfig]:
    """The recipe whole, and with each part of it switched off."""
    full = TrainConfig(
        run=str(run),
        seeds=SEEDS,
        train_on_validation=True,
        network=NetworkConfig(name="mobilenetv2_100", weights=str(WEIGHTS)),
        device="cpu",
        trackers=(),
    )
    return {
        FULL: full,
        "without augmentation": replace(full, augment=replace(full.augment, strength=0.0)),
        "without mix-up": replace(full, mix=replace(full.mix, mixup=0.0)),
        "without gradual unfreezing": replace(full, unfreeze=replace(full.unfreeze, gradual=False)),
        "from random weights": replace(full, network=replace(full.network, weights="none")),
    }


def sarcoscope(*words: str) -> None:
    """Run our own command on one core."""
    command = [sys.executable, "-m", "sarcoscope", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")


def prepare(run: Path) -> Tiles:
    """Index and split the tiles by our own commands, and see what came out."""
    sarcoscope("cohort", "from-tiles", str(TILES), "--mpp", "0.5", "--out", str(run))
    sarcoscope("cohort", "split", str(run), "--folds", str(FOLDS))
    table = pl.concat([pl.read_parquet(file) for file in sorted((run / "tiles").glob("*.parquet"))]).sort("file")
    split = pl.read_csv(run / "split.csv")
    table = table.join(split.drop("label"), on="slide", how="left", maintain_order="left")
    classes = tuple(sorted(table["label"].unique()))
    return Tiles(
        tuple(table["file"]),
        np.array([classes.index(label) for label in table["label"]]),
        classes,
        {f"fold{number}": (table[f"fold{number}"] == "test").to_numpy() for number in range(1, FOLDS + 1)},
    )


def trained(asked: Mapping[str, TrainConfig], tiles: Tiles, run: Path) -> tuple[dict[str, Found], dict[str, float]]:
    """Train all of it, two commands at a time; what they say of the tiles they did not see, and tiles/s on one core."""
    work = []
    names = list(tiles.folds)
    for name, config in asked.items():
        for seed in config.seeds:
            path = run / f"{name}-{seed}.yaml"
            path.write_text(config_text(replace(config, seeds=(seed,), name=member(name, seed))))
            work += [(path, names[: len(names) // 2]), (path, names[len(names) // 2 :])]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: train(*one), work))
    found, speed = {}, {}
    for name, config in asked.items():
        sets = []
        for seed in config.seeds:
            probabilities = np.full((len(tiles.files), len(tiles.classes)), np.nan)
            for fold in tiles.folds:
                folder = run / "members" / f"{member(name, seed)}-{fold}"
                rows, values, classes = read_predictions(folder / PREDICTIONS_FILE)
                assert classes == tiles.classes
                of = {tile: place for place, tile in enumerate(tiles.files)}
                tested = (rows["part"] == "test").to_numpy()
                probabilities[[of[tile] for tile in rows["tile"].to_numpy()[tested]]] = values[tested]
                speed[name] = float(np.median([one.images_per_second for one in read_timings(folder / TIMINGS_FILE)]))
            assert not np.isnan(probabilities).any()
            sets.append(probabilities)
        found[name] = Found(np.stack(sets))
    return found, speed


def train(config: Path, folds: list[str]) -> None:
    """Train in some of the folds."""
    sarcoscope("train", str(config), *(word for fold in folds for word in ("--fold", fold)))


def trained_minutes(run: Path, names: Collection[str]) -> float:
    """Minutes that members of those variants trained, two at a time."""
    found = [member(name, seed) for name in names for seed in SEEDS]
    folders = [one for one in (run / "members").iterdir() if one.name.rpartition("-")[0] in found]
    return sum(read_member(one).provenance.seconds for one in folders if (one / MEMBER_FILE).exists()) / 2 / 60


def member(name: str, seed: int) -> str:
    """What the members of a variant are called."""
    return f"{name.replace(' ', '-').replace(',', '')}-{seed}"


def colours(files: tuple[str, ...]) -> Array:
    """(N, 6) mean and spread of red, green and blue."""
    rgbs = [read_tile_file(TILES / file).reshape(-1, 3) for file in files]
    return np.stack([np.concatenate([rgb.mean(axis=0), rgb.std(axis=0)]) for rgb in rgbs])


def frozen(files: tuple[str, ...]) -> Array:
    """(N, F) pooled features of the network as it comes."""
    network, _ = build_network(NetworkConfig(name="mobilenetv2_100", weights=str(WEIGHTS)), 2, 224)
    network.eval()
    tiles = torch.from_numpy(np.stack([read_tile_file(TILES / file) for file in files]))
    with torch.no_grad():
        maps = network.features(normalise(tiles, network.mean, network.std))
    return np.asarray(maps.mean(dim=(2, 3)).numpy(), np.float64)


def regressed(features: Array, tiles: Tiles) -> Found:
    """A logistic regression on standardised features in the same folds."""
    probabilities = np.zeros((1, len(tiles.files), len(tiles.classes)))
    for tested in tiles.folds.values():
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5_000))
        model.fit(features[~tested], tiles.labels[~tested])
        probabilities[0, tested] = model.predict_proba(features[tested])
    return Found(probabilities)


def interval(statistic: Callable[[npt.NDArray[np.intp]], float | None], count: int) -> tuple[float, float]:
    """95 %, by drawing tiles anew."""
    return bootstrap_interval(statistic, np.arange(count), np.random.default_rng(0), draws=2_000)


def row(name: str, found: Found, tiles: Tiles, full: Found | None) -> str:
    """Accuracy, balanced accuracy and macro AUC with their intervals, and how far behind the full recipe it is."""
    count, labels = len(tiles.files), tiles.labels
    right = found.right(labels)

    def balanced(chosen: npt.NDArray[np.intp]) -> float:
        own = labels[chosen]
        return float(np.mean([right[chosen][own == label].mean() for label in np.unique(own)]))

    def auc(chosen: npt.NDArray[np.intp]) -> float:
        return float(np.mean([macro_auc(labels[chosen], one[chosen]) or np.nan for one in found.probabilities]))

    cells = []
    for statistic in (lambda chosen: float(right[chosen].mean()), balanced, auc):
        low, high = interval(statistic, count)
        cells.append(f"{statistic(np.arange(count)):.3f} ({low:.3f} - {high:.3f})")
    behind = "-"
    if full is not None:
        lost = full.right(labels) - right
        low, high = interval(lambda chosen: float(lost[chosen].mean()), count)
        behind = f"{lost.mean():+.3f} ({low:+.3f} - {high:+.3f})"
    return f"| {name} | {' | '.join(cells)} | {behind} |"


def main() -> None:
    """Train, compare, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="Variants to train beside the full recipe; nothing is written then.")
    parser.add_argument("--work", type=Path, help="Folder to keep; what is done in it is not done again.")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="Of the variants; the full recipe has all.")
    asked = parser.parse_args()
    if not TILES.is_dir():
        raise SystemExit(f"{TILES} is absent: real tiles not measured")
    with TemporaryDirectory() as temporary:
        run = asked.work or Path(temporary)
        tiles = prepare(run)
        every = variants(run)
        found, speed = trained({FULL: every.pop(FULL)}, tiles, run)
        every = {name: replace(one, seeds=SEEDS[: asked.seeds]) for name, one in every.items()}
        more, _ = trained({name: one for name, one in every.items() if name in (asked.only or every)}, tiles, run)
        minutes, all_minutes = trained_minutes(run, {FULL}), trained_minutes(run, {FULL, *more})
    full, found = found[FULL], found | more
    speed_words = f"{speed[FULL]:.0f} tiles/s each"
    about = (
        f"{len(tiles.files)} colorectal H&E tiles of {len(tiles.classes)} classes, 224 px at 0.5 um/px (CRC-VAL-HE-7K, "
        f"CC BY 4.0), no sarcomas. `mobilenetv2_100` from ImageNet weights, defaults of `sarcoscope train`; {FOLDS} "
        f"folds, mean of {len(SEEDS)} seeds, of the variants {asked.seeds}; 95 % intervals by drawing tiles anew. "
        f"Training the full recipe took {minutes:.0f} minutes on two cores, all of it {all_minutes:.0f}: members' own "
        f"seconds, two at a time, {speed_words}; the start of processes is not counted."
    )
    lines = [
        said("benchmarks/real_tiles.py"),
        "",
        about,
        "",
        "| | accuracy | balanced accuracy | macro AUC | accuracy behind the full recipe |",
        "|---|---|---|---|---|",
        *(row(name, one, tiles, None if name == FULL else full) for name, one in found.items()),
        row("colour means and spreads, logistic regression", regressed(colours(tiles.files), tiles), tiles, full),
        row("frozen network, logistic regression", regressed(frozen(tiles.files), tiles), tiles, full),
        "",
        f"Bar: the full recipe at least {BAR}, and no part that hurts beyond its interval.",
    ]
    print("\n".join(lines)) if asked.only else put_section("Recipe on real tiles", lines)


if __name__ == "__main__":
    main()
