"""Who may ask: the API key, the session of the page, and requests that other web pages make a browser send."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlmad_serve.settings import ServerSettings, is_loopback

__all__ = ["CONTENT_POLICY", "Guard", "Sessions", "is_key"]

_OPEN = frozenset({"/", "/healthz", "/readyz", "/openapi.json", "/v1/session"})
_COOKIE = "vlmad-session"
_SESSIONS = 1000
_DAY = 86_400

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Sessions:
    """Browsers that presented the key; forgotten when the server ends."""

    def __init__(self) -> None:
        self._tokens: dict[str, None] = {}

    def open(self, response: Response) -> None:
        """Give a browser a cookie, so that pictures can be shown; it is no use to other web pages."""
        token = secrets.token_urlsafe(32)
        self._tokens[token] = None
        while len(self._tokens) > _SESSIONS:
            self._tokens.pop(next(iter(self._tokens)))
        response.set_cookie(_COOKIE, token, max_age=30 * _DAY, httponly=True, samesite="strict", path="/")

    def __contains__(self, token: object) -> bool:
        return token in self._tokens


def is_key(given: str, settings: ServerSettings) -> bool:
    """Whether it is the API key, compared in constant time; where there is none, every text is."""
    expected = settings.api_key
    return expected is None or hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


class Guard:
    """Middleware: refuses what must not reach a route, and adds headers to every answer.

    Args:
        app: What is guarded.
        settings: With the key, the address and the origins that are allowed.
        sessions: Of browsers.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, sessions: Sessions) -> None:
        self._app, self._settings, self._sessions = app, settings, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(Request(scope))
        await (self._app if refused is None else refused)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        if not self._is_host_known(request):
            return _error(
                403, "this server listens on this machine alone, and the request names another host; use 127.0.0.1."
            )
        origin = request.headers.get("origin")
        if origin is not None and not self._is_origin_allowed(origin, request):
            return _error(
                403, "the request comes from another web page; the operator can allow it with --allow-origin."
            )
        path = request.url.path
        if path in _OPEN or path.startswith("/page/") or self._settings.api_key is None:
            return None
        if request.method == "OPTIONS":  # a browser asks without the key whether it may ask with it
            return None
        given = request.headers.get("x-api-key") or _bearer(request.headers.get("authorization", ""))
        if given and is_key(given, self._settings):
            return None
        if request.cookies.get(_COOKIE) in self._sessions:
            return None
        return _error(
            401,
            "the API key is missing or wrong; send it in the header X-API-Key.",
            {"WWW-Authenticate": 'Bearer realm="vlmad"'},
        )

    def _is_host_known(self, request: Request) -> bool:
        """On a loopback address, a name that leads there from outside is an attack (DNS rebinding)."""
        if not is_loopback(self._settings.host):
            return True
        try:
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        except ValueError:
            return False
        return is_loopback(host) or host == self._settings.host

    def _is_origin_allowed(self, origin: str, request: Request) -> bool:
        if origin in self._settings.allow_origins or "*" in self._settings.allow_origins:
            return True
        try:
            asked = urlsplit(origin).netloc
        except ValueError:
            return False
        return bool(asked) and asked == request.headers.get("host")


def _bearer(header: str) -> str:
    kind, _, key = header.partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": text, "name": None}, status_code=status, headers=headers)
