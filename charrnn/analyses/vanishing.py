"""What becomes of the gradient in a plain network, in the same with the regulariser Ω, and in a
gated one; and whether it learns a task that needs the gradient: `charrnn train --recipe vanishing`,
whose command is `commands.train_vanishing`.

The task is to recall a letter: the strings `b......?b` have a letter, dots, a question mark, and
the letter again. The recipe writes its own strings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.gradients import (
    STEP_0,
    GradientReach,
    before_and_after,
    measure_reach,
)
from charrnn.analyses.sampled_states import read_before
from charrnn.config.settings import Config
from charrnn.config.settings_file import merge_settings, read_recipe
from charrnn.errors import UsageError, named
from charrnn.model_texts import encode
from charrnn.system.arrays import Int64Array
from charrnn.system.lazy import torch
from charrnn.text.documents import END
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TrainedModel, load
from charrnn.views.drawing import Drawing
from charrnn.views.tables import plain_table

Item = TypeVar("Item")
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "rnn": {"cell_type": "rnn"},
    "rnn-omega": {"cell_type": "rnn", "omega": 0.2},
    "lstm": {"cell_type": "lstm"},
}
"""The networks, and the settings in which they differ."""
TITLE = "Gradient of the loss of the letter, by the state so many characters before"
"""What the charts show."""
FILES = ("gradients.svg", "gradients.csv")
"""The files of the charts and of the table, beside the runs."""
TEXT_FILE = "recall.txt"
"""The file of the strings, beside the runs."""
LETTERS = "abcd"
"""The letters that are to be recalled."""
NUM_TRAINING_STRINGS = 10_000
"""Strings of the training text."""
TRAINING_LENGTHS = range(22, 63)
"""Their lengths: the letter stands 20 to 60 characters before the question, because from a nearer
one every network learns to keep it."""
FIXED = (
    "cell_type",
    "omega",
    "zoneout",
    "weight_drop",
    "corpus",
    "documents",
    "column",
    "learned_after",
    "num_layers",
    "init_from",
)
"""Settings that the recipe chooses, or that its networks do not all have."""
LAGS = (20, 50, 100)
"""How far back the letters stand that the networks are tested on, in characters."""
NUM_STRINGS = 129
"""Strings for each of LAGS on which the networks are tested, but for the first one."""
TEST_SEED = 1
"""Their seed, which is not that of the training text."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A network that was trained, and what it has learned.

    The recipe `vanishing` compares three of them.
    """

    run: str
    """Its folder."""
    network: str
    """A name of NETWORKS."""
    recalled: Mapping[int, float]
    """Share of the letters that stand so many characters before which it predicts right."""
    largest_norm: float
    """Norm of the largest gradient of a training step, before it is clipped."""
    seconds: float
    """Duration of the training."""
    untrained: GradientReach
    """How far gradients reach back before the training."""
    trained: GradientReach
    """How far its gradients reach back."""

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON, with the mean norms of its gradients at LAGS."""
        norms = {"untrained": _norms(self.untrained), "trained": _norms(self.trained)}
        return asdict(self) | norms


def _norms(reach: GradientReach) -> dict[int, float]:
    """Return the mean norms of the loss's gradient by the state LAGS characters before."""
    [norms] = reach.norms
    return {lag: norms[lag - 1] for lag in LAGS}


def networks_of_recipe(
    changes: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Config]:
    """Return the settings of each of NETWORKS: those of the recipe with the `changes` of a command
    line and those of an `environment`, still without a text.

    Three trainings take minutes: a setting that one of them refuses should be refused before the
    first. Call it before anything is trained. Raises UsageError for a setting in which the networks
    differ, and for one that not all of them have.
    """
    config, origins = merge_settings(
        flags=changes,
        file=read_recipe("vanishing"),
        file_name="vanishing",
        environment=environment,
    )
    for name in FIXED:
        if origins[name] in ("flag", "environment"):
            raise UsageError(
                "The recipe vanishing trains several networks to recall letters: leave"
                f" {named(name)} out."
            )
    return {network: replace(config, **settings) for network, settings in NETWORKS.items()}


def measure_learner(
    run: Path, *, network: str, step: int, largest_norm: float, seconds: float
) -> Learner:
    """Measure what a network has learned after a step of its run, which must be saved: the letters
    that it recalls, and how far its gradients reach back.

    Args:
        run: The folder of its run.
        network: A name of NETWORKS.
        step: The step, by which all networks have learned equally long: the step with the lowest
            validation loss is another one for each.
        largest_norm: As in `Learner`.
        seconds: As in `Learner`.

    Returns:
        The `Learner`.

    Raises:
        CheckpointError: The step is missing or damaged.
    """
    # Not above: it imports torch, and what is wrong with a command line comes before.
    from charrnn.model.network import CharRNN

    model = load(run, step=step)
    text = encode(model, recall_text(max(LAGS)))
    reach = partial(
        measure_reach, text=text, max_lag=max(LAGS), name=network, positions=marks_of(text)
    )
    # The weights that it began with are drawn again: their checkpoint is not kept for ever.
    initial = CharRNN(model.config, len(model.vocab))
    return Learner(
        run=str(run),
        network=network,
        recalled={lag: share_recalled(model, lag) for lag in LAGS},
        largest_norm=largest_norm,
        seconds=seconds,
        untrained=reach(initial),
        trained=reach(model.network),
    )


def training_text() -> str:
    """Return the training text, a string on each line; the same on every machine.

    Its strings can only be learned by a network that remembers from their beginnings to their ends.
    """
    random = Random(0)
    lines = []
    for _ in range(NUM_TRAINING_STRINGS):
        length = _chosen(random, TRAINING_LENGTHS)
        lines.append(f"{_recall_string(random, length=length)}\n")
    return "".join(lines)


def recall_text(lag: int) -> str:
    """Return NUM_STRINGS strings, each with its END, whose letter stands `lag` characters before
    the one that is asked for."""
    random = Random(TEST_SEED)
    return "".join(_recall_string(random, length=lag + 2) + END for _ in range(NUM_STRINGS))


def _recall_string(random: Random, length: int) -> str:
    """Draw a string of so many characters."""
    letter = _chosen(random, LETTERS)
    dots = "." * (length - 3)
    return f"{letter}{dots}?{letter}"


def _chosen(random: Random, choices: Sequence[Item]) -> Item:
    """Draw one of the choices."""
    # Python guarantees the same sequence for a seed in all versions only for random().
    return choices[int(random.random() * len(choices))]


def marks_of(text: EncodedText) -> Int64Array:
    """Return the positions of the question marks among the ids of such a text. The first string,
    which has no other one before it, is left out."""
    marks = np.flatnonzero([character == "?" for character in text.text])
    return text.first + marks[1:]


def share_recalled(model: TrainedModel, lag: int) -> float:
    """Compute the share of the letters `lag` characters before that are the most likely ones after
    a question mark."""
    text = encode(model, recall_text(lag))
    marks = marks_of(text)
    windows, state = read_before(
        model.network, ids=text.ids, positions=marks, length=1, warm_up=lag + 2
    )
    with torch.no_grad():
        logits, _ = model.network(windows, state)
    is_right = logits[0].argmax(-1).numpy() == text.ids[marks + 1]
    return float(is_right.mean())


def vanishing_view(learners: Sequence[Learner]) -> list[RenderableType]:
    """Draw the table of the networks, and the charts of their gradients side by side.

    `vanishing_chart` is the charts alone, for a file.
    """
    shares = [f"recall {lag}" for lag in LAGS]
    columns = ["network", *shares, f"gradient {LAGS[-1]}", "largest", "seconds"]
    rows = []
    for learner in learners:
        row = [learner.network]
        row += [f"{share:.0%}" for share in learner.recalled.values()]
        norms = _norms(learner.trained)
        row += [f"{norms[LAGS[-1]]:.0e}", f"{learner.largest_norm:.2g}", f"{learner.seconds:.1f}"]
        rows.append(row)

    return [
        plain_table(*columns, rows=rows, right=columns[1:]),
        vanishing_chart(learners),
        Text(
            f"recall {LAGS[0]}: the share of the letters {LAGS[0]} characters before the question"
            " mark that the network recalls; chance is one in four."
            f" gradient {LAGS[-1]}: how much the loss of the answer changes with the state"
            f" {LAGS[-1]} characters before (the mean norm of its gradient), after the training."
            " largest: the norm of the largest gradient that the weights had in a step, before it"
            " was clipped. rnn-omega: the rnn, trained with the regulariser Ω against vanishing"
            " gradients (Pascanu 2013)."
        ),
    ]


def vanishing_chart(learners: Sequence[Learner]) -> Drawing:
    """Draw the gradients of the networks before and after their training, side by side."""
    return before_and_after(
        [learner.untrained for learner in learners],
        [learner.trained for learner in learners],
        title=TITLE,
        before=STEP_0,
    )
