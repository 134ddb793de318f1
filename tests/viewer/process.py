"""`sarcoscope screen` as a process of its own, as a reader starts it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = (str(Path(sys.executable).with_name("sarcoscope")), "screen")


@dataclass(frozen=True)
class Page:
    """A running page."""

    address: str
    """With its token."""
    process: "subprocess.Popen[str]"

    @property
    def origin(self) -> str:
        """Without it."""
        return self.address.partition("/?")[0]

    @property
    def token(self) -> str:
        return self.address.partition("token=")[2]

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@contextmanager
def screening(run: Path, *options: str, browser: Path | None = None) -> Iterator[Page]:
    """The page of a run folder on a free port, ended by its pid; `browser`: the program that it opens, if any."""
    words = [*COMMAND, str(run), *options]
    if browser is None:
        words.append("--no-browser")
    env = os.environ | ({} if browser is None else {"BROWSER": str(browser)})
    if "--port" not in options:
        words += ["--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise AssertionError(process.communicate(timeout=30)[1])
        yield Page(address, process)
    finally:
        running = process.poll() is None
        if running:
            process.send_signal(signal.SIGINT)
        try:
            told = process.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
    assert not running or (process.returncode, "Traceback" in told) == (0, False), told
