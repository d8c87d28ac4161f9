"""`voigt serve`: the page and the HTTP API on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from voigt.cli import options
from voigt.cli.devices import tell_device
from voigt.cli.faults import one_sentence, tell
from voigt.errors import InputError

_INSTALL = 'voigt serve needs the packages of the extra app: pip install "voigt[app]"'


def serve(
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen at. Any other than 127.0.0.1 lets the network in."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port to listen at; 0: any free one.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Processes that predict, and as many jobs at a time.")
    ] = 1,
    device: options.Device = "auto",
    debug: options.Debug = False,
) -> None:
    """Open a page on this machine that shows the tensors of a structure; it is an HTTP API as well.

    Ends with Ctrl-C. Nothing that is uploaded is kept: results of jobs stay in memory for an hour.
    """
    with one_sentence(debug):
        try:
            from voigt.app import ServerOptions, run_server
            from voigt.app.guard import is_loopback
            from voigt.models.devices import find_device
        except ModuleNotFoundError as error:
            if error.name in ("fastapi", "starlette", "uvicorn", "python_multipart"):
                raise InputError(_INSTALL) from error
            raise
        if not is_loopback(host):
            tell(
                f"warning: at {host} anyone who reaches this machine over the network can use the server, without a "
                "password and unencrypted, see what they upload computed here, and take its processors; put a proxy "
                "with authentication before it"
            )
        tell_device(find_device(device), quiet=False)
        run_server(ServerOptions(host=host, workers=workers, device=device), port, tell)
