"""ImageDescription: what is known to be harmless stays, everything else goes. Pure rules over text."""

import re
from typing import Final

from sarcoscope.slides.identity.model import Finding, Kind

APERIO: Final = "Aperio"
"""What a description begins with by which OpenSlide and tifffile know an Aperio slide (tifffile: with a blank)."""

_NUMBER: Final = re.compile(r"[-+]?\d{1,9}(\.\d{1,12})?([eE][-+]?\d{1,3})?")
_HARMLESS_KEYS: Final = frozenset(
    {
        "AppMag",
        "DisplayColor",
        "Exposure Scale",
        "Exposure Time",
        "Filtered",
        "Focus Offset",
        "Gamma",
        "Left",
        "MPP",
        "OffsetZ",
        "OriginalHeight",
        "OriginalWidth",
        "Originalheight",
        "StripeWidth",
        "Top",
        "TotalDepth",
    }
)
"""Scale, power, geometry on the glass and colour; each stays only if its value is a number."""

_VERSION: Final = r"v[A-Z]{0,3}\d{1,3}(\.\d{1,4}){0,3}( \d{1,3})?"
_HARMLESS_WORDS: Final = re.compile(
    rf"Aperio|Aperio Image Library( {_VERSION})?"
    rf"|Aperio Leica Biosystems [A-Z]{{2,4}}\d{{2,4}}( [A-Z]{{2,3}})?( {_VERSION})?"
    r"|Aperio layout written by sarcoscope, not by a scanner"
    r"|synthetic phantom drawn by sarcoscope, of no clinical meaning|self-test"
    r"|\d+x\d+( \[\d+,\d+[ ,]\d+x\d+\]| -> \d+x\d+| \(\d+x\d+\)| -| [A-Z0-9]{3,8}/[A-Z0-9]{2,6}| Q=\d{1,3})*"
    r"|thumbnail \d+x\d+"
)
"""Pieces in front of the first bar: software, sizes, compression."""

_SHAPES: Final = re.compile(r'\{"shape": \[\d+(, \d+){0,5}\]\}')
"""What tifffile writes where nothing else is asked for."""

_KINDS: Final[tuple[tuple[str, Kind], ...]] = (
    ("barcode", "barcode"),
    ("scanscope", "serial number"),
    ("serial", "serial number"),
    ("s/n", "serial number"),
    ("filename", "file name"),
    ("file name", "file name"),
    ("created", "date or time"),
    ("date", "date or time"),
    ("time", "date or time"),
    ("user", "person"),
    ("operator", "person"),
    ("patient", "person"),
    ("title", "free text"),
    ("description", "free text"),
    ("comment", "free text"),
    ("parmset", "free text"),
)


def kind_of(name: str) -> Kind:
    """What a field of this name holds, as far as its name tells."""
    found: Kind = next((kind for word, kind in _KINDS if word in name.lower()), "other field")
    return "identifier" if found == "other field" and name.endswith("ID") else found


def clean_description(text: str) -> tuple[str, list[Finding]]:
    """The description without what is not known to be harmless, and what that was.

    An Aperio description stays one (first line, sizes, 'KEY = VALUE' behind bars) and never grows; of any other
    nothing stays but tifffile's statement of a shape.
    """
    if not text.startswith(APERIO):
        if not text or _SHAPES.fullmatch(text):
            return text, []
        return "", [Finding("free text", "ImageDescription", text)]
    head, *pairs = text.split("|")
    kept_head, findings = _clean_head(head)
    kept = [kept_head]
    for pair in pairs:
        key, _, value = (part.strip() for part in pair.partition("="))
        if key in _HARMLESS_KEYS and _NUMBER.fullmatch(value):
            kept.append(pair)
        elif pair.strip():
            findings.append(_finding(key, value, pair))
    return ("|".join(kept), findings) if findings else (text, [])


def _clean_head(head: str) -> tuple[str, list[Finding]]:
    """The part in front of the first bar; pieces lie between line ends and semicolons."""
    parts = re.split(r"([\r\n;]+)", head)
    findings: list[Finding] = []
    kept = ""
    for piece, before in zip(parts[::2], ["", *parts[1::2]], strict=True):
        if not piece.strip() or _HARMLESS_WORDS.fullmatch(piece.strip()):
            kept += before + piece
            continue
        findings.append(Finding("free text", "ImageDescription: first lines", piece.strip()))
        kept += before[:1] if before else f"{APERIO} " if piece.startswith(f"{APERIO} ") else APERIO
    return kept, findings


def property_findings(text: str, where: str) -> list[Finding]:
    """A map of 'key=value' lines or pieces: what looks identifying one by one, the rest as one."""
    pairs = [[part.strip() for part in piece.split("=", 1)] for piece in re.split(r"[\r\n;]+", text) if "=" in piece]
    telling = [(key, value) for key, value in pairs if value and kind_of(key) != "other field"]
    found = [Finding(kind_of(key), f"{where}: {key}", value) for key, value in telling]
    return [*found, Finding("other field", where, f"{len(pairs) - len(telling)} more properties")]


def _finding(key: str, value: str, pair: str) -> Finding:
    if not value:
        return Finding("free text", "ImageDescription", pair.strip())
    return Finding(kind_of(key), f"ImageDescription: {key}", value)
