import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typing_extensions import override

from sarcoscope.core.errors import SlideOpenError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.testing.mrxs_writer import Compression, write_mrxs
from sarcoscope.testing.slides import SlideSourceContract
from tests.slides.images import tissue


def on_glass() -> Rgb:
    """900 x 730 px of which the left 64 and the upper 128 px are white, as outside of the tissue."""
    rgb = tissue(900, 730)
    rgb[:128] = 255
    rgb[:, :64] = 255
    return rgb


class _InTmp(SlideSourceContract):
    tmp: Path

    @pytest.fixture(autouse=True)
    def _use_tmp(self, tmp_path: Path) -> None:
        self.tmp = tmp_path


class TestMrxs(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        path = self.tmp / "a.mrxs"
        if not path.exists():
            write_mrxs(path, tissue(610, 405), associated={"label": LABEL})
        return OpenSlideReader(path)  # what open_slide comes to, without the trial in a process of its own


class TestMrxsBesideGlass(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        path = self.tmp / "a.mrxs"
        return OpenSlideReader(path if path.exists() else write_mrxs(path, on_glass(), compression="PNG"))


LABEL = tissue(40, 30)


def refusal(path: Path) -> str:
    with pytest.raises(SlideOpenError) as caught:
        open_slide(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.advice
    return str(caught.value)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rgb = on_glass()
    path = write_mrxs(tmp_path / "a.mrxs", rgb, compression="PNG", associated={"label": LABEL, "macro": LABEL})
    with open_slide(path) as slide:
        assert isinstance(slide, OpenSlideReader)
        assert slide.info.vendor == "mirax"
        assert slide.info.size == Size(960, 768)  # 15 x 12 positions of 64 px
        assert [level.downsample for level in slide.info.levels] == [1, 2, 4]
        assert slide.info.objective_power == 40
        assert slide.info.associated == ("label", "macro")
        assert not slide.info.icc_profile
        assert require_scale(slide).mpp == 0.25
        assert require_scale(slide).source == "file: MRXS MICROMETER_PER_PIXEL"
        np.testing.assert_array_equal(slide.read(Box(0, 0, 900, 730), Size(900, 730)), rgb)
        assert (slide.read(Box(900, 0, 60, 768), Size(60, 768)) == 255).all()
        assert (slide.read(Box(0, 730, 960, 38), Size(960, 38)) == 255).all()
        assert np.abs(slide.associated("label").astype(int) - LABEL).mean() < 8


def test_a_halved_read_comes_from_the_next_level(tmp_path: Path) -> None:
    rgb = on_glass()
    with open_slide(write_mrxs(tmp_path / "a.mrxs", rgb, compression="PNG")) as slide:
        got = slide.read(Box(64, 128, 800, 600), Size(400, 300))
    want = rgb[128:728, 64:864].reshape(300, 2, 400, 2, 3).astype(float).mean((1, 3))
    assert np.abs(got - want).max() <= 1


def test_bounds_are_the_positions_that_hold_an_image(tmp_path: Path) -> None:
    with open_slide(write_mrxs(tmp_path / "a.mrxs", on_glass())) as slide:
        bounds = [int(slide.info.properties[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height")]
    assert bounds == [64, 128, 896, 640]


@pytest.mark.parametrize("compression", ["JPEG", "PNG"])
def test_an_index_of_several_pages(tmp_path: Path, compression: Compression) -> None:
    rgb = tissue(16 * 20, 16 * 11)  # 220 images
    path = write_mrxs(tmp_path / "a.mrxs", rgb, tile=16, levels=4, compression=compression)
    with open_slide(path) as slide:
        got = slide.read(Box(0, 0, 320, 176), Size(320, 176))
    assert np.abs(got.astype(int) - rgb).mean() < 4


def test_the_folder_opens_the_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mrxs(tmp_path / "case 1.2.mrxs", tissue(200, 150))
    monkeypatch.chdir(tmp_path / "case 1.2")
    for given in (path, tmp_path / "case 1.2", Path("../case 1.2"), Path()):
        with open_slide(given) as slide:
            assert slide.info.vendor == "mirax"
            assert slide.path.name == "case 1.2.mrxs"
            assert [file.name for file in slide.files] == ["Data0000.dat", "Index.dat", "Slidedat.ini", path.name]


def test_a_folder_without_its_file(tmp_path: Path) -> None:
    write_mrxs(tmp_path / "a.mrxs", tissue(100, 100)).unlink()
    assert "the folder of an MRXS slide without a.mrxs; copy it beside" in refusal(tmp_path / "a")


def test_a_file_without_its_folder(tmp_path: Path) -> None:
    path = write_mrxs(tmp_path / "a.mrxs", tissue(100, 100))
    shutil.rmtree(tmp_path / "a")
    assert "an MRXS slide without its folder a; copy the folder a along with it" in refusal(path)


@pytest.mark.parametrize("name", ["a.MRXS", "a.jpg", "a.svs"])
def test_a_renamed_slide_is_not_taken_for_its_preview(tmp_path: Path, name: str) -> None:
    write_mrxs(tmp_path / "a.mrxs", tissue(100, 100)).rename(tmp_path / name)
    assert "an MRXS slide under another name; call it a.mrxs" in refusal(tmp_path / name)


def test_a_picture_beside_an_mrxs_slide_is_a_picture(tmp_path: Path) -> None:
    write_mrxs(tmp_path / "a.mrxs", tissue(100, 100))
    Image.fromarray(tissue(50, 40)).save(tmp_path / "a.jpg")
    with open_slide(tmp_path / "a.jpg") as slide:
        assert slide.info.size == Size(50, 40)


@pytest.mark.parametrize("lost", ["Index.dat", "Data0000.dat"])
def test_a_folder_that_lacks_a_file(tmp_path: Path, lost: str) -> None:
    path = write_mrxs(tmp_path / "a.mrxs", tissue(100, 100))
    (tmp_path / "a" / lost).unlink()
    assert "OpenSlide: " in refusal(path)


def test_another_slides_folder(tmp_path: Path) -> None:
    path = write_mrxs(tmp_path / "a.mrxs", tissue(100, 100))
    index = tmp_path / "a" / "Index.dat"
    index.write_bytes(index.read_bytes().replace(b"5A7C", b"0000"))
    assert "identifier" in refusal(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("OVERLAP_Y", "nan"),  # from which OpenSlide does not come back
        ("OVERLAP_X", "1e308"),
        ("OVERLAP_X", "-1"),
        ("IMAGENUMBER_X", "2147483647"),
        ("IMAGENUMBER_Y", "0"),
        ("DIGITIZER_WIDTH", "100000"),
        ("IMAGE_CONCAT_FACTOR", "32"),
        ("HIER_0_COUNT", "x"),
    ],
)
def test_a_number_that_cannot_be_meant(tmp_path: Path, key: str, value: str) -> None:
    path = write_mrxs(tmp_path / "a.mrxs", tissue(100, 100))
    ini = tmp_path / "a" / "Slidedat.ini"
    ini.write_text(re.sub(rf"{key}=.*", f"{key}={value}", ini.read_text(encoding="utf-8")), encoding="utf-8")
    assert f"Slidedat.ini says {key}={value}, want" in refusal(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("IMAGENUMBER_.", "60000", "60000 x 60000 images, more than any slide has"),
        ("CameraImageDivisionsPerSide", "30", "2 x 2 images in photos of 30 x 30"),  # of which OpenSlide crashes
    ],
)
def test_numbers_that_cannot_be_meant_together(tmp_path: Path, key: str, value: str, words: str) -> None:
    path = write_mrxs(tmp_path / "a.mrxs", tissue(100, 100))
    ini = tmp_path / "a" / "Slidedat.ini"
    text = re.sub(rf"({key})=.*", rf"\g<1>={value}", ini.read_text(encoding="utf-8"))
    ini.write_text(text, encoding="utf-8")
    assert words in refusal(path)
