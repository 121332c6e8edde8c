"""Write the page of `--help`: plain text, each name and its text on one line.

Typer draws groups of options with rich alone, and importing rich takes longer than all the rest of
`--help`. Without rich, typer breaks words at hyphens (`--long-` `range`), gives each group a column
of its own, and writes Python types and ranges into the texts.
"""

import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from charrnn.system.words import prints_words

OTHER = "Other options"
"""Group of the options that every command has."""
COMMANDS = "Commands"
"""Title of the commands of a group."""
MAX_NAME = 30
"""Columns of the longest name that has its text on the same line: a longer name would leave too
little of 80 columns to the texts."""
MARGIN = "  "
"""Blanks before the names, and between a name and its text."""

Rows = Sequence[tuple[str, str]]
"""Names and their texts."""


def write_help(command: Any, context: Any, formatter: Any, sections: Mapping[str, Rows]) -> None:
    """Write the whole page of a command to a formatter of typer: usage, description, and the names
    of all sections in one column."""
    # Sections are separated by an empty line.
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    blocks = [f"{_bold('Usage:')} {usage}"]
    blocks += _paragraphs(command.help, formatter.width)

    # Commands have a column of their own: their summaries are to fit on a line of 80 columns.
    option_rows = [row for title, rows in sections.items() for row in rows if title != COMMANDS]
    for title, rows in sections.items():
        column = _column(option_rows)
        if title == COMMANDS:
            column = _column(rows)
        lines = [_bold(f"{title}:")]
        for name, text in rows:
            lines += _row(name, text, column=column, width=formatter.width)
        blocks.append("\n".join(lines))

    blocks += _paragraphs(command.epilog, formatter.width)
    formatter.write("\n\n".join(blocks) + "\n")


def _column(rows: Rows) -> int:
    """Return the width of the column of names. Names longer than MAX_NAME stand on a line of their
    own."""
    return max((len(name) for name, _ in rows if len(name) <= MAX_NAME), default=0)


def _row(name: str, text: str, *, column: int, width: int) -> Iterator[str]:
    """Yield the lines of a name and its text, which wraps beside its column."""
    from textwrap import wrap

    indent = MARGIN + " " * column + MARGIN
    # The first word of a default stays with its bracket: the space between them cannot break.
    unbroken = text.replace("[default: ", "[default:\u00a0")
    lines = wrap(unbroken, width - len(indent), break_on_hyphens=False, break_long_words=False)
    texts = [line.replace("\u00a0", " ") for line in lines]
    first = ""
    if texts and len(name) <= column:
        first = texts.pop(0)

    # Padded by the width on the screen: the codes of a terminal have no width.
    padding = " " * (column - len(name))
    yield f"{MARGIN}{_bold(name)}{padding}{MARGIN}{first}".rstrip()
    for line in texts:
        yield indent + line


def _paragraphs(text: str | None, width: int) -> Iterator[str]:
    """Yield the paragraphs of a docstring, wrapped again."""
    from textwrap import fill

    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph:
            yield fill(
                " ".join(paragraph.split()),
                width,
                initial_indent=MARGIN,
                subsequent_indent=MARGIN,
                break_on_hyphens=False,
            )


def _bold(text: str) -> str:
    """Return text in the codes of bold, which can be read on a dark and on a light background."""
    # A user who asks for no colours wants no bold either, and a file would show the codes.
    is_plain = "NO_COLOR" in os.environ or prints_words()
    if is_plain or not sys.stdout.isatty():
        return text
    return f"\033[1m{text}\033[0m"


def argument_name(argument: Any) -> str:
    """Return an argument as the usage shows it: RUN, [RUN] or [RUN]...; a name of several words,
    such as [RUN] FILE, stays as it is declared."""
    # The same brackets that typer writes.
    name: str = argument.metavar
    if " " in name:
        return name
    if not argument.required:
        name = f"[{name}]"
    if argument.nargs == -1:
        name += "..."
    return name


def option_name(option: Any) -> str:
    """Return an option as it is typed: -q, --quiet, or --temp T."""
    # The letter comes first.
    name = ", ".join(sorted(option.opts, key=len))
    if option.is_flag or option.metavar is None:
        return name
    return f"{name} {option.metavar}"


def parameter_sections(command: Any, context: Any) -> dict[str, Rows]:
    """Return the arguments of a command, its options without a group, each group, and the options
    that every command has."""
    groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(context):
        if parameter.hidden:
            continue
        if parameter.param_type_name == "argument":
            groups["Arguments"].append((argument_name(parameter), parameter.help))
            continue

        # typer's own option --help has no group.
        title = getattr(parameter, "rich_help_panel", None) or "Options"
        if parameter.name == "help":
            title = OTHER
        groups.setdefault(title, []).append((option_name(parameter), parameter.help))

    # The options of every command come last, in a group of their own only if there are several
    # groups.
    common = groups.pop(OTHER)
    last = "Options"
    if len(groups) > 2:
        last = OTHER
    groups.setdefault(last, []).extend(common)
    return {title: rows for title, rows in groups.items() if rows}
