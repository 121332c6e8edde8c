"""charrnn serve: serve a model to a browser and to OpenAI's clients, by default only on this
machine."""

import os
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charrnn.cli.arguments import load_model
from charrnn.cli.command_options import ScreenOptions, run_argument
from charrnn.cli.streams import print_path, write_aside
from charrnn.config.options import option
from charrnn.errors import UsageError, named, require_package

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

TOKEN = "CHARRNN_TOKEN"
"""The environment variable with the token. The token is no option, because every user of the
machine can read command lines."""
MAX_CONNECTIONS = 32
"""Maximum number of simultaneous connections and requests; more get status 503."""
STOP_SECONDS = 2
"""Seconds that requests have to end after Ctrl-C. The reading of a prompt is not interrupted."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises UsageError if the address cannot be used."""
    # Only an IPv6 address has colons.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, ValueError) as error:  # ValueError: the name is not valid
        reason = getattr(error, "strerror", None) or "there is no such address"
        raise UsageError(
            f"{named('host', host[:60])} {named('port', port)}: {reason}. Try 127.0.0.1, or port 0"
            " for any free one."
        ) from None


def configure(app: "Starlette", log_level: str) -> "uvicorn.Config":
    """Return the configuration of a server: its limits, and that it tells nobody about itself."""
    import uvicorn

    from charrnn.serving.connections import Connection

    # The access log would print the addresses of clients, and the header the name of the server
    # program.
    return uvicorn.Config(
        app,
        http=Connection,
        log_level=log_level,
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=MAX_CONNECTIONS + 1,  # uvicorn refuses from this number on.
        timeout_graceful_shutdown=STOP_SECONDS,
    )


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ScreenOptions):
    """The options of `charrnn serve`."""

    run: str | None = run_argument()
    host: str = option(
        "127.0.0.1",
        flags="--host HOST",
        help=f"Address; one that other machines reach needs a token in {TOKEN}.",
    )
    port: int = option(
        8000, flags="--port N", help="Port of the address; 0 is any free one.", least=0, most=65535
    )


def serve(options: ServeOptions) -> None:
    """Serve a model to a browser and to OpenAI's clients.

    The page of charrnn export is at /, completions are at /v1/completions, where max_tokens counts
    characters. The address is printed on stdout. Ctrl-C ends it.
    """
    for package in ("starlette", "uvicorn"):
        require_package(package, user="charrnn serve", extra="serve")
    import uvicorn

    from charrnn.serving.completions import Server, is_loopback

    # The port is taken first: loading a model in vain would take seconds.
    host = options.host
    token = os.environ.get(TOKEN) or None
    with bind(host, options.port) as listening:
        if token is not None and not re.fullmatch("[!-~]+", token):
            raise UsageError(
                f"{TOKEN} must be printable ASCII characters without spaces. Set it to other ones."
            )

        # Everyone who can reach the server can use it and read the model. A name is resolved to its
        # address, which counts.
        address, port, *_ = listening.getsockname()
        if token is None and not is_loopback(address):
            raise UsageError(
                f"{named('host', host)} is open to other machines: set {TOKEN} to a token, or use"
                " 127.0.0.1."
            )

        # Damaged weights are found before the address is printed: `model_for` raises
        # CheckpointError if the predictions are not finite.
        model = load_model(options.run, quiet=options.quiet)
        model.generator.model_for("int8", clamps={})

        # `server` is created below, before the first request.
        served = Server(model, token=token, is_over=lambda: server.should_exit)
        # A name may have addresses of two families, of which only one is bound.
        name = f"[{address}]" if ":" in address else address
        print_path(f"http://{name}:{port}")
        if not options.quiet:
            write_aside(f"{model.name} is served; Ctrl-C ends it")

        server = uvicorn.Server(configure(served.app, "error" if options.debug else "critical"))
        server.run(sockets=[listening])
