"""What a sweep varies, and which runs follow from it."""

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from charrnn.config.settings import FIELD_NAMES, Config, check_field_name
from charrnn.config.settings_file import parse_alone
from charrnn.errors import UsageError, check_range, named

FINISHED, FAILED, STOPPED, WAITING = "finished", "failed", "stopped", "waiting"
"""States of a run of a sweep: trained to its end; ended by an error; saved before its end; not
started."""
MAX_RUNS = 10_000
"""Runs of a sweep at most."""


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

    def runs(self) -> list[SweepRun]:
        """Return all runs: every setting with the first seed, then with the next."""
        # Seed by seed, so that a sweep that is stopped early has compared all settings already.
        runs = []
        for seed in range(self.config.seed, self.config.seed + self.num_seeds):
            for values in itertools.product(*self.axes.values()):
                name = "_".join([*map(_slug, values), f"seed-{seed}"])
                setting = dict(zip(self.axes, values, strict=True))
                runs.append(SweepRun(name=name, values=setting, seed=seed))
        return runs

    def config_of(self, run: SweepRun) -> Config:
        """Return the configuration of a run. Raises UsageError for values that exclude each
        other."""
        return replace(self.config, seed=run.seed, **run.values)

    def values_of(self, name: str) -> Axis:
        """Return the values that a field has in the runs: those of its axis, or the one of all."""
        return self.axes.get(name, (getattr(self.config, name),))


def plan_sweep(
    config: Config, axes: Mapping[str, Sequence[object]], *, num_seeds: int
) -> SweepPlan:
    """Check what is to be varied: fields of the configuration, and the values of each.

    Raises UsageError for a field that does not exist or cannot be swept, a value out of range,
    values that exclude each other, and numbers out of range.
    """
    # The values of each field. Each has a range of its own, and a message that names it.
    parsed = {check_field_name(name): parse_axis(name, values) for name, values in axes.items()}
    for name in ("corpus", "seed"):
        if name in parsed:
            raise UsageError(f"{named(name)} cannot be swept: give the text, and {named('seeds')}.")
    if "-" in config.corpus:
        raise UsageError(
            "A sweep reads its text in every run, and standard input only once: give a file."
        )

    # The number of runs, which is a product and soon larger than anybody meant.
    check_range("seeds", value=num_seeds, high=MAX_RUNS)
    num_runs = math.prod(map(len, parsed.values())) * num_seeds
    if num_runs > MAX_RUNS:
        raise UsageError(
            f"The sweep has {num_runs:,} runs; at most {MAX_RUNS:,}: give fewer values or seeds."
        )

    # In the order of `Config`, so that names of runs do not depend on how the command was typed.
    ordered = {name: parsed[name] for name in FIELD_NAMES if name in parsed}
    plan = SweepPlan(config=config, axes=ordered, num_seeds=num_seeds)

    # Every combination now: the last of a hundred runs should not be the first to be refused.
    for run in plan.runs():
        plan.config_of(run)
    return plan


def parse_axis(name: str, values: Sequence[object]) -> Axis:
    """Parse the values of a swept field, each as `charrnn train` does.

    Raises UsageError for a value that the field cannot have, an empty one, and one given twice.
    """
    # The same value twice, in whatever spelling, would be two runs with one name.
    parsed: list[Any] = []
    for value in values:
        if isinstance(value, str) and not value.strip():
            raise UsageError(f"{named(name)} has an empty value: separate values by single commas.")
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
    if isinstance(value, tuple):
        return "/".join(map(format_value, value))
    # 1e-05 and 0.003 are shorter than what `str` writes, but must be the same number.
    if isinstance(value, float) and float(f"{value:.6g}") == value:
        return f"{value:.6g}"
    return str(value)


def setting_arguments(config: Config) -> list[str]:
    """Return the settings of a configuration as arguments of `charrnn train`, without its
    corpus."""
    # All of them: a default would give way to a variable of the environment or to the catalogue.
    arguments = []
    for name, value in asdict(config).items():
        if name != "corpus":
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
    return f"{hashlib.sha256(text.encode()).hexdigest()[:6]}-{plain}"
