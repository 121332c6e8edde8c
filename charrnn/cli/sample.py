"""charrnn sample: text on stdout, nothing else."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from charrnn.cli.arguments import parse_cell, parse_mix
from charrnn.cli.options import MIX, MIX_MODE, DebugOption, JsonOption, QuietOption, RunArgument
from charrnn.cli.rules import is_given
from charrnn.cli.sample_source import SLOW_PRIME, Source, load_source, parse_clamp, print_compile_notice
from charrnn.cli.streams import warn
from charrnn.errors import UsageError
from charrnn.generation.options import DEFAULT_PRECISION, SAMPLE_TEMPERATURE, TEXT, SampleOptions, SearchOptions
from charrnn.generation.records import MIN_COPY_LENGTH
from charrnn.options import Option, options_of
from charrnn.progress import task

if TYPE_CHECKING:
    from charrnn.cli.sample_view import Page

MAX_JSON_CHARS = 5_000_000
"""Longest text of --json, whose object takes about 90 bytes of memory for each character."""
MAX_TABLE_CHARS = 1_000_000
"""Longest texts side by side, in total: about 50 bytes of memory for each character."""
COPIES = "Copies of the training text"
"""Panel of the options that compare a text with what the model has learned."""
_DECLARED = (
    *options_of(SampleOptions),
    *options_of(SearchOptions),
    Option("--temps", "Several temperatures side by side: 0.2,0.5,1.", "T,T", TEXT),
    Option("--prime-file", "Continue a file, or - for stdin; not printed.", "F", TEXT),
    Option(
        "--adapt",
        "Learn from this text first (dynamic evaluation), and continue it unless there is a prime.",
        "FILE",
        TEXT,
    ),
    MIX,
    MIX_MODE,
    Option("--count", "Number of samples; with --beam: print the N best texts.", "N", kind=int),
    Option(
        "--novelty",
        "Mark copies of the training text, and print their share; with --count, of whole documents.",
        panel=COPIES,
        kind=bool,
    ),
    Option(
        "--min-copy",
        f"With --novelty: shortest copy that counts. Default: {MIN_COPY_LENGTH}.",
        "N",
        COPIES,
        kind=int,
    ),
)
OPTIONS = tuple({option.flag: option for option in reversed(_DECLARED)}.values())[::-1]
"""The options of drawn text, of beam search, and of the command itself, each once."""
Values = Mapping[str, Any]
"""The values of the options by flag; None or False for one that is not given."""


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
    from charrnn.cli.sample_view import Page
    from charrnn.generation.generator import fresh_seed

    temperatures = _parse_temperatures(values["--temps"])
    _check_values(values, len(temperatures), json=json)
    source = load_source(run, values, quiet=quiet)
    min_copy = MIN_COPY_LENGTH if values["--min-copy"] is None else values["--min-copy"]
    page = Page(source, values["--prime"] or "", show_as_json=json, quiet=quiet, min_copy=min_copy)
    seed, beam, mode = values["--seed"], values["--beam"], values["--beam-mode"]
    if seed is None and (beam is None or mode == "stochastic"):
        seed = fresh_seed()
        is_greedy = not any(temperatures) if temperatures else values["--temp"] == 0
        page.fresh_seed = None if is_greedy else seed
    if beam is None:
        _draw(page, values, seed, temperatures)
        return
    options = SearchOptions(**_given_fields(SearchOptions, values, source, seed))
    is_single = values["--novelty"] or (mode in (None, "plain") and not json)
    page.show_search((1 if is_single else options.width) if values["--count"] is None else values["--count"], options)


sample.further_options = lambda: OPTIONS  # type: ignore[attr-defined]


def _draw(page: "Page", values: Values, seed: int | None, temperatures: tuple[float, ...]) -> None:
    """Print the drawn text or texts in the form that was asked for."""
    source, quiet, count = page.source, page.quiet, values["--count"]
    given = {"temperature": SAMPLE_TEMPERATURE} | _given_fields(SampleOptions, values, source, seed)
    if page.show_as_json:
        given.pop("cell", None)
    options = SampleOptions(
        **given,
        on_cut=page.count_cut,
        on_compile=lambda: print_compile_notice(quiet=quiet),
        on_warning=lambda message: warn((message,), quiet=quiet),
    )
    if len(source.prime) > SLOW_PRIME:  # The generator keeps the last prime that it read.
        with task("reading", len(source.prime)) as advance:
            source.model.generator.write(replace(options, on_read=advance))
    if values["--novelty"]:
        page.show_novelty(options) if count is None else page.show_new_documents(count, options)
    elif page.show_as_json:
        page.print_objects(1 if count is None else count, options, temperatures)
    elif temperatures:
        page.show_temperatures(temperatures, options)
    elif count is not None:
        page.show_samples(count, options)
    elif options.cell is not None:
        page.show_cell(options)
    else:
        page.show_text(options)


def _given_fields(
    owner: type[SampleOptions] | type[SearchOptions], values: Values, source: Source, seed: int | None
) -> dict[str, Any]:
    """Return the fields of the options that were given, converted from the text that was typed."""
    given = {one.parameter: values[one.flag] for one in options_of(owner) if is_given(values[one.flag])}
    given |= {"length": source.length, "seed": seed, "prime": source.prime}
    if "cell" in given:
        given["cell"] = parse_cell("--show-cell", given["cell"], source.first)
    if "clamps" in given:
        given["clamps"] = dict(parse_clamp(text, source.first) for text in given["clamps"])
    if "stops" in given:  # \n and \t are hard to type in a shell
        given["stops"] = tuple(text.replace("\\n", "\n").replace("\\t", "\t") for text in given["stops"])
    return given


def _parse_temperatures(text: str | None) -> tuple[float, ...]:
    """Parse --temps, () if it is not given. Raises UsageError if it is no list of numbers."""
    try:
        return () if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--temps is {text!r}; write numbers with commas between them, such as 0.2,0.5,1.") from None


def _check_values(values: Values, num_temperatures: int, *, json: bool) -> None:
    """Raise UsageError, before a run is loaded, for values that do not go together and for too long a text."""
    count, beam, precision, min_copy = (values[name] for name in ("--count", "--beam", "--precision", "--min-copy"))
    length = values["--length"] or 0
    if values["--adapt"] == values["--prime-file"] == "-":
        raise UsageError("--adapt and --prime-file cannot both read standard input. Save one of them in a file.")
    if min_copy is not None and min_copy < 1:
        raise UsageError(f"--min-copy is {min_copy}; it must be at least 1. Try {MIN_COPY_LENGTH}.")
    parse_mix(values["--mix"] or ())
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
