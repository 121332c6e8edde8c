"""charrnn sample: text on stdout, nothing else."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.generation_options import sample_options, search_options
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
from charrnn.cli.sample_request import Request, check_request
from charrnn.cli.sample_source import SLOW_PRIME, Source, load_source
from charrnn.cli.sample_view import Page
from charrnn.generation.options import (
    DEFAULT_DIVERSITY,
    DEFAULT_LENGTH,
    DEFAULT_PRECISION,
    DEFAULT_UNKNOWN,
    DOCUMENT_LENGTH,
    SAMPLE_TEMPERATURE,
)
from charrnn.generation.records import MIN_COPY_LENGTH

if TYPE_CHECKING:
    from charrnn.generation.options import SampleOptions, SearchOptions


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
    request = Request(
        run=run,
        temp=temp,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
        ban=ban,
        temps=temps,
        precision=precision,
        length=length,
        prime=prime,
        prime_file=prime_file,
        adapt=adapt,
        mix=mix,
        mix_mode=mix_mode,
        unknown=unknown,
        stop=stop,
        keep_stop=keep_stop,
        max_line=max_line,
        count=count,
        beam=beam,
        beam_mode=beam_mode,
        groups=groups,
        diversity=diversity,
        length_penalty=length_penalty,
        no_repeat=no_repeat,
        clamp=clamp,
        show_cell=show_cell,
        novelty=novelty,
        min_copy=min_copy,
        json=json,
        quiet=quiet,
    )
    check_request(request)
    source = load_source(request)
    page = Page(
        source.model,
        prime,
        source.prime,
        show_as_json=json,
        quiet=quiet,
        reference=source.reference,
        min_copy=MIN_COPY_LENGTH if min_copy is None else min_copy,
    )
    if seed is None and (beam is None or beam_mode == "stochastic"):
        seed = page.choose_seed(is_greedy=request.is_greedy)
    if beam is not None:
        _show_search(page, request, search_options(request, source, seed))
    else:
        options = sample_options(request, source, seed, on_cut=page.count_cut)
        _read_long_prime(source, options, quiet=quiet)
        _show_drawn(page, request, options)


def _show_search(page: Page, request: Request, options: "SearchOptions") -> None:
    """Print the best texts of a beam search: --count, else the best one of a plain search, else one per beam."""
    is_single = request.novelty or (request.beam_mode in (None, "plain") and not request.json)
    page.show_search((1 if is_single else options.width) if request.count is None else request.count, options)


def _read_long_prime(source: Source, options: "SampleOptions", *, quiet: bool) -> None:
    """Read a prime that takes a second or more under a bar: the generator keeps the last prime that it read."""
    if len(source.prime) > SLOW_PRIME:
        with progress(len(source.prime), "reading", quiet=quiet) as advance:
            source.model.generator.write(replace(options, on_read=advance))


def _show_drawn(page: Page, request: Request, options: "SampleOptions") -> None:
    """Print the drawn text or texts in the form that was asked for."""
    if request.temps is not None:
        page.show_temperatures(request.temperatures, options)
    elif request.novelty and request.count is not None:
        page.show_new_documents(request.count, options)
    elif request.novelty:
        page.show_novelty(options)
    elif request.json or request.count is not None:
        page.show_samples(1 if request.count is None else request.count, options)
    elif options.cell is not None:
        page.show_cell(options)
    else:
        page.show_text(options)
