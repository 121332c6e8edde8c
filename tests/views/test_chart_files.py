"""Charts in files: the same bytes for the same chart, every name as it stands."""

import pytest
from example_results import STRAIGHT, curve

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from charrnn.runs.overview import LearningCurves
from charrnn.runs.targets import MARK_BYTES
from charrnn.views.chart_files import draw_chart
from charrnn.views.charts import learning_chart
from charrnn.views.delivery import FORMATS, Shown

CHART = learning_chart(LearningCurves([STRAIGHT, curve("beside", (10, 2.9), (30, 2.1))]))
SUFFIXES = (".svg", ".png", ".pdf")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_has_its_mark_near_its_beginning(suffix):
    shown = Shown("Learning curves of " + "lamps, " * 500, pictures=[], data=[], chart=CHART)
    assert FORMATS[suffix].mark in FORMATS[suffix].write(shown)[:MARK_BYTES]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_chart_is_the_same_bytes(suffix):
    drawn = {draw_chart(CHART, suffix[1:], title="Learning curves") for _ in range(2)}
    assert len(drawn) == 1
