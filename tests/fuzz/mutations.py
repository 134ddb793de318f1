"""Ways to damage a file, each drawn from a generator, so that a number names an input for ever."""

import struct
from collections.abc import Callable
from typing import Final

import numpy as np

Damage = Callable[[bytes, tuple[int, ...], np.random.Generator], bytes]

_EXTREMES: Final = (0, 1, -1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, -(2**63))


def _at(places: tuple[int, ...], size: int, rng: np.random.Generator) -> int:
    """A place to damage: near where a structure begins, mostly; else anywhere."""
    if places and rng.random() < 0.8:
        return int(min(max(0, int(rng.choice(places)) + int(rng.integers(-4, 68))), max(0, size - 1)))
    return int(rng.integers(0, max(1, size)))


def cut(content: bytes, places: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """Cut short at or near the beginning of a structure."""
    return content[: _at(places, len(content), rng)]


def flip(content: bytes, places: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """1 to 16 bytes changed."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 17))):
        damaged[_at(places, len(damaged), rng)] = int(rng.integers(0, 256))
    return bytes(damaged)


def extreme_number(content: bytes, places: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """1 to 3 numbers changed to 0, negative ones, 2^31, behind the end of the file, NaN, ..."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = _at(places, len(damaged), rng)
        kind = str(rng.choice(["<i", "<q", ">i", ">q", "<h", ">h", "<f", "<d"]))
        if kind[1] in "fd":
            value = struct.pack(kind, float(rng.choice([float("nan"), float("inf"), -1.0, 0.0, 1e30, 1e-30])))
        else:
            width = struct.calcsize(kind)
            number = int(rng.choice([*_EXTREMES[:9], len(content) - 1, len(content), len(content) + 1]))
            number = int(_EXTREMES[int(rng.integers(0, len(_EXTREMES)))]) if rng.random() < 0.5 else number
            value = (number % 256**width).to_bytes(width, "little" if kind[0] == "<" else "big")
        damaged[at : at + len(value)] = value
    return bytes(damaged)


def overlap(content: bytes, places: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """A stretch of the file copied over another, so that structures overlap and repeat."""
    damaged = bytearray(content)
    source, target = _at(places, len(content), rng), _at(places, len(content), rng)
    part = content[source : source + int(rng.integers(1, 200))]
    damaged[target : target + len(part)] = part
    return bytes(damaged)


def insert_or_drop(content: bytes, places: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """Some bytes put in or taken out, so that everything behind them is elsewhere."""
    at, count = _at(places, len(content), rng), int(rng.integers(1, 64))
    if rng.random() < 0.5:
        return content[:at] + content[at + count :]
    return content[:at] + rng.integers(0, 256, count, np.uint8).tobytes() + content[at:]


def other_digits(content: bytes, places: tuple[int, ...], rng: np.random.Generator) -> bytes:
    """Decimal digits changed, in 8 or 16 bits a character: sizes, counts and positions that are written as text."""
    del places
    found = np.flatnonzero(np.isin(np.frombuffer(content, np.uint8), np.arange(ord("0"), ord("9") + 1)))
    damaged = bytearray(content)
    for at in rng.choice(found, min(len(found), int(rng.integers(1, 5))), replace=False) if len(found) else ():
        damaged[int(at)] = int(rng.choice(np.frombuffer(b"0123456789-.xe", np.uint8)))
    return bytes(damaged)


WAYS: Final[tuple[Damage, ...]] = (
    cut,
    flip,
    flip,
    extreme_number,
    extreme_number,
    overlap,
    insert_or_drop,
    other_digits,
)


def damaged(content: bytes, places: tuple[int, ...], number: int) -> bytes:
    """The damaged file of that number: one to three of the ways, one after the other.

    A negative number cuts the file at a place: -1 at the last, and so on.
    """
    if number < 0:
        return content[: places[number]]
    rng = np.random.default_rng(number)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        way = WAYS[int(rng.integers(0, len(WAYS)))]
        content = way(content, places, rng) if content else content
    return content
