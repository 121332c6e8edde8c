"""Dynamic evaluation: measure the loss of a model that goes on learning from the measured text.

Krause, Kahembwe, Murray & Renals 2018, "Dynamic Evaluation of Neural Sequence Models", RMS with an
RMS global prior. The text is read in segments. After the losses of a segment are recorded, one
gradient step on them changes the weights: each weight's step is divided by the root mean square of
its gradients on training text, and the weight decays towards its trained value. The loss of a
character thus depends on the trained weights and on the characters before it only.

Shapes: N characters, T characters of a segment, B batch rows.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from charrnn.errors import DataError, NonFiniteError, UsageError, check_range, counted, named
from charrnn.evaluation.comparison import AddedProtocol, AddedRows, Comparison
from charrnn.evaluation.loss_reports import EvaluationRow, LossReport, paired_difference
from charrnn.evaluation.measured import MeasuredRun, MeasuredText
from charrnn.model.annotations import CharRNN
from charrnn.model.losses import (
    STATEFUL,
    CharLosses,
    char_losses,
)
from charrnn.model.reading import WARM_UP
from charrnn.model.recurrent_state import RecurrentState
from charrnn.system.lazy import Tensor, torch
from charrnn.system.progress import task
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END
from charrnn.text.vocab import IdArray
from charrnn.trained_model import Adaptation, TrainedModel

DYNAMIC = "dynamic"
"""The protocol of dynamic evaluation."""
MAX_DYNAMIC = 1 << 17
"""Characters that dynamic evaluation scores by default: this takes about a minute for 512 units."""
MAX_ADAPTED = 1 << 17
"""The largest number of characters that a model is adapted to, at the end of a longer text: changes
of the weights by earlier characters would have decayed."""
SCALE_TEXTS = 32
"""Texts that a model draws to measure its gradients."""
SCALE_LENGTH = 320
"""Characters of each of these texts."""
NUM_STRETCHES = 32
"""B: stretches of the training text, spread evenly over it, in which gradients are measured."""
SEGMENTS_OF_STRETCH = 8
"""Successive segments in each stretch."""
SCALE_WARM_UP = 128
"""Characters before each stretch that warm up the state. They are fewer than
`model.reading.WARM_UP`, so that a stretch fits into a text of SCALE_LENGTH that a model draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicSettings:
    """How the weights follow the text. Raises UsageError naming the field, its value and its
    range."""

    segment_length: int = 20
    """T: characters between two updates, through which the gradient is propagated back."""
    learning_rate: float = 4e-4
    """Change of a weight whose gradient is as large as usual on training text."""
    decay: float = 1e-3
    """Share by which a weight of average gradient returns to its trained value at each update."""
    damping: float = 0.3
    """Added to the root mean square of every gradient, as a multiple of its mean over all weights:
    rarely used weights would otherwise move too far."""

    def __post_init__(self) -> None:
        check_range("segment_length", self.segment_length)
        # A learning rate or a decay of 0 turns it off. Without damping, a gradient of 0 would lead
        # to a division by 0.
        for name in ("learning_rate", "decay", "damping"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise UsageError(f"{named(name)} is {value}; it must be 0 or more.")
        if self.damping == 0:
            raise UsageError(f"{named('damping')} is {self.damping}; it must be above 0.")


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """The result of dynamic evaluation: the losses on the way, and the weights after the text."""

    losses: CharLosses
    tensors: dict[str, Tensor] = field(repr=False)
    """Copies of the parameters and buffers by name, as `Module.state_dict` names them."""


def adapted(
    model: TrainedModel,
    text: str | bytes,
    *,
    unknown: str,
    settings: DynamicSettings | None,
) -> TrainedModel:
    """Return a model whose weights have learned from `text` by dynamic evaluation; `model` itself
    does not change.

    The model learns from the last `MAX_ADAPTED` characters of a longer text. The `adaptation` of
    the result has the losses. The result belongs to no run: its `path` and `step_digest` are None,
    and it is not saved. `unknown` is the option of `Model.sample`. Raises DataError for a text of
    one segment or less and for characters outside the vocabulary, UsageError for bytes if the model
    reads characters, NonFiniteError if the weights diverge.
    """
    # Characters outside the alphabet are treated as in the prime of a sample.
    settings = settings or DynamicSettings()
    if isinstance(text, str) or model.vocab.kind == "byte":
        text = model.generator.known_text(text, unknown, what="text to adapt to")

    encoded = model.encode(text)
    if len(encoded) <= settings.segment_length:
        raise DataError(
            f"The text to adapt to has {counted(len(encoded), 'character')}; it needs at least "
            f"{settings.segment_length + 1}."
        )

    # The loss before and after learning, on the same characters and in the same precision.
    ids = encoded.ids
    first = max(1, encoded.first, len(ids) - MAX_ADAPTED)
    static = char_losses(model.network, ids=ids, first=first, precision="fp32")
    result = adapt(
        model.network, ids=ids, first=first, scale=gradient_scale(model), settings=settings
    )

    # The model has no path: the findings about the cells of the run do not apply to it.
    return type(model)(
        model.config,
        model.vocab,
        {name: tensor.cpu().numpy() for name, tensor in result.tensors.items()},
        name=f"{model.name}, adapted",
        step=model.step,
        recorded_corpus=model.recorded_corpus,
        adaptation=Adaptation(
            num_chars=len(static),
            text_length=len(encoded),
            static_nats=static.blocks.mean,
            dynamic_nats=result.losses.blocks.mean,
        ),
    )


def gradient_scale(model: TrainedModel, part: CorpusPart | None = None) -> dict[str, Tensor]:
    """Compute the root mean square of each weight's gradient, by which dynamic evaluation divides
    its steps.

    With `part`, a part of a corpus, the gradients are measured on the training text in this corpus.
    Without `part` no corpus is needed: they are measured on `SCALE_TEXTS` texts that the model
    draws, which are the same at every call.
    """
    if part is not None:
        ids = model.training_text(part).ids
    else:
        drawn = model.samples(SCALE_TEXTS, length=SCALE_LENGTH, temperature=1.0, seed=0)
        between = ""
        if model.config.end_id is not None:
            between = END
        ids = model.vocab.encode(between.join(text.text for text in drawn) or "\n")
    return root_mean_square_gradients(
        model.network, ids=ids, segment_length=DynamicSettings().segment_length
    )


def root_mean_square_gradients(
    network: CharRNN, ids: IdArray, segment_length: int
) -> dict[str, Tensor]:
    """Compute the root mean square, over segments of training text, of the gradient of a segment's
    mean loss with respect to each weight.

    The segments lie in up to NUM_STRETCHES stretches that are spread evenly over the training text
    `ids` (N,). Returns a tensor for each parameter, in its shape, by its name. Raises ValueError
    for a text of less than 2 characters.
    """
    if len(ids) < 2:
        raise ValueError(f"a gradient needs at least 2 characters of training text, not {len(ids)}")
    learner = _Learner(network)

    # The states at the beginnings of all stretches are warmed up together.
    num_learned = SEGMENTS_OF_STRETCH * segment_length
    length = SCALE_WARM_UP + num_learned + 1
    num_stretches = max(1, min(NUM_STRETCHES, len(ids) // length))
    warm_up = min(SCALE_WARM_UP, max(0, len(ids) - num_learned - 1))
    starts = np.arange(num_stretches, dtype=np.int64) * max(0, len(ids) - length) // num_stretches
    states = learner.read(ids[starts + np.arange(warm_up)[:, None]])

    # Squares are added up stretch by stretch: the gradient of several batch rows together would be
    # the gradient of their mean loss.
    totals = {name: torch.zeros_like(parameter) for name, parameter in learner.parameters.items()}
    num_segments = 0
    with task("measuring gradients", total=len(starts), unit="places") as advance:
        for row, start in enumerate(starts + warm_up):
            state = states.map(partial(torch.narrow, dim=-2, start=row, length=1))
            for begin in range(start, start + num_learned, segment_length):
                segment = ids[begin : begin + segment_length + 1]
                if len(segment) < 2:
                    break

                _, _, gradients, state = learner.gradients(segment, state)
                for name, gradient in gradients.items():
                    totals[name].addcmul_(gradient, gradient)
                num_segments += 1
            advance()

    return {name: (total / num_segments).sqrt_() for name, total in totals.items()}


def adapt(
    network: CharRNN,
    ids: IdArray,
    first: int = 1,
    *,
    scale: Mapping[str, Tensor],
    settings: DynamicSettings | None = None,
) -> Adapted:
    """Compute the loss of each character of ids[first:] by weights that have learned from the
    characters before it.

    ids[:first] are context: its end warms up the state, and nothing is learned from it. `scale` has
    the `root_mean_square_gradients` of training text. The network does not change; the result has
    the weights after the last character. Everything is computed in the precision of the weights.
    Raises ValueError if there is nothing to score, NonFiniteError if the weights diverge.
    """
    settings = settings or DynamicSettings()
    if not 1 <= first < len(ids):
        raise ValueError(f"nothing to score: first is {first}, the text has {len(ids)} characters")
    learner = _Learner(network)
    trained = {name: parameter.detach().clone() for name, parameter in learner.parameters.items()}

    # The learning rate and the decay of each weight, by its usual gradient (Krause et al. 2018).
    num_weights = sum(usual.numel() for usual in scale.values())
    total = sum(usual.sum(dtype=torch.float64).item() for usual in scale.values())
    # The mean is 0 if the output does not depend on the weights; 1 avoids 0 / 0.
    mean = total / num_weights or 1.0
    rates = {}
    decays = {}
    for name, usual in scale.items():
        rates[name] = settings.learning_rate / (usual + settings.damping * mean)
        decays[name] = (settings.decay / mean * usual).clamp_(max=1)

    # The end of the context warms up the state.
    state = learner.read(ids[max(0, first - 1 - WARM_UP) : first - 1, None])
    nats = np.empty(len(ids) - first, np.float32)
    is_right = np.empty(len(nats), np.bool_)
    with task("adapting", total=len(nats)) as advance:
        for begin in range(first, len(ids), settings.segment_length):
            # The losses of a segment are recorded before the weights learn from it.
            segment = ids[begin - 1 : begin + settings.segment_length]
            logits, losses, gradients, state = learner.gradients(segment, state)
            scores = logits.float().cpu().numpy()
            offset = begin - first
            own_scores = scores[np.arange(len(scores)), segment[1:]]
            is_right[offset : offset + len(scores)] = scores.max(-1) == own_scores
            segment_nats = nats[offset : offset + len(losses)]
            segment_nats[:] = losses.float().cpu().numpy()
            if not np.isfinite(segment_nats).all():
                raise NonFiniteError(
                    f"Dynamic evaluation diverged after {offset:,} characters: lower"
                    f" {named('learning_rate')}, now {settings.learning_rate:g}."
                )

            # One step down the gradient, and one step back to the trained weights.
            with torch.no_grad():
                for name, parameter in learner.parameters.items():
                    parameter.lerp_(trained[name], decays[name])
                    if name in gradients:
                        parameter.addcmul_(gradients[name], rates[name], value=-1)
            advance(len(losses))

    return Adapted(
        CharLosses(np.arange(first, len(ids)), nats, is_right=is_right), learner.tensors()
    )


class _Learner:
    """A copy of a network whose weights may change."""

    def __init__(self, network: CharRNN) -> None:
        self._network = copy.deepcopy(network).requires_grad_(True)
        self.parameters: dict[str, Tensor] = dict(self._network.named_parameters())

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the parameters and buffers by name."""
        copied = {}
        for name, tensor in self._network.state_dict().items():
            copied[name] = tensor.detach().clone()
        return copied

    def read(self, ids: IdArray) -> RecurrentState[Tensor]:
        """Read ids (T, B) from the initial state and return the state after them; with T = 0, the
        initial state."""
        with torch.no_grad():
            state = self._network.initial_state(ids.shape[1])
            if len(ids):
                _, state = self._network(self._tensor(ids), state)
        return state

    def gradients(
        self, ids: IdArray, state: RecurrentState[Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor], RecurrentState[Tensor]]:
        """Read ids (T + 1,) in one batch row from a state.

        Returns the logits (T, V) and the losses (T,) of the last T ids, the gradients of the mean
        loss with respect to the weights that it depends on, and the state before the last id.
        """
        text = self._tensor(ids)
        logits, state = self._network(text[:-1, None], state)
        losses = torch.nn.functional.cross_entropy(logits[:, 0], text[1:], reduction="none")

        # `autograd.grad` leaves the `grad` of the weights alone. It returns None for a weight that
        # the loss does not depend on.
        weights = list(self.parameters.values())
        all_gradients = torch.autograd.grad(losses.mean(), weights, allow_unused=True)
        gradients = {}
        for name, gradient in zip(self.parameters, all_gradients, strict=True):
            if gradient is not None:
                gradients[name] = gradient

        # The next segment does not propagate back into this one.
        return logits[:, 0].detach(), losses.detach(), gradients, state.map(torch.detach)

    def _tensor(self, ids: IdArray) -> Tensor:
        return torch.from_numpy(ids.astype(np.int64)).to(self._network.output.weight.device)


def _measure(model: TrainedModel, run: MeasuredRun) -> LossReport:
    """Measure the mean loss over the first characters of a text by dynamic evaluation."""
    text = run.text
    ids = _first_ids(text, run.max_chars)
    # A text that was typed or read from a file has no training text beside it: the model draws the
    # texts for the gradients.
    scale = gradient_scale(model, text.part)
    adapted = adapt(model.network, ids=ids, first=text.first_scored, scale=scale)
    return text.report(text.charged(adapted.losses).scores, protocol=DYNAMIC, precision="fp32")


def _first_ids(text: MeasuredText, max_chars: int | None) -> IdArray:
    """Return the ids of the characters that are scored, in one piece: the weights learn from each
    segment for the next."""
    if max_chars is None:
        return text.ids
    return text.ids[: text.first_scored + max_chars]


def _prepare(comparison: Comparison, _: bool) -> Callable[[], None]:
    """Return a function that adds the rows of every run; there is nothing to check."""

    def add_rows() -> None:
        # Mixtures have no weights of their own to adapt.
        for run, model in comparison.models:
            _add_row(comparison, model=model, run=run)

    return add_rows


def _add_row(comparison: Comparison, model: TrainedModel, run: MeasuredRun) -> None:
    """Measure a run by dynamic evaluation and add its row, with the difference to its static loss.

    Only the first characters are scored, in one piece. If the text is longer, the row is named
    `run[:N]`, and a row of the static loss of the same characters comes before it. Both are
    computed in fp32.
    """
    # Learning from a character takes several times as long as reading it.
    text = run.text
    max_chars = comparison.max_chars
    if max_chars == "auto":
        max_chars = MAX_DYNAMIC
    ids = _first_ids(text, max_chars)
    network = model.network
    scale = gradient_scale(model, text.part)

    # The static loss for the difference: the same characters in the same precision.
    static = text.charged(char_losses(network, ids=ids, first=text.first_scored, precision="fp32"))
    adapted = adapt(network, ids=ids, first=text.first_scored, scale=scale)

    # `trained_share` is a share of the whole text, so a part of the text has none.
    name = run.name
    trained_share = run.trained_share
    if len(ids) < len(text.ids):
        trained_share = None
        name = f"{run.name}[:{len(ids) - text.first}]"
        report = text.report(static.scores, protocol=STATEFUL, precision="fp32")
        comparison.rows.append(EvaluationRow(name=name, step=run.step, loss=report))

    losses = text.charged(adapted.losses)
    row = EvaluationRow(
        name=name,
        step=run.step,
        loss=text.report(losses.scores, protocol=DYNAMIC, precision="fp32"),
        difference=paired_difference(losses, static),
        trained_share=trained_share,
    )
    comparison.rows.append(row)


ROWS = AddedRows(
    name=DYNAMIC,
    help="Add a row for dynamic evaluation, which learns from the text it has read.",
    prepare=_prepare,
)
"""`evaluate --dynamic`."""
PROTOCOL = AddedProtocol(name=DYNAMIC, measure=_measure)
"""The protocol `dynamic`."""
