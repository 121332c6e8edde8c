"""charrnn sample: text on stdout, nothing else."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from charrnn.cli import arguments
from charrnn.cli.streams import export_destination
from charrnn.commands.sample_options import SampleCommandOptions
from charrnn.errors import UsageError
from charrnn.generation.sample_options import (
    DEFAULT_LENGTH,
    DOCUMENT_LENGTH,
    SampleOptions,
)

if TYPE_CHECKING:
    from charrnn.api import Model

MAX_JSON_CHARS = 5_000_000
"""Longest text of --json: its object takes about 72 bytes of memory for each character."""
SURPRISE = "surprise"
"""The value of --color that is no cell."""


def sample(options: SampleCommandOptions) -> None:
    """Generate text.

    \b
    Examples:
      charrnn sample prose --temp 0.5 --length 300
      charrnn sample prose --prime "It was" --seed 1
      charrnn sample prose --count 5 --length 80 --known-words

    The text goes to stdout as it is generated. A model of documents (see `charrnn train
    --documents`) writes one document for each text. Of --temp 0.2,0.5,1 each has a text.
    --prime takes TEXT or @FILE. In TEXT and CHARS, \\n is a newline, \\t a tab and \\\\ a
    backslash.
    """
    # Errors of the command line appear before a model is loaded.
    num_texts = options.count or len(options.temperatures)
    typed = _typed_prime(options)
    destination = export_destination(options, has_rows=not (options.trace or options.cell))

    # Imported here, because they import NumPy.
    from charrnn.api import load
    from charrnn.commands.sample_output import SampleRequest, show
    from charrnn.reports.learned_texts import check_new_words

    model = load(options.run)
    arguments.introduce(model, options.run)
    _note_escapes(options, model)
    drawing = _drawing_of(options, model)
    _check_texts(options, model, length=drawing.length, num_texts=num_texts)
    if options.new and drawing.known_words:
        check_new_words(model)
    drawing = replace(drawing, prime=_prime_of(options, typed=typed, model=model))
    if options.trace and options.count is None:
        # A text that is missing is said before anything is drawn.
        model.reference_text()
    request = SampleRequest(
        model=model, options=options, drawing=drawing, typed=typed, destination=destination
    )
    show(request)


def _is_prime_file(options: SampleCommandOptions) -> bool:
    """Whether --prime names a file: @@ stands for a text that begins with @."""
    prime = options.prime or ""
    return prime.startswith("@") and not prime.startswith("@@")


def _typed_prime(options: SampleCommandOptions) -> str:
    """Return the text of --prime, which is printed before what continues it. The content of a file
    is not."""
    if options.prime is None or _is_prime_file(options):
        return ""
    return arguments.parse_text("--prime", options.prime.removeprefix("@"))


def _prime_of(options: SampleCommandOptions, *, typed: str, model: "Model") -> str | bytes | None:
    """Return the prime, as the model reads it: what was typed, or the content of a file. None
    without --prime."""
    if options.prime is None:
        return None
    if _is_prime_file(options):
        name = options.prime.removeprefix("@")
        return arguments.read_prime(f"--prime {options.prime}", name, config=model.config)
    return arguments.to_content(typed, model.vocab.kind)


def _note_escapes(options: SampleCommandOptions, model: "Model") -> None:
    """Show a note on each typed text whose \\n or \\t may be the beginning of a word."""
    typed = [("--ban", options.drawing.ban)]
    typed += [("--stop", stop) for stop in options.drawing.stops]
    prime = options.prime or ""
    if not prime.startswith("@"):
        typed.append(("--prime", prime))
    for option, text in typed:
        arguments.note_escapes(option, typed=text, vocab=model.vocab)


def _drawing_of(options: SampleCommandOptions, model: "Model") -> SampleOptions:
    """Return how the first text is drawn, but for its prime: the typed texts mean something only
    once the model is loaded."""
    from charrnn.generation.generator import fresh_seed

    drawing = options.drawing
    length = options.length
    if length is None:
        length = DEFAULT_LENGTH
        if model.config.end_id is not None and options.width is None:
            length = DOCUMENT_LENGTH  # A search keeps all its texts.
    cell = None
    if options.cell not in (None, SURPRISE):
        cell = arguments.parse_cell("--color", text=str(options.cell), model=model)
    clamps = dict(_parse_clamp(text, model) for text in options.clamps)
    if len(clamps) < len(options.clamps):
        raise UsageError("--clamp names a cell twice: give each cell one value.")
    forbid = None
    if options.no_copy is not None:
        forbid = model.known_passages(options.no_copy)
    return replace(
        drawing,
        temperature=options.temperatures[0],
        length=length,
        seed=fresh_seed() if drawing.seed is None else drawing.seed,
        stops=tuple(arguments.parse_text("--stop", text) for text in drawing.stops),
        ban=arguments.parse_text("--ban", drawing.ban),
        clamps=clamps,
        cell=cell,
        forbid=forbid,
    )


def _parse_clamp(text: str, model: "Model") -> tuple[tuple[int, int], float]:
    """Parse --clamp: a cell and its value. Raises UsageError."""
    clamped, _, number = text.partition("=")
    cell = arguments.parse_cell("--clamp", text=clamped, model=model)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise UsageError(f"--clamp is {text}; the value must be between -1 and 1, such as 0:17=1.")
    return cell, value


def _check_texts(
    options: SampleCommandOptions, model: "Model", *, length: int, num_texts: int
) -> None:
    """Raise UsageError for more texts, or longer ones, than the search, the picture or the object
    has room for."""
    if options.trace and options.count is not None and model.config.end_id is None:
        raise UsageError("--count goes with --trace for documents only. Leave one of them out.")
    if options.width is not None and num_texts > options.width:
        raise UsageError(
            f"--count is {num_texts}; it must be at most {options.width}, or widen --beam."
        )
    # What documents have is known once they are drawn.
    chars_of_each = DEFAULT_LENGTH
    if options.length is not None:
        chars_of_each = options.length
    options.check_exported(num_texts * chars_of_each)
    if options.json and length > MAX_JSON_CHARS:
        raise UsageError(
            f"--length is {length:,}; with --json it must be at most {MAX_JSON_CHARS:,}. Leave"
            " out --json, or give a smaller --length."
        )
