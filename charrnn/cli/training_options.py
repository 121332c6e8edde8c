"""The options of the settings of a run, which `train` and `sweep` share: the fields of `Config`, and a few more."""

from collections.abc import Callable, Mapping
from typing import Any

from charrnn.cli.options import Option, field_options
from charrnn.config import FOLDER, Config, check_field_name
from charrnn.errors import UsageError

SETTINGS = "All settings"
"""Panel of the options that set any field."""
FIELD_OPTIONS = field_options(Config, as_text=True)
"""The options that set a field of the configuration; each value but that of a flag is a text."""
RECIPE = Option(
    flag="--recipe",
    help="Other defaults: classic (the shape of char-rnn), tiny (15 seconds), or a .yaml file.",
    metavar="NAME",
    panel=SETTINGS,
)
SET = Option(
    flag="--set",
    name="set_",
    help="Set any field, e.g. learning_rate=4e-3 (repeatable).",
    metavar="FIELD=VALUE",
    panel=SETTINGS,
    repeatable=True,
)
LOG = Option(
    flag="--log",
    help="Follow the run in tensorboard, wandb, mlflow or trackio, too (repeatable).",
    metavar="TRACKER",
    panel=FOLDER,
    repeatable=True,
)
SETTING_OPTIONS = (*FIELD_OPTIONS, RECIPE, SET, LOG)
"""The options about the settings of a run."""


def parse_settings(values: Mapping[str, Any], parse: Callable[[str, str], Any], *, example: str) -> dict[str, Any]:
    """Return the fields that options and --set assign, each parsed by `parse` from its name and its text.

    `values` has the options by flag. Raises UsageError that names the field or the --set at fault; `example` is an
    assignment for a message.
    """
    words = {True: "true", False: None}
    texts = {option.parameter: values.get(option.flag) for option in FIELD_OPTIONS}
    texts = {name: words[value] if isinstance(value, bool) else value for name, value in texts.items()}
    parsed = {name: parse(name, text) for name, text in texts.items() if text is not None}
    for assignment in values[SET.flag] or ():
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment}: write it as field=value, e.g. --set {example}.")
        try:
            field = check_field_name(name.strip())
            parsed[field] = parse(field, text)
        except UsageError as error:
            raise UsageError(f"--set {assignment}: {error.marked}") from None
    return parsed
