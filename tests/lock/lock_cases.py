"""The command lines of the behaviour lock, by group. Each group runs in a new laboratory, in this
order.

The portable ones are the headings of the records: to add one, write `$ charrnn COMMAND LINE` there
and run `record.py`, with the line `numbers: ` below it if its numbers may differ a little between
processors. `(PLACE) ` before the command line runs it at a place of `command_lines.PLACES`, and a
line that begins with `# ` above it says why it is there. The others are below.
"""

from __future__ import annotations

import laboratory
from locked import PORTABLE, Case, read_record

_SMALL = (
    "--hidden-size 12 --embedding-size 8 --set batch_size=4 --set bptt_length=16 --device cpu"
    " --seed 1"
)


ONE_MACHINE = {
    "visualize": [
        "visualize quoting --cell 0:5 --chars 200",
        "(terminal) visualize quoting --cell 0:5 --chars 120",
        "visualize quoting --gradients --with chain --json",
        "visualize quoting --cell 0:5 --chars 300 --export cell.npz",
        "visualize quoting --cell 0:5 --chars 300 --export cell.png",
        "visualize quoting --gradients --export gradients.html",
        "visualize quoting --export all.npz",
        "visualize lstm --find",
        "visualize gru --evidence 1:3 --detector quote",
    ],
    "evaluate": ["evaluate mlstm grid unitary --chars 600 --json"],
    "runs": [],
}
"""Command lines that only `compare.py` runs: their output is the same on one machine alone."""

_TINY = f"{_SMALL} --precision fp32 --steps 6 --set evaluate_every=3"
_TRAINED = [
    *(f"train words.txt {_TINY} --cell {cell} --out cell-{cell}" for cell in laboratory.CELLS),
    *(
        f"train words.txt {_TINY} --layers 2 --depth {depth} --out depth-{depth}"
        for depth in laboratory.DEPTHS
    ),
    *(
        f"train words.txt {_TINY} --optimizer {name} --out optimizer-{name}"
        for name in ("adamw", "rmsprop", "sgd")
    ),
    f"train words.txt {_SMALL} --precision bf16 --steps 6 --out bf16",
    (
        f"train words.txt {_TINY} --set dropout=0.3 --layers 2 --cell gru --set zoneout=0.1 --set"
        " weight_drop=0.2 --out noise"
    ),
    f"train words.txt {_TINY} --embedding-size one-hot --set initial_state=learned --out one-hot",
    f"train words.txt {_TINY} --alphabet byte --set weight_average=0 --split 80/10/10 --out bytes",
    f"train latin.txt odd.txt {_TINY} --alphabet exact --encoding latin-1 --out exact",
    f"train poems.txt {_TINY} --documents lines --out lines",
    f"train poems.csv {_TINY} --column poem --out column",
    f"train words.txt {_TINY} --save-every 2 --keep 5 --out interrupted",
    "train --resume interrupted --steps 9",
    f"train words.txt {_TINY} --init-from cell-gru --out continued",
    f"train odd.txt {_TINY} --init-from cell-gru --out extended",
    (
        "train words.txt --recipe tiny --steps 3 --device cpu --precision fp32 --set threads=1"
        " --json --out tiny"
    ),
    (
        "train words.txt --parameters 20k --steps 3 --device cpu --precision fp32 --set threads=1"
        " --quiet --out parameters"
    ),
    "sample cell-lstm --seed 4 --length 100",
    "sample cell-lstm --seed 4 --length 100 --precision fp32 --json",
    "evaluate cell-lstm cell-gru bytes --json",
    "visualize cell-lstm --find",
    "visualize interrupted --evidence best",
    "runs",
    "export cell-mlstm cell.zip",
]


GROUPS = {
    group: [
        *read_record(group),
        *map(Case, ONE_MACHINE.get(group, ())),
    ]
    for group in PORTABLE
} | {"trained": [*map(Case, _TRAINED)]}
