"""Which state of the source a result came from."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """The commit of a source checkout, with '-dirty' where it was changed; None for an installed package, or no git."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    except OSError:
        return None
    return done.stdout.strip() or None
