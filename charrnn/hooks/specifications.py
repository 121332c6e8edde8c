"""Every kind of extension, one hook each.

A package adds to charrnn by functions with these names, marked with `hookimpl`:

    from charrnn.hooks import hookimpl

    @hookimpl
    def detectors():
        return {"vowel": "my_package.sounds:label_vowels"}

The last paragraph of each hook below is an example of what it returns. The module with these
functions is imported by nearly every command, so it should import little: what a hook needs is
imported inside the function. What is offered by a name is given as a place, "module:name", which is
imported when somebody asks for that name. The functions of one package are called in no promised
order.

A package registers its module as an entry point of the group `charrnn`. docs/use/extending.md
shows how.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from charrnn.hooks import hookspec


class Record:
    """A dataclass that a hook returns. A wrong type is an error in the code of the package that
    makes the record, and not later in a command."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Raise TypeError for a field that has another type than the class says."""
        for name, types in _types_of(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            if not isinstance(value, types):
                words = " or ".join(kind.__name__ for kind in types)
                raise TypeError(f"{name} of {type(self).__name__} is {value!r:.80}, not {words}")


@cache
def _types_of(record: type[Record]) -> dict[str, tuple[type[Any], ...]]:
    """Return the types that each field of a record may have."""
    types = {}
    for name, hint in get_type_hints(record).items():
        if hint is Any:
            continue
        members: tuple[Any, ...] = (hint,)
        if isinstance(hint, UnionType):
            members = get_args(hint)
        # What a list or a function is of is not checked.
        types[name] = tuple(get_origin(member) or member for member in members)
    return types


@dataclass(frozen=True, slots=True)
class CommandEntry(Record):
    """A command, which is imported when it runs or shows its help."""

    name: str
    summary: str
    """The line of `charrnn --help`."""
    place: str
    """Where its function is, as "module:name": it has the parameter `options`, a dataclass that
    declares them (`config.options`), and may have `context`. Or a `typer.Typer` of several
    commands."""
    epilog: str = ""
    """Where the text is that stands below the help."""


@dataclass(frozen=True, slots=True)
class ModelFormat(Record):
    """A form in which a model is given away or read. Its functions are named as "module:name", and
    imported when they are called."""

    suffix: str
    """The end of the names of such files, such as ".zip"; "/" of a folder."""
    content: str
    """What it contains or is for, in a few words."""
    write: str = ""
    """A function of a `charrnn.trained_model.TrainedModel` and a path, which returns the bytes of
    the file or, of a folder, the bytes of each file by its name; "" for a format that is only
    read."""
    read: str = ""
    """A function of the path of a file, which returns the files that `write` of "/" makes, by their
    names; "" for a format that is only written, and for those that charrnn itself reads: the folder
    and the .zip."""
    has_title: bool = False
    """Whether `write` has a parameter `title`, a text or None."""


# What a user types: commands, and what their options name.
@hookspec
def commands() -> Sequence[CommandEntry]:
    """Return commands of `charrnn`, in the order of its help.

    [CommandEntry("greet", summary="Print a greeting.", place="my_package.greeting:greet")]
    """
    raise NotImplementedError


@hookspec
def cell_types() -> Mapping[str, str]:
    """Return what `--cell` takes besides the built-in names: subclasses of
    `charrnn.model.cell_types.Cell`.

    {"leaky": "my_package.cells:Leaky"}
    """
    raise NotImplementedError


@hookspec
def detectors() -> Mapping[str, str]:
    """Return what `--detector` takes besides the built-in names.

    Each is a `charrnn.detectors.detector.Detector`, or a function from a text to one bool or int
    for each character.

    {"vowel": "my_package.sounds:label_vowels"}
    """
    raise NotImplementedError


@hookspec
def formats() -> Sequence[ModelFormat]:
    """Return what `charrnn export` writes, and what is read in place of a run.

    [ModelFormat(".names", content="the names of the weights", write="my_package.names:to_bytes")]
    """
    raise NotImplementedError
