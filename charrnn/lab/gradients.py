"""`visualize --gradients`: how far gradients reach back in time (Hochreiter 1991; Pascanu, Mikolov & Bengio 2013).

Shapes: N characters, K lags, T time, B windows, L, S and H as in `model.network`.
"""

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from rich.console import RenderableType

from charrnn.api import Model, TextOrIds, load
from charrnn.cli.analyses import Analysis, Option, Shown, Subject
from charrnn.display import Displayable, RecordTuple
from charrnn.errors import DataError, check_range, named
from charrnn.extensions import ModelMethod, offers
from charrnn.lab.sampled_states import read_before
from charrnn.lazy import Tensor, torch
from charrnn.model.annotations import CharRNN
from charrnn.model.reading import WARM_UP
from charrnn.progress import task
from charrnn.text.vocab import EncodedText
from charrnn.views.charts import MAX_TICKS, Line, LineChart, Point, Tick, round_step

MAX_LAG = 200
"""The longest lag of a gradient, in characters, unless another is asked for."""

NUM_LOSSES = 128
"""Losses whose gradients are averaged, at most: more take longer and hardly change the mean."""
NUM_AT_ONCE = 16
"""B: windows that are differentiated at once, at least; more while their states are within MAX_KEPT_STATES."""
MAX_KEPT_STATES = 2**21
"""Numbers in the states of a batch of windows: about 200 MB with the activations that are kept for the gradient."""
TITLE = "Mean norm of the loss's gradient by earlier states (nats)"
"""Title of the chart."""
EMPTY_NOTICE = "There is nothing to draw between 1e-12 and 1e12."
"""Shown instead of an empty chart."""
LOWEST, HIGHEST = -12, 12
"""Powers of ten outside which norms are not drawn: one that vanishes to 1e-60 would flatten all other lines."""


WITH = Option(
    "--with",
    "With --gradients or --spectrum: add another run to the charts (repeatable).",
    "RUN",
    name="beside",
    repeatable=True,
)
"""For `Analysis.options`: further runs that share a chart; `subject.value(WITH)` has their names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientReach(Displayable):
    """How far gradients reach back in a model.

    `norms[layer][i]` is the norm of the gradient of the loss at a character (nats) by the state of that layer `lags[i]`
    characters before, averaged over `num_losses` characters of a text. `is_untrained`: of an untrained baseline.
    """

    name: str
    lags: tuple[int, ...]
    norms: tuple[tuple[float, ...], ...] = field(repr=False)
    num_losses: int
    is_untrained: bool = False

    def view(self) -> Sequence[RenderableType]:
        """Return the chart of the norms."""
        return [gradient_chart([self])]


def gradients(
    model: Model,
    text: TextOrIds,
    *,
    context: str | bytes = "",
    max_lag: int = MAX_LAG,
    network: CharRNN | None = None,
    name: str | None = None,
    is_untrained: bool = False,
) -> GradientReach:
    """Compute how far the gradient reaches back in `text`, read after `context`: its mean norm by lag.

    `network` is used in place of the model's (such as `untrained_baseline()`), `name` in place of the run's;
    `is_untrained` is recorded. Raises UsageError for a `max_lag` under 1, DataError for a text too short.
    """
    encoded, name = model.encode(text, context=context), name or model.name
    return measure_reach(network or model.network, encoded, max_lag=max_lag, name=name, is_untrained=is_untrained)


def gradients_with(
    model: Model, others: Iterable[Model], text: str | bytes, *, context: str | bytes = "", max_lag: int = MAX_LAG
) -> tuple[GradientReach, ...]:
    """Compute `gradients` of a model and of other models over the same text, each with its untrained baseline.

    Each model encodes the text by its own alphabet. Raises as `gradients`.
    """

    def measure(one: Model, **baseline: Any) -> GradientReach:
        return gradients(one, text, context=context, max_lag=max_lag, **baseline)

    return RecordTuple(
        reach
        for one in (model, *others)
        for reach in (
            measure(one),
            measure(one, network=one.untrained_baseline(), name=f"{one.name}, untrained", is_untrained=True),
        )
    )


def measure_reach(
    network: CharRNN, text: EncodedText, *, max_lag: int = MAX_LAG, name: str = "model", is_untrained: bool = False
) -> GradientReach:
    """Compute the mean norm of d loss_t / d state_{t-k} for k from 1 to `max_lag`, per layer.

    loss_t is -ln p(character t + 1) in nats, for up to NUM_LOSSES characters t spread over the text. state_{t-k} is all
    that a layer carries from character t - k to the next one (h and c; in a dilated layer also the queue of its latest
    states), with the states of the other layers fixed. Each window is warmed up on up to 512 characters in float32; the
    rest is computed in float64, because the norms fall far below the resolution of float32.

    Raises UsageError for a `max_lag` under 1, DataError for a text too short.
    """
    ids, first = text.ids, text.first
    check_range("max_lag", max_lag, 1)
    last = len(ids) - 2
    if last < max(first, max_lag):
        raise DataError(
            f"A lag of {max_lag} characters needs a text of at least 2, and with its context of at least "
            f"{max_lag + 2}; it has {len(ids) - first}, and {len(ids)} with its context. "
            f"Give a longer {named('text')}."
        )
    # In a short text, half of the characters warm up the state.
    earliest = max(first, max_lag + min(WARM_UP, (last - max_lag) // 2))
    warm_up = min(WARM_UP, earliest - max_lag + 1)
    chosen = np.unique(np.linspace(earliest, last, NUM_LOSSES).astype(np.int64))
    exact = deepcopy(network).double().requires_grad_(False)
    total = torch.zeros(max_lag, len(network.layers), dtype=torch.float64)
    # A step of a small network costs the same for more windows.
    num_at_once = max(NUM_AT_ONCE, MAX_KEPT_STATES // (max_lag * network.initial_state(1).numel()))
    with task("gradients", len(chosen), unit="losses") as advance:
        for some in np.split(chosen, range(num_at_once, len(chosen), num_at_once)):
            windows, state = read_before(network, ids, some + 1, max_lag + 1, warm_up)
            total += _norms(exact, windows, state.double()).sum(-1)
            advance(len(some))
    return GradientReach(
        name=name,
        lags=tuple(range(1, max_lag + 1)),
        norms=tuple(tuple(norms) for norms in (total / len(chosen)).T.tolist()),
        num_losses=len(chosen),
        is_untrained=is_untrained,
    )


def _norms(network: CharRNN, ids: Tensor, state: Tensor) -> Tensor:
    """Compute the norms (K, L, B), lag 1 first, of the gradients of the last character's loss by the states before it.

    ids (K + 1, B) are read from `state` (L, S, B, H), whose last ids are the ones to predict.
    """
    states = []
    state = state.requires_grad_()
    for char in ids[:-1]:
        states.append(state)
        logits, state = network(char[None], state)
    loss = torch.nn.functional.cross_entropy(logits[0], ids[-1], reduction="sum")
    gradients = torch.autograd.grad(loss, states[::-1])
    return torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 3)) for gradient in gradients])


def gradient_chart(reaches: Sequence[GradientReach], title: str = TITLE) -> LineChart:
    """Draw the mean gradient norm of the loss by each layer's state k characters before, against k.

    A straight falling line is a gradient that vanishes by the same factor at every character; a rising one explodes.
    Norms below 1e-12 or above 1e12 are not drawn.
    """
    curves = [
        (reach.name if len(reach.norms) == 1 else f"{reach.name}, layer {layer}", zip(reach.lags, norms, strict=True))
        for reach in reaches
        for layer, norms in enumerate(reach.norms)
    ]
    lines = [Line(name, log_segments(points), number) for number, (name, points) in enumerate(curves)]
    furthest = max([2, *(round(lag) for line in lines for segment in line.segments for lag, _ in segment)])
    return LineChart(
        title=title,
        lines=lines,
        across=(1, furthest),
        across_label="characters before",
        across_ticks=lambda most: ((lag, str(lag)) for lag in _lags(furthest, most)),
        up_ticks=power_ticks(lines),
        empty_notice=EMPTY_NOTICE,
    )


def log_segments(points: Iterable[Point]) -> list[list[Point]]:
    """Return log10 of norms by their places, in one segment for each part between 1e-12 and 1e12."""
    parts = groupby(points, key=lambda point: 10.0**LOWEST <= point[1] <= 10.0**HIGHEST)
    return [[(place, math.log10(norm)) for place, norm in part] for is_drawn, part in parts if is_drawn]


def power_ticks(lines: Iterable[Line]) -> list[Tick]:
    """Return the ticks of an axis of powers of ten that enclose the points of lines."""
    heights = [height for line in lines for segment in line.segments for _, height in segment] or [0.0]
    low, high = math.floor(min(heights)), math.ceil(max(heights))
    high = max(high, low + 1)
    step = math.ceil((high - low) / (MAX_TICKS - 1))
    return [(tick, f"1e{tick}") for tick in range(high - step * math.ceil((high - low) / step), high + 1, step)]


def _lags(furthest: int, most: int) -> list[int]:
    """Return 1 and about `most` round numbers up to `furthest`."""
    step = max(1, round(round_step(furthest, most)))
    return [1, *range(step, furthest + 1, step)] if step > 1 else list(range(1, furthest + 1))


GRADIENTS = Option("--gradients", "Show how the gradient decays or grows with distance.", kind=bool)
"""Selects the analysis."""


def _measure(subject: Subject) -> tuple[GradientReach, ...]:
    others = [load(name) for name in subject.value(WITH) or ()]
    return gradients_with(subject.model, others, subject.content, context=subject.context)


def _show(subject: Subject, reaches: Sequence[GradientReach]) -> Shown:
    """Draw how far the gradient of each network reaches back: one run in one chart, several in two."""
    trained, untrained = ([reach for reach in reaches if reach.is_untrained == which] for which in (False, True))
    pictures: list[RenderableType] = [gradient_chart(reaches)]
    if len(trained) > 1:
        pictures = [gradient_chart(trained, f"{TITLE}, trained"), gradient_chart(untrained, f"{TITLE}, untrained")]
    return Shown(f"Gradients of {reaches[0].name}", pictures, [reach.to_json() for reach in reaches])


EXTENSIONS = (
    *offers(ModelMethod, gradients, gradients_with),
    Analysis(option=GRADIENTS, measure=_measure, show=_show, options=(WITH,)),
)
"""`Model.gradients`, `Model.gradients_with` and `visualize --gradients`."""
