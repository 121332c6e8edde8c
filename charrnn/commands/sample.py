"""charrnn sample: text on stdout, nothing else."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli import arguments
from charrnn.cli.command_options import (
    ReplacingOptions,
    run_argument,
)
from charrnn.cli.streams import export_target
from charrnn.config.options import option, option_group
from charrnn.errors import UsageError
from charrnn.generation.sample_options import (
    CLAMPING,
    DEFAULT_LENGTH,
    DOCUMENT_LENGTH,
    SAMPLE_TEMPERATURE,
    SEARCH,
    TEXT,
    SampleOptions,
)
from charrnn.runs.targets import Target
from charrnn.system.lazy import LazyModule
from charrnn.system.progress import warn
from charrnn.views.delivery import check_exported, describe_formats, is_table

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.commands.sample_output import Writing
    from charrnn.reports import provenance
else:
    # Imported only where it is used.
    provenance = LazyModule("charrnn.reports.provenance")

MAX_JSON_CHARS = 5_000_000
"""Longest text of --json: its object takes about 72 bytes of memory for each character."""
SURPRISE = "surprise"
"""The value of --color that is no cell."""
COPIES = "Copies of the training text"
"""Panel of the options that compare a text with the training text."""


@dataclass(frozen=True, kw_only=True)
class SampleCommandOptions(ReplacingOptions):
    """The options of `charrnn sample`: `SampleOptions` itself, and typed texts that mean something
    only once the model is loaded."""

    run: str | None = run_argument()
    length: int | None = option(
        None,
        flags="--length N",
        help="Number of characters; a document has at most so many.",
        shown_default=f"{DEFAULT_LENGTH}, of a document {DOCUMENT_LENGTH}",
    )
    temperature: str | None = option(
        None,
        flags="--temp T[,T]",
        help="0 is greedy, 1 the model's own distribution; of several, such as 0.2,0.5,1, each"
        " has a text.",
        shown_default=str(SAMPLE_TEMPERATURE),
    )
    prime: str | None = option(
        None,
        flags="--prime TEXT|@FILE",
        help="Text to continue; printed first. @FILE, or @- for stdin, is not printed; @@ is an"
        " @. An empty one begins anywhere.",
    )
    drawing: SampleOptions = option_group(SampleOptions)
    cell: str | None = option(
        None,
        flags="--color WHAT",
        help="Colour the text by its surprise, or by a cell: surprise, or L:U; --json then has a"
        " number for each character.",
        panel=TEXT,
    )
    clamps: Sequence[str] = option(
        (),
        flags="--clamp L:U=V",
        help="Clamp cell U of layer L to V, from -1 to 1 (repeatable).",
        panel=CLAMPING,
    )
    width: int | None = option(
        None, flags="--beam N", help="Search for the most likely text with N beams.", panel=SEARCH
    )
    no_repeat: int | None = option(
        None,
        flags="--no-repeat N",
        help="Never generate the same N characters twice.",
        panel=SEARCH,
    )
    export: Path | None = option(
        None,
        flags="--export FILE",
        help="Write the text in colour, or several texts as the terminal shows them, to FILE:"
        f" {describe_formats()} (a row for each text).",
    )
    count: int | None = option(
        None,
        flags="--count N",
        help="Number of samples; with --beam: print the N best texts.",
        shown_default="1",
        least=1,
    )
    sort: str | None = option(
        None,
        flags="--sort likely",
        help="Print the texts once all are drawn, the most likely first.",
    )
    unique: bool = option(
        False, flags="--unique", help="Write no text twice, also not in other case.", panel=COPIES
    )
    new: bool = option(
        False,
        flags="--new",
        help="Draw again what is a document of this run's text, or of a text learned before it.",
        panel=COPIES,
    )
    no_copy: int | None = option(
        None,
        flags="--no-copy N",
        help="Never write more than N characters in a row that stand in the training text.",
        panel=COPIES,
        least=1,
    )
    trace: bool = option(
        False,
        flags="--trace",
        help="Show which passages stand in the training text; of several documents, print which"
        " stand in the run's text.",
        panel=COPIES,
    )


def sample(options: SampleCommandOptions) -> None:
    """Generate text.

    The text goes to stdout as it is generated, and nothing else does. Several samples are separated
    by a blank line. A model of documents (see `charrnn train --documents`) writes one document for
    each sample. Documents without a newline follow each other, one per line, and a file or a value
    of a column with several lines has a line with its number above it.

    In TEXT and CHARS, \\n is a newline, \\t a tab and \\\\ a backslash.
    """
    # Errors of the command line appear before a model is loaded.
    temperatures = _parse_temperatures(options)
    options = replace(options, drawing=_parse_texts(options.drawing))
    _check_options(options, num_temperatures=len(temperatures))
    target = export_target(
        options.export,
        force=options.force,
        read=options.read,
        has_rows=not (options.trace or options.cell),
    )
    writing = _load(options, temperatures=temperatures, target=target)
    _show(writing, options=options, temperatures=temperatures)


def _show(writing: "Writing", options: SampleCommandOptions, temperatures: Sequence[float]) -> None:
    """Show the text or the texts that were asked for. `RULES` and `_check_options` have refused
    what does not go together."""
    from charrnn.commands import sample_output

    count = 1 if options.count is None else options.count
    # A single text in a file has the colours of its surprise, if not those of a cell.
    is_coloured = options.cell is not None
    is_single = count == 1 and not (options.unique or options.new)
    is_single_picture = is_single and options.export is not None and not is_table(options.export)

    if options.width is not None:
        sample_output.show_beams(writing, options.width, no_repeat=options.no_repeat, count=count)
    elif len(temperatures) > 1:
        sample_output.show_temperatures(writing, temperatures)
    elif options.trace and options.count is None:
        sample_output.show_traced(writing)
    elif options.trace:
        is_new = writing.model.new_documents()
        sample_output.show_known_documents(writing, count, is_new)
    elif is_single_picture or (options.json and is_coloured):
        sample_output.export_coloured(writing)
    elif is_coloured:
        sample_output.show_coloured(writing)
    else:
        sample_output.show_texts(
            writing,
            count,
            unique=options.unique,
            accept=writing.model.new_documents() if options.new else None,
            likely_first=options.sort is not None,
        )


def _parse_texts(drawing: SampleOptions) -> SampleOptions:
    """Return the options with the texts that were typed. Raises UsageError."""
    stops = [arguments.parse_text("--stop", text) for text in drawing.stops]
    return replace(drawing, stops=tuple(stops), ban=arguments.parse_text("--ban", drawing.ban))


def _parse_temperatures(options: SampleCommandOptions) -> Sequence[float]:
    """Parse --temp, one number or several. Raises UsageError for anything else, and if the run is
    a number, too."""
    from charrnn.runs.reader import is_run

    text, run = options.temperature, options.run or ""
    if text is None:
        return (SAMPLE_TEMPERATURE,)

    # `--temp 0.2 0.5`: the second number is taken for the run.
    if re.fullmatch(r"[\d.]+", run) and not is_run(run):
        raise UsageError(
            f"--temp {text} {run}: {run} is no run. Give several temperatures as --temp"
            f" {text},{run}."
        )

    # Many languages write the decimal point as a comma.
    if re.fullmatch(r"\d+,\d+", text):
        one, point = text.replace(",", " and "), text.replace(",", ".")
        warn(f"--temp {text} are two temperatures, {one}; one number is written {point}")

    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        wanted = "a number, or several with commas between them, such as 0.2,0.5,1"
        raise UsageError(f"--temp is {text}; it must be {wanted}.") from None


def _check_options(options: SampleCommandOptions, *, num_temperatures: int) -> None:
    """Raise UsageError, before a run is loaded, for values that do not go together and for too long
    a text."""
    if options.sort not in (None, "likely"):
        raise UsageError(f"--sort is {options.sort}; it must be likely.")

    # Several temperatures print several texts, and all of these options are about a single text.
    beside = {
        "--count": options.count is not None,
        "--color": options.cell is not None,
        "--trace": options.trace,
        "--unique": options.unique,
        "--new": options.new,
    }
    for flag, is_given in beside.items():
        if num_temperatures > 1 and is_given:
            raise UsageError(
                f"{flag} is for texts of one temperature, and each of several temperatures has a"
                " single text. Give one --temp."
            )

    # A search has no more texts than it keeps beams.
    width, count = options.width, options.count
    if width is not None and count is not None and count > width:
        raise UsageError(
            f"--count is {count}; a search of {width} beams finds 1 to {width} texts. Leave it out,"
            " or widen --beam."
        )
    _check_length(options, options.count or num_temperatures)


def _check_length(options: SampleCommandOptions, num_texts: int) -> None:
    """Raise UsageError for texts that are too long for a picture, or a text for a JSON object."""
    # What documents have is known once they are drawn.
    length = options.length or DEFAULT_LENGTH
    if options.export is not None:
        check_exported(options.export, num_texts * length)

    # A search has a limit of its own.
    if options.json and options.width is None and length > MAX_JSON_CHARS:
        raise UsageError(
            f"--length is {length:,}; --json prints a whole text as one object, of at most"
            f" {MAX_JSON_CHARS:,} characters.\nLeave out --json, which prints a text of any length"
            " as it is written, or shorten it."
        )


def _load(
    options: SampleCommandOptions, temperatures: Sequence[float], target: Target | None
) -> "Writing":
    """Load the model that generates, read the prime, and print warnings on stderr.

    Raises CheckpointError or DataError for a run or a file that cannot be read, and UsageError for
    options that do not go with this model.
    """
    from charrnn.api import load
    from charrnn.commands.sample_output import Writing

    # The content of a file is not printed; @@ stands for a text that begins with @.
    typed = options.prime or ""
    is_file = typed.startswith("@") and not typed.startswith("@@")
    if not is_file:
        typed = arguments.parse_text("--prime", typed.removeprefix("@"))

    # The default length depends on whether the model writes documents.
    model = load(options.run)
    arguments.introduce(model, options.run)
    writes_documents = model.config.end_id is not None and options.width is None
    length = options.length
    if length is None:  # A search keeps all its texts.
        length = DEFAULT_LENGTH
        if writes_documents:
            length = DOCUMENT_LENGTH

    reference_text = None
    if options.trace and options.count is None:
        reference_text = model.reference_text(length=length)
    elif options.trace and not writes_documents:
        raise UsageError(
            "--count does not go with --trace, which shows one text. Leave one of them out."
        )

    prime: str | bytes | None = None
    if is_file:
        prime = arguments.read_prime(
            f"--prime {typed}", typed.removeprefix("@"), config=model.config
        )
        typed = ""
    elif options.prime is not None:
        prime = arguments.to_content(typed, model.vocab.kind)
    drawing = replace(options.drawing, length=length, prime=prime, temperature=temperatures[0])
    return Writing(
        model=model,
        drawing=_with_values(drawing, options=options, model=model),
        typed=os.fsencode(typed).decode("utf-8", "replace"),
        reference_text=reference_text,
        show_as_json=options.json,
        target=target,
        # At temperature 0 nothing is random, and a search draws nothing, so no seed is printed.
        says_seed=options.drawing.seed is None and options.width is None and any(temperatures),
    )


def _with_values(
    drawing: SampleOptions, options: SampleCommandOptions, model: "Model"
) -> SampleOptions:
    """Return the options of drawing with the values of typed texts that mean something only once
    the model is loaded, and with a seed."""
    from charrnn.generation.generator import fresh_seed

    seed = drawing.seed
    if seed is None:
        seed = fresh_seed()
    cell = None
    if options.cell not in (None, SURPRISE):
        cell = arguments.parse_cell("--color", text=str(options.cell), model=model)
    forbid = None
    if options.no_copy is not None:
        forbid = model.known_passages(options.no_copy)
    clamps = dict(_parse_clamp(text, model) for text in options.clamps)
    return replace(drawing, seed=seed, cell=cell, forbid=forbid, clamps=clamps)


def _parse_clamp(text: str, model: "Model") -> tuple[tuple[int, int], float]:
    """Parse --clamp: a cell and its value. Raises UsageError."""
    clamped, _, number = text.partition("=")
    cell = arguments.parse_cell("--clamp", text=clamped, model=model)
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"--clamp is {text!r}; write layer:unit=value, such as 0:17=1.") from None
    if not -1 <= value <= 1:
        raise UsageError(f"--clamp {text}: a cell's value must lie between -1 and 1.")
    return cell, value
