"""Options of the command line, each declared once: at the dataclass field that it sets, or beside
its command.

A field that is made by `option` has its default, its flags and its help text in one place; the
command line builds its parameters from `options_of` a dataclass.
"""

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from types import UnionType
from typing import Any, get_args, get_origin

KEY = "option"
"""Key of an `Option` in the metadata of a field."""
RANGE = "range"
"""Key of a `Range` there."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command: its name, what its help says, and what it takes."""

    flag: str
    """As it is typed, such as --top-p."""
    help: str
    metavar: str | None = None
    """Placeholder of the value in `--help`; None for a flag without a value."""
    panel: str | None = None
    """Title of its group in `--help`; None: the options that everybody uses."""
    _: KW_ONLY
    kind: type = str
    """The type of its value; bool for an option without one."""
    repeatable: bool = False
    """Whether it may be given several times; its value is then a list."""
    default: Any = None
    shown_default: str | None = None
    """What the help says of the default, if it is not the value."""
    least: float | None = None
    """Smallest value that is accepted; None: whatever the command accepts."""
    aliases: tuple[str, ...] = ()
    """Further spellings."""
    needs: str = ""
    """The room without which there is no such option, such as "reports" (`hooks.manager.ROOMS`)."""
    name: str = ""
    """The parameter that messages name by `errors.named`, if it is not spelled as the flag."""

    @property
    def parameter(self) -> str:
        """The name of the parameter of a function that receives the value."""
        return self.name or self.flag.lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Range:
    """What a field accepts, apart from `auto` and null."""

    words: str
    """The end of "it must be …"."""
    contains: Callable[[Any], bool]
    choices: tuple[str, ...] = ()
    """The words that are accepted, if it accepts words."""


def between(least: float, most: float) -> Range:
    """Return the range of numbers from `least` to `most`."""
    return Range(f"between {least} and {most}", lambda number: bool(least <= number <= most))


def at_least(least: int) -> Range:
    """Return the range of numbers from `least` on."""
    return Range(f"at least {least}", lambda number: bool(number >= least))


def one_of(*words: str) -> Range:
    """Return the range of some words."""
    return Range(f"one of {', '.join(words)}", words.__contains__, words)


def setting(default: Any, allowed: Range) -> Any:
    """Make a dataclass field with a range that no option of its own sets."""
    return field(default=default, metadata={RANGE: allowed})


def option(
    default: Any,
    flags: str,
    help: str,
    panel: str | None = None,
    *,
    least: float | None = None,
    allowed: Range | None = None,
) -> Any:
    """Make a dataclass field that an option of the command line sets. A class as default, such as
    dict, is called.

    `flags` are the spellings and, after them, the placeholder of a value: "--temp, --temperature
    T". `least` is checked by the command line, `allowed` by `range_of` the field.
    """
    spellings = [word.rstrip(",") for word in flags.split() if word.startswith("--")]
    placeholder = flags.rpartition(spellings[-1])[2].strip() or None
    flag, *aliases = spellings
    declared = Option(flag, help, placeholder, panel, least=least, aliases=tuple(aliases))
    return field(
        metadata={KEY: declared, RANGE: allowed},
        **{"default_factory" if isinstance(default, type) else "default": default},
    )


def options_of(owner: type[Any]) -> tuple[Option, ...]:
    """Return the options of a dataclass in the order of the fields; one that is not given is None
    or False."""
    declared = (one for one in fields(owner) if KEY in one.metadata)
    return tuple(
        replace(one.metadata[KEY], name=one.name, **_kind_of(one.type)) for one in declared
    )


def _kind_of(hint: Any) -> dict[str, Any]:
    """Return the type of an option that sets a field with this type, and whether it is
    repeatable."""
    members = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kind = next((kind for kind in (bool, int, float, str) if kind in members), None)
    origin = get_origin(members[0])
    is_collection = (
        isinstance(origin, type) and origin is not tuple and issubclass(origin, Iterable)
    )
    return {"kind": kind or str, "repeatable": kind is None and is_collection}
