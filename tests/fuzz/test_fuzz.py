"""A bounded run of the fuzzer over every format, and proof that it would notice. A long run: `make fuzz`."""

import os
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import tifffile

from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.slides.opening import open_slide
from tests.fuzz.corpus import MAKERS, Seed, png_bomb
from tests.fuzz.mutations import damaged
from tests.fuzz.run import Work, clean, convert, exercise, fuzz
from tests.slides.images import tissue

INPUTS = 150
INPUTS_OF_TRIALS = 30
"""Of formats that are first opened in a process of their own, which takes a while."""


@pytest.fixture(params=MAKERS)
def seed(request: pytest.FixtureRequest, tmp_path: Path) -> Seed:
    home = tmp_path / "seed"
    home.mkdir()
    return MAKERS[request.param](home)


def test_the_sound_slide_is_read(seed: Seed) -> None:
    assert exercise(seed.path) == "read"


def test_damaged_slides_are_read_or_refused(seed: Seed, tmp_path: Path) -> None:
    inputs = INPUTS_OF_TRIALS if seed.name.startswith("mrxs") else INPUTS
    outcome = fuzz(seed, range(inputs), tmp_path)
    assert outcome.failures == []
    assert outcome.tried == inputs
    assert len(outcome.kinds) > 1 or inputs < INPUTS, "the damage should show now and then"


def test_a_cut_at_every_structure_is_read_or_refused(seed: Seed, tmp_path: Path) -> None:
    outcome = fuzz(seed, range(-len(seed.places), 0), tmp_path)
    assert outcome.failures == []
    assert outcome.tried == len(seed.places)


@pytest.mark.parametrize("work", [clean, convert])
@pytest.mark.parametrize("seed", [name for name in MAKERS if not name.startswith("mrxs")], indirect=True)
def test_damaged_slides_are_cleaned_and_converted_or_refused(seed: Seed, work: Work, tmp_path: Path) -> None:
    outcome = fuzz(seed, range(INPUTS // 3), tmp_path, work=work)
    assert outcome.failures == []


def crash(path: Path) -> str:
    if path.read_bytes()[:1] != b"\x89":
        os.abort()
    return "read"


def hang(path: Path) -> str:
    if path.read_bytes()[:1] != b"\x89":
        threading.Event().wait()
    return "read"


def eat(path: Path) -> str:
    if path.read_bytes()[:1] != b"\x89":
        return str(len(np.ones(2_000_000_000, np.uint8)))
    return "read"


def stumble(path: Path) -> str:
    if path.read_bytes()[:1] != b"\x89":
        raise KeyError(path.name)
    return "read"


@pytest.mark.parametrize(
    ("work", "words", "patience"),
    [(crash, "died with -6", 60.0), (hang, "hung for 3 s", 3.0), (eat, "MB", 60.0), (stumble, "KeyError", 60.0)],
)
def test_the_fuzzer_notices(work: Work, words: str, patience: float, tmp_path: Path) -> None:
    home = tmp_path / "seed"
    home.mkdir()
    seed = MAKERS["png"](home)
    first = next(n for n in range(1000) if damaged(seed.path.read_bytes(), seed.places, n)[:1] != b"\x89")
    outcome = fuzz(seed, range(first - 1, first + 2), tmp_path, work=work, patience=patience)
    assert words in outcome.failures[0]
    assert f"#{first}: " in outcome.failures[0]
    assert outcome.tried == 3, "it goes on behind a failure"


def test_a_bomb_of_the_largest_flat_size_stays_within_the_bound(tmp_path: Path) -> None:
    home = tmp_path / "seed"
    home.mkdir()
    path = png_bomb(home / "bomb.png")
    assert path.stat().st_size < 1_000_000
    outcome = fuzz(Seed("bomb", path, path, (path.stat().st_size,)), range(-1, 0), tmp_path)
    assert outcome.failures == []
    assert outcome.kinds == {"read": 1}


def test_a_strip_that_unpacks_to_more_than_it_states(tmp_path: Path) -> None:
    path = tmp_path / "strip.tif"
    packed = zlib.compress(bytes(300_000_000), 9)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(iter([packed]), shape=(150, 200, 3), dtype=np.uint8, photometric="rgb", compression="zlib")
    home = tmp_path / "seed"
    home.mkdir()
    path = path.rename(home / path.name)
    outcome = fuzz(Seed("strip", path, path, (path.stat().st_size,)), range(-1, 0), tmp_path)
    assert outcome.failures == []
    assert outcome.peak_bytes < 400_000_000


@pytest.mark.parametrize(("width", "height"), [(65_500, 65_500), (32, 64), (64, 65)])
def test_a_tile_that_decodes_to_another_size_is_refused(tmp_path: Path, width: int, height: int) -> None:
    tile = simplejpeg.encode_jpeg(tissue(64, 64), 80, colorsubsampling="420")
    frame = tile.index(b"\xff\xc0")
    wrong = tile[: frame + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + tile[frame + 9 :]
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter([tile, wrong]),
            shape=(64, 128, 3),
            dtype=np.uint8,
            photometric="ycbcr",
            compression="jpeg",
            subsampling=(2, 2),
            tile=(64, 64),
            metadata=None,
        )
    with open_slide(path) as slide:
        assert slide.read(Box(0, 0, 64, 64), Size(64, 64)).any()
        with pytest.raises(SlideError, match=r"a\.tif"):
            slide.read(Box(64, 0, 64, 64), Size(64, 64))
