"""Draw how the gradient of the loss decays or grows with distance: one line per model and layer, on a log scale."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from charrnn.cells.records import GradientReach
from charrnn.views.charts import MAX_TICKS, ChartOfRecords, Line, LineChart, Point, round_step
from charrnn.views.theme import all_visible

TITLE = "Mean norm of the loss's gradient by earlier states (nats)"
"""Title of the chart."""
EMPTY_NOTICE = "There is nothing to draw between 1e-12 and 1e12."
"""Shown instead of an empty chart."""
LOWEST, HIGHEST = -12, 12
"""Powers of ten outside which norms are not drawn: one that vanishes to 1e-60 would flatten all other lines."""


@dataclass(frozen=True)
class GradientChart(ChartOfRecords):
    """A renderable of the mean gradient norm of the loss by each layer's state k characters before, against k.

    Lines differ in their marks and, if the console has colours, in colour. A straight falling line is a gradient that
    vanishes by the same factor at every character; a rising one explodes. Norms below 1e-12 or above 1e12 are not
    drawn.
    """

    reaches: Sequence[GradientReach]
    title: str = TITLE

    def chart(self, *, ascii_only: bool) -> LineChart:
        curves = [curve for reach in self.reaches for curve in _curves(reach, ascii_only=ascii_only)]
        lines = [Line(name, segments, number) for number, (name, segments) in enumerate(curves)]
        points = [point for line in lines for segment in line.segments for point in segment]
        heights = [height for _, height in points] or [0.0]
        furthest = max([2, *(round(lag) for lag, _ in points)])
        return LineChart(
            title=self.title,
            lines=lines,
            across=(1, furthest),
            across_label="characters before",
            across_ticks=lambda most: ((lag, str(lag)) for lag in _lags(furthest, most)),
            up_ticks=[(tick, f"1e{tick}") for tick in decades(min(heights), max(heights))],
            empty_notice=EMPTY_NOTICE,
        )


def _curves(reach: GradientReach, *, ascii_only: bool) -> Iterator[tuple[str, list[list[Point]]]]:
    """Yield for each layer its name and log10 of the norm by lag, in one segment for each part inside the chart."""
    name = all_visible(reach.name, ascii_only=ascii_only)
    for layer, norms in enumerate(reach.norms):
        segments: list[list[Point]] = []
        before = None
        for lag, norm in zip(reach.lags, norms, strict=True):
            if 10.0**LOWEST <= norm <= 10.0**HIGHEST:
                if before is None or lag != before + 1:
                    segments.append([])
                segments[-1].append((lag, math.log10(norm)))
                before = lag
        yield name if len(reach.norms) == 1 else f"{name}, layer {layer}", segments


def decades(lowest: float, highest: float) -> list[int]:
    """Return at most `MAX_TICKS` equidistant powers of ten that enclose the given ones."""
    low, high = math.floor(lowest), math.ceil(highest)
    high = max(high, low + 1)
    step = math.ceil((high - low) / (MAX_TICKS - 1))
    return list(range(high - step * math.ceil((high - low) / step), high + 1, step))


def _lags(furthest: int, most: int) -> list[int]:
    """Return 1 and about `most` round numbers up to `furthest`."""
    step = max(1, round(round_step(furthest, most)))
    return [1, *range(step, furthest + 1, step)] if step > 1 else list(range(1, furthest + 1))
