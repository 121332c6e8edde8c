"""Line charts of norms against whole numbers: lags of a text, or steps of a training."""

import math
from collections.abc import Iterable, Sequence
from itertools import chain, groupby

from charrnn.views.charts import MAX_TICKS, Line, LineChart, Point, Tick, round_step

LOWEST = -12
"""Power of ten below which norms are not drawn: one that vanishes to 1e-60 would flatten all other
lines."""
HIGHEST = 12
"""Power of ten above which norms are not drawn."""


def line_chart(
    title: str,
    lines: Sequence[Line],
    up_ticks: Sequence[Tick],
    *,
    empty: str,
    first: int = 0,
    label: str = "step",
) -> LineChart:
    """Draw lines from `first` on, against the step or another whole number; `empty` is said of no
    points."""
    # An axis needs two ends, also of one point or none.
    last = max((round(place) for place, _ in points_of(lines)), default=0)
    last = max(last, first + 1)

    def ticks(most: int) -> list[Tick]:
        # Whole steps: there is nothing between two characters.
        step = max(1, round(round_step(last, most)))
        places = {first, *range(0, last + 1, step)}
        return [(tick, f"{tick:,}") for tick in sorted(places) if tick >= first]

    return LineChart(
        title=title,
        lines=lines,
        across=(first, last),
        across_label=label,
        across_ticks=ticks,
        up_ticks=up_ticks,
        empty_notice=empty,
    )


def log_segments(points: Iterable[Point]) -> list[list[Point]]:
    """Return log10 of norms by their places, in one segment for each part between 1e-12 and
    1e12."""
    # A line is cut where it leaves the range, not drawn along its edge.
    segments = []
    for is_drawn, part in groupby(points, lambda point: 10.0**LOWEST <= point[1] <= 10.0**HIGHEST):
        if is_drawn:
            segments.append([(place, math.log10(norm)) for place, norm in part])
    return segments


def power_ticks(lines: Iterable[Line]) -> list[Tick]:
    """Return the ticks of an axis of powers of ten that enclose the points of lines."""
    # Few whole powers of ten, that no point lies outside of.
    heights = [height for _, height in points_of(lines)] or [0.0]
    low = math.floor(min(heights))
    high = max(math.ceil(max(heights)), low + 1)
    step = math.ceil((high - low) / (MAX_TICKS - 1))
    lowest = high - step * math.ceil((high - low) / step)
    return [(tick, f"1e{tick}") for tick in range(lowest, high + 1, step)]


def points_of(lines: Iterable[Line]) -> list[Point]:
    """Return the points of all lines."""
    segments = chain.from_iterable(line.segments for line in lines)
    return list(chain.from_iterable(segments))
