"""`visualize --history`: how well cells follow their detectors at each checkpoint of a training.

Shapes: N characters.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from charrnn.api import Model, TextOrIds, load_steps
from charrnn.cells.analysis import CellAnalysis
from charrnn.cells.findings import CellFindings
from charrnn.cells.targets import label_by_name
from charrnn.cells.trace import trace_text
from charrnn.cli.analyses import DETECTOR_OPTIONS, NETWORK, Analysis, Shown, Subject
from charrnn.cli.visualize import find_best_cells
from charrnn.config.options import option
from charrnn.detectors.detector import Detector, why_not_scored
from charrnn.errors import UsageError
from charrnn.model.annotations import CharRNN
from charrnn.statistics.agreement import measure_score
from charrnn.system.display import Displayable, RecordTuple
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible, block

CHARS_OF_HISTORY = 16_384
"""Characters of the scoring half on which every checkpoint is measured, at most."""
FEW_STEPS = 5
"""A history of fewer checkpoints than this comes with advice on how to save more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellHistory(Displayable):
    """The scores that the best cell of the newest checkpoint has at every checkpoint of its run.

    `values[i]` is the score at step `steps[i]`: the AUC if `is_auc`, with the newest checkpoint's
    polarity, else ρ.
    """

    detector: str
    layer: int
    unit: int
    is_auc: bool
    steps: tuple[int, ...]
    values: tuple[float, ...]

    def view(self) -> Sequence[RenderableType]:
        """Return the table of the scores."""
        return self.view_together([self])

    @staticmethod
    def view_together(records: "Sequence[CellHistory]") -> Sequence[RenderableType]:
        """Return one table of the scores of several cells."""
        return [history_table(records)]


def history(
    analysis: CellAnalysis,
    findings: CellFindings,
    networks: Iterable[tuple[int, CharRNN]],
    detectors: Sequence[str | Detector] | None = None,
) -> tuple[CellHistory, ...]:
    """Score the cells of `findings` at every checkpoint, on CHARS_OF_HISTORY characters of the
    scoring half.

    `networks` yields the number and the network of each step, `detectors` are those that `findings`
    scored. Raises UsageError if a detector is missing.
    """
    # A part of the scoring half: each checkpoint reads it once more.
    half = analysis.half
    part = analysis.text.part(half, half + CHARS_OF_HISTORY)

    # Labels are those of the whole text, because a part may begin inside a span.
    names = [score.detector for score in findings.scores]
    labels = {}
    for name, of_text in label_by_name(analysis.text.text, names, detectors).items():
        of_part = of_text[half : half + len(part)]
        # A part may lack what the whole text has.
        if not why_not_scored(of_part):
            labels[name] = of_part
    scores = [score for score in findings.scores if score.detector in labels]

    # The same cells at every checkpoint, chosen at the newest one: how they became what they are.
    steps: list[int] = []
    values: list[list[float]] = [[] for _ in scores]
    for step, network in networks:
        steps.append(step)
        cells = trace_text(network, part).cells
        for score, of_cell in zip(scores, values, strict=True):
            # With the polarity of the newest checkpoint: a cell that turned over is below chance.
            reached = measure_score(
                cells[:, score.layer, score.unit], labels[score.detector], score.polarity
            )
            of_cell.append(reached)

    # One record for each detector.
    histories = []
    for score, of_cell in zip(scores, values, strict=True):
        found = CellHistory(
            detector=score.detector,
            layer=score.layer,
            unit=score.unit,
            is_auc=score.auc is not None,
            steps=tuple(steps),
            values=tuple(of_cell),
        )
        histories.append(found)
    return tuple(histories)


def model_history(
    model: Model,
    text: TextOrIds,
    *,
    context: str | bytes = "",
    detectors: Sequence[str | Detector] | None = None,
    cached: bool = False,
) -> tuple[CellHistory, ...]:
    """Score the best cell for each detector at every checkpoint of the run of a model.

    The cells are those of `Model.survey`. Raises UsageError for a model that was not loaded from a
    run and for an unknown detector, DataError for a text too short.

    >>> for history in model.history(text, detectors=["quote"]):
    ...     print(history)
    """
    # One network at a time is in memory.
    networks = ((step.step, step.network) for step in load_steps(run_folder(model)))
    analysis = model.study(text, context=context, cached=cached)
    return RecordTuple(history(analysis, analysis.findings(detectors), networks, detectors))


def run_folder(model: Model) -> Path:
    """Return the run's folder. Raises UsageError for a model that was loaded from a file, which has
    no other steps."""
    if model.path is None:
        raise UsageError(
            f"{model.name} is one step of a run: give the folder of the run, with all its steps."
        )
    return model.path


def history_table(histories: Sequence[CellHistory]) -> Table:
    """Build the table of the best cell's score at every checkpoint: a block each, from chance to
    perfect."""
    # All histories have the steps of one run.
    span = "steps"
    if histories and histories[0].steps:
        steps = histories[0].steps
        span = f"steps {steps[0]:,} to {steps[-1]:,}"
    table = plain_table("detector", "cell", "first", span, "last", right=("first", "last"))
    for history in histories:
        form = "ρ {:+.3f}"
        chance = 0.0
        if history.is_auc:
            form = "AUC {:.3f}"
            chance = 0.5

        # From chance, an empty block, to perfect, a full one. The sign of a ρ does not matter.
        shares = [(abs(value) - chance) / (1 - chance) for value in history.values]
        table.add_row(
            history.detector,
            f"{history.layer}:{history.unit}",
            form.format(history.values[0]),
            _Blocks(shares),
            form.format(history.values[-1]),
        )
    return table


@dataclass(frozen=True)
class _Blocks:
    """One block per share from 0 to 1: the higher, the fuller."""

    shares: Sequence[float]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, len(self.shares)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # `block` takes values from -1 to 1.
        blocks = (block(2 * share - 1, ascii_only=options.ascii_only) for share in self.shares)
        yield Text("".join(blocks), overflow="fold")


@dataclass(frozen=True, kw_only=True)
class HistoryOptions:
    """The option of the analysis."""

    history: bool = option(
        False, "--history", "Show the scores of the best cells at every checkpoint.", NETWORK
    )


def _measure(subject: Subject[HistoryOptions]) -> tuple[CellHistory, ...]:
    # As `model_history`, over the text and with the findings that the command has read already.
    steps = [(model.step, model.network) for model in load_steps(run_folder(subject.model))]
    return history(subject.study, find_best_cells(subject), steps, subject.detectors)


def _show(subject: Subject[HistoryOptions], histories: Sequence[CellHistory]) -> Shown:
    """Draw the table of the scores of the best cells at every checkpoint."""
    num_chars = min(CHARS_OF_HISTORY, len(subject.text) - subject.study.half)
    title = (
        f"Cells of {all_visible(subject.model.name)} over its checkpoints, on {num_chars:,}"
        " characters"
    )
    pictures: list[RenderableType] = [Text(title, style="bold"), history_table(histories)]
    # By default a run keeps only its newest checkpoints.
    if histories and len(histories[0].steps) < FEW_STEPS:
        pictures.append(
            Text(
                "Few steps are saved: train with --save-every and --keep 100 to see how cells"
                " develop."
            )
        )
    return Shown(title, pictures, [one.to_json() for one in histories])


ANALYSES = (
    Analysis(
        flag="--history",
        options=HistoryOptions,
        measure=_measure,
        show=_show,
        takes=DETECTOR_OPTIONS,
    ),
)
"""`visualize --history`."""
