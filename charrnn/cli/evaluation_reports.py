"""What `charrnn evaluate` shows with --errors and --long-range, measured by the Python interface."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from charrnn.cli.pictures import Shown
from charrnn.cli.progress import progress_of_unknown

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
    from charrnn.evaluation import comparison
    from charrnn.lab.error_kinds_view import errors_pictures
    from charrnn.lab.long_range_view import long_range_pictures

    pictures: list[RenderableType] = []
    data: dict[str, Any] = {"part": part} if content is None else {}
    settings: dict[str, Any] = {"part": part, "precision": precision, "max_chars": max_chars}
    if errors:
        with progress_of_unknown("errors", quiet=quiet) as (advance, set_total):
            kinds = comparison.error_kinds(models, content, on_progress=advance, on_total=set_total, **settings)
        pictures += errors_pictures(kinds)
        data["errors"] = asdict(kinds)
    if long_range:
        with progress_of_unknown("long range", quiet=quiet) as (advance, set_total):
            reach = comparison.long_range(models, content, on_progress=advance, on_total=set_total, **settings)
        pictures += long_range_pictures(reach)
        data["long_range"] = asdict(reach)
    return Shown(title=models[0].name, pictures=pictures, data=data)
