"""Tune the constants of dynamic evaluation on training text: the loss for each combination of
settings.

    charrnn train TEXT --split 81/9/10 --out RUN         # the last tenth, usually validated on, is the test text here
    python benchmarks/losses/dynamic_tuning.py RUN --log dynamic.jsonl --minutes 10

The loss is that of the first `--chars` characters of the run's validation text, which is the last
tenth of the text that a run with the usual split is trained on. The text that a figure is quoted
for is thus never read. Every result is a line of the log, and what is in the log is not computed
again. `gain` is the static loss minus the dynamic one.
"""

import itertools
import json
import time
from dataclasses import asdict
from pathlib import Path

import charrnn
from benchmarks.measuring import Report, make_parser
from charrnn.evaluation.losses import char_losses
from charrnn.plugins.reports.dynamic import DynamicSettings, adapt, root_mean_square_gradients

SEGMENT_LENGTHS = (10, 20, 40)
LEARNING_RATES = (2e-4, 4e-4, 7e-4)
DECAYS = (3e-4, 1e-3, 5e-3)
DAMPINGS = (0.1, 0.3, 1.0)


def combinations() -> list[DynamicSettings]:
    """List all combinations, those that differ least from the defaults first."""
    usual = asdict(DynamicSettings())
    axes = {
        "segment_length": SEGMENT_LENGTHS,
        "learning_rate": LEARNING_RATES,
        "decay": DECAYS,
        "damping": DAMPINGS,
    }
    found = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    found.sort(key=lambda settings: sum(settings[name] != usual[name] for name in axes))
    return [DynamicSettings(**settings) for settings in found]


def main() -> None:
    """Report one row per combination."""
    parser = make_parser(__doc__)
    parser.add_argument("run", help="a run that was trained with --split 81/9/10")
    parser.add_argument("--chars", type=int, default=20_000)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="start no combination after so many"
    )
    parser.add_argument("--log", type=Path, default=Path("dynamic-tuning.jsonl"))
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    model = charrnn.load(arguments.run)
    if len(model.config.split) < 3:
        parser.error(
            f"{model.name} has no test text: do not tune on its validation text. Train with --split"
            " 81/9/10"
        )
    part = model.held_out()
    ids = part.ids[: part.begin + arguments.chars]
    static = char_losses(model.network, ids, part.begin, precision="fp32").blocks.mean
    lines = arguments.log.read_text(encoding="utf-8").splitlines() if arguments.log.exists() else []
    known = {json.dumps(line["key"]): line["nats"] for line in map(json.loads, lines)}
    scales = {}
    report = Report("dynamic_tuning", as_json=arguments.json, with_limits=False)
    for settings in combinations():
        key = [model.name, model.step, len(ids) - part.begin, *asdict(settings).values()]
        nats = known.get(json.dumps(key))
        if nats is None:
            if time.monotonic() > end:
                break
            length = settings.segment_length
            if length not in scales:
                scales[length] = root_mean_square_gradients(
                    model.network, ids[: part.begin], length
                )
            nats = adapt(
                model.network, ids, part.begin, scale=scales[length], settings=settings
            ).losses.blocks.mean
            with arguments.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "nats": nats}) + "\n")
        report.add(**asdict(settings), static=static, nats=nats, gain=static - nats)
    report.close()


if __name__ == "__main__":
    main()
