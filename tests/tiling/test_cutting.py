"""Several scales of one slide: nested and concentric, what they share, and which are left out."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.cutting import CutConfig, Method, ScoreConfig, parse_mpp
from sarcoscope.core.errors import InputError, ScaleError, TissueError
from sarcoscope.core.geometry import Box, Mpp
from sarcoscope.core.slide import Scale
from sarcoscope.core.tile import DropReason
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.tiling.cutting import CutPlan, CutTile, plan_cut, settle
from tests.slides_made import draw

SCALES = (Mpp(1.0), Mpp(0.5), Mpp(0.25))


def slide(rows: list[str], *, mpp: float = 0.25, cell: int = 128) -> MemorySlide:
    return MemorySlide(draw(rows, cell), scale=Scale(mpp=Mpp(mpp), source="test"))


def config(**values: object) -> CutConfig:
    return CutConfig(**({"mpp": SCALES, "tile_px": 64, "minimum_tissue": 0.4} | values))  # type: ignore[arg-type]


def of_scale(plan: CutPlan, mpp: float) -> list[CutTile]:
    return [one for one in plan.tiles if one.mpp == mpp]


def test_nested_tiles_lie_in_the_coarse_tile_whose_place_they_share() -> None:
    plan = plan_cut(slide(["DDDD"] * 4), config(), Method.GRID)
    # 512 px of level 0: a tile takes 256, 128 or 64 of them
    assert [len(of_scale(plan, mpp)) for mpp in SCALES] == [4, 16, 64]
    coarse = {one.place: one.tile.box for one in of_scale(plan, 1.0)}
    assert set(coarse) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert Counter(one.place for one in of_scale(plan, 0.25)) == dict.fromkeys(coarse, 16)
    for one in plan.tiles:
        outer, box = coarse[one.place], one.tile.box
        assert outer.left <= box.left
        assert box.right <= outer.right
        assert outer.top <= box.top
        assert box.bottom <= outer.bottom
        assert one.block == one.place


def test_concentric_tiles_share_centre_row_and_column() -> None:
    plan = plan_cut(slide(["DDDD"] * 4), config(layout="concentric"), Method.GRID)
    places = {one.place: one.tile.box for one in of_scale(plan, 0.5)}
    assert len(places) == 16
    for mpp, side in ((1.0, 256), (0.25, 64)):
        tiles = of_scale(plan, mpp)
        assert {one.place for one in tiles} == set(places)
        for one in tiles:
            anchor, box = places[one.place], one.tile.box
            assert (box.width, box.height) == (side, side)
            assert 2 * box.left + box.width == 2 * anchor.left + anchor.width
            assert 2 * box.top + box.height == 2 * anchor.top + anchor.height
            assert (one.tile.row, one.tile.column) == one.place
    assert of_scale(plan, 1.0)[0].tile.box == Box(-64, -64, 256, 256)  # reaches outside, where everything is white


def test_the_anchor_may_be_any_of_the_scales() -> None:
    plan = plan_cut(slide(["DDDD"] * 4), config(layout="concentric", anchor=Mpp(1.0)), Method.GRID)
    assert [len(of_scale(plan, mpp)) for mpp in SCALES] == [4, 4, 4]
    assert of_scale(plan, 0.25)[0].tile.box == Box(96, 96, 64, 64)


def test_concentric_tiles_are_kept_or_dropped_with_their_anchor() -> None:
    source = slide(["DD..", "DD..", "....", "...."])
    plan = plan_cut(source, config(layout="concentric"), Method.GRID)
    kept = {one.place for one in of_scale(plan, 0.5) if one.tile.kept}
    assert kept == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for mpp in (1.0, 0.25):
        assert {one.place for one in of_scale(plan, mpp) if one.tile.kept} == kept
    spoiled = [
        replace(one, tile=replace(one.tile, dropped=DropReason.BLURRED))
        if (one.mpp, one.place) in {(0.5, (0, 0)), (0.25, (1, 1))}
        else one
        for one in plan.tiles
    ]
    settled = settle(spoiled, plan.scale, config(layout="concentric"), Method.GRID)
    for mpp in SCALES:
        reasons = {one.place: one.tile.dropped for one in settled if one.mpp == mpp}
        # at the first place the anchor is blurred, at the second only the close view
        assert [reasons[place] for place in ((0, 0), (1, 1))] == [DropReason.BLURRED, None]


def test_overlapping_tiles_stand_half_a_side_apart() -> None:
    plan = plan_cut(slide(["DD"] * 2), config(mpp=(Mpp(0.5),), overlap=0.5), Method.GRID)
    assert {one.tile.box.left for one in plan.tiles} == {0, 64, 128}
    assert {one.tile.box.width for one in plan.tiles} == {128}
    # centres 64, 128, 192 against touching cells of 128 px: a block holds what overlaps least with others
    assert {one.block for one in plan.tiles} == {(0, 0), (0, 1), (1, 0), (1, 1)}


@given(
    st.sampled_from([(1.0, 0.5, 0.25), (0.5, 0.25), (2.0, 0.5), (1.0, 0.7, 0.3)]),
    st.sampled_from(["nested", "concentric"]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from([0.2486, 0.25, 0.2525, 0.2549]),
)
def test_every_tile_lies_where_its_ids_say(scales: tuple[float, ...], layout: str, overlap: float, own: float) -> None:
    source = MemorySlide(np.full((1000, 1100, 3), (170, 90, 150), np.uint8), scale=Scale(mpp=Mpp(own), source="test"))
    cut = config(mpp=tuple(Mpp(mpp) for mpp in scales), layout=layout, overlap=overlap, tile_px=32)
    plan = plan_cut(source, cut, Method.GRID)
    keys = Counter((one.mpp, one.tile.row, one.tile.column) for one in plan.tiles)
    assert set(keys.values()) == {1}
    reads = {one.mpp: one.read_mpp for one in plan.tiles}
    side = 32 * reads[Mpp(max(scales))] / own
    for one in plan.tiles:
        box = one.tile.box
        assert box.width == pytest.approx(32 * one.read_mpp / own, abs=1)
        if layout == "nested" or one.mpp == cut.anchor_mpp:
            x, y = box.left + box.width / 2, box.top + box.height / 2
            assert one.block == (int(y // side), int(x // side))
    if layout == "concentric":
        assert len({(one.place, one.block) for one in plan.tiles}) == len({one.place for one in plan.tiles})
    elif not overlap and all(max(scales) % mpp == 0 for mpp in scales):  # each fine tile in the coarse one it names
        coarse = {one.place: one.tile.box for one in plan.tiles if one.mpp == max(scales)}
        for one in plan.tiles:
            if outer := coarse.get(one.place):
                assert outer.left <= one.tile.box.left
                assert one.tile.box.right <= outer.right


def test_a_scale_finer_than_the_slide_is_refused_or_left_out_if_asked() -> None:
    source = slide(["DD"] * 2, mpp=0.5)
    with pytest.raises(ScaleError, match=r"0\.5 um/px \(test\) is coarser than the 0\.25 um/px asked for"):
        plan_cut(source, config(), Method.GRID)
    plan = plan_cut(source, config(allow_coarser=True), Method.GRID)
    assert plan.too_fine == (0.25,)
    assert {one.mpp for one in plan.tiles} == {1.0, 0.5}
    with pytest.raises(ScaleError, match="coarser than"):
        plan_cut(slide(["DD"], mpp=1.5), config(allow_coarser=True), Method.GRID)
    with pytest.raises(ScaleError, match="coarser than"):  # nothing to stand around
        plan_cut(slide(["DDDD"] * 4, mpp=1.0), config(allow_coarser=True, layout="concentric"), Method.GRID)


def test_a_slide_smaller_than_the_coarse_tile_still_gives_the_fine_ones() -> None:
    plan = plan_cut(slide(["DDD"]), config(), Method.GRID)  # 128 px high, a tile of 1 um/px takes 256
    assert [len(of_scale(plan, mpp)) for mpp in SCALES] == [0, 3, 12]
    with pytest.raises(TissueError, match=r"32x32 px is smaller than one tile \(64 px of level 0\)"):
        plan_cut(slide(["D"], cell=32), config(), Method.GRID)


def test_score_takes_thinner_tissue_and_the_densest_of_it() -> None:
    half = slide(["D." * 2] * 2, cell=512)  # a tile takes two by two cells
    cut = config(mpp=(Mpp(1.0),), tile_px=256, minimum_tissue=0.7, score=ScoreConfig(top=1))
    assert {one.tile.dropped for one in plan_cut(half, cut, Method.GRID).tiles} == {DropReason.LITTLE_TISSUE}
    plan = plan_cut(half, cut, Method.SCORE)
    assert [one.tile.kept for one in plan.tiles] == [True, True]
    measured = [replace(one, tile=replace(one.tile, nuclei=n)) for one, n in zip(plan.tiles, (10.0, 20.0), strict=True)]
    settled = settle(measured, plan.scale, cut, Method.SCORE)
    assert [one.tile.dropped for one in settled] == [DropReason.NOT_SELECTED, None]
    assert settle(measured, plan.scale, cut, Method.GRID) == tuple(measured)


def test_by_score_concentric_tiles_are_chosen_by_the_anchors_nuclei() -> None:
    cut = config(layout="concentric", score=ScoreConfig(top=1))
    plan = plan_cut(slide(["DD"] * 2), cut, Method.SCORE)
    nuclei = {(0.5, (1, 0)): 50.0, (0.25, (0, 0)): 99.0, (1.0, (0, 1)): 99.0}
    measured = [
        replace(one, tile=replace(one.tile, nuclei=nuclei.get((one.mpp, one.place), 1.0))) for one in plan.tiles
    ]
    settled = settle(measured, plan.scale, cut, Method.SCORE)
    assert {one.place for one in settled if one.tile.kept} == {(1, 0)}
    assert sum(one.tile.kept for one in settled) == len(SCALES)


def test_classes_may_have_a_method_of_their_own() -> None:
    cut = CutConfig(methods={"WDLPS": Method.SCORE})
    assert cut.method_for("WDLPS") is Method.SCORE
    assert cut.method_for("DDLPS") is Method.GRID
    assert cut.method_for(None) is Method.GRID
    assert cut.tiling(Mpp(0.5), Method.SCORE).minimum_tissue == 0.2


@pytest.mark.parametrize(
    ("text", "mpp"), [("20x", 0.5), ("40X", 0.25), ("10x", 1.0), ("0.5", 0.5), (" 0.25um ", 0.25), ("1", 1.0)]
)
def test_scales_are_read_as_people_write_them(text: str, mpp: float) -> None:
    assert parse_mpp(text) == mpp


@pytest.mark.parametrize("text", ["", "x", "0x", "fast", "20 x 3"])
def test_what_is_no_scale_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a magnification"):
        parse_mpp(text)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"mpp": ()}, "scales none"),
        ({"mpp": (0.5, 0.5)}, "give each um/px once"),
        ({"overlap": 1.0}, "overlap=1"),
        ({"anchor": 2.0, "mpp": (0.5,)}, "anchor=2 um/px is no scale"),
        ({"mpp": (99.0,)}, "tiles at 99"),
        ({"mpp": (2.0, 0.5), "methods": {"WDLPS": Method.SCORE}}, "nuclei cannot be counted at 2 um/px"),
        ({"mpp": (2.0, 1.19), "layout": "concentric", "method": Method.SCORE}, "nuclei cannot be counted at 1.19"),
        ({"minimum_tissue_score": 2.0}, "minimum_tissue=2"),
    ],
)
def test_configs_out_of_range_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        CutConfig(**values)  # type: ignore[arg-type]


def test_a_wide_view_around_places_taken_by_score_is_no_matter_of_nuclei() -> None:
    cut = CutConfig(mpp=(Mpp(4.0), Mpp(0.5)), layout="concentric", method=Method.SCORE)
    assert cut.anchor_mpp == 0.5


def test_the_real_slide_at_two_scales(shared_slides: Path) -> None:
    from sarcoscope.slides.opening import open_slide  # noqa: PLC0415

    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as source:
        plan = plan_cut(source, CutConfig(mpp=(Mpp(1.0), Mpp(0.5))), Method.GRID)
    assert len(of_scale(plan, 0.5)) == 20
    assert len(of_scale(plan, 1.0)) == 4  # 2220 x 2967 px of 0.499 um hold 2 x 2 tiles of 1024 px
    inside = [one for one in of_scale(plan, 0.5) if one.place in {other.place for other in of_scale(plan, 1.0)}]
    assert len(inside) == 16
