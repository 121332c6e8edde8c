"""`visualize --gradients`: how far gradients reach back in a model.

A gradient of a plain rnn that goes back one character is multiplied by diag(tanh') W_hh'. As tanh'
<= 1, the gradient vanishes if the largest singular value of W_hh is below 1; it can explode only if
that value is above 1 (Hochreiter 1991; Pascanu, Mikolov & Bengio 2013, section 2.1).

Shapes: N characters, K lags, T time, B windows, L, S and H as in `model.network`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from rich.console import RenderableType

from charrnn.analyses.sampled_states import read_before
from charrnn.config.options import at_least, check
from charrnn.errors import CheckpointError, DataError, named
from charrnn.evaluation.comparison import distinct_names
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import WARM_UP
from charrnn.model_texts import encode
from charrnn.system.arrays import Int64Array
from charrnn.system.display import Displayable, RecordTuple
from charrnn.system.lazy import Tensor, torch
from charrnn.system.progress import task
from charrnn.text.given_text import GivenText
from charrnn.text.vocab import EncodedText
from charrnn.trained_model import TrainedModel, load, untrained_baseline
from charrnn.views.charts import enclosing_ticks, numbered_line
from charrnn.views.drawing import DASHES, Drawing, Plot, PlotLine, Point, finite

NUM_LOSSES = 128
"""Losses whose gradients are averaged, at most: more take longer and hardly change the mean."""
NUM_AT_ONCE = 16
"""B: windows that are differentiated at once, with all activations that this needs."""
LOWEST = -12
"""Power of ten below which norms are not drawn: a norm of 1e-60 would flatten all other lines."""
HIGHEST = 12
"""Power of ten above which norms are not drawn."""
TITLE = "Mean norm of the loss's gradient by earlier states (nats)"
"""Title of the chart."""
NORM = "mean norm (nats)"
"""Title of the vertical axis."""
STEP_0 = "step 0"
"""Name of the weights that a run began with."""
NEW_WEIGHTS = "new weights"
"""Name of weights that were drawn anew, in place of those of step 0."""


@dataclass(frozen=True, kw_only=True)
class GradientReach(Displayable):
    """How far gradients reach back in a model, averaged over the characters of a text.

    `Model.gradients_with` returns two for each model, trained and untrained. Plot `norms` on a
    logarithmic axis: a straight line that falls is a gradient that vanishes, and its slope is the
    share that is lost with each character.
    """

    name: str
    """The name of the model; before its training "NAME, step 0" or "NAME, new weights"."""
    lags: tuple[int, ...]
    """Distances between the loss and the state, in characters."""
    norms: tuple[tuple[float, ...], ...] = field(repr=False)
    """norms[layer][i] is the mean norm of the gradient of the loss, in nats, by the state of that
    layer lags[i] characters before."""
    num_losses: int
    """Characters of the text over whose losses the norms are averaged."""
    is_untrained: bool = False
    """Whether it is the network before its training, or an untrained baseline."""

    @staticmethod
    def view_together(records: "Sequence[GradientReach]") -> Sequence[RenderableType]:
        """Return one chart of the norms of several models.

        A notebook calls it for a tuple of them, so that all lines have the same axes.
        """
        return [gradient_chart(records)]


def gradients_of(
    models: Sequence[TrainedModel], text: GivenText, *, context: str | bytes, max_lag: int
) -> tuple[GradientReach, ...]:
    """Compute how far gradients reach back in several models, each beside itself `before_training`.

    It makes the pairs of a picture, trained and untrained; `measure_reach` measures one network at
    places of one's own. Each model encodes the text by its own alphabet. Raises UsageError for a
    `max_lag` under 1, DataError for a text too short.
    """
    # The initial weights alone may make gradients reach far.
    reaches = []
    for model, name in zip(models, distinct_names(models), strict=True):
        encoded = encode(model, text, context=context)
        reaches.append(measure_reach(model.network, encoded, max_lag=max_lag, name=name))
        network, weights = before_training(model)
        untrained = measure_reach(network, encoded, max_lag=max_lag, name=f"{name}, {weights}")
        reaches.append(replace(untrained, is_untrained=True))
    return RecordTuple(reaches)


class BeforeTraining(NamedTuple):
    """The network with which a run began."""

    network: CharRNN
    """The network."""
    weights: str
    """What it has: "step 0", or "new weights" if the first checkpoint was not kept."""


def before_training(model: TrainedModel) -> BeforeTraining:
    """Return the network with which the run of a model began, to see beside it what the training
    has changed; if its checkpoint was not kept, the untrained baseline."""
    if model.path is not None:
        with suppress(CheckpointError):
            return BeforeTraining(load(model.path, step=0).network, weights=STEP_0)
    return BeforeTraining(untrained_baseline(model), weights=NEW_WEIGHTS)


def measure_reach(
    network: CharRNN,
    text: EncodedText,
    *,
    max_lag: int,
    name: str = "model",
    positions: Int64Array | None = None,
) -> GradientReach:
    """Compute the mean norm of d loss_t / d state_{t-k} for k from 1 to `max_lag`, per layer.

    `gradients_of` calls it for models and their texts. Call it for a network, ids and places of
    one's own.

    loss_t is -ln p(character t + 1) in nats, for the ascending `positions` t, or for up to
    NUM_LOSSES of them spread over the text. state_{t-k} is all that a layer carries from character
    t - k to the next one (h and c; in a dilated layer also the queue of its latest states, with
    attention its last outputs), with the states of the other layers fixed. Each window is warmed up
    on up to 512 characters in float32; the rest is computed in float64, because the norms fall far
    below the resolution of float32.

    Raises UsageError for a `max_lag` under 1, DataError for a text too short.
    """
    check("max_lag", max_lag, allowed=at_least(1))
    ids = text.ids
    last = len(ids) - 2
    if last < max(text.first, max_lag):
        raise DataError(
            f"A lag of {max_lag} characters needs a text of at least 2, and with its context of at"
            f" least {max_lag + 2}; it has {len(text)}, and {len(ids)} with its context."
            f" Give a longer {named('text')}."
        )

    # In a short text, half of the characters warm up the state.
    if positions is None:
        earliest = max(text.first, max_lag + min(WARM_UP, (last - max_lag) // 2))
        positions = np.unique(np.linspace(earliest, last, NUM_LOSSES).astype(np.int64))
    warm_up = min(WARM_UP, int(positions[0]) - max_lag + 1)

    # The copy is in float64, and only its states have gradients.
    exact = deepcopy(network).double().requires_grad_(False)
    total = torch.zeros(max_lag, len(network.layers), dtype=torch.float64)

    with task(f"gradients of {name}", total=len(positions), unit="losses") as advance:
        for batch in np.split(positions, range(NUM_AT_ONCE, len(positions), NUM_AT_ONCE)):
            windows, state = read_before(
                network, ids=ids, positions=batch + 1, length=max_lag + 1, warm_up=warm_up
            )
            # The norms are added up over the windows.
            total += _norms(exact, ids=windows, state=state.double()).sum(-1)
            advance(len(batch))
    return GradientReach(
        name=name,
        lags=tuple(range(1, max_lag + 1)),
        norms=tuple(map(tuple, (total / len(positions)).T.tolist())),
        num_losses=len(positions),
    )


def _norms(network: CharRNN, ids: Tensor, state: Tensor) -> Tensor:
    """Compute the norms (K, L, B), lag 1 first, of the gradients of the last character's loss by
    the states before it.

    ids (K + 1, B) are read from a state of B rows; the last id of each row is predicted.
    """
    # One backward pass computes the gradients by all states.
    states = []
    state.requires_grad_()
    for char in ids[:-1]:
        states.append(state)
        logits, state = network(char[None], state)
    loss = torch.nn.functional.cross_entropy(logits[0], ids[-1], reduction="sum")
    gradients = torch.autograd.grad(loss, states[::-1])
    return torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 3)) for gradient in gradients])


def gradient_chart(reaches: Sequence[GradientReach], title: str = TITLE) -> Drawing:
    """Draw the mean gradient norm of the loss by each layer's state k characters before, against k:
    all networks in one plot, in which each line has a colour of its own.

    It is for a terminal; `before_and_after` has room for two plots.
    """
    lines: list[PlotLine] = []
    for name, points in chain.from_iterable(map(_named_points, reaches)):
        lines.append(numbered_line(len(lines), name, points))
    return Drawing(title, rows=[[_plot(lines)]])


def before_and_after(
    untrained: Sequence[GradientReach],
    trained: Sequence[GradientReach],
    *,
    title: str = TITLE,
    before: str = "untrained",
) -> Drawing:
    """Draw the mean gradient norms of networks before and after their training, side by side.

    One needs it for a file, where there is room for two plots, and for the recipe `vanishing`. Both
    plots have the same axes, and a network has the same colour and the same mark in both.

    Args:
        untrained: The reach of each network before its training.
        trained: The reach of each network after it, in the same order.
        title: What both plots show.
        before: What the networks before their training are called.

    Returns:
        The chart.
    """
    # The lines have one name in both plots, so that the legend has one entry for each.
    renamed = []
    for first, last in zip(untrained, trained, strict=True):
        renamed.append(replace(first, name=last.name))
    lines = _lines_by_network(renamed)
    trained_lines = _lines_by_network(trained)
    plots = [
        replace(_plot(lines, beside=trained_lines), heading=before, y_label=NORM),
        replace(_plot(trained_lines, beside=lines), heading="trained", y_label=NORM),
    ]
    return Drawing(title, rows=[plots])


def _plot(lines: Sequence[PlotLine], beside: Sequence[PlotLine] = ()) -> Plot:
    """Return the plot of mean gradient norms against the lag.

    A straight falling line is a gradient that vanishes by the same factor at every character; a
    rising one explodes.

    The axes have room for the lines `beside`, too, so that the plot of these has the same axes.
    """
    points = [point for line in [*lines, *beside] for point in finite(line.points)]
    lags, powers = zip(*points or [(0, 0.0)], strict=True)
    # The ticks are whole numbers, which an axis of six lags or five powers of ten has.
    last = max(6, *lags)
    lowest = min(powers)
    highest = max(lowest + 5, *powers)
    return Plot(
        lines=lines,
        x_label="characters before",
        x_ticks=enclosing_ticks(lowest=0, highest=last),
        y_ticks=[(power, f"1e{power:.0f}") for power, _ in enclosing_ticks(lowest, highest)],
        y_in_words=lambda power: f"{10**power:.1e}",
    )


def _lines_by_network(reaches: Sequence[GradientReach]) -> list[PlotLine]:
    """Return the lines of networks, each with a colour and a mark; the layers of a network differ
    in their style."""
    lines = []
    for number, reach in enumerate(reaches):
        for layer, (name, points) in enumerate(_named_points(reach)):
            line = numbered_line(number, name, points)
            if len(reach.norms) > 1:
                line = replace(line, dashes=DASHES[layer % len(DASHES)])
            lines.append(line)
    return lines


def _named_points(reach: GradientReach) -> Iterator[tuple[str, list[Point]]]:
    """Yield the name of each layer of a network, and log10 of its norms by their lags.

    Norms below 1e-12 or above 1e12, among them 0, are gaps.
    """
    for layer, norms in enumerate(reach.norms):
        name = reach.name
        if len(reach.norms) > 1:
            name += f", layer {layer}"
        points: list[Point] = []
        for lag, norm in zip(reach.lags, norms, strict=True):
            power = math.nan
            if 10.0**LOWEST <= norm <= 10.0**HIGHEST:
                power = math.log10(norm)
            points.append((lag, power))
        yield name, points
