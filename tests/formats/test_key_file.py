import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.formats.key_file import KeyFile


def _draws(*names: str) -> Iterator[str]:
    yield from names


def test_a_name_keeps_its_pseudonym_and_others_get_others(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    first = KeyFile(path).pseudonym("S2024-17.svs")
    assert re.fullmatch("slide-[0-9a-f]{12}", first)
    assert KeyFile(path).pseudonym("S2024-18.svs") != first
    assert KeyFile(path).pseudonym("S2024-17.svs") == first


def test_the_file_is_a_table_that_opens_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "keys.csv"
    key = KeyFile(path, draw=_draws("one", "two").__next__)
    key.pseudonym("a.svs")
    key.pseudonym('with, comma and "quotes"\nand line.svs')
    assert path.read_bytes() == b'source,pseudonym\r\na.svs,one\r\n"with, comma and ""quotes""\nand line.svs",two\r\n'


@pytest.mark.skipif(sys.platform == "win32", reason="file names are text there")
def test_a_name_that_is_no_utf_8_comes_back(tmp_path: Path) -> None:
    path, name = tmp_path / "keys.csv", os.fsdecode(b"M\xfcller.svs")
    given_out = KeyFile(path).pseudonym(name)
    assert KeyFile(path).pseudonym(name) == given_out
    assert b"M\xfcller.svs," in path.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_behind_a_link_the_names_stay_where_they_are_kept(tmp_path: Path) -> None:
    kept, link = tmp_path / "safe" / "keys.csv", tmp_path / "keys.csv"
    kept.parent.mkdir()
    link.symlink_to(kept)
    KeyFile(link).pseudonym("a.svs")
    assert link.is_symlink()
    assert b"a.svs" in kept.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.csv", "safe"]


def test_a_pseudonym_is_never_given_twice(tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "keys.csv", draw=_draws("one", "one", "one", "two").__next__)
    assert [key.pseudonym("a"), key.pseudonym("b")] == ["one", "two"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps permissions elsewhere")
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    KeyFile(path).pseudonym("a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, max_size=8))
def test_any_names_come_back(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.csv"
        given_out = {name: KeyFile(path).pseudonym(name) for name in names}
        assert {name: KeyFile(path).pseudonym(name) for name in names} == given_out
        assert len(set(given_out.values())) == len(names)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"name,pseudonym\r\n",
        b"source,pseudonym\r\na\r\n",
        b"source,pseudonym\r\na,\r\n",
        b"source,pseudonym\r\na,../b\r\n",
        b"source,pseudonym\r\na,one\r\na,two\r\n",
        b"source,pseudonym\r\na,one\r\nb,one\r\n",
        b'source,pseudonym\r\n"a,one\r\n',
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.csv"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"keys\.csv.*restore it from a backup"):
        KeyFile(path).pseudonym("a")
    assert path.read_bytes() == content


def test_it_must_lie_apart_from_what_is_given_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    KeyFile(tmp_path / "keys.csv").check_apart(out)
    KeyFile(tmp_path / "out-keys" / "keys.csv").check_apart(out)
    for inside in (out / "keys.csv", out / "deeper" / "keys.csv", tmp_path / "x" / ".." / "out" / "keys.csv"):
        with pytest.raises(InputError, match="keep it apart"):
            KeyFile(inside).check_apart(out)


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"keys\.csv"):
        KeyFile(tmp_path / "file" / "keys.csv").pseudonym("a")


def test_processes_at_once_lose_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    code = (
        "import sys; from pathlib import Path; from sarcoscope.formats.key_file import KeyFile\n"
        "key = KeyFile(Path(sys.argv[1]))\n"
        "for number in range(20): print(key.pseudonym(f'{sys.argv[2]}-{number}'), key.pseudonym(f'shared-{number}'))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(path), who], stdout=subprocess.PIPE, text=True)
        for who in ("a", "b", "c")
    ]
    told = [run.communicate()[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    shared = [[line.split()[1] for line in lines] for lines in told]
    assert shared[0] == shared[1] == shared[2]
    kept = KeyFile(path)
    for who, lines in zip("abc", told, strict=True):
        assert [kept.pseudonym(f"{who}-{number}") for number in range(20)] == [line.split()[0] for line in lines]
