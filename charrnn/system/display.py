"""Objects that show themselves in a notebook.

Records are plain data. What draws them is of the views, which `charrnn` sets.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

if TYPE_CHECKING:
    from rich.console import RenderableType

notebook: Any = None
"""The module that draws objects, which is above this one: `charrnn`, imported first, sets it."""
Record = TypeVar("Record")
"""The type of the records of a list."""


class Displayable:
    """Base class of objects that a notebook shows as HTML.

    A record type that draws several records in one picture also has a static method
    `view_together(records)`, which returns renderables.
    """

    __slots__ = ()
    _DERIVED: ClassVar[tuple[str, ...]] = ()
    """Properties that `to_json` returns beside the fields."""

    def view(self) -> "Sequence[RenderableType]":
        """Return what the terminal, a notebook, the explorer and an export show.

        Returns:
            Renderables, which `rich.print` prints.

        Example:
            >>> import rich
            >>> [likeliest] = charrnn.load("prose").predict("Th", top=1)
            >>> rich.print(*likeliest.view())
        """
        if hasattr(self, "__rich_console__"):
            return [cast("RenderableType", self)]
        pictures: Sequence[RenderableType] = notebook.view_record(self)
        return pictures

    def to_json(self) -> Any:
        """Return all fields, and what follows from them, for JSON.

        Returns:
            A dictionary; NumPy arrays stay arrays.

        Example:
            >>> [likeliest] = charrnn.load("prose").predict("Th", top=1)
            >>> likeliest.to_json()
            {'character': 'e', 'probability': 0.5...}
        """
        return asdict(cast(Any, self)) | {name: getattr(self, name) for name in self._DERIVED}

    def _repr_html_(self) -> str | None:
        """Return the object as HTML for Jupyter; None, for its `repr` instead, if nothing draws
        it."""
        html: str | None = notebook.to_html(self)
        return html


class RecordList(list[Record], Displayable):
    """A list of records that a notebook shows as one table or one chart."""

    def view(self) -> "Sequence[RenderableType]":
        """Return one table or chart of all records, or else the view of each."""
        pictures: Sequence[RenderableType] = notebook.view_records(self)
        return pictures


class RecordTuple(tuple[Record, ...], Displayable):
    """A tuple of records that a notebook shows as one table or one chart."""

    __slots__ = ()

    def view(self) -> "Sequence[RenderableType]":
        """Return one table or chart of all records, or else the view of each."""
        pictures: Sequence[RenderableType] = notebook.view_records(self)
        return pictures
