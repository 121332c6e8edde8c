"""Loops compiled by numba: long texts and the coder of `compress`."""

from collections.abc import Mapping

from charrnn.hooks import hookimpl


@hookimpl
def compiled_loops() -> Mapping[str, str]:
    """Return the modules of the loops by the name of the loop."""
    return {
        "code": "charrnn.compiled.coding",
        "read": "charrnn.compiled.sampling",
        "write": "charrnn.compiled.sampling",
    }
