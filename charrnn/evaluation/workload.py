"""How many characters an evaluation reads in all, for its progress: as many as the functions report while they read.

Shapes: M scored characters.
"""

from collections.abc import Collection, Sequence

from charrnn.evaluation.breakdown import NUM_POSITION_WINDOWS, context_length
from charrnn.evaluation.comparison import MeasuredRun
from charrnn.evaluation.losses import NUM_WINDOWS, WINDOWED_LENGTH, MeasuredText, num_scored_chars, scored_positions
from charrnn.lab.dynamic import MAX_FITTED
from charrnn.lab.long_range import MAX_CHARS, choose_groups, num_read
from charrnn.lab.ngrams import COMPRESSORS, MOST_TEXT_BYTES, MOST_TRAINING_BYTES, ROWS_BYTES, num_counted, usable_orders
from charrnn.text.corpus import CorpusPart

USUAL_FITTING_STEPS = 3
"""Steps of Newton's method that fitting a temperature usually takes; the real number is known only afterwards."""


def num_scored(text: MeasuredText, max_chars: int | None) -> int:
    """Return M, the characters of a text that are scored by the stateful protocol."""
    return num_scored_chars(len(text.ids) - text.first_scored, max_chars)


def num_read_for_losses(runs: Sequence[MeasuredRun], *, by: Collection[str], max_chars: int | None) -> int:
    """Return how many characters the rows and breakdowns of `LossTable` read for these runs."""
    total = 0
    for run in runs:
        total += num_scored(run.text, max_chars)
        if run.text.why_not_windowed() is None:
            total += NUM_WINDOWS * WINDOWED_LENGTH
        if "position" in by and run.text.num_chars > 1:
            length = context_length(run.text.num_chars)
            total += length * min(NUM_POSITION_WINDOWS, run.text.num_chars - length)
    return total


def num_read_for_dynamic(
    runs: Sequence[MeasuredRun], *, max_chars: int | None, max_dynamic: int | None, has_halves: bool
) -> int:
    """Return about how many characters dynamic evaluation and a temperature, fitted to halves or not, read."""
    total = 0
    for run in runs:
        length = len(run.text.ids) - run.text.first_scored
        total += 2 * (length if max_dynamic is None else min(length, max_dynamic))
        num_fits = 2 if has_halves else 1
        total += num_fits * (
            USUAL_FITTING_STEPS * min(MAX_FITTED, length // num_fits) + num_scored(run.text, max_chars)
        )
    return total


def num_read_for_baselines(
    text: MeasuredText, training: CorpusPart, orders: Sequence[int], *, max_chars: int | None
) -> int:
    """Return how many characters n-grams, and bytes compressors read. Raises as `usable_orders`."""
    scored, chosen = num_scored(text, max_chars), usable_orders(orders, training)
    num_passes = -(-len(chosen) // max(1, ROWS_BYTES // (4 * scored)))
    before, after = min(MOST_TRAINING_BYTES, training.num_bytes), min(MOST_TEXT_BYTES, text.num_bytes)
    compressed = sum(one.training_passes * before + after for one in COMPRESSORS if one.is_installed)
    return num_counted(len(training)) + num_passes * scored + compressed


def num_read_for_errors(runs: Sequence[MeasuredRun], num_training: int, *, max_chars: int | None) -> int:
    """Return how many characters `report_errors` reads, with a training text of `num_training` characters."""
    scored = num_scored(runs[0].text, max_chars)
    return (len(runs) + 2) * scored + num_counted(num_training) + num_training


def num_read_for_long_range(runs: Sequence[MeasuredRun], num_training: int, *, max_chars: int | None) -> int:
    """Return how many characters `report_long_range` reads: fewer where nothing is closed in the scored text."""
    text = runs[0].text
    positions = scored_positions(len(text.ids), text.first_scored, max_chars)
    groups = choose_groups(positions, min(MAX_CHARS, max_chars or MAX_CHARS))
    return len(runs) * (len(positions) + num_read(groups)) + num_counted(num_training)
