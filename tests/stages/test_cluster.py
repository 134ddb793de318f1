"""The same work on a real Dask cluster of worker processes: same files, lost workers replaced, errors told."""

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from sarcoscope.core.errors import InputError
from sarcoscope.stages.tile import Silence, TileConfig, TileSummary, tile
from tests.slides_made import write_drawn
from tests.stages.test_tile import contents, cut
from tests.stages.tile_cohorts import CUT, drawn_cohort, write_manifest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports, not of what we do
    from distributed import LocalCluster

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as running:
        yield running


def on_cluster(manifest: Path, out: Path, address: str, listener: Silence | None = None) -> TileSummary:
    return tile(manifest, TileConfig(out=out, cut=CUT, images="png", cluster=address), listener)


def test_a_cluster_writes_the_same_files(tmp_path: Path, cluster: Any) -> None:
    manifest = drawn_cohort(tmp_path)
    summary = on_cluster(manifest, tmp_path / "far", cluster.scheduler_address)
    assert summary.exit_code == 0
    cut(manifest, tmp_path / "near", images="png")
    assert contents(tmp_path / "far") == contents(tmp_path / "near")
    assert all(
        one.skipped for one in on_cluster(manifest, tmp_path / "far", cluster.scheduler_address).indexed.values()
    )


def test_workers_in_another_folder_find_slides_and_run_all_the_same(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_cohort(tmp_path)
    monkeypatch.chdir(tmp_path)  # the workers stay where they were started
    assert on_cluster(Path("manifest.csv"), Path("run"), cluster.scheduler_address).exit_code == 0
    assert len(list((tmp_path / "run" / "tiles").glob("*.parquet"))) == 3


def test_a_slide_that_fails_there_is_named_here(tmp_path: Path, cluster: Any) -> None:
    write_drawn(tmp_path / "d.svs", ["DDDD", "DDDD"])
    write_drawn(tmp_path / "g.svs", ["....", "...."])
    rows = [{"slide": name, "path": f"{name}.svs", "label": "DDLPS"} for name in "dg"]
    summary = on_cluster(write_manifest(tmp_path, rows), tmp_path / "run", cluster.scheduler_address)
    assert summary.exit_code == 1
    assert set(summary.indexed) == {"d"}
    assert "no tissue found" in summary.failures["g"]


def test_a_lost_worker_loses_no_slide(tmp_path: Path, cluster: Any) -> None:
    manifest = drawn_cohort(tmp_path, 3)

    class Saboteur(Silence):
        killed: int | None = None

        @override
        def slide_over(self, done: int = 1) -> None:
            if self.killed is None:
                self.killed = next(iter(cluster.workers.values())).pid
                os.kill(self.killed, signal.SIGKILL)

    saboteur = Saboteur()
    assert on_cluster(manifest, tmp_path / "run", cluster.scheduler_address, saboteur).exit_code == 0
    assert saboteur.killed is not None
    cut(manifest, tmp_path / "whole", images="png")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_where_no_scheduler_answers_it_says_so(tmp_path: Path) -> None:
    manifest = drawn_cohort(tmp_path)
    with pytest.raises(InputError, match="no scheduler answers at nonsense://x"):
        on_cluster(manifest, tmp_path / "run", "nonsense://x")
