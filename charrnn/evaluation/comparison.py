"""Measure the losses of one or several models over the same text, and compare them: the verb
`evaluate`.

An evaluation is a table. Each row has the loss of one predictor, measured by one protocol. The
core adds the rows of runs and of mixtures of runs, measured by the protocol `stateful`. Plugins add
rows of further predictors and protocols with `ExtraRows`, and other measurements of the same models
with `Report`.

Shapes: M scored characters, K blocks.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.config.settings import Auto, Config, resolved
from charrnn.errors import DataError, Message, UsageError, check_length, counted, named
from charrnn.evaluation import loss_reports
from charrnn.evaluation.loss_reports import Difference, LossReport
from charrnn.evaluation.losses import (
    STATEFUL,
    WINDOWED,
    BlockScores,
    CharLosses,
    MeasuredText,
    block_difference,
    char_losses,
    paired_difference,
    stateful_scores,
    windowed_scores,
)
from charrnn.evaluation.seed_groups import SeedGroup, group_by_seed
from charrnn.hooks.manager import offered
from charrnn.hooks.specifications import evaluations
from charrnn.model.annotations import Predictor
from charrnn.model.device import BF16_UNITS, chosen_precision
from charrnn.model.reading import segments_of
from charrnn.statistics.intervals import MIN_VALUES, BlockSums
from charrnn.text.copies import LEAST_SHARE, trained_notes, trained_share
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText, TextPiece, ended, whole_text
from charrnn.text.recorded_corpus import RecordedCorpus
from charrnn.text.vocab import EncodedText, IdArray, Vocab, as_bytes

Content = str | bytes | CorpusPart
"""A text, or a part of the corpus of a run."""


class MeasuredModel(Protocol):
    """The attributes of a model, or of a mixture of models, with which its losses are measured."""

    name: str
    config: Config
    vocab: Vocab

    @property
    def network(self) -> Predictor:
        """The predictions as a torch module."""

    def encode(self, text: GivenText, *, context: str | bytes = "") -> EncodedText:
        """Encode a text and the context before it."""


class MixedModel(MeasuredModel, Protocol):
    """A model of a run (`api.Model`), alone or with the counts of its training text."""

    def held_out(self, part: str = "validation") -> CorpusPart:
        """Return the validation or test text of the run."""


class ComparedModel(MixedModel, Protocol):
    """A model of a run (`api.Model`)."""

    path: Any
    step: int
    recorded_corpus: RecordedCorpus | None

    @property
    def is_imported(self) -> bool:
        """Whether another program trained the model."""

    def training_text(self, part: CorpusPart | None = None, *, instead: str = "") -> CorpusPart:
        """Return the training text of the run."""


class MixedModels(MeasuredModel, Protocol):
    """A mixture of models (`charrnn.mix`)."""

    @property
    def models(self) -> Sequence[MixedModel]:
        """The models that are mixed."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of this mixture's figures must know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtraRows:
    """Rows of further predictors, or additional parts of an evaluation: a parameter of
    `evaluate_runs`, and an option."""

    name: str
    """The parameter; the option is spelled with hyphens."""
    help: str = ""
    """Empty if the command itself declares the option."""
    value: Any = True
    """The value of the parameter that the option stands for."""
    default: Any = None
    """The value of the parameter if it is not given."""
    prepare: Callable[[Comparison, Any], Callable[[], None]]
    """Check a comparison and the value of the parameter, and return a function that adds the rows.
    It is called before any loss is measured."""
    report: Callable[..., LossReport] | None = None
    """Function that measures a loss by the protocol `name` of `evaluate`. It is called with a
    model, the text as it was given, the text as the model reads it, and the largest number of
    characters to score."""


@dataclass(frozen=True, slots=True)
class Report:
    """A measurement that `charrnn evaluate` prints in place of the losses."""

    name: str
    """The key of the report in JSON; the option is spelled with hyphens."""
    help: str
    measure: Callable[..., Any]
    """Function that is called with models, a text or None, and `part`, `precision` and `max_chars`,
    and returns a dataclass with a view."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Losses of the parts of a text, which `charrnn evaluate` prints one by one in place of the
    means."""

    name: str
    """The option, which is spelled with hyphens."""
    help: str
    show: Callable[..., None]
    """Function that is called with models, a text or None, and `as_json`, `quiet`, `part`,
    `precision` and `max_chars`, and prints the losses."""


def evaluate(
    model: ComparedModel,
    text: GivenText | CorpusPart,
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
    context the first character is not scored, because nothing predicts it. An unknown character
    costs the nats of the unknown symbol, and further nats that tell which character it is
    (`Vocab.escape_nats`). `num_chars` is the number of characters that were scored. A part of a
    corpus (`Model.held_out`) contains its context, and its length needs no memory. Raises DataError
    for a text too short, UsageError for an unknown protocol or precision, a `max_chars` under 1, or
    a part in another alphabet.

    >>> model = charrnn.load("shakespeare")
    >>> charrnn.evaluate(model, "To be, or not to be").bpc
    """
    check_is_model(model)
    measured = measured_text(model, text, context=context)
    # The report has the precision that `auto` stands for.
    precision = precision_of(model, precision)

    # A protocol of a plugin makes its own report; the protocols of the core return sums by blocks.
    scores: BlockScores | None
    if protocol == WINDOWED:
        measured.check_windowed()
        ids = measured.ids[measured.first :]
        scores = windowed_scores(
            model.network, ids, precision=precision, escape_nats=measured.escape_nats
        )
    elif protocol == STATEFUL:
        measured.check_stateful(max_chars)
        scores = stateful_scores(
            model.network,
            measured.ids,
            first=measured.first_scored,
            precision=precision,
            max_chars=max_chars,
            escape_nats=measured.escape_nats,
        )
    else:
        report = _report_of_plugin(protocol)
        measured.check_stateful(max_chars)
        return report(model, text, measured, max_chars)

    assert scores is not None, "nothing stops it"
    return measured.report(scores, protocol=protocol, precision=precision)


def check_is_model(model: object) -> None:
    """Raise UsageError for the name of a run in place of its model."""
    if isinstance(model, str | os.PathLike):
        name = os.fspath(model)
        raise UsageError(f"{name!r} is no model: give charrnn.load({name!r}).")


def precision_of(model: MeasuredModel, precision: str) -> str:
    """Return the precision in which the losses of a model are computed. For `auto` this is the
    precision of its training, unless bf16 is slow on this processor or the model is small.

    bf16 changes the third decimal of a small model's loss. Raises UsageError as `chosen_precision`.
    """
    config = model.config
    num_units = resolved(config.hidden_size) // config.num_networks
    # For an imported model, a loss in bf16 could not be compared with the loss that the other
    # program computed in fp32.
    was_exact = config.precision in ("fp32", "fp16")
    if precision == "auto" and (was_exact or num_units < BF16_UNITS):
        return "fp32"
    return chosen_precision(model.network.device, precision)


def _report_of_plugin(protocol: str) -> Callable[..., LossReport]:
    """Return the function that measures a loss by a protocol of a plugin. Raises UsageError if no
    plugin has that protocol."""
    # Only extra rows with a `report` are protocols.
    names = []
    for rows in offered(evaluations, ExtraRows):
        if rows.report is not None:
            if rows.name == protocol:
                return rows.report
            names.append(rows.name)
    raise UsageError(
        f"There is no protocol {protocol!r}; use {STATEFUL}, {WINDOWED} or {' or '.join(names)}."
    )


def evaluate_runs(
    models: Sequence[ComparedModel],
    text: GivenText | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | Auto | None = "auto",
    mixtures: Sequence[MixedModels] = (),
    **extra_rows: Any,
) -> loss_reports.Evaluation:
    """Measure the losses of one or several models over a text by the protocol `stateful`, with
    paired differences to the first.

    The text is `text`, read after `context`, or by default the held-out `part` of the runs' own
    text. The losses of up to `max_chars` characters are kept in memory, 13 bytes each; segments of
    a longer text are scored, as `evaluate` does. `auto` means MAX_SCORED, None any length.

    Runs that differ in the seed alone are also `groups` of the evaluation: mean, smallest and
    largest loss, with intervals over the seeds.

    `extra_rows` are rows of further predictors and other parts of an evaluation (`ExtraRows`). `by`
    adds breakdowns of the loss of each run, by `class` of character or by `position` since the
    initial state; `windowed-256` adds a row of this protocol for each run. `ngrams` are orders of
    n-gram models that are counted in the training text of the first run
    (`counts.kneser_ney.ORDERS`): each has a row. They need that text, else DataError is raised. A
    run whose text was counted has a row together with its counts, unless `counts` is False; with
    `ngrams`, the counts alone of the first such run have a row, too. With `dynamic=True`, each run
    has a row of dynamic evaluation, which scores the first `max_chars` characters (`auto`:
    131,072). Its difference is to the stateful loss of the same run.

    Each of `mixtures` (`charrnn.mix`) has a row after those of the runs. The held-out texts of its
    models must be those of the runs.

    Unknown characters cost as much as in `evaluate`, so that the losses of models with different
    alphabets are code lengths of the same text.

    Raises UsageError if there is no model, if a model is named twice, if the held-out texts or the
    alphabets of the runs differ, and for an unknown `by`; DataError for a text that is too short.

    >>> evaluation = charrnn.evaluate_runs([model, charrnn.load("other")])
    >>> evaluation.rows[0].loss.nats_per_char
    """
    comparison = Comparison.of(
        models, text, part=part, context=context, precision=precision, max_chars=max_chars
    )
    comparison.add_mixtures(mixtures, context)

    check_comparable(comparison.runs)

    # The rows of plugins are checked first, because measuring the runs may take minutes.
    prepared = []
    for rows in offered(evaluations, ExtraRows):
        value = extra_rows.pop(rows.name, rows.default)
        if value:
            prepared.append(rows.prepare(comparison, value))
    # No plugin has a parameter with these names.
    for name in extra_rows:
        raise TypeError(f"evaluate_runs() got an unexpected keyword argument {name!r}")

    # The runs first: all further rows are compared with them.
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
    """The step of the run's checkpoint; None for a mixture."""
    vocab: Vocab
    network: Predictor
    text: MeasuredText
    """The text as this run reads it."""
    precision: str
    """The precision in which its losses are computed: fp32, bf16 or fp16."""
    trained_share: float | None = None
    """As in `EvaluationRow`."""


@dataclass(slots=True, kw_only=True)
class Comparison:
    """The models, the text on which they are measured, and the rows that were measured so far. The
    first row belongs to the first run."""

    models: Sequence[ComparedModel]
    contents: Sequence[Content]
    """The text of each model."""
    runs: list[MeasuredRun]
    """The models as they read the text, and after them the mixtures."""
    part: str | None = None
    """`validation` or `test`; None for a text that was given."""
    common_bytes: tuple[int, int] | None = None
    """As in `Evaluation`."""
    precision: str = "auto"
    max_chars: int | None = None
    """The largest number of characters to score."""
    has_limit: bool = True
    """Whether `max_chars` was given, and is not the default."""
    losses: list[CharLosses] = field(default_factory=list)
    """The stateful losses of each run. Every further predictor of the same characters is compared
    with the losses of the first run."""
    rows: list[loss_reports.EvaluationRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    breakdowns: list[loss_reports.LossBreakdown] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        models: Sequence[ComparedModel],
        text: GivenText | None = None,
        *,
        part: str = "validation",
        context: str | bytes = "",
        precision: str = "auto",
        max_chars: int | Auto | None = loss_reports.MAX_SCORED,
    ) -> Comparison:
        """Read the text for each model. See `evaluate_runs` for the arguments and errors."""
        for model in models:
            check_is_model(model)
            if not hasattr(model, "path"):
                raise UsageError(
                    f"{model.name} is a mixture or has counts. A run has a row with its counts;"
                    f" give a mixture as {named('mixtures')}."
                )
        limit = loss_reports.MAX_SCORED if max_chars == "auto" else max_chars
        # A given text is the same for all models; held-out parts may have different alphabets.
        given = None
        if text is not None and models:
            # As characters, if any model reads characters.
            reader = next((model for model in models if model.vocab.kind == "char"), models[0])
            given = whole_text(text, reader.config, context=context)
        contents, common_bytes = _contents(models, text=given, part=part)
        runs = []
        for model, name, content in zip(models, distinct_names(models), contents, strict=True):
            measured = measured_text(model, content, context=context)
            measured.check_stateful(limit)

            # The model has seen a held-out part only where the training text repeats it.
            share = None
            if given is not None and model.recorded_corpus is not None:
                share = model.recorded_corpus.trained_share(given)
            elif isinstance(content, CorpusPart) and not model.is_imported:
                training = model.training_text(content)
                share = trained_share(content, training=training, config=model.config)

            runs.append(
                MeasuredRun(
                    name=name,
                    step=model.step,
                    vocab=model.vocab,
                    network=model.network,
                    text=measured,
                    precision=precision_of(model, precision),
                    trained_share=share,
                )
            )
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
        """Add mixtures, which read the text of the first model.

        Raises UsageError for a member with another text or another alphabet than the first model.
        """
        # A mixture reads one text, in the alphabet that its members have in common.
        first = self.models[0]
        content = self.contents[0]
        for mixture in mixtures:
            # A member outside the comparison may have a different held-out text.
            for member in mixture.models:
                _check_same_documents(first, member)
                if isinstance(content, CorpusPart) and member not in self.models:
                    _check_same_alphabet(first, member)
                    member_part = member.held_out(self.part or "")
                    _check_same_part(first, content, other=member, other_part=member_part)

            self.runs.append(
                MeasuredRun(
                    name=mixture.name,
                    step=None,
                    vocab=mixture.vocab,
                    network=mixture.network,
                    text=measured_text(mixture, content, context=context),
                    precision=precision_of(mixture, self.precision),
                )
            )

    def losses_of(self, run: MeasuredRun) -> CharLosses:
        """Measure the stateful losses of a run."""
        # The loss of every character is kept, because further rows are compared with these losses.
        losses = char_losses(
            run.network,
            run.text.ids,
            first=run.text.first_scored,
            precision=run.precision,
            max_chars=self.max_chars,
        )
        return run.text.charged(losses)

    def training_text(self, instead: str = "") -> CorpusPart:
        """Return the training text of the first model.

        Raises DataError if it cannot be read, with `instead` as the remedy.
        """
        # A part of a corpus contains the corpus, which then need not be read again.
        content = self.contents[0]
        part = content if isinstance(content, CorpusPart) else None
        return self.models[0].training_text(part, instead=instead)

    def add(
        self,
        loss: LossReport,
        *,
        name: str,
        step: int | None = None,
        difference: Difference | None = None,
        trained_share: float | None = None,
    ) -> None:
        """Add the row of a predictor."""
        self.rows.append(
            loss_reports.EvaluationRow(
                name=name,
                step=step,
                loss=loss,
                difference=difference,
                trained_share=trained_share,
            )
        )

    def measure_runs(self) -> None:
        """Add the rows of all runs by the protocol `stateful`."""
        # Differences are per character, so a loss per byte has no difference to a loss per
        # character.
        first = self.runs[0]
        for run in self.runs:
            losses = self.losses_of(run)
            self.losses.append(losses)
            difference = None
            if run is not first and run.text.unit == first.text.unit:
                difference = paired_difference(losses, self.losses[0])
            self._add_run(run, STATEFUL, scores=losses.scores, difference=difference)

    def measure_windows(self) -> None:
        """Add the rows of all runs by the protocol `windowed-256`."""
        reference: BlockSums | None = None
        for run in self.runs:
            # Without the context: windows start from a zero state.
            ids = run.text.ids[run.text.first :]
            scores = windowed_scores(
                run.network, ids, precision=run.precision, escape_nats=run.text.escape_nats
            )
            difference = None
            if reference is None:
                reference = scores.losses
            elif run.text.unit == self.runs[0].text.unit:  # else the windows are different
                difference = block_difference(scores.losses, reference)
            self._add_run(run, WINDOWED, scores=scores, difference=difference)

    def _add_run(
        self,
        run: MeasuredRun,
        protocol: str,
        *,
        scores: BlockScores,
        difference: Difference | None,
    ) -> None:
        """Add the row of a run by one protocol."""
        loss = run.text.report(scores, protocol=protocol, precision=run.precision)
        self.add(
            loss,
            name=run.name,
            step=run.step,
            difference=difference,
            trained_share=run.trained_share,
        )

    def evaluation(self) -> loss_reports.Evaluation:
        """Return the record of all rows and breakdowns, with the notes that a reader of the figures
        must know."""
        # The notes of plugins come first, because they were added while rows were measured.
        return loss_reports.Evaluation(
            rows=tuple(self.rows),
            part=self.part,
            common_bytes=self.common_bytes,
            notes=(*self.notes, *self.notes_of_runs(), *self._notes_of_part()),
            breakdowns=tuple(self.breakdowns),
            groups=self.groups(),
        )

    def groups(self) -> tuple[SeedGroup, ...]:
        """Return the groups of runs that differ in the seed alone: of the networks, and of those
        that have counts."""
        losses = {}
        for row in self.rows:
            if row.loss.protocol == STATEFUL:
                losses[row.name] = row.loss.nats_per_char

        # The same network with its counts is another model: the losses of the two are no samples of
        # one group.
        groups: list[SeedGroup] = []
        names = [run.name for run in self.runs]
        for end in ("", loss_reports.WITH_COUNTS):
            configs = {}
            for name, model in zip(names, self.models, strict=False):
                if f"{name}{end}" in losses:
                    configs[f"{name}{end}"] = model.config
            for group in group_by_seed(configs, losses):
                groups.append(replace(group, name=f"{group.name}{end}"))
        return tuple(groups)

    def notes_of_runs(self) -> Iterator[str]:
        """Yield a note for each reason why the runs cannot be compared as they stand."""
        alphabets: list[Vocab] = []
        for run, losses in zip(self.runs, self.losses, strict=True):
            # Runs with the same alphabet lack the same characters, so one note is enough.
            if run.text.num_unknown and run.vocab not in alphabets:
                alphabets.append(run.vocab)
                unknown = counted(run.text.num_unknown, "character")
                yield (
                    f"{run.name} does not know {unknown} of this text, each of which costs"
                    f" {run.text.escape_nats:.2f} nats more than the unknown symbol, because it"
                    " must be said which character it is."
                )
            # The model remembers this text, which lowers its loss.
            learned = run.trained_share or 0.0
            if self.part is None and learned >= LEAST_SHARE:
                share = f"{100 * learned:.0f} % of this text"
                yield Message(
                    f"{run.name} was trained on {share}. Leave {named('text')} out for the loss"
                    " of its validation text."
                )
            escapes = run.text.escape_nats * run.text.num_unknown / run.text.num_chars
            yield from doubts(
                run.name,
                nats=losses.blocks.mean,
                vocab_size=len(run.vocab),
                escapes=escapes,
            )

        # A byte is easier to predict than a character of several bytes.
        first = self.runs[0]
        for run in self.runs:
            if run.text.unit != first.text.unit:
                yield (
                    f"{first.name} reads {first.text.unit}s and {run.name} {run.text.unit}s:"
                    " compare bits/byte."
                )
                break

    def _notes_of_part(self) -> Iterator[str]:
        """Yield notes on the share of the text that was scored, and on a checkpoint that was chosen
        by its loss."""
        # The first character of a text without context is never scored, which needs no note.
        text = self.runs[0].text
        num_scored = self.rows[0].loss.num_chars
        if self.max_chars is not None and num_scored < text.num_chars - 1:
            num_segments, _ = segments_of(self.max_chars)
            where = "in segments spread evenly over the text"
            if num_segments == 1:
                where = "from its beginning"
            yield (
                f"stateful: {num_scored:,} of {counted(text.num_chars, text.unit)}"
                f" ({100 * num_scored / text.num_chars:.2g} %), {where}."
            )

        # All runs have the same held-out part.
        share = self.runs[0].trained_share
        if self.part is not None:
            yield from trained_notes(share, config=self.models[0].config, part=self.part)

        # The lowest of many validation losses is too low by chance. An imported model has one loss.
        if self.part == "validation" and not self.models[0].is_imported:
            remedy = f"give {named('part', 'test')}"
            if len(self.models[0].config.split) <= 2:
                remedy = f"train with {named('split', '80/10/10')} and {remedy}"
            yield Message(
                "The checkpoint was chosen by its loss on the validation text. For a figure to"
                f" quote, {remedy}."
            )


def doubts(name: str, nats: float, vocab_size: int, escapes: float = 0.0) -> Iterator[str]:
    """Yield a warning if a loss is above ln V, the loss of equal probabilities for all characters.

    `escapes` is the part of the loss, in nats per character, that tells which character an unknown
    symbol stands for.
    """
    most = math.log(vocab_size)
    if nats - escapes > most:
        yield Message(
            f"{name} has {nats:.2f} nats per character, and equal probabilities for all characters"
            f" have ln {vocab_size:,} = {most:.2f}. The text is of another kind than the model's,"
            " or the model learned nothing. If it was imported, the alphabet or the gates may be in"
            f" another order, or {named('cell')} is another."
        )


def measured_text(
    model: MeasuredModel, text: GivenText | CorpusPart, context: str | bytes
) -> MeasuredText:
    """Return a text as a model reads it. Raises UsageError for a part with a context or in another
    alphabet."""
    unit = "byte" if model.vocab.kind == "byte" else "character"

    # A part of a corpus is encoded, and may be too long for memory.
    if isinstance(text, CorpusPart):
        if context:
            raise UsageError("A part of a corpus contains its context: leave the context out.")
        if text.corpus.vocab != model.vocab:
            raise UsageError(
                f"The text was encoded for another alphabet than that of {model.name}: read it"
                " again."
            )
        return MeasuredText(
            text.ids,
            text.begin,
            num_bytes=text.num_bytes,
            num_unknown=text.num_unknown,
            unit=unit,
            escape_nats=model.vocab.escape_nats,
        )

    # Bytes are counted in UTF-8, whatever the alphabet.
    content = whole_text(text, model.config, context=context)
    num_bytes = len(as_bytes(content))
    encoded = model.encode(content, context=context)
    num_unknown = model.vocab.num_unknown(encoded.ids[encoded.first :])
    return MeasuredText(
        encoded.ids,
        encoded.first,
        num_bytes=num_bytes,
        num_unknown=num_unknown,
        unit=unit,
        escape_nats=model.vocab.escape_nats,
    )


def log_probabilities(
    model: MeasuredModel, texts: Sequence[TextPiece], context: str | bytes
) -> NDArray[np.float64]:
    """Compute the natural logarithm of the probability of each of N texts (N,): see
    `ProbabilityMethods.logprob`."""
    encoded = []
    for text in texts:
        content = whole_text(text, model.config, context=context)
        if model.config.end_id is not None:
            content = ended(content)
        encoded.append(model.encode(content, context=context))

    # A network and counts start anew at each END, so all documents are read together.
    if model.config.end_id is None or context or not encoded:
        return np.array([-_nats_of_text(model, text).sum() for text in encoded], np.float64)

    pieces = [text.ids[text.first :] for text in encoded]
    ids = np.concatenate((encoded[0].ids[:1], *pieces))
    starts = np.cumsum([0, *map(len, pieces[:-1])])
    return np.asarray(-np.add.reduceat(_nats(model, ids, first=1), starts))


def _nats_of_text(model: MeasuredModel, text: EncodedText) -> NDArray[np.float64]:
    """Compute the loss of each character of a text that can be predicted."""
    first = max(1, text.first)
    if first == len(text.ids):
        check_length(len(text), least=2, what="its probability")
    return _nats(model, text.ids, first=first)


def _nats(model: MeasuredModel, ids: IdArray, first: int) -> NDArray[np.float64]:
    """Compute the loss in nats of each of ids[first:], with the price of unknown characters."""
    precision = precision_of(model, "auto")
    nats = char_losses(model.network, ids=ids, first=first, precision=precision).nats
    escape_nats = model.vocab.escape_nats
    if escape_nats > 0:
        nats[ids[first:] == 0] += escape_nats
    return nats.astype(np.float64)


def distinct_names(models: Sequence[ComparedModel]) -> list[str]:
    """Return names that tell the models apart.

    Models whose names are equal get the first of these forms that differs among them: with the
    folder above, with the step (`run@100`), with a number.
    """
    # The form is chosen for each group of equal names, so that most names stay short.
    names = []
    for model in models:
        namesakes = [namesake for namesake in models if namesake.name == model.name]
        for form in (_plain_name, _name_with_folder, _name_with_step):
            if len({form(namesake) for namesake in namesakes}) == len(namesakes):
                break
        names.append(form(model))

    # Models that cannot be told apart by any form are numbered.
    distinct = []
    for index, name in enumerate(names):
        num_before = names[:index].count(name)
        if num_before:
            name = f"{name} ({num_before + 1})"
        distinct.append(name)
    return distinct


def _plain_name(model: ComparedModel) -> str:
    return model.name


def _name_with_folder(model: ComparedModel) -> str:
    if model.path is None:
        return model.name
    return f"{model.path.parent.name}/{model.name}"


def _name_with_step(model: ComparedModel) -> str:
    return f"{model.name}@{model.step}"


def _contents(
    models: Sequence[ComparedModel], text: str | bytes | None, part: str
) -> tuple[Sequence[Content], tuple[int, int] | None]:
    """Return the text for each model: the given text, or the held-out part of the model's own text,
    which must be the same for all models.

    If some models read the same text in bytes and others in characters, the texts are cut to the
    bytes that every held-out part contains, and the range of these bytes is returned, too.
    """
    if not models:
        raise UsageError("There is no model to evaluate: give at least one.")

    # Models in memory have no path, and cannot be recognized as the same.
    checkpoints = [(model.path, model.step) for model in models if model.path is not None]
    for path, step in checkpoints:
        if checkpoints.count((path, step)) > 1:
            raise UsageError(f"{path.name} is given twice: its difference to itself is 0.")

    # With and without END, the same bytes are different texts.
    for model in models[1:]:
        _check_same_documents(models[0], model)
    if text is not None:
        return [text] * len(models), None

    # If some models read one text in bytes and others in characters, its passages are compared.
    parts = [model.held_out(part) for model in models]
    is_one_text = len({held_out.corpus.digest for held_out in parts}) == 1
    has_several_kinds = len({model.vocab.kind for model in models}) > 1
    if is_one_text and has_several_kinds and models[0].config.documents == "none":
        return _common_parts(parts)

    for model, held_out in zip(models[1:], parts[1:], strict=True):
        _check_same_part(models[0], parts[0], other=model, other_part=held_out)
    return parts, None


def _common_parts(parts: Sequence[CorpusPart]) -> tuple[Sequence[CorpusPart], tuple[int, int]]:
    """Return the passage that several held-out parts of one text have in common, for each part, and
    the range of its bytes.

    Some of the parts are in bytes and some in characters.
    """
    # The common passage, in bytes of the whole text. The last tenth of the bytes and the last tenth
    # of the characters begin at different places.
    begin = max(part.corpus.num_bytes(0, part.begin) for part in parts)
    end = min(part.corpus.num_bytes(0, part.end) for part in parts)

    # The first and the last character whose bytes are all in every part.
    chars = next(part for part in parts if part.corpus.vocab.kind != "byte")
    before = chars.corpus.num_bytes(0, chars.begin)
    indices = range(chars.begin, chars.end + 1)
    num_bytes_until = partial(chars.corpus.num_bytes, chars.begin)
    first = chars.begin + bisect_left(indices, begin - before, key=num_bytes_until)
    last = chars.begin + bisect_right(indices, end - before, key=num_bytes_until) - 1
    if first >= last:
        raise UsageError(
            "The held-out texts of these runs have nothing in common. Compare them on"
            f" {named('text')}."
        )

    # Every part is cut at the same characters. In a byte alphabet, an index counts bytes.
    first_byte = chars.corpus.num_bytes(0, first)
    last_byte = chars.corpus.num_bytes(0, last)
    common = []
    for part in parts:
        if part.corpus.vocab.kind == "byte":
            common.append(CorpusPart(part.corpus, begin=first_byte, end=last_byte))
        else:
            common.append(CorpusPart(part.corpus, begin=first, end=last))
    return common, (first_byte, last_byte)


def _check_same_documents(first: MeasuredModel, other: MeasuredModel) -> None:
    # END is predicted like a character. A model without END is scored on fewer symbols, so the two
    # mean losses are taken over different symbols.
    if other.config.documents != first.config.documents:
        raise UsageError(
            f"{first.name} and {other.name} divide a text into documents in different ways"
            f" ({first.config.documents}, {other.config.documents}): their losses cannot be"
            " compared. Evaluate each by itself."
        )


def _check_same_part(
    first: MeasuredModel, part: CorpusPart, other: MeasuredModel, other_part: CorpusPart
) -> None:
    """Raise UsageError unless two models are measured on the same characters in the same
    alphabet."""
    _check_same_alphabet(first, other)
    # The ids are compared, not the files: two files may differ and have the same last tenth.
    if not part.has_same_ids(other_part):
        raise UsageError(
            f"The held-out texts of {first.name} and {other.name} differ: they were trained on"
            f" other texts or with another {named('split')}.\nCompare them on {named('text')}, a"
            " file on which neither was trained."
        )


def _check_same_alphabet(first: MeasuredModel, other: MeasuredModel) -> None:
    """Raise UsageError, with the difference, unless two models have the same alphabet."""
    if other.vocab == first.vocab:
        return

    # The unknown symbol counts as a character that is in only one of the alphabets.
    difference = "one of them of bytes"
    if other.vocab.kind == first.vocab.kind:
        different = set(first.vocab.characters) ^ set(other.vocab.characters)
        difference = f"{counted(len(different), 'character')} in one of them only"
    raise UsageError(
        f"{first.name} and {other.name} have different alphabets ({difference}).\n"
        f"Compare them on {named('text')}, a file on which neither was trained."
    )


def check_comparable(runs: Sequence[MeasuredRun]) -> None:
    """Raise DataError if the text is too short for the difference of several runs."""
    text = runs[0].text
    # The first character is not scored.
    if len(runs) > 1 and text.num_chars - 1 < MIN_VALUES:
        raise DataError(
            f"The text has {counted(text.num_chars, text.unit)}; comparing runs needs"
            f" at least {MIN_VALUES + 1:,}, because the difference is nothing without its interval."
            f"\ngive a longer text as {named('text')}, or evaluate one run at a time"
        )
