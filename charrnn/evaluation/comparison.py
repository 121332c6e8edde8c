"""Measure the losses of one or several models over the same text, and compare them: the verb
`evaluate`.

An evaluation is a table. Each row has the loss of one predictor, measured by one protocol: the
rows of the runs, by the protocol `stateful`, and further rows that are asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from charrnn.config.options import at_least, between, check
from charrnn.errors import DataError, UsageError, check_length, counted, named
from charrnn.evaluation.loss_reports import (
    MAX_SCORED,
    NGRAM,
    Evaluation,
    EvaluationRow,
    LossReport,
    block_difference,
)
from charrnn.evaluation.seed_groups import group_by_seed
from charrnn.model.losses import (
    STATEFUL,
    WINDOWED,
    WINDOWED_LENGTH,
    BlockScores,
    CharLosses,
    bits,
    char_losses,
    precision_of,
    stateful_scores,
    windowed_scores,
)
from charrnn.model.shapes import check_finite
from charrnn.model_texts import encode, held_out, training_text
from charrnn.ngrams.kneser_ney import (
    MOST_ORDER,
    MOST_TRAINING_CHARS,
    probabilities_by_order,
)
from charrnn.statistics.intervals import MIN_VALUES, BlockSums
from charrnn.text.copies import LEAST_SHARE, trained_notes, trained_share
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText, whole_text
from charrnn.text.vocab import IdArray, Vocab, as_bytes
from charrnn.trained_model import TrainedModel

Content = str | bytes | CorpusPart
"""A text, or a part of the corpus of a run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRun:
    """A model whose losses over a text are measured, and the text as it reads it.

    It keeps what several rows about one model need, so that the text is read by each network once;
    users call `evaluate` and `evaluate_runs`.
    """

    name: str
    """The name of the run."""
    model: TrainedModel
    content: Content
    """The text as it was given."""
    ids: IdArray
    """(M + N,): the ids of the context, then those of the text; they may be mapped from a file."""
    exact_ids: IdArray
    """(M + N,): the same, with the unknown symbol for each character that is read as a similar one
    (`EncodedText.exact_ids`)."""
    first: int
    """M: the index at which the text begins."""
    num_bytes: int
    """Bytes of the text in UTF-8."""
    num_unknown: int
    """Characters of the text that are outside the alphabet."""
    precision: str
    """The precision in which its losses are computed: fp32, bf16 or fp16."""
    max_chars: int | None = None
    """The largest number of characters to score."""

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        text: GivenText | CorpusPart,
        *,
        context: str | bytes,
        precision: str,
        max_chars: int | None,
    ) -> MeasuredRun:
        """Read a text for a model. Raises UsageError for a part with a context or in another
        alphabet, and the errors of `precision_of`."""
        content: Content
        # A part of a corpus is encoded, and may be too long for memory.
        if isinstance(text, CorpusPart):
            if context:
                raise UsageError("A part of a corpus contains its context: leave the context out.")
            if text.corpus.vocab != model.vocab:
                raise UsageError(
                    f"The text was encoded for another alphabet than that of {model.name}: read it"
                    " again."
                )
            content = text
            ids = text.ids
            exact_ids = ids
            first = text.begin
            num_bytes = text.num_bytes
        else:
            # Bytes are counted in UTF-8, whatever the alphabet.
            content = whole_text(text, config=model.config, context=context)
            num_bytes = len(as_bytes(content))
            encoded = encode(model, content, context=context)
            ids = encoded.ids
            exact_ids = encoded.exact_ids
            first = encoded.first

        return cls(
            name=model.name,
            model=model,
            content=content,
            ids=ids,
            exact_ids=exact_ids,
            first=first,
            num_bytes=num_bytes,
            num_unknown=model.vocab.num_unknown(exact_ids[first:]),
            precision=precision_of(model.config, device=model.network.device, precision=precision),
            max_chars=max_chars,
        )

    @property
    def num_chars(self) -> int:
        """N."""
        return len(self.ids) - self.first

    @property
    def first_scored(self) -> int:
        """The index of the first character that can be scored: no prediction is made for ids[0]."""
        return max(1, self.first)

    @property
    def unit(self) -> str:
        """The unit that an id stands for: `character`, or `byte` with the byte alphabet."""
        return "byte" if self.model.vocab.kind == "byte" else "character"

    def check_stateful(self) -> None:
        """Raise DataError for a text without a character to score, UsageError for a `max_chars`
        under 1."""
        if self.max_chars is not None:
            check("max_chars", self.max_chars, allowed=at_least(1))
        check_length(self.num_chars, least=2, what="its loss")

    def check_windowed(self) -> None:
        """Raise DataError for a text that is not longer than a window."""
        if self.num_chars <= WINDOWED_LENGTH:
            raise DataError(
                f"{WINDOWED} needs more than {WINDOWED_LENGTH} {self.unit}s, and the text has"
                f" {self.num_chars}. Measure it by {STATEFUL}."
            )

    def stateful_scores(self) -> BlockScores:
        """Measure the losses by the protocol `stateful`, mostly in memory that does not grow with
        the text.

        It is for a mean; `losses` has the loss of each character, for differences and lines, in 13
        bytes each.
        """
        if self.model.config.learned_after is not None:
            return self.losses.scores
        scores = stateful_scores(
            self.model.network,
            self.ids,
            first=self.first_scored,
            precision=self.precision,
            max_chars=self.max_chars,
            escape_nats=self.model.vocab.escape_nats,
            exact_ids=self.exact_ids,
        )
        assert scores is not None, "nothing stops it"
        return scores

    @cached_property
    def losses(self) -> CharLosses:
        """The loss of each character by the protocol `stateful`, which is measured once: further
        rows are compared with it."""
        losses = char_losses(
            self.model.network,
            self.ids,
            first=self.first_scored,
            precision=self.precision,
            max_chars=self.max_chars,
        )
        return self.charged(self._learned(losses))

    @property
    def learned_after(self) -> IdArray | None:
        """The ids after which the model learned the next character; None if it learned all."""
        after = self.model.config.learned_after
        if after is None:
            return None
        return self.model.vocab.encode(after)

    def _nothing_learned(self) -> DataError:
        return DataError(
            f"{self.name} learned only the characters after {self.model.config.learned_after!r},"
            f" and the text has none of them. Give another {named('text')}."
        )

    def _learned(self, losses: CharLosses) -> CharLosses:
        """Return the losses of the characters that the model learned: with `learned_after`, of
        those after one of these. Raises DataError for a text without one."""
        if self.learned_after is None:
            return losses
        is_learned = np.isin(self.ids[losses.positions - 1], self.learned_after)
        if not is_learned.any():
            raise self._nothing_learned()
        is_right = losses.is_right
        if is_right is not None:
            is_right = is_right[is_learned]
        return CharLosses(losses.positions[is_learned], losses.nats[is_learned], is_right=is_right)

    @cached_property
    def trained_share(self) -> float | None:
        """As in `EvaluationRow`."""
        # The model has seen a held-out part only where the training text repeats it.
        content = self.content
        if isinstance(content, CorpusPart):
            training = training_text(self.model, content)
            return trained_share(content, training=training, config=self.model.config)
        if self.model.recorded_corpus is None:
            return None
        return self.model.recorded_corpus.trained_share(
            content, read_training=partial(training_text, self.model)
        )

    def as_read(self) -> MeasuredRun:
        """Return the same run over the text as the model reads it: a character that is read as a
        similar one costs no more than that one.

        One needs it to compare sentences, which are not less likely for the form of their quotation
        marks. The mean loss of a text is no code length then, and compares no models.
        """
        num_unknown = self.model.vocab.num_unknown(self.ids[self.first :])
        return replace(self, exact_ids=self.ids, num_unknown=num_unknown)

    def charged(self, losses: CharLosses) -> CharLosses:
        """Return the losses of any predictor of these ids with the price of unknown characters,
        none of which is guessed right.

        The losses of n-grams go through it, which know unknown characters no better than the
        network does.
        """
        escapes = self.model.vocab.escapes(self.exact_ids[losses.positions])
        is_right = losses.is_right
        if is_right is not None:
            is_right = is_right & (escapes == 0)
        return CharLosses(losses.positions, losses.nats + escapes, is_right=is_right)

    def scores(self, protocol: str) -> BlockScores:
        """Measure the losses by a protocol.

        It knows all protocols, by their names.
        """
        if protocol == STATEFUL:
            return self.losses.scores
        # Without the context: windows start from a zero state.
        scores = windowed_scores(
            self.model.network,
            self.ids[self.first :],
            precision=self.precision,
            escape_nats=self.model.vocab.escape_nats,
            exact_ids=self.exact_ids[self.first :],
            learned_after=self.learned_after,
        )
        # No window may have such a character where the text has a few.
        if not scores.losses.num_values:
            raise self._nothing_learned()
        return scores

    def report(self, scores: BlockScores, *, protocol: str, precision: str) -> LossReport:
        """Build the report of scores that are summed by blocks of this text; `precision` is ""
        where no network computed them."""
        # A value that is not finite is a fault of the weights, not a loss.
        nats, first_guess = scores.means
        check_finite(nats, what="losses")
        interval = scores.losses.interval()
        chars_per_byte = self.num_chars / self.num_bytes

        # The units differ by constant factors, and so do the ends of the intervals.
        def scaled(factor: float) -> tuple[float, float] | None:
            if interval is None:
                return None
            return factor * interval[0], factor * interval[1]

        return LossReport(
            protocol=protocol,
            nats_per_char=nats,
            bpc=bits(nats),
            bits_per_byte=bits(nats) * chars_per_byte,
            num_chars=scores.losses.num_values,
            text_length=self.num_chars,
            num_unknown=self.num_unknown,
            precision=precision,
            nats_ci=interval,
            bpc_ci=scaled(bits(nats=1)),
            bits_per_byte_ci=scaled(bits(nats=1) * chars_per_byte),
            first_guess=first_guess,
            first_guess_ci=None if scores.right is None else scores.right.interval(),
        )


ORDERS = (*range(1, 13), 20)
"""The orders that are reported by default."""


def evaluate(
    model: TrainedModel,
    text: GivenText | CorpusPart,
    *,
    context: str | bytes = "",
    protocol: str = STATEFUL,
    precision: str = "auto",
    max_chars: int | None = None,
) -> LossReport:
    """Measure the mean loss of a model over a text.

    The figure says how well the model predicts the text; of a text that it has not learned, it can
    be quoted beside those of other programs. To compare models, `evaluate_runs` measures their
    differences, which are more exact than two losses. The protocols are `stateful`, which predicts
    each character after all that come before it, and `windowed-256`, which begins anew in every
    window. Losses of different protocols must not be compared. A long text is read in up to 32
    batch rows, each warmed up on the 512 characters before it. An unknown character costs the nats
    of the unknown symbol, and further nats that tell which character it is.

    Args:
        model: What predicts.
        text: The text, in a form that `Model` lists, or a part of a corpus
            (`Model.held_out`), which contains its context and may be larger than memory.
        context: What the model reads before the text; it is not scored. By default nothing: then
            the first character is not scored, because nothing predicts it.
        protocol: `stateful` or `windowed-256`.
        precision: `auto`, `fp32`, `bf16` or `fp16`. `auto` is `bf16` for a model of at least 128
            units that was trained in it, where the processor is fast in it, and else `fp32`.
        max_chars: The largest number of characters that are scored, by default all. Of a longer
            text, `stateful` reads segments that are spread evenly over it.

    Returns:
        A `LossReport`: the mean loss as `nats_per_char`, `bpc` and `bits_per_byte`, with 95 %
        intervals, and the number of characters that were scored.

    Raises:
        DataError: The text is too short, or a file cannot be read.
        UsageError: There is no such protocol or precision, `max_chars` is under 1, the part is in
            another alphabet, the text is bytes and the model reads characters, or `model` is the
            name of a run.

    Example:
        >>> model = charrnn.load("prose")
        >>> report = charrnn.evaluate(model, "What is the king to me?")
        >>> report.protocol, report.num_chars
        ('stateful', 22)
        >>> report.bpc  # bits per character
    """
    run = MeasuredRun.of(model, text, context=context, precision=precision, max_chars=max_chars)
    scores: BlockScores | None
    if protocol == WINDOWED:
        run.check_windowed()
        scores = run.scores(WINDOWED)
    elif protocol == STATEFUL:
        run.check_stateful()
        scores = run.stateful_scores()
    else:
        raise UsageError(f"There is no protocol {protocol!r}; use {STATEFUL} or {WINDOWED}.")
    return run.report(scores, protocol=protocol, precision=run.precision)


def evaluate_runs(
    models: Sequence[TrainedModel],
    text: GivenText | None = None,
    *,
    part: str = "validation",
    context: str | bytes = "",
    precision: str = "auto",
    max_chars: int | None = MAX_SCORED,
    ngrams: Sequence[int] = (),
    windowed: bool = False,
) -> Evaluation:
    """Measure the losses of one or several models over a text, and their paired differences.

    It answers whether one model is better than another: their losses vary together from passage to
    passage, so that the interval of the difference is narrower than those of the losses. The
    differences are to the first model. The losses are measured by the protocol `stateful` of
    `evaluate`. Runs that differ in the seed alone are also `groups` of the evaluation, with
    intervals over the seeds. Unknown characters cost as much as in `evaluate`, so that the losses
    of models with different alphabets are code lengths of the same text.

    Args:
        models: The models of runs, none of them twice.
        text: The text, in a form that `Model` lists. By default the held-out `part` of the
            text of the runs, which must be the same for all.
        part: The part of the text of the runs: `validation` or `test`.
        context: What the models read before the text; it is not scored. By default nothing.
        precision: `auto`, `fp32`, `bf16` or `fp16`. `auto` is `bf16` for a model of at least 128
            units that was trained in it, where the processor is fast in it, and else `fp32`.
        max_chars: The largest number of characters that are scored; of a longer text, in segments
            that are spread evenly over it. Their losses are kept in memory, 13 bytes each. None:
            all.
        ngrams: Orders of n-gram models of the training text of the first run, from 1 to 32: each
            has a row.
        windowed: Whether a row by the protocol `windowed-256` is added for each run.

    Returns:
        An `Evaluation`: a row for each predictor, with its `LossReport` and the difference to the
        first row, in nats per character.

    Raises:
        UsageError: There is no model, one is given twice, the held-out texts or the alphabets
            differ, or a parameter is out of range.
        DataError: The text is too short or missing, or a file cannot be read.

    Example:
        >>> models = [charrnn.load("first"), charrnn.load("second")]
        >>> evaluation = charrnn.evaluate_runs(models, ngrams=[3])
        >>> [row.name for row in evaluation.rows]
        ['first', 'second', 'n-gram']
        >>> evaluation.rows[1].difference.mean  # nats per character
    """
    comparison = Comparison.of(
        models, text, part=part, context=context, precision=precision, max_chars=max_chars
    )
    runs = comparison.runs
    first = runs[0]

    # All texts are checked first, because measuring the runs may take minutes. The first character
    # is not scored.
    if len(runs) > 1 and first.num_chars - 1 < MIN_VALUES:
        raise DataError(
            f"The text has {counted(first.num_chars, first.unit)}; comparing runs needs"
            f" at least {MIN_VALUES + 1:,}, because the difference is nothing without its interval."
            f"\ngive a longer text as {named('text')}, or evaluate one run at a time"
        )
    training = None
    orders: Sequence[int] = ()
    if ngrams:
        # A part of a corpus contains the corpus, which then need not be read again.
        content = first.content
        training = training_text(
            first.model,
            content if isinstance(content, CorpusPart) else None,
            instead=f"leave {named('ngrams')} out",
        )
        orders = usable_orders(ngrams, training=training)
    if windowed:
        for run in runs:
            run.check_windowed()

    # The runs first: all further rows are compared with them.
    rows = comparison.rows(STATEFUL)
    losses = {row.name: row.loss.nats_per_char for row in rows}
    notes: list[str] = []
    if training is not None:
        rows += ngram_rows(training, orders=orders, run=first)
        notes += notes_of_ngrams(training)
    if windowed:
        rows += comparison.rows(WINDOWED)

    notes += notes_of_runs(runs, is_given=comparison.part is None)
    notes += note_of_scored(first)
    # All runs have the same held-out part.
    if comparison.part is not None:
        notes += notes_of_part(first.model, comparison.part, trained_share=first.trained_share)
    return Evaluation(
        rows=tuple(rows),
        part=comparison.part,
        common_bytes=comparison.common_bytes,
        notes=tuple(notes),
        groups=group_by_seed({run.name: run.model.config for run in runs}, losses=losses),
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The models that are compared, each with the text as it reads it.

    `evaluate_runs` makes the rows of it, and `reports.lines` the lines.
    """

    runs: Sequence[MeasuredRun]
    part: str | None
    """`validation` or `test`; None for a text that was given."""
    common_bytes: tuple[int, int] | None
    """As in `Evaluation`."""

    @classmethod
    def of(
        cls,
        models: Sequence[TrainedModel],
        text: GivenText | None,
        *,
        part: str,
        context: str | bytes,
        precision: str,
        max_chars: int | None,
    ) -> Comparison:
        """Read the text for each model. See `evaluate_runs` for the arguments and errors."""
        contents, common_bytes = texts_of(models, text, part=part, context=context)
        runs = []
        for model, name, content in zip(models, distinct_names(models), contents, strict=True):
            run = MeasuredRun.of(
                model, content, context=context, precision=precision, max_chars=max_chars
            )
            run.check_stateful()
            runs.append(replace(run, name=name))
        return cls(runs=runs, part=part if text is None else None, common_bytes=common_bytes)

    def rows(self, protocol: str) -> list[EvaluationRow]:
        """Measure all runs by one protocol, and return their rows with the differences to the first
        run."""
        rows: list[EvaluationRow] = []
        reference: BlockSums | None = None
        for run in self.runs:
            scores = run.scores(protocol)
            # Differences are per character, so a loss per byte has no difference to a loss per
            # character.
            difference = None
            if reference is None:
                reference = scores.losses
            elif run.unit == self.runs[0].unit:
                difference = block_difference(scores.losses, reference=reference)
            row = EvaluationRow(
                name=run.name,
                step=run.model.step,
                loss=run.report(scores, protocol=protocol, precision=run.precision),
                difference=difference,
                trained_share=run.trained_share,
            )
            rows.append(row)
        return rows


def distinct_names(models: Sequence[TrainedModel]) -> list[str]:
    """Return names that tell the models apart, for the rows of a table.

    A table with two rows of one name is of no use. Models whose names are equal have the folder
    above in theirs, or the step (`run@100`) if they are of one folder. Those that are still equal
    are numbered.
    """
    names: list[str] = []
    for model in models:
        namesakes = [namesake for namesake in models if namesake.name == model.name]
        name = model.name
        if len(namesakes) > 1 and model.path is not None:
            name = f"{model.path.parent.name}/{name}"
        if len({namesake.path for namesake in namesakes}) < len(namesakes):
            name = f"{model.name}@{model.step}"
        names.append(name)

    distinct = []
    for index, name in enumerate(names):
        num_before = names[:index].count(name)
        if num_before:
            name = f"{name} ({num_before + 1})"
        distinct.append(name)
    return distinct


def usable_orders(orders: Sequence[int], training: CorpusPart) -> list[int]:
    """Return the orders without repetition, ascending, and leave out those longer than the training
    text.

    Raises UsageError for an order out of range, DataError if no order is left.
    """
    for order in orders:
        check("order", order, allowed=between(1, MOST_ORDER))

    usable = sorted({order for order in orders if order <= len(training)})
    if not usable:
        raise DataError(
            f"The training text has {counted(len(training), 'character')}, too few for n-grams of"
            f" order {min(orders, default=1)}. Leave {named('ngrams')} out."
        )
    return usable


def ngram_rows(
    training: CorpusPart, *, orders: Sequence[int], run: MeasuredRun
) -> Iterator[EvaluationRow]:
    """Yield the row of each order, ascending, over the characters of a run, with the difference to
    this run."""
    positions = run.losses.positions
    for order, probabilities in probabilities_by_order(
        training.ids[training.begin :],
        text=run.ids,
        positions=positions,
        vocab_size=len(run.model.vocab),
        orders=orders,
        end_id=run.model.network.end_id,
    ):
        nats = -np.log(probabilities).astype(np.float32)
        losses = run.charged(CharLosses(positions=positions, nats=nats))
        yield EvaluationRow(
            name=NGRAM,
            loss=run.report(losses.scores, protocol=f"{order}-gram", precision=""),
            difference=block_difference(losses.blocks, reference=run.losses.blocks),
        )


def notes_of_ngrams(training: CorpusPart) -> Iterator[str]:
    """Yield a note on the share of the training text that is counted, unless it is all of it."""
    if len(training) > MOST_TRAINING_CHARS:
        yield (
            f"n-grams are counted in the last {MOST_TRAINING_CHARS:,} characters of the"
            f" training text ({100 * MOST_TRAINING_CHARS / len(training):.2g} %)."
        )


class ComparedTexts(NamedTuple):
    """The texts on which models are compared."""

    contents: Sequence[Content]
    """The text for each model."""
    common_bytes: tuple[int, int] | None
    """The range of the bytes to which the texts are cut, if some models read bytes and others
    characters; None for whole texts."""


def texts_of(
    models: Sequence[TrainedModel], text: GivenText | None, *, part: str, context: str | bytes
) -> ComparedTexts:
    """Return the text for each model: the given text, or the held-out part of the model's own text,
    which must be the same for all models.

    Losses can be compared only on one text. If some models read the same text in bytes and others
    in characters, the texts are cut to the bytes that every held-out part contains.
    """
    if not models:
        raise UsageError("There is no model to evaluate: give at least one.")

    # Models in memory have no path, and cannot be recognized as the same.
    checkpoints = [(model.path, model.step) for model in models if model.path is not None]
    for path, step in checkpoints:
        if checkpoints.count((path, step)) > 1:
            raise UsageError(f"{path.name} is given twice: its difference to itself is 0.")

    # With and without END, the same bytes are different texts: END is predicted like a character,
    # so the mean losses would be taken over different symbols.
    first = models[0]
    for model in models:
        if model.config.documents != first.config.documents:
            raise UsageError(
                f"{first.name} and {model.name} divide a text into documents in different ways"
                f" ({first.config.documents}, {model.config.documents}): their losses cannot be"
                " compared. Evaluate each by itself."
            )
    if text is not None:
        # As characters, if any model reads characters.
        reader = next((model for model in models if model.vocab.kind == "char"), first)
        content = whole_text(text, config=reader.config, context=context)
        return ComparedTexts([content] * len(models), common_bytes=None)

    # If some models read one text in bytes and others in characters, its passages are compared.
    parts = [held_out(model, part) for model in models]
    is_one_text = len({found.corpus.digest for found in parts}) == 1
    has_several_kinds = len({model.vocab.kind for model in models}) > 1
    if is_one_text and has_several_kinds and first.config.documents == "none":
        return _common_parts(parts)

    # The ids are compared, not the files: two files may differ and have the same last tenth.
    first_ids = parts[0].ids[parts[0].begin :]
    for model, found in zip(models, parts, strict=True):
        ids = found.ids[found.begin :]
        if model.vocab != first.vocab or not np.array_equal(ids, first_ids):
            raise UsageError(
                f"The held-out texts of {first.name} and {model.name} differ: they were trained on"
                f" other texts, with another alphabet or another {named('split')}.\nCompare them"
                f" on {named('text')}, a file on which neither was trained."
            )
    return ComparedTexts(parts, common_bytes=None)


def _common_parts(parts: Sequence[CorpusPart]) -> ComparedTexts:
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
    return ComparedTexts(common, common_bytes=(first_byte, last_byte))


def notes_of_runs(runs: Sequence[MeasuredRun], *, is_given: bool) -> Iterator[str]:
    """Yield a note for each reason why the runs cannot be compared as they stand. `is_given` says
    that the text is no part of the text of the runs.

    They stand below every table of losses.
    """
    alphabets: list[Vocab] = []
    for run in runs:
        after = run.model.config.learned_after
        if after is not None:
            yield (
                f"{run.name} learned only the characters after {after!r}: its losses are of these"
                " alone, and must not be compared with a loss of all characters."
            )
        # Runs with the same alphabet lack the same characters, so one note is enough.
        vocab = run.model.vocab
        if run.num_unknown and vocab not in alphabets:
            alphabets.append(vocab)
            unknown = counted(run.num_unknown, "character")
            yield (
                f"{run.name} does not know {unknown} of this text, each of which costs"
                f" {vocab.escape_nats:.2f} nats more than the symbol that is read in its place,"
                " because it must be said which character it is."
            )
        # The model remembers this text, which lowers its loss.
        learned = run.trained_share or 0.0
        if is_given and learned >= LEAST_SHARE:
            yield (
                f"{run.name} was trained on {100 * learned:.0f} % of this text. Leave"
                f" {named('text')} out for the loss of its validation text."
            )

        # A part of the loss tells which character an unknown symbol stands for.
        nats = run.losses.blocks.mean
        most = math.log(len(vocab))
        if nats - vocab.escape_nats * run.num_unknown / run.num_chars > most:
            yield (
                f"{run.name} has {nats:.2f} nats per character, and equal probabilities for all"
                f" characters have ln {len(vocab):,} = {most:.2f}. The text is of another kind than"
                " the model's, or the model learned nothing."
            )

    # A byte is easier to predict than a character of several bytes.
    first = runs[0]
    for run in runs:
        if run.unit != first.unit:
            yield (
                f"{first.name} reads {first.unit}s and {run.name} {run.unit}s: compare bits/byte."
            )
            break


def note_of_scored(run: MeasuredRun) -> Iterator[str]:
    """Yield a note on the share of the text that was scored, unless it is the whole text."""
    # The first character of a text without context is never scored, which needs no note.
    num_chars = run.num_chars
    num_scored = len(run.losses)
    is_whole = run.model.config.learned_after is not None
    if run.max_chars is not None and not is_whole and num_scored < num_chars - 1:
        yield (
            f"stateful: {num_scored:,} of {counted(num_chars, run.unit)}"
            f" ({100 * num_scored / num_chars:.2g} %) were scored."
        )


def notes_of_part(model: TrainedModel, part: str, trained_share: float | None) -> Iterator[str]:
    """Yield notes on a held-out part of a model's text: how much of it the training text repeats,
    and that the checkpoint was chosen by its loss."""
    yield from trained_notes(trained_share, config=model.config, part=part)

    # The lowest of many validation losses is too low by chance.
    if part == "validation":
        remedy = f"give {named('part', 'test')}"
        if len(model.config.split) <= 2:
            remedy = f"train with {named('split', '80/10/10')} and {remedy}"
        yield (
            "The checkpoint was chosen by its loss on the validation text. For a figure to"
            f" quote, {remedy}."
        )
