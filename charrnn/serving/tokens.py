"""Return the characters of a prompt and of the text after it as tokens of OpenAI's API, with their
probabilities.

A token is a character, or a byte of the byte alphabet. V is the size of the vocabulary.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from charrnn.errors import UsageError, named
from charrnn.generation import sampling
from charrnn.generation.distribution import log_softmax
from charrnn.generation.generator import Generator
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.special_ids import start_ids, undrawable_ids
from charrnn.generation.writing import Piece, TextStream
from charrnn.text.vocab import Vocab

Prompt = str | list[int]
"""A text, or the ids of its characters."""


class Token(NamedTuple):
    """A character with its log-probability, and with the most likely characters in its place."""

    text: str
    """The text of the character; "" within a character of several bytes."""
    logprob: float | None = None
    """The log-probability in nats; None if it was not requested, or if nothing is before the
    character."""
    top: dict[str, float] | None = None
    """The log-probabilities of the most likely characters and of this character."""


def ids_of(vocab: Vocab, prompt: Prompt, name: str) -> sampling.Ids:
    """Return the ids of a prompt. Raises UsageError for ids outside the alphabet of the run `name`,
    DataError for unknown characters if the alphabet has no unknown symbol."""
    if isinstance(prompt, str):
        return vocab.encode(prompt)
    for id in prompt:
        if not 0 <= id < len(vocab):
            raise UsageError(
                f"{named('prompt')} has the token {id}; the alphabet of {name} has those from 0 to"
                f" {len(vocab) - 1}."
            )
    return np.array(prompt, np.int64)


def tokenizer_info(vocab: Vocab, end_id: int | None) -> dict[str, Any]:
    """Return the characters before and after a text, in the format of vLLM's server."""
    # A client measures a whole text after this character; a text without a prompt may begin after
    # more characters.
    end = None if end_id is None else vocab.characters[end_id]
    begin = vocab.decode(start_ids(vocab, end_id))
    return {"tokenizer_class": "charrnn", "bos_token": begin, "eos_token": end}


def continue_prompt(
    generator: Generator,
    prompt: sampling.Ids,
    options: SampleOptions,
    *,
    is_echoed: bool,
    num_top: int | None,
) -> Iterator[Token]:
    """Return an iterator over the tokens that are drawn after a prompt. With `is_echoed`, the
    tokens of the prompt come before them.

    With `num_top`, each token has its log-probability and the `num_top` most likely characters.
    Raises UsageError for an option that does not fit the model.
    """
    # The prime is read like in `charrnn sample`, which cannot read the unknown symbol. Errors are
    # raised here, before the first token.
    vocab = generator.vocab
    known_ids = prompt
    if vocab.has_unknown_symbol:
        known_ids = prompt[prompt > 0]
    prime: str | bytes | None = None
    if vocab.kind == "byte" and len(known_ids):
        prime = bytes(known_ids.tolist())
    elif len(known_ids):
        prime = vocab.decode(known_ids)
    drawn = generator.stream(replace(options, prime=prime))

    pieces = drawn
    if is_echoed:
        pieces = chain(_pieces(vocab, prompt), drawn)
    if num_top is None:
        return (Token(piece.text) for piece in pieces)

    # The probabilities are computed with the trained weights, not with the 8-bit weights that draw:
    # so they agree with `charrnn evaluate`, and all ranks are of the same distribution.
    stepper = generator.model_for("fp32", clamps={})
    if not is_echoed or len(prompt) == 0:
        primed = sampling.prime_model(stepper, generator.encode_prime(prime))
        return _measured(generator, primed=primed, pieces=pieces, num_top=num_top)

    # Of several documents each one begins anew, so that END stands between them as in training.
    primed = sampling.unprimed(stepper)
    if generator.config.end_id is not None:
        start = start_ids(vocab, generator.config.end_id)
        primed = sampling.prime_model(stepper, start)
    return _without_first(_measured(generator, primed=primed, pieces=pieces, num_top=num_top))


def _pieces(vocab: Vocab, ids: sampling.Ids) -> Iterator[Piece]:
    stream = TextStream(vocab, stops=())
    for id in ids.tolist():
        yield from stream.feed(id, logprob=0.0, value=0.0)
    yield from stream.finish()


def _measured(
    generator: Generator, primed: sampling.PrimedState, pieces: Iterator[Piece], num_top: int
) -> Iterator[Token]:
    """Yield a token for each piece, as soon as it is drawn."""
    stepper = generator.model_for("fp32", clamps={})
    logits, state = primed

    # The ids of no character are never in a list, as in that of `charrnn predict`.
    never = undrawable_ids(generator.vocab, generator.config.end_id)
    for piece in pieces:
        logprobs = log_softmax(logits)[0]
        ranked = logprobs.copy()
        ranked[list(never)] = -np.inf
        most_likely = np.argsort(-ranked, kind="stable")[: min(num_top, len(ranked) - len(never))]

        # The token itself is always in its list, as in OpenAI's.
        top = {
            generator.character(id): float(logprobs[id])
            for id in dict.fromkeys((*most_likely.tolist(), piece.id))
        }
        yield Token(text=piece.text, logprob=float(logprobs[piece.id]), top=top)
        logits, state = stepper.step(np.array([piece.id]), state)


def _without_first(tokens: Iterable[Token]) -> Iterator[Token]:
    """Yield the tokens, the first one without a log-probability: clients of OpenAI's API skip it,
    because nothing stands before it."""
    for index, token in enumerate(tokens):
        yield Token(token.text) if index == 0 else token
