"""Options of the command line, each declared once: at the dataclass field that it sets.

    @dataclass(frozen=True, kw_only=True)
    class GreetOptions:
        names: Sequence[str] = argument("NAME", help="Who is greeted.", default=())
        num_times: int = option(1, "--times N", "How often.", least=1)

The command line builds its parameters from `parameters_of` such a class, and makes an object of the
class from what was typed (`cli.command_options`). A field may be an `option_group`, another such
object, or `option_texts`: what was typed for the fields of another class.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Owner = TypeVar("Owner")
"""The dataclass that an option belongs to."""
_KEY = "parameter"
"""Key of what declares a parameter in the metadata of a field."""
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
    letter: str | None = None
    """A short spelling, such as -q."""
    least: float | None = None
    """Smallest value that is accepted; None: whatever the command accepts."""
    most: float | None = None
    """Largest value that is accepted."""
    shown_default: str | None = None
    """What the help says of the default; None: nothing."""
    needs: str = ""
    """The room without which there is no such option, such as "reports" (`hooks.manager.ROOMS`)."""
    name: str = ""
    """The field that it sets, by which messages name it (`errors.named`)."""
    kind: type = bool
    """The type of its value; bool for an option without one."""
    is_repeatable: bool = False
    """Whether it may be given several times; its value is then a list."""
    is_required: bool = False


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
    return Range(
        f"between {least} and {most}", contains=lambda number: bool(least <= number <= most)
    )


def at_least(least: int) -> Range:
    """Return the range of numbers from `least` on."""
    return Range(f"at least {least}", contains=lambda number: bool(number >= least))


def one_of(*words: str) -> Range:
    """Return the range of some words."""
    return Range(f"one of {', '.join(words)}", contains=words.__contains__, choices=words)


def words_in_text(words: Iterable[str]) -> str:
    """Return words as a text lists them: stacked, residual or grid."""
    *others, last = words
    return f"{', '.join(others)} or {last}"


def setting(default: Any, allowed: Range) -> Any:
    """Make a dataclass field with a range that no option of its own sets."""
    return field(default=default, metadata={RANGE: allowed})


@dataclass(frozen=True, slots=True)
class Argument:
    """A word of the command line that belongs to no option."""

    metavar: str
    help: str
    _: KW_ONLY
    shown_default: str | None = None
    """What the help says of the default; None: nothing."""
    name: str = ""
    """The field that it sets."""
    is_required: bool = False
    is_repeatable: bool = False


@dataclass(frozen=True, slots=True)
class _Group:
    """The options of another class, which make an object of it."""

    owner: type[Any]


@dataclass(frozen=True, slots=True)
class _Texts:
    """The options of another class, whose values are kept as they were typed."""

    owner: type[Any]
    names: Collection[str]
    """The fields whose options are offered; empty for all."""

    def options(self) -> Iterator[Option]:
        """Yield the options that are offered."""
        # A command may offer some of the settings of another one, as a sweep does.
        for declared in options_of(self.owner):
            if not self.names or declared.name in self.names:
                yield declared


def option(
    default: Any,
    flags: str,
    help: str,
    panel: str | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
    allowed: Range | None = None,
    shown_default: str | None = None,
    needs: str = "",
) -> Any:
    """Make a dataclass field that an option of the command line sets. A class as default, such as
    dict, is called; with MISSING the option is required.

    `flags` has the spelling, a letter if there is one, and the placeholder of a value: "--temp T"
    or "--out -o FILE". `least` and `most` are checked by the command line, `allowed` by the class.
    The help shows a default that can be typed; `shown_default` says in words what is done without.
    """
    # "--out -o FILE": the option, its letter if there is one, the placeholder if it has a value.
    flag, _, rest = flags.partition(" ")
    letter = None
    if rest.startswith("-"):
        letter, _, rest = rest.partition(" ")
    # A flag is off by default, which goes without saying.
    is_typed = isinstance(default, int | float | str) and not isinstance(default, bool)
    if shown_default is None and is_typed and default != "":
        shown_default = str(default)
    declared = Option(
        flag,
        help,
        metavar=rest or None,
        panel=panel,
        letter=letter,
        least=least,
        most=most,
        shown_default=shown_default,
        needs=needs,
        is_required=default is MISSING,
    )

    # A list or a dict as default would be shared by all objects.
    metadata = {_KEY: declared, RANGE: allowed}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def argument(
    metavar: str, help: str, *, default: Any = MISSING, shown_default: str | None = None
) -> Any:
    """Make a dataclass field that an argument of the command line sets, required if it has no
    default."""
    declared = Argument(metavar, help, shown_default=shown_default, is_required=default is MISSING)
    return field(default=default, metadata={_KEY: declared})


def option_group(owner: type[Any]) -> Any:
    """Make a dataclass field for the options of another class, which become an object of it."""
    return field(default_factory=owner, metadata={_KEY: _Group(owner)})


def option_texts(owner: type[Any], *names: str) -> Any:
    """Make a dataclass field with what was typed for the options of another class, by the names of
    its fields; "true" for an option without a value. With `names`, these options only."""
    return field(default_factory=dict, metadata={_KEY: _Texts(owner, names)})


def parameters_of(owner: type[Any]) -> Iterator[Option | Argument]:
    """Yield the options and arguments of a dataclass and of its groups, in the order of the
    fields."""
    for one in fields(owner):
        declared = one.metadata.get(_KEY)
        # The field says what the declaration need not repeat: its name and its type.
        if isinstance(declared, Option):
            kind, is_repeatable = _kind_of(_type_of(owner, one))
            yield replace(declared, name=one.name, kind=kind, is_repeatable=is_repeatable)
        elif isinstance(declared, Argument):
            _, is_repeatable = _kind_of(_type_of(owner, one))
            yield replace(declared, name=one.name, is_repeatable=is_repeatable)
        elif isinstance(declared, _Group):
            yield from parameters_of(declared.owner)
        # What was typed is a text, whatever the field: another layer converts it.
        elif isinstance(declared, _Texts):
            for option_ in declared.options():
                if option_.kind is bool:
                    yield option_
                else:
                    yield replace(option_, kind=str, is_repeatable=True)


def options_of(owner: type[Any]) -> tuple[Option, ...]:
    """Return the options of a dataclass and of its groups, in the order of the fields."""
    return tuple(one for one in parameters_of(owner) if isinstance(one, Option))


def make(owner: type[Owner], given: Mapping[str, Any]) -> Owner:
    """Make an object of a dataclass from the values that were given, by the names of the fields.

    What was not given has its default. Raises what the class raises.
    """
    # What was typed is flat; the object has one of each group inside.
    values: dict[str, Any] = {}
    for one in fields(owner):  # type: ignore[arg-type]
        declared = one.metadata.get(_KEY)
        if isinstance(declared, _Group):
            values[one.name] = make(declared.owner, given)
        elif isinstance(declared, _Texts):
            texts = {}
            for option_ in declared.options():
                if option_.name in given:
                    texts[option_.name] = _texts(given[option_.name])
            values[one.name] = texts
        elif declared is not None and one.name in given:
            values[one.name] = given[one.name]
    return owner(**values)


def _texts(value: Any) -> Any:
    """Return what was typed, as texts: True stands for an option without a value."""
    # All others are repeatable, so their values are lists.
    if value is True:
        return ("true",)
    return value


def _type_of(owner: type[Any], one: "Field[Any]") -> Any:
    """Return the type of a field, which is a string in a module with postponed annotations."""
    if isinstance(one.type, str):
        return get_type_hints(owner)[one.name]
    return one.type


def _kind_of(hint: Any) -> tuple[type, bool]:
    """Return the type of an option that sets a field with this type, and whether it is
    repeatable."""
    members: tuple[Any, ...] = (hint,)
    if isinstance(hint, UnionType):
        members = get_args(hint)

    # The first that fits; of a number or a word, the command line leaves the choice to the class.
    for kind in (bool, int, float, str, Path):
        if kind in members:
            return kind, False

    # A list, which may be given several times; a tuple is one value of several parts.
    origin = get_origin(members[0])
    is_collection = (
        isinstance(origin, type) and origin is not tuple and issubclass(origin, Iterable)
    )
    return str, is_collection
