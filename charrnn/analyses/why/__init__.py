"""Why a model predicts a character: each earlier character is left out, and what carries its
effect.

A character is left out by not reading it. Its *effect* on a predicted character c is log p(c) with
everything read minus log p(c) without it: an intervention, which needs no gradient, no baseline and
no theory. What *carries* it is exact: the logit of c is a sum over the entries u of the vector that
the output layer reads, so its difference is the sum of W[c, u] (h_u - h'_u).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.analyses.why.leaving_out import (
    Omissions,
    OutputParts,
    Prediction,
    Reader,
    StepperReader,
    read_without,
)
from charrnn.analyses.why.one_place import NUM_OTHERS, Why
from charrnn.analyses.why.target import NEXT, target_id
from charrnn.cells.known_cells import found_cells
from charrnn.cells.records import CellIndex
from charrnn.config.options import Range, check
from charrnn.errors import UsageError, counted
from charrnn.generation.generator import undrawable_ids
from charrnn.generation.sample_options import DEFAULT_UNKNOWN
from charrnn.generation.sampling import prime_model
from charrnn.model.cell_types import Array
from charrnn.model.shapes import Architecture, check_finite
from charrnn.system.arrays import Int64Array
from charrnn.system.progress import task
from charrnn.text.given_text import as_read
from charrnn.trained_model import NUM_LEFT_OUT, TrainedModel

__all__ = ["LEFT_OUT", "MAX_LEFT_OUT", "Why", "why"]

MAX_LEFT_OUT = 2_000
"""The most characters that are left out."""
LEFT_OUT = Range(f"between 1 and {MAX_LEFT_OUT}", contains=range(1, MAX_LEFT_OUT + 1).__contains__)
"""The numbers of characters that can be left out."""


def why(
    model: TrainedModel,
    text: str | bytes,
    *,
    character: str | bytes = NEXT,
    chars: int = NUM_LEFT_OUT,
    unknown: str = DEFAULT_UNKNOWN,
) -> Why:
    """Explain why `model` predicts a character after `text`, which it reads from the beginning of
    the last document.

    `explain_place` is for ids that were read already. The arguments are those of `Model.why`.
    Raises UsageError for a text of one character, for a `character` that cannot come next, and for
    `chars` out of range; DataError for characters outside the vocabulary.
    """
    check("chars", chars, allowed=LEFT_OUT, remedy=" The work grows with the square of it.")
    read = model.generator.encode_prime(text, unknown, what="text").astype("int64")
    target, replaced = target_id(model, character, unknown=unknown)

    # The END before a document is read with it, and is no character of it.
    num_special = int(model.config.end_id is not None)
    num_chars = len(read) - num_special
    if len(text) == 0:
        # An empty text is read as a newline, which nobody has written.
        num_chars = 0
    num_left_out = min(chars, num_chars)
    if len(read) < 2:
        raise UsageError(
            f"The text has {counted(num_chars, 'character')}: one is left out, and something must"
            f" be left to read. Give at least {2 - num_special}."
        )

    # What is read in any case, but for one character, whose prediction belongs to the readings.
    stepper = model.stepper
    begin = len(read) - num_left_out
    state = None
    if begin > 1:
        state = prime_model(stepper, read[: begin - 1]).state
        read = read[begin - 1 :]

    return explain_place(
        model,
        StepperReader(stepper),
        ids=read,
        num_left_out=num_left_out,
        target=target,
        state=state,
        num_read=num_chars,
        replaced=replaced | _replaced(model, text),
    )


def _replaced(model: TrainedModel, text: str | bytes) -> dict[str, str]:
    """Return what is read in place of each character of a text that the model lacks."""
    vocab = model.vocab
    missing = vocab.unknown_characters(as_read(text, model.config))
    return {character: vocab.nearest(character) for character in missing}


def explain_place(
    model: TrainedModel,
    reader: Reader,
    *,
    ids: Int64Array,
    num_left_out: int,
    target: int | None,
    state: Array | None,
    num_read: int,
    replaced: Mapping[str, str] = MappingProxyType({}),
) -> Why:
    """Explain why `target`, or the most likely character, is predicted after ids (T,).

    A browser that has the ids and a network at hand calls it for one place after the other; `why`
    takes a text and checks it.

    They are read from a state, and the last `num_left_out` of them are left out one by one.
    `num_read` and `replaced` are fields of `Why`.
    """
    omissions = Omissions.of_last(len(ids), num_left_out)
    num_steps = num_left_out * (num_left_out + 1) // 2 + len(ids) - num_left_out
    with task("leaving out", total=num_steps) as advance:
        joined = read_without(
            reader, ids=ids[:, None], omissions=omissions, state=state, advance=advance
        )
    check_finite(joined, what="outputs")
    predicted = predict_from(model, reader, joined, texts=omissions.texts)

    logprobs = predicted.logprobs
    # Of what stands for a character: the unknown symbol is never written.
    undrawable = undrawable_ids(model.vocab, model.config.end_id)
    order = np.argsort(-logprobs[0], kind="stable").tolist()
    likeliest = [id for id in order if id not in undrawable]
    if target is None:
        target = likeliest[0]
    others = []
    for id in [id for id in likeliest if id != target][:NUM_OTHERS]:
        others.append((model.vocab.character(id), float(np.exp(logprobs[0, id]))))
    targets = np.array([target])
    unit = "character"
    if model.vocab.kind == "byte":
        unit = "byte"
    return Why(
        name=model.name,
        character=model.vocab.character(target),
        probability=float(np.exp(logprobs[0, target])),
        others=tuple(others),
        characters=tuple(map(model.vocab.character, ids[-num_left_out:].tolist())),
        effects=predicted.effects(targets),
        probabilities=np.exp(logprobs[1:, target]),
        terms=predicted.terms(targets),
        layers=predicted.parts.layers,
        are_units=predicted.parts.are_units,
        follows=followed_by(model),
        num_read=num_read,
        replaced=replaced,
        unit=unit,
    )


def predict_from(
    model: TrainedModel, reader: Reader, joined: NDArray[Any], *, texts: Int64Array
) -> Prediction:
    """Return the predictions of a model from what its layers hand to each other, (L, P + R, H), and
    the texts (R,) of the characters that are left out.

    One place and many places are explained from it alike.
    """
    config = model.config
    parts = OutputParts.of(joined, Architecture(config), sums_outputs=config.sum_outputs)
    return Prediction(
        parts,
        texts=texts,
        weight=reader.output_weight,
        bias=reader.output_bias,
    )


def followed_by(model: TrainedModel) -> dict[CellIndex, str]:
    """Return the detector that each found cell (layer, unit) follows best.

    It names a unit in an explanation by what it does, where a survey has found that.
    """
    follows: dict[CellIndex, str] = {}
    for score in found_cells(model.cache):
        follows.setdefault((score.layer, score.unit), score.detector)
    return follows
