"""What `charrnn sample` is asked for: its options as they were typed, and which of them go together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from charrnn.cli.arguments import check_mix
from charrnn.errors import UsageError
from charrnn.generation.options import DEFAULT_PRECISION, DEFAULT_WIDTH
from charrnn.generation.records import MIN_COPY_LENGTH

MAX_JSON_CHARS = 5_000_000
"""Longest text of --json, whose object takes about 90 bytes of memory for each character."""
MAX_TABLE_CHARS = 1_000_000
"""Longest texts side by side, in total: about 50 bytes of memory for each character."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Options of `charrnn sample`, under the names of its parameters, with their defaults where not given."""

    run: str | None
    temp: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int | None
    ban: str
    temps: str | None
    precision: str
    length: int | None
    prime: str
    prime_file: str | None
    adapt: str | None
    mix: Sequence[str] | None
    mix_mode: str | None
    unknown: str
    stop: Sequence[str] | None
    keep_stop: bool
    max_line: int | None
    count: int | None
    beam: int | None
    beam_mode: str | None
    groups: int | None
    diversity: float | None
    length_penalty: float | None
    no_repeat: int | None
    clamp: Sequence[str] | None
    show_cell: str | None
    novelty: bool
    min_copy: int | None
    json: bool
    quiet: bool

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The numbers of --temps, none if it is not given. Raises UsageError for anything else."""
        if self.temps is None:
            return ()
        try:
            return tuple(float(part) for part in self.temps.split(","))
        except ValueError:
            raise UsageError(
                f"--temps is {self.temps!r}; write numbers with commas between them, such as 0.2,0.5,1."
            ) from None

    @property
    def is_greedy(self) -> bool:
        """Whether every text takes the most likely characters, whatever the seed."""
        return self.temp == 0 if self.temps is None else not any(self.temperatures)


def check_request(request: Request) -> None:
    """Raise UsageError, before a run is loaded, for options that do not go together and for too long a text."""
    if request.prime and request.prime_file is not None:
        raise UsageError("Give --prime or --prime-file, not both.")
    if request.adapt == request.prime_file == "-":
        raise UsageError("--adapt and --prime-file cannot both read standard input. Save one of them in a file.")
    _check_beam(request)
    if request.temps is not None:
        several = {"--temp": request.temp, "--count": request.count}
        refuse(several, "does not go with --temps, which draws a text for each temperature")
    _check_novelty(request)
    of_one_model = {
        "--adapt": request.adapt,
        "--clamp": request.clamp or None,
        "--show-cell": request.show_cell,
        "--novelty": request.novelty or None,
    }
    check_mix(request.mix, request.mix_mode, of_one_model)
    _check_length(request)


def _check_beam(request: Request) -> None:
    """Refuse options of a search without --beam, options of drawing with it, and a --count above its width."""
    if request.beam is None:
        search = {
            "--beam-mode": request.beam_mode,
            "--groups": request.groups,
            "--diversity": request.diversity,
            "--length-penalty": request.length_penalty,
            "--no-repeat": request.no_repeat,
        }
        refuse(search, f"belongs to a beam search: add --beam {DEFAULT_WIDTH}, or leave it out")
        return
    drawing = {
        "--temp": request.temp,
        "--top-k": request.top_k,
        "--top-p": request.top_p,
        "--min-p": request.min_p,
        "--max-line": request.max_line,
        "--temps": request.temps,
        # A search reads the weights as they are.
        "--precision": None if request.precision in (DEFAULT_PRECISION, "fp32") else request.precision,
        "--show-cell": request.show_cell,
    }
    refuse(drawing, "does not go with --beam, which searches for the most likely text")
    if request.count is not None and not 1 <= request.count <= request.beam:
        raise UsageError(
            f"--count is {request.count}; a search of {request.beam} beams finds 1 to {request.beam} texts. "
            "Leave it out, or widen --beam."
        )


def _check_novelty(request: Request) -> None:
    """Refuse options that do not go with --novelty or --show-cell, and --min-copy without --novelty."""
    # With --novelty, --count draws documents; whether the model writes them is known once it is loaded.
    has_count = request.count is not None and (request.beam is not None or not request.novelty)
    if request.temps is not None or has_count:
        only_one = {"--show-cell": request.show_cell, "--novelty": request.novelty or None}
        refuse(only_one, "shows one text: leave out --count and --temps")
    if request.novelty:
        refuse({"--show-cell": request.show_cell}, "does not go with --novelty, which colours the text too")
    else:
        refuse({"--min-copy": request.min_copy}, "belongs to --novelty: add that, or leave it out")
    if request.min_copy is not None and request.min_copy < 1:
        raise UsageError(f"--min-copy is {request.min_copy}; it must be at least 1. Try {MIN_COPY_LENGTH}.")


def _check_length(request: Request) -> None:
    """Refuse texts that must be kept in memory and are too long for that, before anything is drawn."""
    if request.beam is not None:  # a search has a limit of its own
        return
    length, num_temperatures = request.length or 0, len(request.temperatures)
    if request.json and length > MAX_JSON_CHARS:
        raise UsageError(
            f"--length is {length:,}; --json prints a whole text as one object, of at most {MAX_JSON_CHARS:,} "
            "characters.\nLeave out --json, which prints a text of any length as it is written, or shorten it."
        )
    if not request.json and length * num_temperatures > MAX_TABLE_CHARS:
        raise UsageError(
            f"--length is {length:,}; {num_temperatures} texts side by side may have "
            f"{MAX_TABLE_CHARS // num_temperatures:,} characters each.\n"
            "Shorten it, add --json, or draw one text after the other with --temp."
        )


def refuse(options: Mapping[str, object], reason: str) -> None:
    """Raise UsageError with the reason for the first of `options` that is given, that is, not None."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} {reason}." + ("" if "leave" in reason else " Leave one of them out."))
