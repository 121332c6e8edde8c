"""Measure the losses of one or several models over the same text, and compare them: the verb
`evaluate`.

A row of an evaluation is a predictor under a protocol. The core has runs and mixtures of runs by
both protocols of `evaluation.losses`; rooms add further predictors by `ExtraRows`, and other
measurements of the same models by `Report`.

Shapes: M scored characters, K blocks.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from charrnn.config.settings import Auto, Config
from charrnn.errors import DataError, Message, UsageError, counted, named
from charrnn.evaluation import loss_reports as records
from charrnn.evaluation.loss_reports import Difference, LossReport
from charrnn.evaluation.losses import (
    STATEFUL,
    WINDOWED,
    CharLosses,
    MeasuredText,
    block_difference,
    char_losses,
    paired_difference,
    stateful_block_sums,
    windowed_block_sums,
)
from charrnn.hooks.extensions import offered
from charrnn.model.annotations import Predictor
from charrnn.model.device import chosen_precision
from charrnn.model.reading import segments_of
from charrnn.statistics.intervals import MIN_VALUES, BlockSums, num_blocks_of
from charrnn.text.corpus import CorpusPart, RecordedCorpus, utf8_sizes
from charrnn.text.vocab import EncodedText, Vocab, as_bytes, code_points

NUM_UNICODE = 0x110000 - 0x800
"""Characters of Unicode: the code points that are no surrogates."""
Content = str | bytes | CorpusPart
"""A text, or a part of the corpus of a run."""


class MeasuredModel(Protocol):
    """A model or a mixture of models, as far as its losses are measured."""

    name: str
    config: Config
    vocab: Vocab

    @property
    def network(self) -> Predictor:
        """The predictions as a torch module."""

    def encode(self, text: str | bytes, *, context: str | bytes = "") -> EncodedText:
        """Encode a text and the context before it."""


class ComparedModel(MeasuredModel, Protocol):
    """A model of a run (`api.Model`)."""

    path: Any
    step: int
    recorded_corpus: RecordedCorpus | None

    def held_out(self, part: str = "validation") -> CorpusPart:
        """Return the validation or test text of the run."""

    def training_text(self, part: CorpusPart | None = None, *, instead: str = "") -> CorpusPart:
        """Return the training text of the run."""


class MixedModels(MeasuredModel, Protocol):
    """A mixture of models (`charrnn.mix`)."""

    @property
    def models(self) -> Sequence[ComparedModel]:
        """The models that are mixed."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of figures of this mixture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtraRows:
    """Rows of further predictors, or other parts of an evaluation: a parameter of `evaluate_runs`,
    and an option."""

    name: str
    """The parameter; the option is spelled with hyphens."""
    help: str = ""
    """Empty if the command itself declares the option."""
    value: Any = None
    """The value of the parameter that the option stands for; None: the value of the option."""
    prepare: Callable[[Comparison, Any], Callable[[], None]]
    """Check a comparison and the value of the parameter, and return a function that adds the rows.
    Called before anything is measured."""
    report: Callable[..., LossReport] | None = None
    """Called with a model, a text as it was given and as the model reads it, and the number of
    characters to score at most: measures the loss by the protocol `name` of `evaluate`."""


@dataclass(frozen=True, slots=True)
class Report:
    """A measurement that `charrnn evaluate` prints in place of the losses."""

    name: str
    """Its key in JSON; the option is spelled with hyphens."""
    help: str
    measure: Callable[..., Any]
    """Called with models, a text or None, and `part`, `precision` and `max_chars`; returns a
    dataclass with a view."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Losses of the parts of a text, which `charrnn evaluate` prints one by one in place of the
    means."""

    name: str
    """The option, which is spelled with hyphens."""
    help: str
    show: Callable[..., None]
    """Called with models, a text or None, and `as_json`, `quiet`, `part`, `precision` and
    `max_chars`; prints them."""


def evaluate(
    model: ComparedModel,
    text: Content,
    *,
    context: str | bytes = "",
    protocol: str = STATEFUL,
    precision: str = "auto",
    max_chars: int | None = None,
) -> LossReport:
    """Measure the mean loss of `model` over `text`: `stateful` (read after `context`),
    `windowed-256` or `dynamic`.

    A long text is read in up to 32 batch rows, each warmed up on the 512 characters before it. With
    `max_chars`, `stateful` reads a longer text in segments that are spread evenly over it, as many
    as have `max_chars` characters in all, and `dynamic` the first `max_chars` characters. Without
    context the first character is not scored: nothing predicts it. `num_chars` counts what was
    scored. A part of a corpus (`Model.held_out`) contains its context, and its length needs no
    memory. Raises DataError for a text too short, UsageError for an unknown protocol or precision,
    a `max_chars` under 1, or a part in another alphabet.
    """
    measured = measured_text(model, text, context)
    if protocol == WINDOWED:
        if (reason := measured.why_not_windowed()) is not None:
            raise DataError(f"{WINDOWED} cannot be measured: {reason}.")
        blocks = windowed_block_sums(
            model.network, measured.ids[measured.first :], precision=precision
        )
    else:
        others = (
            {}
            if protocol == STATEFUL
            else {rows.name: rows.report for rows in offered(ExtraRows) if rows.report}
        )
        if protocol not in (STATEFUL, *others):
            raise UsageError(
                f"There is no protocol {protocol!r}; use {STATEFUL}, {WINDOWED} or"
                f" {' or '.join(others)}."
            )
        measured.check_stateful(max_chars)
        if protocol in others:
            return others[protocol](model, text, measured, max_chars)
        ids, first = measured.ids, measured.first_scored
        blocks = stateful_block_sums(
            model.network, ids, first, precision=precision, max_chars=max_chars
        )
    return measured.report(
        blocks, protocol=protocol, precision=chosen_precision(model.network.device, precision)
    )


def evaluate_runs(
    models: Sequence[ComparedModel],
    text: str | bytes | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | Auto | None = "auto",
    mixtures: Sequence[MixedModels] = (),
    **extra_rows: Any,
) -> records.Evaluation:
    """Measure the losses of one or several models over a text, by both protocols, with paired
    differences to the first.

    The text is that `part` of the runs' own text or, in place of it, `text`, read after `context`.
    The losses of up to `max_chars` characters are kept, 12 bytes each; of a longer text, segments
    are scored as by `evaluate`. `auto` means MAX_SCORED, None a text of any length.

    `extra_rows` are rows of further predictors and other parts of an evaluation (`ExtraRows`). `by`
    adds breakdowns of the loss of each run: by `class` of character, by `position` since the
    initial state. `ngrams` are orders of n-gram models that are counted in the training text of the
    first run (`ngrams.ORDERS`): each has a row. They need that text, else DataError is raised. With
    `dynamic=True`, each run has a row of dynamic evaluation, which scores the first `max_chars`
    characters (`auto`: 131,072). Its difference is to the stateful loss of the same run.

    Each of `mixtures` (`charrnn.mix`) has rows after those of the runs, by both protocols. The
    held-out texts of its models must be those of the runs.

    Of runs with different alphabets, one that does not know all characters of a `text` is charged
    for saying which they are (`Comparison.count_escapes`), but not beside mixtures and
    `extra_rows`.

    Raises UsageError for no model, for one that is named twice, for runs whose own texts or
    alphabets differ and for an unknown `by`; DataError for a text too short, or with unknown
    characters that are not charged for.
    """
    comparison = Comparison.of(
        models, text, part=part, context=context, precision=precision, max_chars=max_chars
    )
    comparison.add_mixtures(mixtures, context)
    has_runs_only = not mixtures and not any(extra_rows.values())
    check_comparable(comparison.runs, has_escapes=has_runs_only)
    if has_runs_only:
        comparison.count_escapes()
    asked = [(rows, extra_rows.pop(rows.name, None)) for rows in offered(ExtraRows)]
    prepared = [rows.prepare(comparison, value) for rows, value in asked if value]
    if extra_rows:
        raise TypeError(
            f"evaluate_runs() got an unexpected keyword argument {next(iter(extra_rows))!r}"
        )
    comparison.measure_runs()
    for add_rows in prepared:
        add_rows()
    for mixture in mixtures:
        comparison.notes += mixture.notes
    return comparison.evaluation()


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
    trained_share: float | None = None
    """As in `EvaluationRow`."""
    escape_nats: float = 0.0
    """What an unknown character costs beside the unknown symbol: to say which one it is."""


@dataclass(slots=True, kw_only=True)
class Comparison:
    """Models and the text that they are measured on, and the rows so far; the first row is that of
    the first run."""

    models: Sequence[ComparedModel]
    contents: Sequence[Content]
    """The text of each model."""
    runs: list[MeasuredRun]
    """The models as they read the text, and after them the mixtures."""
    part: str | None = None
    """`validation` or `test`; None for a text that is no part of a run's own."""
    common_bytes: tuple[int, int] | None = None
    """As in `Evaluation`."""
    precision: str = "auto"
    max_chars: int | None = None
    """Characters that are scored, at most."""
    has_limit: bool = True
    """Whether `max_chars` was asked for, and is not the default."""
    losses: list[CharLosses] = field(default_factory=list)
    """The stateful losses of each run. Every other predictor of the same characters is compared
    with the first ones."""
    rows: list[records.EvaluationRow] = field(default_factory=list)
    skipped: list[records.SkippedRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    breakdowns: list[records.LossBreakdown] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        models: Sequence[ComparedModel],
        text: str | bytes | None = None,
        *,
        part: str = "validation",
        context: str | bytes = "",
        precision: str = "auto",
        max_chars: int | Auto | None = records.MAX_SCORED,
    ) -> Comparison:
        """Read the text for each model. Arguments and errors are those of `evaluate_runs`."""
        limit = records.MAX_SCORED if max_chars == "auto" else max_chars
        contents, common_bytes = _contents(models, text, part)
        runs = []
        for model, name, content in zip(models, distinct_names(models), contents, strict=True):
            measured = measured_text(model, content, context)
            measured.check_stateful(limit)
            recorded = model.recorded_corpus
            share = None if text is None or recorded is None else recorded.trained_share(text)
            runs.append(MeasuredRun(name, model.step, model.vocab, model.network, measured, share))
        return cls(
            models=models,
            contents=contents,
            runs=runs,
            part=part if text is None else None,
            common_bytes=common_bytes,
            precision=precision,
            max_chars=limit,
            has_limit=max_chars != "auto",
        )

    def add_mixtures(self, mixtures: Sequence[MixedModels], context: str | bytes) -> None:
        """Add mixtures, which read the text of the first model. Raises as `evaluate_runs`."""
        first, content = self.models[0], self.contents[0]
        for mixture in mixtures:
            for member in mixture.models:
                _check_same_documents(first, member)
                if isinstance(content, CorpusPart) and member not in self.models:
                    _check_same_alphabet(first, member)
                    _check_same_part(first, content, member, member.held_out(self.part or ""))
            measured = measured_text(mixture, content, context)
            self.runs.append(
                MeasuredRun(mixture.name, None, mixture.vocab, mixture.network, measured)
            )

    def count_escapes(self) -> None:
        """Make the losses of runs with different alphabets code lengths of the same text.

        A run that reads characters as its unknown symbol is charged ln N for each, to say which of
        the N characters of Unicode outside its alphabet it is.
        """
        for place, run in enumerate(self.runs):
            if run.text.num_unknown and any(other.vocab != run.vocab for other in self.runs):
                escape_nats = math.log(NUM_UNICODE - (len(run.vocab) - 1))
                self.runs[place] = replace(run, escape_nats=escape_nats)
                what = counted(run.text.num_unknown, "character")
                self.notes.append(
                    f"{run.name} does not know {what} of this text, each of which costs"
                    f" {escape_nats:.2f} nats beside the unknown symbol, to say which one it is."
                )

    def losses_of(self, run: MeasuredRun) -> CharLosses:
        """Measure the stateful losses of a run."""
        ids, first = run.text.ids, run.text.first_scored
        losses = char_losses(
            run.network, ids, first, precision=self.precision, max_chars=self.max_chars
        )
        if run.escape_nats:
            losses.nats[ids[losses.positions] == 0] += np.float32(run.escape_nats)
        return losses

    def training_text(self, instead: str = "") -> CorpusPart:
        """Return the training text of the first model; `instead` and the errors are those of
        `Model.training_text`."""
        content = self.contents[0]
        return self.models[0].training_text(
            content if isinstance(content, CorpusPart) else None, instead=instead
        )

    def add(
        self,
        loss: LossReport,
        *,
        name: str,
        step: int | None = None,
        **differences: Difference | None,
    ) -> None:
        """Add the row of a predictor; `differences` are the fields `difference` and
        `byte_difference` of the row."""
        share = next(
            (run.trained_share for run in self.runs if (run.name, run.step) == (name, step)), None
        )
        self.rows.append(
            records.EvaluationRow(
                name=name, step=step, loss=loss, trained_share=share, **differences
            )
        )

    def measure_runs(self) -> None:
        """Add the rows of all runs by both protocols."""
        for run in self.runs:
            losses = self.losses_of(run)
            self.losses.append(losses)
            # None for the first run itself, and if one of the two reads bytes.
            is_paired = run is not self.runs[0] and run.text.unit == self.runs[0].text.unit
            difference = paired_difference(losses, self.losses[0]) if is_paired else None
            of_bytes = self._byte_difference(run, losses)
            self._add_run(
                run, STATEFUL, losses.blocks, difference=difference, byte_difference=of_bytes
            )
        first: tuple[MeasuredRun, BlockSums] | None = None
        for run in self.runs:
            if (reason := run.text.why_not_windowed()) is not None:
                self.skipped.append(records.SkippedRow(protocol=WINDOWED, reason=reason))
                continue
            ids = run.text.ids[run.text.first :]
            blocks = windowed_block_sums(
                run.network, ids, precision=self.precision, escape_nats=run.escape_nats
            )
            # Windows of characters and of bytes are not the same ones.
            difference = (
                block_difference(blocks, first[1])
                if first and first[0].text.unit == run.text.unit
                else None
            )
            self._add_run(run, WINDOWED, blocks, difference=difference)
            first = first or (run, blocks)

    def _add_run(
        self, run: MeasuredRun, protocol: str, blocks: BlockSums, **differences: Difference | None
    ) -> None:
        precision = chosen_precision(run.network.device, self.precision)
        loss = run.text.report(blocks, protocol=protocol, precision=precision)
        self.add(loss, name=run.name, step=run.step, **differences)

    def _byte_difference(self, run: MeasuredRun, losses: CharLosses) -> Difference | None:
        """Return the difference to the first run in bits per byte, from blocks of the same bytes.

        None unless one of the two reads characters and the other bytes, and for segments of a
        longer text, which are not the same.
        """
        pair = ((self.runs[0], self.losses[0]), (run, losses))
        is_whole = all(
            len(scored) == len(one.text.ids) - one.text.first_scored for one, scored in pair
        )
        if run.text.unit == self.runs[0].text.unit or not is_whole:
            return None
        units = [one.text.unit for one in self.runs]
        content = self.contents[units.index("character")][:]
        assert isinstance(content, str)
        sizes = utf8_sizes(code_points(content))
        starts, num_bytes = np.cumsum(sizes) - sizes, int(sizes.sum())
        num_blocks, num_skipped = (
            num_blocks_of(num_bytes),
            int(sizes[0]) if run.text.first == 0 else 0,
        )
        counts = np.diff(-(-np.arange(num_blocks + 1) * num_bytes // num_blocks)).astype(np.float64)
        counts[0] -= num_skipped
        found = []
        for one, scored in pair:
            places = scored.positions - one.text.first
            places = places if one.text.unit == "byte" else starts[places]
            of_both = places >= num_skipped
            blocks, nats = places[of_both] * num_blocks // num_bytes, scored.nats[of_both]
            bits = np.bincount(blocks, nats / math.log(2), num_blocks).astype(np.float64)
            found.append(BlockSums(bits, counts))
        return block_difference(found[1], found[0])

    def evaluation(self) -> records.Evaluation:
        """Return the record of all rows and breakdowns, with what a reader must know of the
        figures."""
        text, scored = self.runs[0].text, self.rows[0].loss.num_chars
        notes = [*self.notes]
        for run in self.runs:
            if run.trained_share is not None:
                share = f"{100 * run.trained_share:.0f} % of this text"
                notes.append(
                    Message(
                        f"{run.name} was trained on {share}. Leave {named('text')} out for the loss"
                        " of the rest."
                    )
                )
        if other := next((run for run in self.runs if run.text.unit != text.unit), None):
            notes.append(
                f"{self.runs[0].name} reads {text.unit}s and {other.name} {other.text.unit}s:"
                " compare bits/byte."
            )
        if any(row.byte_difference is not None for row in self.rows):
            notes.append(
                "A difference between characters and bytes is in bits/byte; windows, which differ,"
                " have none."
            )
        if self.max_chars is not None and scored < text.num_chars - 1:
            is_one = segments_of(self.max_chars)[0] == 1
            notes.append(
                f"stateful: {scored:,} of {counted(text.num_chars, text.unit)}"
                f" ({100 * scored / text.num_chars:.2g} %),"
                f" {'from its beginning' if is_one else 'in segments spread evenly over the text'}."
            )
        if self.part == "validation":
            split = (
                ""
                if len(self.models[0].config.split) > 2
                else f"train with {named('split', '80/10/10')} and "
            )
            notes.append(
                Message(
                    "The checkpoint was chosen by its loss on the validation text. For a figure to"
                    f" quote, {split}give {named('part', 'test')}."
                )
            )
        return records.Evaluation(
            rows=tuple(self.rows),
            part=self.part,
            common_bytes=self.common_bytes,
            skipped=tuple(self.skipped),
            notes=tuple(notes),
            breakdowns=tuple(self.breakdowns),
        )


def measured_text(model: MeasuredModel, text: Content, context: str | bytes) -> MeasuredText:
    """Return a text as a model reads it. Raises UsageError for a part with a context or in another
    alphabet."""
    unit = "byte" if model.vocab.kind == "byte" else "character"
    if isinstance(text, CorpusPart):
        if context:
            raise UsageError("A part of a corpus contains its context: leave the context out.")
        if text.corpus.vocab != model.vocab:
            raise UsageError(
                f"The text was encoded for another alphabet than that of {model.name}: read it"
                " again."
            )
        return MeasuredText(
            text.ids, text.begin, num_bytes=text.num_bytes, num_unknown=text.num_unknown, unit=unit
        )
    num_bytes = len(as_bytes(text))
    encoded = model.encode(text, context=context)
    num_unknown = model.vocab.num_unknown(encoded.ids[encoded.first :])
    return MeasuredText(
        encoded.ids, encoded.first, num_bytes=num_bytes, num_unknown=num_unknown, unit=unit
    )


def distinct_names(models: Sequence[ComparedModel]) -> list[str]:
    """Return the names of models: of equal ones, each with the folder above, or with the step
    (`run@100`), or a number.

    The first of these forms in which they differ is taken.
    """
    forms: tuple[Callable[[ComparedModel], str], ...] = (
        lambda model: model.name,
        lambda model: f"{model.path.parent.name}/{model.name}" if model.path else model.name,
        lambda model: f"{model.name}@{model.step}",
    )
    names = []
    for model in models:
        same = [other for other in models if other.name == model.name]
        names.append(
            next((form for form in forms if len({*map(form, same)}) == len(same)), forms[-1])(model)
        )
    num_before = [names[:place].count(name) for place, name in enumerate(names)]
    return [
        f"{name} ({num + 1})" if num else name for name, num in zip(names, num_before, strict=True)
    ]


def _contents(
    models: Sequence[ComparedModel], text: str | bytes | None, part: str
) -> tuple[Sequence[Content], tuple[int, int] | None]:
    """Return the text for each model: the given one, or its own held-out one, which must be the
    same for all.

    Of one text in several alphabets, the bytes that are in the part of every model, with their
    range.
    """
    if not models:
        raise UsageError("There is no model to evaluate: give at least one.")
    checkpoints = [(model.path, model.step) for model in models if model.path is not None]
    for path, step in checkpoints:
        if checkpoints.count((path, step)) > 1:
            raise UsageError(f"{path.name} is given twice: its difference to itself is 0.")
    for model in models[1:]:
        _check_same_documents(models[0], model)
    if text is not None:
        return [text] * len(models), None
    parts = [model.held_out(part) for model in models]
    texts = {own.corpus.digest for own in parts}
    if (
        len({model.vocab.kind for model in models}) > len(texts) == 1
        and models[0].config.documents == "none"
    ):
        return _common_parts(parts)
    for model, own in zip(models[1:], parts[1:], strict=True):
        _check_same_part(models[0], parts[0], model, own)
    return parts, None


def _common_parts(parts: Sequence[CorpusPart]) -> tuple[Sequence[CorpusPart], tuple[int, int]]:
    """Return what several parts of one text, some in bytes and some in characters, have in common,
    and its bytes."""
    begin = max(part.corpus.num_bytes(0, part.begin) for part in parts)
    end = min(part.corpus.num_bytes(0, part.end) for part in parts)
    chars = next(part for part in parts if part.corpus.vocab.kind != "byte")
    before = chars.corpus.num_bytes(0, chars.begin)
    places = range(chars.begin, chars.end + 1)
    sizes = partial(chars.corpus.num_bytes, chars.begin)
    first = chars.begin + bisect_left(places, begin - before, key=sizes)
    last = chars.begin + bisect_right(places, end - before, key=sizes) - 1
    if first >= last:
        raise UsageError(
            "The held-out texts of these runs have nothing in common. Compare them on"
            f" {named('text')}."
        )
    begin, end = (chars.corpus.num_bytes(0, place) for place in (first, last))
    ranges = {"byte": (begin, end), "char": (first, last)}
    return [CorpusPart(part.corpus, *ranges[part.corpus.vocab.kind]) for part in parts], (
        begin,
        end,
    )


def _check_same_documents(first: ComparedModel, other: ComparedModel) -> None:
    if other.config.documents != first.config.documents:
        raise UsageError(
            f"{first.name} and {other.name} divide a text into documents in different ways"
            f" ({first.config.documents}, {other.config.documents}): their losses cannot be"
            " compared. Evaluate each by itself."
        )


def _check_same_part(
    first: ComparedModel, part: CorpusPart, other: ComparedModel, other_part: CorpusPart
) -> None:
    """Raise UsageError unless two models are measured on the same characters in the same
    alphabet."""
    _check_same_alphabet(first, other)
    if not part.has_same_ids(other_part):
        raise UsageError(
            f"The held-out texts of {first.name} and {other.name} differ: they were trained on"
            f" other texts or with another {named('split')}.\nCompare them on {named('text')}, a"
            " file on which neither was trained."
        )


def _check_same_alphabet(first: ComparedModel, other: ComparedModel) -> None:
    if other.vocab != first.vocab:
        raise UsageError(
            f"{first.name} and {other.name} have different alphabets "
            f"({describe_alphabets(first.vocab, other.vocab)}).\n"
            f"Compare them on {named('text')}, a file on which neither was trained."
        )


def describe_alphabets(first: Vocab, other: Vocab) -> str:
    """Return how two alphabets differ, in words."""
    sizes = [
        (
            "256 bytes"
            if vocab.kind == "byte"
            else f"{len(vocab) - vocab.has_unknown_symbol:,} characters"
        )
        for vocab in (first, other)
    ]
    different = sorted(set(first.characters) ^ set(other.characters))
    if sizes[0] != sizes[1]:
        return f"{' and '.join(sizes)}, without the unknown symbol for rare ones"
    if not different:
        return f"{sizes[0]}, in another order"
    # The unknown symbol is the empty string, which sorts before all characters.
    name = repr(different[-1]) if different[-1] else "the unknown symbol"
    return f"{sizes[0]}, {name} in one of them only"


def check_comparable(
    runs: Sequence[MeasuredRun], *, needs_interval: bool = True, has_escapes: bool = False
) -> None:
    """Raise DataError, with the reason, if the losses of the runs over their texts cannot be
    compared.

    The texts must be the same for all of them; how each run reads it may differ. `has_escapes` says
    that which character an unknown one is has its price (`Comparison.count_escapes`).
    """
    first = runs[0]
    if needs_interval and len(runs) > 1 and first.text.num_chars - 1 < MIN_VALUES:
        raise DataError(
            f"The text has {counted(first.text.num_chars, first.text.unit)}; comparing runs needs"
            f" at least {MIN_VALUES + 1:,}, because the difference is nothing without its interval."
        )
    others = [run for run in runs[1:] if run.vocab != first.vocab and not has_escapes]
    for one, other in (pair for run in others for pair in ((first, run), (run, first))):
        if one.text.num_unknown:
            raise DataError(
                f"{one.name} does not know {counted(one.text.num_unknown, 'character')} of this"
                " text and reads them as one symbol, which is easier to predict.\nThese figures of"
                f" it cannot be compared with those of {other.name}, which has another alphabet:"
                " give a text that both know."
            )
