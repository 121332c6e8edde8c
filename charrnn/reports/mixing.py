"""Several models that predict together: a weighted mixture of their probabilities.

Shapes: T time, B batch, V vocabulary, M models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import DataError, UsageError, counted, named
from charrnn.generation.distribution import log_softmax
from charrnn.generation.generator import Generator
from charrnn.generation.sample_options import Clamps
from charrnn.model.annotations import Predictor
from charrnn.model.recurrent_state import RecurrentState
from charrnn.model.stepper import CharacterModel
from charrnn.system.arrays import Float32Array, Float64Array, Int64Array
from charrnn.system.lazy import torch
from charrnn.text.documents import END
from charrnn.text.given_text import GivenText, whole_text
from charrnn.text.vocab import UNKNOWN, EncodedText, Vocab, code_points, encode_text
from charrnn.trained_model import TextModel, TrainedModel

ROUNDING = 1e-6
"""How far the sum of the weights may be from 1."""
MIN_COMMON = 2
"""The least number of characters that the alphabets must have in common: among fewer there is
nothing to choose."""


def common_alphabet(
    vocabs: Sequence[Vocab], names: Sequence[str]
) -> tuple[Vocab, tuple[Int64Array, ...]]:
    """Return the alphabet of every model, if all are the same, or else the characters that all
    alphabets have, without an unknown symbol; and for each of `vocabs` the ids (V,) that these have
    in it. Messages call the runs by `names`.

    Raises UsageError if one alphabet consists of bytes and another of characters, or if the
    alphabets have too few characters in common.
    """
    # A probability of a byte and a probability of a character cannot be averaged.
    first = vocabs[0]
    units = {"char": "characters", "byte": "bytes"}
    for vocab, name in zip(vocabs, names, strict=True):
        if vocab.kind != first.kind:
            raise UsageError(
                f"{names[0]} reads {units[first.kind]} and {name} reads {units[vocab.kind]}: they"
                " have no common alphabet.\nMix runs that were trained with the same kind of"
                " alphabet."
            )

    # The usual case: runs on one text, which keep their unknown symbol.
    if all(vocab == first for vocab in vocabs):
        return first, tuple(np.arange(len(first)) for _ in vocabs)

    # The unknown symbol stands for other characters in each alphabet.
    shared = set(first.characters)
    for vocab in vocabs[1:]:
        shared.intersection_update(vocab.characters)
    shared.discard(UNKNOWN)
    if len(shared) < MIN_COMMON:
        raise UsageError(
            f"{', '.join(names)} have {len(shared)} of their characters in common; mixing them"
            f" needs at least {MIN_COMMON}.\nMix runs whose texts are written in the same script."
        )

    common = Vocab("char", tuple(sorted(shared)))
    points = code_points("".join(common.characters))
    return common, tuple(vocab.ids_of(points).astype(np.int64) for vocab in vocabs)


def mix(models: Sequence[TextModel], weights: Sequence[float] | None = None) -> Mixture:
    """Return a mixture of models, which all read the text: p = Σ wᵢ pᵢ.

    Models with different alphabets choose among the characters that all models know, and the
    probabilities of each model are normalized over these characters.

    Args:
        models: The models, or the n-grams of their texts (`Model.ngrams`).
        weights: The weight of each model, from 0 to 1, with the sum 1. A model with the weight 0 is
            left out. By default all weights are equal.

    Returns:
        The `Mixture`, which generates text as a `Model` does, and can be evaluated.

    Raises:
        UsageError: There is no model, a weight is out of range, the sum is not 1, the models have
            no common alphabet, or some of them were trained on documents and others were not.

    Example:
        >>> mixture = charrnn.mix([charrnn.load("first"), charrnn.load("second")], [0.7, 0.3])
        >>> mixture
        <Mixture 0.7 first + 0.3 second>
        >>> len(mixture.sample(length=200).text)
        200
    """
    if not models:
        raise UsageError("There is no model to mix: give at least one.")

    # Weights are not normalized: a sum that is not 1 is more likely a mistake.
    shares = [1 / len(models)] * len(models)
    if weights is not None:
        shares = list(weights)
    if len(shares) != len(models):
        raise UsageError(
            f"There are {counted(len(models), 'model')} and {counted(len(shares), 'weight')}."
        )
    for share in shares:
        if not 0 <= share <= 1:  # nan, too
            raise UsageError(
                f"A weight of {named('mix')} is {share:g}; it must be between 0 and 1. Try 0.5."
            )
    if abs(math.fsum(shares) - 1) > ROUNDING:
        raise UsageError(f"The weights have the sum {math.fsum(shares):g}; it must be 1.")

    # A model without weight would be computed for nothing, and limit the common alphabet.
    mixed_models = []
    mixed_shares = []
    for model, share in zip(models, shares, strict=True):
        if share > 0:
            mixed_models.append(model)
            mixed_shares.append(share)
    return Mixture(mixed_models, mixed_shares)


class Mixture(TextModel):
    """Several models that predict together, made by `mix`. A mixture generates text as a `Model`
    does, and can be evaluated. The log-probabilities of a generated text are those of the mixture.

    Attributes: `models` and their `weights`, without models of weight 0; `name`; `config`, the
    configuration of the first model, which says what a text is; `vocab`, the common alphabet;
    `ids_there`, the ids that its entries have in the alphabet of each model; `generator`;
    `warnings`.
    """

    def __init__(self, models: Sequence[TextModel], weights: Sequence[float]) -> None:
        """Take models and weights that `mix` has checked. Raises UsageError for models without a
        common alphabet."""
        self.models = tuple(models)
        self.weights = tuple(weights)
        self.name = "mixture"
        _check_documents(models)
        self.vocab, self.ids_there = common_alphabet(
            [model.vocab for model in models], names=[model.name for model in models]
        )

        first = models[0]
        self.config = first.config
        if self.vocab != first.vocab:
            # The common characters of different alphabets have no unknown symbol.
            self.config = replace(first.config, alphabet="exact")

        # One model alone generates as it does without a mixture, bit for bit.
        self.generator = first.generator
        if len(models) > 1:
            self.generator = MixedGenerator(self)
        self.warnings = self._warnings()

    def __reduce__(self) -> tuple[Any, ...]:
        return Mixture, (self.models, self.weights)

    def __repr__(self) -> str:
        return f"<Mixture {self.described}>"

    @property
    def described(self) -> str:
        """The models and their weights: `0.7 a + 0.3 b`."""
        pairs = zip(self.weights, self.models, strict=True)
        return " + ".join(f"{weight:.3g} {model.name}" for weight, model in pairs)

    @property
    def trained_models(self) -> Sequence[TrainedModel]:
        """The trained models: n-grams are none."""
        return tuple(chain.from_iterable(model.trained_models for model in self.models))

    def origin(self) -> dict[str, object]:
        """Return the weight of each model, for JSON.

        Returns:
            A dictionary with one entry, `mix`: a list of an object for each run.

        Example:
            >>> charrnn.mix([charrnn.load("first"), charrnn.load("second")]).origin()
            {'mix': [{'run': 'first', 'weight': 0.5}, {'run': 'second', 'weight': 0.5}]}
        """
        parts: list[dict[str, object]] = []
        for model, weight in zip(self.models, self.weights, strict=True):
            parts.append({"run": model.name, "weight": weight})
        return {"mix": parts}

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of this mixture's figures must know."""
        warnings = (f"{warning[:1].upper()}{warning[1:]}." for warning in self.warnings)
        return (f"{self.name}: {self.described}.", *warnings)

    @cached_property
    def network(self) -> Predictor:
        """The mixture as a torch module; if there is only one model, the network of this model."""
        if len(self.models) == 1:
            return self.models[0].network
        return MixedNetwork(self)

    def encode(self, text: GivenText, *, context: str | bytes = "") -> EncodedText:
        """Encode a text and its context in the common alphabet, as `Model.encode` does.

        Args:
            text: The text: a string, bytes, the `pathlib.Path` of a file, or a list of these.
            context: What the models read before the text. By default nothing.

        Returns:
            An `EncodedText` of N characters.

        Raises:
            DataError: The text is empty, a file cannot be read or, if the alphabets differ, it has
                characters that one of the models does not know.
            UsageError: The text is bytes and the models read characters.

        Example:
            >>> mixture = charrnn.mix([charrnn.load("first"), charrnn.load("second")])
            >>> len(mixture.encode("molu tarn"))
            9
        """
        text = whole_text(text, self.config, context=context)
        if isinstance(text, str) and not self.vocab.has_unknown_symbol:
            missing = self.vocab.unknown_characters(text)
            if missing:
                examples = ", ".join(f"{character!r}" for character in missing[:8])
                raise DataError(
                    "The text has characters that one of the mixed runs does not know:"
                    f" {examples}.\n"
                    "Give a text that all of them know."
                )

        # Models of documents read the text as a document, which begins after an END.
        if self.config.end_id is not None and not context:
            context = END
        return encode_text(self.vocab, text=text, context=context)

    def _warnings(self) -> tuple[str, ...]:
        """Return a warning about the characters that the common alphabet leaves out; nothing if all
        alphabets are the same."""
        # Characters that a model knows and the mixture cannot write. The unknown symbol is no
        # character.
        left_out = []
        for model in self.models:
            num_left_out = len(model.vocab) - model.vocab.has_unknown_symbol - len(self.vocab)
            if num_left_out > 0:
                left_out.append(f"{num_left_out:,} of {model.name}")
        if not left_out or self.vocab == self.models[0].vocab:
            return ()

        characters = counted(len(self.vocab), "character")
        message = f"the {self.name} chooses among the {characters} that all runs know; left out: "
        return (message + ", ".join(left_out),)


def _check_documents(models: Sequence[TextModel]) -> None:
    """Raise UsageError if some of the models were trained on documents and others were not."""
    # A model without documents never ends a text; a model of documents begins with END.
    with_documents = [model for model in models if model.config.end_id is not None]
    without_documents = [model for model in models if model.config.end_id is None]
    if with_documents and without_documents:
        raise UsageError(
            f"{with_documents[0].name} was trained on documents, and"
            f" {without_documents[0].name} was not:"
            f" they cannot be mixed.\nMix runs with the same {named('documents')}."
        )


class MixedState(NamedTuple):
    """The states of several models, with the interface of a `RecurrentState`."""

    states: tuple[RecurrentState[Any], ...]

    def map(self, function: Callable[..., Any], *others: MixedState) -> MixedState:
        """Do what `RecurrentState.map` does with the states of each model."""
        # The states of one model stand at the same index of `self` and of the others.
        columns = zip(self.states, *(other.states for other in others), strict=True)
        return MixedState(tuple(state.map(function, *rest) for state, *rest in columns))

    @property
    def device(self) -> torch.device:
        """Where the arrays of torch are."""
        device: torch.device = self.states[0].device
        return device

    @property
    def num_bytes(self) -> int:
        """Bytes of the vectors of all states."""
        return sum(state.num_bytes for state in self.states)


class _MixedModels:
    """Several models that read the same characters."""

    def __init__(self, mixture: Mixture, predictors: Sequence[Any]) -> None:
        """Take the stepper or the network of each model of a mixture."""
        self.predictors = predictors
        self.vocab_size = len(mixture.vocab)
        self._weights = np.array(mixture.weights)
        self._ids_there = mixture.ids_there

    def initial_state(self, batch_size: int) -> MixedState:
        """Return the initial states of all models."""
        states = [predictor.initial_state(batch_size) for predictor in self.predictors]
        return MixedState(tuple(states))


class MixedStepper(_MixedModels):
    """Several models one character at a time; its logits are the logarithms of the mixed
    probabilities, in float64."""

    def __init__(self, mixture: Mixture, steppers: Sequence[CharacterModel]) -> None:
        super().__init__(mixture, steppers)
        self.changes = self.precision = steppers[0].precision

    def step(self, ids: NDArray[np.integer], state: MixedState) -> tuple[Float64Array, MixedState]:
        """Map ids (B,) and a state to log-probabilities (B, V) and the new state."""
        steps = [stepper.step for stepper in self.predictors]
        return self._advance(steps, ids=ids, state=state)

    def read(
        self, ids: NDArray[np.integer], state: MixedState | None = None
    ) -> tuple[Float64Array, MixedState]:
        """Read a text (N,), N >= 1, in one row, from the initial state by default.

        Returns log-probabilities (1, V) after its last character, and the state. Raises ValueError
        for an empty text.
        """
        if state is None:
            state = self.initial_state(1)
        reads = [stepper.read for stepper in self.predictors]
        return self._advance(reads, ids=ids, state=state)

    def check_unit(self, layer: int, unit: int) -> None:
        """Raise UsageError: a cell of a mixture could be one of several models."""
        raise UsageError(
            f"{named('cell')} is a cell of one model, and this is a mixture. Leave it out."
        )

    def values(self, state: MixedState) -> Float32Array:
        """Raise UsageError, as `check_unit` does."""
        raise UsageError("A mixture has no cells of its own.")

    def _advance(
        self,
        calls: Sequence[Callable[..., Any]],
        ids: NDArray[np.integer],
        state: MixedState,
    ) -> tuple[Float64Array, MixedState]:
        """Call a method of every model with the model's own state, and mix the logits over the
        common alphabet."""
        # The probabilities of each model are normalized over the common alphabet first. Otherwise
        # a model that gives much to characters outside this alphabet would count for less than its
        # weight.
        scores = []
        states = []
        for call, ids_there, before in zip(calls, self._ids_there, state.states, strict=True):
            logits, after = call(ids_there[ids], before)
            scores.append(log_softmax(logits[:, ids_there]))
            states.append(after)

        # ln sum of w_i p_i, from logarithms: a probability may be too small for a float.
        log_weights = np.log(self._weights)[:, None, None]
        mixed = np.logaddexp.reduce(np.stack(scores) + log_weights)
        return mixed, MixedState(tuple(states))


class MixedGenerator(Generator):
    """Generates text with several models. It has the options and errors of `Generator`, but no cell
    can be clamped."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__(mixture.config, mixture.vocab, {}, f"the {mixture.name}")
        self._mixture = mixture
        self._steppers: dict[str, MixedStepper] = {}

    def model_for(self, precision: str, clamps: Clamps) -> MixedStepper:
        # Cell 0:17 of one model has nothing to do with cell 0:17 of another model.
        if clamps:
            raise UsageError(
                f"{named('clamps')} sets a cell of one model, and this is a mixture: leave it out."
            )
        # Every other precision generates with int8 weights.
        if precision != "fp32":
            precision = "int8"
        if precision not in self._steppers:
            steppers = [
                model.generator.model_for(precision, clamps={}) for model in self._mixture.models
            ]
            self._steppers[precision] = MixedStepper(self._mixture, steppers)
        return self._steppers[precision]


class MixedNetwork(_MixedModels):
    """Maps ids (T, B) and a state to the logarithms of mixed probabilities (T, B, V),
    and a new state.

    The ids are those of the common alphabet. The probabilities of each network are normalized over
    its characters.
    """

    def __init__(self, mixture: Mixture) -> None:
        super().__init__(mixture, [model.network for model in mixture.models])
        # END has another id in the common alphabet than in the alphabet of the first model.
        end = self.predictors[0].end_id
        self.end_id = None
        if end is not None:
            self.end_id = self._ids_there[0].tolist().index(end)
        self.device: torch.device = self.predictors[0].device

    def __call__(self, ids: torch.Tensor, state: MixedState) -> tuple[torch.Tensor, MixedState]:
        """Read ids (T, B) with every network, and mix their probabilities, in float32."""
        # As `MixedStepper`, for many characters at once.
        scores = []
        states = []
        for network, ids_there, before in zip(
            self.predictors, self._ids_there, state.states, strict=True
        ):
            there = torch.from_numpy(ids_there).to(ids.device)
            logits, after = network(there[ids], before)
            scores.append(logits.float()[..., there].log_softmax(-1))
            states.append(after)

        log_weights = torch.tensor(self._weights, device=ids.device).log().float()
        mixed = (torch.stack(scores, -1) + log_weights).logsumexp(-1)
        return mixed, MixedState(tuple(states))
