"""What a sweep varies, and which runs follow from it."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from charrnn.config.settings import FIELD_NAMES, Config, check_field_name
from charrnn.config.settings_file import parse_alone
from charrnn.errors import UsageError, check_range, named
from charrnn.text.sources import catalogued_settings

FINISHED, FAILED, STOPPED, WAITING = "finished", "failed", "stopped", "waiting"
"""States of a run of a sweep: trained to its end; ended by an error; saved before its end; not
started."""
MAX_RUNS = 10_000
"""Runs of a sweep at most."""
MAX_SEEDS = 1000
"""Seeds per setting at most."""
TEXT_FIELDS = (
    "alphabet",
    "encoding",
    "order",
    "order_seed",
    "min_count",
    "split",
    "documents",
    "column",
    "validation_chars",
)
"""Fields that change which characters a run is validated on, or how they are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """One run of a sweep: one setting with one seed."""

    name: str
    """Name of its folder in that of the sweep."""
    values: dict[str, Any]
    """The swept fields of the configuration."""
    seed: int
    status: str = WAITING
    """FINISHED, FAILED, STOPPED or WAITING."""
    nats_per_char: float | None = None
    """Lowest validation loss of a finished run: that of its best step, which every command loads.
    """
    num_parameters: int | None = None
    text_digest: str | None = None
    """SHA-256 of its text."""
    message: str | None = None
    """Why it failed, or what is unusual about it."""


Axis = tuple[Any, ...]
"""The values of one swept field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What a sweep varies. `plan_sweep` builds and checks it."""

    config: Config
    """The settings that all runs share; `seed` is the first seed."""
    axes: Mapping[str, Axis]
    """The swept fields in the order of `Config`, which does not depend on that of the command."""
    num_seeds: int

    def settings(self) -> list[dict[str, Any]]:
        """Return the swept values of each setting: all combinations."""
        combinations = itertools.product(*self.axes.values())
        return [dict(zip(self.axes, values, strict=True)) for values in combinations]

    def runs(self) -> list[SweepRun]:
        """Return all runs: every setting with the first seed, then with the next."""
        # Seed by seed, so that a sweep that is stopped early has compared all settings already.
        runs = []
        for seed in range(self.config.seed, self.config.seed + self.num_seeds):
            for setting in self.settings():
                name = "_".join([*map(_slug, setting.values()), f"seed-{seed}"])
                runs.append(SweepRun(name=name, values=setting, seed=seed))
        return runs

    def config_of(self, setting: Mapping[str, Any], seed: int) -> Config:
        """Return the configuration of a run. Raises UsageError that names a setting whose values
        exclude each other."""
        try:
            config = replace(self.config, seed=seed, **setting)
            # A field that another one overrides would give the same run under two names.
            for name, value in setting.items():
                if getattr(config, name) != value:
                    raise UsageError(f"{named(name)} has no effect with the others. Leave it out.")
            return config
        except UsageError as error:
            together = ", ".join(f"{name}={format_value(value)}" for name, value in setting.items())
            raise UsageError(f"{together}: {error.marked}") from None

    def notes(self) -> Iterator[str]:
        """Yield what limits the comparison of the settings."""
        # A loss per character depends on the characters, and on what counts as one.
        texts = [named(name) for name in self.axes if name in TEXT_FIELDS]
        if texts:
            changed = ", ".join(texts)
            yield (
                f"{changed}: the settings are validated on other characters, so their losses do not"
                " compare"
            )

        # A faster cell takes more steps in the same minutes.
        counted = (self.config.steps, self.config.epochs)
        if counted == (None, None) and self.axes.keys().isdisjoint(("steps", "epochs")):
            yield (
                "a budget in minutes gives each run as many steps as the machine allows:"
                f" {named('steps')} or {named('epochs')} gives all the same"
            )


def plan_sweep(config: Config, axes: Mapping[str, object], *, num_seeds: int) -> SweepPlan:
    """Check what is to be varied. The values of a field are a list, or text as `parse_axis` takes
    it.

    Raises UsageError for a field that does not exist or cannot be swept, a value out of range,
    values that exclude each other, and numbers out of range.
    """
    # The values of each field. Each has a range of its own, and a message that names it.
    parsed = {}
    for name, values in axes.items():
        parsed[check_field_name(name)] = parse_axis(name, values)
    if "corpus" in parsed:
        raise UsageError(f"{named('corpus')} cannot be swept: give the text itself.")
    if "seed" in parsed:
        other = f"{named('seeds')} says how many there are"
        raise UsageError(f"{named('seed')} cannot be swept: {other}.")

    # The seeds, which follow each other.
    check_range("seeds", num_seeds, MAX_SEEDS)
    if config.seed + num_seeds > 2**32:
        raise UsageError(
            f"{named('seed')} is {config.seed}; the last of {num_seeds} seeds must be below 2^32."
        )

    if "-" in config.corpus:
        raise UsageError(
            "A sweep reads its text in every run, and standard input only once: give a file."
        )

    # The number of runs, which is a product and soon larger than anybody meant.
    num_runs = math.prod(map(len, parsed.values())) * num_seeds
    if num_runs > MAX_RUNS:
        raise UsageError(
            f"The sweep has {num_runs:,} runs; at most {MAX_RUNS:,}: give fewer values or seeds."
        )

    # In the order of `Config`, so that names of runs do not depend on how the command was typed.
    ordered = {name: parsed[name] for name in FIELD_NAMES if name in parsed}
    plan = SweepPlan(config=config, axes=ordered, num_seeds=num_seeds)

    # Every combination now: the last of a hundred runs should not be the first to be refused.
    for setting in plan.settings():
        plan.config_of(setting, config.seed)
    return plan


def parse_axis(name: str, values: object) -> Axis:
    """Parse the values of a swept field: a list of values, or text.

    In a text, commas part the values. Raises UsageError for a value that the field cannot have, an
    empty one, and one given twice.
    """
    # From the command line it is text, from Python mostly a list.
    given: Sequence[object] = [values]
    if isinstance(values, str):
        given = values.split(",")
    elif isinstance(values, list | tuple):
        given = values
    if not given or any(isinstance(value, str) and not value.strip() for value in given):
        raise UsageError(f"{named(name)} has an empty value: separate values by single commas.")

    # The same value twice, in whatever spelling, would be two runs with one name.
    parsed: list[Any] = []
    for value in given:
        found = parse_alone(name, value)
        if found in parsed:
            raise UsageError(
                f"{named(name)} has the value {format_value(found)} twice: leave one out."
            )
        parsed.append(found)
    return tuple(parsed)


def format_value(value: object) -> str:
    """Return a value as text that `parse_axis` reads as that value."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "/".join(map(format_value, value))
    if isinstance(value, float):
        # 1e-05 and 0.003 are shorter than what `str` writes, but must be the same number.
        short = f"{value:.6g}"
        if float(short) == value:
            return short
    return str(value)


def setting_arguments(config: Config) -> list[str]:
    """Return the settings of a configuration as arguments of `charrnn train`, without its
    corpus."""
    # Those that the catalogue would change as well, where they are as for other texts.
    values = changed_settings(config)
    for name in catalogued_settings(config.corpus):
        values.setdefault(name, to_json(getattr(config, name)))
    values.pop("corpus", None)
    arguments: list[str] = []
    for name, value in values.items():
        arguments += ["--set", f"{name}={format_value(value)}"]
    return arguments


def _slug(value: object) -> str:
    """Return a value as part of a folder's name, with a digest where characters of it are left
    out."""
    # What every file system and every shell takes as it is.
    text = format_value(value)
    plain = re.sub(r"[^A-Za-z0-9.+-]", "", text).lstrip("-.")[:40]
    if plain == text:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{plain}-{digest}" if plain else digest


def changed_settings(config: Config) -> dict[str, Any]:
    """Return the settings that differ from the defaults, as JSON has them."""
    default = asdict(Config())
    return {
        name: to_json(value) for name, value in asdict(config).items() if value != default[name]
    }


def to_json(value: Any) -> Any:
    """Return a value with lists in place of tuples, as JSON has it."""
    if isinstance(value, tuple | list):
        return [to_json(entry) for entry in value]
    return value
