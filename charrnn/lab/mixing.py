"""Several models that predict together: a weighted mixture or a product of what each predicts.

Shapes: T time, B batch, V vocabulary, M models, N values of all their states.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from threading import local
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import DataError, UsageError, counted, did_you_mean, named
from charrnn.extensions import PackageFunction
from charrnn.generation.distribution import log_softmax
from charrnn.generation.generator import Generating, Generator, Variant
from charrnn.generation.options import Clamps, OnCompile, OnWarning, SampleOptions
from charrnn.generation.sampling import Block, compiled_loop
from charrnn.lazy import torch
from charrnn.model.portable_math import Float32Array
from charrnn.model.stepper import CharacterModel, Stepper
from charrnn.text.documents import END
from charrnn.text.encoded import EncodedText, encode_text
from charrnn.text.vocab import UNKNOWN, Vocab

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.model.network import CharRNN, Predictor

MixMode = Literal["mixture", "product"]
"""How predictions are mixed; see `mix`."""
ROUNDING = 1e-6
"""How far the sum of the weights may be from 1."""


MIN_COMMON = 2
"""Characters that alphabets must have in common: among fewer there is nothing to choose."""


@dataclass(frozen=True, slots=True, eq=False)
class CommonAlphabet:
    """An alphabet, and where each of its entries is in several others."""

    vocab: Vocab
    """The alphabet itself, if all are the same, else the characters of all of them, without an unknown symbol."""
    places: tuple[NDArray[np.int64], ...]
    """For each of the others, (V,): the id that an entry has there."""

    @classmethod
    def of(cls, vocabs: Sequence[Vocab], names: Sequence[str]) -> CommonAlphabet:
        """Find the common alphabet of `vocabs`; `names` are those of their runs, for messages.

        Raises UsageError if one of them consists of bytes and another of characters, or if there is none.
        """
        first = vocabs[0]
        for vocab, name in zip(vocabs[1:], names[1:], strict=True):
            if vocab.kind != first.kind:
                units = {"char": "characters", "byte": "bytes"}
                raise UsageError(
                    f"{names[0]} reads {units[first.kind]} and {name} reads {units[vocab.kind]}: they have no common "
                    "alphabet.\nMix runs that were trained with the same kind of alphabet."
                )
        if all(vocab == first for vocab in vocabs):
            return cls(first, tuple(np.arange(len(first)) for _ in vocabs))
        shared = set(first.characters).intersection(*(vocab.characters for vocab in vocabs[1:])) - {UNKNOWN}
        if len(shared) < MIN_COMMON:
            raise UsageError(
                f"{', '.join(names)} have {len(shared)} of their characters in common; mixing them needs at least "
                f"{MIN_COMMON}.\nMix runs whose texts are written in the same script."
            )
        characters = tuple(sorted(shared))
        places = []
        for vocab in vocabs:
            id_of = {character: id for id, character in enumerate(vocab.characters)}
            places.append(np.array([id_of[character] for character in characters]))
        return cls(Vocab("char", characters), tuple(places))


def mix(models: Sequence[Model], weights: Sequence[float] | None = None, *, mode: MixMode = "mixture") -> Mixture:
    """Return a mixture of models: all of them read the text, and what they predict is mixed with `weights`.

    `mixture`: p = sum of w_i p_i. `product`: p proportional to the product of p_i^w_i, where each model can veto a
    character (Hinton 2002, Products of experts). Without `weights` all are equal. A model with the weight 0 is left
    out.

    Models with different alphabets choose among the characters that all of them know: the probabilities of each are
    normalized over these.

    Raises UsageError for a weight outside [0, 1], a sum of weights that is not 1, an unknown mode, models with
    documents and without, and models without a common alphabet.
    """
    if mode not in get_args(MixMode):
        near = did_you_mean(mode, get_args(MixMode))
        raise UsageError(f"{named('mix_mode')} is {mode!r}; it must be {' or '.join(get_args(MixMode))}.{near}")
    if not models:
        raise UsageError("There is no model to mix: give at least one.")
    shares = [1 / len(models)] * len(models) if weights is None else list(weights)
    if len(shares) != len(models):
        raise UsageError(f"There are {counted(len(models), 'model')} and {counted(len(shares), 'weight')}.")
    for share in shares:
        if not 0 <= share <= 1:  # nan, too
            raise UsageError(f"A weight of {named('mix')} is {share:g}; it must be between 0 and 1. Try 0.5.")
    if abs(math.fsum(shares) - 1) > ROUNDING:
        raise UsageError(f"The weights have the sum {math.fsum(shares):g}; it must be 1.")
    kept = [(model, share) for model, share in zip(models, shares, strict=True) if share > 0]
    return Mixture([model for model, _ in kept], [share for _, share in kept], mode)


class Mixture(Generating):
    """Several models that predict together, made by `mix`: generates text as a `Model`, and can be evaluated.

    The log-probabilities of a text are those of the mixture.

    Attributes: `models` and their `weights`, without those of weight 0; `mode`; `name`, that of the mode; `config`,
    what the texts are, from the first model; `vocab`, the common alphabet; `generator`; `warnings`.
    """

    def __init__(self, models: Sequence[Model], weights: Sequence[float], mode: MixMode) -> None:
        """Take what `mix` has checked. Raises UsageError for models without a common alphabet."""
        self.models, self.weights, self.mode = tuple(models), tuple(weights), mode
        self.name: str = mode
        first = models[0]
        for other in models[1:]:
            if (other.config.end_id is None) != (first.config.end_id is None):
                one, none = (first, other) if other.config.end_id is None else (other, first)
                raise UsageError(
                    f"{one.name} was trained on documents, and {none.name} was not: they cannot be mixed.\n"
                    f"Mix runs with the same {named('documents')}."
                )
        self._alphabet = CommonAlphabet.of([model.vocab for model in models], [model.name for model in models])
        self.vocab = self._alphabet.vocab
        # The characters that different alphabets have in common come without an unknown symbol.
        self.config = first.config if self.vocab == first.vocab else replace(first.config, alphabet="exact")
        self.generator = self._make_generator()
        self.warnings = self._warnings()

    def __repr__(self) -> str:
        return f"<Mixture {self.described}>"

    @property
    def described(self) -> str:
        """The models and their weights: `0.7 a + 0.3 b`, or `a^0.7 × b^0.3` of a product."""
        parts = [(f"{weight:.3g}", model.name) for model, weight in zip(self.models, self.weights, strict=True)]
        if self.mode == "product":
            return " × ".join(f"{name}^{weight}" for weight, name in parts)
        return " + ".join(f"{weight} {name}" for weight, name in parts)

    def origin(self) -> dict[str, Any]:
        """Return the mode and the weight of each run, for JSON."""
        parts = zip(self.models, self.weights, strict=True)
        return {"mix": {"mode": self.mode, "runs": [{"run": one.name, "weight": weight} for one, weight in parts]}}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of figures of this mixture, one sentence each."""
        warnings = (f"{warning[:1].upper()}{warning[1:]}." for warning in self.warnings)
        return (f"{self.name}: {self.described}.", *warnings)

    @cached_property
    def network(self) -> Predictor:
        """The mixture as a torch module; the network of the model itself, if there is only one."""
        networks = [model.network for model in self.models]
        if len(networks) == 1:
            return networks[0]
        return MixedNetwork(networks, self._alphabet, self.weights, self.mode)

    def encode(self, text: str | bytes, *, context: str | bytes = "") -> EncodedText:
        """Encode a text and the context before it in the common alphabet.

        Raises DataError for an empty text and for characters that one of the models does not know, if their alphabets
        differ; UsageError for bytes where the models read characters.
        """
        if isinstance(text, str) and not self.vocab.has_unknown_symbol:
            missing = self.vocab.unknown_characters(text)
            if missing:
                shown = ", ".join(f"{character!r}" for character in missing[:8])
                raise DataError(
                    f"The text has characters that one of the mixed runs does not know: {shown}.\n"
                    "Give a text that all of them know."
                )
        if self.config.end_id is not None and not context:
            context = END
        return encode_text(self.vocab, text, context)

    def _make_generator(self) -> Generator:
        """Return what generates text: the generator of the model itself, if there is only one."""
        if len(self.models) == 1:
            return self.models[0].generator
        generators = [model.generator for model in self.models]
        return MixedGenerator(self.config, generators, self._alphabet, self.weights, self.mode, f"the {self.name}")

    def _warnings(self) -> tuple[str, ...]:
        """Return what a reader must know of a common alphabet; nothing if all alphabets are the same."""
        lacking = [
            f"{num:,} of {model.name}"
            for model in self.models
            if (num := len(model.vocab) - model.vocab.has_unknown_symbol - len(self.vocab)) > 0
        ]
        if not lacking or self.vocab == self.models[0].vocab:
            return ()
        known = counted(len(self.vocab), "character")
        return (f"the {self.name} chooses among the {known} that all runs know; left out: {', '.join(lacking)}",)


class _ScratchOfThread(local):
    """The scratch buffers of the compiled loop: each thread that steps a model has its own."""

    def __init__(self, compiled: ModuleType, weights: Any) -> None:
        self.buffers = compiled.make_scratch(weights, 1)


class CompiledStepper:
    """A `Stepper` of precision int8 whose logits and states are the same, bit for bit, and take less time."""

    def __init__(self, stepper: Stepper, compiled: ModuleType) -> None:
        """Take the module that `sampling.compiled_loop` returned for the loop `read` of this stepper."""
        self._stepper, self._weights, self._loop = stepper, compiled.pack(stepper), compiled.LOOPS["read"]
        self._scratch = _ScratchOfThread(compiled, self._weights)
        self.vocab_size, self.precision, self.changes = stepper.vocab_size, stepper.precision, stepper.changes

    def initial_state(self, batch_size: int) -> Float32Array:
        """Return the state (L, S, B, H) before a text."""
        return self._stepper.initial_state(batch_size)

    def step(self, ids: NDArray[np.integer[Any]], state: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Map ids (B,) and a state (L, S, B, H) to logits (B, V) and a new state, row by row."""
        rows = [self.read(ids[row : row + 1], state[:, :, row : row + 1]) for row in range(len(ids))]
        logits, states = zip(*rows, strict=True)
        return np.concatenate(logits), np.concatenate(states, axis=2)

    def read(
        self, ids: NDArray[np.integer[Any]], state: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Read ids (N,), N >= 1, in one row, as `Stepper.read`. Raises ValueError for an empty text."""
        if len(ids) == 0:
            raise ValueError("the text is empty")
        if self._stepper.end_id is not None and (ends := np.flatnonzero(ids == self._stepper.end_id)).size:
            ids, state = ids[ends[-1] :], None  # what is before an END makes no difference
        state = self.initial_state(1) if state is None else np.array(state, order="C")
        logits = np.zeros((1, self.vocab_size), np.float32)
        self._loop(self._weights, np.asarray(ids, np.int64), state, logits, self._scratch.buffers)
        return logits, state


class _MixedStates:
    """The states of several models (M) as one array (1, 1, B, N) of NumPy or torch, and their weights."""

    def __init__(
        self,
        parts: Sequence[Any],
        join: Callable[..., Any],
        alphabet: CommonAlphabet,
        weights: Sequence[float],
        mode: str,
    ) -> None:
        """Mix `parts` with `weights` (M), all positive with the sum 1, over their common alphabet.

        `join` concatenates arrays along the axis 1. `mode` is that of `charrnn.mix`.
        """
        self.parts, self._join, self._weights, self._is_product = list(parts), join, weights, mode == "product"
        self.vocab_size = len(alphabet.vocab)
        self._shapes = [tuple(part.initial_state(1).shape) for part in parts]

    def initial_state(self, batch_size: int) -> Any:
        """Return the initial states of all models as one array (1, 1, B, N)."""
        return self._pack([part.initial_state(batch_size) for part in self.parts])

    def _pack(self, states: Sequence[Any]) -> Any:
        rows = [state.swapaxes(1, 2).swapaxes(0, 1).reshape(state.shape[2], -1) for state in states]
        return self._join(rows, 1)[None, None]

    def _unpack(self, state: Any) -> list[Any]:
        ends = itertools.accumulate((prod(shape) for shape in self._shapes), initial=0)
        return [
            state[0, 0, :, begin:end].reshape(-1, shape[0], shape[1], shape[3]).swapaxes(0, 1).swapaxes(1, 2)
            for shape, (begin, end) in zip(self._shapes, itertools.pairwise(ends), strict=True)
        ]


class MixedStepper(_MixedStates):
    """Several models one character at a time; its logits are the logarithms of the mixed probabilities, in float64."""

    def __init__(
        self, steppers: Sequence[CharacterModel], alphabet: CommonAlphabet, weights: Sequence[float], mode: str
    ) -> None:
        super().__init__(steppers, np.concatenate, alphabet, weights, mode)
        self._places, self.precision = alphabet.places, steppers[0].precision
        self.changes = self.precision

    def compile_steps(self, num_chars: int, on_compile: OnCompile, on_warning: OnWarning) -> None:
        """Compile the steps of each model that can be compiled, if that saves time for `num_chars` characters.

        In int8 only, where the logits stay the same. `on_compile` and `on_warning` as in `sampling.compiled_loop`.
        """
        if self.precision != "int8":
            return
        num_steps, messages = num_chars * len(self.parts), set[str]()  # the same message comes from every model
        for index, stepper in enumerate(self.parts):
            if isinstance(stepper, Stepper):
                compiled = compiled_loop(stepper, num_steps, "read", on_compile, messages.add)
                if compiled is not None:
                    self.parts[index] = CompiledStepper(stepper, compiled)
        for message in sorted(messages):
            on_warning(message)

    def step(self, ids: NDArray[np.integer[Any]], state: NDArray[np.float32]) -> tuple[Any, NDArray[np.float32]]:
        """Map ids (B,) and a state (1, 1, B, N) to log-probabilities (B, V), not normalized, and the new state."""
        return self._advance("step", ids, state)

    def read(
        self, ids: NDArray[np.integer[Any]], state: NDArray[np.float32] | None = None
    ) -> tuple[Any, NDArray[np.float32]]:
        """Read a text (N,), N >= 1, in one row, as `Stepper.read`. Raises ValueError for an empty text."""
        return self._advance("read", ids, self.initial_state(1) if state is None else state)

    def _advance(self, method: str, ids: NDArray[np.integer[Any]], state: NDArray[np.float32]) -> tuple[Any, Any]:
        """Call `step` or `read` of every model with its part of a state; mix the logits over the common alphabet."""
        scores, states = [], []
        for stepper, places, own in zip(self.parts, self._places, self._unpack(state), strict=True):
            logits, after = getattr(stepper, method)(places[ids], own)
            scores.append(log_softmax(logits[:, places]))
            states.append(after)
        weights = np.asarray(self._weights, np.float64)[:, None, None]
        stacked = np.stack(scores)
        mixed = (weights * stacked).sum(axis=0) if self._is_product else np.logaddexp.reduce(stacked + np.log(weights))
        return mixed, self._pack(states)


class MixedGenerator(Generator):
    """Generates text with several models; options and errors are those of `Generator`, but no cell can be clamped."""

    def __init__(
        self,
        config: Config,
        generators: Sequence[Generator],
        alphabet: CommonAlphabet,
        weights: Sequence[float],
        mode: str,
        name: str,
    ) -> None:
        """Take the generators of the models; `config` says what the mixture's texts are, as for one model."""
        super().__init__(config, alphabet.vocab, {}, name)
        self._generators, self._alphabet, self._shares, self._mode = generators, alphabet, weights, mode
        self._mixed: dict[str, MixedStepper] = {}

    def model_for(self, precision: str, clamps: Clamps) -> MixedStepper:
        if clamps:
            raise UsageError(f"{named('clamps')} sets a cell of one model, and this is a mixture: leave it out.")
        precision = "fp32" if precision == "fp32" else "int8"
        if precision not in self._mixed:
            models = [one.model_for(precision, {}) for one in self._generators]
            self._mixed[precision] = MixedStepper(models, self._alphabet, self._shares, self._mode)
        return self._mixed[precision]

    def _draw(self, variants: Sequence[Variant], options: SampleOptions) -> Iterator[Block]:
        num_chars = len(options.prime) + options.length * len(variants)
        model = self.model_for(options.precision, options.clamps)
        model.compile_steps(num_chars, options.on_compile, options.on_warning)
        return super()._draw(variants, options)


class MixedNetwork(_MixedStates):
    """Maps ids (T, B) and a state (1, 1, B, N) to the logarithms of mixed probabilities (T, B, V), and a new state.

    Ids and probabilities are those of the common alphabet: those of each network are normalized over its characters.
    """

    def __init__(
        self, networks: Sequence[CharRNN], alphabet: CommonAlphabet, weights: Sequence[float], mode: str
    ) -> None:
        super().__init__(networks, torch.cat, alphabet, weights, mode)
        self._places = [torch.from_numpy(places) for places in alphabet.places]
        end = networks[0].end_id
        self.end_id = None if end is None else alphabet.places[0].tolist().index(end)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        device: torch.device = self.parts[0].device
        return device

    def __call__(self, ids: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read ids (T, B) with every network, and mix what they predict, in float32."""
        scores, states = [], []
        for network, places, own in zip(self.parts, self._places, self._unpack(state), strict=True):
            places = places.to(ids.device)
            logits, after = network(places[ids], own.contiguous())
            scores.append(logits.float()[..., places].log_softmax(-1))
            states.append(after)
        stacked, weights = torch.stack(scores, -1), torch.tensor(self._weights, device=ids.device, dtype=torch.float64)
        if self._is_product:
            return (stacked * weights.float()).sum(-1), self._pack(states)
        return (stacked + weights.log().float()).logsumexp(-1), self._pack(states)


EXTENSIONS = (PackageFunction(name="mix", function=mix), PackageFunction(name="Mixture", function=Mixture))
"""`charrnn.mix` and the class of its result."""
