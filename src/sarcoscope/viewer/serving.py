"""The page on 127.0.0.1 until it is stopped."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import uvicorn

from sarcoscope.core.errors import InputError
from sarcoscope.viewer.app import create_app

_TOKEN_BYTES: Final = 24
_SECONDS_TO_FINISH: Final = 2


class Addresses(NamedTuple):
    """Two ways into one page, each with a token of its own."""

    to_print: str
    """Lets in as often as it is opened."""
    for_browser: str
    """Lets in once: a browser gets it on its command line, which every user of the machine can read."""


def serve(
    run: Path,
    *,
    port: int,
    reader: str,
    read_only: bool,
    predictions: Path | None,
    ready: Callable[[Addresses], None],
) -> None:
    """Serve until Ctrl+C; `ready` gets the addresses once they can be opened. Port 0 takes a free one.

    Raises InputError where the port is taken, ArtifactError where the folder cannot be screened.
    """
    with _listening(port) as listener:
        taken = listener.getsockname()[1]
        token, once = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_TOKEN_BYTES)
        app = create_app(
            run, token=token, once=once, port=taken, reader=reader, read_only=read_only, predictions=predictions
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
        page = f"http://127.0.0.1:{taken}/?token="
        ready(Addresses(to_print=page + token, for_browser=page + once))
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:  # how a page is ended; every decision was on the disk before it was shown
            return


def _listening(port: int) -> socket.socket:
    # Named as TCP, since asyncio sends at once only on such sockets; else an answer may wait for the other side.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        problem = f"port {port} cannot be had ({getattr(error, 'strerror', None) or error})"
        raise InputError(problem, "give another with --port, or --port 0 for a free one") from error
    return listener
