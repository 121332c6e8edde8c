"""Measure how long it takes to describe every cell of a network by a rule, and how much memory.

    python benchmarks/describe_cells.py                    # 1x512 over 131,072 characters, with its untrained baseline
    python benchmarks/describe_cells.py --hidden-size 64   # another size

The network has initial weights, the text is drawn from WORDS. The second call takes the report from
the findings saved in a run, in a temporary folder; it builds the conditions again to check that
they are the same.
"""

import os
import random
import resource
import tempfile
import time

from measuring import Report, make_parser

from charrnn.api import Model
from charrnn.cells.findings_cache import FindingsCache
from charrnn.config.settings import Config
from charrnn.model.network import CharRNN
from charrnn.text.vocab import UNKNOWN, Vocab

WORDS = (
    "the",
    "mill",
    "stood",
    "by",
    "a",
    "river",
    "and",
    "Anna",
    "said",
    "NOTHING",
    "of",
    "it",
    "in",
    "1812",
    "wheel",
)
ENDS = (" ", " ", " ", ", ", ". ", ".\n", '," he said, "', ' (in "May") ', "; ", "!\n\n")


def make_text(num_chars: int) -> str:
    """Return so many characters of sentences with capitals, numbers, quotations and lines."""
    draw = random.Random(0)
    parts = [f"{draw.choice(WORDS)}{draw.choice(ENDS)}" for _ in range(num_chars // 3)]
    return "".join(parts)[:num_chars]


def main() -> None:
    """Report the seconds of a first and a second call, the explained cells, and the peak memory of
    this process."""
    parser = make_parser(__doc__)
    parser.add_argument("--chars", type=int, default=131_072)
    parser.add_argument("--num-layers", type=int, default=1)
    parser.add_argument("--hidden-size", type=int, default=512)
    arguments = parser.parse_args()
    text = make_text(arguments.chars)
    config = Config(
        cell="lstm",
        num_layers=arguments.num_layers,
        hidden_size=arguments.hidden_size,
        embedding_size=64,
    )
    vocab = Vocab("char", (UNKNOWN, *sorted(set(text))))
    network = CharRNN(config, len(vocab))
    model = Model(
        config, vocab, {name: value.numpy() for name, value in network.state_dict().items()}
    )
    report = Report("describe_cells", as_json=arguments.json)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHARRNN_CACHE"] = folder
        for call in ("first", "second"):
            model.findings = FindingsCache("benchmark")
            begin = time.perf_counter()
            described = model.study(text, cached=True).descriptions()
            report.add(
                call=call,
                cells=len(described.descriptions),
                chars=described.num_chars,
                conditions=described.num_conditions,
                seconds=time.perf_counter() - begin,
                explained=described.share_explained,
                most_memory_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            )
    report.close()


if __name__ == "__main__":
    main()
