#!/usr/bin/env python3
"""Is the opening mark why a closing mark comes next? Places of a text, by the engine of `Model.why`.

    python benchmarks/cells/why.py RUN FILE CHARACTER OPENER [--places N]

Takes places of the last tenth of FILE at which CHARACTER comes next, with 200 characters before each; of a sign that opens
and closes, those after a sign of punctuation. Prints at how many of them the last OPENER is the strongest of all characters
but the last four, what it changes and what another character changes, and which entry carries most of it.

The second line says the same of gradients: at how many of these places the OPENER has the largest gradient of the
log-probability with respect to the vector of a character, by its length (Euclidean norm) and by its product with the vector
(*gradient × input*), and the median rank of the OPENER by each.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import charrnn
from charrnn.analyses.why.leaving_out import NetworkReader
from charrnn.analyses.why.many_places import NUM_AT_ONCE, MeasuredPlace, read_places
from charrnn.analyses.why.sentences import NUM_NEAR
from charrnn.api import Model
from charrnn.trained_model import NUM_LEFT_OUT

MAX_CHARS = 150_000
"""Characters of the text, at most."""
FIRST = 1_000
"""Characters at its beginning that are left out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("file", type=Path)
    parser.add_argument("character")
    parser.add_argument("opener")
    parser.add_argument("--places", type=int, default=80)
    given = parser.parse_args()

    # The places.
    model = charrnn.load(given.run)
    text = given.file.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    text = text[int(len(text) * 0.9) :][:MAX_CHARS]
    ids = model.vocab.encode(text)
    target, opener = model.vocab.encode(given.character + given.opener).tolist()
    positions = []
    for position in range(FIRST + NUM_LEFT_OUT, len(ids)):
        closes = target != opener or text[position - 1] in ".,!?-;"
        if ids[position] == target and closes:
            positions.append(position)
    generator = np.random.default_rng(0)
    chosen = generator.choice(positions, min(given.places, len(positions)), replace=False)

    # Each place is read without each of its characters. Only places with an opener say something.
    reader = NetworkReader(model.network)
    places: list[MeasuredPlace] = []
    openers: list[int] = []
    for batch in np.split(chosen, range(NUM_AT_ONCE, len(chosen), NUM_AT_ONCE)):
        for place in read_places(model, reader, ids, positions=batch, target=target):
            before = np.flatnonzero(place.ids[:-NUM_NEAR] == opener)
            if len(before):
                places.append(place)
                openers.append(int(before[-1]))
    print(f"{model.name}, {given.character!r}: {len(places)} places; {given.opener!r} is")
    print(f"- left out: {say_effects(places, openers, generator)}")
    print(f"- by gradients: {say_gradients(model, places, openers, target=target)}")


def say_effects(
    places: Sequence[MeasuredPlace], openers: Sequence[int], generator: np.random.Generator
) -> str:
    """Say what leaving out the openers changes, and what carries it."""
    others: list[float] = []
    entries: Counter[int] = Counter()
    for place, last in zip(places, openers, strict=True):
        further = np.abs(place.effects[:-NUM_NEAR])
        others += further[generator.integers(0, len(further), 3)].tolist()
        entries[int(place.entries[last])] += 1
    effects = [place.effects[last] for place, last in zip(places, openers, strict=True)]
    shares = [place.shares[last] for place, last in zip(places, openers, strict=True)]
    ranks = ranks_of([place.effects for place in places], openers)
    entry, count = entries.most_common(1)[0]
    return (
        f"{say_ranks(ranks)}; it changes the next character by {np.mean(effects):+.2f} nats, another by"
        f" {np.mean(others):.3f}; 0:{entry} carries most at {count}, the median share of the first entry is"
        f" {np.median(shares):.0%}"
    )


def say_gradients(
    model: Model, places: Sequence[MeasuredPlace], openers: Sequence[int], *, target: int
) -> str:
    """Say how strong the openers are by gradients of the log-probability of the target."""
    network = model.network
    ids = torch.from_numpy(np.stack([place.ids for place in places], axis=1))
    vectors = network.vectors(ids).detach().requires_grad_()
    logits, _ = network(vectors, network.initial_state(len(places)))
    logprobs = logits[-1].log_softmax(-1)[:, target]
    (gradients,) = torch.autograd.grad(logprobs.sum(), vectors)
    by_norm = gradients.norm(dim=-1).T.numpy()
    by_product = (gradients * vectors.detach()).sum(-1).T.numpy()
    norm_ranks = ranks_of(list(by_norm), openers)
    product_ranks = ranks_of(list(by_product), openers)
    return f"norm: {say_ranks(norm_ranks)}; gradient × input: {say_ranks(product_ranks)}"


def ranks_of(strengths: Sequence[NDArray[np.floating]], openers: Sequence[int]) -> list[int]:
    """Return the rank of the opener among all characters but the last four, at each place: 1 is the
    strongest."""
    ranks = []
    for values, last in zip(strengths, openers, strict=True):
        further = np.abs(values[:-NUM_NEAR])
        ranks.append(1 + int((further > further[last]).sum()))
    return ranks


def say_ranks(ranks: Sequence[int]) -> str:
    """Say how often the rank is 1, and the median rank."""
    share = np.mean([rank == 1 for rank in ranks])
    return (
        f"the strongest beyond the last {NUM_NEAR} at {share:.0%}, median rank {np.median(ranks):g}"
    )


main()
