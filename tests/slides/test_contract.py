from pathlib import Path
from typing import ClassVar

import pytest
import tifffile
from PIL import Image
from typing_extensions import override

from sarcoscope.core.geometry import Mpp
from sarcoscope.slides.flat import FlatImageReader
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.port import SlideSource
from sarcoscope.testing.slides import SlideSourceContract
from tests.slides.images import tissue, write_svs


class TestMemorySlide(SlideSourceContract):
    @override
    def open_slide(self) -> SlideSource:
        return MemorySlide(tissue(311, 237), associated={"label": tissue(20, 10)})


class TestMemorySlideWithLevels(SlideSourceContract):
    @override
    def open_slide(self) -> SlideSource:
        return MemorySlide(tissue(311, 237), levels=4)


class _InTmp(SlideSourceContract):
    tmp: Path

    @pytest.fixture(autouse=True)
    def _use_tmp(self, tmp_path: Path) -> None:
        self.tmp = tmp_path


class TestPng(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        Image.fromarray(tissue(211, 137)).save(self.tmp / "a.png")
        return FlatImageReader(self.tmp / "a.png")


class TestJpeg(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        Image.fromarray(tissue(211, 137)).save(self.tmp / "a.jpg", quality=90)
        return FlatImageReader(self.tmp / "a.jpg")


class TestFlatTiff(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        tifffile.imwrite(self.tmp / "a.tif", tissue(211, 137), photometric="rgb")
        return FlatImageReader(self.tmp / "a.tif")


class TestOpenSlideReader(_InTmp):
    @override
    def open_slide(self) -> SlideSource:
        return OpenSlideReader(write_svs(self.tmp / "a.svs", tissue(610, 405)))


class _Real(SlideSourceContract):
    name: ClassVar[str]
    slides: Path

    @pytest.fixture(autouse=True)
    def _use_slides(self, shared_slides: Path) -> None:
        self.slides = shared_slides

    @override
    def open_slide(self) -> SlideSource:
        return open_slide(self.slides / self.name, mpp=Mpp(0.5), override=True)


class TestRealSvs(_Real):
    name = "CMU-1-Small-Region.svs"


class TestRealTinySvs(_Real):
    name = "openslide-python_small.svs"


class TestRealDicomFolder(_Real):
    name = "dicom_CMU-1-Small-Region"


class TestRealNdpi(_Real):
    name = "test3-DAPI-2-387.ndpi"


class TestRealCoarseDicom(_Real):
    name = "camelyon16_jpeg2000_tiled_full.dcm"


class TestRealGenericTiff(_Real):
    name = "openslide-python_boxes.tiff"
    shrink_tolerance = 8.0  # its levels were shrunk by another filter, and it is all edges


class TestRealFlatTiff(_Real):
    name = "cytomine_HE_flat_862x896.tiff"
