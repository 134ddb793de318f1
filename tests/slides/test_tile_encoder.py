"""Tiles as files: other programs read the same px and the scale."""

from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.tile_encoder import SUFFIX, TileKind, encode_tile
from tests.slides_made import draw

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))


@given(arrays(np.uint8, shapes))
def test_png_and_jxl_are_lossless(rgb: Rgb) -> None:
    png = Image.open(BytesIO(encode_tile(rgb, "png", Mpp(0.5))))
    png.load()  # checks the checksums
    assert png.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(png), rgb)
    np.testing.assert_array_equal(imagecodecs.png_decode(encode_tile(rgb, "png", Mpp(0.5))), rgb)
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(encode_tile(rgb, "jxl", Mpp(0.5))), rgb)


def test_a_part_of_a_larger_array_is_encoded_as_it_looks() -> None:
    whole = draw(["DW"], 64)
    for part in (whole[:, ::-1], whole[10:50, 20:60], np.rot90(whole)):
        for kind in ("png", "jxl"):
            encoded = encode_tile(part, kind, Mpp(0.5))
            decoded = imagecodecs.png_decode(encoded) if kind == "png" else imagecodecs.jpegxl_decode(encoded)
            np.testing.assert_array_equal(decoded, part)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_png_and_jpeg_state_the_scale(kind: TileKind, mpp: float) -> None:
    image = Image.open(BytesIO(encode_tile(draw(["D"], 64), kind, Mpp(mpp))))
    across, down = image.info["dpi"]
    assert 25_400 / across == pytest.approx(mpp, rel=1e-3)
    assert 25_400 / down == pytest.approx(mpp, rel=1e-3)


def test_jpeg_is_close() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    rgb = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]), axis=-1)
    decoded = np.asarray(Image.open(BytesIO(encode_tile(rgb, "jpeg", Mpp(0.5)))))
    assert np.abs(decoded.astype(int) - rgb).mean() < 2


def test_png_of_real_tissue_is_about_as_small_as_pillows(shared_slides: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as source:
        rgb = source.read(Box(512, 1024, 512, 512), Size(512, 512))
    pillow = BytesIO()
    Image.fromarray(rgb).save(pillow, "PNG", compress_level=1)
    assert len(encode_tile(rgb, "png", Mpp(0.5))) <= 1.1 * len(pillow.getvalue())


def test_every_kind_has_its_suffix() -> None:
    assert {kind: SUFFIX[kind] for kind in ("png", "jpeg", "jxl")} == {"png": ".png", "jpeg": ".jpg", "jxl": ".jxl"}
