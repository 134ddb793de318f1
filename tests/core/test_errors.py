"""Errors carry their subject, in one line, also out of a worker process."""

import pickle
from pathlib import Path

import pytest

from sarcoscope.core import errors


def all_errors() -> list[type[errors.SarcoscopeError]]:
    found: list[type[errors.SarcoscopeError]] = []
    waiting = [errors.SarcoscopeError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_comes_back_from_a_pickle(kind: type[errors.SarcoscopeError]) -> None:
    if issubclass(kind, errors._PathError):
        error: errors.SarcoscopeError = kind(Path("a b/x.svs"), "two\nlines", "do this")
        assert str(error) == "a b/x.svs: two lines; do this"
    else:
        error = kind("it is wrong", "do this")
        assert str(error) == "it is wrong; do this"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert str(again) == str(error)
