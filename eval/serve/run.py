"""Start the server, print its address, and serve until interrupted."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace

from lipscore.errors import MissingError, UsageError
from lipscore.eval.serve.options import ServeOptions
from lipscore.eval.setup import Setup

HTTP_PORT = 80


def check_installed() -> None:
    """Check that the extra `serve` is installed, before anything is loaded.

    Raises:
        MissingError: the extra `serve` is not installed.
    """
    try:
        import fastapi
        import python_multipart
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingError(f"{error.name} is not installed: pip install 'lipscore[serve]'") from error
    del fastapi, python_multipart, uvicorn


def serve(setup: Setup, options: ServeOptions, say: Callable[[str], None]) -> None:
    """Serve until interrupted.

    An address other than loopback needs a token: the user's, or a random one.

    Args:
        say: receives the address to open.

    Raises:
        UsageError: the server cannot listen on the address.
    """
    import uvicorn

    from lipscore.eval.serve.app import build

    if not options.loopback and not options.token:
        options = replace(options, token=secrets.token_urlsafe(24))
    listening = _listen(options)
    port = listening.getsockname()[1]
    name = f"[{options.host}]" if ":" in options.host else options.host
    hosts = hosts_of(name, port) if options.loopback else None
    config = uvicorn.Config(
        build(setup, options, hosts),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    say(f"http://{name}:{port}/" + (f"?token={options.token}" if options.token else ""))
    uvicorn.Server(config).run(sockets=[listening])


def hosts_of(name: str, port: int) -> list[str]:
    """The Host headers of a server that only this machine reaches; a browser leaves out the port where it is HTTP's."""
    names = (name, "localhost", "127.0.0.1", "[::1]")
    return [f"{one}:{port}" for one in names] + (list(names) if port == HTTP_PORT else [])


def _listen(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        problem = f"{options.host}:{options.port} cannot be listened on ({error.strerror}); choose another"
        raise UsageError.about("port", options.port, problem) from error
