"""Files that no reader here opens, told apart by content so that a refusal can name them and say what to do.

Signatures from the formats' public descriptions; for iSyntax, SDPC and VSI from what their open readers look for.
"""

from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError

_CONVERT: Final = "convert it to SVS, DICOM or pyramidal TIFF with the vendor's software"
_SAVE_AS: Final = "save it as 8-bit RGB TIFF or PNG"
_UNPACK: Final = "unpack it and give the slides inside"
_BEGINNINGS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"ZISRAWFILE", "a Zeiss CZI slide", _CONVERT),
    (b"SQLite format 3\0", "an SQLite database that holds no Sakura slide", "give the slide file itself"),
    (b"SQ", "an SDPC (TEKSQRAY) slide", _CONVERT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE container (ZVI, OIB, MDS or an office document)", _CONVERT),
    (b"p\0\0\0", "a Leica LIF file", _CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    (b"%PDF-", "a PDF document", "give the slide file itself"),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"II\xbc\x01", "a JPEG XR image", _SAVE_AS),
    (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 image outside of a slide", _SAVE_AS),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image outside of a slide", _SAVE_AS),
    (b"\xff\x0a", "a JPEG XL image", _SAVE_AS),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image", _SAVE_AS),
    (b"GIF8", "a GIF image", _SAVE_AS),
)
"""First bytes, what the file is, what to do; the first that fits counts."""

_BMP_RESERVED: Final = slice(6, 10)
_TAR_MAGIC: Final = slice(257, 262)
_FTYP: Final = slice(4, 8)
_RIFF_KIND: Final = slice(8, 12)
_VSI_HEADER: Final = slice(8, 12)
_VSI_MAGIC: Final = b"\x18\0IS"
"""The first volume of metadata: a header of 24 bytes, then 'IS'; it stands where TIFF has no fixed content."""

_BY_NAME: Final = {
    ".isyntax": "Philips iSyntax",
    ".kfb": "KFB",
    ".mrxs": "MRXS",
    ".sdpc": "SDPC",
    ".vsi": "Olympus VSI",
    ".zyp": "ZYP",
}
"""Scanner formats by the ending of the name, where the content says nothing."""


def refuse_vsi(path: Path, head: bytes) -> None:
    """Raise SlideOpenError for an Olympus VSI: a TIFF of the label and an overview, whose slide lies elsewhere."""
    if head.startswith(b"II*\0") and head[_VSI_HEADER] == _VSI_MAGIC:
        raise _not_read(path, "an Olympus VSI slide", _CONVERT)


def unknown(path: Path, head: bytes) -> SlideOpenError:
    """Why a file that begins so is not opened, by name where it has one."""
    if b"DPUfsImport" in head and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return _not_read(path, "a Philips iSyntax slide", _CONVERT)
    if looks_like_text(head):
        return SlideOpenError(path, "not a slide: it looks like text", "give the slide file itself")
    if (found := _by_place(head) or _by_beginning(head)) is not None:
        return _not_read(path, *found)
    if (name := _BY_NAME.get(path.suffix.lower())) is not None:
        return SlideOpenError(path, f"named like {name}, but its content is not", _CONVERT)
    return SlideOpenError(path, "not a slide that any reader knows", "convert it to SVS or pyramidal TIFF")


def _not_read(path: Path, what: str, advice: str) -> SlideOpenError:
    return SlideOpenError(path, f"{what}, which is not read here", advice)


def _by_beginning(head: bytes) -> tuple[str, str] | None:
    return next(((what, advice) for start, what, advice in _BEGINNINGS if head.startswith(start)), None)


def _by_place(head: bytes) -> tuple[str, str] | None:
    """What is known by bytes further on."""
    if head.startswith(b"BM") and head[_BMP_RESERVED] == bytes(4):
        return "a BMP image", _SAVE_AS
    if head.startswith(b"RIFF") and head[_RIFF_KIND] == b"WEBP":
        return "a WebP image", _SAVE_AS
    if head[_FTYP] == b"ftyp":
        return "a HEIC or AVIF image or a film", _SAVE_AS
    if head[_TAR_MAGIC] == b"ustar":
        return "a tar archive", _UNPACK
    return None


def looks_like_text(head: bytes) -> bool:
    """Whether a file that begins so was written as text: UTF-8 or Latin-1 without control characters."""
    controls = set(range(32)) - set(b"\t\n\r\f\x1b")
    return not controls & set(head)
