"""charrnn sample: text on stdout, nothing else."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.terminal import DebugOption, JsonOption, QuietOption, RunArgument, print_json, printable, warn

if TYPE_CHECKING:
    from charrnn.api import Model

LONG_PRIME = 20_000
"""Characters that take a second or more to read."""


def sample(
    run: RunArgument = None,
    temp: Annotated[
        float | None,
        typer.Option(
            "--temp", "--temperature", help="0 is greedy, 1 the model's own distribution. Default: 0.8.", metavar="T"
        ),
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Draw from the K likeliest only.", metavar="K")] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw from the likeliest that together reach P.", metavar="P")
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option("--min-p", help="Draw from those at least P times as likely as the likeliest.", metavar="P"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed writes the same text.", metavar="N", min=0)] = 0,
    length: Annotated[int, typer.Option("--length", help="Characters to write.", metavar="N")] = 1000,
    prime: Annotated[str, typer.Option("--prime", help="What comes before; printed first.", metavar="TEXT")] = "",
    prime_file: Annotated[
        str | None,
        typer.Option("--prime-file", help="A file, or - for stdin, that comes before; not printed.", metavar="F"),
    ] = None,
    beam: Annotated[
        int | None, typer.Option("--beam", help="Write the likeliest text, by a search N beams wide.", metavar="N")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Let a model write.

    The text goes to stdout as it is written, and nothing else does.
    """
    from charrnn.api import load
    from charrnn.errors import UsageError

    if prime and prime_file is not None:
        raise UsageError("Give --prime or --prime-file, not both.")
    if beam is not None and any(option is not None for option in (temp, top_k, top_p, min_p)):
        raise UsageError("--beam looks for the likeliest text: leave out --temp, --top-k, --top-p and --min-p.")
    model = load(run)
    warn(model.warnings, quiet=quiet)
    before = prime if prime_file is None else _read_prime(prime_file, model.vocab.kind)
    if len(before) > LONG_PRIME:
        warn((f"reading {len(before):,} characters before the first one is written",), quiet=quiet)
    if beam is not None:
        _write_beams(model, beam, length, before, shown_prime=prime, show_as_json=json)
        return
    options = {
        "temperature": 0.8 if temp is None else temp,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "seed": seed,
    }
    if json:
        written = model.sample(length=length, prime=before, **options)  # type: ignore[arg-type]
        print_json(
            {"run": model.name, "text": written.text, "prime": _spell(before), "seed": seed, "logprob": written.logprob}
            | {"logprobs": written.logprobs}
        )
        return
    pieces = model.stream(length=length, prime=before, **options)  # type: ignore[arg-type]
    is_terminal = sys.stdout.isatty()
    last = _write(prime, "\n")
    for piece, _ in pieces:
        last = _write(piece, last)
        if is_terminal:
            sys.stdout.flush()
    # Always ended by a newline, so that the same seed gives the same bytes wherever they go.
    if last != "\n":
        _write("\n", last)


def _write(text: str, last: str) -> str:
    """Write to stdout; on a terminal, characters that could steer it are made visible. Returns the last one written."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    return text[-1:] or last


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


def _write_beams(
    model: "Model", width: int, length: int, prime: str | bytes, *, shown_prime: str, show_as_json: bool
) -> None:
    found = model.beam(width=width, length=length, prime=prime)
    if show_as_json:
        beams = [{"text": beam.text, "logprob": beam.logprob, "logprobs": beam.logprobs} for beam in found]
        print_json(
            {
                "run": model.name,
                "prime": _spell(prime),
                "text": found[0].text,
                "logprob": found[0].logprob,
                "beams": beams,
            }
        )
        return
    text = shown_prime + found[0].text
    _write(text if text.endswith("\n") else text + "\n", "")
