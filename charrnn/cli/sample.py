"""charrnn sample: text on stdout, nothing else."""

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.terminal import (
    DebugOption,
    JsonOption,
    QuietOption,
    RunArgument,
    print_json,
    printable,
    result_console,
    warn,
)

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.generation.writing import Piece
    from charrnn.records import GeneratedText

SLOW_PRIME = 20_000
"""Characters that take a second or more to read."""
LOOKED_AT = 2_000
"""Characters at the end of a text among which a loop is looked for."""
DRAWING = "How to draw"
WHEN = "What to write"
BEAMS = "Beam search"
LOOKING = "Looking closer"


def sample(
    run: RunArgument = None,
    temp: Annotated[
        float | None,
        typer.Option(
            "--temp",
            "--temperature",
            help="0 is greedy, 1 the model's own distribution. Default: 0.8.",
            metavar="T",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", help="Draw from the K likeliest only.", metavar="K", rich_help_panel=DRAWING),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p", help="Draw from the likeliest that together reach P.", metavar="P", rich_help_panel=DRAWING
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            "--min-p",
            help="Draw from those at least P times as likely as the likeliest.",
            metavar="P",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", help="The same seed writes the same text.", metavar="N", min=0, rich_help_panel=DRAWING),
    ] = 0,
    ban: Annotated[
        str, typer.Option("--ban", help="Characters never to write.", metavar="CHARS", rich_help_panel=DRAWING)
    ] = "",
    temps: Annotated[
        str | None,
        typer.Option(
            "--temps", help="Several temperatures side by side: 0.2,0.5,1.", metavar="T,T", rich_help_panel=DRAWING
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="auto and int8: weights in 8 bits, the fastest. fp32: as they were learned.",
            metavar="WORD",
            rich_help_panel=DRAWING,
        ),
    ] = "auto",
    length: Annotated[
        int, typer.Option("--length", help="Characters to write.", metavar="N", rich_help_panel=WHEN)
    ] = 1000,
    prime: Annotated[
        str, typer.Option("--prime", help="What comes before; printed first.", metavar="TEXT", rich_help_panel=WHEN)
    ] = "",
    prime_file: Annotated[
        str | None,
        typer.Option(
            "--prime-file",
            help="A file, or - for stdin, that comes before; not printed.",
            metavar="F",
            rich_help_panel=WHEN,
        ),
    ] = None,
    unknown: Annotated[
        str,
        typer.Option(
            "--unknown",
            help="Characters of the prime that the model never saw: error, skip or nearest.",
            metavar="WORD",
            rich_help_panel=WHEN,
        ),
    ] = "error",
    stop: Annotated[
        list[str] | None,
        typer.Option(
            "--stop", help="End before this text. Repeatable; \\n is a newline.", metavar="TEXT", rich_help_panel=WHEN
        ),
    ] = None,
    keep_stop: Annotated[
        bool, typer.Option("--keep-stop", help="End after the --stop text.", rich_help_panel=WHEN)
    ] = False,
    max_line: Annotated[
        int | None,
        typer.Option("--max-line", help="End a line of N characters.", metavar="N", min=1, rich_help_panel=WHEN),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", help="Independent samples, drawn at once.", metavar="N", rich_help_panel=WHEN),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            "--beam",
            help="Write the likeliest text, by a search N beams wide.",
            metavar="N",
            rich_help_panel=BEAMS,
        ),
    ] = None,
    beam_mode: Annotated[
        str | None,
        typer.Option(
            "--beam-mode",
            help="plain: the likeliest. diverse: groups that avoid each other. stochastic: drawn, all different.",
            metavar="WORD",
            rich_help_panel=BEAMS,
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option(
            "--groups", help="Groups of diverse beams. Default: one per beam.", metavar="N", rich_help_panel=BEAMS
        ),
    ] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            "--diversity",
            help="What a diverse beam pays for another group's character. Default: 0.5.",
            metavar="NATS",
            rich_help_panel=BEAMS,
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            "--length-penalty",
            help="With --stop: 0 (default) favours short texts, 1 none.",
            metavar="ALPHA",
            rich_help_panel=BEAMS,
        ),
    ] = None,
    no_repeat: Annotated[
        int | None,
        typer.Option(
            "--no-repeat", help="Never write the same N characters twice.", metavar="N", rich_help_panel=BEAMS
        ),
    ] = None,
    clamp: Annotated[
        list[str] | None,
        typer.Option(
            "--clamp",
            help="Hold cell U of layer L at V, from -1 to 1. Repeatable.",
            metavar="L:U=V",
            rich_help_panel=LOOKING,
        ),
    ] = None,
    show_cell: Annotated[
        str | None,
        typer.Option(
            "--show-cell", help="Colour the text by this cell's value.", metavar="L:U", rich_help_panel=LOOKING
        ),
    ] = None,
    novelty: Annotated[
        bool,
        typer.Option(
            "--novelty", help="Mark what is copied from the training text, and say how much.", rich_help_panel=LOOKING
        ),
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Let a model write.

    The text goes to stdout as it is written, and nothing else does. Several samples are set apart by a blank line.
    """
    from charrnn.api import load
    from charrnn.errors import UsageError

    if prime and prime_file is not None:
        raise UsageError("Give --prime or --prime-file, not both.")
    drawing = {"--temp": temp, "--top-k": top_k, "--top-p": top_p, "--min-p": min_p, "--max-line": max_line}
    searching = {
        "--beam-mode": beam_mode,
        "--groups": groups,
        "--diversity": diversity,
        "--length-penalty": length_penalty,
        "--no-repeat": no_repeat,
    }
    several = {"--count": count, "--temps": temps}
    looking = {"--show-cell": show_cell, "--novelty": novelty or None}
    if beam is None:
        _refuse(searching, "belongs to a beam search: add --beam 8, or leave it out")
    else:
        _refuse(
            drawing | several | {"--show-cell": show_cell}, "does not go with --beam, which looks for the likeliest"
        )
    if temps is not None:
        _refuse({"--temp": temp, "--count": count}, "does not go with --temps, which draws a text for each temperature")
    if temps is not None or count is not None:
        _refuse(looking, "looks at one text: leave out --count and --temps")
    if novelty:
        _refuse({"--show-cell": show_cell}, "does not go with --novelty: one colour at a time")
    model = load(run)
    warn(model.warnings, quiet=quiet)
    before = prime if prime_file is None else _read_prime(prime_file, model.vocab.kind)
    if len(before) > SLOW_PRIME:
        warn((f"reading {len(before):,} characters before the first one is written",), quiet=quiet)
    common: dict[str, Any] = {
        "length": length,
        "seed": seed,
        "prime": before,
        "unknown": unknown,
        "stops": [_unescape(text) for text in stop or ()],
        "keep_stop": keep_stop,
        "ban": ban,
        "clamps": dict(_parse_clamp(text) for text in clamp or ()),
    }
    if beam is not None:
        chosen: dict[str, Any] = {
            option.removeprefix("--").removeprefix("beam-").replace("-", "_"): value
            for option, value in searching.items()
            if value is not None
        }
        search = model.search(width=beam, **common, **chosen)
        if novelty:
            deque(search, maxlen=0)
            _write_novelty(model, search.texts[0], before, show_as_json=json)
        elif json:
            deque(search, maxlen=0)
            print_json(_beams_as_json(model, search.texts, before))
        else:
            _write(chain([prime], search))
        _warn_of_loop(search.texts[0].text, "--no-repeat 20, --beam-mode stochastic or --temp 0.8", quiet=quiet)
        return
    options = common | {
        "temperature": 0.8 if temp is None else temp,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "precision": precision,
        "max_line": max_line or 0,
    }
    if not quiet and model.compiles_first(length * (count or 1)):
        sys.stderr.write("compiling the loop that writes, once on this machine (about 10 seconds) ...\n")
    if temps is not None:
        temperatures = _parse_temps(temps)
        texts = model.samples(len(temperatures), temperatures=temperatures, **options)
        if json:
            for temperature, text in zip(temperatures, texts, strict=True):
                print_json({"temperature": temperature} | _as_json(model, text, before))
        else:
            _write_side_by_side([f"{temperature:g}" for temperature in temperatures], [prime + t.text for t in texts])
    elif novelty:
        _write_novelty(model, model.sample(**options), before, show_as_json=json)
    elif json:
        for text in model.samples(1 if count is None else count, **options):
            print_json(_as_json(model, text, before))
    elif count is not None:
        for index, text in enumerate(model.samples(count, **options)):
            _write([*(["\n"] if index else []), prime, text.text])
    elif show_cell is not None:
        cell = _parse_cell("--show-cell", show_cell)
        _write_coloured(prime, model.stream(**options, cell=cell))
    else:
        end = _write(chain([prime], model.write(**options)))
        _warn_of_loop(end, "a higher --temp, or --temp 1 --top-p 0.95", quiet=quiet)


def _write(chunks: Iterable[str]) -> str:
    """Write a text to stdout, ended by a newline, so that the same seed gives the same bytes wherever they go.

    On a terminal, characters that could steer it are made visible, and each chunk is shown at once. Returns the end of
    the text.
    """
    is_terminal, end = sys.stdout.isatty(), ""
    for chunk in chunks:
        sys.stdout.write(printable(chunk) if is_terminal else chunk)
        if is_terminal:
            sys.stdout.flush()
        end = (end + chunk)[-LOOKED_AT:]
    if end and not end.endswith("\n"):
        sys.stdout.write("\n")
    return end


def _write_coloured(prime: str, pieces: Iterable["Piece"]) -> None:
    """Colour each character by its value as it comes; without colours, a line of blocks follows each line."""
    from rich.text import Text

    from charrnn.records import ColouredText
    from charrnn.render.heat import HeatMap, value_style, visible

    console = result_console()
    if not console.is_terminal:
        _write(chain([prime], (piece.text for piece in pieces)))
        return
    shown_prime = printable(prime)
    if console.color_system is None or console.no_color:
        sys.stdout.write(shown_prime + ("\n" if prime else ""))
        for line in _lines_of(pieces):
            values = tuple(piece.value for piece in line for _ in piece.text)
            console.print(HeatMap(ColouredText(text="".join(piece.text for piece in line), values=values)), end="")
        return
    sys.stdout.write(shown_prime)
    last = "\n"
    for piece in pieces:
        for character in piece.text:
            shown = character if character in "\n\t" else visible(character)
            console.print(Text(shown, style=value_style(piece.value)), end="", soft_wrap=True)
        sys.stdout.flush()
        last = piece.text[-1:] or last
    if last != "\n":
        sys.stdout.write("\n")


def _lines_of(pieces: Iterable["Piece"]) -> Iterator[list["Piece"]]:
    line: list[Piece] = []
    for piece in pieces:
        line.append(piece)
        if piece.text.endswith("\n"):
            yield line
            line = []
    if line:
        yield line


def _write_side_by_side(titles: list[str], texts: list[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    for title in titles:
        table.add_column(f"temperature {title}", overflow="fold", ratio=1)
    table.add_row(*(Text(printable(text)) for text in texts))
    result_console().print(table)


def _as_json(model: "Model", text: "GeneratedText", prime: str | bytes) -> dict[str, Any]:
    spelled = _spell(prime)
    return {"run": model.name, "text": text.text, "prime": spelled, "seed": text.seed} | {
        "logprob": text.logprob,
        "logprobs": text.logprobs,
    }


def _unescape(text: str) -> str:
    """What a shell makes hard to type: \\n and \\t."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _parse_temps(text: str) -> list[float]:
    from charrnn.errors import UsageError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--temps is {text!r}; write numbers with commas between them, such as 0.2,0.5,1.") from None


def _parse_cell(option: str, text: str) -> tuple[int, int]:
    from charrnn.errors import UsageError

    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text.strip())
    if match is None:
        raise UsageError(f"{option} {text}: write a cell as layer:unit, both from 0, such as 0:17.")
    return int(match[1]), int(match[2])


def _parse_clamp(text: str) -> tuple[tuple[int, int], float]:
    from charrnn.errors import UsageError

    cell, _, value = text.partition("=")
    try:
        return _parse_cell("--clamp", cell), float(value)
    except ValueError:
        raise UsageError(f"--clamp is {text!r}; write layer:unit=value, such as 0:17=1.") from None


def _spell(prime: str | bytes) -> str:
    return prime.decode("utf-8", "replace") if isinstance(prime, bytes) else prime


def _read_prime(name: str, alphabet: str) -> str | bytes:
    """What comes before, cleaned as a corpus is; its bytes as they are for the byte alphabet."""
    from charrnn.errors import DataError

    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data if alphabet == "byte" else data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise DataError(f"--prime-file {name}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"--prime-file {name}: not UTF-8 text (byte {error.start}).") from None


def _beams_as_json(model: "Model", texts: Sequence["GeneratedText"], prime: str | bytes) -> dict[str, Any]:
    beams = [
        {"text": text.text, "logprob": text.logprob, "score": text.score, "stop": text.stop, "logprobs": text.logprobs}
        for text in texts
    ]
    best = {"text": texts[0].text, "logprob": texts[0].logprob}
    return {"run": model.name, "prime": _spell(prime), **best, "beams": beams}


def _write_novelty(model: "Model", text: "GeneratedText", prime: str | bytes, *, show_as_json: bool) -> None:
    from charrnn.render.copied import CopiedText
    from charrnn.render.tables import novelty_table

    found = model.novelty(text.text)
    if show_as_json:
        print_json(_as_json(model, text, prime) | {"novelty": found.to_json()})
        return
    console = result_console()
    console.print(CopiedText(found))
    console.print(novelty_table(found))


def _warn_of_loop(text: str, remedy: str, *, quiet: bool) -> None:
    from charrnn.generation.loops import find_loop

    if loop := find_loop(text):
        warn(
            (
                f"the text ends in a loop: its last {loop.period} characters come {loop.repeats} times. "
                f"The likeliest texts of character models do that; try {remedy}.",
            ),
            quiet=quiet,
        )


def _refuse(options: dict[str, Any], reason: str) -> None:
    from charrnn.errors import UsageError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} {reason}.")
