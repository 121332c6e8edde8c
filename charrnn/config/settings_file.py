"""Merge a configuration from flags, environment and recipes, and read and write it as YAML.

The first source that sets a field decides: flag, environment (`CHARRNN_SEED=7`), file, default.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from charrnn.config.settings import (
    BUDGETS,
    FIELD_NAMES,
    REMOVED_FIELDS,
    WIDTHS,
    Config,
    check_field_name,
)
from charrnn.errors import DataError, UsageError, did_you_mean, named


def merge_settings(
    *,
    flags: Mapping[str, object],
    file: Mapping[str, object] | None = None,
    file_name: str = "recipe",
    environment: Mapping[str, str] | None = None,
) -> tuple[Config, dict[str, str]]:
    """Merge flags over environment over file over defaults; also return the source of each value.

    A budget from one source replaces a budget of any kind from a source of lower priority, and so
    does a number of units or of weights. Raises UsageError that names the source, unless it is a
    flag.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(FIELD_NAMES, "default")
    variables = {f"CHARRNN_{name.upper()}": name for name in FIELD_NAMES}
    for origin, given in (
        (file_name, file or {}),
        (
            "environment",
            {
                variables[key]: value
                for key, value in (environment or {}).items()
                if key in variables
            },
        ),
        ("flag", flags),
    ):
        parsed = {}
        for name, value in given.items():
            with _naming_source(origin, name):
                parsed[name] = parse_alone(name, value)
        for exclusive in (BUDGETS, WIDTHS):
            if any(parsed.get(name) not in (None, "auto") for name in exclusive):
                for name in exclusive:
                    values.pop(name, None)
                    origins[name] = "default"
        values.update(parsed)
        origins.update(dict.fromkeys(parsed, origin))
    if values.get("muon_scale") == 0:
        if values.get("optimizer") == "muon":
            raise UsageError(
                f"{named('muon_scale')} is 0, which leaves nothing to muon. "
                f"Choose {named('optimizer', 'adamw')}, or {named('muon_scale', 2)}."
            )
        if "optimizer" not in values:
            origins["optimizer"] = origins["muon_scale"]
    return Config(**values), origins


def parse_alone(name: str, value: object) -> Any:
    """Return the value of a field, checked without the other fields. Raises UsageError that names
    the field."""
    alone: dict[str, Any] = {check_field_name(name): value}
    if alone == {"documents": "column"}:
        alone["column"] = "any"
    return getattr(Config(**alone), name)


@contextmanager
def _naming_source(origin: str, name: str) -> Iterator[None]:
    """Prefix a UsageError with the source of the value, unless that is a flag."""
    try:
        yield
    except UsageError as error:
        source = f"CHARRNN_{name.upper()}" if origin == "environment" else origin
        raise type(error)(error.marked if origin == "flag" else f"{source}: {error}") from None


MAX_YAML_LENGTH = 128 * 1024
"""Characters of a YAML file at most: more than `to_yaml` writes, and parsed in half a second."""
_WORDS = r"(?:[\w./]|-\d)[\w./+-]*(?: [\w./+-]+)*"
_FLAT = re.compile(
    rf"(?:(?:# [^\n]*|\w+:(?: (?:{_WORDS}|\[\]|'[^'\n]*'))?|- {_WORDS})\n)*", re.ASCII
)
"""Matches YAML without nesting, as `to_yaml` writes it."""


@lru_cache(maxsize=64)
def load_yaml(text: str, origin: str) -> Any:
    """Parse YAML into plain values, which callers share: commands read the same settings again and
    again.

    Raises DataError that names `origin` for invalid YAML, repeated keys and more than
    `MAX_YAML_LENGTH` characters.
    """
    import yaml

    if len(text) > MAX_YAML_LENGTH:
        raise DataError(f"{origin} has {len(text):,} characters; the limit is {MAX_YAML_LENGTH:,}.")
    if re.search(r"([\[{]\s*){50}", text):  # the parser in Python takes seconds before it gives up
        raise DataError(f"{origin} is not YAML: brackets are nested too deeply.")

    # The parser in C is eight times as fast, but overflows the stack of the process where brackets
    # are nested deeply.
    base: Any = (
        getattr(yaml, "CSafeLoader", yaml.SafeLoader) if _FLAT.fullmatch(text) else yaml.SafeLoader
    )

    class Loader(base):  # type: ignore[misc]
        """Rejects what `SafeLoader` accepts: repeated keys, of which it keeps the last, and merge
        keys (`<<`).

        A few hundred bytes of nested merge keys expand until the memory is full. Rejects numbers of
        thousands of digits too, such as `0xffff…`: Python reads them, and then refuses to convert
        them to a string.
        """

        def construct_scalar(self, node: Any) -> Any:
            if node.tag == "tag:yaml.org,2002:int" and len(node.value) > 1000:
                fault = "a number has more than 1,000 digits"
                raise yaml.constructor.ConstructorError(None, None, fault, node.start_mark)
            return super().construct_scalar(node)

        def flatten_mapping(self, node: Any) -> None:
            seen: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                is_merge = key.tag == "tag:yaml.org,2002:merge"
                if is_merge or key.value in seen:
                    fault = (
                        "merge keys are not allowed" if is_merge else f"{key.value} is given twice"
                    )
                    raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
                seen.add(key.value)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())[:150]
    except RecursionError:
        reason = "it is nested too deeply"
    except (ValueError, LookupError, TypeError, AttributeError):  # such as `!!int ""` or `!!bool x`
        reason = "a value does not fit its tag, or is no possible date"
    raise DataError(f"{origin} is not YAML: {reason}")


def read_yaml(text: str, origin: str, ignored: Collection[str] = ()) -> dict[str, object]:
    """Parse YAML `text` into field values, before merging. The fields in `ignored` are left out.

    Raises DataError if it is no YAML mapping, UsageError for an unknown field.
    """
    loaded = load_yaml(text, origin)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise DataError(
            f"{origin} must contain `field: value` lines, not a {type(loaded).__name__}."
        )
    with _naming_source(origin, ""):
        return {
            check_field_name(str(name)): value
            for name, value in loaded.items()
            if name not in ignored
        }


def read_recipe(name: str) -> dict[str, object]:
    """Read a recipe: a `.yaml` file, or the name of one in `charrnn/recipes`.

    Raises UsageError that lists the names if there is no such recipe.
    """
    folder = Path(__file__).parent / "recipes"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        return read_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The recipe {path} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from None
    except OSError as error:
        stems = sorted(recipe.stem for recipe in folder.glob("*.yaml"))
        instead = f"{', '.join(stems)}; or give a .yaml file.{did_you_mean(name, stems)}"
        raise UsageError(f"No recipe {name!r} ({error.strerror}). Recipes: {instead}") from None


def to_yaml(config: Config) -> str:
    """Encode a configuration as YAML; `from_yaml` returns an equal one."""
    import yaml

    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def from_yaml(text: str, origin: str, absent: Mapping[str, object] | None = None) -> Config:
    """Parse the output of `to_yaml`. A missing field has the value in `absent`, else its default.

    Raises DataError or UsageError that names the field and `origin`.
    """
    loaded: dict[str, Any] = {**(absent or {}), **read_yaml(text, origin, REMOVED_FIELDS)}
    with _naming_source(origin, ""):
        return Config(**loaded)
