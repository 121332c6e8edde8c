"""Objects that show themselves in a terminal and in a notebook.

Records are plain data. What draws them is of the views, which `charrnn` sets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

if TYPE_CHECKING:
    from rich.console import RenderableType

views: Any = None
"""The module that draws records, which is above this one: `charrnn`, imported first, sets it."""
_INKS = (
    (118, 118, 118),
    (205, 65, 65),
    (30, 138, 70),
    (160, 112, 0),
    (70, 115, 225),
    (165, 85, 175),
    (0, 128, 128),
    (125, 125, 125),
)
"""The eight colours of a terminal in a notebook, legible on white and on black."""
_PRE = (
    '<pre style="font-family: monospace; white-space: pre; overflow-x: auto; line-height: 1.3;'
    ' color: inherit; background: none">{code}</pre>'
)
Record = TypeVar("Record")
"""The type of the records of a list."""


class Displayable:
    """Base class of objects that show themselves.

    A result of charrnn is one, so that nobody needs to know how it is drawn: a notebook shows it,
    `rich.print(*result.view())` prints it, and `to_json` gives it to another program. A new record
    with numbers that a user may want to see inherits from it. A record type that draws several
    records in one picture also has a static method `view_together(records)`, which returns
    renderables.
    """

    _DERIVED: ClassVar[tuple[str, ...]] = ()
    """Properties that `to_json` returns beside the fields."""

    def view(self) -> "Sequence[RenderableType]":
        """Return what the terminal, a notebook, the explorer and an export show.

        In a terminal one needs it; a notebook calls it by itself.

        Returns:
            Renderables, which `rich.print` prints.

        Example:
            >>> import rich
            >>> [likeliest] = charrnn.load("prose").predict("Th", top=1)
            >>> rich.print(*likeliest.view())
        """
        if hasattr(self, "__rich_console__"):
            return [cast("RenderableType", self)]
        pictures: Sequence[RenderableType] = views.view_record(self)
        return pictures

    def to_json(self) -> Any:
        """Return all fields, and what follows from them, for JSON.

        It writes a result to a file, or hands it to another program:
        `json.dumps(result.to_json())`, where there are no arrays.

        Returns:
            A dictionary; NumPy arrays stay arrays.

        Example:
            >>> [likeliest] = charrnn.load("prose").predict("Th", top=1)
            >>> likeliest.to_json()
            {'character': 'e', 'probability': 0.6...}
        """
        return asdict(cast(Any, self)) | {name: getattr(self, name) for name in self._DERIVED}

    def _repr_mimebundle_(self, **_: object) -> Mapping[str, str] | None:
        """Return the view as HTML and as plain text for Jupyter; None, for the `repr` instead, if
        nothing draws the object."""
        # Imported here: records are used without rich.
        from rich.terminal_theme import TerminalTheme

        pictures = self.view()
        if not pictures:
            return None

        # No environment: neither the colours nor the background of a terminal are the notebook's.
        console = views.print_all(pictures, _environ={})
        # The two colours before _INKS only determine the grey of dim text.
        theme = TerminalTheme((246, 246, 246), (0, 0, 0), list(_INKS))
        return {
            "text/plain": console.export_text(clear=False),
            "text/html": console.export_html(theme=theme, code_format=_PRE, inline_styles=True),
        }


class _Records(Displayable):
    """A collection of records that a notebook shows as one table or one chart."""

    def view(self) -> "Sequence[RenderableType]":
        """Return one table or chart of all records, or else the view of each."""
        pictures: Sequence[RenderableType] = views.view_records(self)
        return pictures


class RecordList(list[Record], _Records):
    """A list of records that is shown as a whole.

    A method that returns several records returns one, where a caller may add to it or sort it;
    `RecordTuple` is for a result that does not change.
    """


class RecordTuple(tuple[Record, ...], _Records):
    """A tuple of records that is shown as a whole.

    A notebook draws one table or chart of all of them, where a plain tuple would be printed record
    by record.
    """
