"""`sarcoscope tune` on the command line and on the terminal."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from sarcoscope.cli import tune_show
from sarcoscope.core.tuning import TuneConfig
from sarcoscope.formats.config import read_config
from tests.cli.test_commands import one_line_error, run
from tests.tuned import SEARCHED_SHORTLY, tile_run, tune_config, write_config


@pytest.fixture(autouse=True)
def _quiet_after() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(before)


def test_the_config_that_is_printed_is_read_back_and_options_win(tmp_path: Path) -> None:
    printed = run("tune", "--print-config", "--run", "r", "--trials", 9, "--keep", 2)
    assert printed.returncode == 0, printed.stderr
    assert "# Of the head; searched by its logarithm.\n  learning_rate: [0.0005, 0.02]" in printed.stdout
    (tmp_path / "t.yaml").write_text(printed.stdout)
    again = run("tune", tmp_path / "t.yaml", "--print-config")
    assert again.stdout == printed.stdout
    won = run(
        "tune", tmp_path / "t.yaml", "--print-config", "--json", "--run", "other", "--name", "n", "--network",
        "compact", "--weights", "none", "--epochs", 4, "--cpu", "--storage", "sqlite:///x.db", "--keep", 0,
    )  # fmt: skip
    (tmp_path / "won.yaml").write_text(json.loads(won.stdout)["config"])
    config = read_config(tmp_path / "won.yaml", TuneConfig)
    assert (config.name, config.trials, config.keep, config.storage) == ("n", 9, 0, "sqlite:///x.db")
    train = config.train
    assert (train.run, train.device, train.length.epochs) == ("other", "cpu", 4)
    assert (train.network.name, train.network.weights) == ("compact", "none")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--keep", "40"], "40 of 30 trials to keep; give at least one trial"),
        (["--name", "a b"], "name 'a b' of a search"),
        (["nix.yaml"], "nix.yaml: there is no such file"),
        (["typo.yaml"], "typo.yaml: unknown key search.learning_rat; did you mean learning_rate?"),
        (["range.yaml"], "range.yaml: search.mixup [0.9, 0.1]; give the least and the most"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "typo.yaml").write_text("search:\n  learning_rat: [1, 2]\n")
    (tmp_path / "range.yaml").write_text("search:\n  mixup: [0.9, 0.1]\n")
    done = run("tune", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert told in one_line_error(done)


def test_help_and_config_need_no_torch() -> None:
    for words in (["--help"], ["--print-config"]):
        command = [sys.executable, "-X", "importtime", "-m", "sarcoscope", "tune", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
        assert "sarcoscope.cli.tune" in loaded
        assert not loaded & {"torch", "optuna", "matplotlib", "sklearn"}


def test_a_trial_is_two_lines_and_the_end_a_table_or_one_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    config = tune_config(tile_run(tmp_path), trials=2, search=SEARCHED_SHORTLY)
    summary = tune_show.run_tune(config, force=False)
    told = capsys.readouterr().err.splitlines()
    first, second = summary.trials
    place = told.index("searched: learning rate 0.0005 to 0.02, stages opened 0 to 5")
    lines = [line.rstrip() for line in told[place + 1 :] if line.startswith("trial-")]
    rate, depth = first.values["learning_rate"], first.values["depth"]
    assert lines[0] == f"trial-0000 (1 of 2): learning rate {rate:.3g}, stages opened {depth}"
    value, epoch = f"{first.value:.3f}", first.best_epoch
    assert lines[1].startswith(f"trial-0000: {value} at epoch {epoch} of 2; best so far {value}, trial-0000; about")
    assert lines[2].startswith("trial-0001 (2 of 2): learning rate")
    best = summary.best[0]
    assert lines[3].endswith(f"of 2; best so far {best.value:.3f}, {best.name}")

    tune_show.show(summary, config, as_json=False)
    captured = capsys.readouterr()
    rows = [line.split()[:6] for line in captured.out.splitlines() if line.strip().startswith("trial-")]
    assert rows == [[one.name, "-", f"{one.value:.3f}", str(one.best_epoch), "of", "2"] for one in summary.best]
    assert f"page: {summary.page}" in captured.err
    tune_show.show(summary, config, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["trials"]] == ["trial-0000", "trial-0001"]
    assert found["trials"][1]["values"] == dict(second.values)
    assert found["best"] == [one.name for one in summary.best]
    assert (found["members"], found["missing"], found["running"], found["exit_code"]) == ({}, {}, 0, 0)
    assert read_config(write_config(tmp_path / "c.yaml", config), TuneConfig) == config
