"""The page's server: a folder of tiles in, JSON and JPEGs out. Addresses hold numbers only, never a name or a path."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import FastAPI, Request
from fastapi import Path as PathValue
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from sarcoscope import __version__
from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError, SlideError
from sarcoscope.core.screening import Verdict
from sarcoscope.formats.screening import SCREENING_NAME
from sarcoscope.viewer.guard import Guard
from sarcoscope.viewer.likeness import distances
from sarcoscope.viewer.palette import class_colors
from sarcoscope.viewer.pictures import LARGE_PX, SMALL_PX, PictureStore
from sarcoscope.viewer.predictions import disagreement
from sarcoscope.viewer.session import Change, Session
from sarcoscope.viewer.tiles import ScreenCohort, SheetTiles

_KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_COLUMNS: Final = (
    "slide", "tile", "label", "mpp", "left_l0", "top_l0", "width_l0", "height_l0",
    "tissue", "nuclei", "sharpness", "dropped",
)  # fmt: skip
_FOR_AN_HOUR: Final = {"Cache-Control": "private, max-age=3600, immutable"}
"""Addresses of pictures hold a word of this start (`edition`): numbers mean other tiles in another run folder."""
_SHEETS_AT_ONCE: Final = 64
_PHANTOM: Final = "phantom-"
_LIKE_FLOORS: Final = np.array([4.0, 0.25, 0.05, 2.0, 1.0, 1.0, 1.0])
"""Least spread of the root of nuclei (counts), log sharpness, tissue, L*, a*, b*, and standard deviation of L*."""

Number = Annotated[int, PathValue(ge=0)]


class Marked(BaseModel):
    """Decisions that a reader makes at once."""

    tiles: list[tuple[int, int]] = Field(max_length=200_000)
    """Sheet and row, as numbered by the server."""
    verdict: Literal["reject", "keep"]
    reason: str = Field(default="", max_length=200)


class Finished(BaseModel):
    """What a reader has seen of the sheets at hand when they say that they are done."""

    seen: list[tuple[int, int]] = Field(max_length=200_000)


@dataclass(frozen=True, slots=True)
class _Page:
    """What the routes share."""

    cohort: ScreenCohort
    session: Session
    pictures: PictureStore
    predictions: Path | None
    edition: str


def create_app(
    run: Path,
    *,
    token: str,
    once: str,
    port: int,
    reader: str,
    read_only: bool = False,
    predictions: Path | None = None,
) -> FastAPI:
    """The application for one run folder and one reader; answers on 127.0.0.1:`port` to who has a token (`Guard`).

    Raises ArtifactError where the folder holds no tiles, or its screening.csv cannot be read.
    """
    session = Session(run.absolute() / SCREENING_NAME, reader, read_only=read_only)
    page = _Page(ScreenCohort(run), session, PictureStore(), predictions, secrets.token_hex(8))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        page.pictures.close()

    app = FastAPI(title="sarcoscope screen", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, token=token, once=once, port=port)
    app.exception_handler(SarcoscopeError)(_told)
    _add_static(app)
    _add_reading(app, page)
    _add_deciding(app, page)
    return app


async def _told(_request: Request, error: Exception) -> Response:
    """Our errors in one line; anything else is a bug and shows itself on the terminal."""
    code = 400 if isinstance(error, InputError) else 503 if isinstance(error, ArtifactError) else 422
    return JSONResponse({"error": str(error)}, code)


def _add_static(app: FastAPI) -> None:
    folder = files("sarcoscope.viewer") / "static"

    def serve(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
        async def answer() -> Response:
            return Response(content, media_type=f"{kind}; charset=utf-8")

        return answer

    for file in folder.iterdir():
        kind = _KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            route = "/" if file.name == "index.html" else f"/static/{file.name}"
            app.get(route)(serve(file.read_bytes(), kind))


def _add_reading(app: FastAPI, page: _Page) -> None:
    cohort, pictures = page.cohort, page.pictures

    @app.get("/api/cohort")
    def about_cohort() -> JSONResponse:
        page.session.refresh()
        return JSONResponse(_cohort(page))

    @app.get("/api/sheets")
    def about_sheets(numbers: str) -> JSONResponse:
        page.session.refresh()
        wanted = _numbers(numbers)
        return JSONResponse([_sheet(page, number, look=len(wanted) == 1) for number in wanted])

    @app.get("/api/sheets/{number}/overview.jpg")
    def overview(number: Number) -> Response:
        return Response(pictures.overview(_tiles(cohort, number)), media_type="image/jpeg", headers=_FOR_AN_HOUR)

    @app.get("/api/sheets/{number}/tiles/{row}/{size}.jpg")
    def tile(number: Number, row: Number, size: Literal["small", "large"]) -> Response:
        tiles = _tiles(cohort, number)
        _check_row(tiles, row)
        content = pictures.tile(tiles, row, SMALL_PX if size == "small" else LARGE_PX)
        return Response(content, media_type="image/jpeg", headers=_FOR_AN_HOUR)

    @app.get("/api/sheets/{number}/like/{row}")
    def like(number: Number, row: Number) -> JSONResponse:
        tiles = _tiles(cohort, number)
        _check_row(tiles, row)
        return JSONResponse(_like(page, tiles, row))


def _add_deciding(app: FastAPI, page: _Page) -> None:
    def changes(rows: list[tuple[int, int]], verdict: Verdict) -> list[Change]:
        found = []
        for number, row in rows:
            tiles = _tiles(page.cohort, number)
            _check_row(tiles, row)
            found.append(Change(tiles, row, verdict))
        return found

    @app.post("/api/decisions")
    def decide(marked: Marked) -> JSONResponse:
        done = page.session.decide(changes(marked.tiles, Verdict(marked.verdict)), marked.reason)
        return JSONResponse({"changed": _told_changes(done)})

    @app.post("/api/finish")
    def finish(finished: Finished) -> JSONResponse:
        new = [
            change
            for change in changes(finished.seen, Verdict.KEEP)
            if page.session.said_of(change) is None and change.tiles.table["dropped"][change.row] is None
        ]
        return JSONResponse({"changed": _told_changes(page.session.decide(new, "slide finished"))})

    @app.post("/api/undo")
    def undo() -> JSONResponse:
        return JSONResponse({"changed": _told_changes(page.session.undo())})


def _told_changes(changes: list[Change]) -> list[tuple[int, int, str | None]]:
    return [
        (change.tiles.number, change.row, None if change.verdict is Verdict.WITHDRAWN else change.verdict.value)
        for change in changes
    ]


def _tiles(cohort: ScreenCohort, number: int) -> SheetTiles:
    if not 0 <= number < len(cohort.sheets):
        raise InputError(f"sheet {number}", f"there are {len(cohort.sheets)}")
    return cohort.tiles(number)


def _check_row(tiles: SheetTiles, row: int) -> None:
    if not 0 <= row < len(tiles):
        raise InputError(f"tile {row} of sheet {tiles.number}", f"there are {len(tiles)}")


def _cohort(page: _Page) -> dict[str, Any]:
    sheets = page.cohort.sheets
    decided, rejected, strangers = [0] * len(sheets), [0] * len(sheets), 0
    for key, verdict in list(page.session.verdicts.items()):
        number = page.cohort.sheet_of(key)
        if number is None:
            strangers += 1
            continue
        decided[number] += 1
        rejected[number] += verdict is Verdict.REJECT
    return {
        "version": __version__,
        "edition": page.edition,
        "reader": page.session.reader,
        "readers": page.session.readers,
        "readOnly": page.session.read_only,
        "file": str(page.session.path),
        "phantom": any(sheet.name.startswith(_PHANTOM) for sheet in sheets),
        "strangers": strangers,
        "colors": class_colors({label for sheet in sheets for label in sheet.labels if label}, page.predictions),
        "sheets": [
            {
                "name": sheet.name,
                "isSlide": sheet.slide is not None,
                "labels": sheet.labels,
                "inUse": sheet.in_use,
                "dropped": sheet.dropped,
                "decided": decided[sheet.number],
                "rejected": rejected[sheet.number],
                "error": sheet.error,
            }
            for sheet in sheets
        ],
    }


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= _SHEETS_AT_ONCE:
        raise InputError(f"sheets {text!r}", f"ask for 1 to {_SHEETS_AT_ONCE} numbers with commas between them")
    return numbers


def _sheet(page: _Page, number: int, *, look: bool) -> dict[str, Any]:
    """A sheet with its tiles; `look` whether to open its slide, so that it can be said at once that it cannot be."""
    problem = None
    try:
        tiles = _tiles(page.cohort, number)
        if look:
            page.pictures.check(tiles)
    except ArtifactError as error:
        name = page.cohort.sheets[number].name
        return {"number": number, "name": name, "error": str(error), "size": None, "columns": None}
    except SlideError as error:
        problem = str(error)
    doubt = disagreement(page.predictions, tiles)
    columns = {name: tiles.column(name) for name in _COLUMNS}
    said = page.session.said(tiles)
    return {
        "number": number,
        "name": page.cohort.sheets[number].name,
        "readyMade": tiles.ready_made,
        "size": tiles.size_l0,
        "error": problem,
        "noDisagreement": doubt.missing,
        "moved": page.session.moved(tiles),
        "columns": columns
        | {"disagreement": doubt.values, "verdict": [None if verdict is None else verdict.value for verdict in said]},
    }


def _like(page: _Page, tiles: SheetTiles, row: int) -> dict[str, Any]:
    """Tiles in use of the same scale, the most alike first, the tile itself at the head."""
    table = tiles.table
    nuclei, sharpness, tissue = (table[name].cast(float).to_numpy() for name in ("nuclei", "sharpness", "tissue"))
    features = np.column_stack([np.sqrt(nuclei), np.log1p(sharpness), tissue, page.pictures.looks(tiles)])
    peers = np.flatnonzero(((table["mpp"] == table["mpp"][row]) & table["dropped"].is_null()).to_numpy())
    if row not in peers:
        raise InputError(f"tile {tiles.key(row)[1]} is out already: {table['dropped'][row]}", "choose a tile in use")
    hashes = table["phash"]
    codes = None if hashes.null_count() else hashes.to_numpy()[peers]
    far = distances(features[peers].astype(float), _LIKE_FLOORS, codes, int(np.searchsorted(peers, row)))
    order = np.lexsort((peers != row, far))  # twins after the tile itself
    order = order[np.isfinite(far[order])]
    return {"rows": peers[order].tolist(), "distances": np.round(far[order], 3).tolist()}
