"""Declare the options of the command line, each once, at the dataclass field that it sets.

    @dataclass(frozen=True, kw_only=True)
    class GreetOptions:
        names: Sequence[str] = argument("NAME", help="Who is greeted.", default=())
        num_times: int = option(1, "--times N", "How often.", allowed=at_least(1))

The command line builds its parameters from the `parameters_of` such a class, and makes an object of
the class from the typed values (`cli.command_options`). A field may also be an `option_group`,
which is an object of another such class, or `option_texts`, which are the typed values for the
fields of another class.
"""

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, Field, dataclass, field, fields, replace
from operator import index
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from charrnn.errors import UsageError, did_you_mean, named, plain_number, shortened

Owner = TypeVar("Owner")
"""The type of a dataclass whose fields declare options."""
_KEY = "parameter"
"""Key of the declared parameter in the metadata of a field."""
RANGE = "range"
"""Key of the `Range` in the metadata of a field."""


@dataclass(frozen=True)
class Range:
    """The allowed values of a field, apart from `auto` and null.

    It stands beside a field and serves three: the check, the message, and the page of all settings.
    """

    words: str
    """A description that completes the sentence "it must be …"."""
    contains: Callable[[Any], bool]
    choices: tuple[str, ...] = ()
    """The allowed words, if the field accepts words."""


@dataclass(frozen=True)
class Option:
    """An option of a command, or an argument: its name, its help and its values.

    `option` and `argument` make one, and `command_options.command_of` reads it.
    """

    flag: str
    """The option as it is typed, such as --top-p; "" for an argument, a word that belongs to no
    option."""
    help: str
    metavar: str | None = None
    """Placeholder of the value in `--help`; None for a flag without a value."""
    panel: str | None = None
    """Title of its group in `--help`; None for the group of frequent options."""
    _: KW_ONLY
    is_hidden: bool = False
    """Whether the help leaves the option out; the reference has it."""
    shown_default: str | None = None
    """The default as the help shows it; None if the help shows no default."""
    name: str = ""
    """The field that it sets. Messages name the option by it (`errors.named`)."""
    allowed: Range | None = None
    """The allowed values; None if every value of its type is."""
    kind: type = bool
    """The type of its value; bool for an option without a value."""
    is_repeatable: bool = False
    """Whether it may be given several times; its value is then a list."""
    may_be_empty: bool = False
    """Whether an empty text has a meaning of its own."""
    letter: str = ""
    """Its short spelling, such as -q; "" if it has none."""


def between(least: float, most: float) -> Range:
    """Return the range of numbers from `least` to `most`.

    `at_least` has no upper end, and `one_of` is for words.
    """
    return Range(
        f"between {least} and {most}", contains=lambda number: bool(least <= number <= most)
    )


def at_least(least: int) -> Range:
    """Return the range of whole numbers from `least` on, int or of NumPy.

    Sizes and counts need it; `between` is for numbers that may be fractions.
    """
    return Range(f"at least {least}", contains=lambda number: index(number) >= least)


def one_of(*words: str) -> Range:
    """Return the range that consists of these words.

    A word that is nearly one of them is named in the message.
    """
    return Range(f"one of {', '.join(words)}", contains=words.__contains__, choices=words)


def check(name: str, value: Any, allowed: Range, remedy: str = "") -> None:
    """Raise UsageError unless a value is in its range: with the name of the parameter or field, the
    value, the range, the word that was probably meant, and the remedy.

    Use it for a single argument; a dataclass of settings calls `check_fields` once for all of them.
    """
    wanted = allowed.words
    try:
        is_allowed = allowed.contains(value)
    except TypeError:
        is_allowed = False
        wanted += f", not of type {type(value).__name__}"
    if not is_allowed:
        hint = did_you_mean(str(value), allowed.choices)
        raise refused(name, value, wanted=wanted, remedy=hint + remedy)


def refused(name: str, value: object, wanted: str, remedy: str = "") -> UsageError:
    """Return the error of a value that cannot be used: with the name of the parameter or field, the
    value, what it must be, and the remedy.

    It makes the message alone, for a value that is refused for another reason than its range.
    """
    return UsageError(
        f"{named(name)} is {written(value)}; it must be {wanted}{plain_number(value)}.{remedy}"
    )


def check_fields(options: Any) -> None:
    """Check every field of a dataclass that has a range. Raises UsageError; None is a value that
    was left out.

    Call it in `__post_init__`.
    """
    for class_field in fields(options):
        allowed = class_field.metadata.get(RANGE)
        value = getattr(options, class_field.name)
        if allowed is not None and not (value is None and class_field.default is None):
            check(class_field.name, value, allowed=allowed)


def written(value: object) -> str:
    """Return a value for a message. It is shortened, because it may be a file of a megabyte.

    Every value that a user gave goes through it before it stands in a message.
    """
    try:
        if isinstance(value, list | dict):
            return reprlib.repr(value)
        if isinstance(value, tuple):
            return shortened("/".join(map(str, value)))
        return shortened(str(value))
    # Python refuses to convert a number of thousands of digits to a string.
    except ValueError:
        return "a number of thousands of digits"


def words_in_text(words: Iterable[str]) -> str:
    """Join words as in a sentence: "stacked, residual or grid"."""
    *first_words, last_word = words
    return f"{', '.join(first_words)} or {last_word}"


def setting(default: Any, allowed: Range) -> Any:
    """Make a dataclass field with a range, but without an option: for a setting that Python alone
    has, or that many commands name by `--set`."""
    return field(default=default, metadata={RANGE: allowed})


@dataclass(frozen=True)
class _Group:
    """The options of another class, from which an object of this class is made."""

    owner: type[Any]


@dataclass(frozen=True)
class _Texts:
    """The options of another class, whose values are kept as they were typed."""

    owner: type[Any]


def option(
    default: Any,
    flags: str,
    help: str,
    panel: str | None = None,
    *,
    allowed: Range | None = None,
    shown_default: str | None = None,
    is_hidden: bool = False,
    letter: str = "",
    may_be_empty: bool = False,
) -> Any:
    """Make a dataclass field that an option of the command line sets.

    `flags` consists of the option and the placeholder of its value if it has one: "--temp T". A
    `default` that is a class, such as dict, is called to make the default. The help shows the
    default if it can be typed; `shown_default` describes any other default. `check_fields` checks
    that the value is `allowed`. What nearly nobody needs `is_hidden`. A `letter` such as -q is a
    second spelling, for an option that is typed all the time. An empty text is refused, because it
    is mostly that of a shell variable that is not set, unless it `may_be_empty`.
    """
    flag, _, placeholder = flags.partition(" ")
    # The help does not show that a flag is off by default.
    is_typed = isinstance(default, int | float | str) and not isinstance(default, bool)
    if shown_default is None and is_typed and default != "":
        shown_default = str(default)
    declared = Option(
        flag=flag,
        help=help,
        metavar=placeholder or None,
        panel=panel,
        shown_default=shown_default,
        is_hidden=is_hidden,
        letter=letter,
        may_be_empty=may_be_empty,
    )

    # A list or a dict as default would be shared by all objects.
    metadata = {_KEY: declared, RANGE: allowed}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def argument(
    metavar: str,
    help: str,
    *,
    default: Any = None,
    shown_default: str | None = None,
    may_be_empty: bool = False,
) -> Any:
    """Make a dataclass field that an argument of the command line sets. `metavar` is what the help
    calls it, such as [RUN]. An empty text is refused, unless it `may_be_empty`.

    An option has a name on the command line, and an argument only its place: use it for the one or
    two things that a command is about.
    """
    declared = Option(
        flag="",
        help=help,
        metavar=metavar,
        shown_default=shown_default,
        may_be_empty=may_be_empty,
    )
    return field(default=default, metadata={_KEY: declared, RANGE: None})


def option_group(owner: type[Any]) -> Any:
    """Make a dataclass field that holds an object of another class, made from the options of that
    class.

    A command offers the options of a class that Python uses, too, without a second declaration.
    """
    return field(default_factory=owner, metadata={_KEY: _Group(owner)})


def option_texts(owner: type[Any]) -> Any:
    """Make a dataclass field that holds the typed values of the options of another class, by the
    names of its fields; "true" for an option without a value.

    `train` has it for the settings of a run: they are merged with those of files before anything is
    converted.
    """
    return field(default_factory=dict, metadata={_KEY: _Texts(owner)})


def parameters_of(owner: type[Any]) -> Iterator[Option]:
    """Yield the options and arguments of a dataclass and of its groups, in the order of the fields.

    Commands, their help and the reference are made of what it yields.
    """
    for class_field in fields(owner):
        declared = class_field.metadata.get(_KEY)
        # The name and the type of the option are the name and the type of the field.
        if isinstance(declared, Option):
            kind, is_repeatable = _kind_of(_type_of(owner, class_field))
            yield replace(
                declared,
                name=class_field.name,
                kind=kind,
                is_repeatable=is_repeatable,
                allowed=class_field.metadata[RANGE],
            )
        elif isinstance(declared, _Group):
            yield from parameters_of(declared.owner)
        # Typed values are texts, whatever the type of the field: another layer converts them.
        elif isinstance(declared, _Texts):
            for option_ in options_of(declared.owner):
                if option_.kind is bool:
                    yield option_
                else:
                    yield replace(option_, kind=str, allowed=None)


def options_of(owner: type[Any]) -> tuple[Option, ...]:
    """Return the options of a dataclass and of its groups, in the order of the fields."""
    return tuple(parameter for parameter in parameters_of(owner) if parameter.flag)


def make(owner: type[Owner], given_values: Mapping[str, Any]) -> Owner:
    """Make an object of a dataclass from the given values, by the names of the fields.

    Sources of several kinds name only what they set.

    The other fields have their defaults. Raises the errors of the class.
    """
    # The given values are flat, but the object contains an object for each group.
    values: dict[str, Any] = {}
    for class_field in fields(owner):  # type: ignore[arg-type]
        declared = class_field.metadata.get(_KEY)
        if isinstance(declared, _Group):
            values[class_field.name] = make(declared.owner, given_values)
        elif isinstance(declared, _Texts):
            texts = {}
            for option_ in options_of(declared.owner):
                if option_.name not in given_values:
                    continue
                # An option without a value is True.
                typed = given_values[option_.name]
                texts[option_.name] = "true" if typed is True else typed
            values[class_field.name] = texts
        elif declared is not None and class_field.name in given_values:
            values[class_field.name] = given_values[class_field.name]
    return owner(**values)


def _type_of(owner: type[Any], class_field: Field[Any]) -> Any:
    """Return the type of a field, which is a string in a module with postponed annotations."""
    if isinstance(class_field.type, str):
        return get_type_hints(owner)[class_field.name]
    return class_field.type


def _kind_of(hint: Any) -> tuple[type, bool]:
    """Return the type of an option that sets a field with this type, and whether it is
    repeatable."""
    members: tuple[Any, ...] = (hint,)
    if isinstance(hint, UnionType):
        members = get_args(hint)

    # The first type in this order decides. If a field takes a number or a word, the class checks
    # which of them was given.
    for kind in (bool, int, float, str, Path):
        if kind in members:
            return kind, False

    # An option for a list may be given several times; a tuple is a single value.
    origin = get_origin(members[0])
    is_collection = (
        isinstance(origin, type) and origin is not tuple and issubclass(origin, Iterable)
    )
    return str, is_collection
