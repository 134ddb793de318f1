from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.tile import Tile
from sarcoscope.reports.artifacts import SlideArtifacts, read_artifacts
from sarcoscope.reports.colors import INK, WHITE, parse_color, tile_alpha
from sarcoscope.reports.maps import MapLayout, classification_map, draw_map, faded, legend_entries, map_layout
from sarcoscope.reports.wording import nice_length
from tests.reports.builder import CLASSES, make_slide

COLORS = [parse_color(color) for _, color in CLASSES.values()]


def drawn(artifacts: SlideArtifacts) -> tuple[Rgb, MapLayout]:
    return draw_map(artifacts.thumbnail, artifacts.record, artifacts.tiles, artifacts.probabilities)


def expected(label: int, probability: float, grey: int) -> list[float]:
    alpha = tile_alpha(probability, len(COLORS))
    return [channel * alpha + grey * (1 - alpha) for channel in COLORS[label]]


@pytest.mark.parametrize("shape", [(30, 20), (90, 7), (3, 60)])
def test_every_kept_tile_stands_at_its_place_in_its_colour(tmp_path: Path, shape: tuple[int, int]) -> None:
    artifacts = read_artifacts(make_slide(tmp_path, shape=shape, mix={"UPS": 0.5, "LMS": 0.5}, evidence=False))
    image, layout = draw_map(
        np.full_like(artifacts.thumbnail, 200), artifacts.record, artifacts.tiles, artifacts.probabilities
    )
    grey = int(faded(np.full((1, 1, 3), 200, np.uint8))[0, 0, 0])
    kept = [tile for tile in artifacts.tiles if tile.kept]
    assert kept
    for tile, row in zip(kept, artifacts.probabilities, strict=True):
        column_px = (
            layout.slide_at[0] + (tile.box.left + tile.box.right) / 2 * layout.slide.width / artifacts.record.size[0]
        )
        row_px = (
            layout.slide_at[1] + (tile.box.top + tile.box.bottom) / 2 * layout.slide.height / artifacts.record.size[1]
        )
        pixel = image[int(row_px), int(column_px)]
        np.testing.assert_allclose(pixel, expected(int(row.argmax()), float(row.max()), grey), atol=1.6)


def test_one_tile_fills_its_box_and_no_pixel_outside(tmp_path: Path) -> None:
    cell = Tile(row=2, column=3, box=Box(3 * 1024, 2 * 1024, 1024, 1024), tissue=1.0)
    artifacts = read_artifacts(make_slide(tmp_path, shape=(10, 8), tiles=[cell], evidence=False))
    image, layout = draw_map(
        np.full_like(artifacts.thumbnail, 255), artifacts.record, artifacts.tiles, artifacts.probabilities
    )
    left, top = layout.slide_at
    slide = image[top : top + layout.slide.height, left : left + layout.slide.width]
    rows, columns = np.nonzero((slide != 255).any(axis=2))
    scale = layout.slide.width / artifacts.record.size[0]
    assert (columns.min(), rows.min()) == (round(3072 * scale), round(2048 * scale))
    assert (columns.max() + 2, rows.max() + 2) == (round(4096 * scale), round(3072 * scale))


def test_without_kept_tiles_the_slide_is_shown_bare(empty: Path) -> None:
    artifacts = read_artifacts(empty)
    image, layout = drawn(artifacts)
    left, top = layout.slide_at
    slide = image[top : top + layout.slide.height, left : left + layout.slide.width]
    assert (slide == slide[..., :1]).all()
    assert slide.min() < 200


def test_the_scale_bar_is_as_long_as_it_says(ups_artifacts: SlideArtifacts) -> None:
    image, layout = drawn(ups_artifacts)
    um_per_px = ups_artifacts.record.size[0] * ups_artifacts.record.mpp / layout.slide.width
    row = image[layout.slide_at[1] + layout.slide.height + 24]
    assert nice_length(layout.slide.width * um_per_px / 4) == 1000
    assert (row == INK).all(axis=1).sum() == round(1000 / um_per_px)


def test_the_legend_says_what_the_record_says(ups_artifacts: SlideArtifacts) -> None:
    record = ups_artifacts.record
    entries = legend_entries(record)
    for item, entry in zip(record.classes, entries, strict=False):
        share = record.votes[item.code] / record.tiles.kept
        assert (entry.head, entry.detail) == (item.code, item.name)
        assert entry.figure == f"{record.votes[item.code]:,} · {share:.1%}"
        assert entry.color == parse_color(item.color)
    dropped = {entry.reason: entry.figure for entry in entries if entry.kind == "dropped"}
    assert {str(reason): int(figure) for reason, figure in dropped.items()} == {
        reason: count for reason, count in record.tiles.dropped.items() if count and reason != "blank"
    }


@pytest.mark.parametrize("size", [Size(2048, 1), Size(1, 2048), Size(2048, 2048), Size(3, 2), Size(2048, 300)])
def test_slide_legend_and_notice_never_overlap(size: Size) -> None:
    layout = map_layout(size, 9, 3)
    left, top = layout.legend_at
    beside = left >= layout.slide_at[0] + layout.slide.width
    below = top >= layout.slide_at[1] + layout.slide.height + 60
    assert beside or below
    assert layout.notice_top >= top + -(-9 // layout.columns) * 66
    assert layout.notice_top >= layout.slide_at[1] + layout.slide.height + 60
    assert layout.canvas.width >= left + layout.columns * 430 + (layout.columns - 1) * 56
    assert layout.canvas.height >= layout.notice_top + 3 * 24


def test_the_picture_ends_in_a_white_margin_on_all_sides(ups_artifacts: SlideArtifacts) -> None:
    image, _ = drawn(ups_artifacts)
    for edge in (image[:20], image[-20:], image[:, :20], image[:, -20:]):
        assert (edge == WHITE).all()


def test_it_is_a_png_of_the_same_pixels(ups_artifacts: SlideArtifacts) -> None:
    content = classification_map(
        ups_artifacts.thumbnail, ups_artifacts.record, ups_artifacts.tiles, ups_artifacts.probabilities
    )
    with Image.open(BytesIO(content)) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), drawn(ups_artifacts)[0])
