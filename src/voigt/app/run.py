"""Running the application with uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from voigt.app.server import ServerOptions, create_app
from voigt.errors import InputError

_KEEP_ALIVE_S = 15
_MOST_CONNECTIONS = 500
_BACKLOG = 128


def server(options: ServerOptions) -> uvicorn.Server:
    """A server that does not run yet; requests are not logged, since names of files are nobody's business."""
    config = uvicorn.Config(
        create_app(options),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
        limit_concurrency=_MOST_CONNECTIONS,
        ws="none",
    )
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at an address, at any free port for 0; InputError if that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        reason = error.strerror or error
        raise InputError(f"cannot listen at {host}, port {port}: {reason}; give another --host or --port") from error
    return found


def address(host: str, port: int) -> str:
    """What to open in a browser.

    Examples
    --------
    >>> address("::1", 8000), address("0.0.0.0", 8000)
    ('http://[::1]:8000', 'http://localhost:8000')
    """
    if host in ("0.0.0.0", "::"):
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(options: ServerOptions, port: int, tell: Callable[[str], None]) -> None:
    """Serve until the process is interrupted; `tell` says where, once the port is open.

    Raises
    ------
    InputError
        The address or the port cannot be had.
    """
    with listening(options.host, port) as found:
        tell(f"voigt serves {address(options.host, found.getsockname()[1])}; Ctrl-C ends it")
        server(options).run(sockets=[found])
