"""Scales at which nuclei cannot be told apart."""

from dataclasses import replace
from pathlib import Path

import pytest

from sarcoscope.core.cutting import CutConfig
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.tile_index import read_index
from sarcoscope.stages.tile import TileConfig, tile
from tests.stages.tile_cohorts import CUT, nuclei_slide, write_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    nuclei_slide(tmp_path / "s.svs", [[20, 40], [60, 20]], cell=1024)
    return write_manifest(tmp_path, [{"slide": "s", "path": "s.svs", "label": "DDLPS"}])


def cut(manifest: Path, config: CutConfig) -> tuple[int, Path]:
    out = manifest.parent / "run"
    return tile(manifest, TileConfig(out=out, cut=config, workers=1)).exit_code, out / "tiles" / "s.parquet"


def test_a_grid_too_coarse_for_nuclei_is_cut_without_their_density(manifest: Path) -> None:
    code, index = cut(manifest, replace(CUT, mpp=(Mpp(0.5), Mpp(2.0)), tile_px=128))
    assert code == 0
    tiles = read_index(index)
    coarse, fine = tiles.filter(tiles["mpp"] == 2.0), tiles.filter(tiles["mpp"] == 0.5)
    assert coarse.height == 4
    assert coarse["nuclei"].null_count() == 4
    assert fine["nuclei"].null_count() == fine["dropped"].count()
