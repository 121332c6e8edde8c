"""Where a model that wrote a text was least certain, and what else was likely there."""

import heapq
from collections.abc import Sequence
from operator import attrgetter

import numpy as np
from rich.cells import cell_len, set_cell_size, split_text
from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.api import Model
from charrnn.generation.generated import Hesitation
from charrnn.generation.generator import Generator
from charrnn.generation.sample_options import SampleOptions, TextOptions
from charrnn.generation.sampling import logprobs_of_each
from charrnn.views.tables import plain_table, with_percent
from charrnn.views.theme import all_visible

CONTEXT = 30
"""Characters before and after a place where the model hesitated."""
NUM_ALTERNATIVES = 5
"""Other characters that are listed there."""


def hesitations(
    model: Model, generator: Generator, text: str, count: int, options: TextOptions
) -> list[Hesitation]:
    """Return the `count` places of a generated text where the next character was least certain,
    in their order.

    `options` are those that it was generated with. With the byte alphabet the text ends before
    bytes of no character. The `generator` may be that of a mixture.

    >>> written = model.sample(length=200, seed=1)
    >>> model.hesitations(model.generator, written.text, 5, SampleOptions(length=200, seed=1))
    """
    # The same model as that which wrote the text: a beam search has no precision.
    precision = "fp32"
    if isinstance(options, SampleOptions):
        precision = options.precision
    stepper = generator.model_for(precision, options.clamps)
    prime = generator.encode_prime(options.prime, options.unknown)
    if generator.vocab.kind == "byte":
        text = text.partition("\ufffd")[0]

    ids = generator.vocab.encode(text)

    # Neither END nor the newlines that stand for no prime are shown.
    shown_prime = prime[:0]
    if options.prime:
        shown_prime = prime[prime != generator.config.end_id]
    read = np.concatenate((shown_prime, ids))

    # The model reads the text again: its entropy is not kept while a text is drawn.
    never = generator.never_drawn(options.ban)
    primed = generator.read_prime(stepper, prime)
    each = logprobs_of_each(stepper, primed, ids.tolist())
    places = []
    for position, (id, logprobs) in enumerate(zip(ids.tolist(), each, strict=True)):
        probs = np.exp(logprobs)
        ranked = np.argsort(-logprobs, kind="stable").tolist()
        others = [other for other in ranked if other != id and other not in never]
        at = len(shown_prime) + position
        place = Hesitation(
            position=position,
            before=generator.vocab.decode(read[max(0, at - CONTEXT) : at]),
            character=generator.character(id),
            probability=float(probs[id]),
            after=generator.vocab.decode(read[at + 1 : at + 1 + CONTEXT]),
            entropy=-float(probs @ logprobs / np.log(2)),
            alternatives=tuple(
                generator.prediction(other, probs[other]) for other in others[:NUM_ALTERNATIVES]
            ),
        )
        places.append(place)

    largest = heapq.nlargest(count, places, attrgetter("entropy"))
    return sorted(largest, key=attrgetter("position"))


def hesitation_table(model: Model, places: Sequence[Hesitation]) -> RenderableType:
    """Draw the places where a model hesitated: each in its context, what was written, and what else
    was likely.

    >>> model.hesitation_table(places)
    """
    table = plain_table("at", "text", "written", "instead", right=("at",), narrow=True)
    table.columns[1].no_wrap = True
    for place in places:
        # Of what is before, its end, so that the brackets stand below each other.
        before = all_visible(place.before)
        before = split_text(before, max(0, cell_len(before) - 16))[1]
        before = " " * (16 - cell_len(before)) + before
        after = set_cell_size(all_visible(place.after), 8)
        context = f"{before}[{all_visible(place.character)}]{after}"

        # Positions count from 1, as lines and columns of an editor do.
        others = "  ".join(map(with_percent, place.alternatives))
        table.add_row(f"{place.position + 1:,}", context, with_percent(place), others)

    title = "Where the model hesitated most: what it wrote, and what else was likely"
    return Group(Text(title, style="bold"), table)
