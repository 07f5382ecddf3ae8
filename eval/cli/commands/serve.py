"""`lipscore serve`: a page to drop a video on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipscore.eval.cli.options import command, load_setup
from lipscore.eval.cli.output import show
from lipscore.eval.options import ModelOptions, ProtocolOptions


@command
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any address other than loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 means any free port.")] = 8000,
    folder: Annotated[Path | None, typer.Option(help="Folder whose videos can be picked on the page.")] = None,
    token: Annotated[
        str,
        typer.Option(
            envvar="LIPSCORE_TOKEN", help="Token that requests must carry; default: a random one if a token is needed."
        ),
    ] = "",
    max_mb: Annotated[int, typer.Option(help="Largest upload, in megabytes.")] = 500,
    max_seconds: Annotated[float, typer.Option(help="Time limit for the work on a video, in seconds.")] = 600.0,
    *,
    protocol: ProtocolOptions,
    models: ModelOptions,
) -> None:
    """Serve a page to drop a video on; it shows the offset and a panel, and offers the file with the audio moved.

    Example: lipscore serve --folder videos
    """
    from lipscore.eval.serve.options import ServeOptions
    from lipscore.eval.serve.run import check_installed
    from lipscore.eval.serve.run import serve as run

    options = ServeOptions(host, port, folder, token, max_mb, max_seconds)
    check_installed()
    run(load_setup(protocol, models), options, show)
