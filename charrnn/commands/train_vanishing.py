"""charrnn train --recipe vanishing: train the networks of `analyses.vanishing` one after the other,
and show what they have learned."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from charrnn.analyses.vanishing import (
    FILES,
    TEXT_FILE,
    TITLE,
    Learner,
    measure_learner,
    networks_of_recipe,
    training_text,
    vanishing_chart,
    vanishing_view,
)
from charrnn.cli.streams import deliver
from charrnn.config.settings import Config
from charrnn.distributed.group import launched
from charrnn.errors import UsageError
from charrnn.runs.destinations import Destination
from charrnn.runs.reader import CHECKPOINTS
from charrnn.runs.writer import RunWriter
from charrnn.system.files import write_atomically
from charrnn.system.process import load_torch
from charrnn.system.progress import task, tell, warn
from charrnn.system.signals import Signals
from charrnn.training.events import (
    DoneEvent,
    PlanEvent,
    ReplannedEvent,
    StartEvent,
    StepEvent,
    WarningEvent,
)
from charrnn.views.delivery import Shown, find_format


class Trained(NamedTuple):
    """How the training of a network went."""

    done: DoneEvent
    """Its last event."""
    largest_norm: float
    """The norm of the largest gradient of a step, before it is clipped."""
    seconds: float
    """How long it took."""


def train_vanishing(
    changes: Mapping[str, Any], *, out: Path | None, show_as_json: bool, signals: Signals
) -> int:
    """Train the networks of the recipe, each in a subfolder of `out`, by default of a new folder in
    `checkpoints`; print what they have learned, and write it to FILES there.

    Ctrl-C saves the network that is trained, and stops. Returns the exit code. Raises UsageError
    for a setting in which the networks differ, and in one of several processes.
    """
    # What cannot work is refused before anything is trained.
    if launched().size > 1:
        raise UsageError(
            "The recipe vanishing trains small networks one after the other, in one process: start"
            " it without torchrun."
        )
    configs = networks_of_recipe(changes, environment=os.environ)
    if out is None:
        out = RunWriter.create(CHECKPOINTS, name="vanishing").path
    else:
        out = RunWriter.create_at(out).path
    text = out / TEXT_FILE
    write_atomically(text, training_text().encode("ascii"))
    load_torch()

    # Train the networks, and measure each.
    learners: list[Learner] = []
    for network, config in configs.items():
        trained = _train(replace(config, corpus=(str(text),)), run=out / network, signals=signals)
        step = trained.done.step
        if not trained.done.is_complete:
            tell(
                f"Stopped in the network {network} at step {step:,}; everything is saved. Continue"
                f" this network with: charrnn train --resume {out / network}"
            )
            return 128 + (signals.number or signal.SIGTERM)
        learners.append(
            measure_learner(
                out / network,
                network=network,
                step=step,
                largest_norm=trained.largest_norm,
                seconds=trained.seconds,
            )
        )

    # What they have learned.
    data = [learner.to_json() for learner in learners]
    shown = Shown(
        TITLE,
        pictures=vanishing_view(learners),
        data=data,
        rows=data,
        chart=vanishing_chart(learners),
    )
    for name in FILES:
        path = out / name
        Destination(path).write(find_format(path).write(shown))
    deliver(shown, as_json=show_as_json)
    # JSON names the runs.
    if not show_as_json:
        tell(
            f"In {out}: the runs {', '.join(configs)}, their text {TEXT_FILE},"
            f" {' and '.join(FILES)}"
        )
    return 0


def _train(config: Config, *, run: Path, signals: Signals) -> Trained:
    """Train a network in the folder `run`, until its last step or a signal, and show the progress
    and the warnings."""
    # Not above: it imports torch, and what is wrong with a command line comes before.
    from charrnn.training import loop

    start = time.perf_counter()
    largest_norm = 0.0
    stream = loop.train(
        config,
        out=run,
        should_stop=signals.is_stop_asked,
        should_save=signals.pop_save_request,
    )
    # Closed explicitly, so that a second Ctrl-C at any point unlocks the run.
    with closing(stream), task(run.name, unit="steps") as advance:
        for event in stream:
            # From the first event of the run on, the first Ctrl-C saves and ends it.
            if not isinstance(event, PlanEvent):
                signals.defers = True
            if isinstance(event, StartEvent | ReplannedEvent):
                advance.total = event.num_steps
            elif isinstance(event, StepEvent):
                largest_norm = max(largest_norm, event.grad_norm)
                advance()
            elif isinstance(event, WarningEvent):
                warn(f"{run.name}: {event.message}")
            elif isinstance(event, DoneEvent):
                done = event
    signals.defers = False
    return Trained(done, largest_norm=largest_norm, seconds=time.perf_counter() - start)
