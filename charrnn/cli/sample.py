"""charrnn sample: text on stdout, nothing else."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import load_model, parse_cell, print_waiting_notice, to_content
from charrnn.cli.options import DebugOption, JsonOption, QuietOption, RunArgument, UnknownOption
from charrnn.cli.progress import progress
from charrnn.cli.sample_view import Page
from charrnn.cli.streams import warn
from charrnn.errors import DataError, UsageError

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.evaluation.novelty import NoveltyReference

SLOW_PRIME = 20_000
"""Characters that take a second or more to read."""
MAX_JSON_CHARS = 5_000_000
"""The longest text of --json, whose object needs all of it at once: some 90 bytes for each character."""
MAX_TABLE_CHARS = 1_000_000
"""The longest texts side by side, all together: some 50 bytes for each character."""


def sample(
    run: RunArgument = None,
    temp: Annotated[
        float | None,
        typer.Option(
            "--temp", "--temperature", help="0 is greedy, 1 the model's own distribution. Default: 0.8.", metavar="T"
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", help="Draw from the K likeliest only.", metavar="K"),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", help="Draw from the likeliest that together reach P.", metavar="P"),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option("--min-p", help="Draw from those at least P times as likely as the likeliest.", metavar="P"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="The same seed writes the same text. Default: a fresh one, named on stderr.",
            metavar="N",
            min=0,
        ),
    ] = None,
    ban: Annotated[str, typer.Option("--ban", help="Characters never to write.", metavar="CHARS")] = "",
    temps: Annotated[
        str | None,
        typer.Option("--temps", help="Several temperatures side by side: 0.2,0.5,1.", metavar="T,T"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="auto and int8: weights in 8 bits, the fastest. fp32: as they were learned.",
            metavar="WORD",
        ),
    ] = "auto",
    length: Annotated[int, typer.Option("--length", help="Characters to write.", metavar="N")] = 1000,
    prime: Annotated[str, typer.Option("--prime", help="What comes before; printed first.", metavar="TEXT")] = "",
    prime_file: Annotated[
        str | None,
        typer.Option("--prime-file", help="A file, or - for stdin, that comes before; not printed.", metavar="F"),
    ] = None,
    unknown: UnknownOption = "error",
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="End before this text. Repeatable; \\n is a newline.", metavar="TEXT"),
    ] = None,
    keep_stop: Annotated[bool, typer.Option("--keep-stop", help="End after the --stop text.")] = False,
    max_line: Annotated[
        int | None,
        typer.Option("--max-line", help="End a line of N characters.", metavar="N", min=1),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", help="Independent samples; with --beam: its N best texts.", metavar="N"),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option("--beam", help="Write the likeliest text, by a search N beams wide.", metavar="N"),
    ] = None,
    beam_mode: Annotated[
        str | None,
        typer.Option(
            "--beam-mode",
            help="plain: the likeliest. diverse: groups that avoid each other. stochastic: drawn, all different.",
            metavar="WORD",
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option("--groups", help="Groups of diverse beams. Default: one per beam.", metavar="N"),
    ] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            "--diversity", help="What a diverse beam pays for another group's character. Default: 0.5.", metavar="NATS"
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option("--length-penalty", help="With --stop: 0 (default) favours short texts, 1 none.", metavar="ALPHA"),
    ] = None,
    no_repeat: Annotated[
        int | None,
        typer.Option("--no-repeat", help="Never write the same N characters twice.", metavar="N"),
    ] = None,
    clamp: Annotated[
        list[str] | None,
        typer.Option("--clamp", help="Hold cell U of layer L at V, from -1 to 1. Repeatable.", metavar="L:U=V"),
    ] = None,
    show_cell: Annotated[
        str | None,
        typer.Option("--show-cell", help="Colour the text by this cell's value.", metavar="L:U"),
    ] = None,
    novelty: Annotated[
        bool,
        typer.Option("--novelty", help="Mark what is copied from the training text, and say how much."),
    ] = False,
    min_copy: Annotated[
        int | None,
        typer.Option("--min-copy", help="With --novelty: the shortest copy that counts. Default: 30.", metavar="N"),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Let a model write.

    The text goes to stdout as it is written, and nothing else does. Several samples are set apart by a blank line.
    """

    searching = {
        "--beam-mode": beam_mode,
        "--groups": groups,
        "--diversity": diversity,
        "--length-penalty": length_penalty,
        "--no-repeat": no_repeat,
    }
    drawing = {"--temp": temp, "--top-k": top_k, "--top-p": top_p, "--min-p": min_p, "--max-line": max_line}
    exact = {"--precision": None if precision in ("auto", "fp32") else precision}
    looking = {"--show-cell": show_cell, "--novelty": novelty or None}
    if prime and prime_file is not None:
        raise UsageError("Give --prime or --prime-file, not both.")
    if beam is None:
        _refuse(searching, "belongs to a beam search: add --beam 8, or leave it out")
    else:
        _refuse(
            drawing | {"--temps": temps} | exact | {"--show-cell": show_cell},
            "does not go with --beam, which looks for the likeliest",
        )
        if count is not None and not 1 <= count <= beam:
            raise UsageError(
                f"--count is {count}; a search of {beam} beams finds 1 to {beam} texts. Leave it out, or widen --beam."
            )
    if temps is not None:
        _refuse({"--temp": temp, "--count": count}, "does not go with --temps, which draws a text for each temperature")
    if temps is not None or count is not None:
        _refuse(looking, "looks at one text: leave out --count and --temps")
    if novelty:
        _refuse({"--show-cell": show_cell}, "does not go with --novelty: one colour at a time")
    else:
        _refuse({"--min-copy": min_copy}, "belongs to --novelty: add that, or leave it out")
    if min_copy is not None and min_copy < 1:
        raise UsageError(f"--min-copy is {min_copy}; it must be at least 1. Try 30.")
    temperatures = () if temps is None else _parse_temps(temps)
    if beam is None:
        _check_length(length, len(temperatures), show_as_json=json)
    model = load_model(run, quiet=quiet)
    reference = _novelty_reference(model, length) if novelty else None
    before = _read_prime(prime, prime_file, model.vocab.kind, quiet=quiet)
    page = Page(model, prime, before, show_as_json=json, quiet=quiet, reference=reference, min_copy=min_copy)
    is_random = beam is None or beam_mode == "stochastic"
    common: dict[str, Any] = {
        "length": length,
        "seed": page.choose_seed() if seed is None and is_random else seed,
        "prime": before,
        "unknown": unknown,
        "stops": [_unescape(text) for text in stop or ()],
        "keep_stop": keep_stop,
        "ban": ban,
        "clamps": dict(_parse_clamp(text, model) for text in clamp or ()),
    }
    if beam is not None:
        chosen = {_KEYWORDS[option]: value for option, value in searching.items() if value is not None}
        is_single = novelty or (beam_mode in (None, "plain") and not json)
        default_count = 1 if is_single else beam
        page.show_search(default_count if count is None else count, **common, **chosen, width=beam)
        return
    options = common | {
        "temperature": 0.8 if temp is None else temp,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "precision": precision,
        "max_line": max_line or 0,
        "on_compile": lambda: _say_that_it_compiles(quiet=quiet),
        "on_warning": lambda message: warn((message,), quiet=quiet),
    }
    if len(before) > SLOW_PRIME:
        # A model remembers what it has read last, so the prime is read here, under a bar, and not again.
        with progress(len(before), "reading", quiet=quiet) as advance:
            model.write(**options, on_read=advance)
    if temperatures:
        page.show_temperatures(temperatures, **options)
    elif novelty:
        page.show_novelty(**options)
    elif json or count is not None:
        page.show_samples(1 if count is None else count, **options)
    elif show_cell is not None:
        page.show_cell(parse_cell("--show-cell", show_cell, model), **options)
    else:
        page.show_text(**options)


_KEYWORDS = {
    "--beam-mode": "mode",
    "--groups": "groups",
    "--diversity": "diversity",
    "--length-penalty": "length_penalty",
    "--no-repeat": "no_repeat",
}
"""What the options of a search are called in Python."""


def _check_length(length: int, num_temperatures: int, *, show_as_json: bool) -> None:
    """Refuse, before anything is drawn, texts that must be kept whole and are too long for that."""
    if show_as_json and length > MAX_JSON_CHARS:
        raise UsageError(
            f"--length is {length:,}; --json prints a whole text as one object, of at most {MAX_JSON_CHARS:,} "
            "characters.\nLeave out --json, which prints a text of any length as it is written, or shorten it."
        )
    if not show_as_json and length * num_temperatures > MAX_TABLE_CHARS:
        raise UsageError(
            f"--length is {length:,}; {num_temperatures} texts side by side may have "
            f"{MAX_TABLE_CHARS // num_temperatures:,} characters each.\n"
            "Shorten it, add --json, or draw one text after the other with --temp."
        )


def _novelty_reference(model: "Model", length: int) -> "NoveltyReference":
    """What --novelty compares with. Raises, before anything is drawn, what would keep it from comparing."""
    from charrnn.evaluation.novelty import longest_comparable

    longest = longest_comparable(model.vocab.kind)
    if length > longest:
        unit = "bytes" if model.vocab.kind == "byte" else "characters"
        raise UsageError(f"--length is {length:,}; --novelty compares {longest:,} {unit} at most. Shorten it.")
    return model.novelty_reference()


def _say_that_it_compiles(*, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write("compiling the loop that writes, once on this machine (about 10 seconds) ...\n")


def _unescape(text: str) -> str:
    """What a shell makes hard to type: \\n and \\t."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _parse_temps(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--temps is {text!r}; write numbers with commas between them, such as 0.2,0.5,1.") from None


def _parse_clamp(text: str, model: "Model") -> tuple[tuple[int, int], float]:
    cell, _, number = text.partition("=")
    try:
        layer_unit, value = parse_cell("--clamp", cell, model), float(number)
    except ValueError:
        raise UsageError(f"--clamp is {text!r}; write layer:unit=value, such as 0:17=1.") from None
    if not -1 <= value <= 1:
        raise UsageError(f"--clamp {text}: a cell's value must lie between -1 and 1.")
    return layer_unit, value


def _read_prime(prime: str, file: str | None, alphabet: str, *, quiet: bool) -> str | bytes:
    """What comes before: `prime`, or what `file` holds, cleaned as a corpus is. Bytes for the byte alphabet."""
    before = to_content(prime, alphabet) if file is None else _read_prime_file(file, alphabet, quiet=quiet)
    if len(before) > SLOW_PRIME:
        warn((f"reading {len(before):,} characters before the first one is written",), quiet=quiet)
    return before


def _read_prime_file(name: str, alphabet: str, *, quiet: bool) -> str | bytes:
    from charrnn.text.files import MemoryLimit, read_stream

    if name == "-" and sys.stdin is None:
        raise DataError("--prime-file -: standard input is closed.")
    print_waiting_notice(name, quiet=quiet)
    option = f"--prime-file {name}"
    try:
        if name == "-":
            data = read_stream(option, sys.stdin.buffer, MemoryLimit(option))
        else:
            with Path(name).open("rb") as file:
                data = read_stream(option, file, MemoryLimit(option))
        return data if alphabet == "byte" else data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise DataError(f"{option}: {error.strerror}. Give a text file, or - for standard input.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{option}: not UTF-8 text (byte {error.start}). Convert it to UTF-8.") from None


def _refuse(options: dict[str, Any], reason: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} {reason}." + ("" if "leave" in reason else " Leave one of them out."))
