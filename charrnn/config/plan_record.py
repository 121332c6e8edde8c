"""The record of a plan: the number of steps of a run and its threads, and from which step on.

A budget in minutes becomes steps before the first step, and is planned again while it trains
(`charrnn.training.minutes`). `Config.plan` records every plan, because the learning rate follows
the first one until the second one was made, and so on: the same configuration trains the same
weights, whatever the clock says. A run that was planned once has none.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

MAX_ENTRIES = 1000
"""Most entries of a record: three for a budget, and one for each change of the threads."""
_ENTRY = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,4})")


class PlanEntry(NamedTuple):
    """What was planned after some step."""

    step: int
    """The steps that were taken before it was planned: 0 for the first entry."""
    num_steps: int
    """The steps of the whole run."""
    threads: int
    """The number of threads of the steps that follow."""

    def written(self) -> str:
        """Return the entry as it stands in `config.yaml`."""
        return f"{self.step}:{self.num_steps}:{self.threads}"


@lru_cache(maxsize=64)
def parse_plan(plan: tuple[str, ...]) -> tuple[PlanEntry, ...]:
    """Parse the entries of `Config.plan`; `is_plan` is true for them.

    The result is cached, because every step of a training asks for its learning rate.
    """
    entries = []
    for written in plan:
        match = _ENTRY.fullmatch(written)
        assert match is not None, "the configuration has checked its plan"
        entries.append(PlanEntry(*map(int, match.groups())))
    return tuple(entries)


def is_plan(plan: Sequence[str]) -> bool:
    """Whether `plan` is a list of entries STEP:STEPS:THREADS, of which the first is of step 0 and
    every later one of a later step, with at least as many steps as were taken."""
    if not 1 <= len(plan) <= MAX_ENTRIES or not all(map(_ENTRY.fullmatch, plan)):
        return False
    entries = parse_plan(tuple(plan))
    if entries[0].step != 0 or any(
        later.step <= earlier.step for earlier, later in pairwise(entries)
    ):
        return False
    return all(
        max(1, entry.step) <= entry.num_steps <= 10**9 and 1 <= entry.threads <= 1024
        for entry in entries
    )
