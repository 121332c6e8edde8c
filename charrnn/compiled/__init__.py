"""Loops compiled by numba for long texts."""

from collections.abc import Mapping

from charrnn.hooks import hookimpl


@hookimpl
def compiled_loops() -> Mapping[str, str]:
    """Return the modules of the loops by the name of the loop."""
    return {
        "read": "charrnn.compiled.sampling",
        "write": "charrnn.compiled.sampling",
    }
