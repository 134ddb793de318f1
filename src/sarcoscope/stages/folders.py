"""What lies below a folder that people filled: links are followed, loops and hidden things are not."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sarcoscope.core.errors import shown


@dataclass(slots=True)
class Walk:
    """A walk through the folders below one, sorted; a folder that is reached twice counts once."""

    folder: Path
    without: Path | None = None
    """A folder below that is passed over."""
    denied: list[str] = field(default_factory=list)
    """Folders that may not be listed."""

    def __iter__(self) -> Iterator[tuple[Path, list[str], list[str]]]:
        """Each folder, the names of the folders in it, which may be changed to pass some over, and of its files."""
        seen = {os.path.realpath(self.without)} if self.without is not None else set()
        for parent, folders, files in os.walk(self.folder, followlinks=True, onerror=self._refused):
            real = os.path.realpath(parent)
            folders[:] = [] if real in seen else sorted(one for one in folders if not one.startswith("."))
            if real in seen:
                continue
            seen.add(real)
            yield Path(parent), folders, sorted(one for one in files if not one.startswith("."))

    def _refused(self, error: OSError) -> None:
        self.denied.append(shown(str(error.filename)))
