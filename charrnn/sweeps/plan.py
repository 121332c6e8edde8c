"""Plan a sweep: the fields that it varies, their values, and the runs."""

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from charrnn.config.settings import FIELD_NAMES, INHERITED, Config, check_field_name
from charrnn.config.settings_file import parse_alone
from charrnn.errors import UsageError, check_range, named

FINISHED, FAILED, STOPPED, WAITING = "finished", "failed", "stopped", "waiting"
"""The states of a run of a sweep: trained to its end, ended by an error, saved before its end, not
started."""
MAX_RUNS = 10_000
"""Maximum number of runs of a sweep."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """One run of a sweep: one setting with one seed."""

    name: str
    """The name of its folder inside the folder of the sweep."""
    values: dict[str, Any]
    """The swept fields of the configuration."""
    seed: int
    status: str = WAITING
    """FINISHED, FAILED, STOPPED or WAITING."""
    nats_per_char: float | None = None
    """The lowest validation loss of a finished run, which is the loss of its best step."""
    num_parameters: int | None = None
    message: str | None = None
    """The reason of a failure, or a note about the run."""


Axis = tuple[Any, ...]
"""The values of one swept field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """The varied and the common settings of a sweep. `plan_sweep` builds and checks it."""

    config: Config
    """The settings that all runs share; `seed` is the first seed."""
    axes: Mapping[str, Axis]
    """The values of the swept fields, in the order of `Config`, whatever the order in the
    command."""
    num_seeds: int

    def runs(self) -> list[SweepRun]:
        """Return all runs: first every setting with the first seed, then with the next seed."""
        # With this order, a sweep that is stopped early has already compared all settings.
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
        """Return the values of a field in the runs: the values of its axis, or the common value."""
        return self.axes.get(name, (getattr(self.config, name),))


def plan_sweep(
    config: Config, axes: Mapping[str, Sequence[object]], *, num_seeds: int
) -> SweepPlan:
    """Check the swept fields of the configuration and their values, and return the plan.

    Raises UsageError for a field that does not exist or cannot be swept, a value out of range,
    values that exclude each other, and numbers out of range.
    """
    # Check the values of each field by its range.
    parsed = {check_field_name(name): parse_axis(name, values) for name, values in axes.items()}
    for name in ("corpus", "seed"):
        if name in parsed:
            raise UsageError(f"{named(name)} cannot be swept: give the text, and {named('seeds')}.")
    if "-" in config.corpus:
        raise UsageError(
            "A sweep reads its text in every run, and standard input only once: give a file."
        )

    # Check the number of runs, which is a product and soon larger than the user expects.
    check_range("seeds", value=num_seeds, high=MAX_RUNS)
    num_runs = math.prod(map(len, parsed.values())) * num_seeds
    if num_runs > MAX_RUNS:
        raise UsageError(
            f"The sweep has {num_runs:,} runs; at most {MAX_RUNS:,}: give fewer values or seeds."
        )

    # The fields are in the order of `Config`, so that names of runs do not depend on the order in
    # the command.
    ordered = {name: parsed[name] for name in FIELD_NAMES if name in parsed}
    plan = SweepPlan(config=config, axes=ordered, num_seeds=num_seeds)

    # Every combination is checked now, and not when its run starts after hours.
    for run in plan.runs():
        plan.config_of(run)
    return plan


def parse_axis(name: str, values: Sequence[object]) -> Axis:
    """Parse the values of a swept field, each as `charrnn train` does.

    Raises UsageError for a value that the field cannot have, for an empty value, and for a value
    that is given twice.
    """
    # The same value in two spellings would be two runs with the same name.
    parsed: list[Any] = []
    for value in values:
        if isinstance(value, str) and not value.strip():
            raise UsageError(f"{named(name)} has an empty value: separate values by single commas.")
        parsed_value = parse_alone(name, value)
        if parsed_value in parsed:
            raise UsageError(
                f"{named(name)} has the value {format_value(parsed_value)} twice: leave one out."
            )
        parsed.append(parsed_value)
    return tuple(parsed)


def format_value(value: object) -> str:
    """Return a value as a text that `parse_axis` reads as the same value."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "/".join(map(format_value, value))
    # The short form is used only if it is the same number.
    if isinstance(value, float) and float(f"{value:.6g}") == value:
        return f"{value:.6g}"
    return str(value)


def setting_arguments(config: Config) -> list[str]:
    """Return the settings of a configuration as arguments of `charrnn train`, without its
    corpus."""
    # All settings are passed, because the environment or the catalogue would replace a default.
    # But by default a run with `init_from` takes these from that run.
    default = Config()
    arguments = []
    for name, value in asdict(config).items():
        is_inherited = config.init_from is not None and name in INHERITED
        if name == "corpus" or (is_inherited and value == getattr(default, name)):
            continue
        arguments += ["--set", f"{name}={format_value(value)}"]
    return arguments


def _slug(value: object) -> str:
    """Return a value as a part of a folder's name, with a digest if characters are left out."""
    # Only characters are kept that every file system and every shell accepts.
    text = format_value(value)
    plain = re.sub(r"[^A-Za-z0-9.+-]", "", text).lstrip("-.")[:40]
    if plain == text:
        return plain
    return f"{hashlib.sha256(text.encode()).hexdigest()[:6]}-{plain}"
