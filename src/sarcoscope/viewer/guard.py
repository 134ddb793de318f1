"""Who may talk to the page: this machine's browser that was given a token, and nobody through another site's page."""

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """ASGI middleware: a known Host, a token (`/?token=...` once, a cookie from then on), our own Origin to write.

    `token` lets in whoever has it, `once` the first who comes with it: it is for command lines, which all can read.
    """

    def __init__(self, app: ASGIApp, *, token: str, once: str, port: int) -> None:
        self._app = app
        self._token = token
        self._once: str | None = once
        self._cookie = f"sarcoscope-screen-{port}"  # cookies know no ports, and two pages may be open
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a refusal."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer instead of the page; None for a request that may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            return PlainTextResponse("this page answers to 127.0.0.1 and localhost only", 421)
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return PlainTextResponse("not from another site's page", 403)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and (self._is_token(given) or self._spends(given)):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
            return answer
        if not self._is_token(self._cookie_of(headers)):
            words = "open the address that sarcoscope screen printed: it holds the token of this page"
            return PlainTextResponse(words, 403)
        return None

    def _cookie_of(self, headers: Headers) -> str:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return cookie.value if cookie else ""

    def _is_token(self, given: str) -> bool:
        return _same(given, self._token)

    def _spends(self, given: str) -> bool:
        """Whether it is the token for once; from then on it is none. One thread answers, so nobody comes between."""
        if self._once is None or not _same(given, self._once):
            return False
        self._once = None
        return True


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode("latin-1", "replace"), secret.encode())
