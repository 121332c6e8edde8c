"""The loss of every line and of every character of a text, in order, for one or several models.

Shapes: N characters, M scored characters, R runs.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from charrnn.cli.streams import print_json, result_console, with_flags, write_aside
from charrnn.errors import Message, UsageError, counted, named
from charrnn.evaluation.comparison import (
    ComparedModel,
    Comparison,
    Content,
    Listing,
    check_comparable,
    distinct_names,
)
from charrnn.evaluation.losses import CharLosses, consecutive_ranges
from charrnn.hooks.extensions import PackageFunction, offers
from charrnn.text.documents import END
from charrnn.text.vocab import as_bytes, code_points
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible

BLOCK = 1 << 16
"""Characters that are decoded at once."""
MAX_LINE_TEXT = 1000
"""Characters of a line that are shown."""
NUM_SHOWN = 20
"""Lines that are shown on a terminal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CharLoss:
    """The loss of one character (byte, with the byte alphabet) of a text."""

    index: int
    """Its index in the text, from 0."""
    line: int
    """The number of its line, from 1."""
    character: str
    r"""The character; a byte that is none by itself as `\xNN`."""
    nats: tuple[float, ...]
    """-ln p(character | all characters before it) of each run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LineLoss:
    """The loss of one line of a text, with the newline that ends it."""

    line: int
    """The number of the line, from 1."""
    index: int
    """The index of its first character in the text, from 0."""
    text: str
    """The line without its end, cut after `MAX_LINE_TEXT` characters."""
    num_chars: int
    """Characters that were scored; for the first line of a text without context, all but the first
    character."""
    nats: tuple[float, ...]
    """The sum over the characters of -ln p(character | all characters before it), of each run."""
    excess: float
    """How unlikely the first run finds the line, for its length: (nats - n m) / (s sqrt(n)) with
    the mean m and the standard deviation s of all scored characters."""


def to_json(loss: CharLoss | LineLoss, names: Sequence[str]) -> dict[str, Any]:
    """Return a line of `evaluate --per-char` or `--per-line`; `names` are those of the runs."""
    found = asdict(loss) | {"nats": loss.nats[0]}
    if isinstance(loss, LineLoss):
        found["nats_per_char"] = loss.nats[0] / loss.num_chars
    return found | (
        {"nats_by_run": dict(zip(names, loss.nats, strict=True))} if len(names) > 1 else {}
    )


def losses_by_line(
    models: Sequence[ComparedModel], text: str | bytes | None = None, **options: Any
) -> Iterator[LineLoss]:
    """Yield the loss of each line of a text by the stateful protocol, in the order of the text.

    The options and errors are those of `score_text`; the text is decoded block by block. Lines that
    are cut by the ends of segments are left out.
    """
    return score_text(models, text, **options).iter_lines()


def losses_by_char(
    models: Sequence[ComparedModel], text: str | bytes | None = None, **options: Any
) -> Iterator[CharLoss]:
    """Yield the loss of each scored character of a text (byte, with the byte alphabet), as
    `losses_by_line`."""
    return score_text(models, text, **options).iter_chars()


def score_text(
    models: Sequence[ComparedModel], text: str | bytes | None = None, **options: Any
) -> ScoredText:
    """Measure the losses of `losses_by_line` and `losses_by_char`.

    The options `part`, `context`, `precision` and `max_chars` are those of `evaluate_runs`, and so
    are the errors. Raises UsageError also for models of characters and of bytes together.
    """
    if len({model.vocab.kind for model in models}) > 1:
        raise UsageError(
            "Some of the runs read characters and some bytes: their lines cannot be listed side by"
            " side."
        )
    comparison = Comparison.of(models, text, **options)
    check_comparable(comparison.runs, needs_interval=False)
    content, measured = comparison.contents[0], comparison.runs[0].text
    if isinstance(content, str) and models[0].vocab.kind == "byte":
        content = as_bytes(content)
    return ScoredText(
        content=content,
        num_chars=measured.num_chars,
        first=measured.first,
        losses=[comparison.losses_of(run) for run in comparison.runs],
        ends=("\n",) if models[0].config.end_id is None else ("\n", END),
    )


@dataclass(frozen=True, slots=True, eq=False)
class ScoredText:
    """A text of N characters and its losses by R models, which score the same M of them."""

    content: Content
    """The text, of which only slices are needed: bytes, for the byte alphabet."""
    num_chars: int
    """N."""
    first: int
    """The index in the ids at which the text begins."""
    losses: Sequence[CharLosses]
    """(R,)"""
    ends: tuple[str, ...] = ("\n",)
    """The characters that end a line."""

    @property
    def note(self) -> str | None:
        """What of the text is scored, if that is not all of it."""
        positions = self.losses[0].positions
        if len(positions) >= self.num_chars - 1:  # nothing predicts the first character of a text
            return None
        num_segments = sum(1 for _ in consecutive_ranges(positions))
        where = f"{counted(num_segments, 'segment')} of {len(positions) // num_segments:,}"
        return Message(
            f"Scored: {len(positions):,} of {self.num_chars:,} characters, in {where}, spread"
            " evenly over the text. Lines that they cut are left out."
            f" {named('max_chars', self.num_chars)} scores all."
        )

    def iter_chars(self) -> Iterator[CharLoss]:
        """Yield the loss of each scored character, in the order of the text."""
        ends, positions = self._line_ends(), self.losses[0].positions - self.first
        for begin, end in consecutive_ranges(positions, BLOCK):
            content = self.content[int(positions[begin]) : int(positions[end - 1]) + 1]
            lines = 1 + np.searchsorted(ends, positions[begin:end])
            for offset, (index, line) in enumerate(
                zip(positions[begin:end].tolist(), lines.tolist(), strict=True)
            ):
                nats = tuple(float(one.nats[begin + offset]) for one in self.losses)
                yield CharLoss(
                    index=index,
                    line=line,
                    character=_shown(content[offset : offset + 1]),
                    nats=nats,
                )

    def iter_lines(self) -> Iterator[LineLoss]:
        """Yield the loss of each line that was scored from start to end, in the order of the text.

        The first character of a text without context cannot be scored; the line counts as complete
        without it. Lines that are cut by the ends of segments are left out.
        """
        nats, positions = self.losses[0].nats, self.losses[0].positions - self.first
        mean, spread = (float(of(dtype=np.float64)) for of in (nats.mean, nats.std))
        ends = self._line_ends().tolist()
        bounds = [
            0,
            *(end + 1 for end in ends),
            *([self.num_chars] if self.num_chars - 1 not in ends[-1:] else []),
        ]
        for line, (begin, end) in enumerate(pairwise(bounds), start=1):
            low, high = np.searchsorted(positions, (begin, end)).tolist()
            is_whole = high - low == end - max(begin, int(positions[0] == 1))
            if not is_whole or low == high:
                continue
            sums = tuple(float(one.nats[low:high].sum(dtype=np.float64)) for one in self.losses)
            num = high - low
            yield LineLoss(
                line=line,
                index=begin,
                text=_decoded(self.content[begin : min(end, begin + MAX_LINE_TEXT)]).rstrip(
                    "".join(self.ends)
                ),
                num_chars=num,
                nats=sums,
                excess=(sums[0] - num * mean) / (spread * num**0.5) if spread else 0.0,
            )

    def _line_ends(self) -> NDArray[np.int64]:
        """Return the ascending indices of the characters that end a line, which are found block by
        block."""
        points, found = [ord(end) for end in self.ends], [np.zeros(0, np.int64)]
        for begin in range(0, self.num_chars, BLOCK):
            content = self.content[begin : begin + BLOCK]
            values = (
                code_points(content)
                if isinstance(content, str)
                else np.frombuffer(content, np.uint8)
            )
            found.append(begin + np.flatnonzero(np.isin(values, points)))
        return np.concatenate(found)


def _shown(character: str | bytes) -> str:
    if isinstance(character, str):
        return character
    return chr(character[0]) if character[0] < 0x80 else f"\\x{character[0]:02x}"


def _decoded(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace")


def lines_view(lines: Sequence[LineLoss], num_lines: int, names: Sequence[str]) -> RenderableType:
    """Draw the least likely lines of a text, with the difference to the first run where there are
    two."""
    columns = ("line", "excess", "nats/char", *(f"{name} − {names[0]}" for name in names[1:]))
    table = plain_table(*columns, "text", right=columns, narrow=True)
    for line in lines:
        first, *others = (nats / line.num_chars for nats in line.nats)
        differences = [f"{other - first:+.2f}" for other in others]
        shown = Text(all_visible(line.text), no_wrap=True, overflow="ellipsis")
        table.add_row(f"{line.line:,}", f"{line.excess:.1f}", f"{first:.2f}", *differences, shown)
    return Group(
        Text(f"The {len(lines)} least likely of {num_lines:,} lines, for their length"), table
    )


def _show(
    models: Sequence[ComparedModel],
    text: str | bytes | None,
    *,
    by_line: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Print the losses as JSON Lines or, on a terminal, the least likely lines; on stderr, which
    part is scored."""
    scored, names = score_text(models, text, **options), distinct_names(models)
    if scored.note is not None and not quiet:
        write_aside(with_flags(scored.note))
    if as_json or not by_line or not sys.stdout.isatty():
        for loss in scored.iter_lines() if by_line else scored.iter_chars():
            print_json(to_json(loss, names))
        return
    num_lines = count()
    # Each line takes one number, so that the next number is how many lines there are.
    lines = (line for line, _ in zip(scored.iter_lines(), num_lines, strict=False))
    least_likely = heapq.nlargest(NUM_SHOWN, lines, key=lambda line: (line.excess, -line.line))
    result_console().print(lines_view(least_likely, next(num_lines), names))
    if not quiet:
        write_aside("Add --json for all lines, as JSON Lines.")


EXTENSIONS = (
    *offers(PackageFunction, losses_by_line, losses_by_char),
    Listing(
        "per_line",
        "Print the loss of each line as JSON Lines; on a terminal, the least likely lines.",
        partial(_show, by_line=True),
    ),
    Listing(
        "per_char", "Print the loss of each character as JSON Lines.", partial(_show, by_line=False)
    ),
)
"""The losses of lines and of characters, in Python and as options of `evaluate`."""
