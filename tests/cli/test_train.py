"""`sarcoscope train` on the command line and on the terminal."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from sarcoscope.cli import train_show
from sarcoscope.cli.console import err
from sarcoscope.cli.train_run import train_config
from sarcoscope.core.errors import InputError
from sarcoscope.core.training import LengthConfig, NetworkConfig, OptimiserConfig, TrainConfig
from sarcoscope.formats.config import config_text, read_config
from sarcoscope.formats.history import Epoch, Timing, read_history
from sarcoscope.formats.member import MemberRecord
from sarcoscope.metrics.classification import Scores
from sarcoscope.stages.train import TrainSummary
from tests.cli.test_commands import one_line_error, run
from tests.stages.test_train import started, tiny, wait_until
from tests.stages.test_train_tiles import ready_run

NOTHING: dict[str, Any] = {}
LONG = "tf_efficientnet_b7-0.5um-without-centre-2-seed3"
SHORT = LengthConfig(epochs=2, epoch_tiles=16, batch=8)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FOLDER/run, in which nothing is trained yet."""
    folder = tmp_path_factory.mktemp("cli")
    ready_run(folder, {"A": 4, "B": 4})
    return folder


@pytest.fixture(scope="module")
def done(tiles: Path) -> MemberRecord:
    """A member of that run, trained."""
    return train_show.run_train(tiny(tiles / "run", name="done", length=SHORT), force=False).members["done"]


def test_the_config_that_is_printed_is_read_back(tmp_path: Path) -> None:
    words = ("--mpp", "20x", "--mpp", 1, "--seed", 3, "--seed", 4, "--fold", "fold2", "--epochs", 7)
    printed = run("train", "--print-config", *words)
    assert printed.returncode == 0, printed.stderr
    assert f"# Of the head, at its largest.\n  learning_rate: {OptimiserConfig().learning_rate}\n" in printed.stdout
    found = yaml.safe_load(printed.stdout)
    assert (found["mpp"], found["seeds"], found["folds"], found["length"]["epochs"]) == (
        [0.5, 1.0],
        [3, 4],
        ["fold2"],
        7,
    )
    (tmp_path / "t.yaml").write_text(printed.stdout)
    again = run("train", tmp_path / "t.yaml", "--print-config", "--json")
    assert json.loads(again.stdout) == {"config": printed.stdout.removesuffix("\n")}
    assert read_config(tmp_path / "t.yaml", TrainConfig) == TrainConfig(
        mpp=(0.5, 1.0), seeds=(3, 4), folds=("fold2",), length=LengthConfig(epochs=7)
    )


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "name: from-file\nworkers: 3\nnetwork: {name: resnet18, dropout: 0.4}\nlength: {epochs: 9, batch: 4}\n"
    )
    given = {"name": "given", "mpp": ["40x"], "seeds": [], "run": Path("r"), "workers": 0, "device": None}
    found = train_config(
        file, given, {"network": {"name": None, "weights": "none"}, "length": {"epochs": 2, "batch": None}}
    )
    assert (found.name, found.mpp, found.seeds, found.run, found.workers) == ("given", (0.25,), (0,), "r", 0)
    assert found.device == "auto"
    assert found.network == NetworkConfig(name="resnet18", weights="none", dropout=0.4)
    assert found.length == LengthConfig(epochs=2, batch=4)
    assert train_config(None, NOTHING, NOTHING) == TrainConfig()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no.yaml"], "no.yaml: there is no such file"),
        (["typo.yaml"], "typo.yaml: unknown key optimiser.learning_rat; did you mean learning_rate?"),
        (["share.yaml"], "share.yaml: network.dropout 1.0; give a share from 0 to below 1"),
        (["kind.yaml"], "kind.yaml: length.epochs: input should be a valid integer"),
        (["--mpp", "fast"], "scale 'fast'"),
        (["--epochs", 0], "a length of training below 1; give whole numbers from 1"),
        (["--seed", 1, "--seed", 1], "seeds [1, 1]; give each once"),
    ],
)
def test_wrong_values_are_one_line_and_exit_code_2(tmp_path: Path, words: list[object], told: str) -> None:
    (tmp_path / "typo.yaml").write_text("optimiser: {learning_rat: 0.1}\n")
    (tmp_path / "share.yaml").write_text("network: {dropout: 1.0}\n")
    (tmp_path / "kind.yaml").write_text("length: {epochs: many}\n")
    done = run("train", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert told in one_line_error(done)


def test_an_error_is_one_object_where_asked(tiles: Path) -> None:
    done = run("train", "--run", tiles / "run", "--network", "resnet1", "--weights", "none", "--json", "--cpu")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["kind"] == "InputError"
    assert told["error"].startswith("unknown network 'resnet1'; near it are")
    assert one_line_error(done) == f"error: {told['error']}"
    assert not (tiles / "run" / "members" / "resnet1" / "member.json").exists()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"workers": -1}, "workers -1; give 0 or more"),
        ({"folds": ("fold9",)}, "no repetition 'fold9' in the split; there are: part"),
        ({"name": "a b"}, "name 'a b' of a member; give letters"),
        ({"network": NetworkConfig(name="compact")}, "there are no pretrained weights of compact; give --weights FILE"),
    ],
)
def test_what_cannot_be_trained_is_told_before(tiles: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        train_show.run_train(tiny(tiles / "run", **values), force=False)


def test_help_and_config_need_no_torch() -> None:
    for words in (["--help"], ["--print-config"]):
        command = [sys.executable, "-X", "importtime", "-m", "sarcoscope", "train", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
        assert "sarcoscope.cli.train" in loaded
        assert not loaded & {"torch", "accelerate", "timm", "polars", "matplotlib"}


def test_show_batch_writes_a_picture_and_trains_nothing(tiles: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    done = run("train", "--run", tiles / "run", "--network", "compact", "--show-batch", sheet, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"picture": str(sheet)}
    with Image.open(sheet) as picture:
        assert picture.width == 2 * 40 + 224 + 240  # a column a class
    assert not (tiles / "run" / "members" / "compact").exists()


def test_a_training_fits_eighty_columns_and_is_one_object_where_asked(
    tiles: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiles)
    monkeypatch.setattr(err, "width", 80)
    config = tiny(Path("run"), name=LONG, length=SHORT, metric="tile_log_loss", seeds=(3,))
    summary = train_show.run_train(config, force=False)
    train_show.show(summary, config, as_json=False)
    captured = capsys.readouterr()
    said = captured.err.splitlines() + captured.out.splitlines()
    assert [line for line in said if len(line) > 80 and not line.startswith(f"{LONG}: trained")] == []
    assert any(re.fullmatch(r" *A +4 +2 +2 +6 +50\.0 % *", line) for line in said)
    assert any(re.fullmatch(r" *all +8 +4 +4 *", line) for line in said)

    member, (history, best) = summary.members[LONG], read_history(Path("run/members") / LONG / "history.csv")
    at = next(number for number, line in enumerate(said) if line.startswith("epoch "))
    titles = ["epoch", "loss", "open", "tiles right", "slides right", "log loss", "tiles/s", "waiting"]
    assert re.split(r" {2,}", said[at].strip()) == titles
    ends = [said[at].index(title) + len(title) for title in titles]
    for epoch, line in zip(history, said[at + 1 : at + 3], strict=True):
        assert epoch.validation is not None
        cells = [line[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)]
        right = [f"{100 * (value or 0):.1f} %" for value in
                 (epoch.validation.tile_balanced_accuracy, epoch.validation.slide_balanced_accuracy)]  # fmt: skip
        loss = f"{epoch.validation.tile_log_loss:.3f}"
        assert cells[:6] == [str(epoch.number), f"{epoch.loss:.3f}", str(epoch.open_stages), *right, loss]
        assert re.fullmatch(r"\d+ %", cells[7])
    assert said[at + best].endswith("% best")
    assert f"{LONG}: trained to its end; epoch {best} of 2 is kept; ONNX agrees within" in captured.err

    place = captured.out.splitlines().index(f"{LONG}: epoch {best} of 2")
    found = member.metrics["test"]  # type: ignore[index]  # a Part is its word
    cells = captured.out.splitlines()[place + 2].split()
    assert cells[:2] == ["test", "4"]
    assert cells[2:4] == [f"{100 * (found['tile_accuracy'] or 0):.1f}", "%"]

    train_show.show(summary, config, as_json=True)
    value = json.loads(capsys.readouterr().out)
    assert (value["run"], value["failed"], value["exit_code"]) == ("run", {}, 0)
    assert value["members"] == {LONG: json.loads((Path("run/members") / LONG / "member.json").read_text())}


def test_done_already_is_said_and_one_object_too(done: MemberRecord, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(config_text(done.config))
    again = run("train", tmp_path / "t.yaml", "--json")
    assert again.returncode == 0, again.stderr
    assert "done: trained by an earlier run from the same inputs (--force trains it again)" in again.stderr
    assert json.loads(again.stdout)["members"] == {"done": done.model_dump(mode="json")}


def test_interrupted_it_keeps_what_is_done(tiles: Path, tmp_path: Path) -> None:
    folder = tiles / "run" / "members" / "broken-off"
    config = tiny(tiles / "run", name="broken-off")
    process = started(config, tmp_path)
    try:
        wait_until((folder / "history.csv").exists, process)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted: what was finished is kept; run the same command again to go on" in told
    assert "Traceback" not in told
    assert (folder / "checkpoint.pt").is_file()
    assert not (folder / "member.json").exists()


JUDGED = Scores(
    tile_accuracy=0.75, tile_balanced_accuracy=0.5, tile_macro_auc=0.8125, tile_log_loss=1.25,
    slide_accuracy=None, slide_balanced_accuracy=1.0, tiles=8, slides=4,
)  # fmt: skip
EPOCH = Epoch(
    number=12, step=1, images=8, loss=1.9374, learning_rate=1e-3, open_stages=5, mixed=True, validation=JUDGED
)
TIMING = Timing(number=12, seconds=1, images_per_second=2345.6, wait_share=0.068, validation_seconds=1, memory_mb=1)


@pytest.mark.parametrize(
    ("metric", "title", "cell"),
    [
        ("slide_balanced_accuracy", "", ""),
        ("tile_balanced_accuracy", "", ""),
        ("tile_accuracy", "all tiles", "75.0 %"),
        ("slide_accuracy", "all slides", "-"),
        ("tile_macro_auc", "AUC", "0.812"),
        ("tile_log_loss", "log loss", "1.250"),
    ],
)
def test_the_table_of_epochs_by_hand(metric: str, title: str, cell: str) -> None:
    also, own = (f"{title:>12}", f"{cell:>12}") if title else ("", "")
    assert train_show.heading(metric) == f"epoch   loss  open  tiles right  slides right{also}  tiles/s  waiting"
    line = train_show.epoch_line(EPOCH, TIMING, metric, best=True)
    assert line == f"   12  1.937     5       50.0 %       100.0 %{own}    2,346      7 % best"
    assert len(line) <= 80
    blind = train_show.epoch_line(replace(EPOCH, validation=None), TIMING, metric, best=False)
    assert blind == f"   12  1.937     5            -             -{'-' if title else '':>{len(own)}}    2,346      7 %"


def test_several_members_are_told_under_their_names(done: MemberRecord) -> None:
    phantom = done.model_copy(update={"synthetic": True, "metrics": {}})
    lines = train_show.members_lines(TrainSummary(members={LONG: done, "other": phantom}))
    assert lines[0] == "synthetic phantom slides: of no clinical meaning"
    assert lines[3] == f"{LONG}: epoch {done.best_epoch} of 2"
    assert [line.split()[0] for line in lines[4:6]] == ["validation", "test"]
    assert lines[6:] == [f"other: epoch {done.best_epoch} of 2"]
    assert max(map(len, lines)) <= 80
    assert {len(line) for line in (lines[2], *lines[4:6])} == {len(lines[2])}
    assert train_show.members_lines(TrainSummary(failures={"x": "why"})) == []
