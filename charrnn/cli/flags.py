"""Parameters named in messages, turned into the options of the command line."""

from functools import cache

import typer.main

from charrnn.cli.root import app, command_names
from charrnn.errors import PARAMETER, Message

TRAIN = "train"
"""The command whose options set the fields of a configuration."""

OTHER_NAMES = {
    "temperature": "temp",
    "temperatures": "temps",
    "stops": "stop",
    "clamps": "clamp",
    "width": "beam",
    "mode": "beam_mode",
    "num_layers": "layers",
    "max_chars": "chars",
}
"""From parameters of the Python interface to parameters of a command, where the two differ."""


def with_flags(message: str, command: str | None = None) -> str:
    """Return a message with its parameters as options: `temperature` as --temp, `alphabet=byte` as --alphabet byte.

    `command` is the name of the command that was started; its options come first. A field of the configuration without
    an option becomes --set field=value, and its bare name where the message gives no value. Text that is no `Message`
    is returned as it is.
    """
    if not isinstance(message, Message):
        return message
    return PARAMETER.sub(lambda match: _flag(match[1], command), message.marked)


def _flag(named: str, command: str | None) -> str:
    from charrnn.config import FIELD_NAMES

    name, equals, value = named.partition("=")
    for one in dict.fromkeys((command, TRAIN, *command_names())):
        options = _options(one or "")
        for known in (OTHER_NAMES.get(name), name):
            if known in options:
                return f"{options[known]} {value}" if equals else options[known]
    return f"--set {named}" if equals and name in FIELD_NAMES else named


@cache
def _options(name: str) -> dict[str, str]:
    """Return the options of a command by the names of their parameters; none for a name that is no command."""
    command = typer.main.get_command(app).commands.get(name)  # type: ignore[attr-defined]
    return {
        option.name: option.opts[0]
        # Those of `corpora make` are options of `corpora`: a message does not know which of the two was started.
        for one in (command, *getattr(command, "commands", {}).values())
        if one is not None
        for option in one.params
        if option.name and option.opts[0].startswith("--")
    }
