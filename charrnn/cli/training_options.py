"""The options of the settings of a run, which `train` and `sweep` share: the fields of `Config`, and a few more."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from charrnn.config import FOLDER, Config, check_field_name
from charrnn.errors import UsageError
from charrnn.options import Option, options_of

SETTINGS = "All settings"
"""Panel of the options that set any field."""
FIELD_OPTIONS = tuple(
    option if option.kind is bool else replace(option, kind=str, repeatable=False) for option in options_of(Config)
)
"""The options that set a field of the configuration; each value but that of a flag is a text."""
RECIPE = Option(
    "--recipe",
    "Other defaults: classic (the shape of char-rnn), tiny (15 seconds), or a .yaml file.",
    "NAME",
    SETTINGS,
)
SET = Option(
    "--set",
    "Set any field, e.g. learning_rate=4e-3 (repeatable).",
    "FIELD=VALUE",
    SETTINGS,
    name="set_",
    repeatable=True,
)
LOG = Option(
    "--log",
    "Follow the run in tensorboard, wandb, mlflow or trackio, too (repeatable).",
    "TRACKER",
    FOLDER,
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
