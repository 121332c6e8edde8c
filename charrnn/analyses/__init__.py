"""How cells are looked into, one file each: an analysis has its result, its picture and its option
beside it.

A module here that ends with ANALYSES adds options to `visualize`: a new analysis is one new file.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@hookimpl
def commands() -> Sequence[CommandEntry]:
    """Return the commands of this room."""
    return [
        CommandEntry(
            name="predict",
            summary="Print the most likely next characters.",
            place="charrnn.analyses.predict:predict",
        ),
    ]


@hookimpl
def analyses() -> Sequence[Any]:
    """Return the ANALYSES of all modules of this room."""
    # Found by looking, so that no list has to be kept beside the files.
    found: list[Any] = []
    for entry in iter_modules(__path__):
        module = import_module(f"{__name__}.{entry.name}")
        # Some modules only help the others.
        found += getattr(module, "ANALYSES", ())
    return found


@hookimpl
def lessons() -> Mapping[str, str]:
    """Return the recipes that compare several networks."""
    return {"vanishing": "charrnn.analyses.vanishing:train_vanishing"}


@hookimpl
def cell_sections() -> Sequence[Any]:
    """Return the sections of the page of a cell."""
    # Imported here: what draws them is not needed for the other commands.
    from charrnn.analyses.descriptions import SECTION as DESCRIPTION
    from charrnn.analyses.evidence import SECTION as EVIDENCE
    from charrnn.analyses.inputs import SECTION as INPUTS
    from charrnn.analyses.outputs import SECTION as OUTPUTS

    return [EVIDENCE, INPUTS, OUTPUTS, DESCRIPTION]
