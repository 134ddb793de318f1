"""What the sheet shows is what a network is shown: which tile in which cell, varied how, and mixed by how much."""

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, TrainingError
from sarcoscope.core.geometry import Rgb
from sarcoscope.core.training import AugmentConfig, MixConfig, NetworkConfig, TrainConfig
from sarcoscope.formats.manifest import read_cohort, write_cohort
from sarcoscope.phantom.cohort import NOTE
from sarcoscope.slides.tile_files import read_tile_file
from sarcoscope.stages.batch_sheet import Shown, detail, one_of_each, rows, show_batch
from sarcoscope.stages.train_tiles import choose_tiles
from tests.stages.test_train_tiles import put_parts, ready_run

MARGIN_PX, HEAD_PX, CELL_PX, STEP_X, STEP_Y = 40, 96, 224, 240, 280


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ready_run(tmp_path_factory.mktemp("sheet"), {"A": 4, "B": 4, "C": 4})


def shown(run: Path, seed: int = 3, **values: Any) -> list[list[Shown]]:
    """The sheet's rows, of a tile of A, of B and of C."""
    config = TrainConfig(run=str(run), **values)
    chosen = choose_tiles(run, "", config)
    tiles = chosen.opened(config)[Part.TRAIN]
    cells = list(rows(config, chosen, tiles, one_of_each(tiles, np.random.default_rng(seed)), seed))
    return [cells[start : start + 3] for start in range(0, len(cells), 3)]


def words(found: list[list[Shown]]) -> list[str]:
    """What stands under the first cell of each row, without the class."""
    return [row[0][1].partition("\n")[2] for row in found]


def test_a_row_a_part_of_the_recipe_and_a_column_a_class(run: Path) -> None:
    found = shown(run)
    assert words(found) == [
        "as it is",
        "flips and right angles",
        "any angle, 30 % of tiles",
        "cropped and enlarged",
        "more or less stain",
        "light and colour",
        "slight blur, 10 % of tiles",
        "compressed, 10 % of tiles",
        "partly covered, 20 % of tiles",
        "all of it, as drawn",
        "mixed by mix-up",
    ]
    for row in found[:-1]:
        assert [caption.partition("\n")[0] for _, caption in row] == ["A", "B", "C"]
    stronger = words(shown(run, augment=AugmentConfig(strength=2.0, occlusion=0.7, crop=0.0)))
    assert "any angle, 60 % of tiles" in stronger
    assert "partly covered, 100 % of tiles" in stronger
    assert "cropped and enlarged" not in stronger  # it is off


def symmetries(rgb: Rgb) -> list[bytes]:
    return [np.ascontiguousarray(np.rot90(one, turn)).tobytes() for one in (rgb, rgb[:, ::-1]) for turn in range(4)]


def test_each_row_does_what_it_says_to_the_tile_above(run: Path) -> None:
    found = shown(run)
    training = choose_tiles(run, "", TrainConfig(run=str(run))).tables[Part.TRAIN]
    for place, label in enumerate("ABC"):
        plain, flipped = found[0][place][0], found[1][place][0]
        files = [run.parent / "tiles" / file for file in training.filter(label=label)["file"]]
        assert plain.tobytes() in {read_tile_file(file).tobytes() for file in files}
        assert flipped.tobytes() in symmetries(plain)
        for row in (5, 8, 9):  # light, covered, all: not one of them leaves a tile as it is
            assert (found[row][place][0] != plain).any()
        covered = found[8][place][0]
        assert 0.02 < (covered != plain).any(axis=2).mean() < 0.2  # the rest of it is untouched


@pytest.mark.parametrize(
    ("mix", "told"),
    [
        (MixConfig(mixup=0.8), "mixed by mix-up"),
        (MixConfig(mixup=0.0, cutmix=1.0), "mixed by CutMix"),
        (MixConfig(mixup=0.8, cutmix=1.0, chance=0.01), "mixed by mix-up or CutMix"),
    ],
)
def test_the_mixed_row_is_of_the_shares_it_names(run: Path, mix: MixConfig, told: str) -> None:
    found = shown(run, mix=mix)
    assert words(found)[-1] == told
    before = {label: found[-2][place][0].astype(float) for place, label in enumerate("ABC")}
    for place, label in enumerate("ABC"):
        rgb, caption = found[-1][place]
        parts = {code: int(share) / 100 for code, share in re.findall(r"([ABC]) (\d+) %", caption)}
        assert len(parts) == 2
        assert label in parts
        assert sum(parts.values()) == pytest.approx(1, abs=0.011)
        if told == "mixed by mix-up":
            expected = sum(share * before[code] for code, share in parts.items())
            assert np.abs(rgb - expected).max() <= 0.006 * 255 + 1  # shares are given in whole per cent
        if told == "mixed by CutMix":
            own, other = (before[code] for code in sorted(parts, key=lambda code: code != label))
            of_other = (rgb == other).all(axis=2) & (rgb != own).any(axis=2)
            assert ((rgb == own).all(axis=2) | of_other).all()
            assert of_other.mean() == pytest.approx(1 - parts[label], abs=0.03)


def test_what_is_off_is_not_shown(run: Path) -> None:
    found = shown(run, augment=AugmentConfig(strength=0.0), mix=MixConfig(mixup=0.0))
    assert words(found) == ["as it is", "all of it, as drawn"]
    for place in range(3):
        np.testing.assert_array_equal(found[1][place][0], found[0][place][0])
    assert words(shown(run, mix=MixConfig(chance=0.0)))[-1] == "all of it, as drawn"


def test_the_picture_has_each_tile_where_it_belongs(run: Path, tmp_path: Path) -> None:
    config = TrainConfig(run=str(run), seeds=(3,))
    show_batch(config, tmp_path / "sheet.png")
    first = (tmp_path / "sheet.png").read_bytes()
    found = shown(run)
    sheet = np.asarray(Image.open(BytesIO(first)).convert("RGB"))
    assert sheet.shape[0] == 2 * MARGIN_PX + HEAD_PX + len(found) * STEP_Y
    for row, cells in enumerate(found):
        for column, (rgb, _) in enumerate(cells):
            top, left = MARGIN_PX + HEAD_PX + row * STEP_Y, MARGIN_PX + column * STEP_X
            cell = sheet[top : top + CELL_PX, left : left + CELL_PX]
            expected = rgb.repeat(CELL_PX // 32, axis=0).repeat(CELL_PX // 32, axis=1)
            np.testing.assert_array_equal(cell[1:-1, 1:-1], expected[1:-1, 1:-1])  # within its frame
            below = sheet[top + CELL_PX : top + CELL_PX + 44, left : left + CELL_PX]
            assert (below < 128).any()  # its caption
            assert not (below[:, -1] < 250).any()  # which ends before the cell does
    show_batch(config, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == first
    show_batch(replace(config, seeds=(4,)), tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != first


def test_the_random_numbers_of_the_process_are_left_alone(run: Path, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    show_batch(TrainConfig(run=str(run)), tmp_path / "sheet.png")
    assert torch.equal(torch.random.get_rng_state(), state)


def told(run: Path, **values: Any) -> str:
    config = TrainConfig(run=str(run), **values)
    chosen = choose_tiles(run, "", config)
    return detail(config, chosen, chosen.opened(config)[Part.TRAIN].side_px)


def test_the_head_says_scale_strength_and_what_is_left_out(tmp_path: Path) -> None:
    run = ready_run(tmp_path, dict.fromkeys("ABCDEFGHI", 3))
    assert told(run) == "32 px at 0.5 um/px; augment.strength 1; the first 8 of 9 classes"
    assert told(run, side_px=48, classes=("A", "B"), augment=AugmentConfig(strength=0.5)) == (
        "48 px at 0.5 um/px; augment.strength 0.5"
    )
    write_cohort(run, [replace(slide, notes=NOTE) for slide in read_cohort(run)])
    assert told(run, classes=("A", "B")).endswith("; synthetic phantom slides, of no clinical meaning")
    config = TrainConfig(run=str(run), network=NetworkConfig(name="compact"))
    show_batch(config, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width == 2 * MARGIN_PX + 8 * STEP_X - 16


def test_what_cannot_be_trained_is_not_shown(tmp_path: Path) -> None:
    run = ready_run(tmp_path, {"A": 3, "B": 3})
    put_parts(run, {"A0": "train", "B0": "test"})
    with pytest.raises(TrainingError, match="only class A has training tiles"):
        show_batch(TrainConfig(run=str(run)), tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_a_picture_of_another_kind_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a picture .*s\.jpg; give a name that ends in \.png"):
        show_batch(TrainConfig(run=str(run)), tmp_path / "s.jpg")
    assert not (tmp_path / "s.jpg").exists()
