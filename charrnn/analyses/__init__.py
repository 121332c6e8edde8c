"""The analyses of networks and their cells, each in a file or folder of its own: the measurement,
its result, its picture and its option.

A module of this package that ends with ANALYSES adds options to `visualize`: a new analysis is one
new file.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from charrnn.hooks import hookimpl


@hookimpl
def analyses() -> Sequence[Any]:
    """Return the ANALYSES of all modules of this plugin."""
    # The modules are searched, so that no list has to be kept beside the files.
    declared: list[Any] = []
    for entry in iter_modules(__path__):
        module = import_module(f"{__name__}.{entry.name}")
        # Some modules have no option of their own.
        declared += getattr(module, "ANALYSES", ())
    return declared
