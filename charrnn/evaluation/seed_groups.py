"""Group runs that differ in the seed alone, and compare the groups."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from charrnn.config.settings import Config
from charrnn.statistics.intervals import Estimate, estimate

IGNORED = ("seed", "device", "threads", "save_every", "keep")
"""Settings in which the runs of a group may differ: they change no weight, or its last digits."""


@dataclass(frozen=True, kw_only=True)
class SeedGroup:
    """Runs that differ in the seed alone, and their losses over a text.

    `Evaluation.groups` consists of them: whether a setting is better is read from the groups,
    because two seeds of one setting differ, too.
    """

    name: str
    """The settings that tell the group from the others, such as `hidden_size=64`."""
    runs: tuple[str, ...]
    """The names of the runs."""
    seeds: tuple[int, ...]
    """Their seeds."""
    nats: Estimate
    """Mean loss per character, and its interval over the seeds, by Student's t."""
    smallest: float
    """The loss of the best run."""
    largest: float
    """The loss of the worst run."""
    difference: Estimate | None = None
    """Mean loss minus that of the first group, with its interval by Welch's t; None for the first
    group, and between characters and bytes."""


def group_by_seed(
    configs: Mapping[str, Config], losses: Mapping[str, float]
) -> tuple[SeedGroup, ...]:
    """Return the groups of runs by the names of the runs, in the order of their first runs.

    An evaluation of six runs, three seeds of two settings, is about the settings. There are none if
    no two runs differ in the seed alone. Runs of one setting with the same seed, such as two steps
    of a run, are no group.
    """
    # Configs are not hashable, so their text is the key.
    names_of: dict[str, list[str]] = {}
    for name, config in configs.items():
        names_of.setdefault(repr(_setting(config)), []).append(name)
    members = []
    for names in names_of.values():
        if len({configs[name].seed for name in names}) == len(names):
            members.append(names)
    if max(map(len, members), default=0) < 2:
        return ()

    # Two groups are compared as independent samples: the runs with the same seed are no pairs.
    firsts = [configs[names[0]] for names in members]
    first_values = [losses[name] for name in members[0]]
    groups: list[SeedGroup] = []
    for names, config, title in zip(members, firsts, _titles(firsts), strict=True):
        values = [losses[name] for name in names]
        difference = None
        # A loss per byte and one per character have no difference.
        if groups and config.alphabet == firsts[0].alphabet:
            mean = fmean(values) - fmean(first_values)
            difference = estimate(mean, values, first_values)
        groups.append(
            SeedGroup(
                name=title,
                runs=tuple(names),
                seeds=tuple(configs[name].seed for name in names),
                nats=estimate(fmean(values), values),
                smallest=min(values),
                largest=max(values),
                difference=difference,
            )
        )
    return tuple(groups)


def _setting(config: Config) -> dict[str, Any]:
    """Return what the runs of a group have in common."""
    return {name: value for name, value in asdict(config).items() if name not in IGNORED}


def _titles(configs: Sequence[Config]) -> list[str]:
    """Return what tells the groups from each other: as few settings as can do it, in their order.

    The others, such as the dropout that the recipe has chosen for a size, mostly follow from them.
    """
    settings = list(map(_setting, configs))
    chosen: list[str] = []
    num_told_apart = 1
    for name in settings[0]:
        texts = {str([setting[one] for one in (*chosen, name)]) for setting in settings}
        # A setting that follows from those before it tells no further group apart.
        if len(texts) > num_told_apart:
            chosen.append(name)
            num_told_apart = len(texts)
    titles = []
    for setting in settings:
        titles.append(", ".join(f"{name}={setting[name]}" for name in chosen) or "all runs")
    return titles
