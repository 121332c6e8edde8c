"""Find a cell type by its name: a built-in one, or that of another package."""

from functools import cache

from charrnn.errors import UsageError
from charrnn.hooks.manager import find_extension
from charrnn.model.cell_types import CELLS, Cell


@cache
def cell_type(name: str) -> type[Cell]:
    """Return the built-in cell type `name`, or the cell type with that name of an installed
    package.

    Use it in place of `CELLS[name]`, which knows the built-in types only.

    Importing the package runs its code. Raises UsageError, which names the package, if its object
    is no cell type.
    """
    if name in CELLS:
        return CELLS[name]

    # Find the cell type of an installed package, or report why there is none.
    plugin = find_extension("cell_types", kind="cell", name=name, built_in=CELLS)
    if plugin is None:
        raise UsageError(f"No installed package provides the cell {name!r}.")
    cell = plugin.load()
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise UsageError(f"The {plugin} is no subclass of charrnn.model.cell_types.Cell.")
    return cell
