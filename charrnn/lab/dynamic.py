"""Dynamic evaluation: the loss of a model that goes on learning from the text it is measured on.

Krause, Kahembwe, Murray & Renals 2018, "Dynamic Evaluation of Neural Sequence Models", RMS with an RMS global prior.
The text is read in segments. After the losses of a segment are recorded, one gradient step on them changes the
weights: each weight's step is divided by the root mean square of its gradients on training text, and the weight
decays towards its trained value. The loss of a character thus depends on the trained weights and on the characters
before it only.

Shapes: N characters, M scored characters, K segments, T characters of a segment, P weights, B lanes.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charrnn.errors import NonFiniteError, UsageError, named
from charrnn.evaluation.comparison import LossTable, MeasuredRun
from charrnn.evaluation.losses import CharLosses, MeasuredText, char_losses, iter_logits, paired_difference, report_of
from charrnn.evaluation.records import EvaluationRow, LossReport, SkippedRow
from charrnn.model.device import chosen_precision
from charrnn.model.network import CharRNN
from charrnn.model.reading import WARM_UP
from charrnn.text.vocab import IdArray

NUM_STRETCHES = 32
"""B: places of the training text, spread evenly over it, at which gradients are collected."""
SEGMENTS_OF_STRETCH = 8
"""Segments at each of these places, one after the other."""
SCALE_WARM_UP = 128
"""Characters before each of these places that warm up the state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicSettings:
    """How the weights follow the text. Raises UsageError naming the field, its value and its range."""

    segment_length: int = 20
    """T: characters between two updates; the gradient is propagated back through so many."""
    learning_rate: float = 4e-4
    """Change of a weight whose gradient is as large as it usually is on training text."""
    decay: float = 1e-3
    """Share by which a weight of average gradient returns to its trained value at each update."""
    damping: float = 0.3
    """Added to the root mean square of every gradient, as a multiple of its mean over all weights: rarely used weights
    would otherwise move too far."""

    def __post_init__(self) -> None:
        if self.segment_length < 1:
            raise UsageError(f"{named('segment_length')} is {self.segment_length}; it must be at least 1.")
        for name, value, low in (
            ("learning_rate", self.learning_rate, "0 or more"),
            ("decay", self.decay, "0 or more"),
            ("damping", self.damping, "above 0"),
        ):
            if not (math.isfinite(value) and value >= 0) or (value == 0 and low == "above 0"):
                raise UsageError(f"{named(name)} is {value}; it must be {low}.")


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """What dynamic evaluation leaves: the losses on the way, and the weights after the text."""

    losses: CharLosses
    tensors: dict[str, Tensor] = field(repr=False)
    """Parameters and buffers by name, as `Module.state_dict` names them; not shared with the model."""


def gradient_scale(network: CharRNN, ids: IdArray, segment_length: int) -> dict[str, Tensor]:
    """Compute the root mean square of each weight's gradient by the mean loss of a segment, over segments of ids (N,).

    `ids` are training text. The segments lie at up to NUM_STRETCHES places that are spread evenly over it. Returns a
    tensor in each parameter's shape by its name. Raises ValueError for a text under 2 characters.
    """
    if len(ids) < 2:
        raise ValueError(f"a gradient needs at least 2 characters of training text, not {len(ids)}")
    learner = _Learner(network)
    length = SCALE_WARM_UP + SEGMENTS_OF_STRETCH * segment_length + 1
    num_stretches = max(1, min(NUM_STRETCHES, len(ids) // length))
    warm_up = min(SCALE_WARM_UP, max(0, len(ids) - SEGMENTS_OF_STRETCH * segment_length - 1))
    starts = np.arange(num_stretches, dtype=np.int64) * max(0, len(ids) - length) // num_stretches
    states = learner.read(ids[starts + np.arange(warm_up)[:, None]])
    totals = {name: torch.zeros_like(parameter) for name, parameter in learner.parameters.items()}
    num_segments = 0
    for lane, start in enumerate(starts + warm_up):
        state = states[:, :, lane : lane + 1]
        for begin in range(start, start + SEGMENTS_OF_STRETCH * segment_length, segment_length):
            segment = ids[begin : begin + segment_length + 1]
            if len(segment) < 2:
                break
            _, gradients, state = learner.gradients(segment, state)
            for name, gradient in gradients.items():
                totals[name].addcmul_(gradient, gradient)
            num_segments += 1
    return {name: (total / num_segments).sqrt_() for name, total in totals.items()}


def dynamic_losses(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    scale: Mapping[str, Tensor] | None = None,
    settings: DynamicSettings | None = None,
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> CharLosses:
    """Compute the loss of each character of ids[first:], by weights that have learned from those before it.

    ids[:first] are context: its end warms up the state, and nothing is learned from it. `scale` is a `gradient_scale`,
    by default that of the context. With `max_chars`, the first so many characters are scored, in one piece, because
    what is learned adds up over the text. The network is left as it is. Everything is computed in the precision of the
    weights. `on_progress` is called with the number of characters read since its last call. Raises ValueError if there
    is nothing to score, NonFiniteError if the weights diverge.
    """
    return adapt(
        network, ids, first, scale=scale, settings=settings, max_chars=max_chars, on_progress=on_progress
    ).losses


def adapt(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    scale: Mapping[str, Tensor] | None = None,
    settings: DynamicSettings | None = None,
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> Adapted:
    """Compute the losses of ids[first:] by weights that learn from it, and return the weights after its last character.

    Arguments and errors are those of `dynamic_losses`.
    """
    settings = settings or DynamicSettings()
    if not 1 <= first < len(ids):
        raise ValueError(f"nothing to score: first is {first}, the text has {len(ids)} characters")
    if max_chars is not None and max_chars < 1:
        raise ValueError(f"max_chars must be at least 1, not {max_chars}")
    if scale is None:
        scale = gradient_scale(network, ids[:first], settings.segment_length)
    end = len(ids) if max_chars is None else min(len(ids), first + max_chars)
    learner = _Learner(network)
    nats = np.empty(end - first, np.float32)
    done = 0
    for losses in _learn(learner, ids[:end], first, scale, settings):
        nats[done : done + len(losses)] = losses.float().cpu().numpy()
        if not np.isfinite(nats[done : done + len(losses)]).all():
            raise NonFiniteError(
                f"Dynamic evaluation diverged after {done:,} characters: lower {named('learning_rate')}, now "
                f"{settings.learning_rate:g}."
            )
        done += len(losses)
        on_progress(len(losses))
    return Adapted(CharLosses(np.arange(first, end), nats), learner.tensors())


def _learn(
    learner: "_Learner", ids: IdArray, first: int, scale: Mapping[str, Tensor], settings: DynamicSettings
) -> Iterator[Tensor]:
    """Yield the losses (T,) of each segment of ids[first:], and update the learner's weights after each."""
    trained = {name: parameter.detach().clone() for name, parameter in learner.parameters.items()}
    num_weights = sum(part.numel() for part in scale.values())
    mean = sum(part.sum(dtype=torch.float64).item() for part in scale.values()) / num_weights
    # A network whose output does not depend on its weights has nothing to learn; 1 avoids 0 / 0.
    mean = mean or 1.0
    rates = {name: settings.learning_rate / (part + settings.damping * mean) for name, part in scale.items()}
    decays = {name: (settings.decay / mean * part).clamp_(max=1) for name, part in scale.items()}
    warm_up = ids[max(0, first - 1 - WARM_UP) : first - 1]
    state = learner.read(warm_up[:, None])
    for begin in range(first, len(ids), settings.segment_length):
        losses, gradients, state = learner.gradients(ids[begin - 1 : begin + settings.segment_length], state)
        yield losses
        with torch.no_grad():
            for name, parameter in learner.parameters.items():
                parameter.lerp_(trained[name], decays[name])
                if name in gradients:
                    parameter.addcmul_(gradients[name], rates[name], value=-1)


class _Learner:
    """A copy of a network whose weights may change."""

    def __init__(self, network: CharRNN) -> None:
        self._network = copy.deepcopy(network).requires_grad_(True)
        for layer in self._network.recurrent_layers():
            layer.omega = 0.0  # its regulariser would be part of the gradient
        self.parameters: dict[str, Tensor] = dict(self._network.named_parameters())

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._network.state_dict().items()}

    @torch.no_grad()
    def read(self, ids: IdArray) -> Tensor:
        """Return the state after ids (T, B), read from the initial one; that itself if T is 0."""
        state = self._network.initial_state(ids.shape[1])
        if len(ids):
            _, state = self._network(self._tensor(ids), state)
        return state

    def gradients(self, ids: IdArray, state: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Read ids (T + 1,) in one lane from a state (L, S, 1, H).

        Returns the losses (T,) of the last T of them, the gradients of their mean by the weights that they depend on,
        and the state before the last id is read.
        """
        text = self._tensor(ids)
        logits, state = self._network(text[:-1, None], state)
        losses = cross_entropy(logits[:, 0], text[1:], reduction="none")
        found = torch.autograd.grad(losses.mean(), list(self.parameters.values()), allow_unused=True)
        gradients = {name: part for name, part in zip(self.parameters, found, strict=True) if part is not None}
        return losses.detach(), gradients, state.detach()

    def _tensor(self, ids: IdArray) -> Tensor:
        return torch.from_numpy(ids.astype(np.int64)).to(self._network.output.weight.device)


MAX_FITTED = 1 << 17
"""Characters that a temperature is fitted to, at most: its standard error is then some 0.003."""
MAX_STEPS = 20
"""Steps of Newton's method, at most; 3 are usual."""
LARGEST = 32.0
"""Temperatures are searched from 1 / LARGEST to LARGEST: a model that predicts worse than chance has none."""
TOLERANCE = 1e-4
"""Relative change of the temperature at which the search ends."""


def fit_temperature(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> float:
    """Find the temperature with the least mean loss over ids[first:], or over MAX_FITTED characters of them.

    It lies between 1 / LARGEST and LARGEST. The loss is convex in b = 1 / T: with p = softmax(b z), its derivatives
    are E_p[z] - z_target and Var_p[z]. Newton's method changes b by at most a factor of 2 per step. A network without
    preferences, whose loss does not depend on T, has 1. Raises ValueError if there is nothing to score.
    """
    inverse = 1.0
    for _ in range(MAX_STEPS):
        slope = curvature = 0.0
        for positions, logits, targets in iter_logits(network, ids, first, precision=precision, max_chars=MAX_FITTED):
            scores = logits - logits.gather(1, targets[:, None])  # of the target: 0
            probs = (inverse * scores).softmax(-1)
            means = (probs * scores).sum(-1)
            slope += means.sum(dtype=torch.float64).item()
            curvature += ((probs * scores**2).sum(-1) - means**2).sum(dtype=torch.float64).item()
            on_progress(len(positions))
        if curvature <= 0:
            break
        before, inverse = inverse, min(max(inverse - slope / curvature, inverse / 2), inverse * 2)
        inverse = min(max(inverse, 1 / LARGEST), LARGEST)
        if abs(inverse - before) <= TOLERANCE * before:
            break
    return 1 / inverse


def losses_at(
    temperature: float,
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> CharLosses:
    """Compute the losses of `char_losses` with all logits divided by a temperature."""
    scaled = copy.deepcopy(network)
    with torch.no_grad():
        scaled.output.weight.div_(temperature)
        scaled.output.bias.div_(temperature)
    return char_losses(scaled, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress)


def cross_fitted_losses(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> tuple[CharLosses, tuple[float, float]]:
    """Compute the losses of ids[first:] with each half at the temperature that is fitted to the other half.

    No character is thus scored at a temperature that was fitted to it. Returns the losses and the temperatures at which
    the first and the second half are scored. Raises ValueError for a text with less than 2 characters to score.
    """
    middle = first + (len(ids) - first) // 2
    if not 1 <= first < middle:
        raise ValueError(f"halves need at least 2 characters to score: first is {first}, the text has {len(ids)}")
    first_half = fit_temperature(network, ids[:middle], first, precision=precision, on_progress=on_progress)
    second_half = fit_temperature(network, ids, middle, precision=precision, on_progress=on_progress)
    halves = [
        losses_at(temperature, network, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress)
        for temperature in (second_half, first_half)
    ]
    positions = halves[0].positions
    nats = np.where(positions < middle, halves[0].nats, halves[1].nats)
    return CharLosses(positions, nats), (second_half, first_half)


DYNAMIC = "dynamic"
"""The protocol of dynamic evaluation."""
TEMPERATURE = "temperature"
"""The protocol of the stateful losses at a fitted temperature."""
MAX_DYNAMIC = 1 << 17
"""Characters that dynamic evaluation scores, unless another limit is asked for: about a minute for 512 units."""


def dynamic_report(
    network: CharRNN, text: MeasuredText, scale: Mapping[str, Tensor], *, max_chars: int | None = None
) -> LossReport:
    """Measure the mean loss over the first `max_chars` characters of a text by dynamic evaluation."""
    losses = dynamic_losses(network, text.ids, text.first_scored, scale=scale, max_chars=max_chars)
    return report_of(losses, text, protocol=DYNAMIC, precision="fp32")


def add_dynamic(
    table: LossTable,
    run: MeasuredRun,
    scale: Mapping[str, Tensor],
    *,
    max_chars: int | None = MAX_DYNAMIC,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> None:
    """Measure a run by dynamic evaluation and add its row, with the difference to its static loss.

    Only the first `max_chars` characters are scored, in one piece. If these are not all, the row is named `run[:N]`,
    and a row of the static loss of the same characters comes before it. Both are computed in fp32.
    """
    text, network = run.text, _network_of(run)
    first, num_chars = text.first_scored, len(text.ids) - text.first_scored
    num_scored = num_chars if max_chars is None else min(num_chars, max_chars)
    ids = text.ids[: first + num_scored]
    static = char_losses(network, ids, first, precision="fp32", on_progress=on_progress)
    losses = dynamic_losses(network, ids, first, scale=scale, on_progress=on_progress)
    name = run.name
    if num_scored < num_chars:
        name = f"{run.name}[:{num_scored + first - text.first}]"
        _add(table, run, static, name=name, protocol="stateful", precision="fp32")
    _add(table, run, losses, static, name=name, protocol=DYNAMIC, precision="fp32")


def add_temperature(
    table: LossTable,
    run: MeasuredRun,
    static: CharLosses,
    validation: tuple[IdArray, int] | None,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> None:
    """Measure a run at a fitted temperature and add its row, with the difference to its static losses `static`.

    The temperature is fitted to the `validation` text (ids, index at which it begins). Without one, that is the text
    itself, and each of its halves is scored at the temperature that is fitted to the other one. A note names them.
    """
    network, ids, first = _network_of(run), run.text.ids, run.text.first_scored
    if validation is not None:
        temperature = fit_temperature(network, *validation, precision=precision, on_progress=on_progress)
        losses = losses_at(
            temperature, network, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
        how = f"{temperature:.3f}, fitted to the validation text"
    else:
        if len(ids) - first < 2:
            reason = "it is fitted to one half of the text for the other, and the text has no halves"
            table.skipped.append(SkippedRow(protocol=TEMPERATURE, reason=reason))
            return
        losses, halves = cross_fitted_losses(
            network, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
        how = f"{halves[0]:.3f} and {halves[1]:.3f}, each fitted to the half of the text on which it is not scored"
    chosen = chosen_precision(network.device, precision)
    _add(table, run, losses, static, name=run.name, protocol=TEMPERATURE, precision=chosen)
    table.notes.append(f"{TEMPERATURE} of {run.name}: {how}.")


def _network_of(run: MeasuredRun) -> CharRNN:
    assert isinstance(run.network, CharRNN), "a mixture has no weights of its own to adapt"
    return run.network


def _add(
    table: LossTable,
    run: MeasuredRun,
    losses: CharLosses,
    static: CharLosses | None = None,
    *,
    name: str,
    protocol: str,
    precision: str,
) -> None:
    table.append(
        EvaluationRow(
            name=name,
            step=run.step,
            loss=report_of(losses, run.text, protocol=protocol, precision=precision),
            difference=None if static is None else paired_difference(losses, static),
        )
    )
