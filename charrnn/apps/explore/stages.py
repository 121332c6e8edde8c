"""Measure a text in stages, quickest first, for an interface that shows each result as soon as it is there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charrnn.cells.analysis import PAGE_PARTS, CellAnalysis
from charrnn.cells.records import CellFindings, CellPage, CellScore
from charrnn.cells.scores import num_read
from charrnn.text.encoded import EncodedText

if TYPE_CHECKING:
    from charrnn.cells.trace import Trace

OnShare = Callable[[str, float], object]
"""Called with the name of what is being measured and the share in [0, 1] that is done."""
_LABELS = {
    "outputs": "measuring what it writes",
    "ablation": "ablating",
    "inputs": "measuring what sets it",
    "description": "searching a rule",
}
"""What is said while a part of a page is measured."""


@dataclass(frozen=True, slots=True)
class RankedFindings:
    """The best cell for each detector and, once they are ranked, all cells for each."""

    findings: CellFindings
    ranking: dict[str, tuple[CellScore, ...]]
    """The scores of all cells by detector; empty until they are ranked."""


def measure_in_stages(
    study: CellAnalysis, shown: EncodedText, *, num_guesses: int, on_share: OnShare
) -> "Iterator[Trace | RankedFindings]":
    """Yield the trace of `shown`, then the findings of `study`, then the same with all cells ranked.

    What `on_share` raises ends the work. Raises DataError if the text of the study is too short to score.
    """

    from charrnn.cells.trace import trace_text

    yield trace_text(study.network(), shown, share_of("reading", len(shown), on_share), num_guesses=num_guesses)
    num_chars = len(study.text)
    total = num_read(num_chars, has_baseline=True)
    findings = study.findings(on_progress=share_of("reading, to score the cells", total, on_share))
    yield RankedFindings(findings, {})
    if findings.scores:
        advance = share_of("reading, to score all cells", num_chars - study.half, on_share)
        on_cells = share_of("scoring all cells", study.num_layers * study.num_units, on_share)
        yield RankedFindings(findings, study.ranking([score.detector for score in findings.scores], advance, on_cells))


def page_in_stages(study: CellAnalysis, layer: int, unit: int, *, on_share: OnShare) -> Iterator[CellPage]:
    """Yield the page of a cell with its passages and values, and again with each of PAGE_PARTS.

    What `on_share` raises ends the work.
    """
    label = ""

    def check() -> None:
        on_share(label, 0.0)

    pages = study.page_in_parts(layer, unit, share_of("reading", len(study.text), on_share), check)
    yield next(pages)
    for part in PAGE_PARTS:
        label = _LABELS[part]
        check()
        yield next(pages)


def share_of(label: str, total: int, on_share: OnShare) -> Callable[[int], object]:
    """Return a callback that takes how many of `total` were done since its last call, and calls `on_share`."""
    num_done = 0

    def advance(num: int) -> None:
        nonlocal num_done
        num_done += num
        on_share(label, min(1, num_done / max(1, total)))

    on_share(label, 0.0)
    return advance
