"""One reader at work: what they decided, saved before it is answered, and how to take it back."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sarcoscope.cohort.screening import Place, consensus, moved, standing
from sarcoscope.core.errors import InputError
from sarcoscope.core.screening import Decision, TileKey, Verdict
from sarcoscope.formats.screening import append_decisions, read_decisions
from sarcoscope.viewer.tiles import SheetTiles


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict for one tile: row `row` of `tiles`."""

    tiles: SheetTiles
    row: int
    verdict: Verdict

    @property
    def key(self) -> TileKey:
        """Slide and tile."""
        return self.tiles.key(self.row)


class Session:
    """The decisions of one reader in one file, which others may write at the same time.

    A reader sees their own decisions only, so that two readers stay independent; a session that is read-only shows
    what all readers' decisions come to.
    """

    def __init__(self, path: Path, reader: str, *, read_only: bool = False) -> None:
        """Raises ArtifactError where the file cannot be read."""
        self.path = path
        self.reader = reader
        self.read_only = read_only
        self._lock = threading.RLock()
        self._done: list[Sequence[Change]] = []
        self._seen_of_file: tuple[int, int] | None = None
        self._verdicts: dict[TileKey, Verdict] = {}
        self._places: dict[TileKey, Place] = {}
        self._readers: tuple[str, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read the file again where it has changed: somebody may have edited it. Raises ArtifactError."""
        with self._lock:
            seen = self._state_of_file()
            if seen == self._seen_of_file and seen is not None:
                return
            decisions = read_decisions(self.path)
            read = standing(decisions)
            mine = (one for one in decisions if self.read_only or one.reader == self.reader)
            self._places = {one.key: (one.left_l0, one.top_l0) for one in mine if one.left_l0 is not None}
            self._verdicts = dict(consensus(read) if self.read_only else read.get(self.reader, {}))
            self._readers = tuple(read)
            self._seen_of_file = seen

    @property
    def readers(self) -> tuple[str, ...]:
        """Everybody who has decided something in the file."""
        return self._readers

    @property
    def verdicts(self) -> Mapping[TileKey, Verdict]:
        """What counts on this page, by slide and tile."""
        return self._verdicts

    def moved(self, tiles: SheetTiles) -> int:
        """Decisions about tiles that lay elsewhere when they were decided: the slide was cut anew since."""
        return sum(key in self._verdicts for key in tiles.tile_keys()) - sum(v is not None for v in self.said(tiles))

    def said(self, tiles: SheetTiles) -> list[Verdict | None]:
        """What counts for each tile; None for those not decided about where they lie now."""
        places = zip(tiles.table["left_l0"].to_list(), tiles.table["top_l0"].to_list(), strict=True)
        return [self._said(key, place) for key, place in zip(tiles.tile_keys(), places, strict=True)]

    def _said(self, key: TileKey, place: Place) -> Verdict | None:
        verdict = self._verdicts.get(key)
        return None if verdict is None or moved(self._places.get(key, place), place) else verdict

    def said_of(self, change: Change) -> Verdict | None:
        """What counts for the tile of a change; None where it is not decided about where it lies now."""
        table = change.tiles.table
        return self._said(change.key, (table["left_l0"][change.row], table["top_l0"][change.row]))

    def decide(self, changes: Sequence[Change], reason: str = "") -> list[Change]:
        """Save decisions; those that change nothing are left out. What is returned is on the disk.

        Raises InputError for a read-only session and for a tile that quality has dropped; ArtifactError.
        """
        with self._lock:
            self.refresh()
            new = [change for change in changes if self.said_of(change) is not change.verdict]
            for change in new:
                if (dropped := change.tiles.table["dropped"][change.row]) is not None:
                    raise InputError(f"tile {change.key[1]} is out already: {dropped}", "reject tiles in use")
            before = [Change(c.tiles, c.row, self.said_of(c) or Verdict.WITHDRAWN) for c in new]
            self._save(new, reason)
            if before:
                self._done.append(before)
            return new

    def undo(self) -> list[Change]:
        """Take back the last decisions of this session, all that were made at once; nothing where there are none."""
        with self._lock:
            if not self._done:
                return []
            before = self._done[-1]
            self._save(before, "undone")
            self._done.pop()
            return list(before)

    def _save(self, changes: Sequence[Change], reason: str) -> None:
        if self.read_only:
            raise InputError("this page only shows", "start sarcoscope screen without --read-only")
        if not changes:
            return
        when = datetime.now(UTC).isoformat(timespec="seconds")
        ours = self._state_of_file() == self._seen_of_file
        append_decisions(self.path, [_decision(change, self.reader, when, reason) for change in changes])
        for change in changes:
            if change.verdict is Verdict.WITHDRAWN:
                self._verdicts.pop(change.key, None)
            else:
                self._verdicts[change.key] = change.verdict
            self._places.pop(change.key, None)
        if self.reader not in self._readers:
            self._readers = (*self._readers, self.reader)
        if ours:  # else somebody else has written meanwhile: the next refresh reads all of it
            self._seen_of_file = self._state_of_file()

    def _state_of_file(self) -> tuple[int, int] | None:
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size


def _decision(change: Change, reader: str, when: str, reason: str) -> Decision:
    values = change.tiles.table.row(change.row, named=True)
    return Decision(
        slide=values["slide"],
        tile=values["tile"],
        verdict=change.verdict,
        reader=reader,
        when=when,
        reason=reason,
        mpp=values["mpp"],
        left_l0=values["left_l0"],
        top_l0=values["top_l0"],
        label=values["label"],
    )
