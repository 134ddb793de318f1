"""From a manifest or a run folder to a split that is written, counted and kept."""

import json
from pathlib import Path

import pytest

from sarcoscope.core.errors import ArtifactError, InputError
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.split import read_repetitions, read_split
from sarcoscope.stages.cohort_split import SplitAsk, split_run
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.tile_sets import tile_table
from tests.cohorts_made import write_tiles


def manifest(folder: Path, rows: int = 12, batches: int = 2) -> Path:
    lines = [
        f"{label}{row},{label}{row // 2},{label}{row}.svs,{label},b{row % batches + 1}"
        for label in ("LMS", "UPS")
        for row in range(rows)
    ]
    path = folder / "manifest.csv"
    path.write_text("slide,patient,path,label,batch\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    folder = write_tiles(tmp_path / "tiles", per_class=12)
    config = TilesConfig(folder=folder, out=tmp_path / "run", mpp=Mpp(0.5), slide_regex=r"^(s[AB]\d)_", nuclei=False)
    cohort_from_tiles(config)
    return tmp_path / "run"


def test_a_manifest_becomes_a_run_folder(tmp_path: Path) -> None:
    path = manifest(tmp_path, batches=1)
    result = split_run(SplitAsk(source=path, out=tmp_path / "run"))
    assert result.exit_code == 0
    assert result.leakage is None
    assert result.notes == ("test set 1 is 30% of each class's patients (--test1 says otherwise)",)
    # six patients of two slides a class: 1.8, so two, are test set 1; of four, 2, 1 and 1
    cells = {"test1": {"slides": 4, "patients": 2}, "train": {"slides": 4, "patients": 2}}
    cells |= {part: {"slides": 2, "patients": 1} for part in ("validation", "test")}
    assert result.counts == {"part": {"LMS": cells, "UPS": cells}}
    record = json.loads((tmp_path / "run" / "split.json").read_text())
    assert record["manifest_sha256"] == sha256_file(path)
    assert record["sha256"] == sha256_file(tmp_path / "run" / "split.csv")
    assert record["counts"] == result.counts
    assert record["config"]["test1"] == 0.3


def test_two_batches_make_the_second_test_set_2_unless_told_otherwise(tmp_path: Path) -> None:
    path = manifest(tmp_path)  # every patient has a slide in each batch
    with pytest.raises(InputError, match="nothing is left to train on"):
        split_run(SplitAsk(source=path, out=tmp_path / "run"))
    assert not (tmp_path / "run" / "split.csv").exists()
    result = split_run(SplitAsk(source=path, out=tmp_path / "run", test2=(), test1=0.0))
    assert set(result.counts["part"]["LMS"]) == {"train", "validation", "test"}
    (tmp_path / "manifest.csv").write_text(path.read_text().replace(",LMS0,", ",,").replace(",LMS", ",x"))
    many = split_run(SplitAsk(source=manifest(tmp_path, batches=3), out=tmp_path / "many"))
    assert "no test set 2: there are 3 batches (name them with --test2)" in many.notes


def test_the_second_of_two_batches(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    lines = [f"s{row},s{row}.svs,LMS,batch{10 if row < 3 else 9}" for row in range(12)]
    path.write_text("slide,path,label,batch\n" + "\n".join(lines))
    result = split_run(SplitAsk(source=path, out=tmp_path / "run"))
    assert result.notes[0] == "test set 2 is batch batch10, the second of two (--test2 names another, or none)"
    assert result.counts["part"]["LMS"]["test2"] == {"slides": 3, "patients": 3}
    assert "no patient ids: each slide counts as a patient" in result.notes


def test_a_split_that_was_edited_is_not_lost(tmp_path: Path) -> None:
    ask = SplitAsk(source=manifest(tmp_path, batches=1), out=tmp_path / "run")
    split_run(ask)
    split_run(ask)  # the same again
    path = tmp_path / "run" / "split.csv"
    edited = path.read_text().replace("LMS0,LMS0,LMS,b1,", "LMS0,LMS0,LMS,b1,test # mine")
    path.write_text(edited)
    with pytest.raises(ArtifactError, match="is another split; replace it with --force"):
        split_run(ask)
    assert path.read_text() == edited
    split_run(SplitAsk(source=ask.source, out=ask.out, force=True))
    assert read_split(tmp_path / "run").seed == 0


def test_a_manifest_with_problems_is_not_split(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    path.write_text(path.read_text() + "LMS0,x,x.svs,LMS,b1\nq,q,q.svs,,b1\n")
    with pytest.raises(ArtifactError, match=r"row 26: the slide of row 2 is called 'LMS0' too \(and 1 more\)"):
        split_run(SplitAsk(source=path, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    path.write_text("slide,path,label,patient\na,a,X,P\nb,b,Y,P\n")
    with pytest.raises(ArtifactError, match="patient 'P' is 'X' here"):
        split_run(SplitAsk(source=path, out=tmp_path / "run"))
    split_run(SplitAsk(source=path, out=tmp_path / "run", mixed_patients=True, test1=0.0))


def test_a_run_folder_is_split_in_place(tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a run folder is split in place; drop --out"):
        split_run(SplitAsk(source=tiles, out=tmp_path / "other"))
    with pytest.raises(InputError, match="no run folder to write to; give --out RUN"):
        split_run(SplitAsk(source=manifest(tmp_path)))
    with pytest.raises(ArtifactError, match="holds a cohort of other slides"):
        split_run(SplitAsk(source=manifest(tmp_path, batches=1), out=tiles))


def test_ready_made_tiles_have_no_test_set_1_and_are_searched_for_leaks(tiles: Path) -> None:
    result = split_run(SplitAsk(source=tiles))
    assert result.notes == ("no patient ids: slides of one patient may part",)
    assert {part for cells in result.counts["part"].values() for part in cells} == {"train", "validation", "test"}
    assert result.counts["part"]["A"]["train"] == {"slides": 4, "patients": 4, "tiles": 8}
    assert result.leakage is not None
    assert (result.leakage.leaks, result.leakage.tiles, result.exit_code) == ((), 24, 0)
    assert tile_table(tiles)["part"].null_count() == 0


def test_pooled_classes_are_marked_everywhere(tiles: Path) -> None:
    result = split_run(SplitAsk(source=tiles, pooled=("B",)))
    assert any("B is pooled" in warning and "optimistic" in warning for warning in result.warnings)
    assert result.counts["part"]["B"]["pooled"]["slides"] == 6
    assert sum(cell.get("tiles", 0) for cell in result.counts["part"]["B"].values()) == 12
    table = tile_table(tiles)
    assert set(table.filter("pooled")["label"]) == {"B"}
    assert result.leakage is not None
    assert result.leakage.pooled_tiles == 12
    assert json.loads((tiles / "split.json").read_text())["config"]["pooled"] == ["B"]


def test_folds_and_batches_left_out_are_a_column_each(tmp_path: Path) -> None:
    path = manifest(tmp_path, batches=1)
    split_run(SplitAsk(source=path, out=tmp_path / "folds", folds=3))
    found = read_repetitions(tmp_path / "folds")
    assert list(found) == ["fold1", "fold2", "fold3"]
    assert all(set(map(str, parts.values())) == {"train", "validation", "test"} for parts in found.values())
    lines = [f"s{row},s{row}.svs,LMS,b{row % 3}" for row in range(12)]
    path.write_text("slide,path,label,batch\n" + "\n".join(lines))
    result = split_run(SplitAsk(source=path, out=tmp_path / "centres", leave_out_batch=True))
    assert list(read_repetitions(tmp_path / "centres")) == ["without-b0", "without-b1", "without-b2"]
    assert list(result.counts) == ["without-b0", "without-b1", "without-b2"]


def test_classes_without_validation_or_test_are_told(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    rows = [("LMS", 9), ("UPS", 2), ("WDLPS", 1)]
    lines = [f"{label}{row},{label}{row}.svs,{label}" for label, count in rows for row in range(count)]
    path.write_text("slide,path,label\n" + "\n".join(lines))
    result = split_run(SplitAsk(source=path, out=tmp_path / "run"))
    assert result.warnings == ("UPS has no slide to test on", "WDLPS has no slide to validate or test on")


def test_a_run_folder_of_slides_is_checked_when_it_is_split_in_place(tmp_path: Path) -> None:
    run = tmp_path / "run"
    split_run(SplitAsk(source=manifest(tmp_path, batches=1), out=run))
    cohort = run / "cohort.csv"
    cohort.write_text(cohort.read_text().replace("UPS3,UPS1,", "UPS3,LMS1,"))
    with pytest.raises(ArtifactError, match="patient 'LMS1' is 'LMS' here and 'UPS'"):
        split_run(SplitAsk(source=run, force=True))
    assert split_run(SplitAsk(source=run, force=True, mixed_patients=True)).exit_code == 0


def test_the_run_folders_own_list_is_no_manifest_for_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    split_run(SplitAsk(source=manifest(tmp_path, batches=1), out=run))
    with pytest.raises(InputError, match="is the run folder's own; give the folder"):
        split_run(SplitAsk(source=run / "cohort.csv", out=run))


def test_how_pooled_tiles_were_dealt_is_not_guessed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    split_run(SplitAsk(source=manifest(tmp_path, batches=1), out=run, pooled=("UPS",), seed=7))
    assert read_split(run).seed == 7
    (run / "split.json").unlink()
    with pytest.raises(ArtifactError, match=r"split\.json: is absent, and how the pooled slides' tiles were dealt out"):
        read_split(run)


def test_a_split_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run" / "split.csv").mkdir(parents=True)
    with pytest.raises(ArtifactError, match=r"split\.csv: cannot be read"):
        split_run(SplitAsk(source=manifest(tmp_path, batches=1), out=tmp_path / "run"))
