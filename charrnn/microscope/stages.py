"""Measure a text in stages, quickest first, for an interface that shows each result as soon as it is there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charrnn.microscope.study import Study
from charrnn.microscope.survey import num_read
from charrnn.records.microscope import CellFindings, CellScore
from charrnn.text.encoded import EncodedText

if TYPE_CHECKING:
    from charrnn.microscope.trace import Trace

OnShare = Callable[[str, float], object]
"""Called with the name of what is being measured and the share in [0, 1] that is done."""


@dataclass(frozen=True, slots=True)
class RankedFindings:
    """The best cell for each detector and, once they are ranked, all cells for each."""

    findings: CellFindings
    ranking: dict[str, tuple[CellScore, ...]]
    """The scores of all cells by detector; empty until they are ranked."""


def measure_in_stages(
    study: Study, shown: EncodedText, *, num_guesses: int, on_share: OnShare
) -> "Iterator[Trace | RankedFindings]":
    """Yield the trace of `shown`, then the findings of `study`, then the same with all cells ranked.

    What `on_share` raises ends the work. Raises DataError if the text of the study is too short to score.
    """

    def watch(label: str, total: int) -> Callable[[int], object]:
        num_done = 0

        def advance(num: int) -> None:
            nonlocal num_done
            num_done += num
            on_share(label, min(1, num_done / max(1, total)))

        on_share(label, 0.0)
        return advance

    from charrnn.microscope.trace import trace_text

    yield trace_text(study.network(), shown, watch("reading", len(shown)), num_guesses=num_guesses)
    num_chars = len(study.text)
    findings = study.findings(on_progress=watch("reading, to score the cells", num_read(num_chars, has_baseline=True)))
    yield RankedFindings(findings, {})
    if findings.scores:
        advance = watch("reading, to score all cells", num_chars - study.half)
        on_cells = watch("scoring all cells", study.num_layers * study.num_units)
        yield RankedFindings(findings, study.ranking([score.detector for score in findings.scores], advance, on_cells))
