"""charrnn sample: text on stdout, nothing else."""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli import arguments
from charrnn.cli.command_options import (
    MIX,
    JsonOption,
    QuietOption,
    RunArgument,
    is_given,
)
from charrnn.cli.streams import check_export, warn
from charrnn.config.options import Option, options_of
from charrnn.errors import DataError, UsageError, counted
from charrnn.generation import sample_options as generation
from charrnn.generation.sample_options import TEXT, SampleOptions, SearchOptions
from charrnn.hooks.manager import has_room
from charrnn.system.progress import tell
from charrnn.text.text_files import read_stream

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.cli.sample_view import Page
    from charrnn.model.clamping import Clampable

MAX_READ_CHARS = 20_000
"""Longest text of --alternatives, which reads it again, and of --export, whose picture has a shape
for each word."""
MAX_JSON_CHARS = 5_000_000
"""Longest text of --json, whose object takes about 72 bytes of memory for each character."""
SURPRISE = "surprise"
"""What --color shows, if it is no cell."""
COPIES = "Copies of the training text"
"""Panel of the options that compare a text with what the model has learned."""
_DECLARED = (
    # Several temperatures are typed as one word.
    *(replace(one, kind=str) if one.flag == "--temp" else one for one in options_of(SampleOptions)),
    *options_of(SearchOptions),
    Option(
        "--adapt",
        "Learn from this text first (dynamic evaluation), and continue it unless there is a prime.",
        "FILE",
        TEXT,
        needs="reports",
    ),
    MIX,
    Option(
        "--alternatives",
        "List the N least certain places and what else was likely.",
        "N",
        TEXT,
        kind=int,
        least=1,
    ),
    Option(
        "--export",
        "Write the text in colour to FILE.svg, .html, .png, .txt or .json.",
        "FILE",
        kind=Path,
    ),
    Option("--count", "Number of samples; with --beam: print the N best texts.", "N", kind=int),
    Option(
        "--novelty",
        "Mark copies of the training text, and print their share; with --count, of whole"
        " documents.",
        panel=COPIES,
        kind=bool,
        needs="reports",
    ),
)
OPTIONS = tuple({option.flag: option for option in reversed(_DECLARED)}.values())[::-1]
"""The options of drawn text, of beam search, and of the command itself, each once."""
Values = Mapping[str, Any]
"""The values of the options by flag; None or False for one that is not given."""


def sample(
    run: RunArgument = None, json: JsonOption = False, quiet: QuietOption = False, *, values: Values
) -> None:
    """Generate text.

    The text goes to stdout as it is generated, and nothing else does. Several samples are separated
    by a blank line. A model of documents (see `charrnn train --documents`) writes one document for
    each sample; a line with its number is above each, unless documents are lines.
    """
    from charrnn.generation.generator import fresh_seed

    temperatures = _parse_temperatures(values["--temp"], run)
    _check_values(values, json=json, draws_several=len(temperatures) > 1)
    page = _load_page(run, values, json=json, quiet=quiet)
    seed = values["--seed"]
    if values["--beam"] is not None:
        options = SearchOptions(**_given_fields(SearchOptions, values, page, seed))
        count = values["--count"]
        if count is None:
            count = options.width if json and not values["--novelty"] else 1
        page.show_search(count, options)
        return
    if seed is None:
        seed = fresh_seed()
        if any(temperatures):
            page.fresh_seed = seed
    _draw(page, values, seed, temperatures)


sample.further_options = lambda: OPTIONS  # type: ignore[attr-defined]


def _draw(page: "Page", values: Values, seed: int | None, temperatures: tuple[float, ...]) -> None:
    """Print the drawn text or texts in the form that was asked for."""
    count = values["--count"]
    given = _given_fields(SampleOptions, values, page, seed) | {"temperature": temperatures[0]}
    options = SampleOptions(**given, on_cut=page.count_cut)
    if values["--novelty"]:
        page.show_novelty(options) if count is None else page.show_new_documents(count, options)
    elif page.show_as_json or len(temperatures) > 1 or count is not None:
        page.show_samples(
            1 if count is None else count, options, temperatures if len(temperatures) > 1 else ()
        )
    elif values["--export"]:
        page.export_values(options, values["--export"])
    elif values["--color"]:
        page.show_values(options)
    else:
        page.show_text(options)


def _given_fields(
    owner: type[SampleOptions] | type[SearchOptions], values: Values, page: "Page", seed: int | None
) -> dict[str, Any]:
    """Return the fields of the options that were given, converted from the text that was typed."""
    typed = {one.parameter: values[one.flag] for one in options_of(owner)}
    given = {name: value for name, value in typed.items() if is_given(value) or value == ""}
    given |= {"length": page.length, "seed": seed, "prime": page.prime}
    if "cell" in given:
        cell = given["cell"]
        given["cell"] = (
            None if cell == SURPRISE else arguments.parse_cell("--color", cell, page.first)
        )
    if "clamps" in given:
        given["clamps"] = dict(_parse_clamp(text, page.first) for text in given["clamps"])
    if "stops" in given:  # \n and \t are hard to type in a shell
        given["stops"] = tuple(
            text.replace("\\n", "\n").replace("\\t", "\t") for text in given["stops"]
        )
    return given


def _parse_temperatures(text: str | None, run: str | None) -> tuple[float, ...]:
    """Parse --temp, one number or several. Raises UsageError for anything else, and if the `run` is
    a number, too."""
    if text and re.fullmatch(r"[\d.]+", run or "") and not arguments.is_run(str(run)):
        raise UsageError(
            f"--temp {text} {run}: {run} is no run. Give several temperatures as --temp"
            f" {text},{run}."
        )
    try:
        return (
            (generation.SAMPLE_TEMPERATURE,) if text is None else tuple(map(float, text.split(",")))
        )
    except ValueError:
        wanted = "a number, or several with commas between them, such as 0.2,0.5,1"
        raise UsageError(f"--temp is {text}; it must be {wanted}.") from None


def _check_values(values: Values, *, json: bool, draws_several: bool) -> None:
    """Raise UsageError, before a run is loaded, for values that do not go together and for too long
    a text."""
    count, beam, length = (values[name] for name in ("--count", "--beam", "--length"))
    if values["--adapt"] == "-" and values["--prime"] == "@-":
        raise UsageError(
            "--adapt and --prime cannot both read standard input. Save one of them in a file."
        )
    arguments.parse_mix(values["--mix"] or ())
    color = values["--color"] or SURPRISE
    if color != SURPRISE and not arguments.is_cell(color):
        raise UsageError(
            f"--color is {color}; it must be {SURPRISE}, or a cell as layer:unit, such as 0:17."
        )
    check_export(values["--export"], None, no_arrays="a text has")
    beside = next(
        (
            flag
            for flag in ("--count", "--color", "--export", "--novelty")
            if is_given(values[flag])
        ),
        None,
    )
    if draws_several and beside:
        raise UsageError(
            f"{beside} does not go with several temperatures, each of which has a text. Give one"
            " --temp."
        )
    if beam is not None and count is not None and not 1 <= count <= beam:
        raise UsageError(
            f"--count is {count}; a search of {beam} beams finds 1 to {beam} texts. Leave it out,"
            " or widen --beam."
        )
    reading = next(
        (flag for flag in ("--alternatives", "--export") if is_given(values[flag])), None
    )
    if reading and (length or 0) > MAX_READ_CHARS:
        raise UsageError(
            f"--length is {length:,}; {reading} takes a text of at most {MAX_READ_CHARS:,}"
            " characters."
        )
    if json and beam is None and (length or 0) > MAX_JSON_CHARS:  # A search has a limit of its own.
        raise UsageError(
            f"--length is {length:,}; --json prints a whole text as one object, of at most"
            f" {MAX_JSON_CHARS:,} characters.\nLeave out --json, which prints a text of any length"
            " as it is written, or shorten it."
        )


def _load_page(run: str | None, values: Values, *, json: bool, quiet: bool) -> "Page":
    """Load what is generated from, and print warnings on stderr.

    Raises CheckpointError or DataError for a run or a file that cannot be read, and UsageError for
    options that do not go with this model.
    """
    from charrnn.cli.sample_view import LONG, Page

    first = arguments.load_model(run, quiet=quiet)
    length = values["--length"]
    writes_documents = first.config.end_id is not None and values["--beam"] is None
    if values["--novelty"] and values["--count"] is not None and not writes_documents:
        whose = "of a beam search, and of a run that was not trained on documents"
        raise UsageError(f"--novelty shows one text {whose}: leave out --count.")
    if length is None:  # A search keeps all its texts.
        length = generation.DOCUMENT_LENGTH if writes_documents else generation.DEFAULT_LENGTH
    reference = first.novelty_reference(length=length) if values["--novelty"] else None
    learned = None
    if values["--adapt"] is not None:
        learned = arguments.read_text(values["--adapt"], first.config)
        if len(learned) > LONG:
            tell(f"adapting to {values['--adapt']} ...")
        first = _adapt(first, learned, values["--unknown"] or generation.DEFAULT_UNKNOWN)
    model: Any = first
    if values["--mix"]:
        model = arguments.load_mixture(first, values["--mix"], quiet=quiet)
        warn(model.warnings, quiet=quiet)
    typed = values["--prime"] or ""
    if typed.startswith("@") and not typed.startswith("@@"):
        prime = _read_prime(typed, model)
        typed = ""  # what is in a file is not printed
    else:
        typed = typed.removeprefix("@") if typed.startswith("@@") else typed
        prime = arguments.to_content(typed, model.vocab.kind)
        if learned is not None and not typed:
            prime = learned
    return Page(
        first=first,
        model=model,
        prime=prime,
        typed=os.fsencode(typed).decode("utf-8", "replace"),
        length=length,
        reference=reference,
        show_as_json=json,
        quiet=quiet,
        num_places=values["--alternatives"],
    )


def _adapt(model: "Model", text: str | bytes, unknown: str) -> "Model":
    """Return the model adapted to a text, and print on stderr how well it predicted that before and
    while adapting."""
    model = model.adapted(text, unknown=unknown)
    if (found := model.adaptation) is not None:
        what = counted(found.num_chars, "character")
        if found.text_length > found.num_chars + 1:
            what = f"the last {found.num_chars:,} of {counted(found.text_length, 'character')}"
        losses = (
            f"{found.static_nats:.4f} nats per character as trained, {found.dynamic_nats:.4f} while"
            " adapting"
        )
        tell(f"adapted to {what}: {losses}")
    return model


def _read_prime(typed: str, model: Any) -> str | bytes:
    """Return the content of the file of --prime @FILE, or of standard input (@-), cleaned as a
    corpus is. Bytes for the byte alphabet."""
    option = f"--prime {typed}"
    name = typed.removeprefix("@")
    if name == "-" and sys.stdin is None:
        raise DataError(f"{option}: standard input is closed.")
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:
            data = read_stream(option, file)
        text = data if model.vocab.kind == "byte" else data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{option}: {error.strerror}. Give a text file, or @- for standard input; a text that"
            " begins with @ begins with @@."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{option}: not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from None
    # A file ends with a newline, which is no part of a document that is a line.
    ends_in_newline = model.config.documents == "lines"
    if isinstance(text, bytes):
        return text.rstrip(b"\r\n") if ends_in_newline else text
    text = text.replace("\r\n", "\n")
    return text.rstrip("\n") if ends_in_newline else text


def _parse_clamp(text: str, model: "Model") -> "tuple[tuple[int, int] | Clampable, float]":
    """Parse --clamp: a cell and its value, or a direction and its output. Raises UsageError.

    The direction of a detector is fitted on the run's held-out text, or looked up in the run.
    """
    what, _, number = text.rpartition("=") if "=" in text else (text, "", "")
    if arguments.is_cell(what):
        try:
            cell, value = arguments.parse_cell("--clamp", what, model), float(number)
        except ValueError:
            raise UsageError(
                f"--clamp is {text!r}; write layer:unit=value, such as 0:17=1."
            ) from None
        if not -1 <= value <= 1:
            raise UsageError(f"--clamp {text}: a cell's value must lie between -1 and 1.")
        return cell, value
    if not has_room("analyses"):
        raise UsageError(
            f"--clamp {text} needs the package charrnn.analyses, which is not installed. Clamp a"
            " cell, such as 0:17=1."
        )
    detector, size = arguments.parse_direction("--clamp", what)
    try:
        output = 0.0 if number in ("high", "low") else float(number)
    except ValueError:
        raise UsageError(
            f"--clamp {text}: write high, low or a number after the =, such as quote=high."
        ) from None
    direction = model.direction(detector, size)
    return direction, {"high": direction.high, "low": direction.low}.get(number, output)
