"""In front of every request: the host check and the security headers. Plain ASGI, so streams pass."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

# The page needs nothing but its own files; whatever else a browser could be talked into loading is refused.
SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def host_name(header: str) -> str:
    """Return the name in a Host header, lower case, without port and brackets ("" when malformed)."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, port = header[1:].partition("]")
        return name if bracket and (not port or port.startswith(":")) else ""
    name, _, port = header.partition(":")
    return name if not port or port.isdigit() else ""


def allowed_names(host: str) -> frozenset[str]:
    """Return the names a page may be asked for under, given the address it listens on.

    On loopback only loopback names count: a page of a stranger that points its own name at 127.0.0.1
    (DNS rebinding) then gets nothing. On any other address the machine's own names count as well.
    """
    if host.strip("[]").lower() in LOOPBACK_NAMES:
        return LOOPBACK_NAMES
    machine = socket.gethostname().lower()
    return LOOPBACK_NAMES | {host.lower(), machine, machine + ".local", machine.partition(".")[0]}


def is_allowed(header: str, names: frozenset[str]) -> bool:
    """Tell whether a Host header names this server.

    Bare addresses cannot be rebound, so a server that is open to the network takes any of them.
    """
    name = host_name(header)
    if name in names:
        return True
    if names <= LOOPBACK_NAMES:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI wrapper: refuses foreign Host headers with 421 and adds the security headers to every response."""

    def __init__(self, app: App, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *SECURITY_HEADERS]}
            await send(message)

        header = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if is_allowed(header.decode("latin-1"), self._names):
            await self._app(scope, receive, guarded)
            return
        body = json.dumps({"error": "this server does not answer to that host name; open it by its address"})
        kind = (b"content-type", b"application/json")
        await guarded({"type": "http.response.start", "status": 421, "headers": [kind]})
        await guarded({"type": "http.response.body", "body": body.encode()})
