"""What `charrnn evaluate` shows with --errors and --long-range, measured by the Python interface."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from charrnn.cli.pictures import Shown
from charrnn.cli.progress import progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.api import Model


def measure_reports(
    models: "Sequence[Model]",
    content: str | bytes | None,
    *,
    part: str,
    precision: str,
    max_chars: int,
    errors: bool,
    long_range: bool,
    quiet: bool,
) -> Shown:
    """Measure the reports that were asked for over the text `content` or, without it, over a part of the runs' own."""
    from charrnn import comparison
    from charrnn.render.error_kinds import errors_pictures
    from charrnn.render.long_range import long_range_pictures

    pictures: list[RenderableType] = []
    data: dict[str, Any] = {"part": part} if content is None else {}
    with progress(0, "evaluate", quiet=quiet) as advance:
        if errors:
            kinds = comparison.error_kinds(
                models, content, part=part, precision=precision, max_chars=max_chars, on_progress=advance
            )
            pictures += errors_pictures(kinds)
            data["errors"] = asdict(kinds)
        if long_range:
            reach = comparison.long_range(
                models, content, part=part, precision=precision, max_chars=max_chars, on_progress=advance
            )
            pictures += long_range_pictures(reach)
            data["long_range"] = asdict(reach)
    return Shown(title=models[0].name, pictures=pictures, data=data)
