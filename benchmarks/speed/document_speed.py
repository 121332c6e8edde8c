"""Measure characters per second of training on documents, beside the same model on plain text.

    python benchmarks/speed/document_speed.py                        # LSTMs of 128 and 512 units, documents of three lengths
    python benchmarks/speed/document_speed.py --hidden 256 --cells gru
    python benchmarks/speed/document_speed.py --max-piece 16         # other pieces (charrnn.model.reading.MAX_PIECE)

Both are whole optimizer steps (`Trainer.take_step`) over windows of 32 batch rows and 128
characters, alternating; figures are medians. Documents have lengths around the given mean (normal,
a quarter of it as the deviation), and END counts as a character, as in every loss. Nothing is
padded.

ratio: characters per second with documents divided by those without.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring import Report, in_turn, make_parser
from charrnn.config.settings import PRECISIONS, Config
from charrnn.model import reading
from charrnn.model.device import chosen_precision
from charrnn.text.batches import BatchRows
from charrnn.training.trainer import Trainer

VOCAB_SIZE = 65
NUM_LANES, LENGTH = 32, 128
MEANS = {"names": 7, "lines": 40, "files": 300}


def make_ids(mean: int, num_ids: int = 1_000_000) -> NDArray[np.uint16]:
    """Random characters with an END (id 1) after every document."""
    random = np.random.default_rng(0)
    ids = random.integers(2, VOCAB_SIZE, num_ids).astype(np.uint16)
    lengths = np.maximum(1, random.normal(mean, mean / 4, num_ids // mean).astype(int))
    ends = np.cumsum(lengths + 1) - 1
    ids[ends[ends < num_ids]] = 1
    return ids


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--hidden", nargs="+", type=int, default=[128, 512], metavar="H")
    parser.add_argument("--cells", nargs="+", default=["lstm"], metavar="CELL")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--max-piece", type=int, default=reading.MAX_PIECE, metavar="N")
    arguments = parser.parse_args()
    reading.MAX_PIECE = arguments.max_piece
    report = Report("document_speed", as_json=arguments.json, with_limits=False)
    for cell in arguments.cells:
        for hidden_size in arguments.hidden:
            config = Config(
                cell=cell,
                num_layers=1,
                hidden_size=hidden_size,
                embedding_size=64,
                dropout=0.2,
                input_dropout=0.1,
                batch_size=NUM_LANES,
                bptt_length=LENGTH,
                learning_rate=1e-3,
                weight_decay=0.1,
                steps=10**6,
                precision=chosen_precision(torch.device("cpu"), arguments.precision),
            )
            for name, mean in MEANS.items():
                lanes = BatchRows(make_ids(mean), NUM_LANES)
                plain, documents = (
                    Trainer(replace(config, documents=kind), lanes, VOCAB_SIZE, torch.device("cpu"))
                    for kind in ("none", "lines")
                )
                times = in_turn(
                    plain.take_step, documents.take_step, at_least_seconds=arguments.seconds
                )
                rates = [NUM_LANES * LENGTH / seconds for seconds in times]
                report.add(
                    model=f"{cell} 1x{hidden_size}",
                    documents=f"{name} of {mean}",
                    plain_per_second=round(rates[0]),
                    per_second=round(rates[1]),
                    ratio=round(rates[1] / rates[0], 2),
                )
    report.close()


if __name__ == "__main__":
    main()
