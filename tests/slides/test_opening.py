import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sarcoscope.core.errors import InputError, ScaleError, SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.scale import require_scale
from sarcoscope.slides.thumbnail import thumbnail
from tests.slides.images import tissue, write_svs


def refusal(path: Path) -> str:
    """The message with which a path is refused, after checking that it is one line, names the path and advises."""
    with pytest.raises(SlideOpenError) as caught:
        open_slide(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert caught.value.advice
    return text


@contextmanager
def nobody() -> Iterator[None]:
    """Without root's right to read everything, where the tests run as root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "nix.svs")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.svs").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "a.svs")


def test_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_text("slide,mpp\na,0.5\n")
    assert "not a slide: it looks like text" in refusal(tmp_path / "a.svs")


def test_noise(tmp_path: Path) -> None:
    (tmp_path / "a.ndpi").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "not a slide that any reader knows" in refusal(tmp_path / "a.ndpi")


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    assert f"give the slides in it, e.g. {tmp_path}/*.svs" in refusal(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.svs")
    assert "neither a file nor a folder" in refusal(tmp_path / "a.svs")


def test_a_name_that_cannot_be(tmp_path: Path) -> None:
    assert "cannot be found" in refusal(tmp_path / ("x" * 300))


def test_an_mrxs_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0")
    assert "copy the folder a along with it" in refusal(tmp_path / "a.mrxs")


def test_an_unreadable_file_and_an_unreadable_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    file = folder / "a.svs"
    file.write_bytes(b"II*\0")
    for parent in (tmp_path, *tmp_path.parents):  # another user must get as far as the locked folder
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    file.chmod(0)
    with nobody():
        assert "may not be read" in refusal(file)
    folder.chmod(0)
    try:
        with nobody():
            assert "may not be looked at" in refusal(file)
            assert "permission" in refusal(folder)
    finally:
        folder.chmod(0o755)


def test_a_given_number_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--mpp is 0"):
        open_slide(write_svs(tmp_path / "a.svs", tissue(64, 64)), mpp=Mpp(0))


def test_an_svs_opens_with_its_scale_and_power(tmp_path: Path) -> None:
    with open_slide(write_svs(tmp_path / "a.svs", tissue(300, 200))) as slide:
        assert slide.info.vendor == "aperio"
        assert slide.info.size == Size(300, 200)
        assert slide.info.objective_power == 20
        assert [level.downsample for level in slide.info.levels] == [1, 2, 4]
        assert require_scale(slide).mpp == 0.499
        assert require_scale(slide).source == "file: aperio.MPP"
        assert slide.files == (tmp_path / "a.svs",)


@pytest.mark.parametrize(
    ("mpp", "power", "words"), [("0.25", "20", "20x"), ("5", "20", "5 um/px"), ("x", "20", "no number")]
)
def test_a_doubtful_scale_opens_and_is_refused_on_use(tmp_path: Path, mpp: str, power: str, words: str) -> None:
    path = write_svs(tmp_path / "a.svs", tissue(64, 64), mpp=mpp, power=power)
    with open_slide(path) as slide:
        assert slide.info.scale is None
        assert slide.info.scale_problem is not None
        with pytest.raises(ScaleError, match=words) as caught:
            require_scale(slide)
        assert str(caught.value).startswith(f"{path}: ")
    with open_slide(path, mpp=Mpp(0.5), mpp_source="manifest") as slide:
        assert require_scale(slide).mpp == 0.5
        assert require_scale(slide).source == "given: manifest"
        assert words in require_scale(slide).warnings[0]


def test_a_contradicting_number_is_refused_on_use_and_can_override(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", tissue(64, 64))
    with open_slide(path, mpp=Mpp(0.25)) as slide, pytest.raises(ScaleError, match="--mpp-override"):
        require_scale(slide)
    with open_slide(path, mpp=Mpp(0.25), override=True) as slide:
        assert require_scale(slide).mpp == 0.25


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_flat_picture_needs_a_scale_and_takes_a_given_one(tmp_path: Path, name: str) -> None:
    Image.fromarray(tissue(64, 48)).save(tmp_path / name, dpi=None if name == "a.tif" else (25_400, 25_400))
    with open_slide(tmp_path / name) as slide, pytest.raises(ScaleError, match=r"--mpp 0\.5"):
        require_scale(slide)
    with open_slide(tmp_path / name, mpp=Mpp(0.25)) as slide:
        assert require_scale(slide).mpp == 0.25
        assert require_scale(slide).source == "given: --mpp"


DAMAGE = st.one_of(
    st.floats(0, 1).map(lambda share: ("cut", share, 0)),
    st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(1, 255)),
    st.tuples(st.just("flip head or tail"), st.floats(-0.03, 0.03), st.integers(1, 255)),
)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(DAMAGE)
def test_a_damaged_file_reads_or_raises_a_slide_error(tmp_path: Path, damage: tuple[str, float, int]) -> None:
    whole = tmp_path / "whole.svs"
    if not whole.exists():
        write_svs(whole, tissue(150, 100))
    data = bytearray(whole.read_bytes())
    kind, where, mask = damage
    at = int(where * len(data))
    if kind == "cut":
        del data[at:]
    else:
        data[at % len(data)] ^= mask
    path = tmp_path / "damaged.svs"
    path.write_bytes(data)
    told = f"{path}: read"
    try:
        with open_slide(path) as slide:
            assert slide.read(Box(-3, -3, 96, 96), Size(48, 48)).shape == (48, 48, 3)
            for name in slide.info.associated:
                slide.associated(name)
    except SlideError as error:
        told = str(error)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told


# Real files, where they lie beside the checkout.


def test_real_svs(shared_slides: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as slide:
        assert slide.info.size == Size(2220, 2967)
        assert slide.info.objective_power == 20
        assert slide.info.associated == ("label", "macro", "thumbnail")
        assert require_scale(slide).mpp == 0.499
        assert slide.associated("label").shape[2] == 3


def test_real_dicom_is_its_svs_twin_through_any_of_its_files(shared_slides: Path) -> None:
    folder = shared_slides / "dicom_CMU-1-Small-Region"
    files = tuple(sorted(folder.iterdir()))
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as twin:
        box, out = Box(300, 400, 1200, 1200), Size(300, 300)
        want = twin.read(box, out).astype(int)
        for path in (folder, *files):
            with open_slide(path) as slide:
                assert slide.info.size == twin.info.size
                assert require_scale(slide).mpp == require_scale(twin).mpp
                assert require_scale(slide).source == "file: DICOM PixelSpacing"
                assert slide.info.icc_profile
                assert slide.files == files
                assert np.abs(slide.read(box, out) - want).mean() < 2


def test_real_ndpi(shared_slides: Path) -> None:
    with open_slide(shared_slides / "test3-DAPI-2-387.ndpi") as slide:
        assert len(slide.info.levels) == 7
        assert require_scale(slide).mpp == pytest.approx(0.228, abs=5e-4)
        assert slide.info.objective_power == 40


def test_real_dicom_too_coarse(shared_slides: Path) -> None:
    path = shared_slides / "camelyon16_jpeg2000_tiled_full.dcm"
    with open_slide(path) as slide, pytest.raises(ScaleError, match=r"28\.97 um/px"):
        require_scale(slide)


def test_real_tiff_with_a_screen_resolution(shared_slides: Path) -> None:
    path = shared_slides / "openslide-python_boxes.tiff"
    with open_slide(path) as slide, pytest.raises(ScaleError, match=r"352\.8 um/px \(72 dpi"):
        require_scale(slide)


def test_real_tiny_svs(shared_slides: Path) -> None:
    with open_slide(shared_slides / "openslide-python_small.svs") as slide:
        assert slide.info.size == Size(16, 16)
        assert require_scale(slide).mpp == 0.499


def test_real_flat_tiff_needs_a_scale_and_takes_one(shared_slides: Path) -> None:
    path = shared_slides / "cytomine_HE_flat_862x896.tiff"
    with open_slide(path) as slide, pytest.raises(ScaleError, match=r"--mpp 0\.5"):
        require_scale(slide)
    with open_slide(path, mpp=Mpp(0.5)) as slide:
        assert slide.info.vendor == "flat"
        assert require_scale(slide).mpp == 0.5
        assert thumbnail(slide, 100).std() > 10


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("histolab_broken.svs", "looks like text"),
        ("pathml_small_dicom_TCGA-XK-AAJU.dcm", "Couldn't get image flavor"),
        ("pathml_small_vectra.qptiff", "multispectral"),
    ],
)
def test_real_files_that_are_no_slides(shared_slides: Path, name: str, words: str) -> None:
    assert words in refusal(shared_slides / name)


def test_a_folder_of_two_series(shared_slides: Path, tmp_path: Path) -> None:
    shutil.copy(shared_slides / "camelyon16_jpeg2000_tiled_full.dcm", tmp_path)
    for file in (shared_slides / "dicom_CMU-1-Small-Region").iterdir():
        shutil.copy(file, tmp_path)
    assert "more than one DICOM series" in refusal(tmp_path)


@pytest.mark.parametrize("length", [4, 8, 100, 5000, 500_000, 1_900_000])
def test_a_real_svs_cut_short(shared_slides: Path, tmp_path: Path, length: int) -> None:
    whole = (shared_slides / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "cut.svs").write_bytes(whole[:length])
    assert "cut short" in refusal(tmp_path / "cut.svs")


@pytest.mark.parametrize("length", [100_000, 1_000_000])
def test_a_real_dicom_cut_short_opens_and_fails_on_reading(shared_slides: Path, tmp_path: Path, length: int) -> None:
    largest = max((shared_slides / "dicom_CMU-1-Small-Region").iterdir(), key=lambda file: file.stat().st_size)
    (tmp_path / "cut.dcm").write_bytes(largest.read_bytes()[:length])
    with open_slide(tmp_path / "cut.dcm") as slide:
        for _ in range(2):  # the handle stays in error
            with pytest.raises(SlideReadError, match=r"cut\.dcm: points to bytes"):
                thumbnail(slide, 64)
