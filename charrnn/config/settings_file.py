"""Merge a configuration from flags, environment and recipes, and read and write it as YAML.

The first source that sets a field decides: flag, environment (`CHARRNN_SEED=7`), file, catalogue,
default.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from charrnn.config.settings import (
    BUDGETS,
    DOCUMENTS,
    FIELD_NAMES,
    WIDTHS,
    Config,
    check_field_name,
    parse_value,
)
from charrnn.errors import DataError, UsageError, did_you_mean
from charrnn.system.files import with_home


class MergedSettings(NamedTuple):
    """The configuration that several sources make together.

    `--show-config` prints where each value is from.
    """

    config: Config
    """Its values."""
    origins: dict[str, str]
    """Where each value comes from, by the name of the field: `default`, `flag`, ..."""


def merge_settings(
    *,
    flags: Mapping[str, object],
    file: Mapping[str, object] | None = None,
    file_name: str = "recipe",
    environment: Mapping[str, str] | None = None,
    catalogue: Mapping[str, object] | None = None,
) -> MergedSettings:
    """Merge the values of a configuration from all sources.

    A command calls it; a program gives its settings to `Config`, and reads neither files nor the
    environment. Flags have the highest priority, then environment, file, catalogue and defaults.
    `catalogue` has the settings with which the catalogue of texts reads the text. A budget from one
    source replaces a budget of any kind from a source of lower priority. The same holds for the
    number of units or weights, and for the kind of documents. Raises UsageError, which names the
    source unless it is a flag.
    """
    # List the sources from the lowest priority to the highest.
    values: dict[str, Any] = {}
    origins = dict.fromkeys(FIELD_NAMES, "default")
    sources = {
        "catalogue": catalogue or {},
        file_name: file or {},
        "environment": settings_in(environment or {}),
        "flag": flags,
    }

    for origin, source_values in sources.items():
        # Each value is checked alone, so that an error names its source.
        parsed = {}
        for name, value in source_values.items():
            with naming_source(origin, name=name):
                parsed[name] = parse_value(name, value)
            # A file and a variable of the environment give a path as it was typed.
            if name == "corpus":
                parsed[name] = tuple(map(with_home, parsed[name]))
            elif name == "init_from" and parsed[name] is not None:
                parsed[name] = with_home(parsed[name])

        # A budget replaces a budget of another kind, which would contradict it, and its plan.
        if any(parsed.get(name) is not None for name in BUDGETS):
            values.pop("plan", None)
            origins["plan"] = "default"
        for exclusive in (BUDGETS, WIDTHS, DOCUMENTS):
            if any(parsed.get(name) not in (None, "auto") for name in exclusive):
                for name in exclusive:
                    values.pop(name, None)
                    origins[name] = "default"

        values.update(parsed)
        origins.update(dict.fromkeys(parsed, origin))

    # The class checks which values exclude each other.
    return MergedSettings(Config(**values), origins)


def variable_of(name: str) -> str:
    """Return the environment variable that sets a field: CHARRNN_SEED for `seed`.

    Messages and help name a variable by it, and `settings_in` reads them all.
    """
    return f"CHARRNN_{name.upper()}"


VARIABLES = ("BACKGROUND", "CACHE", "CORPORA", "TIMEOUT_SECONDS")
"""What else the environment variables with the prefix CHARRNN_ name, beside the fields."""


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence about each variable with the prefix CHARRNN_ that nothing reads: it is
    probably misspelt, and would have no effect without a word."""
    known = [*FIELD_NAMES, *map(str.lower, VARIABLES)]
    prefix = variable_of("")
    for variable in sorted(environment):
        name = variable.removeprefix(prefix).lower()
        if not variable.startswith(prefix) or (name in known and variable_of(name) == variable):
            continue
        near = did_you_mean(name, known).partition(" mean ")[2].removesuffix("?")
        hint = f" Did you mean {variable_of(near)}?" if near else ""
        yield f"{variable} is no variable of charrnn, and changes nothing.{hint}"


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings among the variables of an environment, by the names of their fields: the
    value of `CHARRNN_SEED` as `seed`."""
    variables = {variable_of(name): name for name in FIELD_NAMES}
    return {variables[key]: value for key, value in environment.items() if key in variables}


@contextmanager
def naming_source(origin: str, name: str) -> Iterator[None]:
    """Prefix a UsageError with the source of the value, unless the source is a flag.

    A user who has typed nothing wrong must be told that the value is in a file or a variable.
    """
    try:
        yield
    except UsageError as error:
        if origin == "flag":
            raise
        source = variable_of(name) if origin == "environment" else origin
        # Without backticks, because the command line shows what stands in them as options.
        problem = str(error).replace("`", "")
        raise type(error)(f"{source}: {problem}") from None


SEAL_START = "# SHA-256 of what follows: "
"""The beginning of the configuration of a run, which has every field of its version."""
MAX_YAML_LENGTH = 128 * 1024
"""Maximum length of a file of settings, in characters: more than `to_yaml` writes."""
FlatValue = str | list[str | None] | None
"""The value after `field:`. Numbers are texts, which `settings.parse_value` converts."""


@lru_cache(maxsize=64)
def load_yaml(text: str, origin: str) -> dict[str, FlatValue]:
    """Read lines of `field: value`, where a value is a word, a number or a list of them.

    The result is cached and shared by all callers, because commands read the same settings again
    and again. Raises DataError, which names `origin` and the line, for any other YAML.
    """
    import yaml

    if len(text) > MAX_YAML_LENGTH:
        raise DataError(f"{origin} has {len(text):,} characters; the limit is {MAX_YAML_LENGTH:,}.")

    try:
        return _flat_values(text, origin)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('"<unicode string>", ', "").split())[:150]
        raise DataError(f"{origin} is not YAML: {reason}") from None


def _flat_values(text: str, origin: str) -> dict[str, FlatValue]:
    """Read flat YAML from the events of its parser.

    Nothing is constructed from a tag, and the first alias or nested bracket ends the loop, so a
    hostile file costs neither time nor memory.
    """
    import yaml

    # The parser in C is much faster, if PyYAML has it.
    parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if "\\u" in text:  # The parser in C refuses escapes of file names that are not UTF-8.
        parser = yaml.SafeLoader

    # `name` is the field whose value is expected, and `items` the list that is open.
    values: dict[str, FlatValue] = {}
    name: str | None = None
    items: list[str | None] | None = None
    is_open = False
    for event in yaml.parse(text, parser):
        match event:
            case yaml.MappingStartEvent() if not is_open:
                is_open = True
            case yaml.MappingEndEvent():
                is_open = False
            # An item of the list that is the value of a field, a value, or a field.
            case yaml.ScalarEvent() if items is not None:
                items.append(_value(event))
            case yaml.ScalarEvent() if name is not None:
                values[name] = _value(event)
                name = None
            case yaml.ScalarEvent() if is_open and event.value not in values:
                name = event.value
            case yaml.SequenceStartEvent() if name is not None and items is None:
                items = []
            case yaml.SequenceEndEvent() if name is not None:
                values[name] = items
                name = items = None
            # Anything else than the beginning and the end of the file.
            case yaml.NodeEvent():
                mark: Any = event.start_mark
                raise DataError(
                    f"{origin} is not flat YAML: line {mark.line + 1}. Write each field once, as"
                    " `field: value`, where the value is a word, a number or a list of them."
                )
    return values


def _value(scalar: Any) -> str | None:
    """Return a word or a number as text; None for a null that is not in quotes."""
    if not scalar.style and scalar.value in ("", "~", "null"):
        return None
    if scalar.value == ".inf":  # YAML writes infinity with a point, and `float` reads "inf".
        return "inf"
    return str(scalar.value)


def read_yaml(text: str, origin: str) -> dict[str, object]:
    """Read the fields of a file of settings, before merging.

    Raises DataError for what `load_yaml` refuses, UsageError for an unknown field.
    """
    loaded = load_yaml(text, origin)
    with naming_source(origin, name=""):
        values: dict[str, object] = {
            check_field_name(name): value for name, value in loaded.items()
        }
    # A run of an older version has read every file as it stands, with one learning rate for
    # embedding and output, which fell along half a cosine.
    if text.startswith(SEAL_START):
        values.setdefault("clean", "false")
        values.setdefault("output_scale", "1")
        values.setdefault("decay_shape", "cosine")
        values.setdefault("decay_share", "1")
    return values


def read_recipe(name: str) -> dict[str, object]:
    """Read a recipe from a `.yaml` file, or by its name in `charrnn/config/recipes`.

    It is for settings that somebody has written, by hand or by `--show-config`; those of a
    checkpoint are read by `from_yaml`.

    Raises UsageError, which lists the names, if there is no such recipe.
    """
    folder = Path(__file__).parent / "recipes"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        return read_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        stems = sorted(recipe.stem for recipe in folder.glob("*.yaml"))
        remedy = f"{', '.join(stems)}; or give a .yaml file.{did_you_mean(name, stems)}"
        raise UsageError(f"No recipe {name!r}. Recipes: {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe {name!r} cannot be read: {error}.") from None


def to_yaml(config: Config) -> str:
    """Encode a configuration as YAML; `from_yaml` returns an equal one."""
    import yaml

    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def from_yaml(text: str, origin: str) -> Config:
    """Parse the output of `to_yaml`. A missing field has its default.

    Raises DataError or UsageError, which names the field and `origin`.
    """
    loaded: dict[str, Any] = read_yaml(text, origin)
    with naming_source(origin, name=""):
        return Config(**loaded)
