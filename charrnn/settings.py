"""Where a configuration's values come from: flags, environment, recipes, `config.yaml`.

A value is taken from the first that names it: flag, environment (`CHARRNN_SEED=7`), file, default.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from charrnn.config import BUDGETS, FIELD_NAMES, Config, check_field_name, parse_value
from charrnn.errors import DataError, UsageError, did_you_mean


def merge_settings(
    *,
    flags: Mapping[str, object],
    file: Mapping[str, object] | None = None,
    file_name: str = "recipe",
    environment: Mapping[str, str] | None = None,
) -> tuple[Config, dict[str, str]]:
    """Merge flags over environment over file over defaults; also return where each value came from.

    A budget from a higher layer replaces a budget of any kind from a lower one. Raises UsageError.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(FIELD_NAMES, "default")
    variables = {f"CHARRNN_{name.upper()}": name for name in FIELD_NAMES}
    env_values = {variables[key]: value for key, value in (environment or {}).items() if key in variables}
    for origin, given in (
        (file_name, file or {}),
        ("environment", env_values),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ):
        parsed = {}
        for name, value in given.items():
            with _blaming(origin, name):
                parsed[name] = parse_value(name, value)
        if any(parsed.get(name) is not None for name in BUDGETS):
            for name in BUDGETS:
                values.pop(name, None)
                origins[name] = "default"
        values.update(parsed)
        origins.update(dict.fromkeys(parsed, origin))
    for name, value in values.items():
        with _blaming(origins[name], name):
            Config(**{name: value})
    return Config(**values), origins


@contextmanager
def _blaming(origin: str, name: str) -> Iterator[None]:
    """Put before an error where the value at fault came from, unless the user just typed it."""
    try:
        yield
    except UsageError as error:
        source = f"CHARRNN_{name.upper()}" if origin == "environment" else origin
        raise UsageError(str(error) if origin == "flag" else f"{source}: {error}") from None


MAX_YAML_LENGTH = 128 * 1024
"""In characters. More than `to_yaml` writes (`LONGEST_NAMES`), and little enough to be read in half a second."""

MAX_NUMBER_LENGTH = 100
"""Of a whole number, in characters."""


def load_yaml(text: str, origin: str) -> Any:
    """The plain values that YAML `text` spells.

    Raises DataError naming `origin` for broken YAML, repeated keys and more than `MAX_YAML_LENGTH`.
    """
    import yaml

    if len(text) > MAX_YAML_LENGTH:
        raise DataError(f"{origin} has {len(text):,} characters; it may have {MAX_YAML_LENGTH:,} at the most.")

    class Loader(yaml.SafeLoader):
        """Refuses what `SafeLoader` lets through: a key given twice, of which it keeps the last without a word, and
        merge keys (`<<`), of which a few hundred bytes multiply until the memory is full."""

        def flatten_mapping(self, node: Any) -> None:
            seen: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                is_merge = key.tag == "tag:yaml.org,2002:merge"
                if is_merge or key.value in seen:
                    fault = "merge keys are not read" if is_merge else f"{key.value} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
                seen.add(key.value)

    def whole_number(loader: Loader, node: Any) -> Any:
        if len(str(node.value)) > MAX_NUMBER_LENGTH:  # Python may take any time for it, and then not spell it
            raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
        return loader.construct_yaml_int(node)

    Loader.add_constructor("tag:yaml.org,2002:int", whole_number)
    try:
        return yaml.load(text, Loader)
    # The last three: a tag whose value is not of its kind, such as `!!int ""`, `!!bool x` or `!!timestamp x`.
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise DataError(f"{origin} is not YAML: {reason}") from None


def read_yaml(text: str, origin: str) -> dict[str, object]:
    """Parse YAML `text` into field values, not yet layered.

    Raises DataError where `origin` is no YAML mapping, UsageError for an unknown field.
    """
    loaded = load_yaml(text, origin)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise DataError(f"{origin} must hold `field: value` lines, not a {type(loaded).__name__}.")
    with _blaming(origin, ""):
        return {check_field_name(str(name)): value for name, value in loaded.items()}


def read_recipe(name: str) -> dict[str, object]:
    """Read a recipe: a `.yaml` file, or the name of one that ships in `charrnn/recipes`.

    Raises UsageError where there is none, with the names there are.
    """
    folder = Path(__file__).parent / "recipes"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        return read_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        stems = sorted(recipe.stem for recipe in folder.glob("*.yaml"))
        names, near = ", ".join(stems), did_you_mean(name, stems)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
        raise UsageError(f"No recipe {name!r} ({reason}). Recipes: {names}; or give a .yaml file.{near}") from None


def to_yaml(config: Config) -> str:
    """Spell a configuration as YAML that `from_yaml` reads back to an equal one."""
    import yaml

    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def from_yaml(text: str, origin: str, absent: Mapping[str, object] | None = None) -> Config:
    """Read what `to_yaml` wrote; a field that it lacks is as in `absent`, else its default.

    Raises DataError or UsageError naming the field and `origin`.
    """
    loaded = {**(absent or {}), **read_yaml(text, origin)}
    with _blaming(origin, ""):
        return Config(**{name: parse_value(name, value) for name, value in loaded.items()})
