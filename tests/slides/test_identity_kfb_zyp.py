from pathlib import Path

import kfbslide  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Size
from sarcoscope.slides.identity.inspecting import inspect_identity
from sarcoscope.slides.identity.model import NewIdentity
from sarcoscope.slides.identity.pictures import blank_jpegs, same_shape
from sarcoscope.slides.jpeg_tile import decode, read_header
from sarcoscope.slides.opening import open_slide
from sarcoscope.testing.kfb_writer import Written, write_kfb
from sarcoscope.testing.zyp_writer import write_zyp
from tests.slides.identity_checks import assert_gone, assert_same_slide, copy_of
from tests.slides.images import tissue

_SLIDE = tissue(900, 700)
_MACRO, _LABEL, _PREVIEW, _GLASS = tissue(300, 200, 1), tissue(120, 150, 2), tissue(180, 140, 3), tissue(300, 100, 4)
_VERSIONS = ("1.10", "2.01")


def _kfb(path: Path) -> Written:
    return write_kfb(path, _SLIDE, macro=_MACRO, label=_LABEL, preview=_PREVIEW, serial="KF-SECRET-42")


def _zyp(path: Path, version: str = "1.10") -> Written:
    return write_zyp(
        path,
        _SLIDE,
        version=version,
        macro=_MACRO,
        barcode=_LABEL,
        preview=_PREVIEW,
        barcode_text="BC-\u6d4b\u8bd5-77",
        serial="ZY-SECRET-42",
        slice_info={"PatientName": "Doe Jane", "ScanDate": "2024-03-14 14:15", "Note" * 9: "a long key"},
        more={"Extra Doe": {"Operator": "Roe Richard", "Path": "D:\\scan\\S24-0017.zyp"}},
    )


def _associated_is_blank(written: Written, copy: Path) -> None:
    with open_slide(written.path) as old, open_slide(copy) as new:
        assert new.info.associated == old.info.associated == ("label", "macro", "thumbnail")
        for name in ("label", "macro"):
            assert new.associated(name).shape == old.associated(name).shape
            assert (new.associated(name) == 255).all()
        np.testing.assert_array_equal(new.associated("thumbnail"), old.associated("thumbnail"))


def _tiles_are_the_same(written: Written, copy: Path) -> None:
    content = copy.read_bytes()
    assert all(jpeg in content for jpeg in written.tiles.values())
    for name, jpeg in written.images.items():
        assert (jpeg[-64:] in content) == (name == "preview")


def test_kfb_loses_time_serial_number_label_and_macro(tmp_path: Path) -> None:
    written, copy = _kfb(tmp_path / "a.kfb"), tmp_path / "b.kfb"
    cleaned = copy_of(written.path, copy)
    assert copy.stat().st_size == written.path.stat().st_size
    assert_gone(copy, "KF-SECRET-42", "1.7.0.52", (1_600_000_000).to_bytes(8, "little"))
    assert {(one.kind, one.value) for one in cleaned.findings} == {
        ("date or time", "1600000000"),
        ("date or time", "60"),
        ("serial number", "KF-SECRET-42"),
        ("other field", "1.7.0.52"),
        ("macro image", ""),
        ("label image", ""),
    }
    assert_same_slide(written.path, copy)
    _associated_is_blank(written, copy)
    _tiles_are_the_same(written, copy)


def test_kfb_records_keep_known_numbers_only(tmp_path: Path) -> None:
    """Bytes 4 and 28 of an image's record, 24 and 44 of a tile's, are of unknown meaning."""
    written, copy = _kfb(tmp_path / "a.kfb"), tmp_path / "b.kfb"
    content = bytearray(written.path.read_bytes())
    record, index = written.places["label record"], written.places["index"]
    for at, words in ((record + 4, b"ROOM"), (record + 28, b"BARCODE-S24-0017-DOE")):
        content[at : at + len(words)] = words
    for at, words in ((index + 24, b"SCANNERX"), (index + 64 + 44, b"DOE-JANE-19610311")):
        content[at : at + len(words[:16])] = words[:16]
    written.path.write_bytes(content)
    found = copy_of(written.path, copy).findings
    assert_gone(copy, "ROOM", "BARCODE-S24-0017-DOE", "SCANNERX", "DOE-JANE")
    assert [(one.kind, one.value) for one in found if "unknown bytes" in one.where] == [
        ("other field", "ROOMBARCODE-S24-0017-DOE"),
        ("other field", ""),
    ]
    assert_same_slide(written.path, copy)


def test_a_kfb_record_without_an_image_stays(tmp_path: Path) -> None:
    written = _kfb(tmp_path / "a.kfb")
    content = bytearray(written.path.read_bytes())
    length = written.places["label record"] + 20
    content[length : length + 4] = bytes(4)
    written.path.write_bytes(content)
    found = copy_of(written.path, tmp_path / "b.kfb").findings
    assert "unread bytes" in {one.kind for one in found}
    assert_gone(tmp_path / "b.kfb", written.images["label"])
    assert_same_slide(written.path, tmp_path / "b.kfb")


def test_another_reader_reads_the_kfb_copy(tmp_path: Path) -> None:
    written, copy = _kfb(tmp_path / "a.kfb"), tmp_path / "b.kfb"
    copy_of(written.path, copy)
    old, new = kfbslide.KfbSlide(str(written.path)), kfbslide.KfbSlide(str(copy))
    try:
        assert new.dimensions == old.dimensions
        np.testing.assert_array_equal(
            np.asarray(new.read_region((100, 100), 0, (300, 300))),
            np.asarray(old.read_region((100, 100), 0, (300, 300))),
        )
    finally:
        old.close()
        new.close()


@pytest.mark.parametrize("version", _VERSIONS)
def test_zyp_loses_every_value_that_is_not_geometry(tmp_path: Path, version: str) -> None:
    written, copy = _zyp(tmp_path / "a.zyp", version), tmp_path / "b.zyp"
    cleaned = copy_of(written.path, copy)
    assert copy.stat().st_size == written.path.stat().st_size
    secrets = ["ZY-SECRET-42", "BC-\u6d4b\u8bd5-77", "Doe Jane", "2024-03-14 14:15", "a long key", "Roe Richard"]
    assert_gone(copy, *secrets, "D:\\scan\\S24-0017.zyp", "Note", "Doe")
    assert set(secrets) <= {one.value for one in cleaned.findings}
    kinds = {one.value: one.kind for one in cleaned.findings}
    assert kinds["ZY-SECRET-42"] == "serial number"
    assert kinds["BC-\u6d4b\u8bd5-77"] == "barcode"
    assert kinds["Doe Jane"] == "person"
    assert kinds["2024-03-14 14:15"] == "date or time"
    assert_same_slide(written.path, copy)
    _associated_is_blank(written, copy)
    _tiles_are_the_same(written, copy)


@pytest.mark.parametrize("kind", ["kfb", "zyp"])
def test_a_preview_of_another_shape_than_the_slide_is_blanked(tmp_path: Path, kind: str) -> None:
    source, copy = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    written = (write_kfb if kind == "kfb" else write_zyp)(source, _SLIDE, preview=_GLASS)
    cleaned = copy_of(source, copy)
    assert [one.kind for one in cleaned.findings if one.kind.endswith("image")] == ["other image"]
    assert written.images["preview"][-64:] not in copy.read_bytes()
    with open_slide(copy) as slide:
        assert (slide.associated("thumbnail") == 255).all()


def test_a_zyp_whose_label_is_the_last_picture_is_still_read(tmp_path: Path) -> None:
    """Its text is found by the end mark of the last JPEG, so a blank one may not end in zeros."""
    source, copy = tmp_path / "a.zyp", tmp_path / "b.zyp"
    every = {(level, x, y) for level in range(10) for x in range(4) for y in range(3)} - {(0, 0, 0)}
    write_zyp(source, _SLIDE, barcode=_LABEL, missing=every)
    copy_of(source, copy)
    assert_same_slide(source, copy)


@pytest.mark.parametrize("kind", ["kfb", "zyp"])
def test_bytes_between_the_structures_go(tmp_path: Path, kind: str) -> None:
    source, copy = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    if kind == "kfb":
        gap = write_kfb(source, _SLIDE, label=_LABEL, hole=64).places["tiles"] - 64
    else:
        gap = len(write_zyp(source, _SLIDE, preview=_PREVIEW, hole=64).images["preview"])
    content = bytearray(source.read_bytes())
    content[gap + 8 : gap + 23] = b"hidden Jane Doe"
    source.write_bytes(content)
    cleaned = copy_of(source, copy)
    assert_gone(copy, "Jane Doe")
    assert any("hidden Jane Doe" in one.value for one in cleaned.findings)


def test_a_zyp_label_over_a_tile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zyp"
    written = write_zyp(path, _SLIDE, barcode=_LABEL)
    where, tile = (str(written.places[name]).encode("utf-16-le") for name in ("barcode", "tiles"))
    assert (where, len(written.images["barcode"])) == (b"0\0", written.places["tiles"])
    content = path.read_bytes()
    length = tile
    assert content.count(length) >= 2
    at = content.index(length, written.places["tiles"] + sum(map(len, written.tiles.values())))
    longer = str(written.places["tiles"] + 9).encode("utf-16-le")
    assert len(longer) == len(length)
    path.write_bytes(content[:at] + longer + content[at + len(longer) :])
    with pytest.raises(SlideReadError, match="shares bytes with the slide"):
        inspect_identity(path)


@pytest.fixture(scope="module", params=["kfb", "zyp"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / f"a.{request.param}"
    return (_kfb if request.param == "kfb" else _zyp)(path).path.read_bytes()


@given(data=st.data())
def test_damage_is_refused_or_copied_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 300) | st.integers(len(content) - 4000, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    source = tmp_path_factory.mktemp("damaged") / "a"
    source.write_bytes(content[:cut])
    try:
        cleaned = inspect_identity(source)
    except SlideError:
        return
    cleaned.write(source.with_name("b"), NewIdentity("x", "y"))
    assert source.with_name("b").stat().st_size == cut


def test_a_blank_picture_has_the_size_and_the_length_asked_for() -> None:
    size = Size(120, 150)
    for length in (2_000, 2_001, 2_002, 2_003, 70_000, 131_077, 200_003):
        for jpeg in blank_jpegs(size, length):
            assert len(jpeg) == length
            assert jpeg.endswith(b"\xff\xd9")
            assert read_header(jpeg).size == size
            assert (decode(jpeg, size) >= 240).all()


def test_a_label_too_short_for_a_blank_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.kfb"
    written = write_kfb(path, _SLIDE, label=np.full((600, 900, 3), 255, np.uint8))
    content = bytearray(path.read_bytes())
    at = written.places["label record"]
    jpeg = written.images["label"]
    header = jpeg.index(b"\xff\xda") + 20
    content[at + 20 : at + 24] = header.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SlideReadError, match=r"no room for a blank one.*sarcoscope convert"):
        inspect_identity(path)


def test_shapes() -> None:
    slide = Size(900, 700)
    assert same_shape(slide, Size(180, 140))
    assert same_shape(slide, Size(9, 7))
    assert same_shape(slide, Size(180, 146))
    assert not same_shape(slide, Size(180, 160))
    assert not same_shape(slide, Size(140, 180))


@pytest.mark.parametrize(
    ("name", "content"), [("a.mrxs", b"\xff\xd8\xff\xe0 JPEG"), ("a.png", b"\x89PNG\r\n\x1a\n"), ("a", b"?")]
)
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideOpenError, match=r"cannot be de-identified in place; use `sarcoscope convert`"):
        inspect_identity(tmp_path / name)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").touch()
    for name, words in (("gone.svs", "no such file"), ("empty.svs", "is empty")):
        with pytest.raises(SlideOpenError, match=words):
            inspect_identity(tmp_path / name)
