import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.slides.jpeg_tile import SHRINKS, BadJpegError, complete, decode, read_header, scaled
from tests.slides.images import tissue

PIXELS = tissue(64, 48)
JPEG = simplejpeg.encode_jpeg(PIXELS, 90, colorsubsampling="420")


def pil(pixels: Rgb, mode: str | None = None, **how: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(pixels).convert(mode) if mode else Image.fromarray(pixels)).save(buffer, "JPEG", **how)
    return buffer.getvalue()


def test_a_header_written_by_hand() -> None:
    quantisation = b"\xff\xdb\x00\x43\x00" + bytes(64)
    frame = b"\xff\xc0\x00\x11\x08" + (300).to_bytes(2, "big") + (200).to_bytes(2, "big") + b"\x03"
    colors = b"\x01\x22\x00" + b"\x02\x11\x01" + b"\x03\x11\x01"
    scan = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
    header = read_header(b"\xff\xd8" + quantisation + frame + colors + b"\xff" + scan)
    assert header.size == Size(200, 300)
    assert header.sampling == ((2, 2), (1, 1), (1, 1))
    assert not header.rgb


@pytest.mark.parametrize(
    ("ids", "segment", "rgb"),
    [
        (b"\x01\x02\x03", b"", False),
        (b"RGB", b"", True),
        (b"RGB", b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0", False),
        (b"\x01\x02\x03", b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x00", True),
        (b"RGB", b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x01", False),
    ],
)
def test_colours_are_what_the_decoder_will_take_them_for(ids: bytes, segment: bytes, rgb: bool) -> None:
    body = simplejpeg.encode_jpeg(np.full((8, 8, 3), (200, 30, 90), np.uint8), 100, colorsubsampling="444")
    at = body.index(b"\xff\xc0")
    scan = body.index(b"\xff\xda")
    renamed = bytearray(body[2:])
    for index, name in enumerate(ids):
        renamed[at - 2 + 10 + 3 * index] = name
        renamed[scan - 2 + 5 + 2 * index] = name
    if body[2:4] == b"\xff\xe0":
        renamed = renamed[2 + int.from_bytes(body[4:6], "big") :]
    jpeg = b"\xff\xd8" + segment + bytes(renamed)
    assert read_header(jpeg).rgb is rgb
    red, green, blue = decode(jpeg, Size(8, 8))[4, 4].tolist()
    if rgb:  # the three numbers as encoded: luma and two chromas of that colour
        assert abs(red - (0.299 * 200 + 0.587 * 30 + 0.114 * 90)) < 4
    else:
        assert (abs(red - 200), abs(green - 30), abs(blue - 90)) < (4, 4, 4)


def test_decodes_as_another_binding_of_the_decoder_does() -> None:
    np.testing.assert_array_equal(decode(JPEG, Size(64, 48)), imagecodecs.jpeg8_decode(JPEG))


def test_gray_comes_as_three_equal_colours() -> None:
    jpeg = pil(PIXELS[..., 0])
    pixels = decode(jpeg, Size(64, 48))
    assert read_header(jpeg).colors == 1
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize("size", [Size(64, 48), Size(61, 45), Size(3, 1)])
def test_shrunk_sides_are_rounded_up(shrink: int, size: Size) -> None:
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(PIXELS[: size.height, : size.width]), 90)
    out = scaled(size, shrink)
    assert (out.width, out.height) == (-(-size.width // shrink), -(-size.height // shrink))
    assert decode(jpeg, size, shrink).shape == (out.height, out.width, 3)


@given(st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from(SHRINKS))
def test_a_plain_colour_stays_itself_at_every_scale(color: tuple[int, int, int], shrink: int) -> None:
    jpeg = simplejpeg.encode_jpeg(np.full((32, 32, 3), color, np.uint8), 95)
    small = decode(jpeg, Size(32, 32), shrink).astype(int)
    assert np.abs(small - decode(jpeg, Size(32, 32))[0, 0]).max() <= 1


def test_tables_and_payload_make_a_stream() -> None:
    at = JPEG.index(b"\xff\xc0")
    huffman = JPEG.index(b"\xff\xc4")
    scan = JPEG.index(b"\xff\xda")
    tables = b"\xff\xd8" + JPEG[2:at] + JPEG[huffman:scan] + b"\xff\xd9"
    payload = b"\xff\xd8" + JPEG[at:huffman] + JPEG[scan:]
    with pytest.raises(BadJpegError, match="damaged"):
        decode(payload, Size(64, 48))
    whole = complete(payload, tables, rgb=False)
    np.testing.assert_array_equal(decode(whole, Size(64, 48)), decode(JPEG, Size(64, 48)))


@pytest.mark.parametrize(
    ("jpeg", "words"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG\r\n", "begins with 89 50 4e 47"),
        (pil(PIXELS, progressive=True), "SOF2"),
        (pil(PIXELS, mode="CMYK"), "4 colours"),
        (JPEG[:40], "cut short|ends before"),
        (b"\xff\xd8" + JPEG[JPEG.index(b"\xff\xda") :], "without a frame"),
        (b"\xff\xd8\x12\x34\x56\x78", "12 34 where a JPEG marker"),
        (b"\xff\xd8\xff\xc0\x00\x01\x00\x00", "cut short"),
        (JPEG.replace(b"\x00\x30\x00\x40\x03", b"\x00\x00\x00\x40\x03", 1), "64x0 px"),
        (b"\xff\xd8\xff\x01" + JPEG[2:], "marker ff 01 before"),
        (b"\xff\xd8\xff\xd8" + JPEG[2:], "marker ff d8 before"),
        (b"\xff\xd8\xff\xd9" + JPEG[2:], "marker ff d9 before"),
        (JPEG.replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x0c\x01", 1), "several scans"),
    ],
)
def test_what_is_not_read_is_refused_by_name(jpeg: bytes, words: str) -> None:
    with pytest.raises(BadJpegError, match=words):
        read_header(jpeg)


def test_a_picture_cannot_hide_where_a_marker_without_length_is_given_one() -> None:
    """A decoder goes on right behind ff 01, and would take 30,000 x 30,000 px from the length of another picture."""
    hidden = bytearray(JPEG[JPEG.index(b"\xff\xdb") :])
    frame = hidden.index(b"\xff\xc0")
    hidden[frame + 5 : frame + 9] = (30_000).to_bytes(2, "big") * 2
    filled = bytes(hidden).ljust(0xFFDB, b"\0")
    with pytest.raises(BadJpegError, match="marker ff 01 before"):
        read_header(b"\xff\xd8\xff\x01" + filled + JPEG[2:])


def test_a_stream_that_ends_early_is_damage_not_grey() -> None:
    with pytest.raises(BadJpegError, match="Premature end"):
        decode(JPEG[: len(JPEG) * 9 // 10], Size(64, 48))


def test_a_stream_of_another_size_is_refused() -> None:
    with pytest.raises(BadJpegError, match="decodes to 64x48 px, want 32x48"):
        decode(JPEG, Size(32, 48))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_refusal(tail: bytes) -> None:
    try:
        header = read_header(b"\xff\xd8" + tail)
    except BadJpegError:
        return
    assert header.colors in {1, 3}
