"""What a reader of the losses must know."""

import math
from collections.abc import Iterator, Sequence

from charrnn.errors import counted, named
from charrnn.evaluation.measured import MeasuredRun
from charrnn.text.copies import LEAST_SHARE, trained_notes
from charrnn.text.vocab import Vocab
from charrnn.trained_model import TrainedModel


def notes_of_runs(runs: Sequence[MeasuredRun], *, is_given: bool) -> Iterator[str]:
    """Yield a note for each reason why the runs cannot be compared as they stand. `is_given` says
    that the text is no part of the text of the runs."""
    alphabets: list[Vocab] = []
    for run in runs:
        # Runs with the same alphabet lack the same characters, so one note is enough.
        text = run.text
        vocab = run.model.vocab
        if text.num_unknown and vocab not in alphabets:
            alphabets.append(vocab)
            unknown = counted(text.num_unknown, "character")
            yield (
                f"{run.name} does not know {unknown} of this text, each of which costs"
                f" {text.escape_nats:.2f} nats more than the unknown symbol, because it"
                " must be said which character it is."
            )
        # The model remembers this text, which lowers its loss.
        learned = run.trained_share or 0.0
        if is_given and learned >= LEAST_SHARE:
            yield (
                f"{run.name} was trained on {100 * learned:.0f} % of this text. Leave"
                f" {named('text')} out for the loss of its validation text."
            )

        # A part of the loss tells which character an unknown symbol stands for.
        nats = run.losses.blocks.mean
        most = math.log(len(vocab))
        if nats - text.escape_nats * text.num_unknown / text.num_chars > most:
            yield (
                f"{run.name} has {nats:.2f} nats per character, and equal probabilities for all"
                f" characters have ln {len(vocab):,} = {most:.2f}. The text is of another kind than"
                " the model's, or the model learned nothing."
            )

    # A byte is easier to predict than a character of several bytes.
    first = runs[0]
    for run in runs:
        if run.text.unit != first.text.unit:
            yield (
                f"{first.name} reads {first.text.unit}s and {run.name} {run.text.unit}s:"
                " compare bits/byte."
            )
            break


def note_of_scored(run: MeasuredRun) -> Iterator[str]:
    """Yield a note on the share of the text that was scored, unless it is the whole text."""
    # The first character of a text without context is never scored, which needs no note.
    num_chars = run.text.num_chars
    num_scored = len(run.losses)
    if run.max_chars is not None and num_scored < num_chars - 1:
        yield (
            f"stateful: {num_scored:,} of {counted(num_chars, run.text.unit)}"
            f" ({100 * num_scored / num_chars:.2g} %) were scored."
        )


def notes_of_part(model: TrainedModel, part: str, trained_share: float | None) -> Iterator[str]:
    """Yield notes on a held-out part of a model's text: how much of it the training text repeats,
    and that the checkpoint was chosen by its loss."""
    yield from trained_notes(trained_share, config=model.config, part=part)

    # The lowest of many validation losses is too low by chance.
    if part == "validation":
        remedy = f"give {named('part', 'test')}"
        if len(model.config.split) <= 2:
            remedy = f"train with {named('split', '80/10/10')} and {remedy}"
        yield (
            "The checkpoint was chosen by its loss on the validation text. For a figure to"
            f" quote, {remedy}."
        )
