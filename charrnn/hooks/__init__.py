"""What other installed packages add to charrnn: the hooks, and the records that they return.

A package adds to charrnn by functions with the names in `HOOKS`, marked with `hookimpl`:

    from charrnn.hooks import hookimpl

    @hookimpl
    def detectors():
        return {"vowel": "my_package.sounds:label_vowels"}

The module with these functions is imported by nearly every command, so it should import little:
what a hook needs is imported inside the function. A place, "module:name", is imported when somebody
asks for that name. A package registers its module as an entry point of the group `charrnn`.
docs/use/extending.md shows how.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[[], Any])
"""The type of a function of a package."""


class Record:
    """A dataclass that a hook returns. A wrong type is an error in the code of the package that
    makes the record, and not later in a command.

    Inherit from it in a record of a new hook.
    """

    def __post_init__(self) -> None:
        """Raise TypeError for a text or a truth value that has another type."""
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.type in (str, bool) and not isinstance(value, field.type):
                what = f"{field.name} of {type(self).__name__}"
                raise TypeError(f"{what} is {value!r:.80}, not {field.type.__name__}")


@dataclass(frozen=True)
class CommandEntry(Record):
    """A command, which is imported when it runs or shows its help.

    The hook `commands` returns a list of them: the help lists a command without importing its code.
    """

    name: str
    summary: str
    """The line of `charrnn --help`."""
    place: str
    """Where its function is, as "module:name": it has the parameter `options`, a dataclass that
    declares them (`config.options`), and may have `context`."""
    epilog: str = ""
    """Where the text is that stands below the help."""


@dataclass(frozen=True)
class ModelFormat(Record):
    """A form in which a model is given away or read.

    The hook `formats` returns a list of them, for a program that wants models in a form of its own.
    """

    suffix: str
    """The end of the names of such files, such as ".zip"; "/" of a folder."""
    content: str
    """What it contains or is for, in a few words."""
    write: Callable[..., Any] | None = None
    """A function of a `charrnn.trained_model.TrainedModel` and a path, which returns the bytes of
    the file or, of a folder, the bytes of each file by its name; None for a format that is only
    read."""
    read: Callable[..., Any] | None = None
    """A function of the path of a file, which returns the files that `write` of "/" makes, by their
    names; None for a format that is only written, and for those that charrnn itself reads: the
    folder and the .zip."""
    has_title: bool = False
    """Whether `write` has a parameter `title`, a text or None."""
    has_new: bool = False
    """Whether `write` has a parameter `new`: whether digests of the documents are in the file, by
    which it tells new ones."""


HOOKS: dict[str, type[Any]] = {
    "commands": CommandEntry,
    "cell_types": str,
    "detectors": str,
    "formats": ModelFormat,
}
"""What each hook returns: a list of records of a class, or a dictionary from names to places."""


def hookimpl(function: Function) -> Function:
    """Mark a function of a package as a hook: functions without the mark may have any name.

    Raises TypeError if there is no hook of its name.
    """
    if function.__name__ not in HOOKS:
        raise TypeError(f"there is no hook {function.__name__!r}")
    setattr(function, "is_hook", True)  # noqa: B010 (mypy knows no attributes of functions)
    return function
