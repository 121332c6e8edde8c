"""What `charrnn sample` generates from: a model, adapted or mixed, and the text to continue."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.arguments import load_mixture, load_model, print_waiting_notice, read_text, to_content
from charrnn.cli.progress import progress
from charrnn.cli.sample_request import Request, refuse
from charrnn.cli.streams import warn
from charrnn.errors import DataError, UsageError
from charrnn.generation.options import DEFAULT_LENGTH, DOCUMENT_LENGTH

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.lab.mixing import Mixture
    from charrnn.lab.novelty import NoveltyReference

SLOW_PRIME = 20_000
"""Characters of a prime that takes a second or more to read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A loaded model, and what it needs to generate."""

    first: "Model"
    """The run, adapted if --adapt is given."""
    model: "Model | Mixture"
    """What generates: that one, or its mixture with the runs of --mix."""
    prime: str | bytes
    """The text to continue: the typed prime, the content of a file, or what the model was adapted to."""
    length: int
    """Characters to generate."""
    reference: "NoveltyReference | None"
    """The training text for --novelty."""


def load_source(request: Request) -> Source:
    """Load what is generated from, and print warnings on stderr.

    Raises CheckpointError or DataError for a run or a file that cannot be read, and UsageError for options that do not
    go with this model.
    """
    first = load_model(request.run, quiet=request.quiet)
    if request.novelty and request.count is not None:
        _check_count_of_new(first, request.min_copy)
    length = _chosen_length(request, first)
    reference = _novelty_reference(first, length) if request.novelty else None
    learned = None
    if request.adapt is not None:
        learned = read_text(request.adapt, first.config, quiet=request.quiet)
        first = _adapt(first, learned, request.unknown, quiet=request.quiet)
    model: Model | Mixture = first
    if request.mix:
        model = load_mixture(first, request.mix, request.mix_mode, quiet=request.quiet)
        warn(model.warnings, quiet=request.quiet)
    prime = _load_prime(request, learned, model)
    return Source(first=first, model=model, prime=prime, length=length, reference=reference)


def _check_count_of_new(model: "Model", min_copy: int | None) -> None:
    """Refuse --novelty with --count unless the model writes documents, which are compared whole."""
    if model.config.end_id is None:
        raise UsageError(
            f"--novelty shows one text of {model.name}, which was not trained on documents: leave out --count."
        )
    refuse({"--min-copy": min_copy}, "does not go with --count, which compares whole documents")


def _chosen_length(request: Request, model: "Model") -> int:
    """Return --length or its default, which is larger for documents, except in a search, which keeps all its texts."""
    if request.length is not None:
        return request.length
    return DEFAULT_LENGTH if model.config.end_id is None or request.beam is not None else DOCUMENT_LENGTH


def _novelty_reference(model: "Model", length: int) -> "NoveltyReference":
    """Return the training text for --novelty. Raises DataError or UsageError before anything is drawn."""
    from charrnn.lab.novelty import longest_comparable

    longest = longest_comparable(model.vocab.kind)
    if length > longest:
        unit = "bytes" if model.vocab.kind == "byte" else "characters"
        raise UsageError(f"--length is {length:,}; --novelty compares {longest:,} {unit} at most. Shorten it.")
    return model.novelty_reference()


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


def _load_prime(request: Request, learned: str | bytes | None, model: "Model | Mixture") -> str | bytes:
    """Return the prime that was typed or that a file contains, else the text that the model has learned from, if any.

    Bytes for the byte alphabet.
    """
    alphabet = model.vocab.kind
    if learned is not None and not request.prime and request.prime_file is None:
        return learned
    if request.prime_file is None:
        prime = to_content(request.prime, alphabet)
    else:
        prime = _read_prime_file(request.prime_file, alphabet, quiet=request.quiet)
    if len(prime) > SLOW_PRIME:
        warn((f"reading {len(prime):,} characters of the prime first",), quiet=request.quiet)
    if request.prime_file is None or model.config.documents != "lines":
        return prime
    # A file ends with a newline, which is no part of the document.
    return prime.rstrip(b"\n") if isinstance(prime, bytes) else prime.rstrip("\n")


def _read_prime_file(name: str, alphabet: str, *, quiet: bool) -> str | bytes:
    """Return the content of a file or of standard input, cleaned as a corpus is."""
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
