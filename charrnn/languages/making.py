"""`charrnn corpora make`: strings of a formal language."""

import sys
from dataclasses import dataclass
from typing import Any

from charrnn.cli.command_options import CommandOptions
from charrnn.cli.streams import print_json
from charrnn.config.options import argument, option
from charrnn.languages.formal_languages import find_language, make_strings


@dataclass(frozen=True, kw_only=True)
class MakeOptions(CommandOptions):
    """The options of `charrnn corpora make`."""

    language: str = argument(
        "LANGUAGE",
        "hello (hellohello), anbn (aabb), anbncn (aabbcc), dyck (nested brackets), parity"
        " (1101=1), copy (abca=abca) or recall (b...?b).",
    )
    num_strings: int = option(10_000, flags="--count N", help="Number of strings, one per line.")
    max_length: int = option(50, flags="--length N", help="Characters of a string, at most.")
    seed: int = option(0, flags="--seed N", help="The same seed gives the same strings.", least=0)


def make_corpus(options: MakeOptions) -> None:
    """Generate strings of a formal language.

    Train on them with `charrnn train FILE --documents lines`; `charrnn visualize` then finds the
    cells that count.
    """
    from charrnn.detectors.registry import DETECTORS

    # JSON also has the states that a cell could track, such as the depth of brackets.
    language = find_language(options.language)
    labels: dict[str, Any] = {name: DETECTORS[name].label for name in language.detectors}
    strings = make_strings(
        language, num_lines=options.num_strings, max_length=options.max_length, seed=options.seed
    )

    # Each string is printed when it is made, so that a million strings need no memory.
    for string in strings:
        if options.json:
            states = {
                name: label(string.text).astype(int).tolist() for name, label in labels.items()
            }
            print_json({"text": string.text, "states": states})
        else:
            sys.stdout.write(string.text + "\n")
