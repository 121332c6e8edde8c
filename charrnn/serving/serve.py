"""charrnn serve: a model for a browser and for OpenAI's clients, by default for those of this
machine only."""

import contextlib
import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from importlib.util import find_spec

from charrnn.cli.arguments import load_model
from charrnn.cli.command_options import ScreenOptions, run_argument
from charrnn.cli.streams import print_path, write_aside
from charrnn.config.options import option
from charrnn.errors import UsageError, install_command, named

OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""What requests of this machine may call it."""
TOKEN = "CHARRNN_TOKEN"
"""The environment variable with the token: on a command line every user of the machine could read
it."""
MAX_CONNECTIONS = 32
"""Connections and requests at a time, at most; more get status 503."""
STOP_SECONDS = 2
"""Time that requests have to end after Ctrl-C; a prompt that is being read is read to its end."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises UsageError if there can be none."""
    # Only an IPv6 address has colons.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
        reason = getattr(error, "strerror", None) or "there is no such address"
        raise UsageError(
            f"{named('host', host[:60])} {named('port', port)}: {reason}. Try 127.0.0.1, or port 0"
            " for any free one."
        ) from None


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address or name."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ScreenOptions):
    """What `charrnn serve` takes."""

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
        if find_spec(package) is None:
            raise UsageError(
                f"charrnn serve needs the package {package}. Install it: {install_command('serve')}"
            )
    import uvicorn

    from charrnn.serving.completions import Server

    # The port is taken first: loading a model in vain would take seconds.
    host = options.host
    token = os.environ.get(TOKEN) or None
    with bind(host, options.port) as listening:
        if token is not None and not re.fullmatch("[!-~]+", token):
            raise UsageError(
                f"{TOKEN} must be printable ASCII characters without spaces. Set it to other ones."
            )

        # Who can reach the server can use it, and read the model.
        is_local = is_loopback(host)
        if not is_local and token is None:
            raise UsageError(
                f"{named('host', host)} is open to other machines: set {TOKEN} to a token, or use"
                " 127.0.0.1."
            )

        # Damaged weights are found before the address is printed: it raises CheckpointError for
        # those that predict nothing finite.
        model = load_model(options.run, quiet=options.quiet)
        model.generator.model_for("int8", clamps={})

        # The server says when it ends; it is made below, before the first request.
        served = Server(model, token=token, is_over=lambda: server.should_exit)
        name = f"[{host}]" if ":" in host else host
        print_path(f"http://{name}:{listening.getsockname()[1]}")
        if not options.quiet:
            write_aside(f"{model.name} is served; Ctrl-C ends it")

        # Requests from this machine must name it: a page of another site that leads its own name to
        # this machine (DNS rebinding) is refused. For others the token does that.
        hosts = (*OWN_NAMES, name) if is_local else ("*",)
        config = uvicorn.Config(
            served.app(hosts),
            log_level="error" if options.debug else "critical",
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=MAX_CONNECTIONS + 1,  # from so many on, it refuses
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        server = uvicorn.Server(config)
        server.run(sockets=[listening])
