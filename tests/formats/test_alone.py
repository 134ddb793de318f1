from pathlib import Path

import pytest

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.alone import alone, alone_at_once

BUSY = InputError("busy", "wait")


def test_at_once_it_refuses_what_another_holds_under_any_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with alone(tmp_path / "real"):
        for name in ("real", "link"):
            with pytest.raises(InputError, match="busy; wait"), alone_at_once(tmp_path / name, BUSY):
                pass
        with alone_at_once(tmp_path / "other", BUSY):
            pass
    with alone_at_once(tmp_path / "link", BUSY):
        pass
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".other.lock", ".real.lock"]


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"), alone_at_once(tmp_path / "file" / "run", BUSY):
        pass
