"""Check every request before it reaches the server, and give every answer its security headers.

The server answers only its own page and programs on this machine (or anyone who has the token). A page of another
origin cannot start a job, read an answer, or reach the server under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "lipscore-token"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
ROOM = 1 << 16  # bytes of a request in addition to the video itself


class TooLargeError(Exception):
    """A request's body exceeded the limit."""


class Guard:
    """An ASGI application that protects another one.

    Args:
        hosts: the Host headers that it answers; None: any (a token is then required).
        token: the token that a request must carry, as a cookie, as a bearer token, or once as ?token=; "": no token.
        max_bytes: the largest size of a video.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None, token: str, max_bytes: int) -> None:
        self._app, self._token, self._max_bytes = app, token, max_bytes
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        answered = _Answer(send)
        if self._hosts is not None and host not in self._hosts:
            await answered.refuse(
                403, "the server does not answer under this host name; use the address that lipscore printed"
            )
        elif self._token and not self._has_token(headers):
            await self._at_the_door(scope, answered)
        elif scope["method"] not in SAFE_METHODS and not _same_origin(headers, host):
            await answered.refuse(403, "the server does not answer requests from other origins")
        elif int(headers.get("content-length", "0") or 0) > self._max_bytes + ROOM:
            await answered.refuse(413, self._too_large)
        else:
            with suppress(TooLargeError):
                await self._app(scope, self._counted(receive, answered), answered)

    @property
    def _too_large(self) -> str:
        return f"the file is larger than {self._max_bytes / 1e6:g} MB; --max-mb is the limit"

    def _has_token(self, headers: dict[str, str]) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        brought = [headers.get("authorization", "").removeprefix("Bearer ")]
        brought += [cookies[COOKIE].value] if COOKIE in cookies else []
        return any(secrets.compare_digest(one.encode(), self._token.encode()) for one in brought)

    async def _at_the_door(self, scope: Scope, answered: _Answer) -> None:
        """Move the token from the address into a cookie."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] == "GET" and secrets.compare_digest(given.encode(), self._token.encode()):
            cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            await answered.start(303, [(b"location", b"/"), (b"set-cookie", cookie.encode())], b"")
        else:
            await answered.refuse(401, "a token is needed; open the address that lipscore printed")

    def _counted(self, receive: Receive, answered: _Answer) -> Receive:
        """`receive` that refuses a body as soon as it exceeds the limit, whatever length the header states."""
        left = self._max_bytes + ROOM

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                await answered.refuse(413, self._too_large)
                raise TooLargeError
            return message

        return counted


def _same_origin(headers: dict[str, str], host: str) -> bool:
    """Whether a request comes from this server's own page, or from a program and not from a page."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    return site in ("same-origin", "none") and (origin is None or origin in (f"http://{host}", f"https://{host}"))


class _Answer:
    """`send` that adds the security headers; refuse() answers instead of the application."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = self._refused = False

    async def __call__(self, message: Message) -> None:
        if not self._refused:
            await self._pass_on(message)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole answer."""
        length = (b"content-length", str(len(body)).encode())
        await self._pass_on({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self._pass_on({"type": "http.response.body", "body": body})

    async def refuse(self, status: int, reason: str) -> None:
        """Send an error, unless an answer has begun."""
        if not self._started:
            self._refused = True
            body = json.dumps({"success": False, "error": reason}).encode()
            # what is left of the body is not read, so the connection cannot go on
            await self.start(status, [(b"content-type", b"application/json"), (b"connection", b"close")], body)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await self._send(message)
