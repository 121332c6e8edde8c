"""Options of the command line, declared as metadata of the dataclass fields that they set.

A field that is made by `option` has its default, its flags and its help text in one place; the command line builds its
parameters from `options_of` a dataclass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

KEY = "option"
"""Key of an `Option` in the metadata of a field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """How the command line sets a field."""

    flags: tuple[str, ...]
    """The option and its other spellings: --temp, --temperature."""
    help: str
    metavar: str | None = None
    """Placeholder of the value in `--help`; None for a flag without a value."""
    panel: str | None = None
    """Title of its group in `--help`; None: the options that everybody uses."""
    least: float | None = None
    """Smallest value that is accepted; None: whatever the dataclass accepts."""
    is_hidden: bool = False
    """Whether the help leaves it out: an old spelling of what `--set` does."""


def option(
    default: Any,
    flags: str,
    help: str,
    panel: str | None = None,
    *,
    least: float | None = None,
    is_hidden: bool = False,
) -> Any:
    """Make a dataclass field that an option of the command line sets. A class as default, such as dict, is called.

    `flags` are the spellings and, after them, the placeholder of a value: "--temp, --temperature T".
    """
    spellings = [word.rstrip(",") for word in flags.split() if word.startswith("--")]
    placeholder = flags.rpartition(spellings[-1])[2].strip() or None
    declared = Option(
        flags=tuple(spellings), help=help, metavar=placeholder, panel=panel, least=least, is_hidden=is_hidden
    )
    return field(metadata={KEY: declared}, **{"default_factory" if isinstance(default, type) else "default": default})


def options_of(options: type[Any]) -> Mapping[str, Option]:
    """Return the options of a dataclass by the names of their fields, in the order of the fields."""
    return {one.name: one.metadata[KEY] for one in fields(options) if KEY in one.metadata}
