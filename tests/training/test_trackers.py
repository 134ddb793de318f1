"""What trackers were told is read back by TensorBoard's and MLflow's own readers."""

import os
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import OptimiserConfig, TrainConfig
from sarcoscope.formats.atomic import as_json
from sarcoscope.training.trackers import Trackers, parameters

BOTH = ("tensorboard", "mlflow")
CONFIG = as_json(
    asdict(TrainConfig(run="study", classes=("LMS", "UPS"), optimiser=OptimiserConfig(learning_rate=2e-3)))
)
NAME = "compact-0.5um"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL"):  # set by the tracker; put back afterwards
        monkeypatch.setenv(name, "true" if name.endswith("TELEMETRY") else "ERROR")


def in_tensorboard(folder: Path, name: str = NAME) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder / "tensorboard" / name))
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def client_of(uri: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient  # noqa: PLC0415 - its libraries warn of one another

        return MlflowClient(uri)


def in_mlflow(uri: str) -> list[tuple[Any, dict[str, list[tuple[int, float]]]]]:
    """Each run of the experiment with what it was told, by step."""
    client = client_of(uri)
    found = []
    for run in client.search_runs([client.get_experiment_by_name("sarcoscope").experiment_id]):
        told = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        found.append((run, {key: sorted((one.step, one.value) for one in values) for key, values in told.items()}))
    return found


def test_each_epoch_is_told_to_both(tmp_path: Path) -> None:
    with Trackers(tmp_path, NAME, BOTH, CONFIG) as trackers:
        assert trackers.used == BOTH
        trackers.epoch({"loss": 1.5, "recall/MDM2+": 0.25}, 1)
        trackers.epoch({"loss": 0.75, "recall/MDM2+": 0.5}, 2)
    assert (trackers.used, trackers.lost) == (BOTH, {})
    assert in_tensorboard(tmp_path) == {"loss": [(1, 1.5), (2, 0.75)], "recall/MDM2+": [(1, 0.25), (2, 0.5)]}
    ((run, told),) = in_mlflow(f"sqlite:///{tmp_path}/mlflow.db")
    assert told == {"loss": [(1, 1.5), (2, 0.75)], "recall/MDM2_": [(1, 0.25), (2, 0.5)]}
    assert (run.info.run_name, run.info.status) == (NAME, "FINISHED")
    assert run.data.params["optimiser.learning_rate"] == "0.002"
    assert run.data.params["classes"] == '["LMS", "UPS"]'
    assert run.info.artifact_uri.startswith((tmp_path / "mlflow").as_uri())
    assert {file.name for file in tmp_path.iterdir()} == {"tensorboard", "mlflow.db", "mlflow-run.txt"}


KILLED = """
import os, signal, sys
from pathlib import Path
from sarcoscope.training.trackers import Trackers
trackers = Trackers(Path(sys.argv[1]), "compact-0.5um", ("tensorboard", "mlflow"), {"seed": 0})
for step in (1, 2, 3):
    trackers.epoch({"loss": 1 / step}, step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_training_goes_on_in_the_same_curves(tmp_path: Path) -> None:
    """It was killed after it told of epoch 3, and goes on from a checkpoint of epoch 2."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    with Trackers(tmp_path, NAME, BOTH, {"seed": 0}) as trackers:
        ((run, _),) = in_mlflow(f"sqlite:///{tmp_path}/mlflow.db")
        assert run.info.status == "RUNNING"
        for step in (3, 4):
            trackers.epoch({"loss": 1 / step}, step)
    curve = [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3)), (4, 0.25)]
    assert in_tensorboard(tmp_path) == {"loss": curve}
    ((run, told),) = in_mlflow(f"sqlite:///{tmp_path}/mlflow.db")
    assert told == {"loss": curve}
    assert run.info.status == "FINISHED"


def test_a_training_that_fails_is_marked_so(tmp_path: Path) -> None:
    def fail() -> None:
        with Trackers(tmp_path, NAME, ("mlflow",), {}) as trackers:
            trackers.epoch({"loss": 1.0}, 1)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    ((run, _),) = in_mlflow(f"sqlite:///{tmp_path}/mlflow.db")
    assert run.info.status == "FAILED"


def test_a_run_that_was_deleted_is_begun_anew(tmp_path: Path) -> None:
    with Trackers(tmp_path, NAME, ("mlflow",), {}) as trackers:
        trackers.epoch({"loss": 1.0}, 1)
    ((run, _),) = in_mlflow(f"sqlite:///{tmp_path}/mlflow.db")
    client_of(f"sqlite:///{tmp_path}/mlflow.db").delete_run(run.info.run_id)
    with Trackers(tmp_path, NAME, ("mlflow",), {}) as trackers:
        trackers.epoch({"loss": 2.0}, 1)
    ((again, told),) = in_mlflow(f"sqlite:///{tmp_path}/mlflow.db")
    assert again.info.run_id != run.info.run_id
    assert told == {"loss": [(1, 2.0)]}
    (tmp_path / "mlflow-run.txt").write_text("0" * 32)
    with Trackers(tmp_path, NAME, ("mlflow",), {}) as trackers:
        assert trackers.used == ("mlflow",)
    assert len(in_mlflow(f"sqlite:///{tmp_path}/mlflow.db")) == 2


def test_mlflow_goes_where_its_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/of-all.db")
    for name in ("one", "other"):
        with Trackers(tmp_path / name, name, ("mlflow",), {}) as trackers:
            trackers.epoch({"loss": 1.0}, 1)
        assert [file.name for file in (tmp_path / name).iterdir()] == ["mlflow-run.txt"]
    assert sorted(run.info.run_name for run, _ in in_mlflow(f"sqlite:///{tmp_path}/of-all.db")) == ["one", "other"]


def test_a_server_that_does_not_answer_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Trackers(tmp_path, NAME, BOTH, {}) as trackers:
        assert trackers.used == ("tensorboard",)
        trackers.epoch({"loss": 1.0}, 1)
    assert "127.0.0.1:9" in trackers.lost["mlflow"]
    assert "\n" not in trackers.lost["mlflow"]
    assert in_tensorboard(tmp_path) == {"loss": [(1, 1.0)]}


def test_one_that_breaks_on_the_way_is_given_up_and_the_other_goes_on(tmp_path: Path) -> None:
    with Trackers(tmp_path, NAME, BOTH, {}) as trackers:
        trackers.epoch({"loss": 1.0}, 1)
        (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
        trackers.epoch({"loss": 0.5}, 2)
        assert trackers.used == ("tensorboard",)
        assert "database" in trackers.lost["mlflow"]
        trackers.epoch({"loss": 0.25}, 3)
    assert in_tensorboard(tmp_path) == {"loss": [(1, 1.0), (2, 0.5), (3, 0.25)]}


def test_a_folder_that_cannot_be_written_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with Trackers(tmp_path, NAME, ("tensorboard",), {}) as trackers:
        trackers.epoch({"loss": 1.0}, 1)
        assert trackers.used == ()
    assert "tensorboard" in trackers.lost["tensorboard"]


@pytest.mark.parametrize(
    ("absent", "used"),
    [
        ("mlflow", ("tensorboard",)),
        ("sqlalchemy", ("tensorboard",)),
        ("torch.utils.tensorboard", ("mlflow",)),
    ],
)
def test_what_is_not_installed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str, used: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)  # Python's own way of making an import fail
    with Trackers(tmp_path, NAME, BOTH, {}) as trackers:
        assert (trackers.used, trackers.lost) == (used, {})


ALONE = """
import sys
from pathlib import Path
calls = []
sys.addaudithook(lambda event, _: event in {"socket.connect", "socket.getaddrinfo"} and calls.append(event))
from sarcoscope.training.trackers import Trackers
with Trackers(Path(sys.argv[1]), "a", ("tensorboard", "mlflow"), {}) as trackers:
    trackers.epoch({"loss": 1.0}, 1)
assert trackers.used == ("tensorboard", "mlflow") and trackers.lost == {}
import threading
for thread in threading.enumerate():
    thread is threading.current_thread() or thread.join(30)
print("sockets:", calls)
"""


def test_nothing_is_sent_anywhere(tmp_path: Path) -> None:
    """In a process that does not look like a test or a build, where MLflow would report its use."""
    known = ("PATH", "HOME", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")
    plain = {name: value for name, value in os.environ.items() if name in known}
    words = [sys.executable, "-c", ALONE, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=plain)
    assert done.stdout == "sockets: []\n"
    assert (tmp_path / "mlflow.db").is_file()
    assert "mlflow" not in done.stderr


def test_a_path_that_mlflow_misreads_is_given_up_at_once(tmp_path: Path) -> None:
    with Trackers(tmp_path / "a%20b", NAME, ("mlflow",), {}) as trackers:
        assert trackers.used == ()
    assert trackers.lost == {"mlflow": "mlflow takes no path with % in it"}
    with Trackers(tmp_path / "a b#c", NAME, ("mlflow",), {}) as trackers:
        trackers.epoch({"loss": 1.0}, 1)
    assert (tmp_path / "a b#c" / "mlflow.db").is_file()


def test_what_is_unknown_is_refused_and_nothing_is_wanted_of_other_processes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown tracker 'wandb'; give tensorboard, mlflow"):
        Trackers(tmp_path, NAME, ("wandb",), {})
    with Trackers(tmp_path, NAME, (), {}) as trackers:
        trackers.epoch({"loss": 1.0}, 1)
        trackers.close()
    assert list(tmp_path.iterdir()) == []


def test_a_config_as_parameters() -> None:
    config = {
        "run": "study",
        "classes": ["LMS", "UPS"],
        "balance": {"by": "even", "multipliers": {"MDM2+": 6}},
        "epochs": None,
        "odd+name": "a" * 501,
    }
    assert parameters(config) == {
        "run": "study",
        "classes": '["LMS", "UPS"]',
        "balance.by": "even",
        "balance.multipliers": '{"MDM2+": 6}',
        "epochs": "null",
        "odd_name": "a" * 500,
    }
