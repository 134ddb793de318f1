"""A JPEG tile among others that share tables: its own tables stand in slots that the shared ones leave free.

libtiff reads the tables of a page once and keeps them from tile to tile; a complete stream among abbreviated ones
would overwrite them, and every tile behind it would be decoded with the wrong ones. Slots 2 and 3 are there for
both kinds of table in extended sequential JPEG (SOF1, ITU T.81 table B.2), which every baseline decoder built on
libjpeg reads.
"""

from typing import Final

_DQT, _DHT, _SOF0, _SOF1, _SCAN = 0xDB, 0xC4, 0xC0, 0xC1, 0xDA
_COMMENT: Final = 0xFE
_END: Final = b"\xff\xd9"
_APPLICATION: Final = range(0xE0, 0xF0)
_NEEDED: Final = (b"JFIF\0", b"Adobe", b"ICC_PROFILE\0")
_SHIFT: Final = 2
"""From slots 0 and 1, which encoders use, to 2 and 3."""


def leaves_slots_free(tables: bytes) -> bool:
    """Whether a stream of tables uses slots 0 and 1 only. IndexError for one that is cut short."""
    slots = [slot & 15 for _, marker, body in _parts(tables) for slot in _table_slots(marker, body)]
    return all(slot < _SHIFT for slot in slots)


def moved(jpeg: bytes) -> bytes:
    """A complete stream as an encoder here writes it, with its tables in slots 2 and 3."""
    out = [b"\xff\xd8"]
    for _, marker, body in _parts(jpeg):
        changed = bytearray(body)
        for place in _slot_places(marker, body):
            both = marker == _SCAN  # one byte, two selectors
            changed[place] += (_SHIFT << 4 | _SHIFT) if both else _SHIFT
        kind = _SOF1 if marker == _SOF0 else marker
        out.append(bytes((0xFF, kind)) + (len(body) + 2).to_bytes(2, "big") + bytes(changed))
    return b"".join([*out, jpeg[len(head(jpeg)) :]])


def head(jpeg: bytes) -> bytes:
    """All bytes of a stream before its entropy-coded ones."""
    at, _, body = _parts(jpeg)[-1]
    return jpeg[: at + 4 + len(body)]


def without_words(payload: bytes) -> bytes:
    """The stream without segments that say something beside the picture: comments, EXIF, XMP and makers' own.

    What a decoder needs stays: JFIF, Adobe's colour transform, an ICC profile. The same bytes where there is nothing
    to drop.
    """
    dropped = [
        (at, at + 4 + len(body))
        for at, marker, body in _parts(payload)
        if marker == _COMMENT or (marker in _APPLICATION and not body.startswith(_NEEDED))
    ]
    for start, end in reversed(dropped):
        payload = payload[:start] + payload[end:]
    return payload


def without_rest(payload: bytes, start: int) -> bytes:
    """The stream up to its end marker, which is looked for from `start`: where the entropy-coded bytes begin.

    The same bytes where nothing but filling stands behind it: no decoder reads on, people may.
    """
    end = payload.find(_END, start) + len(_END)  # entropy-coded bytes cannot hold the marker
    return payload[:end] if end > start and payload[end:].strip(b"\0\xff") else payload


def _parts(jpeg: bytes) -> list[tuple[int, int, bytes]]:
    """Place, marker and body of each segment up to the scan, which is the last; a stream of tables has none."""
    parts = []
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        parts.append((at, marker, jpeg[at + 4 : at + 2 + length]))
        at += max(length, 2) + 2
        if marker == _SCAN:
            break
    return parts


def _slot_places(marker: int, body: bytes) -> list[int]:
    """Where in a segment's body the numbers of table slots stand."""
    if marker == _DQT:
        places, at = [], 0
        while at < len(body):
            places.append(at)
            at += 1 + (128 if body[at] >> 4 else 64)
        return places
    if marker == _DHT:
        places, at = [], 0
        while at < len(body):
            places.append(at)
            at += 17 + sum(body[at + 1 : at + 17])
        return places
    if marker in {_SOF0, _SOF1}:
        return [8 + 3 * i for i in range(body[5])]
    if marker == _SCAN:
        return [2 + 2 * i for i in range(body[0])]
    return []


def _table_slots(marker: int, body: bytes) -> list[int]:
    return [body[place] for place in _slot_places(marker, body)] if marker in {_DQT, _DHT} else []
