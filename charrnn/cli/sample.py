"""charrnn sample: text on stdout, nothing else."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from charrnn.cli.arguments import (
    check_mix,
    is_cell,
    load_mixture,
    load_model,
    parse_cell,
    parse_direction,
    print_waiting_notice,
    read_text,
    to_content,
)
from charrnn.cli.options import (
    DebugOption,
    JsonOption,
    MixModeOption,
    MixOption,
    QuietOption,
    RunArgument,
    UnknownOption,
)
from charrnn.cli.progress import progress
from charrnn.cli.sample_view import Page
from charrnn.cli.streams import warn
from charrnn.errors import DataError, UsageError
from charrnn.generation.defaults import (
    DEFAULT_DIVERSITY,
    DEFAULT_LENGTH,
    DEFAULT_PRECISION,
    DEFAULT_UNKNOWN,
    DEFAULT_WIDTH,
    DOCUMENT_LENGTH,
    SAMPLE_TEMPERATURE,
)
from charrnn.records.generation import MIN_COPY_LENGTH

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.evaluation.novelty import NoveltyReference
    from charrnn.generation.beam import Mode
    from charrnn.records.directions import Direction

SLOW_PRIME = 20_000
"""Characters of a prime that takes a second or more to read."""
MAX_JSON_CHARS = 5_000_000
"""Longest text of --json, whose object takes about 90 bytes of memory for each character."""
MAX_TABLE_CHARS = 1_000_000
"""Longest texts side by side, in total: about 50 bytes of memory for each character."""


def sample(
    run: RunArgument = None,
    temp: Annotated[
        float | None,
        typer.Option(
            "--temp",
            "--temperature",
            help=f"0 is greedy, 1 the model's own distribution. Default: {SAMPLE_TEMPERATURE}.",
            metavar="T",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", help="Draw from the K most likely characters only.", metavar="K"),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", help="Draw from the most likely characters with total probability P.", metavar="P"),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            "--min-p", help="Draw from characters at least P times as likely as the most likely one.", metavar="P"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="The same seed gives the same text. Default: a new one, printed on stderr.",
            metavar="N",
            min=0,
        ),
    ] = None,
    ban: Annotated[str, typer.Option("--ban", help="Never generate these characters.", metavar="CHARS")] = "",
    temps: Annotated[
        str | None,
        typer.Option("--temps", help="Several temperatures side by side: 0.2,0.5,1.", metavar="T,T"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="auto or int8: weights in 8 bits, the fastest. fp32: weights as trained.",
            metavar="WORD",
        ),
    ] = DEFAULT_PRECISION,
    length: Annotated[
        int | None,
        typer.Option(
            "--length",
            help=f"Number of characters. Default: {DEFAULT_LENGTH:,}. A document has at most so many: "
            f"{DOCUMENT_LENGTH:,}.",
            metavar="N",
        ),
    ] = None,
    prime: Annotated[str, typer.Option("--prime", help="Text to continue; printed first.", metavar="TEXT")] = "",
    prime_file: Annotated[
        str | None,
        typer.Option("--prime-file", help="Continue a file, or - for stdin; not printed.", metavar="F"),
    ] = None,
    adapt: Annotated[
        str | None,
        typer.Option(
            "--adapt",
            help="Learn from this text first (dynamic evaluation), and continue it unless there is a prime.",
            metavar="FILE",
        ),
    ] = None,
    mix: MixOption = None,
    mix_mode: MixModeOption = None,
    unknown: UnknownOption = DEFAULT_UNKNOWN,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help="Stop before this text. Repeatable; \\n is a newline.", metavar="TEXT"),
    ] = None,
    keep_stop: Annotated[bool, typer.Option("--keep-stop", help="Stop after the --stop text, not before it.")] = False,
    max_line: Annotated[
        int | None,
        typer.Option("--max-line", help="End a line after N characters.", metavar="N", min=1),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", help="Number of samples; with --beam: print the N best texts.", metavar="N"),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option("--beam", help="Search for the most likely text with N beams.", metavar="N"),
    ] = None,
    beam_mode: Annotated[
        str | None,
        typer.Option(
            "--beam-mode",
            help="plain: most likely texts. diverse: groups that avoid each other. stochastic: different samples.",
            metavar="WORD",
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option("--groups", help="Number of groups of a diverse search. Default: one per beam.", metavar="N"),
    ] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            "--diversity",
            help=f"Penalty for a character that an earlier group chose. Default: {DEFAULT_DIVERSITY}.",
            metavar="NATS",
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            "--length-penalty",
            help="With --stop: 0 (default) prefers short texts, 1 neither.",
            metavar="ALPHA",
        ),
    ] = None,
    no_repeat: Annotated[
        int | None,
        typer.Option("--no-repeat", help="Never generate the same N characters twice.", metavar="N"),
    ] = None,
    clamp: Annotated[
        list[str] | None,
        typer.Option(
            "--clamp",
            help="Clamp cell U of layer L to V, from -1 to 1, or the direction of a detector to an output: quote=high, "
            "quote@8=low, quote=0.5. Repeatable.",
            metavar="L:U=V|DETECTOR=V",
        ),
    ] = None,
    show_cell: Annotated[
        str | None,
        typer.Option("--show-cell", help="Colour the text by the value of this cell.", metavar="L:U"),
    ] = None,
    novelty: Annotated[
        bool,
        typer.Option(
            "--novelty",
            help="Mark copies of the training text, and print their share; with --count, of whole documents.",
        ),
    ] = False,
    min_copy: Annotated[
        int | None,
        typer.Option(
            "--min-copy", help=f"With --novelty: shortest copy that counts. Default: {MIN_COPY_LENGTH}.", metavar="N"
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Generate text.

    The text goes to stdout as it is generated, and nothing else does. Several samples are separated by a blank line. A
    model of documents (see `charrnn train --documents`) writes one document for each sample.
    """
    # Long because it turns every option of the command into one dataclass.
    search = {
        "--beam-mode": beam_mode,
        "--groups": groups,
        "--diversity": diversity,
        "--length-penalty": length_penalty,
        "--no-repeat": no_repeat,
    }
    drawing: dict[str, object] = {
        "--temp": temp,
        "--top-k": top_k,
        "--top-p": top_p,
        "--min-p": min_p,
        "--max-line": max_line,
    }
    drawing |= {"--temps": temps, "--precision": None if precision in (DEFAULT_PRECISION, "fp32") else precision}
    if prime and prime_file is not None:
        raise UsageError("Give --prime or --prime-file, not both.")
    if adapt == prime_file == "-":
        raise UsageError("--adapt and --prime-file cannot both read standard input. Save one of them in a file.")
    _check_beam(beam, count, search, drawing | {"--show-cell": show_cell})
    if temps is not None:
        _refuse({"--temp": temp, "--count": count}, "does not go with --temps, which draws a text for each temperature")
    _check_novelty(novelty, min_copy, show_cell, {"--temps": temps, "--count": count if beam or not novelty else None})
    of_one_model = {"--adapt": adapt, "--clamp": clamp or None, "--show-cell": show_cell, "--novelty": novelty or None}
    check_mix(mix, mix_mode, of_one_model)
    temperatures = () if temps is None else _parse_temps(temps)
    if beam is None:
        _check_length(length or 0, len(temperatures), show_as_json=json)
    model = load_model(run, quiet=quiet)
    if novelty and count is not None:
        _check_count_of_new(model, min_copy)
    if length is None:
        # A search keeps all of its texts, so that it has a lower limit.
        length = DEFAULT_LENGTH if model.config.end_id is None or beam is not None else DOCUMENT_LENGTH
    reference = _novelty_reference(model, length) if novelty else None
    learned = None if adapt is None else read_text(adapt, model.config, quiet=quiet)
    if learned is not None:
        model = _adapt(model, learned, unknown, quiet=quiet)
    source = load_mixture(model, mix, mix_mode, quiet=quiet) if mix else model
    if mix:
        warn(source.warnings, quiet=quiet)
    if learned is not None and not prime and prime_file is None:
        before = learned
    else:
        before = _load_prime(prime, prime_file, source.vocab.kind, quiet=quiet)
    if model.config.documents == "lines" and prime_file is not None:
        before = (
            before.rstrip(b"\n") if isinstance(before, bytes) else before.rstrip("\n")
        )  # a file ends with a newline
    page = Page(source, prime, before, show_as_json=json, quiet=quiet, reference=reference)
    if min_copy is not None:
        page.min_copy = min_copy
    if seed is None and (beam is None or beam_mode == "stochastic"):
        seed = page.choose_seed()
    stops = tuple(_unescape(text) for text in stop or ())
    clamps = dict(_parse_clamp(text, model, quiet=quiet) for text in clamp or ())

    from charrnn.generation.options import SampleOptions, SearchOptions

    if beam is not None:
        search_options = SearchOptions(
            length=length,
            seed=seed,
            prime=before,
            unknown=unknown,
            stops=stops,
            keep_stop=keep_stop,
            ban=ban,
            clamps=clamps,
            width=beam,
            mode=cast("Mode", beam_mode or "plain"),
            groups=groups,
            diversity=diversity,
            length_penalty=length_penalty or 0.0,
            no_repeat=no_repeat,
        )
        is_single = novelty or (beam_mode in (None, "plain") and not json)
        page.show_search((1 if is_single else beam) if count is None else count, search_options)
        return
    options = SampleOptions(
        length=length,
        seed=seed,
        prime=before,
        unknown=unknown,
        stops=stops,
        keep_stop=keep_stop,
        ban=ban,
        clamps=clamps,
        temperature=SAMPLE_TEMPERATURE if temp is None else temp,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        max_line=max_line or 0,
        cell=None if show_cell is None or json else parse_cell("--show-cell", show_cell, model),
        precision=precision,
        on_cut=page.count_cut,
        on_compile=lambda: _print_compile_notice(quiet=quiet),
        on_warning=lambda message: warn((message,), quiet=quiet),
    )
    if len(before) > SLOW_PRIME:
        # The generator keeps the last prime that it read, so the prime is read here, under a bar, and not again.
        with progress(len(before), "reading", quiet=quiet) as advance:
            source.generator.write(replace(options, on_read=advance))
    if temperatures:
        page.show_temperatures(temperatures, options)
    elif novelty and count is not None:
        page.show_new_documents(count, options)
    elif novelty:
        page.show_novelty(options)
    elif json or count is not None:
        page.show_samples(1 if count is None else count, options)
    elif options.cell is not None:
        page.show_cell(options)
    else:
        page.show_text(options)


def _adapt(model: "Model", text: str | bytes, unknown: str, *, quiet: bool) -> "Model":
    """Return the model adapted to a text, and print on stderr how well it predicted that before and while adapting."""
    from charrnn.api import MAX_ADAPTED
    from charrnn.errors import counted

    with progress(min(len(text), MAX_ADAPTED), "adapting", quiet=quiet) as advance:
        model = model.adapted(text, unknown=unknown, on_progress=advance)
    found = model.adaptation
    if found is not None and not quiet:
        what = counted(found.num_chars, "character")
        if found.text_length > MAX_ADAPTED:
            what = f"the last {found.num_chars:,} of {counted(found.text_length, 'character')}"
        sys.stderr.write(
            f"adapted to {what}: {found.static_nats:.4f} nats per character as trained, {found.dynamic_nats:.4f} while "
            "adapting\n"
        )
    return model


def _check_beam(
    beam: int | None, count: int | None, search: Mapping[str, object], drawing: Mapping[str, object]
) -> None:
    """Refuse options of a search without --beam, options of drawing with it, and a --count above its width."""
    if beam is None:
        _refuse(search, f"belongs to a beam search: add --beam {DEFAULT_WIDTH}, or leave it out")
        return
    _refuse(drawing, "does not go with --beam, which searches for the most likely text")
    if count is not None and not 1 <= count <= beam:
        raise UsageError(
            f"--count is {count}; a search of {beam} beams finds 1 to {beam} texts. Leave it out, or widen --beam."
        )


def _check_novelty(novelty: bool, min_copy: int | None, show_cell: str | None, several: Mapping[str, object]) -> None:
    """Refuse options that do not go with --novelty or --show-cell, and --min-copy without --novelty."""
    if any(value is not None for value in several.values()):
        only_one = {"--show-cell": show_cell, "--novelty": novelty or None}
        _refuse(only_one, "shows one text: leave out --count and --temps")
    if novelty:
        _refuse({"--show-cell": show_cell}, "does not go with --novelty, which colours the text too")
    else:
        _refuse({"--min-copy": min_copy}, "belongs to --novelty: add that, or leave it out")
    if min_copy is not None and min_copy < 1:
        raise UsageError(f"--min-copy is {min_copy}; it must be at least 1. Try {MIN_COPY_LENGTH}.")


def _check_count_of_new(model: "Model", min_copy: int | None) -> None:
    """Refuse --novelty with --count unless the model writes documents, which are compared whole."""
    if model.config.end_id is None:
        raise UsageError(
            f"--novelty shows one text of {model.name}, which was not trained on documents: leave out --count."
        )
    _refuse({"--min-copy": min_copy}, "does not go with --count, which compares whole documents")


def _check_length(length: int, num_temperatures: int, *, show_as_json: bool) -> None:
    """Refuse texts that must be kept in memory and are too long for that, before anything is drawn."""
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
    """Return the training text for --novelty. Raises DataError or UsageError before anything is drawn."""
    from charrnn.evaluation.novelty import longest_comparable

    longest = longest_comparable(model.vocab.kind)
    if length > longest:
        unit = "bytes" if model.vocab.kind == "byte" else "characters"
        raise UsageError(f"--length is {length:,}; --novelty compares {longest:,} {unit} at most. Shorten it.")
    return model.novelty_reference()


def _print_compile_notice(*, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write("compiling the sampling loop, once on this machine (about 10 seconds) ...\n")


def _unescape(text: str) -> str:
    """Replace \\n and \\t, which are hard to type in a shell."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _parse_temps(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--temps is {text!r}; write numbers with commas between them, such as 0.2,0.5,1.") from None


def _parse_clamp(text: str, model: "Model", *, quiet: bool) -> "tuple[tuple[int, int] | Direction, float]":
    what, _, number = text.rpartition("=") if "=" in text else (text, "", "")
    if not is_cell(what):
        return _parse_direction_clamp(text, what, number, model, quiet=quiet)
    try:
        layer_unit, value = parse_cell("--clamp", what, model), float(number)
    except ValueError:
        raise UsageError(f"--clamp is {text!r}; write layer:unit=value, such as 0:17=1.") from None
    if not -1 <= value <= 1:
        raise UsageError(f"--clamp {text}: a cell's value must lie between -1 and 1.")
    return layer_unit, value


def _parse_direction_clamp(
    text: str, what: str, number: str, model: "Model", *, quiet: bool
) -> "tuple[Direction, float]":
    """Fit the direction of --clamp DETECTOR=V on the run's held-out text, or look it up in the run."""
    detector, size = parse_direction("--clamp", what)
    try:
        value = None if number in ("high", "low") else float(number)
    except ValueError:
        raise UsageError(f"--clamp {text}: write high, low or a number after the =, such as quote=high.") from None
    with progress(0, f"fitting {what}", quiet=quiet) as advance:
        direction = model.direction(detector, size, on_progress=advance)
    if value is None:
        value = direction.high if number == "high" else direction.low
    return direction, value


def _load_prime(prime: str, file: str | None, alphabet: str, *, quiet: bool) -> str | bytes:
    """Return `prime`, or the content of `file`, cleaned as a corpus is. Bytes for the byte alphabet."""
    before = to_content(prime, alphabet) if file is None else _read_prime_file(file, alphabet, quiet=quiet)
    if len(before) > SLOW_PRIME:
        warn((f"reading {len(before):,} characters of the prime first",), quiet=quiet)
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


def _refuse(options: Mapping[str, object], reason: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} {reason}." + ("" if "leave" in reason else " Leave one of them out."))
