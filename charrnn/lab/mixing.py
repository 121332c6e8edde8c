"""Several models that predict together: a weighted mixture or a product of what each predicts."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from charrnn.errors import DataError, UsageError, counted, did_you_mean, named
from charrnn.generation.generator import Generating, Generator
from charrnn.lab.mixture import MixedGenerator
from charrnn.text.documents import END
from charrnn.text.encoded import EncodedText, encode_text
from charrnn.text.vocab import CommonAlphabet

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.model.network import Predictor

MixMode = Literal["mixture", "product"]
"""How predictions are mixed; see `mix`."""
ROUNDING = 1e-6
"""How far the sum of the weights may be from 1."""


def mix(models: "Sequence[Model]", weights: Sequence[float] | None = None, *, mode: MixMode = "mixture") -> "Mixture":
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

    def __init__(self, models: "Sequence[Model]", weights: Sequence[float], mode: MixMode) -> None:
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

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of figures of this mixture, one sentence each."""
        warnings = (f"{warning[:1].upper()}{warning[1:]}." for warning in self.warnings)
        return (f"{self.name}: {self.described}.", *warnings)

    @cached_property
    def network(self) -> "Predictor":
        """The mixture as a torch module; the network of the model itself, if there is only one."""
        from charrnn.model.mixed_network import MixedNetwork

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
