"""`charrnn predict`: the most likely next characters, or every number of a small network."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from charrnn.cli.arguments import load_model, parse_text, read_prime, to_content
from charrnn.cli.command_options import CountsOptions, ReplacingOptions
from charrnn.cli.streams import deliver, export_target, print_json
from charrnn.config.options import argument, option, option_group
from charrnn.counts.writers import choose_writer
from charrnn.errors import UsageError
from charrnn.generation.sample_options import DEFAULT_TOP, DEFAULT_UNKNOWN, UNKNOWN_HELP
from charrnn.plugins.analyses.backpropagation import model_backpropagation
from charrnn.plugins.analyses.numbers import MAX_UNITS, model_numbers
from charrnn.system.display import Displayable
from charrnn.system.lazy import LazyModule
from charrnn.trained_model import SGD_LEARNING_RATE, TrainedModel
from charrnn.views.delivery import Shown, describe_formats
from charrnn.views.tables import predictions_table

if TYPE_CHECKING:
    from charrnn.plugins.reports import provenance, provenance_page
else:
    # Its plugin may be missing.
    provenance = LazyModule("charrnn.plugins.reports.provenance")
    provenance_page = LazyModule("charrnn.plugins.reports.provenance_page")


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ReplacingOptions):
    """The arguments and options of `charrnn predict`."""

    words: Sequence[str] = argument(
        "[RUN] TEXT", "The text before the character, or - for stdin; before it, optionally, a run."
    )
    top: int | None = option(
        None, flags="--top N", help="Number of characters.", shown_default=str(DEFAULT_TOP)
    )
    numbers: bool = option(
        False,
        flags="--numbers",
        help="Print the weights and every number of each step, for networks of at most"
        f" {MAX_UNITS} units.",
    )
    backward: bool = option(
        False,
        flags="--backward",
        help="With --numbers: print the gradient by every number, too, and a step of SGD.",
    )
    trace: bool = option(
        False,
        flags="--trace",
        help="Show where each character of TEXT comes from: the network, the counts, or a place in"
        " the training text.",
        needs="reports",
    )
    writers: CountsOptions = option_group(CountsOptions)
    export: Path | None = option(
        None,
        flags="--export FILE",
        help=f"Write the result to FILE: {describe_formats()}.",
    )
    unknown: str = option(
        DEFAULT_UNKNOWN,
        flags="--unknown WORD",
        help=UNKNOWN_HELP,
    )


def predict(options: PredictOptions) -> None:
    """Print the most likely next characters.

    Each character that may follow TEXT with its probability. With --numbers, how the network
    computes it, step by step: weights, input, products, gates, hidden state, logits, softmax,
    target and loss.

    With --backward, also how it learns from TEXT: back-propagation through time, step by step, for
    rnn, lstm and gru.

    With --trace, where TEXT itself comes from: who makes each character likely, the network or the
    n-grams of the training text, and which passages stand in the training text.

    In TEXT, \\n is a newline, \\t a tab and \\\\ a backslash.
    """
    from charrnn.runs.reader import is_run

    # The words are a run and a text, or only a text.
    words = options.words
    if len(words) > 2:
        raise UsageError(
            f"predict takes [RUN] TEXT, not {len(words)} words. Put quotes around the text."
        )
    *run, typed = words
    target = export_target(
        options.export, force=options.force, read=run, no_arrays="predictions have"
    )
    if not run and is_run(typed):
        raise UsageError(
            f"{typed} is a run, and the text is missing. Give a text after it, or - to read it from"
            f" standard input. If {typed} is the text, name a run before it."
        )
    text = parse_text("TEXT", typed)

    # A text in another alphabet is converted, or refused with the characters at fault.
    model = load_model(run[0] if run else None, quiet=options.quiet)
    content = to_content(text, model.vocab.kind)
    if typed == "-":
        content = read_prime("standard input", typed, config=model.config, vocab=model.vocab)
        # `echo` adds a newline.
        if content[-1:] in ("\n", b"\n"):
            content = content[:-1]

    if options.numbers:
        numbers: Displayable
        if options.backward:
            numbers = model_backpropagation(
                model, content, learning_rate=SGD_LEARNING_RATE, unknown=options.unknown
            )
        else:
            numbers = model_numbers(model, content, unknown=options.unknown)
        title = f"Numbers of {model.name}"
        shown = Shown(title, pictures=numbers.view(), data=numbers.to_json())
    elif options.trace:
        reference_text = provenance.read_reference_text(model)
        writer = choose_writer(model, options.writers.wanted)
        found = provenance.trace_text(writer, content, reference_text=reference_text)
        shown = provenance_page.shown(
            found, reference_text, title=f"Provenance of a text, by {model.name}"
        )
    else:
        shown = _predictions(model, content, options)

    if options.json:
        print_json(shown.data)
    else:
        deliver(shown, target)


def _predictions(model: TrainedModel, content: str | bytes, options: PredictOptions) -> Shown:
    """Return the most likely next characters after a text."""
    top = DEFAULT_TOP if options.top is None else options.top
    writer = choose_writer(model, options.writers.wanted)
    predictions = writer.predict(content, top=top, unknown=options.unknown)
    pictures: list[RenderableType] = [predictions_table(predictions)]
    if model.may_have_counts:
        pictures.append(Text(f"predicted by: {writer.writer}", style="dim"))
    data = [asdict(prediction) | {"writer": writer.writer} for prediction in predictions]
    return Shown(f"Predictions of {model.name}", pictures=pictures, data=data)
