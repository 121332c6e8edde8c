"""Objects that show themselves in a notebook.

Records are plain data; what draws them stands in a higher layer, which they may not import. So the package names that
module here, and it is imported when the first object is shown.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType

_drawing_modules: list[str] = []

Record = TypeVar("Record")
"""The type of the records of a list."""


def draw_with(module: str) -> None:
    """Name the module whose function `to_html` returns the HTML of an object, or None if it draws no such object."""
    _drawing_modules[:] = [module]


class Displayable:
    """Base class of objects that a notebook shows as HTML."""

    __slots__ = ()

    def view(self) -> "Sequence[RenderableType]":
        """Return the renderables that show the object: in the terminal, a notebook, the explorer and an export."""
        return ()

    def displayed(self) -> object:
        """Return what is drawn: the object itself, or a record of what it shows."""
        return self

    def _repr_html_(self) -> str | None:
        """Return the object as HTML for Jupyter; None, for its `repr` instead, if nothing draws it."""
        for module in _drawing_modules:
            html: str | None = import_module(module).to_html(self.displayed())
            return html
        return None


class RecordList(list[Record], Displayable):
    """A list of records that a notebook shows as one table or one chart."""


class RecordTuple(tuple[Record, ...], Displayable):
    """A tuple of records that a notebook shows as one table or one chart."""

    __slots__ = ()
