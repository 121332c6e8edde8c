"""charrnn sample: text on stdout, nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from charrnn.cli.arguments import parse_cell, parse_mix
from charrnn.cli.options import (
    MIX,
    MIX_MODE,
    DebugOption,
    JsonOption,
    Option,
    QuietOption,
    RunArgument,
    field_options,
)
from charrnn.cli.rules import check_rules, is_given
from charrnn.cli.sample_source import SLOW_PRIME, Source, load_source, parse_clamp, print_compile_notice
from charrnn.cli.sample_view import Page
from charrnn.cli.streams import warn
from charrnn.errors import UsageError
from charrnn.generation.options import (
    DEFAULT_PRECISION,
    SAMPLE_TEMPERATURE,
    TEXT,
    SampleOptions,
    SearchOptions,
)
from charrnn.generation.records import MIN_COPY_LENGTH
from charrnn.progress import task

MAX_JSON_CHARS = 5_000_000
"""Longest text of --json, whose object takes about 90 bytes of memory for each character."""
MAX_TABLE_CHARS = 1_000_000
"""Longest texts side by side, in total: about 50 bytes of memory for each character."""
COPIES = "Copies of the training text"
"""Panel of the options that compare a text with what the model has learned."""
OWN_OPTIONS = (
    Option(flag="--temps", help="Several temperatures side by side: 0.2,0.5,1.", metavar="T,T", panel=TEXT),
    Option(flag="--prime-file", help="Continue a file, or - for stdin; not printed.", metavar="F", panel=TEXT),
    Option(
        flag="--adapt",
        help="Learn from this text first (dynamic evaluation), and continue it unless there is a prime.",
        metavar="FILE",
        panel=TEXT,
    ),
    MIX,
    MIX_MODE,
    Option(flag="--count", help="Number of samples; with --beam: print the N best texts.", metavar="N", kind=int),
    Option(
        flag="--novelty",
        help="Mark copies of the training text, and print their share; with --count, of whole documents.",
        kind=bool,
        panel=COPIES,
    ),
    Option(
        flag="--min-copy",
        help=f"With --novelty: shortest copy that counts. Default: {MIN_COPY_LENGTH}.",
        metavar="N",
        kind=int,
        panel=COPIES,
    ),
)
"""The options that are not fields of `SampleOptions` or `SearchOptions`."""
Values = Mapping[str, Any]
"""The values of the options by flag; None or False for one that is not given."""


def sample_command_options() -> tuple[Option, ...]:
    """Return the options of the command: of drawn text, of beam search, and its own, each flag once."""
    declared = (*field_options(SampleOptions), *field_options(SearchOptions), *OWN_OPTIONS)
    return tuple({option.flag: option for option in reversed(declared)}.values())[::-1]


def sample(
    run: RunArgument = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
    *,
    values: Values,
) -> None:
    """Generate text.

    The text goes to stdout as it is generated, and nothing else does. Several samples are separated by a blank line. A
    model of documents (see `charrnn train --documents`) writes one document for each sample.
    """
    check_rules("sample", values)
    temperatures = _parse_temperatures(values["--temps"])
    _check_values(values, len(temperatures), json=json)
    source = load_source(run, values, quiet=quiet)
    page = Page(
        source.model,
        values["--prime"] or "",
        source.prime,
        show_as_json=json,
        quiet=quiet,
        reference=source.reference,
        min_copy=MIN_COPY_LENGTH if values["--min-copy"] is None else values["--min-copy"],
    )
    seed = values["--seed"]
    if seed is None and (values["--beam"] is None or values["--beam-mode"] == "stochastic"):
        is_greedy = not any(temperatures) if temperatures else values["--temp"] == 0
        seed = page.choose_seed(is_greedy=is_greedy)
    if values["--beam"] is not None:
        options = SearchOptions(**_given_fields(SearchOptions, values, source, seed, quiet=quiet))
        is_single = values["--novelty"] or (values["--beam-mode"] in (None, "plain") and not json)
        page.show_search(
            (1 if is_single else options.width) if values["--count"] is None else values["--count"], options
        )
    else:
        _draw(page, values, source, seed, temperatures)


def _draw(page: Page, values: Values, source: Source, seed: int | None, temperatures: tuple[float, ...]) -> None:
    """Print the drawn text or texts in the form that was asked for."""
    quiet, count = page.quiet, values["--count"]
    given = _given_fields(SampleOptions, values, source, seed, quiet=quiet)
    if page.show_as_json:
        given.pop("cell", None)
    options = SampleOptions(
        **{"temperature": SAMPLE_TEMPERATURE} | given,
        on_cut=page.count_cut,
        on_compile=lambda: print_compile_notice(quiet=quiet),
        on_warning=lambda message: warn((message,), quiet=quiet),
    )
    if len(source.prime) > SLOW_PRIME:  # The generator keeps the last prime that it read.
        with task("reading", len(source.prime)) as advance:
            source.model.generator.write(replace(options, on_read=advance))
    if temperatures:
        page.show_temperatures(temperatures, options)
    elif values["--novelty"] and count is not None:
        page.show_new_documents(count, options)
    elif values["--novelty"]:
        page.show_novelty(options)
    elif page.show_as_json or count is not None:
        page.show_samples(1 if count is None else count, options)
    elif options.cell is not None:
        page.show_cell(options)
    else:
        page.show_text(options)


def _given_fields(
    owner: type[SampleOptions] | type[SearchOptions], values: Values, source: Source, seed: int | None, *, quiet: bool
) -> dict[str, Any]:
    """Return the fields of the options that were given, converted from the text that was typed."""
    convert: dict[str, Callable[[Any], object]] = {
        "cell": lambda text: parse_cell("--show-cell", text, source.first),
        "clamps": lambda texts: dict(parse_clamp(text, source.first) for text in texts),
        # \n and \t are hard to type in a shell.
        "stops": lambda texts: tuple(text.replace("\\n", "\n").replace("\\t", "\t") for text in texts),
    }
    names = {field.name for field in fields(owner)}
    given = {
        option.parameter: convert[option.parameter](values[option.flag])
        if option.parameter in convert
        else values[option.flag]
        for option in sample_command_options()
        if option.parameter in names and is_given(values[option.flag])
    }
    return given | {"length": source.length, "seed": seed, "prime": source.prime}


def _parse_temperatures(text: str | None) -> tuple[float, ...]:
    """Parse --temps, () if it is not given. Raises UsageError if it is no list of numbers."""
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--temps is {text!r}; write numbers with commas between them, such as 0.2,0.5,1.") from None


def _check_values(values: Values, num_temperatures: int, *, json: bool) -> None:
    """Raise UsageError, before a run is loaded, for values that do not go together and for too long a text."""
    if values["--adapt"] == values["--prime-file"] == "-":
        raise UsageError("--adapt and --prime-file cannot both read standard input. Save one of them in a file.")
    if values["--min-copy"] is not None and values["--min-copy"] < 1:
        raise UsageError(f"--min-copy is {values['--min-copy']}; it must be at least 1. Try {MIN_COPY_LENGTH}.")
    parse_mix(values["--mix"] or ())
    count, beam, precision = values["--count"], values["--beam"], values["--precision"]
    length = values["--length"] or 0
    if beam is not None:  # A search reads the weights as they are, and has a limit of its own.
        if precision not in (None, DEFAULT_PRECISION, "fp32"):
            raise UsageError(
                "--precision does not go with --beam, which searches for the most likely text. Leave one of them out."
            )
        if count is not None and not 1 <= count <= beam:
            raise UsageError(
                f"--count is {count}; a search of {beam} beams finds 1 to {beam} texts. Leave it out, or widen --beam."
            )
    elif json and length > MAX_JSON_CHARS:
        raise UsageError(
            f"--length is {length:,}; --json prints a whole text as one object, of at most {MAX_JSON_CHARS:,} "
            "characters.\nLeave out --json, which prints a text of any length as it is written, or shorten it."
        )
    elif not json and length * num_temperatures > MAX_TABLE_CHARS:
        raise UsageError(
            f"--length is {length:,}; {num_temperatures} texts side by side may have "
            f"{MAX_TABLE_CHARS // num_temperatures:,} characters each.\n"
            "Shorten it, add --json, or draw one text after the other with --temp."
        )


sample.further_options = sample_command_options  # type: ignore[attr-defined]
