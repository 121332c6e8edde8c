"""Play the history of a seed."""

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test
from machine import Histories

FEWER = {
    "charrnn.training.session.SAMPLE_LENGTH": 24,
}
"""What takes seconds, and teaches no more of a history than less of it."""


def play(seed: int, num_steps: int, *, shorten: bool = False) -> str | None:
    """Play one history; return what is wrong, None if nothing is."""
    phases = [Phase.generate]
    if shorten:
        phases.append(Phase.shrink)
    settings = hypothesis.settings(
        max_examples=2,  # the first is always the simplest one, which is empty
        stateful_step_count=num_steps,
        phases=phases,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=[*HealthCheck],
        print_blob=False,
        verbosity=hypothesis.Verbosity.normal if shorten else hypothesis.Verbosity.quiet,
    )
    machine = hypothesis.seed(seed)(type("History", (Histories,), {}))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FEWER.items():
            patch.setattr(name, value)
        return _problem_of(machine, settings)


def _problem_of(machine: type[Histories], settings: hypothesis.settings) -> str | None:
    try:
        run_state_machine_as_test(machine, settings=settings)
    except Exception as error:
        # One that does not happen again is in a group of one.
        found = (error, *getattr(error, "exceptions", ()))
        return "\n".join(f"{type(one).__name__}: {one}" for one in found)
    return None
