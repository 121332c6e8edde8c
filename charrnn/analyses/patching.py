"""`visualize --patch`: give cells the values they have after one passage at the end of another one;
see what changes.

An interchange intervention (Geiger et al. 2021), or activation patching (Vig et al. 2020), of
single cells.

Shapes: N characters of a passage, V, L, S and H as in `model.network`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from charrnn.api import Model, TextOrIds
from charrnn.cells.ablation import replacing
from charrnn.cells.trace import torch_ops
from charrnn.cli.analyses import CELLS, Analysis, Shown, Subject
from charrnn.cli.arguments import parse_cell, to_content
from charrnn.config.options import option
from charrnn.errors import DataError, UsageError, counted, named
from charrnn.model.annotations import CharRNN
from charrnn.model.cell_types import Ops
from charrnn.model.recurrent_state import RecurrentState
from charrnn.system.display import Displayable
from charrnn.system.lazy import Tensor, inference_mode, torch
from charrnn.text.vocab import EncodedText, IdArray
from charrnn.views.tables import plain_table
from charrnn.views.theme import all_visible, shown_character

NUM_PATCHED = 4
"""Patched cells whose values are shown."""
Passage = str | bytes | int
"""A passage: a text by itself, or the position of its last character in a text."""
CHARS_READ = 1_024
"""Characters of a passage in a text that are read, at most: twice what warms up a state elsewhere.
"""
CHARS_SHOWN = 60
"""Characters of a passage that are kept, its last ones."""
NUM_WRITTEN = 64
"""Characters of a continuation."""
NUM_CHARACTERS = 8
"""Next characters that are reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedCell:
    """A cell that is patched: its value at the end of the source passage, and what it was in the
    target passage."""

    layer: int
    unit: int
    source: float
    target: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedPassage:
    """The end of a passage that a model read; `position` is the index of its last character in the
    text, if in one."""

    text: str
    position: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedCharacter:
    """The probability of a next character before and after the patch."""

    character: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch(Displayable):
    """What changes if cells have, at the end of the target passage, the memory that they have after
    the source passage.

    The memory is set at that one character; what follows is computed as usual. `divergence` is the
    Kullback-Leibler divergence of the free prediction of the next character from the patched one,
    KL(before ‖ after), in nats.
    """

    cells: tuple[PatchedCell, ...]
    source: PatchedPassage
    target: PatchedPassage
    divergence: float
    characters: tuple[PatchedCharacter, ...]
    """Next characters whose probability changes most, largest change first."""
    continuation_before: str
    """What the model writes after the target passage if it always takes the most likely character.
    """
    continuation_after: str

    def view(self) -> Sequence[RenderableType]:
        """Return what is patched, the next characters before and after, and what follows."""
        # A whole layer is many cells: only the first ones are written out.
        changes = []
        for cell in self.cells[:NUM_PATCHED]:
            changes.append(f"{cell.layer}:{cell.unit} {cell.target:+.2f} → {cell.source:+.2f}")
        shown = ", ".join(changes)
        num_others = len(self.cells) - NUM_PATCHED
        if num_others > 0:
            shown += f" and {num_others:,} others"
        name = f"{len(self.cells):,} cells"
        if len(self.cells) == 1:
            name = f"cell {self.cells[0].layer}:{self.cells[0].unit}"

        # In percent: a probability of 0.0003 is hard to read.
        numbers = ("before", "after", "change")
        table = plain_table("next character", *numbers, right=numbers)
        for one in self.characters:
            before = 100 * one.before
            after = 100 * one.after
            table.add_row(
                shown_character(one.character),
                f"{before:.2f} %",
                f"{after:.2f} %",
                f"{after - before:+.2f}",
            )

        # The passages above, what the model writes below.
        return [
            Text(f"Patch of {name}: {shown}", style="bold"),
            _passage_line("from", self.source),
            _passage_line("into", self.target),
            table,
            Text(f"KL(before ‖ after) {self.divergence:.4f} nats"),
            Text("most likely continuation", style="bold"),
            Text(f"  before  {all_visible(self.continuation_before)}", overflow="fold"),
            Text(f"  after   {all_visible(self.continuation_after)}", overflow="fold"),
        ]


def patch(
    model: Model,
    cells: Sequence[tuple[int, int] | int],
    *,
    source: Passage | None = None,
    target: Passage | None = None,
    text: TextOrIds | None = None,
    context: str | bytes = "",
    cached: bool = False,
) -> Patch:
    """Put the values that cells have after one passage into the end of another one, and return what
    changes.

    A cell is (layer, unit); a number is a whole layer. A passage is a text by itself, or the
    position of its last character in `text`, which is read after `context`. Without a `source`, it
    ends where the first cell is highest in `text`; without a `target`, where it is lowest. Only
    then all of `text` is read; `cached` is that of `study`. Raises UsageError for an unknown cell
    or position, and for a layer without passages, DataError for an empty text and for characters
    outside the alphabet.

    >>> model.patch([(0, 17)], source="He said: (no", target="He said: no").characters
    """
    chosen = _chosen_cells(model, cells)
    whole = None if text is None else model.encode(text, context=context)

    # Passages that are not given are found where the first cell is at its extremes.
    if source is None or target is None:
        if isinstance(cells[0], int):
            raise UsageError(
                f"A layer has no highest passage: give {named('source')} and {named('target')}, or"
                " patch a cell."
            )
        if whole is None:
            raise UsageError(
                f"There is no text to find passages in: give {named('source')} and"
                f" {named('target')}."
            )

        # From the highest value to the lowest, where the patch changes the cell most.
        values = model.study(whole, cached=cached).activations().of(*chosen[0])
        if source is None:
            source = int(values.argmax())
        if target is None:
            target = int(values.argmin())

    return patch_cells(
        model,
        chosen,
        source=_passage(model, whole, name="source", value=source),
        target=_passage(model, whole, name="target", value=target),
    )


def _chosen_cells(model: Model, cells: Sequence[tuple[int, int] | int]) -> list[tuple[int, int]]:
    """Return every cell of `cells` once, layers replaced by all their cells. Raises UsageError for
    unknown ones."""
    if not cells:
        raise UsageError("There is no cell to patch: give one or more.")
    # A number stands for all units of a layer.
    chosen: list[tuple[int, int]] = []
    for cell in cells:
        if isinstance(cell, int):
            model.stepper.check_unit(cell, 0)
            chosen += [(cell, unit) for unit in range(model.stepper.hidden_size)]
        else:
            model.stepper.check_unit(*cell)
            chosen.append(cell)

    # A cell may be named by itself and with its layer.
    return list(dict.fromkeys(chosen))


def _passage(model: Model, whole: EncodedText | None, *, name: str, value: Passage) -> PassageIds:
    """Return the passage `source` or `target` as ids: a part of the whole text, or a text by
    itself.

    Raises UsageError for a position outside the text, DataError for a text that is empty or has
    characters outside the alphabet.
    """
    # A position, which counts from the beginning of the text, without its context.
    if isinstance(value, int):
        num_chars = 0 if whole is None else len(whole)
        if whole is None or not 0 <= value < num_chars:
            raise UsageError(
                f"{named(name)} is position {value:,} of a text of"
                f" {counted(num_chars, 'character')}; positions go from 0 to the length less 1."
            )
        return PassageIds.in_text(
            whole.ids, position=whole.first + value, index=value, text=whole.text
        )

    # A passage that was typed. An unknown character would be another one to the model.
    if not value:
        raise DataError(f"{named(name)} is empty: give at least one character.")
    if missing := model.vocab.unknown_characters(value):
        listed = ", ".join(f"{character!r}" for character in missing[:8])
        raise DataError(
            f"{named(name)} has characters that are not in the vocabulary of {model.name}:"
            f" {listed}. Leave them out."
        )
    encoded = model.encode(value)
    shown = model.vocab.decode(encoded.ids[encoded.first :][-CHARS_SHOWN:])
    return PassageIds(ids=encoded.ids, shown=PatchedPassage(text=shown))


@dataclass(frozen=True, kw_only=True)
class PassageIds:
    """A passage as a model reads it, and its place in the text, if it is in one."""

    ids: IdArray
    """(N,): at least one; the last one is the position that is patched, or that the values are
    taken from."""
    shown: PatchedPassage

    @classmethod
    def in_text(cls, ids: IdArray, *, position: int, index: int, text: str) -> PassageIds:
        """Cut the passage that ends at `position` of ids, which is character `index` of a text."""
        # What is further back hardly changes the state, and reading it would take as long again.
        begin = max(0, position + 1 - CHARS_READ)
        shown = text[max(0, index + 1 - CHARS_SHOWN) : index + 1]
        return cls(ids=ids[begin : position + 1], shown=PatchedPassage(text=shown, position=index))


@inference_mode
def patch_cells(
    model: Model, cells: Sequence[tuple[int, int]], *, source: PassageIds, target: PassageIds
) -> Patch:
    """Put the memories that cells (layer, unit) have after the source passage into the end of the
    target passage.

    What is set is what a clamp sets (`ops.clamp`): c where there is one, else h. An LSTM's h = o *
    tanh(c) is then computed with the target's own output gate. Both passages are read from the
    initial state, one character after the other. Patching a passage with itself changes nothing,
    exactly. The unknown symbol is not written in a continuation.
    """
    # Only the layers of these cells compute in another way than usual.
    network = model.network
    layers = sorted({layer for layer, _ in cells})

    # Record what the cells have at the end of the source passage. Every later reading takes the
    # equations step by step, too: a fused kernel rounds differently, and a patch of a passage with
    # itself would change something.
    memories: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    recorders = {layer: _recording(memories[layer]) for layer in layers}
    taken = _read(network, source.ids, recorders)

    # Read the target passage twice: as it is, and with the recorded memories in place.
    free = _read(network, target.ids, dict.fromkeys(layers, torch_ops()))
    replacements = {}
    for layer in layers:
        units = [unit for at, unit in cells if at == layer]
        replacements[layer] = _replacing(units, memories[layer])
    patched = _read(network, target.ids, replacements)

    # Compare the two predictions of the next character. In float64: the divergence is a small
    # difference of large sums.
    before = free.logits.double().log_softmax(-1)
    after = patched.logits.double().log_softmax(-1)
    changes = (after.exp() - before.exp()).abs()
    most = changes.argsort(descending=True, stable=True)[:NUM_CHARACTERS].tolist()
    characters = []
    for id in most:
        character = PatchedCharacter(
            character=model.character(id),
            before=float(before[id].exp()),
            after=float(after[id].exp()),
        )
        characters.append(character)

    # What the cells were in both passages.
    patched_cells = []
    for layer, unit in cells:
        cell = PatchedCell(
            layer=layer,
            unit=unit,
            source=taken.values[layer][unit],
            target=free.values[layer][unit],
        )
        patched_cells.append(cell)
    return Patch(
        cells=tuple(patched_cells),
        source=source.shown,
        target=target.shown,
        divergence=float((before.exp() * (before - after)).sum()),
        characters=tuple(characters),
        continuation_before=_continuation(model, free),
        continuation_after=_continuation(model, patched),
    )


class _Read(NamedTuple):
    """What a network has after the last character of a passage."""

    logits: Tensor
    """(V,)"""
    values: list[list[float]]
    """(L, H): the cell values."""
    state: RecurrentState[Tensor]
    """(L, S, 1, H)"""


def _read(network: CharRNN, ids: IdArray, ops: Mapping[int, Ops[Tensor]]) -> _Read:
    """Read ids (N,) from the initial state; at the last one, the layers in `ops` compute with these
    functions."""
    # All but the last one as fast as the network can.
    chars = torch.from_numpy(ids.astype(np.int64))[:, None]
    state = network.initial_state(1)
    if len(chars) > 1:
        _, state = network(chars[:-1], state)

    # The last one step by step, where the functions can record or replace memories.
    (logits, values, _), state = network.trace(chars[-1:], state, ops)
    return _Read(logits[0, 0], values[0, 0].tolist(), state)


def _recording(memories: list[Tensor]) -> Ops[Tensor]:
    """Return the functions of torch, which keep every memory (1, H) that passes `clamp`: with
    zoneout two for each."""

    def clamp(memory: Tensor) -> Tensor:
        memories.append(memory)
        return memory

    return replace(torch_ops(), clamp=clamp)


def _replacing(units: Sequence[int], memories: Sequence[Tensor]) -> Ops[Tensor]:
    """Return the functions of torch, with some units of each memory (1, H) replaced by those of the
    next of `memories`, which were recorded in the same order."""
    remaining = iter(memories)

    def values_of(_: Tensor) -> Tensor:
        return next(remaining)[:, units]

    return replacing(units, values_of)


def _continuation(model: Model, read: _Read) -> str:
    """Return the NUM_WRITTEN most likely characters, one after the other, up to and without an
    END."""
    # The unknown symbol has the id 0 where there is one. It cannot be written.
    first = int(model.vocab.has_unknown_symbol)

    # From the prediction after the passage on, patched or not; the cells are free again.
    logits = read.logits
    state = read.state
    written: list[int] = []
    while len(written) < NUM_WRITTEN:
        id = first + int(logits[first:].argmax())
        if id == model.network.end_id:
            break
        written.append(id)
        following, state = model.network(torch.tensor([[id]]), state)
        logits = following[0, 0]
    return model.vocab.decode(written)


def _passage_line(name: str, passage: PatchedPassage) -> Text:
    """Draw the end of a passage, and where it ends if it is in a text."""
    line = f"  {name}  …{all_visible(passage.text)}"
    if passage.position is not None:
        line += f"  (character {passage.position:,})"
    return Text(line, overflow="fold")


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """The options of the analysis."""

    patch: Sequence[str] = option(
        (),
        "--patch L:U",
        "Show what changes if this cell, or layer L, has its value from another passage"
        " (repeatable).",
        CELLS,
    )
    source: str | None = option(
        None,
        "--from TEXT|@N",
        "With --patch: the passage the value is from, or @N for the one that ends at character N of"
        " the text.",
        CELLS,
    )
    """By default where the cell is highest."""
    target: str | None = option(
        None, "--into TEXT|@N", "With --patch: the passage whose end is patched.", CELLS
    )
    """By default where the cell is lowest."""


def _parse_position(option: str, text: str) -> int | None:
    """Parse a position that is given to `option` as @ and a number; None for a passage.

    Raises UsageError for a number that is no position in any text.
    """
    # A passage may begin with @, too: only a number makes it a position.
    if re.fullmatch(r"@-?\d+", text) is None:
        return None
    if re.fullmatch(r"@\d{1,15}", text) is None:
        raise UsageError(
            f"{option} {text:.40}: a position is a number from 0 on, such as {option} @500."
        )
    return int(text[1:])


def _reads_text(own: PatchOptions) -> bool:
    """Whether another text is needed than the passages that were typed."""
    for flag, typed in (("--from", own.source), ("--into", own.target)):
        if typed is None or _parse_position(flag, typed) is not None:
            return True
    return False


def _measure(subject: Subject[PatchOptions]) -> Patch:
    """Patch the cells that were typed, between the passages that were typed or found."""
    model = subject.model
    own = subject.own

    def passage(flag: str, typed: str | None) -> Passage | None:
        if typed is None:
            return None
        position = _parse_position(flag, typed)
        if position is None:
            return to_content(typed, model.vocab.kind)
        return position

    # A number alone is a layer.
    cells: list[tuple[int, int] | int] = []
    for one in own.patch:
        if re.fullmatch(r"\d{1,9}", one):
            cells.append(int(one))
        else:
            cells.append(parse_cell("--patch", one, model))
    return patch(
        model,
        cells,
        source=passage("--from", own.source),
        target=passage("--into", own.target),
        text=subject.text if _reads_text(own) else None,
    )


def _show(subject: Subject[PatchOptions], found: Patch) -> Shown:
    return Shown(
        f"Patch in {subject.model.name}",
        found.view(),
        {"run": subject.model.name, **found.to_json()},
    )


ANALYSES = (
    Analysis(
        flag="--patch",
        options=PatchOptions,
        measure=_measure,
        show=_show,
        example="--patch 0:17",
        reads_text=_reads_text,
    ),
)
"""`visualize --patch`."""
