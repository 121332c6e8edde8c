#!/usr/bin/env python3
"""Is the opening mark why a closing mark comes next? Places of a text, by the engine of `Model.why`.

    python benchmarks/cells/why.py RUN FILE CHARACTER OPENER [--places N]

Takes places of the last tenth of FILE at which CHARACTER comes next, with 200 characters before each; of a sign that opens
and closes, those after a sign of punctuation. Prints at how many of them the last OPENER is the strongest of all characters
but the last four, what it changes and what another character changes, and which entry carries most of it.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

import charrnn
from charrnn.analyses.why.leaving_out import NetworkReader
from charrnn.analyses.why.many_places import NUM_AT_ONCE, read_places
from charrnn.analyses.why.sentences import NUM_NEAR
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

    # Each place is read without each of its characters.
    reader = NetworkReader(model.network)
    are_strongest = []
    effects = []
    others: list[float] = []
    shares = []
    entries: Counter[int] = Counter()
    for batch in np.split(chosen, range(NUM_AT_ONCE, len(chosen), NUM_AT_ONCE)):
        for place in read_places(model, reader, ids, positions=batch, target=target):
            further = np.abs(place.effects[:-NUM_NEAR])
            before = np.flatnonzero(place.ids[:-NUM_NEAR] == opener)
            if not len(before):
                continue
            last = int(before[-1])
            are_strongest.append(int(further.argmax()) == last)
            effects.append(float(place.effects[last]))
            others += further[generator.integers(0, len(further), 3)].tolist()
            entries[int(place.entries[last])] += 1
            shares.append(float(place.shares[last]))

    entry, count = entries.most_common(1)[0]
    print(
        f"{model.name}, {given.character!r}: {len(effects)} places; {given.opener!r} is the strongest"
        f" beyond the last {NUM_NEAR} at {np.mean(are_strongest):.0%}; it changes the next character"
        f" by {np.mean(effects):+.2f} nats, another by {np.mean(others):.3f}; 0:{entry} carries most"
        f" at {count}, the median share of the first entry is {np.median(shares):.0%}"
    )


main()
