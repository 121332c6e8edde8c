"""Collect the losses of several predictors over one text, each with its paired difference to the first one.

Shapes: M scored characters, K blocks.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.api import Model
from charrnn.config import Auto
from charrnn.errors import DataError, Message, UsageError, counted, named
from charrnn.evaluation.breakdown import GroupSums, context_length, sums_by_class, sums_by_position
from charrnn.evaluation.losses import (
    WINDOWED,
    CharLosses,
    MeasuredText,
    bits,
    block_difference,
    char_losses,
    loss_report,
    windowed_block_sums,
)
from charrnn.evaluation.records import (
    BREAKDOWNS,
    MAX_SCORED,
    CharLoss,
    Difference,
    Evaluation,
    EvaluationRow,
    LineLoss,
    LossBreakdown,
    LossReport,
    SkippedRow,
)
from charrnn.intervals import MIN_VALUES, BlockSums
from charrnn.lab.error_kinds import ErrorReport
from charrnn.lab.long_range import LongRangeReport
from charrnn.lab.ngrams import ORDERS
from charrnn.model.device import chosen_precision
from charrnn.model.network import Predictor
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END, split_text
from charrnn.text.vocab import IdArray, Vocab

if TYPE_CHECKING:
    from charrnn.evaluation.lines import ScoredText
    from charrnn.evaluation.losses import CharLosses, MeasuredText
    from charrnn.lab.mixing import Mixture


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRun:
    """A run, or a mixture of runs, whose losses over a text are measured."""

    name: str
    step: int | None
    """None for a mixture."""
    vocab: Vocab
    network: Predictor
    text: MeasuredText
    """The text as this run reads it."""


@dataclass(slots=True)
class LossTable:
    """The rows of an evaluation, in the order in which they are added; the first is that of the first run."""

    text: MeasuredText
    """The text as the first run reads it."""
    part: str | None = None
    """`validation` or `test`; None for a text that is no part of a run's own."""
    rows: list[EvaluationRow] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reference: CharLosses | None = None
    """The losses of the first row, which every other predictor of the same characters is compared with."""
    breakdowns: list[LossBreakdown] = field(default_factory=list)
    _windowed: tuple[MeasuredRun, BlockSums] | None = None
    """The first run that has windowed losses."""
    _groups: dict[str, GroupSums] = field(default_factory=dict)
    """The sums of the first run by class and by position."""

    def add(
        self, losses: CharLosses, *, name: str, protocol: str, precision: str = "", step: int | None = None
    ) -> EvaluationRow:
        """Add the row of a predictor from its losses of the characters of `text`; its difference is to the first row.

        Raises ValueError unless the positions are those of the first row.
        """
        blocks, difference = BlockSums.of(losses.nats), None
        if self.reference is None:
            self.reference = losses
        else:
            if not np.array_equal(losses.positions, self.reference.positions):
                raise ValueError("the losses are not paired: their positions differ")
            difference = block_difference(blocks, BlockSums.of(self.reference.nats))
        report = loss_report(blocks, self.text, protocol=protocol, precision=precision)
        return self.append(EvaluationRow(name=name, step=step, loss=report, difference=difference))

    def append(self, row: EvaluationRow) -> EvaluationRow:
        """Add a row whose difference is not to the first row, or is computed already."""
        self.rows.append(row)
        return row

    def add_run(
        self,
        run: MeasuredRun,
        *,
        precision: str = "auto",
        max_chars: int | None = None,
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> CharLosses:
        """Measure a run by the stateful protocol, add its row, and return its losses.

        A run whose alphabet is of another kind than that of the first one is compared in bits per byte, which needs the
        losses of the whole text.
        """
        text, network = run.text, run.network
        losses = char_losses(
            network, text.ids, text.first_scored, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
        precision = chosen_precision(network.device, precision)
        if text.unit == self.text.unit:
            self.add(losses, name=run.name, protocol="stateful", precision=precision, step=run.step)
            return losses
        assert self.reference is not None
        difference = byte_difference(losses, text, self.reference, self.text)
        report = loss_report(BlockSums.of(losses.nats), text, protocol="stateful", precision=precision)
        self.append(EvaluationRow(name=run.name, step=run.step, loss=report, difference=difference))
        return losses

    def add_windowed(
        self,
        run: MeasuredRun,
        *,
        precision: str = "auto",
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> None:
        """Measure a run by the windowed protocol and add its row, or the reason why that cannot be measured.

        Its difference is to the first run that is measured here, over the same windows.
        """
        text = run.text
        if (reason := text.why_not_windowed()) is not None:
            self.skipped.append(SkippedRow(protocol=WINDOWED, reason=reason))
            return
        ids = text.ids[text.first :]
        blocks = windowed_block_sums(run.network, ids, precision=precision, on_progress=on_progress)
        difference = None
        if self._windowed is None:
            self._windowed = run, blocks
        elif self._windowed[0].text.unit == text.unit:
            difference = block_difference(blocks, self._windowed[1])
        precision = chosen_precision(run.network.device, precision)
        report = loss_report(blocks, text, protocol=WINDOWED, precision=precision)
        self.append(EvaluationRow(name=run.name, step=run.step, loss=report, difference=difference))

    def add_by_class(self, run: MeasuredRun, losses: CharLosses) -> None:
        """Add the breakdown of a run's losses by class of character."""
        self._add_breakdown(run, "class", "stateful", sums_by_class(losses, run.vocab, run.text.ids))

    def add_by_position(
        self,
        run: MeasuredRun,
        *,
        precision: str = "auto",
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> None:
        """Measure a run's losses by the number of characters read, and add the breakdown.

        Raises DataError for a text too short.
        """
        ids = run.text.ids[run.text.first :]
        sums = sums_by_position(run.network, ids, precision=precision, on_progress=on_progress)
        self._add_breakdown(run, "position", f"windowed-{context_length(len(ids))}", sums)

    def evaluation(self) -> Evaluation:
        """Return the record of all rows and breakdowns."""
        return Evaluation(
            rows=tuple(self.rows),
            part=self.part,
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            breakdowns=tuple(self.breakdowns),
        )

    def _add_breakdown(
        self, run: MeasuredRun, by: Literal["class", "position"], protocol: str, sums: GroupSums
    ) -> None:
        reference = self._groups.get(by)
        self._groups.setdefault(by, sums)
        # A byte and a character are not the same thing to predict.
        groups = sums.groups(reference if run.text.unit == self.text.unit else None)
        self.breakdowns.append(LossBreakdown(name=run.name, by=by, protocol=protocol, groups=groups))


def check_comparable(runs: list[MeasuredRun], max_chars: int | None, *, needs_interval: bool = True) -> None:
    """Raise DataError, with the reason, if the losses of the runs over their texts cannot be compared.

    The texts must be the same for all of them; how each run reads it may differ.
    """
    first = runs[0]
    if needs_interval and len(runs) > 1 and first.text.num_chars - 1 < MIN_VALUES:
        raise DataError(
            f"The text has {counted(first.text.num_chars, first.text.unit)}; comparing runs needs at least "
            f"{MIN_VALUES + 1:,}, because the difference is nothing without its interval."
        )
    for run in runs[1:]:
        if run.vocab == first.vocab:
            continue
        for one, other in ((first, run), (run, first)):
            if one.text.num_unknown:
                raise DataError(
                    f"{one.name} does not know {counted(one.text.num_unknown, 'character')} of this text and reads "
                    f"them as one symbol, which is easier to predict.\nIts loss cannot be compared with that of "
                    f"{other.name}, which has another alphabet: give a text that both know."
                )
        whole = max(run.text.num_chars, first.text.num_chars)
        if run.text.unit != first.text.unit and max_chars is not None and max_chars < whole:
            raise UsageError(
                f"{first.name} and {run.name} read {first.text.unit}s and {run.text.unit}s: they are compared over a "
                f"whole text.\nGive a shorter text, or {named('max_chars', whole)}."
            )


def byte_difference(
    losses: CharLosses, text: MeasuredText, reference: CharLosses, reference_text: MeasuredText
) -> Difference | None:
    """Compute the paired difference in bits per byte of two predictors of one whole text, of which one reads bytes.

    The losses of a character's bytes are added up, so that both have one loss for each character. The first character
    is left out. None if the text is too short for an interval.
    """
    nats, sizes = _by_character(losses, text)
    others, other_sizes = _by_character(reference, reference_text)
    sizes = other_sizes if sizes is None else sizes
    assert sizes is not None, "one of the two reads bytes"
    if not len(nats) == len(others) == len(sizes):
        raise ValueError(f"{len(nats)} characters cannot be paired with {len(others)}")
    differences = BlockSums.of(nats) - BlockSums.of(others)
    blocks = BlockSums(bits(1) * differences.sums, BlockSums.of(sizes).sums)
    interval = blocks.interval()
    if interval is None:
        return None
    return Difference(mean=blocks.mean, low=interval[0], high=interval[1], unit="bits/byte")


def _by_character(losses: CharLosses, text: MeasuredText) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Return the loss of each whole character of a text and, where it is read as bytes, how many bytes each has."""
    if text.unit == "character":
        return losses.nats, None
    begins = np.flatnonzero((text.ids[losses.positions] & 0xC0) != 0x80)  # continuation bytes are 0b10xxxxxx
    return np.add.reduceat(losses.nats, begins), np.diff(begins, append=len(losses))


def evaluate(
    model: Model,
    text: str | bytes | CorpusPart,
    *,
    context: str | bytes = "",
    protocol: str = "stateful",
    precision: str = "auto",
    max_chars: int | None = None,
) -> LossReport:
    """Measure the mean loss of `model` over `text`: `stateful` (read after `context`), `windowed-256` or `dynamic`.

    A long text is read in up to 32 lanes, each warmed up on the 512 characters before it. With `max_chars`, `stateful`
    reads a longer text in segments that are spread evenly over it, as many as have `max_chars` characters in all, and
    `dynamic` the first `max_chars` characters. Without context the first character is not scored: nothing predicts it.
    `num_chars` counts what was scored. A part of a corpus (`Model.held_out`) contains its context, and its length
    needs no memory. Raises DataError for a text too short, UsageError for an unknown protocol or precision, a
    `max_chars` under 1, or a part in another alphabet.
    """
    from charrnn.evaluation.losses import report_loss

    measured = _measured_text(model, text, context)
    if protocol == "dynamic":
        from charrnn.lab.dynamic import dynamic_report

        measured.check_stateful(max_chars)
        scale = model.gradient_scale(text if isinstance(text, CorpusPart) else None)
        return dynamic_report(model.network, measured, scale, max_chars=max_chars)
    return report_loss(model.network, measured, protocol=protocol, precision=precision, max_chars=max_chars)


def evaluate_runs(
    models: Sequence[Model],
    text: str | bytes | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | Auto | None = "auto",
    by: Collection[str] = (),
    ngrams: Sequence[int] = (),
    dynamic: bool = False,
    mixtures: "Sequence[Mixture]" = (),
    on_progress: Callable[[int], object] = lambda num_chars: None,
    on_total: Callable[[int], object] = lambda num_chars: None,
) -> Evaluation:
    """Measure the losses of one or several models over a text, by both protocols, with paired differences to the first.

    The text is that `part` of the runs' own text or, in place of it, `text`, read after `context`. The losses of up to
    `max_chars` characters are kept, 12 bytes each; of a longer text, segments are scored as by `evaluate`. `auto` means
    MAX_SCORED, None a text of any length. `on_total` is called once with the number of characters that will be read,
    which with `dynamic` is an estimate, then `on_progress` with the number of those read since its last call.

    `by` adds breakdowns of the loss of each run: by `class` of character, by `position` since the initial state.
    `ngrams` are orders of n-gram models that are counted in the training text of the first run (`ngrams.ORDERS`): each
    has a row, and so have general compressors. They need that text, else DataError is raised.

    With `dynamic`, each run has a row of dynamic evaluation, which scores the first `max_chars` characters (`auto`:
    131,072), and one of its stateful losses at a fitted temperature. Their differences are to the
    stateful losses of the same run. The temperature is fitted to the validation text, if `part` is `test`, and else to
    the half of the text on which it is not scored.

    Each of `mixtures` (`charrnn.mix`) has rows after those of the runs, by both protocols. The held-out texts of its
    models must be those of the runs.

    Raises UsageError for no model, for one that is named twice, for runs whose own texts or alphabets differ and for an
    unknown `by`; DataError for a text too short, or with characters that are unknown to some of several alphabets.
    """
    from charrnn.evaluation.comparison import LossTable, check_comparable
    from charrnn.evaluation.workload import num_read_for_baselines, num_read_for_dynamic, num_read_for_losses
    from charrnn.lab.dynamic import MAX_DYNAMIC
    from charrnn.lab.ngrams import add_compressors, add_ngrams

    _check_breakdowns(by)
    max_dynamic = MAX_DYNAMIC if max_chars == "auto" else max_chars
    max_chars = MAX_SCORED if max_chars == "auto" else max_chars
    contents = _contents(models, text, part)
    runs = _measured_runs(models, contents, context, max_chars)
    num_runs = len(runs)
    runs += _measured_mixtures(mixtures, models, contents, part, context)
    check_comparable(runs, max_chars)
    table = LossTable(runs[0].text, None if text is not None else part)
    training = _training_text(models[0], contents[0]) if ngrams else None
    total = num_read_for_losses(runs, by=by, max_chars=max_chars)
    if dynamic:
        has_halves = part != "test"
        total += num_read_for_dynamic(
            runs[:num_runs], max_chars=max_chars, max_dynamic=max_dynamic, has_halves=has_halves
        )
    if training is not None:
        total += num_read_for_baselines(runs[0].text, training, ngrams, max_chars=max_chars)
    on_total(total)
    static = _add_losses(table, runs, by, precision, max_chars, on_progress)
    if dynamic:
        for model, run, content, losses in zip(models, runs, contents, static, strict=False):  # runs without mixtures
            _add_adapted(table, model, run, content, losses, precision, max_chars, max_dynamic, on_progress)
        if len(runs) > 1:  # the other differences of the table are to the first run
            table.notes.append("The differences of dynamic and temperature are to the stateful loss of the same run.")
    if training is not None:
        add_ngrams(table, training, ngrams, on_progress=on_progress)
        add_compressors(table, training, contents[0], on_progress=on_progress)
    for mixture in mixtures:
        table.notes += mixture.notes
    table.notes += _notes(models[0], runs[0].text, table, max_chars)
    return table.evaluation()


def _check_breakdowns(by: Collection[str]) -> None:
    for word in by:
        if word not in BREAKDOWNS:
            raise UsageError(f"{named('by')} is {word!r}; use {' or '.join(BREAKDOWNS)}.")


def _add_losses(
    table: "LossTable",
    runs: "Sequence[MeasuredRun]",
    by: Collection[str],
    precision: str,
    max_chars: int | None,
    on_progress: Callable[[int], object],
) -> "list[CharLosses]":
    """Add the rows of all runs by both protocols, and their breakdowns. Return the stateful losses."""
    static = []
    for run in runs:
        losses = table.add_run(run, precision=precision, max_chars=max_chars, on_progress=on_progress)
        static.append(losses)
        if "class" in by:
            table.add_by_class(run, losses)
        if "position" in by:
            table.add_by_position(run, precision=precision, on_progress=on_progress)
    for run in runs:
        table.add_windowed(run, precision=precision, on_progress=on_progress)
    return static


def _add_adapted(
    table: "LossTable",
    model: Model,
    run: "MeasuredRun",
    content: str | bytes | CorpusPart,
    static: "CharLosses",
    precision: str,
    max_chars: int | None,
    max_dynamic: int | None,
    on_progress: Callable[[int], object],
) -> None:
    """Add the rows of a run that is adapted to the text: by dynamic evaluation, and by a temperature."""
    from charrnn.lab.dynamic import add_dynamic, add_temperature

    part, validation = content if isinstance(content, CorpusPart) else None, None
    if part is not None and table.part == "test":
        held_out = split_text(part.corpus.ids, model.config)[1]
        validation = part.corpus.ids[: held_out.stop], held_out.start
    scale = model.gradient_scale(part)
    add_dynamic(table, run, scale, max_chars=max_dynamic, on_progress=on_progress)
    add_temperature(table, run, static, validation, precision=precision, max_chars=max_chars, on_progress=on_progress)


def losses_by_line(
    models: Sequence[Model],
    text: str | bytes | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
    on_progress: Callable[[int], object] = lambda num_chars: None,
    on_total: Callable[[int], object] = lambda num_chars: None,
) -> Iterator[LineLoss]:
    """Yield the loss of each line of a text by the stateful protocol, in the order of the text.

    The arguments and errors are those of `evaluate_runs`; the text is decoded block by block. Lines that are cut by the
    ends of segments are left out. Raises UsageError also for models of characters and of bytes together.
    """
    return score_text(
        models,
        text,
        part=part,
        context=context,
        precision=precision,
        max_chars=max_chars,
        on_progress=on_progress,
        on_total=on_total,
    ).iter_lines()


def losses_by_char(
    models: Sequence[Model],
    text: str | bytes | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
    on_progress: Callable[[int], object] = lambda num_chars: None,
    on_total: Callable[[int], object] = lambda num_chars: None,
) -> Iterator[CharLoss]:
    """Yield the loss of each scored character of a text (byte, with the byte alphabet), as `losses_by_line`."""
    return score_text(
        models,
        text,
        part=part,
        context=context,
        precision=precision,
        max_chars=max_chars,
        on_progress=on_progress,
        on_total=on_total,
    ).iter_chars()


def score_text(
    models: Sequence[Model],
    text: str | bytes | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
    on_progress: Callable[[int], object] = lambda num_chars: None,
    on_total: Callable[[int], object] = lambda num_chars: None,
) -> "ScoredText":
    """Measure the losses of `losses_by_line` and `losses_by_char`; arguments and errors are theirs."""
    from charrnn.evaluation.comparison import check_comparable
    from charrnn.evaluation.lines import ScoredText
    from charrnn.evaluation.losses import char_losses
    from charrnn.evaluation.workload import num_scored

    contents = _contents(models, text, part)
    if len({model.vocab.kind for model in models}) > 1:
        raise UsageError("Some of the runs read characters and some bytes: their lines cannot be listed side by side.")
    runs = _measured_runs(models, contents, context, max_chars)
    check_comparable(runs, max_chars, needs_interval=False)
    on_total(sum(num_scored(run.text, max_chars) for run in runs))
    content = contents[0]
    if isinstance(content, str) and models[0].vocab.kind == "byte":
        content = content.encode("utf-8", "surrogatepass")
    return ScoredText(
        content=lambda begin, end: content[begin:end],
        num_chars=runs[0].text.num_chars,
        first=runs[0].text.first,
        losses=[
            char_losses(
                run.network,
                run.text.ids,
                run.text.first_scored,
                precision=precision,
                max_chars=max_chars,
                on_progress=on_progress,
            )
            for run in runs
        ],
        ends=("\n",) if models[0].config.end_id is None else ("\n", END),
    )


def _training_text(model: Model, content: str | bytes | CorpusPart) -> CorpusPart:
    """Return the training text for n-grams and compressors. Raises DataError if it is missing or changed."""
    part = content if isinstance(content, CorpusPart) else None
    return model.training_text(part, instead=f" or leave {named('ngrams')} out")


def evaluate_ngrams(
    model: Model,
    text: str | bytes | CorpusPart,
    *,
    context: str | bytes = "",
    orders: Sequence[int] = ORDERS,
    max_chars: int | None = MAX_SCORED,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> tuple[LossReport, ...]:
    """Measure the mean loss of n-gram models over `text`, read after `context`: one report for each of `orders`.

    The n-grams are counted in the training text of `model`, in its alphabet (`Model.ngram_model`). The characters that
    are scored are those of `evaluate`. Orders longer than the training text are left out. Raises UsageError for an
    order out of range or a `max_chars` under 1, DataError for a text too short, and as `Model.training_text`.
    """
    from charrnn.lab.ngrams import count_ngrams, report_ngrams, usable_orders

    measured = _measured_text(model, text, context)
    measured.check_stateful(max_chars)
    training = model.training_text(text if isinstance(text, CorpusPart) else None)
    chosen = usable_orders(orders, training)
    ngrams = count_ngrams(training, chosen[-1], on_progress=on_progress)
    return report_ngrams(ngrams, measured, chosen, max_chars=max_chars, on_progress=on_progress)


def error_kinds(
    models: Sequence[Model],
    text: str | bytes | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
    on_progress: Callable[[int], object] = lambda num_chars: None,
    on_total: Callable[[int], object] = lambda num_chars: None,
) -> ErrorReport:
    """Attribute the errors of one or several models to what would have avoided them, and count what the others fix.

    An error is a character with a probability below 0.5; `charrnn.lab.error_kinds` says what the kinds are. The
    text is that of `evaluate_runs`, the training text is that of the first run, which is read again. `on_total` is
    called once with the number of characters that all models will read, then `on_progress` with the number of those
    read since its last call. Raises as `evaluate_runs`, also
    UsageError for models with different alphabets, and DataError if the training text is missing or changed.
    """
    from charrnn.evaluation.workload import num_read_for_errors
    from charrnn.lab.error_kinds import report_errors

    contents = _contents(models, text, part)
    runs = _measured_runs(models, contents, context, max_chars)
    training = _training_ids(models[0], contents[0])
    on_total(num_read_for_errors(runs, len(training), max_chars=max_chars))
    return report_errors(runs, training, precision=precision, max_chars=max_chars, on_progress=on_progress)


def long_range(
    models: Sequence[Model],
    text: str | bytes | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
    on_progress: Callable[[int], object] = lambda num_chars: None,
    on_total: Callable[[int], object] = lambda num_chars: None,
) -> LongRangeReport:
    """Measure how far back predictions reach: closing characters by distance, and the loss with the state reset.

    The probability of each closing bracket or quotation mark is averaged by the distance to the opening one and
    compared with n-grams of the training text of the first run. The loss is measured with a reset every 2, 4, … 1,024
    characters and without. Arguments and errors are those of `error_kinds`.
    """
    from charrnn.evaluation.workload import num_read_for_long_range
    from charrnn.lab.long_range import report_long_range

    contents = _contents(models, text, part)
    runs = _measured_runs(models, contents, context, max_chars)
    training = _training_ids(models[0], contents[0])
    on_total(num_read_for_long_range(runs, len(training), max_chars=max_chars))
    return report_long_range(runs, training, precision=precision, max_chars=max_chars, on_progress=on_progress)


def _measured_runs(
    models: Sequence[Model],
    contents: Sequence[str | bytes | CorpusPart],
    context: str | bytes,
    max_chars: int | None,
) -> "list[MeasuredRun]":
    """Return the models with their `contents` as each of them reads it. Raises as `evaluate_runs`."""
    from charrnn.evaluation.comparison import MeasuredRun

    runs = []
    for model, name, content in zip(models, distinct_names(models), contents, strict=True):
        measured = _measured_text(model, content, context)
        measured.check_stateful(max_chars)
        runs.append(MeasuredRun(name, model.step, model.vocab, model.network, measured))
    return runs


def _measured_mixtures(
    mixtures: "Sequence[Mixture]",
    models: Sequence[Model],
    contents: Sequence[str | bytes | CorpusPart],
    part: str,
    context: str | bytes,
) -> "list[MeasuredRun]":
    """Return the mixtures with the content of the first model as each of them reads it. Raises as `evaluate_runs`."""
    from charrnn.evaluation.comparison import MeasuredRun

    first, content = models[0], contents[0]
    runs = []
    for mixture in mixtures:
        for member in mixture.models:
            _check_same_documents(first, member)
            if isinstance(content, CorpusPart) and member not in models:
                _check_same_alphabet(first, member)
                _check_same_part(first, content, member, member.held_out(part))
        measured = _measured_text(mixture, content, context)
        runs.append(MeasuredRun(mixture.name, None, mixture.vocab, mixture.network, measured))
    return runs


def _training_ids(model: Model, content: str | bytes | CorpusPart) -> IdArray:
    """Return the ids of the training text of a model; `content` may be another part of the same corpus."""
    training = model.training_text(content if isinstance(content, CorpusPart) else None)
    return training.ids[training.begin :]


def _notes(model: Model, text: "MeasuredText", table: "LossTable", max_chars: int | None) -> list[str]:
    """Return what a reader must know of the figures."""
    notes: list[str] = []
    scored = table.rows[0].loss.num_chars
    if max_chars is not None and scored < text.num_chars - 1:
        notes.append(
            f"stateful: {scored:,} of {counted(text.num_chars, text.unit)} ({100 * scored / text.num_chars:.2g} %), in "
            "segments spread evenly over the text."
        )
    if table.part == "validation":
        how = "" if len(model.config.split) > 2 else f"train with {named('split', '80/10/10')} and "
        notes.append(
            Message(
                f"The checkpoint was chosen by its loss on the validation text. For a figure to quote, {how}give "
                f"{named('part', 'test')}."
            )
        )
    return notes


def _check_each_once(models: Sequence[Model]) -> None:
    if not models:
        raise UsageError("There is no model to evaluate: give at least one.")
    paths = [model.path for model in models if model.path is not None]
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"{path.name} is given twice: its difference to itself is 0.")
    for model in models[1:]:
        _check_same_documents(models[0], model)


def _check_same_documents(first: Model, other: Model) -> None:
    if other.config.documents != first.config.documents:
        raise UsageError(
            f"{first.name} and {other.name} divide a text into documents in different ways "
            f"({first.config.documents}, {other.config.documents}): their losses cannot be compared."
        )


def distinct_names(models: Sequence[Model]) -> list[str]:
    """Return the names of models, with the name of the folder above where two are the same."""
    names = [model.name for model in models]
    return [
        f"{model.path.parent.name}/{model.name}" if names.count(model.name) > 1 and model.path else model.name
        for model in models
    ]


def _contents(models: Sequence[Model], text: str | bytes | None, part: str) -> Sequence[str | bytes | CorpusPart]:
    """Return the text for each model: the given one, or its own held-out one, which must be the same for all."""
    _check_each_once(models)
    if text is not None:
        return [text] * len(models)
    parts = [model.held_out(part) for model in models]
    for model, own in zip(models[1:], parts[1:], strict=True):
        _check_same_part(models[0], parts[0], model, own)
    return parts


def _check_same_part(first: Model, part: CorpusPart, other: Model, other_part: CorpusPart) -> None:
    """Raise UsageError unless two models are measured on the same characters in the same alphabet."""
    _check_same_alphabet(first, other)
    if not part.has_same_ids(other_part):
        raise UsageError(
            f"The held-out texts of {first.name} and {other.name} differ: they were trained on other texts or with "
            f"another {named('split')}.\nCompare them on {named('text')}, a file on which neither was trained."
        )


def _check_same_alphabet(first: Model, other: Model) -> None:
    if other.vocab != first.vocab:
        raise UsageError(
            f"{first.name} and {other.name} have different alphabets ({_difference(first.vocab, other.vocab)}).\n"
            f"Compare them on {named('text')}, a file that both can read and on which neither was trained."
        )


def _difference(first: Vocab, other: Vocab) -> str:
    """Return how two alphabets differ, in words."""
    size = _size(first)
    if _size(other) != size:
        return f"{size}; {_size(other)}"
    if first.has_unknown_symbol != other.has_unknown_symbol:
        with_first, with_other = ("with" if vocab.has_unknown_symbol else "without" for vocab in (first, other))
        return f"{size} {with_first} an unknown symbol; {size} {with_other} one"
    only_first = set(first.characters) - set(other.characters)
    if not only_first:
        return f"the same {size} in another order"
    return f"{size} with {min(only_first)!r}; {size} with {min(set(other.characters) - set(first.characters))!r}"


def _size(vocab: Vocab) -> str:
    return "256 bytes" if vocab.kind == "byte" else f"{len(vocab) - vocab.has_unknown_symbol:,} characters"


def _measured_text(model: "Model | Mixture", text: str | bytes | CorpusPart, context: str | bytes) -> "MeasuredText":
    from charrnn.evaluation.losses import MeasuredText

    unit = "byte" if model.vocab.kind == "byte" else "character"
    if isinstance(text, CorpusPart):
        if context:
            raise UsageError("A part of a corpus contains its context: leave the context out.")
        if text.corpus.vocab != model.vocab:
            raise UsageError(f"The text was encoded for another alphabet than that of {model.name}: read it again.")
        return MeasuredText(text.ids, text.begin, num_bytes=text.num_bytes, num_unknown=text.num_unknown, unit=unit)
    num_bytes = len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else len(text)
    encoded = model.encode(text, context=context)
    num_unknown = model.vocab.num_unknown(encoded.ids[encoded.first :])
    return MeasuredText(encoded.ids, encoded.first, num_bytes=num_bytes, num_unknown=num_unknown, unit=unit)
