"""Draw 500 new names with charrnn and with markovify, and count how many of them are real.

    pip install markovify
    python benchmarks/losses/new_names.py names.txt

The programs learn a random half of the names. A name is new if it is not in that half and was not
drawn before; it is real if it is in the other half, which no program has seen. charrnn trains for a
minute, in this folder, and draws at temperature 0.5; markovify chooses each character after the
last two to five.
"""

import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import markovify

import charrnn
from benchmarks.measuring import print_table

NUM_NAMES = 500


def network_of(names: list[str]) -> Callable[[], object]:
    """Return a function that draws a name of a network."""
    text = Path("learned-names.txt")
    text.write_text("\n".join(names), encoding="utf-8")
    run = "learned-names"
    list(charrnn.train(charrnn.Config(corpus=str(text), documents="lines", minutes=1), out=run))
    return charrnn.load(run).samples(count=10 * NUM_NAMES, temperature=0.5, seed=0).pop


def main() -> None:
    """Print the table."""
    names = Path(sys.argv[1]).read_text(encoding="utf-8").split()
    random.seed(0)
    random.shuffle(names)
    learned = names[::2]
    spaced = "\n".join(" ".join(name) for name in learned)
    programs = {"charrnn": network_of(learned)}
    for order in (2, 3, 4, 5):
        chain = markovify.NewlineText(spaced, state_size=order, well_formed=False)
        programs[f"markovify, {order}"] = partial(chain.make_sentence, test_output=False)

    table = []
    for program, draw in programs.items():
        new: set[str] = set()
        while len(new) < NUM_NAMES:
            new |= {str(draw()).replace(" ", "")}.difference(learned)
        table.append({"program": program, "real": len(new.intersection(names))})
    print_table(table)


if __name__ == "__main__":
    main()
