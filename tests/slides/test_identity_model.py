import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import SlideReadError
from sarcoscope.slides.identity.byte_ranges import gaps, merged, overlap
from sarcoscope.slides.identity.descriptions import APERIO, clean_description, property_findings
from sarcoscope.slides.identity.model import NewIdentity, Patch, PatchedFile, content_digest, patched, zeros

_RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))), max_size=8
)


def _as_array(pairs: list[tuple[int, int]]) -> np.typing.NDArray[np.int64]:
    return np.array(pairs, np.int64).reshape(-1, 2)


def _bytes_in(pairs: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in pairs for at in range(start, end)}


@given(pairs=_RANGES, other=_RANGES, size=st.integers(0, 70))
def test_ranges_are_sets_of_bytes(pairs: list[tuple[int, int]], other: list[tuple[int, int]], size: int) -> None:
    union = merged([_as_array(pairs)])
    assert _bytes_in([(int(start), int(end)) for start, end in union]) == _bytes_in(pairs)
    assert all(one[1] < then[0] for one, then in itertools.pairwise(union))
    assert _bytes_in(list(gaps(union, size))) == set(range(size)) - _bytes_in(pairs)
    assert overlap(union, merged([_as_array(other)])) == bool(_bytes_in(pairs) & _bytes_in(other))


@given(
    content=st.binary(max_size=60),
    patches=st.lists(st.tuples(st.integers(0, 59), st.binary(min_size=1, max_size=20)), max_size=6),
    block=st.integers(1, 25),
)
def test_patches_stand_in_their_places_however_the_file_is_cut(
    content: bytes, patches: list[tuple[int, bytes]], block: int
) -> None:
    whole = bytearray(content)
    for at, data in patches:
        if at < len(whole):
            whole[at : min(at + len(data), len(whole))] = data[: len(whole) - at]
    blocks = [content[at : at + block] for at in range(0, len(content), block)]
    made = list(patched(blocks, [Patch(at, data) for at, data in patches]))
    assert b"".join(made) == bytes(whole)
    assert [len(one) for one in made] == [len(one) for one in blocks]


def test_a_large_fill_shares_its_memory() -> None:
    many = list(zeros(5, 10_000_005))
    assert many[0].offset == 5
    assert many[-1].end == 10_000_005
    assert all(not one.data.strip(b"\0") for one in many)
    assert len({id(one.data) for one in many[:-1]}) == 1


def test_a_source_that_changes_under_the_copy_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"short")
    with pytest.raises(SlideReadError, match="ends at byte 5 now"):
        PatchedFile(path, (), (), 9, ".tif").write(tmp_path / "b", NewIdentity("x", "y"))


def test_the_digest_is_of_the_contents_alone(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"two"), ("d", b"one")):
        (tmp_path / name).write_bytes(content)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert content_digest([a]) == hashlib.sha256(b"one").hexdigest()
    assert content_digest([a, b]) == content_digest([c, d])
    assert content_digest([a, b]) != content_digest([a, d])


def test_of_a_description_only_the_harmless_stays() -> None:
    text = (
        "Aperio Leica Biosystems GT450 DX v1.0.1 \r\n152855x79306 [0,0,152855x79306] (256x256) JPEG/YCC Q=91"
        "|AppMag = 40|Date = 06/21/2022|Gamma = 2.2|MPP = 0.263312|ScanScope ID = 1111111|Left = of Doe"
    )
    cleaned, findings = clean_description(text)
    assert cleaned == (
        "Aperio Leica Biosystems GT450 DX v1.0.1 \r\n152855x79306 [0,0,152855x79306] (256x256) JPEG/YCC Q=91"
        "|AppMag = 40|Gamma = 2.2|MPP = 0.263312"
    )
    assert [(one.kind, one.value) for one in findings] == [
        ("date or time", "06/21/2022"),
        ("serial number", "1111111"),
        ("other field", "of Doe"),
    ]


@pytest.mark.parametrize(
    "head",
    [
        "Aperio Image Library v10.0.51\r\n46920x33014 [0,100 46000x32914] (256x256) -> 11500x8228 JPEG/RGB Q=65",
        "Aperio Image Library v10.0.51\r\n46000x32914 -> 1024x732 - ",
        "Aperio Image Library vFS90 01\r\n20000x10000 [0,100 20000x10000] (256x256) J2K/YUV16 Q=70",
        "Aperio Leica Biosystems GT450 v1.0.0 \r\n152855x79306 [0,0,152855x79306] (9x9) -> 38213x19826 JPEG/YCC Q=91",
        "Aperio Image Library v11.2.1 \r\n1x2 [3,4 5x6] (7x8) JPEG/RGB Q=30;Aperio Image Library v10.0.51\r\n9x9",
        "Aperio layout written by sarcoscope, not by a scanner\r\n9x8 [0,0 9x8] -> 4x4 (256x256) JPEG/RGB Q=80",
    ],
)
def test_heads_that_scanners_write_are_harmless(head: str) -> None:
    assert clean_description(f"{head}|MPP = 0.25") == (f"{head}|MPP = 0.25", [])


def test_free_text_in_front_of_the_pairs_goes() -> None:
    cleaned, findings = clean_description("Aperio of Doe\r\n12x34 (8x8);Jane's slide;12x34|MPP = 0.5")
    assert cleaned == "Aperio \r\n12x34 (8x8);;12x34|MPP = 0.5"
    assert [one.value for one in findings] == ["Aperio of Doe", "Jane's slide"]


_WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="|=;"), max_size=20)


@given(first=_WORDS, pairs=st.lists(st.tuples(_WORDS, _WORDS), max_size=6))
def test_a_cleaned_description_is_clean_shorter_and_still_aperio_s(first: str, pairs: list[tuple[str, str]]) -> None:
    text = "|".join([f"{APERIO} {first}\r\n10x20", "MPP = 0.25", *(f"{key} = {value}" for key, value in pairs)])
    cleaned, findings = clean_description(text)
    assert len(cleaned) <= len(text)
    assert (cleaned == text) == (not findings)
    assert cleaned.startswith(APERIO)
    assert "MPP = 0.25" in cleaned.split("|")
    assert clean_description(cleaned) == (cleaned, [])


@given(text=st.text(min_size=1).filter(lambda text: not text.startswith(APERIO) and "{" not in text))
def test_any_other_description_goes(text: str) -> None:
    cleaned, findings = clean_description(text)
    assert cleaned == ""
    assert [one.value for one in findings] == [text]


def test_a_property_map_names_what_identifies() -> None:
    found = property_findings("NDP.S/N=950291\r\nccd.width=9346\r\n;Shading;Date=2017/01/27;BarcodeNoR=None", "map")
    assert [(one.kind, one.where, one.value) for one in found] == [
        ("serial number", "map: NDP.S/N", "950291"),
        ("date or time", "map: Date", "2017/01/27"),
        ("barcode", "map: BarcodeNoR", "None"),
        ("other field", "map", "1 more properties"),
    ]
