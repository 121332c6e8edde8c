"""Convert the options of `charrnn sample` to those of the generator."""

import sys
from typing import TYPE_CHECKING, Any, cast

from charrnn.cli.arguments import is_cell, parse_cell, parse_direction
from charrnn.cli.progress import progress
from charrnn.cli.sample_request import Request
from charrnn.cli.sample_source import Source
from charrnn.cli.streams import warn
from charrnn.errors import UsageError
from charrnn.generation.options import SAMPLE_TEMPERATURE

if TYPE_CHECKING:
    from collections.abc import Callable

    from charrnn.api import Model
    from charrnn.generation.options import Mode, SampleOptions, SearchOptions
    from charrnn.model.clamping import Direction


def search_options(request: Request, source: Source, seed: int | None) -> "SearchOptions":
    """Return the options of the beam search. Raises UsageError for a value out of its range."""
    from charrnn.generation.options import SearchOptions

    assert request.beam is not None
    return SearchOptions(
        **_shared_options(request, source, seed),
        width=request.beam,
        mode=cast("Mode", request.beam_mode or "plain"),
        groups=request.groups,
        diversity=request.diversity,
        length_penalty=request.length_penalty or 0.0,
        no_repeat=request.no_repeat,
    )


def sample_options(
    request: Request, source: Source, seed: int | None, *, on_cut: "Callable[[], object]"
) -> "SampleOptions":
    """Return the options of a drawn text. Raises UsageError for a value out of its range."""
    from charrnn.generation.options import SampleOptions

    shared = _shared_options(request, source, seed)
    has_cell = request.show_cell is not None and not request.json
    return SampleOptions(
        **shared,
        temperature=SAMPLE_TEMPERATURE if request.temp is None else request.temp,
        top_k=request.top_k,
        top_p=request.top_p,
        min_p=request.min_p,
        max_line=request.max_line or 0,
        cell=parse_cell("--show-cell", request.show_cell or "", source.first) if has_cell else None,
        precision=request.precision,
        on_cut=on_cut,
        on_compile=lambda: _print_compile_notice(quiet=request.quiet),
        on_warning=lambda message: warn((message,), quiet=request.quiet),
    )


def _shared_options(request: Request, source: Source, seed: int | None) -> dict[str, Any]:
    """Return the fields of `TextOptions`, which both kinds of options have."""
    return {
        "length": source.length,
        "seed": seed,
        "prime": source.prime,
        "unknown": request.unknown,
        "stops": tuple(_unescape(text) for text in request.stop or ()),
        "keep_stop": request.keep_stop,
        "ban": request.ban,
        "clamps": dict(_parse_clamp(text, source.first, quiet=request.quiet) for text in request.clamp or ()),
    }


def _print_compile_notice(*, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write("compiling the sampling loop, once on this machine (about 10 seconds) ...\n")


def _unescape(text: str) -> str:
    """Replace \\n and \\t, which are hard to type in a shell."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


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
