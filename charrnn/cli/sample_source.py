"""What `charrnn sample` generates from: a model, adapted or mixed, and the text to continue."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.arguments import is_cell, load_mixture, load_model, parse_cell, parse_direction, read_text, to_content
from charrnn.cli.streams import print_waiting_notice, warn
from charrnn.errors import DataError, UsageError, counted
from charrnn.generation.options import DEFAULT_LENGTH, DEFAULT_UNKNOWN, DOCUMENT_LENGTH
from charrnn.text.files import read_stream

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.model.clamping import Direction

SLOW_PRIME = 20_000
"""Characters of a prime that takes a second or more to read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A loaded model, and what it needs to generate."""

    first: "Model"
    """The run, adapted if --adapt is given."""
    model: Any
    """The `Model` that generates: that one, or the mixture with the runs of --mix, which generates in the same way."""
    prime: str | bytes
    """The text to continue: the typed prime, the content of a file, or what the model was adapted to."""
    length: int
    """Characters to generate."""
    reference: Any
    """The training text for --novelty (`Model.novelty_reference`), or None."""


def load_source(run: str | None, values: Mapping[str, Any], *, quiet: bool) -> Source:
    """Load what is generated from, and print warnings on stderr. `values` has the options by flag.

    Raises CheckpointError or DataError for a run or a file that cannot be read, and UsageError for options that do not
    go with this model.
    """
    first = load_model(run, quiet=quiet)
    if values["--novelty"] and values["--count"] is not None:
        _check_count_of_new(first, values["--min-copy"])
    length = values["--length"]
    if length is None:  # A search keeps all its texts.
        is_document = first.config.end_id is not None and values["--beam"] is None
        length = DOCUMENT_LENGTH if is_document else DEFAULT_LENGTH
    reference = first.novelty_reference(length=length) if values["--novelty"] else None
    learned = None
    if values["--adapt"] is not None:
        learned = read_text(values["--adapt"], first.config, quiet=quiet)
        first = _adapt(first, learned, values["--unknown"] or DEFAULT_UNKNOWN, quiet=quiet)
    model: Any = first
    if values["--mix"]:
        model = load_mixture(first, values["--mix"], values["--mix-mode"], quiet=quiet)
        warn(model.warnings, quiet=quiet)
    prime = _load_prime(values["--prime"] or "", values["--prime-file"], learned, model, quiet=quiet)
    return Source(first=first, model=model, prime=prime, length=length, reference=reference)


def _check_count_of_new(model: "Model", min_copy: int | None) -> None:
    """Refuse --novelty with --count unless the model writes documents, which are compared whole."""
    if model.config.end_id is None:
        raise UsageError(
            f"--novelty shows one text of {model.name}, which was not trained on documents: leave out --count."
        )
    if min_copy is not None:
        raise UsageError("--min-copy does not go with --count, which compares whole documents. Leave one of them out.")


def _adapt(model: "Model", text: str | bytes, unknown: str, *, quiet: bool) -> "Model":
    """Return the model adapted to a text, and print on stderr how well it predicted that before and while adapting."""
    model = model.adapted(text, unknown=unknown)
    found = model.adaptation
    if found is not None and not quiet:
        what = counted(found.num_chars, "character")
        if found.text_length > found.num_chars + 1:
            what = f"the last {found.num_chars:,} of {counted(found.text_length, 'character')}"
        sys.stderr.write(
            f"adapted to {what}: {found.static_nats:.4f} nats per character as trained, {found.dynamic_nats:.4f} while "
            "adapting\n"
        )
    return model


def _load_prime(typed: str, file: str | None, learned: str | bytes | None, model: Any, *, quiet: bool) -> str | bytes:
    """Return the prime that was typed or that a file contains, else the text that the model has learned from, if any.

    Bytes for the byte alphabet.
    """
    alphabet = model.vocab.kind
    if learned is not None and not typed and file is None:
        return learned
    prime = to_content(typed, alphabet) if file is None else _read_prime_file(file, alphabet, quiet=quiet)
    if len(prime) > SLOW_PRIME:
        warn((f"reading {len(prime):,} characters of the prime first",), quiet=quiet)
    if file is None or model.config.documents != "lines":
        return prime
    # A file ends with a newline, which is no part of the document.
    return prime.rstrip(b"\n") if isinstance(prime, bytes) else prime.rstrip("\n")


def _read_prime_file(name: str, alphabet: str, *, quiet: bool) -> str | bytes:
    """Return the content of a file or of standard input, cleaned as a corpus is."""
    if name == "-" and sys.stdin is None:
        raise DataError("--prime-file -: standard input is closed.")
    print_waiting_notice(name, quiet=quiet)
    option = f"--prime-file {name}"
    try:
        if name == "-":
            data = read_stream(option, sys.stdin.buffer)
        else:
            with Path(name).open("rb") as file:
                data = read_stream(option, file)
        return data if alphabet == "byte" else data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise DataError(f"{option}: {error.strerror}. Give a text file, or - for standard input.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{option}: not UTF-8 text (byte {error.start}). Convert it to UTF-8.") from None


def print_compile_notice(*, quiet: bool) -> None:
    """Print on stderr that the sampling loop is compiled, which takes a while."""
    if not quiet:
        sys.stderr.write("compiling the sampling loop, once on this machine (about 10 seconds) ...\n")


def parse_clamp(text: str, model: "Model") -> "tuple[tuple[int, int] | Direction, float]":
    """Parse --clamp: a cell and its value, or a direction and its output. Raises UsageError."""
    what, _, number = text.rpartition("=") if "=" in text else (text, "", "")
    if not is_cell(what):
        return _parse_direction_clamp(text, what, number, model)
    try:
        layer_unit, value = parse_cell("--clamp", what, model), float(number)
    except ValueError:
        raise UsageError(f"--clamp is {text!r}; write layer:unit=value, such as 0:17=1.") from None
    if not -1 <= value <= 1:
        raise UsageError(f"--clamp {text}: a cell's value must lie between -1 and 1.")
    return layer_unit, value


def _parse_direction_clamp(text: str, what: str, number: str, model: "Model") -> "tuple[Direction, float]":
    """Fit the direction of --clamp DETECTOR=V on the run's held-out text, or look it up in the run."""
    detector, size = parse_direction("--clamp", what)
    try:
        value = None if number in ("high", "low") else float(number)
    except ValueError:
        raise UsageError(f"--clamp {text}: write high, low or a number after the =, such as quote=high.") from None
    direction = model.direction(detector, size)
    if value is None:
        value = direction.high if number == "high" else direction.low
    return direction, value
