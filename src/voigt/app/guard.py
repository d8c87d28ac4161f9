"""What every request passes first: foreign hosts and pages, sizes, slow uploads; and headers of every answer."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from voigt.app.limits import MOST_BYTES, Limits
from voigt.app.metrics import Metrics
from voigt.app.problems import RequestError, of_error, refusal

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing of other hosts, no code inside the page."""
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_SAFE = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach a server at this address.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allows_host(name: str, bound: str) -> bool:
    """Whether a request that names this host can be meant for a server at the address `bound`.

    A page of a stranger may let its own name lead to this machine (DNS rebinding). On loopback only names of it count;
    elsewhere addresses, which nobody can rebind, and the names of this machine.

    Examples
    --------
    >>> allows_host("localhost", "127.0.0.1"), allows_host("evil.example", "127.0.0.1")
    (True, False)
    >>> allows_host("192.168.0.7", "0.0.0.0"), allows_host("192.168.0.7", "127.0.0.1")
    (True, False)
    """
    if name in LOOPBACK or name == bound:
        return True
    if is_loopback(bound):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in (socket.gethostname().lower(), socket.getfqdn().lower())
    return True


class Guard:
    """ASGI middleware around the application.

    Parameters
    ----------
    app
        The application.
    bound
        Address that the server listens at.
    limits, metrics
        Of the server.
    """

    def __init__(self, app: App, bound: str, limits: Limits, metrics: Metrics) -> None:
        self.app = app
        self.bound = bound
        self.limits = limits
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        answer = _Answer(send)
        try:
            headers = _headers(scope)
            self._check(scope["method"], headers)
            await self.app(scope, _Body(receive, self.limits.upload_s), answer)
        except RequestError as error:
            await _refuse(answer, error)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            await _refuse(answer, RequestError(503, of_error(error)))
        route = scope.get("route")
        path = getattr(route, "path", "other")
        self.metrics.add("voigt_requests_total", path=path, status=str(answer.status))
        self.metrics.add("voigt_request_seconds_sum", time.monotonic() - started, path=path)

    def _check(self, method: str, headers: dict[str, str]) -> None:
        """RequestError for what is not meant for this server, or too large."""
        host = headers.get("host", "")
        if not allows_host(_name(host), self.bound):
            text = f"this server does not answer for the host {host[:100]!r}; open it by its address"
            raise refusal(403, "forbidden_host", text)
        if method not in _SAFE:
            origin = headers.get("origin")
            foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
            if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                text = "the request comes from a page of another host, which may not use this server"
                raise refusal(403, "forbidden_origin", text)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 15:
            raise refusal(400, "bad_request", "the header Content-Length is no number", _CLOSE)
        if int(length) > MOST_BYTES:
            raise too_large(int(length))


_CLOSE = {"Connection": "close"}
"""After a body that was not read to its end nothing else can come on a connection."""


def too_large(size: int) -> RequestError:
    """A body of more bytes than allowed."""
    megabytes = f"{size / 1e6:,.0f}".replace(",", " ")
    text = f"{megabytes} MB are more than the {MOST_BYTES // 1_000_000} MB of a request; send a smaller file"
    return refusal(413, "too_large", text, _CLOSE)


class _Body:
    """`receive` that counts what comes, and does not wait for ever."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._size = 0
        self._complete = False

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._complete:
            return await self._receive()  # says that the client has left
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            text = f"the upload was not complete after {self._seconds:g} s; try again"
            raise refusal(408, "too_slow", text, _CLOSE) from None
        self._size += len(message.get("body", b""))
        if self._size > MOST_BYTES:
            raise too_large(self._size)
        self._complete = not message.get("more_body", False)
        return message


class _Answer:
    """`send` that adds headers, and knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name.lower() for name, _ in message.get("headers", [])}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await self._send(message)


async def _refuse(answer: _Answer, error: RequestError) -> None:
    if answer.status:  # too late
        return
    body = error.problem.model_dump_json().encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await answer({"type": "http.response.start", "status": error.status, "headers": encoded})
    await answer({"type": "http.response.body", "body": body})


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
