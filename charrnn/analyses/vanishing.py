"""`charrnn train --recipe vanishing`: how the gradient decays in a plain network, in a plain
network with the regulariser Ω, and in a gated network; and whether each learns a task that needs
the gradient.

The task is to copy words (`corpora make copy`): each character after the "=" stood as many
characters before as the word is long.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.gradients import TITLE, GradientReach, gradient_chart, measure_reach
from charrnn.api import Model, load
from charrnn.cli.streams import print_json, result_console, with_flags
from charrnn.config.settings import Config
from charrnn.config.settings_file import merge_settings, read_recipe
from charrnn.errors import Message, UsageError, named
from charrnn.runs.reader import CHECKPOINTS
from charrnn.runs.writer import RunWriter
from charrnn.system.lazy import torch
from charrnn.system.progress import Progress, Task, task, using, warn
from charrnn.text.formal_languages import COPY_LENGTH, find_language, make_strings
from charrnn.training.events import StepEvent, WarningEvent
from charrnn.views.tables import plain_table

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "rnn-omega": {"cell": "rnn", "omega": 1.0},
    "lstm": {"cell": "lstm"},
}
"""The networks, and the settings in which they differ."""
FIXED = ("cell", "omega", "zoneout", "weight_drop", "corpus", "documents")
"""Settings that the recipe chooses, or that only some of its networks have."""
LAGS = (50, 100)
"""The lags of the gradients in the table, in characters."""
NUM_STRINGS = 300
"""Strings on which the networks are measured."""
TEST_SEED = 1
"""The seed of these strings, which differs from the seed of the training text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learner:
    """A trained network, with the measurements of what it learned."""

    run: str
    """The folder of the run."""
    network: str
    """A name of NETWORKS."""
    nats_per_char: float | None
    """Lowest validation loss."""
    copied: float
    """Share of the characters to copy that the network finds most likely."""
    seconds: float
    """Duration of the training."""
    reach: GradientReach
    """How far its gradients reach back."""

    def to_json(self) -> dict[str, Any]:
        """Return the measurements for JSON, with the mean norms of the gradients by lag."""
        return {
            "run": self.run,
            "network": self.network,
            "nats_per_char": self.nats_per_char,
            "copied": self.copied,
            "seconds": self.seconds,
            "gradients": dict(zip(LAGS, self.norms(), strict=True)),
        }

    def norms(self) -> list[float]:
        """Return the mean norms of the loss's gradient by the state LAGS characters before."""
        [norms] = self.reach.norms
        return [norms[lag - 1] for lag in LAGS]


def train_vanishing(changes: Mapping[str, Any], *, out: Path | None, show_as_json: bool) -> int:
    """Train NETWORKS by the recipe and its `changes`, each in a subfolder of `out` or as a run, and
    print the comparison. Returns the exit code.

    Raises UsageError for a setting in which the networks differ.
    """
    # Settings are refused before anything is trained.
    recipe = read_recipe("vanishing")
    config, origins = merge_settings(
        flags=changes, file=recipe, file_name="vanishing", environment=os.environ
    )
    for name in FIXED:
        if origins[name] in ("flag", "environment"):
            raise UsageError(
                f"The recipe vanishing trains several networks to copy words: leave {named(name)}"
                " out."
            )
    configs = {network: replace(config, **settings) for network, settings in NETWORKS.items()}
    if out is not None:
        RunWriter.create_at(out, can_resume=False)

    num_steps = len(NETWORKS) * (config.steps or 0)
    learners = []
    with task("training three networks", total=num_steps, unit="steps") as advance:
        for network, network_config in configs.items():
            # Without `out` they are runs in the usual folder, which all commands find.
            if out is None:
                run = RunWriter.create(CHECKPOINTS, f"vanishing-{network}").path
            else:
                run = out / network
            learners.append(_learn(network_config, run=run, network=network, advance=advance))

    if show_as_json:
        print_json([learner.to_json() for learner in learners])
    else:
        console = result_console()
        for picture in vanishing_view(learners):
            console.print(picture)
        # A command to copy: only the terminal may wrap it.
        first, *_, last = learners
        charts = f"{named('gradients')} {named('beside', last.run)}"
        command = Message(f"Next:\n  charrnn visualize {first.run} {charts}")
        console.print(Text(with_flags(command, "visualize")), soft_wrap=True)
    return 0


def _learn(config: Config, run: Path, network: str, *, advance: Task) -> Learner:
    """Train a network in the folder `run`, and measure it."""
    # Imported here: it needs torch, and the help of every command imports this module.
    from charrnn.training.loop import train

    # One progress bar for all three trainings.
    start = time.perf_counter()
    with using(Progress()):
        for event in train(config, out=run):
            if isinstance(event, StepEvent):
                advance(1)
            elif isinstance(event, WarningEvent):
                warn(f"{network}: {event.message}")
    seconds = time.perf_counter() - start

    # Strings that the network has not seen. The characters after "=" are certain.
    language = find_language("copy")
    strings = list(make_strings(language, NUM_STRINGS, max_length=COPY_LENGTH, seed=TEST_SEED))
    text = "".join(f"{string.text}\n" for string in strings)
    is_certain = []
    for string in strings:
        is_certain += [next_char is not None for next_char in string.nexts]
        is_certain.append(False)  # any word may follow the end of a line

    model = load(run)
    with using(Progress()):
        reach = measure_reach(model.network, model.encode(text), max_lag=max(LAGS), name=network)
    return Learner(
        run=str(run),
        network=network,
        nats_per_char=model.val_nats,
        copied=_share_predicted(model, text=text, is_certain=np.array(is_certain)),
        seconds=seconds,
        reach=reach,
    )


def _share_predicted(model: Model, text: str, is_certain: NDArray[np.bool_]) -> float:
    """Compute the share of the characters after the positions `is_certain` (N,) that the model
    finds most likely."""
    ids = torch.from_numpy(model.encode(text).ids.astype(np.int64))
    with torch.no_grad():
        logits, _ = model.network(ids[:-1, None], model.network.initial_state(1))
    is_right = (logits[:, 0].argmax(-1) == ids[1:]).numpy()
    return float(is_right[is_certain[:-1]].mean())


def vanishing_view(learners: Sequence[Learner]) -> list[RenderableType]:
    """Draw the table of the networks, and the chart of their gradients."""
    columns = ["network", "loss", "copied", *(f"gradient {lag} back" for lag in LAGS), "seconds"]
    rows = []
    for learner in learners:
        norms = [f"{norm:.1e}" for norm in learner.norms()]
        loss = "–" if learner.nats_per_char is None else f"{learner.nats_per_char:.4f}"
        rows.append(
            [learner.network, loss, f"{learner.copied:.1%}", *norms, f"{learner.seconds:.1f}"]
        )
    return [
        plain_table(*columns, rows=rows, right=columns[1:]),
        gradient_chart([learner.reach for learner in learners], f"{TITLE}, trained"),
        Text(
            'copied: what follows the "=" of abca=abca that is predicted right, its end too;'
            " rnn-omega: with the regulariser Ω against vanishing gradients (Pascanu 2013)"
        ),
    ]
