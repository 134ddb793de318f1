"""Files come back as written, appear whole or not at all, and say which schema they are of."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Box
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.formats.atomic import replacing, write_json, write_text
from sarcoscope.formats.diagnoses import count_tiles, read_diagnosis
from sarcoscope.formats.geojson import tile_features
from sarcoscope.formats.hashing import sha256_file, sha256_files
from sarcoscope.formats.images import write_jpeg
from sarcoscope.formats.manifest import read_manifest
from sarcoscope.formats.tiles import read_table, read_tiles, write_tiles

unit = st.floats(0, 1, width=32)
tiles_strategy = st.lists(
    st.builds(
        Tile,
        row=st.integers(0, 500),
        column=st.integers(0, 500),
        box=st.builds(Box, st.integers(-9, 10**9), st.integers(-9, 10**9), st.integers(1, 9999), st.integers(1, 9999)),
        tissue=unit,
        pen=unit,
        fold=unit,
        sharpness=st.none() | st.floats(0, 1e6, width=32),
        unfocused=st.none() | unit,
        dropped=st.none() | st.sampled_from(DropReason),
    ),
    max_size=12,
)


@given(tiles_strategy, st.integers(0, 2**31))
def test_tiles_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, tiles: list[Tile], seed: int) -> None:
    path = tmp_path_factory.mktemp("tiles") / "tiles.parquet"
    kept = sum(tile.kept for tile in tiles)
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), kept).astype(np.float32)
    write_tiles(path, "s", tiles, probabilities, ("a", "b", "c"))
    found, found_probabilities, classes = read_tiles(path)
    assert found == tiles
    assert classes == ("a", "b", "c")
    np.testing.assert_array_equal(found_probabilities, probabilities)


def test_the_tiles_table_reads_well_by_hand(tmp_path: Path) -> None:
    tiles = [
        Tile(row=0, column=0, box=Box(0, 0, 8, 8), tissue=0.0, dropped=DropReason.BLANK),
        Tile(row=0, column=1, box=Box(8, 0, 8, 8), tissue=1.0, sharpness=99.0),
    ]
    write_tiles(tmp_path / "t.parquet", "s", tiles, np.array([[0.25, 0.75]]), ("a", "b"))
    frame = read_table(tmp_path / "t.parquet")
    assert frame["dropped"].to_list() == ["blank", None]
    assert frame["label"].to_list() == [None, "b"]
    assert frame["p_b"].to_list() == [None, 0.75]
    assert frame["left_l0"].to_list() == [0, 8]


def test_another_schema_or_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(ArtifactError, match=r"t\.parquet: not a tiles file of schema 2"):
        read_tiles(path)
    path.write_text("nonsense")
    with pytest.raises(ArtifactError, match="not a readable parquet file"):
        read_tiles(path)


def test_files_get_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "a.txt", "of a patient")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from sarcoscope.formats.atomic import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as t:\n"
        "    t.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.txt")], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "a.txt").exists()


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Box
from sarcoscope.core.tile import Tile
from sarcoscope.formats.tiles import write_tiles
tiles = [Tile(row=row, column=0, box=Box(row, 0, 1, 1), tissue=row / 5000) for row in range(5000)]
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_tiles(Path(sys.argv[1]), "s", tiles, np.random.default_rng(0).dirichlet(np.ones(5), 5000), "ABCDE")
except ArtifactError as error:
    print(error)
"""


def test_tiles_on_a_full_disk_are_our_own_error(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FULL, str(tmp_path / "tiles.parquet")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "tiles.parquet: cannot be written (File too large)" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_our_own_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"a\.json: cannot be written .*; check the disk's space and permissions"):
        write_json(tmp_path / "file" / "a.json", {})


def test_json_without_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_hashes_are_the_standard_ones_and_do_not_depend_on_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "a") == known
    assert sha256_files([tmp_path / "a"]) == known
    assert sha256_files([tmp_path / "a", tmp_path / "b"]) == sha256_files([tmp_path / "b", tmp_path / "a"]) != known


def test_counts_add_up_and_list_every_reason() -> None:
    def tile(dropped: DropReason | None) -> Tile:
        return Tile(row=0, column=0, box=Box(0, 0, 1, 1), tissue=0.5, dropped=dropped)

    found = count_tiles([tile(None), tile(None), tile(DropReason.BLURRED)])
    assert found.model_dump() == {
        "planned": 3,
        "kept": 2,
        "dropped": {str(reason): int(reason is DropReason.BLURRED) for reason in DropReason},
    }


def test_a_damaged_diagnosis_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "diagnosis.json"
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_diagnosis(path)
    path.write_text('{"kind": "sarcoscope.diagnosis", "schema_version": 99}')
    with pytest.raises(ArtifactError, match="not a diagnosis of schema 1 or 2; run diagnose again"):
        read_diagnosis(path)


def test_geojson_as_qupath_reads_it() -> None:
    tiles = [
        Tile(row=0, column=0, box=Box(100, 200, 10, 20), tissue=0.5),
        Tile(row=0, column=1, box=Box(110, 200, 10, 20), tissue=0.0, dropped=DropReason.BLANK),
    ]
    found = tile_features(tiles, np.array([[0.25, 0.75]]), {"a": "#000000", "b": "#ff8000"}, origin_l0=(100, 0))
    json.dumps(found)
    (feature,) = found["features"]
    assert feature["geometry"]["coordinates"] == [[[0, 200], [10, 200], [10, 220], [0, 220], [0, 200]]]
    assert feature["properties"]["objectType"] == "tile"
    assert feature["properties"]["classification"] == {"name": "b", "color": [255, 128, 0]}
    assert feature["properties"]["measurements"] == {"p a": 0.25, "p b": 0.75, "tissue": 0.5}


def test_pictures(tmp_path: Path) -> None:
    rgb = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    write_jpeg(tmp_path / "a.jpg", rgb)
    with Image.open(tmp_path / "a.jpg") as image:
        assert np.abs(np.asarray(image).astype(int) - rgb).max() < 4


def manifest(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.csv"
    path.write_text(text)
    return path


def test_a_manifest_with_relative_paths_and_components(tmp_path: Path) -> None:
    rows = read_manifest(
        manifest(tmp_path, "slide,path,label,components,mpp\na,x.svs,DDLPS,WDLPS; LMS,0.5\n,y.svs,,,\n")
    )
    assert rows[0].path == tmp_path / "x.svs"
    assert rows[0].components == ("WDLPS", "LMS")
    assert rows[0].mpp == 0.5
    assert (rows[1].slide, rows[1].label, rows[1].mpp) == ("y", None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide,label\na,b\n", "no column 'path'"),
        ("path\n", "lists no slides"),
        ("slide,path\na,\n", "row 2: no path"),
        ("path,mpp\na.svs,half\n", "row 2: mpp 'half' is not a number"),
        ("path,mpp\na.svs,0.5\nb.svs,-1\n", "row 3: mpp '-1' is not positive"),
        ("Path , MPP\n\na.svs,-1\n", "row 3: mpp '-1' is not positive"),
    ],
)
def test_a_wrong_manifest_names_the_row(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        read_manifest(manifest(tmp_path, text))
