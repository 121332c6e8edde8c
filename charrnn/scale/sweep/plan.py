"""Plan a sweep: the values that it varies, the runs that follow, and the file in its folder that records them."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from charrnn import config as fields
from charrnn.config import FIELD_NAMES, REMOVED_FIELDS, Config, check_field_name, parse_value
from charrnn.errors import CheckpointError, UsageError, named
from charrnn.files import MAX_TEXT_BYTES, json_to_bytes, parse_json, read_capped, write_atomically
from charrnn.runs.reader import SWEEP

FINISHED, FAILED, STOPPED, WAITING = "finished", "failed", "stopped", "waiting"
"""States of a run of a sweep: trained to its end; ended by an error; saved before its end; not started."""
FORMAT = 1
"""Number of the format of the file that records a sweep."""
MAX_RUNS = 10_000
"""Runs of a sweep at most."""
MAX_SEEDS = 1000
"""Seeds per setting at most."""
TEXT_FIELDS = (
    *("alphabet", "encoding", "order", "order_seed", "min_count", "split", "documents", "column", "validation_chars"),
)
"""Fields that change which characters a run is validated on, or how they are counted."""
UNPAIRED_FIELDS = (
    *(*fields.MODEL_FIELDS, *fields.WIDTHS, *fields.BUDGETS, *TEXT_FIELDS),
    *("init_from", "device", "precision", "num_lanes"),
)
"""Fields of which other values give other initial weights or other batches, so that a seed has nothing in common."""


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
    """Lowest validation loss of a finished run: that of its best step, which every command loads."""
    best_step: int | None = None
    step: int = 0
    num_steps: int | None = None
    """Steps of its budget; None before it was planned."""
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
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    def runs(self) -> list[SweepRun]:
        """Return all runs: every setting with the first seed, then with the next."""
        settings = self.settings()
        return [
            SweepRun(name="_".join([*map(_slug, setting.values()), f"seed-{seed}"]), values=setting, seed=seed)
            for seed in range(self.config.seed, self.config.seed + self.num_seeds)
            for setting in settings
        ]

    def config_of(self, setting: Mapping[str, Any], seed: int) -> Config:
        """Return the configuration of a run. Raises UsageError that names a setting whose values exclude each other."""
        try:
            return replace(self.config, seed=seed, **setting)
        except UsageError as error:
            together = ", ".join(f"{name}={format_value(value)}" for name, value in setting.items())
            raise UsageError(f"{together}: {error.marked}") from None

    def notes(self) -> Iterator[str]:
        """Yield what limits the comparison of the settings."""
        if texts := [name for name in self.axes if name in TEXT_FIELDS]:
            changed = ", ".join(map(named, texts))
            yield f"{changed}: the settings are validated on other characters, so their losses do not compare"
        if not any(name in self.axes or getattr(self.config, name) is not None for name in ("steps", "epochs")):
            yield (
                f"a budget in minutes gives each run as many steps as the machine allows: {named('steps')} or "
                f"{named('epochs')} gives all the same"
            )


def plan_sweep(config: Config, axes: Mapping[str, object], *, num_seeds: int) -> SweepPlan:
    """Check what is to be varied. The values of a field are a list, or text as `parse_axis` takes it.

    Raises UsageError for a field that does not exist or cannot be swept, a value out of range, values that exclude each
    other, and numbers out of range.
    """
    parsed = {check_field_name(name): parse_axis(check_field_name(name), values) for name, values in axes.items()}
    for name in parsed:
        if name in ("corpus", "seed"):
            other = "give the text itself" if name == "corpus" else f"{named('seeds')} says how many there are"
            raise UsageError(f"{named(name)} cannot be swept: {other}.")
    if not 1 <= num_seeds <= MAX_SEEDS:
        raise UsageError(f"{named('seeds')} is {num_seeds}; it must be between 1 and {MAX_SEEDS:,}.")
    if config.seed + num_seeds > 2**32:
        raise UsageError(f"{named('seed')} is {config.seed}; the last of {num_seeds} seeds must be below 2^32.")
    if "-" in config.corpus:
        raise UsageError("A sweep reads its text in every run, and standard input only once: give a file.")
    if (num_runs := math.prod(map(len, parsed.values())) * num_seeds) > MAX_RUNS:
        raise UsageError(f"The sweep has {num_runs:,} runs; at most {MAX_RUNS:,}: give fewer values or seeds.")
    ordered = {name: parsed[name] for name in FIELD_NAMES if name in parsed}
    plan = SweepPlan(config=config, axes=ordered, num_seeds=num_seeds)
    for setting in plan.settings():
        plan.config_of(setting, config.seed)
    return plan


def parse_axis(name: str, values: object) -> Axis:
    """Parse the values of a swept field: a list of values, or text.

    In a text, commas part the values. Raises UsageError for a value that the field cannot have, an empty one, and one
    given twice.
    """
    given: Sequence[object] = values if isinstance(values, list | tuple) else [values]
    if isinstance(values, str):
        given = values.split(",")
    if not given or any(isinstance(value, str) and not value.strip() for value in given):
        raise UsageError(f"{named(name)} has an empty value: separate values by single commas.")
    parsed: list[Any] = []
    for value in given:
        found = parse_value(name, value)
        # `documents=column` needs a column beside it.
        Config(**{name: found, **({"column": "text"} if (name, found) == ("documents", "column") else {})})
        if found in parsed:
            raise UsageError(f"{named(name)} has the value {format_value(found)} twice: leave one out.")
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
    if isinstance(value, float) and float(short := f"{value:.6g}") == value:
        return short
    return str(value)


def setting_arguments(config: Config) -> list[str]:
    """Return the settings of a configuration as arguments of `charrnn train`, without its corpus."""
    changed = {name: value for name, value in _changed_settings(config).items() if name != "corpus"}
    return [part for name, value in changed.items() for part in ("--set", f"{name}={format_value(value)}")]


def _slug(value: object) -> str:
    """Return a value as part of a folder's name, with a digest where characters of it are left out."""
    text = format_value(value)
    plain = re.sub(r"[^A-Za-z0-9.+-]", "", text).lstrip("-.")[:40]
    return plain if plain == text else f"{plain}{'-' if plain else ''}{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def record_plan(folder: Path, plan: SweepPlan, threads: int) -> int:
    """Write what the sweep varies, or check that the folder's sweep is this one; return the threads of each run.

    Other values of its fields and other seeds are the same sweep, because every run stands for itself. Another number
    of jobs leaves the number of threads as it was. Raises UsageError that names the first difference, CheckpointError
    for a damaged file.
    """
    recorded = _recorded(folder)
    if recorded is not None:
        threads = recorded["threads"]
        if difference := _difference(plan, recorded):
            raise UsageError(
                f"{folder} is a sweep with other settings: {difference}\n"
                f"repeat its settings to continue it, or give {named('out')} another folder"
            )
    entry: dict[str, Any] = {
        "format": FORMAT,
        "axes": {name: _to_json(axis) for name, axis in plan.axes.items()},
        "num_seeds": plan.num_seeds,
        "num_trials": None,  # of a random search, which earlier versions had
        "threads": threads,
        "settings": _changed_settings(plan.config),
    }
    if entry != recorded:
        write_atomically(folder / SWEEP, json_to_bytes(entry))
    return threads


def read_plan(folder: Path) -> SweepPlan:
    """Read what the sweep in a folder varies. Raises CheckpointError if there is none, or its file is damaged."""
    recorded = _recorded(folder)
    if recorded is None:
        raise CheckpointError(f"{folder} is not a sweep: it has no {SWEEP}")
    try:
        config = Config(**{name: parse_value(name, value) for name, value in recorded["settings"].items()})
        return plan_sweep(config, recorded["axes"], num_seeds=recorded["num_seeds"])
    except UsageError as error:
        raise CheckpointError(f"{folder / SWEEP} is damaged: {error.marked}") from None


def _recorded(folder: Path) -> dict[str, Any] | None:
    """Return the content of the sweep's file, None if there is none. Raises CheckpointError if it is damaged."""
    path = folder / SWEEP
    if not path.exists():
        return None
    content = parse_json(path, read_capped(path, max_bytes=MAX_TEXT_BYTES))
    kinds = {"axes": dict, "num_seeds": int, "threads": int, "settings": dict}
    if not isinstance(content, dict) or not all(isinstance(content.get(name), kind) for name, kind in kinds.items()):
        raise CheckpointError(f"{path} is damaged: an entry is missing\nmove the folder away to start the sweep again")
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path} was written by a newer version of charrnn: upgrade it")
    if content.get("num_trials") is not None:
        raise CheckpointError(f"{path} is a random search of an earlier version: sweep its settings in another folder")
    settings = {name: value for name, value in content["settings"].items() if name not in REMOVED_FIELDS}
    return content | {"settings": settings}


def _changed_settings(config: Config) -> dict[str, Any]:
    """Return the settings that differ from the defaults, as JSON has them."""
    default = asdict(Config())
    return {name: _to_json(value) for name, value in asdict(config).items() if value != default[name]}


def _difference(plan: SweepPlan, recorded: Mapping[str, Any]) -> str:
    """Name the first setting, but those that both vary, in which the plan is another sweep; "" if none is."""
    default = {name: _to_json(value) for name, value in asdict(Config()).items()}
    was = default | recorded["settings"] | recorded["axes"]
    now = default | _changed_settings(plan.config) | {name: _to_json(axis) for name, axis in plan.axes.items()}
    for name in FIELD_NAMES:
        if was[name] != now[name] and not (name in recorded["axes"] and name in plan.axes):
            before, after = (
                (",".join(map(format_value, value)) if isinstance(value, list) else format_value(value)) or "not given"
                for value in (was[name], now[name])
            )
            return f"{named(name)} was {before} and is now {after}"
    return ""


def _to_json(value: Any) -> Any:
    return [_to_json(entry) for entry in value] if isinstance(value, tuple | list) else value
